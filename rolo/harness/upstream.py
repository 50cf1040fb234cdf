"""Where a harness sends what it passes on: a service, or an application that it serves itself."""

from __future__ import annotations

import typing as t

from rolo.faults import Faults
from rolo.gateway.gateway import Gateway
from rolo.proxy.handler import ProxyHandler
from rolo.proxy.hooks.hooks import Hooks
from rolo.serving import RunningServer, serve

_GRACE = 0.0


class Upstream:
    """The upstream of a harness, and the proxies that lead there, or elsewhere.

    :param faults: what goes wrong with what passes
    :param target: a URL; a gateway, a router, an ASGI or WSGI application, which is served for
        as long as the harness is; or ``None``
    """

    def __init__(self, target: t.Any, faults: Faults) -> None:
        self.faults = faults
        self._server: RunningServer | None = None
        self._handlers: list[ProxyHandler] = []
        self._own: ProxyHandler | None = None
        self._faulty = False
        self.url: str | None = None
        """Where it is; ``None``: there is none."""
        if target is None or isinstance(target, str):
            self.url = target
        elif callable(target) or isinstance(target, Gateway) or hasattr(target, "dispatch"):
            self._server = serve(target, shutdown_timeout=_GRACE)
            self.url = self._server.url
        else:
            raise TypeError(
                "upstream is a URL, a gateway, a router, an ASGI or WSGI application or None, "
                f"not {target!r}"
            )

    def handler(
        self,
        url: str | None,
        hooks: list[Hooks] | None = None,
        functions: t.Any = None,
    ) -> ProxyHandler:
        """Return a handler that forwards to ``url``, ``None`` for this upstream.

        Services elsewhere are sent their own host, applications that are served here the
        client's.

        :raises ValueError: ``url`` is none, or there is no upstream
        """
        if url is None:
            url = self.url
        if url is None:
            raise ValueError("there is nowhere to pass it: give the harness an upstream, or a URL")
        plain = url == self.url and not hooks and not functions
        if plain and self._own is not None:
            return self._own
        here = self._server is not None and url == self.url
        # Faults stand next to the client: what is edited goes wrong.
        hooks = [self.faults.hooks, *(hooks or [])] if self._faulty or not plain else []
        handler = ProxyHandler(url, preserve_host=here, hooks=hooks, **(functions or {}))
        self._handlers.append(handler)
        if plain:
            self._own = handler
        return handler

    def expect_faults(self) -> None:
        """Let what passes go wrong from now on, as its rules say; before, nothing looks for
        them."""
        self._faulty = True
        if self._own is not None:
            self._own.proxy.use([self.faults.hooks])

    def close(self) -> None:
        """Stop what was started for it."""
        for handler in self._handlers:
            handler.close()
        if self._server is not None:
            self._server.shutdown()
