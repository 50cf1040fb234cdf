"""A response body between the connection that fills it and the reader that drains it."""

from __future__ import annotations

import typing as t

from rolo.net.body_stream import PIECE, BodyStream, Sink
from rolo.wire.fields import RawHeaders

_NO_TRAILERS: RawHeaders = []


class BodySource(t.Protocol):
    """The exchange behind a body, as the body sees it."""

    def reader_waits(self) -> None:
        """The reader has everything there is and waits for more."""

    def reader_took(self) -> None:
        """The buffer is empty again."""

    def reader_left(self) -> None:
        """The reader closed the body; called once."""


class UpstreamBody(BodyStream):
    """The body of an answer, pulled piece by piece on the loop, or piped.

    Whoever has the answer must :meth:`close` the body, read to its end or not. What came
    before an interruption is delivered before the error is raised.
    """

    _ended = False
    _closed = False
    _error: BaseException | None = None

    trailers: RawHeaders = _NO_TRAILERS
    """Trailer fields; empty before the end of the body."""

    def __init__(self, length: int | None, source: BodySource) -> None:
        self._pieces = []
        self.length = length
        """The declared length in bytes, ``None`` if none was declared (or the answer has no
        body)."""
        self._source: BodySource | None = source

    # --- the reader's side

    async def read(self) -> bytes:
        """Return what has arrived as soon as there is any, ``b""`` at the end (and ever after).

        :raises BodyInterrupted: the connection ended within the body
        :raises BadResponse: the body's framing is broken
        :raises IdleTimeout: nothing moved for too long
        :raises ExchangeTimeout: the whole exchange took too long
        :raises RuntimeError: the body is closed, or someone else is reading it
        """
        return await self._read()

    def read_nowait(self) -> bytes:
        """Return what has arrived, ``b""`` if nothing has, or nothing more will come."""
        return self._read_nowait() if self._pieces else b""

    async def pipe(self, sink: Sink) -> None:
        """Hand the body to ``sink`` as it arrives, and return at its end.

        :raises: as :meth:`read`, and whatever ``sink`` raises
        """
        await self._pipe(sink)

    def read_whole_nowait(self) -> bytes | None:
        """Return the rest of the body if all of it has arrived and makes one piece, else
        ``None`` and no change."""
        if not self._ended or self._error is not None or self._closed:
            return None
        if self.buffered > PIECE:
            return None
        return self._take()

    @property
    def spent(self) -> bool:
        """There is nothing left of it, and no connection behind it."""
        return self._ended and self._source is None and not self._pieces

    def close(self) -> None:
        """Give the connection back if the body has ended cleanly, else break it off.

        Only on the loop; may be called again.
        """
        if self._closed:
            return
        self._closed = True
        self._pieces.clear()
        self.buffered = 0
        source, self._source = self._source, None
        if source is not None:
            source.reader_left()
        self._wake()

    def __aiter__(self) -> UpstreamBody:
        return self

    async def __anext__(self) -> bytes:
        if data := await self._read():
            return data
        raise StopAsyncIteration

    @property
    def complete(self) -> bool:
        """The body has arrived to its end."""
        return self._ended and self._error is None

    def _at_end(self) -> bool:
        if self._closed:
            raise RuntimeError("the response body is closed")
        if self._error is not None:
            raise self._error
        return self._ended

    def _starving(self) -> None:
        if self._source is not None:
            self._source.reader_waits()

    def _emptied(self) -> None:
        if self._source is not None:
            self._source.reader_took()

    # --- the exchange's side

    def fill(self, whole: bytes) -> None:
        """All of the body came with the head: nobody reads yet."""
        if whole:
            self._pieces.append(whole)
            self.buffered = len(whole)
        self._ended = True

    def push(self, pieces: list[bytes]) -> None:
        """Add pieces, none of them empty."""
        if not self._closed:
            self._put(pieces)

    def finish(self, trailers: RawHeaders) -> None:
        """The body is complete."""
        if trailers:
            self.trailers = trailers
        self._ended = True
        if self._waiter is not None:
            self._wake()

    def fail(self, error: BaseException) -> None:
        """The body breaks off; later failures change nothing."""
        if not self._ended:
            self._ended = True
            self._error = error
            self._wake()

    def detach(self) -> None:
        """The exchange is over: the body lives on alone."""
        self._source = None
