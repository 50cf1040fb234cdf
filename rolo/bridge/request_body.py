"""The request body of an exchange: one stream, read by a sync handler or by the loop.

What a handler reads is kept (bounded), so that a proxy behind it still forwards the very
bytes that came, not a reconstruction from parsed forms; so is what a proxy forwards while it
is small, so that another upstream can be tried.
"""

from __future__ import annotations

import asyncio
import io
import typing as t

from rolo.bridge.body_record import ALWAYS_KEPT, DEFAULT_REPLAY_LIMIT, BodyRecord
from rolo.bridge.downstream import HttpDownstream
from rolo.bridge.limits import DEFAULT_LIMITS, Limits
from rolo.net.body import Upload
from rolo.net.body_stream import SeenSink, Sink
from rolo.portal.portal import Portal
from rolo.wire.fields import RawHeaders


class RequestBody:
    """One request body, for a handler that reads it and for any number of upstreams that it is
    sent to, each from the beginning.

    :param replay_limit: how many bytes are kept once a handler reads it, or asks to keep it;
        above 1 MiB they are kept in a temporary file
    :param limits: how long the body may be
    """

    __slots__ = (
        "_ended",
        "_free",
        "_limits",
        "_portal",
        "_position",
        "_record",
        "_replay_limit",
        "_taker",
        "downstream",
        "is_empty",
    )

    def __init__(
        self,
        downstream: HttpDownstream,
        portal: Portal,
        replay_limit: int = DEFAULT_REPLAY_LIMIT,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self.downstream = downstream
        self._portal = portal
        self._replay_limit = replay_limit
        self.is_empty = not downstream.may_have_body
        """True if the head already says that no body follows."""
        self._ended = self.is_empty
        self._record = None if self.is_empty else BodyRecord()
        self._position = 0  # of the handler that reads
        self._limits = limits
        self._taker: asyncio.Task[t.Any] | None = None  # who takes from the client just now
        self._free: asyncio.Future[None] | None = None  # who waits for that one

    @property
    def record(self) -> BodyRecord:
        """What was taken from the client."""
        if self._record is None:  # of a body that is empty nothing is
            self._record = BodyRecord()
        return self._record

    @property
    def is_here(self) -> bool:
        """All of it has come, and nobody has taken any."""
        return not self._ended and self.downstream.has_whole_body

    async def prefetch(self, length: int) -> None:
        """Take the first piece from the client, so that a handler on a thread finds a small
        body without another trip to the loop; no more than that, as the client may wait for
        an answer before it goes on.

        :param length: of the whole body, at most what is always kept; if the piece is all of
            it, the end is taken, too
        """
        if not self._ended and len(await self._pull()) == length:
            await self._pull()

    def read_piece(self) -> bytes:
        """Return the next piece for a sync reader, ``b""`` at the end.

        :raises ClientDisconnected: the client left before the end
        :raises ContentTooLarge: it is longer than the limit
        :raises BodyNotKept: it has gone out to an upstream, and was not kept
        """
        self.keep()
        if self._position < self.record.size:
            piece = self.record.read(self._position)
        elif self._ended:
            return b""
        else:
            piece = self._portal.call(self.piece_at(self._position))
        self._position += len(piece)
        return piece

    def keep(self) -> None:
        """Keep what is taken from now on up to the replay limit."""
        self.record.keep(self._replay_limit)

    def sending(self) -> SentBody:
        """Return the whole body for a forwarder. An upstream that it is still on its way to
        gets no more of it.

        :raises BodyNotKept: some of it has been taken, and was not kept
        """
        self.record.check()
        if self._taker is not None:
            self._portal.call(self._take_over())
            self.record.check()
        return SentBody(self)

    async def piece_at(self, at: int) -> bytes:
        """Return the piece that begins at the byte ``at``, ``b""`` at the end. The loop's
        thread only.

        :raises: as :meth:`read_piece`
        """
        while at >= self.record.size and not self._ended:
            if self._taker is None:
                return await self._pull()
            await self._freed()
        return self.record.read(at) if at < self.record.size else b""

    async def pipe_from(self, at: int, sink: Sink) -> None:
        """Hand all from the byte ``at`` on to ``sink`` as it comes, and return at the end.

        :raises: as :meth:`read_piece`, and whatever ``sink`` raises
        """
        while at < self.record.size or self._taker is not None:
            piece = await self.piece_at(at)
            if not piece:
                return
            at += len(piece)
            if not sink.write(piece):
                await sink.drained()
        if self._ended:
            return
        self._taker = asyncio.current_task()
        try:
            await self.downstream.pipe_body(SeenSink(sink, self._count))
            self._ended = True
        finally:
            self._release()

    async def _pull(self) -> bytes:
        """Return the next piece from the client."""
        self._taker = asyncio.current_task()
        try:
            piece = await self.downstream.receive_body()
            self._ended = not piece
            self._count(piece)
        finally:
            self._release()
        return piece

    def _count(self, piece: bytes) -> None:
        """Note a piece that the client sent.

        :raises ContentTooLarge: the body is longer than the limit
        """
        self.record.add(piece)
        self._limits.check_body(self.record.size)

    async def _take_over(self) -> None:
        """Stop whoever takes from the client for another upstream."""
        while self._taker is not None:
            if self._taker is not self._portal.task:
                self._taker.cancel()
            await self._freed()

    async def _freed(self) -> None:
        if self._free is None:
            self._free = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._free)

    def _release(self) -> None:
        self._taker = None
        if self._free is not None:
            self._free.set_result(None)
            self._free = None

    def whole_nowait(self) -> bytes | None:
        """Return the whole body, without using it up, if all of it is here already and it is
        small, else ``None``."""
        record = self.record
        if not self._ended or not record.is_kept or record.size > ALWAYS_KEPT:
            return None
        return record.read(0, -1)

    @property
    def trailers(self) -> RawHeaders:
        """Trailer fields; empty before the end of the body."""
        return self.downstream.request_trailers

    def replay(self) -> bytes:
        """Return the whole body, read by a handler or not, without using it up.

        :raises BodyNotKept: some of it was taken, and is gone
        """
        while self.read_piece():
            pass
        return self.record.read(0, -1)

    def close(self) -> None:
        """Drop what is kept."""
        if self._record is not None:
            self._record.close()


class SentBody(Upload):
    """A request body on its way to one upstream, from the beginning."""

    __slots__ = ("_at", "_body")

    def __init__(self, body: RequestBody) -> None:
        self._body = body
        self._at = 0

    async def receive_body(self) -> bytes:
        """:raises: as :meth:`RequestBody.read_piece`"""
        piece = await self._body.piece_at(self._at)
        self._at += len(piece)
        return piece

    async def pipe(self, sink: Sink) -> None:
        await self._body.pipe_from(self._at, sink)


class RequestStream(io.BufferedIOBase):
    """The file-like face of a :class:`RequestBody`: ``environ["wsgi.input"]``. As with other
    buffered files, :meth:`read` waits for all it was asked for, :meth:`read1` for something."""

    def __init__(self, body: RequestBody) -> None:
        self._body = body
        self._rest: bytes | memoryview = b""

    def readable(self) -> bool:
        return True

    def readinto1(self, buffer: t.Any) -> int:
        piece = self.read1(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def read(self, size: int | None = -1) -> bytes:
        """Read ``size`` bytes, fewer only at the end; all of it if negative."""
        if size is None or size < 0:
            return self.readall()
        first = self.read1(size)
        missing = size - len(first)
        if not missing or not first:
            return first
        pieces = [first]
        while missing and (piece := self.read1(missing)):
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces)

    def read1(self, size: int = -1) -> bytes:
        """Read up to ``size`` bytes, waiting only for the first; if negative, whatever is
        there."""
        if not size:
            return b""
        rest = self._rest or self._body.read_piece()
        if size < 0:
            size = len(rest)
        self._rest = memoryview(rest)[size:]
        return bytes(rest[:size])

    def readall(self) -> bytes:
        pieces = [bytes(self._rest)]
        self._rest = b""
        while piece := self._body.read_piece():
            pieces.append(piece)
        return b"".join(pieces)

    def readline(self, size: int | None = -1, /) -> bytes:
        limit = -1 if size is None else size
        line = bytearray()
        while limit < 0 or len(line) < limit:
            rest = self._rest or self._body.read_piece()
            if not rest:
                break
            window = bytes(rest) if limit < 0 else bytes(rest[: limit - len(line)])
            end = window.find(b"\n") + 1
            taken = window[:end] if end else window
            line += taken
            self._rest = memoryview(rest)[len(taken) :]
            if end:
                break
        return bytes(line)

    def replay(self) -> bytes:
        """As :meth:`RequestBody.replay`."""
        return self._body.replay()
