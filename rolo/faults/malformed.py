"""Messages that break the grammar of HTTP/1 (RFC 9112)."""

from __future__ import annotations

import dataclasses
import random
import typing as t

from rolo.faults.fault import Fault, check_counts
from rolo.faults.message import Bottom, Head, Stage, Way
from rolo.wire.fields import RawHeaders
from rolo.wire.http1 import encode_chunk

if t.TYPE_CHECKING:
    from rolo.faults.websocket import SpoiledLeg

MAX_HELD = 64 * 1024 * 1024
"""Bytes of a body that :func:`wrong_length` holds to know its length."""


class _OnWire(Fault):
    websockets: t.ClassVar[bool] = False
    rank: t.ClassVar[int] = 1

    @property
    def needs_wire(self) -> bool:
        return True


# --- garbage ----------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Garbage(_OnWire):
    size: int = 512
    data: bytes | None = None

    rank: t.ClassVar[int] = 2

    def __post_init__(self) -> None:
        check_counts(1, size=self.size)

    def stage(self, below: Way, bottom: Bottom, draw: random.Random) -> Way:
        data = draw.randbytes(self.size) if self.data is None else self.data
        return _GarbageStage(below, bottom, data)


def garbage(size: int = 512, data: bytes | None = None) -> Fault:
    """Bytes that are no HTTP come in the place of the message, then the end of the connection
    (upwards: what the upstream answers to that is the answer).

    :param size: so many, drawn at random, unless ``data`` says which
    """
    return Garbage(size, data)


class _GarbageStage(Stage):
    def __init__(self, below: Way, bottom: Bottom, data: bytes) -> None:
        super().__init__(below, bottom)
        self._data = data

    async def head(self, head: Head) -> None:
        await self.bottom.write(self._data)
        if not head.first:
            self.bottom.break_off("garbage sent by a fault")

    async def body(self, piece: bytes) -> None:
        pass

    async def end(self) -> None:
        pass


# --- heads ------------------------------------------------------------------------------


def _inserted(line: bytes) -> t.Callable[[bytes], bytes]:
    def insert(block: bytes) -> bytes:
        return block[:-2] + line + b"\r\n"

    return insert


def _first_line(block: bytes) -> bytes:
    _, _, rest = block.partition(b"\r\n")
    return (b"HTTP/1.1 OK\r\n" if block.startswith(b"HTTP/") else b"GET\r\n") + rest


def _version(block: bytes) -> bytes:
    return block.replace(b"HTTP/1.1", b"HTTP/9.9", 1)


def _space_before_colon(block: bytes) -> bytes:
    first, end, fields = block.partition(b"\r\n")
    return first + end + fields.replace(b":", b" :", 1)


def _length_and_chunks(block: bytes) -> bytes:
    return block[:-2] + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"


def _two_lengths(block: bytes) -> bytes:
    return block[:-2] + b"Content-Length: 3\r\nContent-Length: 5\r\n\r\n"


HEADS: dict[str, t.Callable[[bytes], bytes]] = {
    "first line": _first_line,
    "version": _version,
    "no colon": _inserted(b"a line that is no field\r\n"),
    "space before colon": _space_before_colon,
    "control": _inserted(b"X-Fault: a\x00b\r\n"),
    "folded": _inserted(b"X-Fault: a\r\n  b\r\n"),
    "bare LF": lambda block: block.replace(b"\r\n", b"\n"),
    "bad length": _inserted(b"Content-Length: many\r\n"),
    "two lengths": _two_lengths,
    "length and chunks": _length_and_chunks,
}
"""What :func:`malformed_head` can do, by name: each makes of a head another one."""


@dataclasses.dataclass(frozen=True)
class MalformedHead(_OnWire):
    kind: str = "first line"

    def __post_init__(self) -> None:
        if self.kind not in HEADS:
            raise ValueError(f"a head is malformed by one of {', '.join(HEADS)}: {self.kind!r}")

    def stage(self, below: Way, bottom: Bottom, draw: random.Random) -> Way:
        return _HeadStage(
            below, bottom, HEADS[self.kind], f"malformed head by a fault: {self.kind}"
        )


def malformed_head(kind: str = "first line") -> Fault:
    """The head breaks the grammar; what follows it is in order.

    :param kind: ``first line``, ``version``, ``no colon``, ``space before colon``, ``control``,
        ``folded``, ``bare LF``, ``bad length``, ``two lengths`` or ``length and chunks``
    """
    return MalformedHead(kind)


class _HeadStage(Stage):
    """The head on the wire is another one than that which frames the body."""

    def __init__(
        self, below: Way, bottom: Bottom, change: t.Callable[[bytes], bytes], why: str
    ) -> None:
        super().__init__(below, bottom)
        self._change = change
        self._why = why

    async def head(self, head: Head) -> None:
        await self.bottom.write_head(self._change(self.bottom.block(head)))

    async def end(self) -> None:
        await self.below.end()
        self.bottom.spoilt(self._why)


@dataclasses.dataclass(frozen=True)
class OversizedHead(Fault):
    size: int = 256 * 1024

    rank: t.ClassVar[int] = 3

    def __post_init__(self) -> None:
        check_counts(1, size=self.size)

    def on_leg(self, leg: SpoiledLeg, draw: random.Random) -> None:
        leg.head_size += self.size

    def stage(self, below: Way, bottom: Bottom, draw: random.Random) -> Way:
        return _OversizedStage(below, bottom, self.size)


def oversized_head(size: int = 256 * 1024) -> Fault:
    """The head has ``size`` bytes more, in fields of a kilobyte each."""
    return OversizedHead(size)


class _OversizedStage(Stage):
    def __init__(self, below: Way, bottom: Bottom, size: int) -> None:
        super().__init__(below, bottom)
        self._size = size

    async def head(self, head: Head) -> None:
        head.headers = [*head.headers, *padding(self._size)]
        await self.below.head(head)


def padding(size: int) -> RawHeaders:
    """Return fields that make ``size`` bytes of a head."""
    names = [b"X-Fault-%d" % number for number in range(-(-size // 1024))]
    lefts = range(size, 0, -1024)
    return [
        (name, b"x" * max(1, min(1024, left) - len(name) - 4))
        for name, left in zip(names, lefts, strict=True)
    ]


# --- chunks -----------------------------------------------------------------------------

CHUNKS: dict[str, bytes | None] = {
    "size": b"zz\r\nbroken\r\n",
    "negative": b"-1\r\nbroken\r\n",
    "huge": b"fffffffffffffffff\r\nbroken\r\n",
    "no end": b"6\r\nbrokenXX",
    "short": b"ff\r\nbroken",
    "no last": None,
}
"""What :func:`bad_chunk` can do, by name: what it writes; ``None`` only leaves the last one
out."""


@dataclasses.dataclass(frozen=True)
class BadChunk(_OnWire):
    kind: str = "size"
    after: int = 0

    def __post_init__(self) -> None:
        check_counts(0, after=self.after)
        if self.kind not in CHUNKS:
            raise ValueError(f"a chunk is broken by one of {', '.join(CHUNKS)}: {self.kind!r}")

    def stage(self, below: Way, bottom: Bottom, draw: random.Random) -> Way:
        return _ChunkStage(below, bottom, self)


def bad_chunk(kind: str = "size", after: int = 0) -> Fault:
    """The body comes in chunks, one of which is broken, and then the connection ends.

    :param kind: ``size`` (no number), ``negative``, ``huge``, ``no end`` (more bytes than the
        size says), ``short`` (fewer), or ``no last`` (only the last chunk is lacking)
    :param after: so many bytes of the body come in order, or all if there are fewer
    """
    return BadChunk(kind, after)


class _ChunkStage(Stage):
    def __init__(self, below: Way, bottom: Bottom, fault: BadChunk) -> None:
        super().__init__(below, bottom)
        self._broken = CHUNKS[fault.kind]
        self._left = fault.after
        self._why = f"broken chunk by a fault: {fault.kind}"

    async def head(self, head: Head) -> None:
        head.make_chunked()
        await self.below.head(head)

    async def body(self, piece: bytes) -> None:
        if self._broken is None:
            await self.below.body(piece)
            return
        right, self._left = piece[: self._left], self._left - len(piece)
        if right:
            await self.bottom.write(encode_chunk(right))
        if self._left < 0:
            await self._break()

    async def end(self) -> None:
        await self._break()

    async def _break(self) -> t.NoReturn:
        if self._broken is not None:
            await self.bottom.write(self._broken)
        self.bottom.break_off(self._why)


# --- lengths ----------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class WrongLength(_OnWire):
    by: int

    def __post_init__(self) -> None:
        if not isinstance(self.by, int) or not self.by:
            raise ValueError(f"a length is wrong by a whole number but 0, not {self.by!r}")

    def stage(self, below: Way, bottom: Bottom, draw: random.Random) -> Way:
        return _LengthStage(below, bottom, self.by)


def wrong_length(by: int) -> Fault:
    """Content-Length says ``by`` bytes more than there are in the body, or fewer (``by`` less
    than 0). The connection stays open, as one does whose server believes that all is said.

    A body whose length is not known before is read to its end first (64 MiB at most).
    """
    return WrongLength(by)


class _LengthStage(Stage):
    def __init__(self, below: Way, bottom: Bottom, by: int) -> None:
        super().__init__(below, bottom)
        self._by = by
        self._head: Head | None = None
        self._held: list[bytes] = []
        self._size = 0

    async def head(self, head: Head) -> None:
        if head.values(b"content-length"):
            await self._send_head(head)
        else:
            self._head = head

    async def _send_head(self, head: Head) -> None:
        true = int(head.values(b"content-length")[0])
        block = self.bottom.block(head)
        before, name, after = _split(block, b"\r\ncontent-length:")
        _, end, rest = after.partition(b"\r\n")
        told = b" %d" % max(0, true + self._by)
        await self.bottom.write_head(before + name + told + end + rest)

    async def body(self, piece: bytes) -> None:
        if self._head is None:
            await self.below.body(piece)
            return
        self._held.append(piece)
        self._size += len(piece)
        if self._size > MAX_HELD:
            self.bottom.break_off("a body too long to give it a wrong length")

    async def end(self) -> None:
        head = self._head
        if head is not None:
            head.remove(b"content-length", b"transfer-encoding")
            head.headers.append((b"Content-Length", b"%d" % self._size))
            await self._send_head(head)
            for piece in self._held:
                await self.below.body(piece)
        await self.below.end()
        self.bottom.spoilt(f"length wrong by {self._by} bytes by a fault")


def _split(block: bytes, name: bytes) -> tuple[bytes, bytes, bytes]:
    at = block.lower().index(name)
    return block[:at], block[at : at + len(name)], block[at + len(name) :]
