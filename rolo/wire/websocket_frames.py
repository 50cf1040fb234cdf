"""Websocket frames on the wire (RFC 6455 section 5): bytes in, messages out, and back. No I/O.

wsproto does the same and more; it takes 18 us for a small message where this takes 2,
which is most of what a relay does.
"""

from __future__ import annotations

import codecs
import struct
import typing as t
import zlib

from rolo.wire.close_codes import INVALID_DATA, NO_CODE, PROTOCOL_ERROR, TOO_BIG, is_sendable
from rolo.wire.masking import apply_mask, fresh_key
from rolo.wire.permessage_deflate import Deflate, TooMuch

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

_FINAL, _COMPRESSED, _RESERVED, _OPCODE = 0x80, 0x40, 0x70, 0x0F
_MASKED = 0x80
_MAX_CONTROL = 125
_EXTENDED_16 = struct.Struct("!H").unpack_from
_EXTENDED_64 = struct.Struct("!Q").unpack_from
_SHORT = struct.Struct("!BB").pack
_MEDIUM = struct.Struct("!BBH").pack
_LONG = struct.Struct("!BBQ").pack
# Below this, one more copy is cheaper than one more system call or buffer.
_JOIN = 16 * 1024
_NO_LIMIT = 2**62


class Ping(t.NamedTuple):
    payload: bytes


class Pong(t.NamedTuple):
    payload: bytes


class Close(t.NamedTuple):
    """A close frame; ``code`` is 1005 if it holds none."""

    code: int
    reason: str


Event = str | bytes | Ping | Pong | Close
"""A message (text as str, binary as bytes), whole; or a control frame."""


class Failure(Exception):
    """The other side broke the protocol, or a limit.

    :param code: to close with (RFC 6455 section 7.4.1): 1002, 1007 or 1009
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{reason} ({code})")
        self.code = code
        self.reason = reason


Source = bytes | bytearray | memoryview


class FrameReader:
    """Takes bytes, gives messages and control frames.

    Fragments are joined, text is decoded, frames are checked as they come.

    :param client: we are the client: frames must not be masked, else they must
    :param max_message: bytes of one message, inflated; ``None`` is no limit
    :param deflate: the connection's compression, ``None`` without
    """

    __slots__ = (
        "_buffer",
        "_client",
        "_compressed",
        "_decoder",
        "_deflate",
        "_limit",
        "_needed",
        "_opcode",
        "_parts",
        "_size",
        "failure",
    )

    def __init__(
        self, *, client: bool, max_message: int | None = None, deflate: Deflate | None = None
    ) -> None:
        self._client = client
        self._limit = max_message if max_message is not None else _NO_LIMIT
        self._deflate = deflate
        self._buffer: bytearray | None = None
        self._needed = 0
        self._opcode = 0
        self._compressed = False
        self._parts: list[t.Any] | None = None
        self._size = 0
        self._decoder: codecs.IncrementalDecoder | None = None
        self.failure: Failure | None = None
        """Set once the other side has broken the protocol; nothing is read after that."""

    def feed(self, data: bytes | memoryview) -> list[Event]:
        """Return what ``data`` completes. What came before a violation is returned still;
        look at :attr:`failure` afterwards. Of a memoryview nothing is kept."""
        buffer = self._buffer
        if buffer is not None:
            buffer += data
            if len(buffer) < self._needed:
                return []
            source: Source = buffer
        else:
            source = data
        events: list[Event] = []
        position = 0
        if self.failure is None:
            try:
                position = self._read(source, events)
            except Failure as exc:
                self.failure = exc
        if self.failure is not None or position == len(source):
            self._buffer = None
        elif buffer is None:
            self._buffer = bytearray(source[position:] if position else source)
        elif position:
            # Not "del": a bytearray keeps the room that a big message needed.
            self._buffer = buffer[position:]
        return events

    def _read(self, source: Source, events: list[Event]) -> int:
        """Read whole frames into ``events``; return where the first incomplete one begins."""
        position, available = 0, len(source)
        client = self._client
        while True:
            start = position + 2
            if start > available:
                self._needed = 2
                return position
            first, second = source[position], source[position + 1]
            length = second & 0x7F
            if length > _MAX_CONTROL:
                start += 2 if length == 126 else 8
                if start > available:
                    self._check(first, second, 0)
                    self._needed = start - position
                    return position
                if length == 126:
                    (length,) = _EXTENDED_16(source, position + 2)
                    if length < 126:
                        raise Failure(PROTOCOL_ERROR, "length not in its shortest form")
                else:
                    (length,) = _EXTENDED_64(source, position + 2)
                    if length < 65536 or length >> 63:
                        raise Failure(PROTOCOL_ERROR, "length not in its shortest form")
            if not client:
                start += 4
            end = start + length
            if end > available:
                self._check(first, second, length)
                self._needed = end - position
                return position
            if (
                (first == 0x82 or first == 0x81)
                and self._parts is None
                and length <= self._limit
                and (second < 128) is client
            ):
                # The usual: one frame, one message, nothing special.
                payload = self._payload(source, start, end)
                events.append(payload if first == 0x82 else _decoded(payload))
            else:
                self._check(first, second, length)
                event = self._take(first, self._payload(source, start, end))
                if event is not None:
                    events.append(event)
                    if type(event) is Close:
                        return available  # RFC 6455 section 1.4: nothing after it counts
            position = end

    def _payload(self, source: Source, start: int, end: int) -> bytes:
        if self._client:
            return bytes(memoryview(source)[start:end])
        key = bytes(source[start - 4 : start])
        return apply_mask(memoryview(source)[start:end], key)

    def _check(self, first: int, second: int, length: int) -> None:
        """Refuse a frame by its header, before its payload is waited for.

        :raises Failure: 1002 or 1009
        """
        opcode = first & _OPCODE
        if bool(second & _MASKED) is self._client:
            raise Failure(PROTOCOL_ERROR, "masked frame" if self._client else "unmasked frame")
        if reserved := first & _RESERVED:
            begins = opcode in (TEXT, BINARY)
            if self._deflate is None or reserved != _COMPRESSED or not begins:
                raise Failure(PROTOCOL_ERROR, "reserved bit set")
        if opcode >= CLOSE:
            if opcode > PONG:
                raise Failure(PROTOCOL_ERROR, "unknown opcode")
            if not first & _FINAL or second & 0x7F > _MAX_CONTROL:
                raise Failure(PROTOCOL_ERROR, "control frame fragmented or too long")
            return
        if opcode > BINARY:
            raise Failure(PROTOCOL_ERROR, "unknown opcode")
        if (opcode == CONTINUATION) is (self._parts is None):
            raise Failure(PROTOCOL_ERROR, "continuation of nothing, or a message within another")
        if self._size + length > self._limit:
            raise Failure(TOO_BIG, "message too big")

    def _take(self, first: int, payload: bytes) -> Event | None:
        """Take a checked frame; return what it completes."""
        opcode = first & _OPCODE
        if opcode == PING:
            return Ping(payload)
        if opcode == PONG:
            return Pong(payload)
        if opcode == CLOSE:
            return _close(payload)
        final = bool(first & _FINAL)
        if opcode != CONTINUATION:
            self._opcode = opcode
            self._compressed = bool(first & _COMPRESSED)
            self._parts = []
            if opcode == TEXT:
                self._decoder = codecs.getincrementaldecoder("utf-8")()
        assert self._parts is not None
        if self._compressed:
            payload = self._inflated(payload, final)
        self._size += len(payload)
        part: t.Any = payload if self._opcode == BINARY else self._text(payload, final)
        if not final:
            if part:
                self._parts.append(part)
            return None
        parts, self._parts, self._decoder, self._size = self._parts, None, None, 0
        whole: str | bytes = part[:0].join([*parts, part]) if parts else part
        return whole

    def _inflated(self, payload: bytes, final: bool) -> bytes:
        assert self._deflate is not None
        try:
            return self._deflate.inflate(payload, self._limit - self._size, last=final)
        except TooMuch:
            raise Failure(TOO_BIG, "message too big") from None
        except zlib.error:
            raise Failure(INVALID_DATA, "not deflated data") from None

    def _text(self, payload: bytes, final: bool) -> str:
        assert self._decoder is not None
        try:
            return self._decoder.decode(payload, final)
        except UnicodeDecodeError:
            raise Failure(INVALID_DATA, "not UTF-8") from None


def _decoded(payload: bytes) -> str:
    try:
        return payload.decode("utf-8")
    except UnicodeDecodeError:
        raise Failure(INVALID_DATA, "not UTF-8") from None


def _close(payload: bytes) -> Close:
    if not payload:
        return Close(NO_CODE, "")
    if len(payload) == 1:
        raise Failure(PROTOCOL_ERROR, "half a close code")
    (code,) = _EXTENDED_16(payload)
    if not is_sendable(code):
        raise Failure(PROTOCOL_ERROR, f"close code {code}")
    return Close(code, _decoded(payload[2:]))


# --- writing ----------------------------------------------------------------------------


def encode_message(
    message: str | bytes, *, client: bool, deflate: Deflate | None = None
) -> list[bytes]:
    """Write one message as one frame; return it in one piece, or in two if it is large.

    :param client: mask it, with a key of its own
    """
    if type(message) is str:
        opcode, payload = _FINAL | TEXT, message.encode("utf-8", "replace")
    else:
        opcode, payload = _FINAL | BINARY, t.cast(bytes, message)
    if deflate is not None:
        opcode |= _COMPRESSED
        payload = deflate.compress(payload)
    return _frame(opcode, payload, client)


def encode_ping(payload: bytes, *, client: bool) -> bytes:
    """:param payload: at most 125 bytes"""
    return _frame(_FINAL | PING, payload, client)[0]


def encode_pong(payload: bytes, *, client: bool) -> bytes:
    """:param payload: of the ping that it answers"""
    return _frame(_FINAL | PONG, payload, client)[0]


def encode_close(code: int | None, reason: str, *, client: bool) -> bytes:
    """Write a close frame.

    :param code: ``None`` (and 1005) for none; one that may not be sent becomes 1011
    :param reason: cut to what fits, between characters; without a code there is none
    """
    if code is None or code == NO_CODE:
        payload = b""
    else:
        text = reason.encode("utf-8", "replace")
        if len(text) > _MAX_CONTROL - 2:
            text = text[: _MAX_CONTROL - 2].decode("utf-8", "ignore").encode("utf-8")
        payload = (code if is_sendable(code) else 1011).to_bytes(2, "big") + text
    return _frame(_FINAL | CLOSE, payload, client)[0]


def _frame(first: int, payload: bytes, masked: bool) -> list[bytes]:
    length = len(payload)
    mask = _MASKED if masked else 0
    if length < 126:
        header = _SHORT(first, mask | length)
    elif length < 65536:
        header = _MEDIUM(first, mask | 126, length)
    else:
        header = _LONG(first, mask | 127, length)
    if masked:
        key = fresh_key()
        header += key
        payload = apply_mask(payload, key)
    if length < _JOIN:
        return [header + payload]
    return [header, payload]
