"""One websocket on a connection of the native server: its handshake, then its messages."""

from __future__ import annotations

import dataclasses
import typing as t

from rolo.bridge.downstream import Capabilities, RequestHead, WebSocketDownstream
from rolo.bridge.websocket import PortalWebSocketAdapter
from rolo.errors import BadRequest, ClientDisconnected, DownstreamError
from rolo.native.http import CAPABILITIES, REASONS, NativeExchange, answer_head
from rolo.net.ledger import Ledger
from rolo.net.websocket import Liveness, WebSocketPeer
from rolo.portal.portal import Portal
from rolo.websocket.errors import WebSocketProtocolError
from rolo.wire.fields import RawHeaders
from rolo.wire.handshake import accept_value, extensions, is_key, subprotocols
from rolo.wire.http1 import Framing, ParsedRequest, encode_response_head, parse_request_head
from rolo.wire.permessage_deflate import Deflate, accept_offer
from rolo.wire.received import FieldsAtRest, received

if t.TYPE_CHECKING:
    from rolo.native.connection import Connection

# What the handshake itself says; handlers cannot.
_HANDSHAKE_FIELDS = frozenset(
    b"connection upgrade sec-websocket-accept sec-websocket-extensions sec-websocket-protocol "
    b"sec-websocket-version content-length transfer-encoding keep-alive".split()
)
_FRAMING_FIELDS = frozenset(b"connection content-length transfer-encoding keep-alive".split())


# What a refusal is the answer to, as far as its framing goes: the last on its connection.
_LAST_REQUEST = parse_request_head(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")


class UpgradeRequired(DownstreamError):
    """A websocket version we do not speak (RFC 6455 section 4.4)."""

    phase = "websocket handshake"
    status = 426


@dataclasses.dataclass(frozen=True, slots=True)
class ClientHandshake:
    """What a client's opening handshake asks for (RFC 6455 section 4.2.1)."""

    accept: bytes
    """The value of Sec-WebSocket-Accept that answers its key."""
    subprotocols: list[str]
    extensions: str

    @classmethod
    def read(cls, parsed: ParsedRequest) -> ClientHandshake:
        """:raises BadRequest: it is broken
        :raises UpgradeRequired: a version other than 13
        """
        headers = parsed.headers
        fields = received(headers).special
        if fields.get(b"sec-websocket-version") != b"13":
            raise UpgradeRequired("websocket version other than 13")
        key = fields.get(b"sec-websocket-key", b"")
        if not is_key(key):  # as several are none
            raise BadRequest("malformed Sec-WebSocket-Key")
        if parsed.framing is not Framing.NONE:
            raise BadRequest("websocket handshake with a body")
        return cls(accept_value(key), subprotocols(headers), extensions(headers))


class NativeWebSocket:
    """A :class:`~rolo.bridge.downstream.WebSocketDownstream` on a native connection."""

    __slots__ = (
        "_answered",
        "_connection",
        "_early",
        "_end",
        "_handshake",
        "_liveness",
        "_on_gone",
        "_refusal",
        "gone",
        "head",
        "subprotocols",
    )

    capabilities: Capabilities = CAPABILITIES

    def __init__(
        self, connection: Connection, head: RequestHead, handshake: ClientHandshake
    ) -> None:
        self.head = head
        self.subprotocols = handshake.subprotocols
        self.gone = False
        self._connection = connection
        self._handshake: ClientHandshake = handshake
        self._end: WebSocketPeer | None = None
        self._liveness: Liveness | None = None
        self._answered = False
        self._early = b""
        self._on_gone: t.Callable[[], None] | None = None
        self._refusal: NativeExchange | None = None

    def make_adapter(self, outer: WebSocketDownstream, portal: Portal) -> PortalWebSocketAdapter:
        return PortalWebSocketAdapter(outer, portal)

    @property
    def pinged_at(self) -> float:
        return 0.0 if self._end is None else self._end.pinged_at

    # --- the handshake --------------------------------------------------------------------

    def watch_gone(self, callback: t.Callable[[], None]) -> None:
        self._on_gone = callback
        if self.gone and self._end is None:
            callback()

    async def accept(self, subprotocol: str | None, headers: RawHeaders) -> None:
        """:raises ClientDisconnected: the client left before
        :raises WebSocketProtocolError: the handshake has been answered already
        """
        self._check_unanswered()
        fields = [
            (b"Upgrade", b"websocket"),
            (b"Connection", b"Upgrade"),
            (b"Sec-WebSocket-Accept", self._handshake.accept),
        ]
        if subprotocol is not None:
            fields.append((b"Sec-WebSocket-Protocol", subprotocol.encode("latin-1")))
        deflate = self._negotiate(fields)
        fields += [field for field in headers if field[0].lower() not in _HANDSHAKE_FIELDS]
        connection, settings = self._connection, self._connection.settings
        connection.write(encode_response_head(101, b"Switching Protocols", fields))
        self._answered = True
        self._end = WebSocketPeer(
            connection,
            client=False,
            max_message=settings.websocket_max_message,
            buffer=settings.buffer,
            close_timeout=settings.websocket_close_timeout,
            ledger=Ledger.of(connection.server_state.loop),
            max_held=settings.websocket_max_memory,
            deflate=deflate,
        )
        early, self._early = self._early, b""
        self._on_gone = None
        # It may stay open for days: what only a handshake needs has had its time.
        self.head.headers = FieldsAtRest(self.head.headers)
        del self._handshake
        connection.resume_reading()
        if early:
            self._end.feed(early)
        await connection.drained()

    def _negotiate(self, fields: RawHeaders) -> Deflate | None:
        if not self._connection.settings.websocket_compression:
            return None
        accepted = accept_offer(self._handshake.extensions)
        if accepted is None:
            return None
        parameters, value = accepted
        fields.append((b"Sec-WebSocket-Extensions", value.encode("ascii")))
        return Deflate(parameters, client=False)

    async def reject(self, status: int, reason: bytes, headers: RawHeaders, body: bytes) -> None:
        """:raises ClientDisconnected: the client left before
        :raises WebSocketProtocolError: the handshake has been answered already
        """
        self._check_unanswered()
        fields = [field for field in headers if field[0].lower() not in _FRAMING_FIELDS]
        if status not in (204, 304):
            fields.append((b"Content-Length", b"%d" % len(body)))
        else:
            body = b""
        if all(name.lower() != b"date" for name, _ in fields):
            fields.append((b"Date", self._connection.server_state.date))
        fields.append((b"Connection", b"close"))
        head = encode_response_head(status, reason or REASONS.get(status, b""), fields)
        self._answered = True
        self._connection.write(head + body)
        self._connection.linger()

    async def refusal(self) -> NativeExchange:
        """:raises: as :meth:`reject`"""
        self._check_unanswered()
        self._answered = True
        self._refusal = _Refusal(self._connection, self.head, _LAST_REQUEST, None)
        return self._refusal

    def _check_unanswered(self) -> None:
        if self.gone:
            raise ClientDisconnected("the client left during the handshake")
        if self._answered:
            raise WebSocketProtocolError("the handshake has been answered already")

    # --- messages -------------------------------------------------------------------------

    async def receive(self) -> str | bytes:
        return await self._open().receive()

    async def send(self, message: str | bytes) -> None:
        await self._open().send(message)

    async def close(self, code: int | None, reason: str) -> None:
        if self._end is not None:
            self._end.close_nowait(code, reason)
        elif not self._answered and not self.gone:
            await self.reject(403, b"", [], b"")

    @property
    def wire(self) -> BareWebSocket:
        return BareWebSocket(self)

    @property
    def end(self) -> WebSocketPeer | None:
        """The open websocket itself; ``None`` before it is accepted."""
        return self._end

    def _open(self) -> WebSocketPeer:
        if self._end is None:
            raise WebSocketProtocolError("the handshake is not accepted")
        return self._end

    # --- what the connection tells --------------------------------------------------------

    def feed(self, data: bytes | memoryview) -> None:
        """Take bytes from the connection; of a memoryview nothing is kept."""
        if self._end is not None:
            self._end.feed(data)
            return
        if self._refusal is not None:
            return  # nobody asked for it
        self._early += data
        if len(self._early) > self._connection.settings.buffer:
            self._connection.pause_reading()

    def paused(self) -> None:
        """The client does not take what is written."""
        if self._end is not None:
            self._end.paused()

    def resumed(self) -> None:
        """The client takes again what is written."""
        if self._end is not None:
            self._end.resumed()

    def lost(self) -> None:
        """The client has left, with or without a close frame before."""
        if self.gone:
            return
        self.gone = True
        if self._refusal is not None:
            self._refusal.lost()
        if self._end is not None:
            self._end.lost()
        elif self._on_gone is not None:
            self._on_gone()

    def going_away(self) -> None:
        """The server stops."""
        if self._end is not None:
            self._end.going_away()

    def look(self, now: float) -> None:
        """Ping a client that is silent for long, and give up one that does not answer."""
        interval = self._connection.settings.websocket_ping_interval
        if interval is None or self._end is None:
            return
        if self._liveness is None:
            timeout = self._connection.settings.websocket_ping_timeout
            self._liveness = Liveness(self._end, interval, timeout, now)
        self._liveness.look(now)

    def expired(self) -> None:
        """The deadline of the connection is over."""
        if self._end is not None:
            self._end.expired()
        else:
            self._connection.abort()

    def abort(self) -> None:
        """Drop the connection."""
        if self._end is not None:
            self._end.abort()
        else:
            self._connection.abort()

    async def over(self, *, failed: bool) -> None:
        """The handler has returned: leave nothing open."""
        if self.gone or self._connection.closed:
            return
        if self._refusal is not None:
            self._refusal.over(failed=failed)
        elif not self._answered:
            status = 500 if failed else 403
            self._answered = True
            head, body = answer_head(status, self._connection.server_state.date)
            self._connection.write(head + body)
            self._connection.linger()
        elif self._end is not None:
            self._end.close_nowait(1011 if failed else 1000, "")


class BareWebSocket:
    """The :class:`~rolo.bridge.downstream.WebSocketWire` of a websocket."""

    __slots__ = ("_websocket", "drained", "flushed")

    def __init__(self, websocket: NativeWebSocket) -> None:
        self._websocket = websocket
        connection = websocket._connection
        self.drained, self.flushed = connection.drained, connection.flushed

    def write(self, *data: bytes) -> None:
        self._websocket._open().write(*data)

    def wrote(self, message: str | bytes) -> None:
        pass

    def withhold(self, pongs: bool = False, closes: bool = False) -> None:
        self._websocket._open().withhold(pongs=pongs, closes=closes)

    def watch_end(self, callback: t.Callable[[], None]) -> None:
        self._websocket._open().on_end = callback

    def lose(self, error: BaseException, *, reset: bool = False) -> None:
        websocket = self._websocket
        websocket._answered = True
        if websocket._end is not None:
            websocket._end.lose(reset=reset)
        elif reset:
            websocket._connection.reset()
        else:
            websocket._connection.cut_short()


class _Refusal(NativeExchange):
    """The answer that refuses a handshake, where it takes time."""

    def _leave(self) -> None:
        self._connection.linger()
