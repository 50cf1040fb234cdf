"""Websocket frames on the wire (RFC 6455 section 5): bytes in, messages out, and back. No I/O.

wsproto does the same and more; it takes 18 us for a small message where this takes 2,
which is most of what a relay does.
"""

from __future__ import annotations

import codecs
import struct
import typing as t
import zlib

from rolo.wire.close_codes import (
    GOING_AWAY,
    INVALID_DATA,
    NO_CODE,
    PROTOCOL_ERROR,
    TOO_BIG,
    is_sendable,
)
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
OVERHEAD = 64
"""Bytes that a message takes in memory besides its payload, about."""
_AT_ONCE = 256 * 1024
# Fragments below this are joined as they come: an object for each would cost more than
# the few bytes that somebody may put into it.
_SMALL = 4096

MAX_RATIO = 250
"""How far a deflated message may expand ..."""
RATIO_FREE = 1024 * 1024
"""... beyond its first so many inflated bytes, before it is taken for a bomb."""


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

    Fragments are joined, text is decoded, frames are checked as they come. A message that
    is deflated may expand :data:`MAX_RATIO` times.

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
        "_wire",
        "discarding",
        "failure",
        "held",
        "more",
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
        self._parts: list[bytes | bytearray] | None = None
        self._size = self._wire = 0
        self._decoder: codecs.IncrementalDecoder | None = None
        self.failure: Failure | None = None
        """Set once the other side has broken the protocol; nothing is read after that."""
        self.more = False
        """The last :meth:`feed` has left frames unread, since those that it returned are
        enough to hold at once. Feeding ``b""`` goes on."""
        self.held = 0
        """Bytes of unfinished frames and messages."""
        self.discarding = False
        """Set by whoever wants no more messages; control frames are still read."""

    def drop(self) -> None:
        """Forget what is unfinished. Nothing can be read after that."""
        self.failure = self.failure or Failure(GOING_AWAY, "dropped")
        self.more = False
        self._buffer = self._parts = None
        self._size = self.held = 0

    def feed(self, data: bytes | memoryview) -> list[Event]:
        """Return what ``data`` completes: so much of it that 256 KiB, or a single message,
        are not exceeded; see :attr:`more`. What came before a violation is returned still;
        look at :attr:`failure` afterwards. Of a memoryview nothing is kept."""
        self.more = False
        buffer = self._buffer
        if buffer is not None:
            buffer += data
            if len(buffer) < self._needed:
                self.held = self._size + len(buffer)
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
                self._parts, self._size = None, 0
        if self.failure is not None or position == len(source):
            self._buffer = None
            self.held = self._size
            return events
        if buffer is None:
            self._buffer = bytearray(source[position:] if position else source)
        elif position:
            # Not "del": a bytearray keeps the room that a big message needed.
            self._buffer = buffer[position:]
        self.held = self._size + len(source) - position
        return events

    def _read(self, source: Source, events: list[Event]) -> int:
        """Read whole frames into ``events``; return where the first that is left begins."""
        position, available = 0, len(source)
        client = self._client
        room = _AT_ONCE
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
                room -= length + OVERHEAD
            else:
                self._check(first, second, length)
                event = self._take(first, self._payload(source, start, end))
                if event is not None:
                    events.append(event)
                    if type(event) is Close:
                        return available  # RFC 6455 section 1.4: nothing after it counts
                    room -= len(event) + OVERHEAD
            position = end
            if room < 0 and position < available:
                self._needed = 2
                self.more = True
                return position

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
            if not final:
                self._parts = []
                if opcode == TEXT:
                    self._decoder = codecs.getincrementaldecoder("utf-8")()
        if self.discarding:
            if final:
                self._parts = None
            return None
        if self._compressed:
            payload = self._inflated(payload, final)
        parts = self._parts
        if parts is not None:
            if self._decoder is not None:
                self._check_text(payload, final)
            _add(parts, payload)
            self._size += len(payload)
            if not final:
                return None
            payload = b"".join(parts)
        self._parts, self._decoder, self._size, self._wire = None, None, 0, 0
        return payload if self._opcode == BINARY else _decoded(payload)

    def _inflated(self, payload: bytes, final: bool) -> bytes:
        assert self._deflate is not None
        self._wire += len(payload)
        limit = MAX_RATIO * self._wire
        if limit < RATIO_FREE:
            limit = RATIO_FREE
        if limit > self._limit:
            limit = self._limit
        try:
            return self._deflate.inflate(payload, limit - self._size, last=final)
        except TooMuch:
            if limit < self._limit:
                raise Failure(TOO_BIG, f"message expands over {MAX_RATIO} times") from None
            raise Failure(TOO_BIG, "message too big") from None
        except zlib.error:
            raise Failure(INVALID_DATA, "not deflated data") from None

    def _check_text(self, payload: bytes, final: bool) -> None:
        """Find a violation in the fragment that holds it, without keeping the text: as str
        it may take four times as much."""
        assert self._decoder is not None
        try:
            self._decoder.decode(payload, final)
        except UnicodeDecodeError:
            raise Failure(INVALID_DATA, "not UTF-8") from None


def _add(parts: list[bytes | bytearray], fragment: bytes) -> None:
    """Add a fragment of a message to those before it."""
    if len(fragment) >= _SMALL:
        parts.append(fragment)
    elif parts and type(parts[-1]) is bytearray:
        parts[-1] += fragment
    else:
        parts.append(bytearray(fragment))


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


def encode_fragment(payload: bytes, *, opcode: int, final: bool, client: bool) -> bytes:
    """Write one frame of a message that is not compressed.

    :param opcode: of the message in its first frame, then :data:`CONTINUATION`
    """
    return b"".join(_frame(opcode | (_FINAL if final else 0), payload, client))


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
