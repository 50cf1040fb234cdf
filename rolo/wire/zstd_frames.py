"""Where the frames of a zstd body end (RFC 8878 section 3.1); nothing is decoded here.

The decoder gives what it has when its input ends, and does not tell whether that was the
end of a frame: a body cut short would pass as a whole one.
"""

from __future__ import annotations

_MAGIC = b"\x28\xb5\x2f\xfd"
_SKIPPABLE = b"\x2a\x4d\x18"
"""After a first byte of 0x50 to 0x5f."""
_DICTIONARY_ID = (0, 1, 2, 4)
_CONTENT_SIZE = (0, 2, 4, 8)
_RLE = 1


class ZstdFrames:
    """Follows a body from block to block, in whatever pieces it comes.

    What is no zstd at all is not complained about: the decoder does.
    """

    def __init__(self) -> None:
        self.parts = 0
        """Frames and blocks that have begun."""
        self._in_frame = False
        self._checksum = 0
        self._skip = 0
        self._rest = b""

    @property
    def complete(self) -> bool:
        """What was fed ends with a frame, or is empty."""
        return not (self._in_frame or self._skip or self._rest)

    def feed(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        at, end = 0, len(data)
        while at < end:
            if self._skip:
                step = min(self._skip, end - at)
                self._skip -= step
                at += step
                continue
            size = self._block(data, at) if self._in_frame else self._frame(data, at)
            if not size:
                break
            self.parts += 1
            at += size
        self._rest = data[at:]

    def _block(self, data: bytes, at: int) -> int:
        """Read a block's header. Returns its size, 0 if not all of it is here."""
        if len(data) - at < 3:
            return 0
        head = int.from_bytes(data[at : at + 3], "little")
        self._skip = 1 if head >> 1 & 3 == _RLE else head >> 3
        if head & 1:
            self._in_frame = False
            self._skip += self._checksum
        return 3

    def _frame(self, data: bytes, at: int) -> int:
        """Read a frame's header. Returns its size, 0 if not all of it is here."""
        head = data[at : at + 18]
        if head[1:4] == _SKIPPABLE and head[0] >> 4 == 5:
            if len(head) < 8:
                return 0
            self._skip = int.from_bytes(head[4:8], "little")
            return 8
        if not head.startswith(_MAGIC) or len(head) < 5:
            return 0
        flags = head[4]
        one_segment = flags >> 5 & 1
        content_size = _CONTENT_SIZE[flags >> 6] or one_segment
        size = 5 + (1 - one_segment) + _DICTIONARY_ID[flags & 3] + content_size
        if len(head) < size:
            return 0
        self._checksum = 4 * (flags >> 2 & 1)
        self._in_frame = True
        return size
