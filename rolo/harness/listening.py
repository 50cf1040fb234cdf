"""Where a harness listens: on the common ground, or on a server of its own."""

from __future__ import annotations

import contextlib
import ssl
import typing as t

from rolo.bridge.handlers import Process
from rolo.bridge.limits import Limits
from rolo.bridge.observer import Observer
from rolo.gateway.asgi import AsgiGateway
from rolo.harness import ground
from rolo.serving import ServerTls, native, serve
from rolo.serving.base import Fitted
from rolo.serving.sockets import listen, url_host

_GRACE = 0.02
"""Seconds that threads get to end once what they wait for is gone."""


class Listening(t.Protocol):
    """A server that runs."""

    host: str
    port: int

    def wait_observed(self, timeout: float | None) -> bool:
        """As :meth:`rolo.serving.RunningServer.wait_observed`."""

    def close(self) -> None:
        """Break off what is under way and stop."""


def application(process: Process, observers: t.Iterable[Observer], limits: Limits) -> AsgiGateway:
    """Return ``process`` in the form that servers take.

    It runs on the loop: most stubs have nothing to wait for, and what may block is taken to a
    thread where it is called.
    """
    return AsgiGateway(
        t.cast(t.Any, process), mode="loop", observers=observers, limits=limits, watchdog=None
    )


class OnGround:
    """A native server on the loop of all harnesses: there in a moment, and gone in one.

    :param tls: context of an ``https`` server
    :param http2: clients may begin with HTTP/2
    :param options: of :class:`~rolo.native.connection.NativeSettings`
    :raises OSError: the address cannot be had
    """

    def __init__(
        self,
        app: AsgiGateway,
        host: str,
        port: int,
        tls: ssl.SSLContext | None,
        http2: bool,
        options: t.Mapping[str, t.Any],
    ) -> None:
        self._app = app
        fitted = Fitted.of_gateway(app)
        self.host = host
        sock = listen(host, port)
        with contextlib.ExitStack() as undo:
            undo.callback(sock.close)
            settings = native.native_settings(fitted.limits, None, options)
            self.port: int = sock.getsockname()[1]
            self._ground = ground.hold()
            undo.callback(ground.release, self._ground)
            self._server = self._ground.run(
                native.start(
                    app.bridge,
                    sock=sock,
                    ssl=tls,
                    settings=settings,
                    observation=fitted.observation,
                    http2=http2,
                )
            )
            undo.pop_all()

    def wait_observed(self, timeout: float | None) -> bool:
        return self._app.wait_observed(timeout)

    def close(self) -> None:
        try:
            self._ground.run(self._close())
        finally:
            ground.release(self._ground)
            self._app.bridge.close(_GRACE)

    async def _close(self) -> None:
        await self._server.close(0)
        await self._app.bridge.aclose()


class OnServer:
    """A server of :data:`rolo.serving.SERVERS`, with a loop of its own.

    :raises rolo.serving.ServerUnavailable, OSError, TypeError: as :func:`rolo.serving.serve`
    """

    def __init__(
        self,
        app: AsgiGateway,
        host: str,
        port: int,
        server: str,
        tls: ServerTls | None,
        options: t.Mapping[str, t.Any],
    ) -> None:
        self._app = app
        self._server = serve(
            app, server=server, host=host, port=port, tls=tls, shutdown_timeout=0.0, **options
        )
        self.host, self.port = self._server.host, self._server.port

    def wait_observed(self, timeout: float | None) -> bool:
        return self._app.wait_observed(timeout)

    def close(self) -> None:
        self._server.shutdown()
        self._app.bridge.close(_GRACE)


def url_of(listening: Listening, *, tls: bool) -> str:
    """Return the URL of ``listening``, without a path."""
    return f"{'https' if tls else 'http'}://{url_host(listening.host)}:{listening.port}"
