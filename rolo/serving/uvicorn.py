"""uvicorn: the fastest ASGI server we know of for HTTP/1.1 and websockets.

The only file that knows uvicorn's inside. It mends what a proxy cannot live with: a lost
websocket looks like a clean one (code 1005 instead of 1006), clients of HTTP/1.0 are sent
chunks, and stopping is slow because uvicorn looks for the signal ten times a second.
"""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import socket
import struct
import sys
import typing as t

from rolo.bridge.downstream import Capabilities
from rolo.serving.base import CAPABILITIES, HEAD_TIMEOUT, AsgiApp, Fitted, LoopAdapter, Settings
from rolo.serving.listener import Listener
from rolo.serving.loop import Lifetime
from rolo.serving.versions import why_not
from rolo.wire.error_page import CONTENT_TYPE, error_text

if t.TYPE_CHECKING:
    import uvicorn

#: seconds an idle connection is kept; nginx's figure, longer than most clients keep theirs
KEEP_ALIVE = 75

#: fields that a websocket handshake has once
_ONCE = (b"sec-websocket-version", b"sec-websocket-key")

#: bytes of a head beyond the limit, for the bridge to refuse it in the usual words
_HEAD_SLACK = 64 * 1024


def _refusal(status: int) -> bytes:
    text = error_text(status)
    return (
        f"HTTP/1.1 {text.strip()}\r\ncontent-type: {CONTENT_TYPE}\r\n"
        f"content-length: {len(text)}\r\nconnection: close\r\n\r\n{text}"
    ).encode()


_HEAD_TOO_LARGE = _refusal(431)
_HEAD_TOO_LATE = _refusal(408)

_NO_TUNNEL = _refusal(501)

_RESET = struct.pack("ii", 1, 0)

#: seconds between two looks at what still runs while stopping
_TICK = 0.01


class UvicornAdapter(LoopAdapter):
    """HTTP/1.1 and websockets on httptools, or on h11 where that is not installed."""

    name = "uvicorn"
    extra = "fast"
    protocols = frozenset({"http/1.1", "websocket", "tls"})
    capabilities = Capabilities(denial=True, expect=True)

    def available(self) -> str | None:
        return why_not("uvicorn")

    async def run(self, fitted: Fitted, settings: Settings, lifetime: Lifetime) -> None:
        import uvicorn

        server = uvicorn.Server(_config(fitted, settings))
        server.config.load()
        server.lifespan = server.config.lifespan_class(server.config)
        server.lifespan.state[CAPABILITIES] = self.capabilities
        # uvicorn's own loop, which we do not run, would set these once a second.
        server.server_state.default_headers = server.config.encoded_headers
        tls = {"ssl": server.config.ssl} if server.config.ssl is not None else {}
        listener = Listener(functools.partial(_connection, server), settings.sock, **tls)
        lifetime.ready()
        grace = await lifetime.stopping()
        await listener.close()
        await _stop(server, grace)


def _connection(server: uvicorn.Server) -> asyncio.Protocol:
    """As uvicorn's ``startup`` makes the protocol of a connection."""
    kind = t.cast(t.Any, server.config.http_protocol_class)
    made = kind(
        config=server.config, server_state=server.server_state, app_state=server.lifespan.state
    )
    return t.cast(asyncio.Protocol, made)


def _config(fitted: Fitted, settings: Settings) -> uvicorn.Config:
    import uvicorn

    limits = fitted.limits

    fast = importlib.util.find_spec("httptools") is not None
    options: dict[str, t.Any] = {
        "http": _http_protocol(limits.max_head + _HEAD_SLACK) if fast else "h11",
        "ws": _websocket_protocol(),
        "interface": "asgi3",
        "lifespan": "off",  # spoken by rolo.serving.lifespan
        "log_config": None,
        "access_log": settings.access_log,
        # A proxied answer brings its own; who answers locally may add them.
        "date_header": False,
        "server_header": False,
        # Whom to believe about the client's address is decided by the proxy, not here.
        "proxy_headers": False,
        "timeout_keep_alive": KEEP_ALIVE,
        "ws_max_size": sys.maxsize if limits.max_message is None else limits.max_message,
        # wsproto inflates all of a read, 1000 times its size, before anybody looks at limits.
        "ws_per_message_deflate": False,
        "ws_ping_interval": limits.ping_interval,
        "ws_ping_timeout": limits.ping_timeout,
    }
    if settings.tls is not None:
        options["ssl_certfile"] = settings.tls.cert
        options["ssl_keyfile"] = settings.tls.key
        options["ssl_keyfile_password"] = settings.tls.password
    return uvicorn.Config(
        _without_chunks_for_http_1_0(fitted.app), **{**options, **settings.options}
    )


def _http_protocol(max_head: int) -> type[asyncio.Protocol]:
    """Return uvicorn's protocol on httptools, which would collect an endless head, and wait for
    ever for one."""
    from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

    for status in range(600, 1000):  # RFC 9110 section 15: of no class, but valid
        STATUS_LINE.setdefault(status, b"HTTP/1.1 %d \r\n" % status)

    class BoundedHttp(HttpToolsProtocol):
        _head_size: int | None = None
        _head_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: t.Any) -> None:
            super().connection_made(transport)
            self._await_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._head_is_there()
            super().connection_lost(exc)

        def _await_head(self) -> None:
            if self._head_timer is None:
                self._head_timer = self.loop.call_later(HEAD_TIMEOUT, self._head_is_late)

        def _head_is_there(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None

        def _head_is_late(self) -> None:
            if self._head_size:
                self.transport.write(_HEAD_TOO_LATE)
            self.transport.close()

        def on_message_begin(self) -> None:
            self._head_size = 0
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            self._head_size = None
            self._head_is_there()
            if self.parser.get_method() == b"CONNECT":
                # uvicorn would not understand a target without a path, and answer 400.
                self.transport.write(_NO_TUNNEL)
                self.transport.close()
            else:
                super().on_headers_complete()

        def handle_websocket_upgrade(self) -> None:
            # RFC 6455 section 4.2.1. wsproto forgives these, and hides them from the application.
            names = [name for name, _ in self.headers]
            framed = b"content-length" in names or b"transfer-encoding" in names
            if framed or any(names.count(name) > 1 for name in _ONCE):
                self.send_400_response("")
            else:
                super().handle_websocket_upgrade()

        def send_400_response(self, msg: str) -> None:
            super().send_400_response(error_text(400))

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self._head_size is not None:
                self._head_size += len(data)
                self._await_head()
                if self._head_size > max_head and not self.transport.is_closing():
                    self.transport.write(_HEAD_TOO_LARGE)
                    self.transport.close()

    return BoundedHttp


class _Unbounded(int):
    """How much may still be sent of an answer that ends with its connection."""

    def __lt__(self, other: t.Any) -> bool:
        return False

    def __ne__(self, other: object) -> bool:
        return False

    def __sub__(self, other: t.Any) -> t.Self:
        return self

    __hash__ = int.__hash__


def _without_chunks_for_http_1_0(app: AsgiApp) -> AsgiApp:
    """Mend that uvicorn on httptools sends chunks to clients that cannot read them: theirs
    are answers that end with the connection, and if they break, with a reset."""

    async def mended(scope: t.Any, receive: t.Any, send: t.Any) -> None:
        cycle: t.Any = getattr(send, "__self__", None)
        old = scope["type"] == "http" and scope["http_version"] == "1.0"
        if scope["type"] == "websocket":
            await app(scope, receive, _without_odd_refusals(send))
            return
        if not old or not hasattr(cycle, "chunked_encoding"):
            await app(scope, receive, send)
            return

        cycle.waiting_for_100_continue = False  # RFC 9110 section 10.1.1

        async def send_unchunked(event: t.Any) -> None:
            if event["type"] == "http.response.start" and not any(
                name.lower() == b"content-length" for name, _ in event["headers"]
            ):
                cycle.chunked_encoding = cycle.keep_alive = False
                cycle.expected_content_length = _Unbounded()
            await send(event)

        try:
            await app(scope, receive, send_unchunked)
        except BaseException:
            if cycle.response_started:
                connection = cycle.transport.get_extra_info("socket")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                cycle.transport.abort()
            raise

    return mended


def _without_odd_refusals(send: t.Any) -> t.Any:
    """uvicorn raises on statuses above 599, which mean 5xx to a client (RFC 9110 section 15)."""

    async def send_known(event: t.Any) -> None:
        if event["type"] == "websocket.http.response.start" and event["status"] > 599:
            event = {**event, "status": 502}
        await send(event)

    return send_known


def _websocket_protocol() -> type[asyncio.Protocol]:
    """Return uvicorn's wsproto protocol, mended.

    wsproto rather than the ``websockets`` library: it is a dependency of ours already,
    holds back the client message by message, and gives the close code and reason.
    """
    from uvicorn.protocols.websockets.wsproto_impl import WSProtocol
    from wsproto.connection import ConnectionState
    from wsproto.events import CloseConnection, Ping

    class MendedWebSocket(WSProtocol):
        _not_taken = False
        _owed: Ping | None = None

        def pause_writing(self) -> None:
            self._not_taken = True
            super().pause_writing()

        def resume_writing(self) -> None:
            self._not_taken = False
            super().resume_writing()
            owed, self._owed = self._owed, None
            if owed is not None and self.conn.state is ConnectionState.OPEN:
                self.handle_ping(owed)

        def handle_ping(self, event: Ping) -> None:
            # RFC 6455 section 5.5.3: the last ping is answer enough. uvicorn would buffer a
            # pong for each, of somebody who does not read.
            if self._not_taken:
                self._owed = event
            else:
                super().handle_ping(event)

        def connection_lost(self, exc: Exception | None) -> None:
            # RFC 6455 section 7.1.5: gone without a close frame is 1006. uvicorn says 1005.
            # After a close frame the application has its event already and reads no more.
            if self.handshake_complete:
                self.queue.put_nowait({"type": "websocket.disconnect", "code": 1006, "reason": ""})
            super().connection_lost(exc)

        def handle_close(self, event: CloseConnection) -> None:
            if self.conn.state is ConnectionState.OPEN and not self.close_sent:
                # No close frame of the client: wsproto could not parse what it sent.
                self.transport.write(self.conn.send(CloseConnection(code=event.code)))
            super().handle_close(CloseConnection(int(event.code), event.reason or ""))

        def shutdown(self) -> None:
            # RFC 6455 section 7.4.1: 1001 is a server going down. uvicorn says 1012.
            if self.handshake_complete and not self.close_sent and not self.disconnected:
                self.stop_keepalive()
                event = {"type": "websocket.disconnect", "code": 1001, "reason": ""}
                self.queue.put_nowait(t.cast(t.Any, event))
                self.transport.write(self.conn.send(CloseConnection(code=1001)))
                self.transport.close()
            else:
                super().shutdown()

    return MendedWebSocket


async def _stop(server: uvicorn.Server, grace: float | None) -> None:
    """As uvicorn's ``shutdown``, without its fixed pauses, and with nothing left open."""
    state = server.server_state
    for connection in list(state.connections):
        connection.shutdown()
    loop = asyncio.get_running_loop()
    deadline = None if grace is None else loop.time() + grace
    while state.connections or state.tasks:
        if deadline is not None and loop.time() >= deadline:
            break
        await asyncio.sleep(_TICK)
    for task in list(state.tasks):
        task.cancel()
    for connection in list(state.connections):
        connection.transport.abort()
    if state.tasks:
        await asyncio.wait(list(state.tasks), timeout=1.0)
    await asyncio.sleep(0)
