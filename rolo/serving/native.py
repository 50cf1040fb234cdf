"""The native server: HTTP/1.1 and websockets straight on asyncio, without ASGI between."""

from __future__ import annotations

import dataclasses
import socket
import ssl as ssl_module
import typing as t

from rolo.bridge.limits import Limits
from rolo.bridge.observation import Observation
from rolo.native.connection import ExchangeHandler, NativeSettings, ServerState
from rolo.native.http import CAPABILITIES
from rolo.serving.base import App, Fitted, LoopAdapter, Settings, is_a
from rolo.serving.listener import Listener
from rolo.serving.loop import Lifetime
from rolo.serving.sockets import listen, listen_unix
from rolo.wire.http1 import HeadLimits

__all__ = ["NativeAdapter", "NativeServer", "start"]

_TLS_HANDSHAKE_TIMEOUT = 10.0


class NativeServer:
    """A listening native server. Whoever started it closes it, on the same loop."""

    def __init__(self, listener: Listener, server_state: ServerState) -> None:
        self._listener = listener
        self.server_state = server_state

    @property
    def sockets(self) -> tuple[t.Any, ...]:
        """The listening sockets; empty once closed."""
        return self._listener.sockets

    def refuse(self, refusing: bool) -> None:
        """Be as a server that does not run, or serve again: connections are refused, those that
        are open are reset.

        :raises OSError: see :meth:`Listener.refuse`
        """
        self._listener.refuse(refusing)
        if refusing:
            for connection in list(self.server_state.connections):
                connection.reset()

    async def close(self, grace: float | None = 5.0) -> None:
        """Stop accepting, let running exchanges finish, then break off what is left.

        :param grace: seconds for running exchanges; ``None`` waits for them for ever
        """
        self.server_state.draining = True  # who still waits to be accepted is told so (503)
        await self._listener.close()
        await self.server_state.shutdown(grace)


async def start(
    handler: ExchangeHandler,
    *,
    host: str | None = "127.0.0.1",
    port: int = 0,
    sock: socket.socket | None = None,
    uds: str | None = None,
    ssl: ssl_module.SSLContext | None = None,
    settings: NativeSettings | None = None,
    observation: Observation | None = None,
    http2: bool = False,
) -> NativeServer:
    """Serve ``handler`` on the running loop; returns when connections are accepted.

    :param handler: a :class:`rolo.bridge.bridge.Bridge`, or anything of its shape
    :param host: address to listen on; ``None`` for all IPv4 addresses
    :param port: 0 lets the system choose
    :param sock: a listening, non-blocking socket to use instead; closed with the server
    :param uds: path of a UNIX socket to make and listen on instead
    :param ssl: server context; its ALPN should offer ``http/1.1`` only
    :param observation: is told of requests that the server refuses by itself
    :param http2: clients may begin with HTTP/2, by prior knowledge
    :raises OSError: the address cannot be had
    """
    if sock is None:
        sock = listen(host or "", port) if uds is None else listen_unix(uds)
    scheme = "https" if ssl is not None else "http"
    server_state = ServerState(
        handler, settings, scheme=scheme, observation=observation, http2=http2
    )
    tls: dict[str, t.Any] = {}
    if ssl is not None:
        tls = {"ssl": ssl, "ssl_handshake_timeout": _TLS_HANDSHAKE_TIMEOUT}
    return NativeServer(Listener(server_state.connection, sock, **tls), server_state)


class NativeAdapter(LoopAdapter):
    """Serves gateways only: what it hands over is an exchange, not an ASGI call.

    Options are the fields of :class:`~rolo.native.connection.NativeSettings`.
    """

    name = "native"
    protocols = frozenset({"http/1.1", "websocket", "tls"})
    capabilities = CAPABILITIES
    apps = frozenset({"gateway"})

    def available(self) -> str | None:
        return None

    def fit_app(self, app: App, *, threads: int | None) -> Fitted:
        if not is_a(app, "rolo.gateway.asgi", "AsgiGateway"):
            raise TypeError(
                f"the {self.name} server serves gateways and routers, not ASGI or WSGI apps"
            )
        return super().fit_app(app, threads=threads)

    async def run(self, fitted: Fitted, settings: Settings, lifetime: Lifetime) -> None:
        assert fitted.exchanges is not None
        if settings.access_log:
            raise TypeError("an AsgiGateway is given its access log: observers=[AccessLog()]")
        server = await start(
            fitted.exchanges,
            sock=settings.sock,
            ssl=None if settings.tls is None else settings.tls.context(),
            settings=native_settings(fitted.limits, fitted.proxy_status, settings.options),
            observation=fitted.observation,
        )
        if settings.sock.family != getattr(socket, "AF_UNIX", None):
            lifetime.refuse = server.refuse
        lifetime.ready()
        await server.close(await lifetime.stopping())


def native_settings(
    limits: Limits, proxy_status: str | None, more: t.Mapping[str, t.Any]
) -> NativeSettings:
    """Return the bounds of a native server.

    :param more: fields of the settings, which go before what ``limits`` say
    :raises TypeError: one of ``more`` is unknown
    """
    options = {
        "limits": HeadLimits(limits.max_head, limits.max_fields, limits.max_target),
        "buffer": limits.buffer,
        "proxy_status": proxy_status,
        "websocket_max_message": limits.max_message,
        "websocket_max_memory": limits.max_websocket_memory,
        "websocket_ping_interval": limits.ping_interval,
        "websocket_ping_timeout": limits.ping_timeout,
        "websocket_close_timeout": limits.close_timeout,
        **more,
    }
    known = {field.name for field in dataclasses.fields(NativeSettings)}
    for name in options:
        if name not in known:
            raise TypeError(f"unknown option {name!r}; known are {', '.join(sorted(known))}")
    return NativeSettings(**options)
