"""An HTTP/1.1 server straight on asyncio protocols: the shortest way to the bridge.

One :class:`Connection` per socket reads heads and hands each request, in order, to a
handler as an :class:`~rolo.native.http.NativeExchange` (or
:class:`~rolo.native.websocket.NativeWebSocket`): one task per exchange, none while
a connection is idle. A :class:`ServerState` holds what all connections of a server share, and the
one timer that watches every deadline.
"""

from __future__ import annotations

import asyncio
import dataclasses
import email.utils
import logging
import socket
import sys
import typing as t

from rolo.bridge.downstream import (
    HttpDownstream,
    RequestHead,
    WebSocketDownstream,
)
from rolo.bridge.observation import Observation
from rolo.errors import (
    BadRequest,
    ClientDisconnected,
    ContentTooLarge,
    DownstreamError,
    HeadTooLarge,
    RequestTimeout,
    RoloError,
    TooManyExchanges,
    UnusableMethod,
    describe,
)
from rolo.native.http import NativeExchange, answer_head
from rolo.native.websocket import ClientHandshake, NativeWebSocket, UpgradeRequired
from rolo.net.connection import BaseConnection
from rolo.net.read_buffer import read_buffer
from rolo.net.ticker import Ticker
from rolo.wire.http1 import (
    DEFAULT_LIMITS,
    Framing,
    HeadLimits,
    ParsedRequest,
    body_decoder,
    find_head_end,
    parse_request_head,
)
from rolo.wire.http2 import PREFACE
from rolo.wire.proxy_status import proxy_status
from rolo.wire.target import decoded_path, split_target

if t.TYPE_CHECKING:
    from rolo.native.http2 import Http2Connection

LOG = logging.getLogger(__name__)

READ_SIZE = 64 * 1024
"""Bytes read from a socket at once, at most; asyncio would read four times as much."""
PIPED_READ_SIZE = 112 * 1024
"""The same while a body is piped, which leaves nothing of what was read before."""
WEBSOCKET_READ_SIZE = 256 * 1024
"""The same for websockets: a message of 64 KiB, headers and all, should come at once."""

_UNBOUNDED = float("inf")
# TCP states of a peer that has left (include/net/tcp_states.h): CLOSE and CLOSE_WAIT.
_LEFT_STATES = (7, 8)


@dataclasses.dataclass(frozen=True, slots=True)
class NativeSettings:
    """Bounds of a native server. Times are in seconds; ``None`` is no limit."""

    limits: HeadLimits = DEFAULT_LIMITS
    max_body: int | None = None
    """Bytes of a request body; more is refused with 413."""
    max_connections: int | None = None
    """Open connections; one more is answered 503 and closed."""
    head_timeout: float | None = 30.0
    """From the first byte of a request head (or the connection) to its end."""
    keep_alive_timeout: float | None = 75.0
    """Between two requests."""
    linger_timeout: float = 5.0
    """For a client to read the last answer, and to close, before it is cut off."""
    drain_limit: int = 256 * 1024
    """Bytes of an unread request body swallowed to keep a connection."""
    buffer: int = 64 * 1024
    """Bytes held unread, and unsent, each way, before the other side is made to wait."""
    websocket_max_message: int | None = 16 * 1024 * 1024
    """Bytes of one message, inflated; a larger one closes with 1009."""
    websocket_max_memory: int | None = 256 * 1024 * 1024
    """Bytes that all websockets of the loop may hold, see :class:`rolo.bridge.limits.Limits`."""
    websocket_ping_interval: float | None = None
    """Of silence, after which the client is pinged; ``None`` for never."""
    websocket_ping_timeout: float = 20.0
    """From such a ping until something must come, else the client counts as lost."""
    websocket_close_timeout: float = 10.0
    """For the client to answer a close frame."""
    websocket_compression: bool = True
    """Accept permessage-deflate."""
    proxy_status: str | None = None
    """The name under which answers to requests that are refused carry Proxy-Status
    (RFC 9209); ``None`` leaves it out."""


class ExchangeHandler(t.Protocol):
    """Who is given the exchanges: a :class:`rolo.bridge.bridge.Bridge`."""

    def handle_http(self, downstream: HttpDownstream) -> t.Coroutine[t.Any, t.Any, None]: ...

    def handle_websocket(
        self, downstream: WebSocketDownstream
    ) -> t.Coroutine[t.Any, t.Any, None]: ...


class ServerState:
    """What the connections of one server share. Made and used on its loop.

    :param handler: gets every exchange
    :param scheme: ``"https"`` if the transports are TLS ones
    :param observation: is told of requests that are refused before there is an exchange
    :param http2: clients may begin with HTTP/2 (RFC 9113 section 3.4)
    """

    def __init__(
        self,
        handler: ExchangeHandler,
        settings: NativeSettings | None = None,
        *,
        scheme: str = "http",
        observation: Observation | None = None,
        http2: bool = False,
    ) -> None:
        self.handler = handler
        self.settings = settings or NativeSettings()
        self.scheme = scheme
        self.http2 = http2
        self.observation = observation
        self.loop = asyncio.get_running_loop()
        self.connections: set[Connection | Http2Connection] = set()
        self._outliving: set[asyncio.Task[None]] = set()
        """Exchanges and websockets that go on though their connection is closed."""
        self.draining = False
        # One for all: what is read is copied out before the next read begins. Pages of it
        # that are never read into cost nothing.
        self.read_buffer = read_buffer(WEBSOCKET_READ_SIZE)
        self.request_window = self.read_buffer[:READ_SIZE]
        self.piped_window = self.read_buffer[:PIPED_READ_SIZE]
        self._empty: asyncio.Future[None] | None = None
        self._ticker = Ticker(self.loop)
        self._ticker.add(self, _tick(self.settings))
        self.date = b""
        """The value of a Date field, not more than a tick old."""
        self.look(self.loop.time())

    def connection(self, scheme: str | None = None) -> Connection:
        """The protocol factory for ``create_server``.

        :param scheme: where it is not the same for all connections
        """
        return Connection(self, scheme or self.scheme)

    async def shutdown(self, grace: float | None) -> None:
        """Let running exchanges finish, close idle connections, then break off the rest.

        The caller has closed the listening sockets before.

        :param grace: seconds for what runs; ``None`` waits for it for ever
        """
        self.draining = True
        for connection in list(self.connections):
            connection.drain_out()
        await self._wait_empty(grace)
        tasks = self._outliving.union(*(connection.tasks for connection in self.connections))
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)
        for connection in list(self.connections):
            connection.abort()
        await self._wait_empty(1.0)
        await self._ticker.close()

    async def _wait_empty(self, timeout: float | None) -> None:
        if not self.connections and not self._outliving:
            return
        self._empty = self.loop.create_future()
        await asyncio.wait((self._empty,), timeout=timeout)
        self._empty = None

    def remove(self, connection: Connection | Http2Connection) -> None:
        """Forget a connection that is closed, but not what is done for it still."""
        self.connections.discard(connection)
        for task in connection.tasks:
            self._outliving.add(task)
            task.add_done_callback(self._outlived)
        self._look_whether_empty()

    def _outlived(self, task: asyncio.Task[None]) -> None:
        self._outliving.discard(task)
        self._look_whether_empty()

    def _look_whether_empty(self) -> None:
        empty = self._empty
        if empty is None or empty.done() or self.connections or self._outliving:
            return
        empty.set_result(None)

    def look(self, now: float) -> None:
        """Look at all deadlines; called by the ticker."""
        self.date = email.utils.formatdate(usegmt=True).encode("ascii")
        for connection in list(self.connections):
            connection.look(now)


def _tick(settings: NativeSettings) -> float:
    """Return the seconds from one look to the next: no wait lasts a quarter longer than it
    should, nor a second."""
    shortest = min(
        settings.head_timeout or 4.0,
        settings.keep_alive_timeout or 4.0,
        settings.linger_timeout,
        settings.websocket_close_timeout,
        settings.websocket_ping_interval or 4.0,
        settings.websocket_ping_timeout,
    )
    return max(0.01, min(1.0, shortest / 4))


#    +--> HEAD           a head is read, or the next request awaited
#    |     |  |
#    |     |  +-----> WEBSOCKET     its exchange has all that comes, from the handshake on
#    |     v              |
#    +-- EXCHANGE         |         a request is served; unread, its body is swallowed
#          |              |
#          +-> LINGERING <+         all is written; what still comes is swallowed
#                  |
#               CLOSED
#
# HEAD lingers, too: after a refusal, or when nobody needs the connection any more. Which it is
# can be seen from what there is: an exchange, a websocket, or that it is closing.


class Connection(BaseConnection):
    """One socket, in one of the states above."""

    __slots__ = (
        "_buffer",
        "_client",
        "_exchange",
        "_may_be_http2",
        "_scanned",
        "_scheme",
        "_server",
        "_swallows",
        "_websocket",
        "deadline",
        "linger_timeout",
        "server_state",
        "settings",
        "task",
    )

    def __init__(self, server_state: ServerState, scheme: str) -> None:
        super().__init__(server_state.loop, server_state.read_buffer)
        self.server_state = server_state
        self._scheme = scheme
        self.settings = server_state.settings
        self.linger_timeout = self.settings.linger_timeout
        self.task: asyncio.Task[None] | None = None
        self.deadline: float | None = None
        """When the client has had time enough, in loop time; ``None`` while we are at it."""
        self._client: tuple[str, int] | None = None
        self._server: tuple[str, int | None] | None = None
        self._buffer: bytes | bytearray = b""
        self._scanned = 0
        self._exchange: NativeExchange | None = None
        self._websocket: NativeWebSocket | None = None
        self._may_be_http2 = server_state.http2  # until the first request
        self._swallows = _UNBOUNDED
        """Bytes that may still come while we linger."""

    # --- asyncio's side -----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.send_promptly(False)
        peer = transport.get_extra_info("peername")
        local = transport.get_extra_info("sockname")
        if isinstance(peer, tuple) and len(peer) >= 2:
            self._client = (peer[0], peer[1])
        if isinstance(local, tuple) and len(local) >= 2:
            self._server = (local[0], local[1])
        elif isinstance(local, str) and local:
            self._server = (local, None)
        server_state = self.server_state
        server_state.connections.add(self)
        self.set_deadline(self.settings.head_timeout)
        limit = self.settings.max_connections
        if server_state.draining or (limit is not None and len(server_state.connections) > limit):
            self.refuse(TooManyExchanges("too many connections"))

    def get_buffer(self, sizehint: int) -> memoryview:
        if self._websocket is not None:
            return self._view
        exchange = self._exchange
        if exchange is not None and exchange.piping:
            return self.server_state.piped_window
        return self.server_state.request_window

    def buffer_updated(self, nbytes: int) -> None:
        if self._websocket is not None:
            self._websocket.feed(self._view[:nbytes])
            return
        data = bytes(self._view[:nbytes])
        if self._exchange is not None:
            self._exchange.feed(data)
        elif self.closing:
            self._swallows -= nbytes
            if self._swallows < 0:
                self.abort()
        else:
            if self._buffer:
                self._buffer += data
            else:
                self._buffer = data
            self._read_head()

    def eof_received(self) -> bool:
        # A client that stops sending counts as gone, as for nginx and Go: one that merely
        # half-closes cannot be told from one that has left.
        self._lose()
        self.set_deadline(self.settings.linger_timeout)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.server_state.remove(self)
        self._lose()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._websocket is not None:
            self._websocket.paused()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._websocket is not None:
            self._websocket.resumed()

    def lost_error(self) -> ClientDisconnected:
        return ClientDisconnected("the client left")

    # --- what exchanges use -------------------------------------------------------------

    def send_promptly(self, promptly: bool) -> None:
        """Hand each write to the kernel at once, or (the default) let small ones wait for the
        end of this turn of the loop, together. In a stream of events, of which many connections
        have one in the same turn, none should wait for the others."""
        if self._transport is not None:
            # Not 0: with TLS, loops pause at the limit, not beyond it, and so with nothing unsent.
            self._transport.set_write_buffer_limits(high=1 if promptly else self.settings.buffer)

    def keep(self, data: bytes) -> None:
        """Keep what belongs to the next request; it starts after this one."""
        self._buffer = self._buffer + data if self._buffer else data
        if len(self._buffer) > self.settings.buffer:
            self.pause_reading()

    def next_request(self) -> None:
        """The exchange is over and the connection can carry another one."""
        self._exchange = None
        if self.server_state.draining:
            self.close()
            return
        self.set_deadline(self.settings.keep_alive_timeout)
        if self._reading_paused:
            self.resume_reading()
        if self._buffer:
            self._read_head()

    def close(self) -> None:
        if self._buffer:
            self.linger()
            return
        self._swallow(_UNBOUNDED)
        super().close()

    def linger(self) -> None:
        self._buffer = b""
        self._swallow(self.settings.drain_limit * 16)
        super().linger()

    def _swallow(self, size: float) -> None:
        self._exchange = self._websocket = None
        self._swallows = size

    def abort(self) -> None:
        # Always so: what a client has of an answer must not look like all of it.
        self.reset()

    def cut_short(self) -> None:
        """End an answer of which the client can see that it is incomplete."""
        self._buffer = b""
        self.close()

    def refuse(
        self,
        error: RoloError,
        headers: t.Sequence[tuple[bytes, bytes]] = (),
        *,
        seen: bytes | bytearray = b"",
    ) -> None:
        """Answer what was no proper request, and close.

        :param seen: what came of its head
        """
        LOG.info("request refused: %s", describe(error))
        name = self.settings.proxy_status
        value = None if name is None else proxy_status(name, error)
        if value is not None:
            headers = [*headers, (b"Proxy-Status", value.encode("ascii"))]
        head, body = answer_head(error.status, self.server_state.date, headers)
        observation = self.server_state.observation
        if observation is not None:  # before the client can see it
            observation.refused(self._client, seen, error, headers, body)
        self.write(head + body)
        self.linger()

    # --- deadlines ----------------------------------------------------------------------

    def look(self, now: float) -> None:
        """Called about once a second: end waits that took too long."""
        if self.deadline is not None and now >= self.deadline:
            self.deadline = None
            self.expired()
        elif self._websocket is not None:
            self._websocket.look(now)
        elif self._reading_paused and self._has_left():
            # A transport that does not read does not see its client leave either.
            self._lose()
            self.abort()

    def expired(self) -> None:
        if self.closing:
            super().expired()
        elif self._websocket is not None:
            self._websocket.expired()
        elif self._exchange is not None:
            self.abort()
        elif self._buffer:
            self.refuse(_head_timeout(), seen=self._buffer)
        else:
            self.close()

    def _has_left(self) -> bool:
        if sys.platform != "linux" or self._transport is None:
            return False
        sock = self._transport.get_extra_info("socket")
        try:
            return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] in _LEFT_STATES
        except (OSError, AttributeError):
            return False

    def set_deadline(self, seconds: float | None) -> None:
        # No timer: all deadlines of a server are looked at together.
        self.deadline = None if seconds is None else self._loop.time() + seconds

    def drain_out(self) -> None:
        """The server stops: close if idle, else as soon as the exchange is over."""
        if self._websocket is not None:
            self._websocket.going_away()
        elif self._exchange is None and not self.closing:
            self.close()

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """That of the exchange that is under way, if one is."""
        return [] if self.task is None else [self.task]

    def _lose(self) -> None:
        if self._exchange is not None:
            self._exchange.lost()
        elif self._websocket is not None:
            self._websocket.lost()

    # --- heads --------------------------------------------------------------------------

    def _read_head(self) -> None:
        buffer = self._buffer
        end = find_head_end(buffer, self._scanned)
        if end < 0:
            self._await_rest_of_head(buffer)
            return
        self._buffer = b""
        self._scanned = 0
        block, rest = buffer, b""
        if end < len(buffer):
            block, rest = buffer[:end], bytes(buffer[end:])
        try:
            self._start(parse_request_head(bytes(block), self.settings.limits), rest, end)
        except UpgradeRequired as e:
            fields = [(b"Sec-WebSocket-Version", b"13"), (b"Upgrade", b"websocket")]
            self.refuse(e, fields, seen=block)
        except DownstreamError as e:
            if self._may_be_http2 and PREFACE.startswith(bytes(block)):
                self._await_preface(bytes(buffer))
            else:
                self.refuse(e, seen=block)

    def _await_preface(self, data: bytes) -> None:
        """Leave the connection to HTTP/2 once its preface is whole."""
        if len(data) < len(PREFACE) and PREFACE.startswith(data):
            self._buffer = data
            return
        transport = self._transport
        if not data.startswith(PREFACE) or transport is None:
            self.refuse(BadRequest("malformed preface of HTTP/2"), seen=data)
            return
        from rolo.native.http2 import Http2Connection  # only now, as most do without

        self.server_state.connections.discard(self)
        successor = Http2Connection(self.server_state, self._scheme, self._client, self._server)
        transport.set_protocol(successor)
        successor.connection_made(transport)
        successor.feed(data)

    def _await_rest_of_head(self, buffer: bytes | bytearray) -> None:
        if len(buffer) > self.settings.limits.max_head:
            self.refuse(HeadTooLarge("request head too large"), seen=buffer)
        elif buffer[0] < 0x21 and not b"\r\n".startswith(buffer[:2]):
            self.refuse(BadRequest("not HTTP"), seen=buffer)  # most likely TLS on a plain port
        else:
            if not self._scanned:
                self.set_deadline(self.settings.head_timeout)
            self._scanned = len(buffer)
            self._buffer = bytearray(buffer) if isinstance(buffer, bytes) else buffer

    def _start(self, parsed: ParsedRequest, rest: bytes, size: int) -> None:
        head = self._head(parsed, size)
        length, max_body = parsed.length, self.settings.max_body
        if length and max_body is not None and length > max_body:
            raise ContentTooLarge(f"request body of {length} bytes")
        self.deadline = None
        self._may_be_http2 = False
        upgrade = parsed.upgrade
        if upgrade is not None and parsed.method == "GET" and b"websocket" in upgrade.split(b", "):
            self._start_websocket(head, parsed, rest)
            return
        framing = parsed.framing
        decoder = (
            None
            if framing is Framing.NONE or length == 0
            else body_decoder(framing, length, self.settings.limits, side="request")
        )
        exchange = NativeExchange(self, head, parsed, decoder)
        self._exchange = exchange
        if rest:
            exchange.feed(rest)
        self.task = self._loop.create_task(self._serve(exchange))

    def _head(self, parsed: ParsedRequest, size: int) -> RequestHead:
        target = parsed.target
        if parsed.method == "CONNECT":
            raise UnusableMethod("CONNECT makes no tunnel here")
        path = query = None
        if target[:1] != b"/":
            form = split_target(target, parsed.method)
            path, query = decoded_path(form.path), form.query or b""
        return RequestHead(
            parsed.method,
            target,
            parsed.headers,
            parsed.version,
            self._scheme,
            path,
            query,
            "",
            self._client,
            self._server,
            None,
            size,
            parsed.framing,
            parsed.length,
            parsed.expect_continue,
        )

    async def _serve(self, exchange: NativeExchange) -> None:
        failed = False
        try:
            await self.server_state.handler.handle_http(exchange)
        except asyncio.CancelledError:
            exchange.abort()
            raise
        except Exception:
            failed = True
            LOG.exception("error in exchange %s %r", exchange.head.method, exchange.head.target)
        finally:
            self.task = None
            exchange.over(failed=failed)

    # --- websockets ---------------------------------------------------------------------

    def _start_websocket(self, head: RequestHead, parsed: ParsedRequest, rest: bytes) -> None:
        handshake = ClientHandshake.read(parsed)
        websocket = NativeWebSocket(self, head, handshake)
        self._websocket = websocket
        if rest:
            websocket.feed(rest)
        self.task = self._loop.create_task(self._serve_websocket(websocket))

    async def _serve_websocket(self, websocket: NativeWebSocket) -> None:
        failed = False
        try:
            await self.server_state.handler.handle_websocket(websocket)
        except asyncio.CancelledError:
            websocket.abort()
            raise
        except Exception:
            failed = True
            LOG.exception("error in websocket %r", websocket.head.target)
        finally:
            self.task = None
            await websocket.over(failed=failed)


def _head_timeout() -> RequestTimeout:
    error = RequestTimeout("no complete request head in time")
    error.phase = "request head"
    return error
