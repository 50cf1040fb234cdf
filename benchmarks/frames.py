"""The origin's side of a websocket: whatever arrives is sent back, frame by frame."""

from __future__ import annotations

import base64
import hashlib
import struct

from rolo.wire.masking import apply_mask

CLOSE, PING, PONG = 8, 9, 10


def frame_header(first: int, length: int, *, masked: bool) -> bytes:
    """Return a frame header (RFC 6455 section 5.2) that begins with the byte ``first``.

    A masked one ends with a key of zeros: valid on the wire (section 5.3), and it leaves our
    own masking out of the figures.
    """
    mask = 0x80 if masked else 0
    if length < 126:
        header = struct.pack("!BB", first, mask | length)
    elif length < 65536:
        header = struct.pack("!BBH", first, mask | 126, length)
    else:
        header = struct.pack("!BBQ", first, mask | 127, length)
    return header + bytes(4) if masked else header


def accept_field(key: bytes) -> bytes:
    """Return the ``Sec-WebSocket-Accept`` that answers ``key`` (RFC 6455 section 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())


class FrameEcho:
    """Client frames in, the same frames unmasked out; answers pings and close frames."""

    def __init__(self) -> None:
        self._received = b""
        self.closed = False

    def feed(self, data: bytes) -> bytes:
        """Return what is to be sent; ``closed`` tells whether it is the last."""
        received = self._received + data
        answers = []
        start = 0
        while not self.closed:
            frame = _next_frame(received, start)
            if frame is None:
                break
            first, payload, start = frame
            opcode = first & 0x0F
            self.closed = opcode == CLOSE
            if opcode != PONG:
                first = first - PING + PONG if opcode == PING else first
                answers += [frame_header(first, len(payload), masked=False), payload]
        self._received = received[start:]
        return b"".join(answers)


def _next_frame(received: bytes, start: int) -> tuple[int, bytes, int] | None:
    """Return the first byte, the payload and the end of the frame at ``start``, if whole."""
    if len(received) < start + 2:
        return None
    length, position = received[start + 1] & 0x7F, start + 2
    if length >= 126:
        size = 2 if length == 126 else 8
        length = int.from_bytes(received[position : position + size])
        position += size
    end = position + 4 + length
    if len(received) < end:
        return None
    key, payload = received[position : position + 4], received[position + 4 : end]
    if key != bytes(4):
        # In C where it can be: 64 KiB in Python take longer than a proxy needs for them.
        payload = apply_mask(payload, key)
    return received[start], payload, end
