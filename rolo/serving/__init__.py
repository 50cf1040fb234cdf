"""Run a gateway, a router, an ASGI or a WSGI application on a real server, in-process.

::

    with serve(gateway, port=0) as server:
        requests.get(server.url)

``serve`` works from any plain thread, installs no signal handlers, returns when the
server accepts connections, and can be called as often as one likes.
"""

from __future__ import annotations

import collections.abc
import contextlib
import importlib
import socket
import typing as t

from rolo.bridge.limits import DEFAULT_LIMITS, Limits
from rolo.bridge.observer import Observer
from rolo.observing import AccessLog
from rolo.serving.base import (
    Adapter,
    App,
    Fitted,
    Mode,
    RunningServer,
    ServerTls,
    ServerUnavailable,
    Settings,
    is_a,
    is_asgi,
)
from rolo.serving.lifespan import LifespanError
from rolo.serving.sockets import listen

if t.TYPE_CHECKING:
    from rolo.gateway.gateway import Gateway
    from rolo.routing.router import Router

__all__ = [
    "SERVERS",
    "LifespanError",
    "Limits",
    "RunningServer",
    "ServerTls",
    "ServerUnavailable",
    "choose",
    "serve",
]


class Registry(collections.abc.Mapping[str, Adapter]):
    """The servers by name, fastest first. A module is imported when it is looked up."""

    def __init__(self, places: t.Mapping[str, str]) -> None:
        self._places = dict(places)
        self._adapters: dict[str, Adapter] = {}

    def __getitem__(self, name: str) -> Adapter:
        if name not in self._adapters:
            module, _, adapter = self._places[name].partition(":")
            self._adapters[name] = getattr(importlib.import_module(module), adapter)()
        return self._adapters[name]

    def __iter__(self) -> t.Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def add(self, name: str, place: str) -> None:
        """Make one more server known; ``place`` is ``"module:AdapterClass"``."""
        self._places[name] = place


SERVERS = Registry(
    {
        "native": "rolo.serving.native:NativeAdapter",
        "uvicorn": "rolo.serving.uvicorn:UvicornAdapter",
        "hypercorn": "rolo.serving.hypercorn:HypercornAdapter",
        "granian": "rolo.serving.granian:GranianAdapter",
        "werkzeug": "rolo.serving.werkzeug:WerkzeugAdapter",
        "twisted": "rolo.serving.twisted.adapter:TwistedAdapter",
    }
)


def choose(server: str = "auto", needs: t.Iterable[str] = (), app: str = "gateway") -> Adapter:
    """Return the adapter for ``server``.

    :param server: a name, or ``"auto"`` for the fastest installed server that speaks
        all of ``needs``
    :param needs: of ``http/1.1``, ``h2``, ``h2c``, ``websocket``, ``tls``
    :param app: what it is to carry, ``"gateway"``, ``"asgi"`` or ``"wsgi"``; only ``"auto"``
        looks at it
    :raises ServerUnavailable: it is not installed, or does not speak what is needed
    :raises ValueError: there is no server of that name
    """
    wanted = frozenset(needs)
    if server == "auto":
        for name in SERVERS:
            adapter = SERVERS[name]
            fits = wanted <= adapter.protocols and app in adapter.apps
            if fits and adapter.available() is None:
                return adapter
        raise ServerUnavailable(f"no installed server speaks {', '.join(sorted(wanted))}")
    if server not in SERVERS:
        raise ValueError(f"unknown server {server!r}: choose auto, {', '.join(SERVERS)}")
    adapter = SERVERS[server]
    reason = adapter.available()
    if reason is not None:
        hint = f": pip install rolo[{adapter.extra}]" if adapter.extra else ""
        raise ServerUnavailable(reason + hint)
    if not wanted <= adapter.protocols:
        lacking = ", ".join(sorted(wanted - adapter.protocols))
        raise ServerUnavailable(f"{server} does not speak {lacking}")
    return adapter


def serve(
    app: Gateway | Router[t.Any] | App,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    server: str = "auto",
    mode: Mode = "threads",
    threads: int | None = None,
    sock: socket.socket | None = None,
    tls: ServerTls | None = None,
    needs: t.Iterable[str] = (),
    shutdown_timeout: float | None = 5.0,
    startup_timeout: float | None = 30.0,
    access_log: bool = False,
    loop: str = "auto",
    limits: Limits | None = None,
    proxy_status: str | None = None,
    observers: t.Iterable[Observer] = (),
    **options: t.Any,
) -> RunningServer:
    """Start a server for ``app`` and return it, accepting connections.

    :param app: a gateway, a router, or an ASGI 3 or WSGI application
    :param port: 0 lets the system choose; see ``RunningServer.port``
    :param server: a name from ``SERVERS``, or ``"auto"``, see :func:`choose`
    :param mode: where a gateway's handlers run, ``"threads"`` or ``"loop"``
    :param threads: how many threads run handlers; ``None`` leaves it to the gateway
    :param sock: a bound socket to use instead of ``host`` and ``port``; the server
        closes it, even if starting fails
    :param tls: certificate and key; ``None`` serves plain text
    :param needs: protocols that ``server`` must speak beyond HTTP/1.1, see :func:`choose`
    :param shutdown_timeout: seconds that running exchanges get to finish at shutdown;
        ``None`` waits for them for ever
    :param startup_timeout: seconds the application gets for its lifespan startup;
        ``None`` waits for ever
    :param access_log: write a line for each exchange of a gateway, see
        :class:`~rolo.observing.AccessLog`; for other applications, let the server write its own
    :param loop: ``"uvloop"``, ``"asyncio"``, or ``"auto"`` for uvloop where installed
    :param limits: what clients may ask of a gateway, ``None`` for the defaults of
        :class:`~rolo.bridge.limits.Limits`; werkzeug has bounds of its own instead
    :param proxy_status: the name under which answers to errors that no handler of a gateway
        deals with carry Proxy-Status (RFC 9209); ``None`` leaves it out
    :param observers: are told of everything that a gateway serves, see :mod:`rolo.observing`
    :param options: settings of the server itself, under its own names
    :raises ServerUnavailable: the server is not installed or cannot do what is asked
    :raises OSError: the address cannot be had; the message names it
    :raises TypeError: ``observers`` for an application that is not a gateway or router
    :raises LifespanError: the application failed to start; its exception is the cause
    """
    with contextlib.ExitStack() as undo:
        if sock is not None:
            undo.callback(sock.close)
        wanted = {"http/1.1", *needs} | ({"tls"} if tls else set())
        bridge = {
            "limits": limits or DEFAULT_LIMITS,
            "proxy_status": proxy_status,
            "observers": [*observers],
        }
        adapter, fitted, access_log = _fit(app, server, wanted, mode, threads, bridge, access_log)
        if fitted.close is not None:
            undo.callback(fitted.close)
        if sock is None:
            sock = listen(host, port)
        else:
            host = _prepared(sock)
        undo.pop_all()
    settings = Settings(
        sock=sock,
        host=host,
        tls=tls,
        shutdown_timeout=shutdown_timeout,
        startup_timeout=startup_timeout,
        access_log=access_log,
        loop=loop,
        options=options,
    )
    return adapter.launch(fitted, settings)


def _fit(
    app: t.Any,
    server: str,
    needs: set[str],
    mode: Mode,
    threads: int | None,
    bridge: dict[str, t.Any],
    access_log: bool,
) -> tuple[Adapter, Fitted, bool]:
    """Choose the adapter and give ``app`` the form it calls; say whether the server is left
    to write an access log."""
    if is_a(app, "rolo.routing.router", "Router"):
        from rolo.gateway.gateway import Gateway
        from rolo.gateway.handlers import RouterHandler

        app = Gateway(request_handlers=[RouterHandler(app, respond_not_found=True)])
    if is_a(app, "rolo.gateway.gateway", "Gateway"):
        if server == "auto":
            needs = needs | {"websocket"}
        adapter = choose(server, needs)
        if access_log:
            bridge["observers"].append(AccessLog())
        return adapter, adapter.fit_gateway(app, mode=mode, threads=threads, **bridge), False
    if bridge["observers"]:
        raise TypeError("observers are for gateways and routers; an AsgiGateway is given its own")
    adapter = choose(server, needs, "asgi" if is_asgi(app) else "wsgi")
    return adapter, adapter.fit_app(app, threads=threads), access_log


def _prepared(sock: socket.socket) -> str:
    """Make a socket of the caller listen; return the host it is bound to."""
    sock.listen(2048)
    sock.setblocking(False)
    address = sock.getsockname()
    return str(address[0]) if isinstance(address, tuple) else "localhost"
