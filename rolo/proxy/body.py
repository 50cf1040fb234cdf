"""A response body between the connection that fills it and the reader that drains it."""

from __future__ import annotations

import asyncio
import typing as t

from rolo.proxy.messages import RawHeaders

_PIECE = 64 * 1024
"""Bytes handed to the reader at once, at most (a piece that came larger is not cut)."""


class BodySource(t.Protocol):
    """The exchange behind a body, as the body sees it."""

    def reader_waits(self) -> None:
        """The reader has everything there is and waits for more."""

    def reader_took(self) -> None:
        """The buffer is empty again."""

    def reader_left(self) -> None:
        """The reader closed the body; called once."""


class UpstreamBody:
    """The body of an answer, pulled piece by piece on the loop.

    Whoever has the answer must :meth:`close` the body, read to its end or not. What came
    before an interruption is delivered before the error is raised.
    """

    # Most bodies need few of these: what an instance does not set costs it nothing.
    bytes_read = 0
    """How many bytes the reader has got."""
    buffered = 0
    """How many bytes wait for the reader."""
    _ended = False
    _closed = False
    _error: BaseException | None = None
    _waiter: asyncio.Future[None] | None = None

    def __init__(self, length: int | None, source: BodySource) -> None:
        self.length = length
        """The declared length in bytes, ``None`` if none was declared (or the answer has no
        body)."""
        self.trailers: RawHeaders = []
        """Trailer fields; empty before the end of the body."""
        self._source: BodySource | None = source
        self._pieces: list[bytes] = []

    # --- the reader's side

    async def read(self) -> bytes:
        """Return what has arrived as soon as there is any, ``b""`` at the end (and ever after).

        :raises BodyInterrupted: the connection ended within the body
        :raises BadResponse: the body's framing is broken
        :raises IdleTimeout: nothing moved for too long
        :raises ExchangeTimeout: the whole exchange took too long
        :raises RuntimeError: the body is closed, or someone else is reading it
        """
        if not self._pieces and not await self._wait():
            return b""
        data = self._take()
        if self._source is not None and not self.buffered:
            self._source.reader_took()
        return data

    def read_whole_nowait(self) -> bytes | None:
        """Return the rest of the body if all of it has arrived and makes one piece, else
        ``None`` and no change."""
        if not self._ended or self._error is not None or self._closed:
            return None
        if self.buffered > _PIECE:
            return None
        return self._take()

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
        if data := await self.read():
            return data
        raise StopAsyncIteration

    @property
    def complete(self) -> bool:
        """The body has arrived to its end."""
        return self._ended and self._error is None

    @property
    def waiting(self) -> bool:
        """A reader waits for bytes."""
        return self._waiter is not None

    def _take(self) -> bytes:
        pieces = self._pieces
        if self.buffered > _PIECE and len(pieces) > 1:
            return self._take_some()
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self.buffered = 0
        self.bytes_read += len(data)
        return data

    def _take_some(self) -> bytes:
        """As much as makes one piece: what is handed on is held a second time below."""
        size = count = 0
        for piece in self._pieces:
            size += len(piece)
            if size > _PIECE and count:
                size -= len(piece)
                break
            count += 1
        data = b"".join(self._pieces[:count])
        del self._pieces[:count]
        self.buffered -= size
        self.bytes_read += size
        return data

    async def _wait(self) -> bool:
        """Wait for pieces; false at the end of the body."""
        while not self._pieces:
            if self._closed:
                raise RuntimeError("the response body is closed")
            if self._error is not None:
                raise self._error
            if self._ended:
                return False
            if self._waiter is not None:
                raise RuntimeError("the response body is being read by someone else")
            if self._source is not None:
                self._source.reader_waits()
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return True

    # --- the exchange's side

    def push(self, pieces: list[bytes]) -> None:
        """Add pieces, none of them empty."""
        if self._closed:
            return
        for piece in pieces:
            self.buffered += len(piece)
        self._pieces.extend(pieces)
        if self._waiter is not None:
            self._wake()

    def finish(self, trailers: RawHeaders) -> None:
        """The body is complete."""
        self.trailers = trailers
        self._ended = True
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

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
