"""One websocket on a connection of the native server; frames by wsproto."""

from __future__ import annotations

import asyncio
import base64
import binascii
import collections
import dataclasses
import hashlib
import typing as t

from wsproto.connection import Connection as Frames
from wsproto.connection import ConnectionState, ConnectionType
from wsproto.events import (
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    Ping,
    TextMessage,
)
from wsproto.extensions import Extension, PerMessageDeflate
from wsproto.utilities import ProtocolError

from rolo.bridge.downstream import Capabilities, RawHeaders, RequestHead
from rolo.bridge.native_exchange import CAPABILITIES, REASONS, answer_head
from rolo.errors import BadRequest, ClientDisconnected, DownstreamError
from rolo.proxy.http1 import Framing, ParsedRequest, encode_response_head
from rolo.websocket.errors import WebSocketDisconnectedError, WebSocketProtocolError

if t.TYPE_CHECKING:
    from rolo.bridge.native import Connection

# RFC 6455 section 1.3
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
# What the handshake itself says; handlers cannot.
_HANDSHAKE_FIELDS = frozenset(
    b"connection upgrade sec-websocket-accept sec-websocket-extensions sec-websocket-protocol "
    b"sec-websocket-version content-length transfer-encoding keep-alive".split()
)
_FRAMING_FIELDS = frozenset(b"connection content-length transfer-encoding keep-alive".split())
# Inflating can turn one byte into a thousand: feed slices, and look at the size in between.
_SLICE = 4096


class UpgradeRequired(DownstreamError):
    """A websocket version we do not speak (RFC 6455 section 4.4)."""

    phase = "websocket handshake"
    status = 426


@dataclasses.dataclass(frozen=True, slots=True)
class Handshake:
    """What a client's opening handshake asks for (RFC 6455 section 4.2.1)."""

    accept: bytes
    """The value of Sec-WebSocket-Accept that answers its key."""
    subprotocols: tuple[str, ...]
    extensions: str

    @classmethod
    def read(cls, parsed: ParsedRequest) -> Handshake:
        """:raises BadRequest: it is broken
        :raises UpgradeRequired: a version other than 13
        """
        found: dict[bytes, list[bytes]] = collections.defaultdict(list)
        for name, value in parsed.headers:
            found[name.lower()].append(value)
        if found[b"sec-websocket-version"] != [b"13"]:
            raise UpgradeRequired("websocket version other than 13")
        keys = found[b"sec-websocket-key"]
        if len(keys) != 1 or not _is_key(keys[0]):
            raise BadRequest("malformed Sec-WebSocket-Key")
        if parsed.framing is not Framing.NONE:
            raise BadRequest("websocket handshake with a body")
        offered = b",".join(found[b"sec-websocket-protocol"]).decode("latin-1").split(",")
        digest = hashlib.sha1(keys[0] + _GUID, usedforsecurity=False).digest()
        return cls(
            base64.b64encode(digest),
            tuple(part.strip() for part in offered if part.strip()),
            b",".join(found[b"sec-websocket-extensions"]).decode("latin-1"),
        )


def _is_key(key: bytes) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except binascii.Error:
        return False


class NativeWebSocket:
    """A :class:`~rolo.bridge.downstream.WebSocketDownstream` on a native connection."""

    capabilities: Capabilities = CAPABILITIES

    def __init__(self, connection: Connection, head: RequestHead, handshake: Handshake) -> None:
        self.head = head
        self.subprotocols = list(handshake.subprotocols)
        self.gone = False
        self._connection = connection
        self._handshake = handshake
        self._frames: Frames | None = None
        self._deflated = False
        self._answered = False
        self._early = bytearray()
        self._messages: collections.deque[str | bytes] = collections.deque()
        self._buffered = 0
        self._parts: list[t.Any] = []
        self._size = 0
        self._closed: WebSocketDisconnectedError | None = None
        self._close_sent = False
        self._deaf = False
        """Nothing that still comes matters."""
        self._waiter: asyncio.Future[None] | None = None
        self._on_gone: t.Callable[[], None] | None = None

    # --- the handshake --------------------------------------------------------------------

    def watch_gone(self, callback: t.Callable[[], None]) -> None:
        self._on_gone = callback
        if self.gone and self._frames is None:
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
        extensions = self._negotiate(fields)
        fields += [field for field in headers if field[0].lower() not in _HANDSHAKE_FIELDS]
        self._connection.write(encode_response_head(101, b"Switching Protocols", fields))
        self._answered = True
        self._frames = Frames(ConnectionType.SERVER, extensions)
        early, self._early = bytes(self._early), bytearray()
        self._connection.resume_reading()
        if early:
            self.feed(early)
        await self._connection.drained()

    def _negotiate(self, fields: RawHeaders) -> list[Extension]:
        if not self._connection.settings.websocket_compression:
            return []
        extension = PerMessageDeflate()
        for offer in self._handshake.extensions.split(","):
            if offer.partition(";")[0].strip().lower() != extension.name:
                continue
            try:
                accepted = extension.accept(offer)
            except (ValueError, ProtocolError):
                continue  # RFC 7692 section 5.1: decline an offer with bad parameters
            if accepted is None or accepted is False:
                continue
            value = extension.name + (
                f"; {accepted}" if isinstance(accepted, str) and accepted else ""
            )
            fields.append((b"Sec-WebSocket-Extensions", value.encode("ascii")))
            self._deflated = True
            return [extension]
        return []

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
            fields.append((b"Date", self._connection.hub.date))
        fields.append((b"Connection", b"close"))
        head = encode_response_head(status, reason or REASONS.get(status, b""), fields)
        self._answered = True
        self._connection.write(head + body)
        self._connection.linger()

    def _check_unanswered(self) -> None:
        if self.gone:
            raise ClientDisconnected("the client left during the handshake")
        if self._answered:
            raise WebSocketProtocolError("the handshake has been answered already")

    # --- messages -------------------------------------------------------------------------

    async def receive(self) -> str | bytes:
        while not self._messages:
            if self._closed is not None:
                raise WebSocketDisconnectedError(self._closed.code, self._closed.reason)
            if self._frames is None:
                raise WebSocketProtocolError("the handshake is not accepted")
            self._waiter = self._connection.hub.loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        message = self._messages.popleft()
        self._buffered -= len(message)
        if self._buffered <= self._connection.settings.buffer:
            self._connection.resume_reading()
        return message

    async def send(self, message: str | bytes) -> None:
        frames = self._open_frames()
        event: Event
        if isinstance(message, str):
            event = TextMessage(data=message)
        else:
            event = BytesMessage(data=message)
        self._connection.write(frames.send(event))
        if self._connection.writing_paused:
            try:
                await self._connection.drained()
            except ClientDisconnected:
                raise WebSocketDisconnectedError(1006, "") from None

    async def close(self, code: int | None, reason: str) -> None:
        if self._frames is None:
            if not self._answered and not self.gone:
                await self.reject(403, b"", [], b"")
            return
        if self._close_sent or self.gone:
            return
        self._send_close(code, reason if code is not None else "")
        if self._closed is None:
            self._connection.set_deadline(self._connection.settings.websocket_close_timeout)
            self._connection.resume_reading()

    def _open_frames(self) -> Frames:
        if self._closed is not None:
            raise WebSocketDisconnectedError(self._closed.code, self._closed.reason)
        if self._frames is None:
            raise WebSocketProtocolError("the handshake is not accepted")
        if self._close_sent:
            raise WebSocketProtocolError("the websocket is closed from our side")
        return self._frames

    def _send_close(self, code: int | None, reason: str) -> None:
        assert self._frames is not None
        self._close_sent = True
        event = CloseConnection(code=t.cast(int, code), reason=reason or None)
        self._connection.write(self._frames.send(event))

    # --- frames coming in -----------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Take bytes from the connection."""
        frames = self._frames
        if frames is None:
            self._early += data
            if len(self._early) > self._connection.settings.buffer:
                self._connection.pause_reading()
            return
        size = _SLICE if self._deflated else len(data)
        for start in range(0, len(data), size):
            if self._deaf:
                return
            frames.receive_data(data[start : start + size])
            for event in frames.events():
                self._handle(frames, event)
                if self._deaf:
                    return

    def _handle(self, frames: Frames, event: Event) -> None:
        if isinstance(event, Message):
            self._add(event)
        elif isinstance(event, Ping):
            if not self._close_sent:
                self._connection.write(frames.send(event.response()))
        elif isinstance(event, CloseConnection):
            self._handle_close(frames, event)

    def _add(self, event: Message[t.Any]) -> None:
        data = event.data
        self._parts.append(data)
        self._size += len(data)
        if self._size > self._connection.settings.websocket_max_message:
            self._fail(1009, "message too big")
            return
        if not event.message_finished:
            return
        message = self._parts[0] if len(self._parts) == 1 else data[:0].join(self._parts)
        self._parts, self._size = [], 0
        if self._close_sent:
            return  # RFC 6455 section 1.4: what comes after our close is discarded
        self._messages.append(message if isinstance(message, str) else bytes(message))
        self._buffered += len(message)
        if self._buffered > self._connection.settings.buffer:
            self._connection.pause_reading()
        self._wake()

    def _handle_close(self, frames: Frames, event: CloseConnection) -> None:
        code = int(event.code)
        if frames.state is ConnectionState.OPEN:
            # wsproto tells of broken frames by the close it wants sent for them.
            self._fail(code, event.reason or "")
            return
        if not self._close_sent:
            # RFC 6455 section 5.5.1: answer with the same code.
            self._close_sent = True
            self._connection.write(frames.send(event.response()))
        self._deaf = True
        self._end(code, event.reason or "")
        self._connection.close()

    def _fail(self, code: int, reason: str) -> None:
        """RFC 6455 section 7.1.7: fail the connection."""
        if not self._close_sent:
            self._send_close(code, reason)
        self._deaf = True
        self._end(code, reason)
        self._connection.linger()

    def _end(self, code: int, reason: str) -> None:
        if self._closed is None:
            self._closed = WebSocketDisconnectedError(code, reason)
        self._parts = []
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- the end --------------------------------------------------------------------------

    def lost(self) -> None:
        """The client has left, with or without a close frame before."""
        if self.gone:
            return
        self.gone = True
        self._end(1006, "")
        if self._frames is None and self._on_gone is not None:
            self._on_gone()

    def going_away(self) -> None:
        """The server stops."""
        if self._frames is None or self._closed is not None:
            return
        if not self._close_sent:
            self._send_close(1001, "")
        self._end(1001, "")
        self._connection.set_deadline(self._connection.settings.websocket_close_timeout)

    def abort(self) -> None:
        """Drop the connection."""
        self._end(1006, "")
        self._connection.abort()

    async def over(self, *, failed: bool) -> None:
        """The handler has returned: leave nothing open."""
        if self.gone or self._connection.closed:
            return
        if not self._answered:
            status = 500 if failed else 403
            self._answered = True
            head, body = answer_head(status, self._connection.hub.date)
            self._connection.write(head + body)
            self._connection.linger()
        elif self._frames is not None:
            await self.close(1011 if failed else 1000, "")
