"""The body of an answer from a recording, piece by piece and in its time."""

from __future__ import annotations

import asyncio
import typing as t

from rolo.errors import BrokenAsRecorded
from rolo.har.content import PIECE
from rolo.har.model import Answer, Entry
from rolo.har.pace import AtOnce, Pace
from rolo.net.body import Body, LoopBody
from rolo.wire.fields import RawHeaders


class ReplayedBody(LoopBody):
    """Sends what was recorded, and breaks off where it was broken off.

    :param broken: the answer was not complete
    """

    __slots__ = ("_answer", "_done", "_ended", "_pace", "broken")

    def __init__(self, entry: Entry, answer: Answer, pace: Pace) -> None:
        self._answer = answer
        self._ended = entry.ended
        self._pace = pace
        self._done = False
        self.broken = entry.is_broken

    def __aiter__(self) -> t.AsyncIterator[bytes]:
        return self._sent()

    async def _sent(self) -> t.AsyncIterator[bytes]:
        for at, piece in self._pieces():
            if at is not None:
                await self._pace.piece(at)
            yield piece
        await self._end()

    def blocking(self) -> BlockingBody:
        """Return the same body for a server without a loop: its threads wait."""
        return BlockingBody(self)

    def __iter__(self) -> t.Iterator[bytes]:
        with asyncio.Runner() as runner:
            for at, piece in self._pieces():
                if at is not None:
                    runner.run(self._pace.piece(at))
                yield piece
            runner.run(self._end())

    async def _end(self) -> None:
        await self._pace.head(self._ended)
        if self.broken:
            raise BrokenAsRecorded("the recorded answer ends here, incomplete")
        self._done = True

    def _pieces(self) -> t.Iterator[tuple[float | None, bytes]]:
        """Yield the bytes, each with its time; ``None`` if it belongs to the piece before."""
        body = self._answer.body
        assert body is not None
        with body.open() as file:
            for at, size in self._answer.pieces:
                first: float | None = at
                while size and (data := file.read(min(size, PIECE))):
                    yield first, data
                    first = None
                    size -= len(data)
            # All of it, if it is not known how it came, or more than that.
            first = None if len(self._answer.pieces) else self._answer.at
            while data := file.read(PIECE):
                yield first, data
                first = None

    def read_whole_nowait(self) -> bytes | None:
        body = self._answer.body
        if type(self._pace) is not AtOnce or self.broken or self._answer.trailers:
            return None
        if body is None or not body.in_memory:
            return None
        self._done = True
        return body.read()

    @property
    def trailers(self) -> RawHeaders:
        if not self._done:
            return []
        return [
            (name.encode("latin-1"), value.encode("latin-1"))
            for name, value in self._answer.trailers
        ]


class BlockingBody(Body):
    """A :class:`ReplayedBody` that only sync code iterates."""

    __slots__ = ("_body",)

    def __init__(self, body: ReplayedBody) -> None:
        self._body = body

    def __iter__(self) -> t.Iterator[bytes]:
        return iter(self._body)

    @property
    def trailers(self) -> RawHeaders:
        return self._body.trailers

    def read_whole_nowait(self) -> bytes | None:
        return self._body.read_whole_nowait()
