"""A body on its way from the side that sends it to the side that takes it.

What arrives is either read, piece by piece, or piped: handed on in the very call that
brought it, without waking a task for every piece.
"""

from __future__ import annotations

import asyncio
import typing as t

PIECE = 64 * 1024
"""Bytes handed to a reader at once, at most (a piece that came larger is not cut): what is
handed on is held a second time below."""
_SMALL = 8 * 1024
"""Bytes: where pieces that have come together are smaller on average, one copy costs less than
a write of each, and than keeping them apart."""


class Sink(t.Protocol):
    """Where a body is piped, on the loop."""

    def write(self, piece: bytes) -> bool:
        """Send ``piece``. ``False`` asks to wait for :meth:`drained` before the next.

        :raises ClientDisconnected: or another error of the side written to
        """

    async def drained(self) -> None:
        """Wait until that side can take more.

        :raises ClientDisconnected: or another error of the side written to
        """


class SeenSink:
    """An sink, with what is written to it shown to ``see`` first."""

    __slots__ = ("_see", "_sink", "drained")

    def __init__(self, sink: Sink, see: t.Callable[[bytes], t.Any]) -> None:
        self._sink = sink
        self._see = see
        self.drained = sink.drained

    def write(self, piece: bytes) -> bool:
        self._see(piece)
        return self._sink.write(piece)


class BodyStream:
    """What has arrived of a body and is not taken yet; a base class for both sides.

    One reader at a time. Whoever fills it stops reading its socket while :attr:`full`.
    """

    # Most bodies need few of these: what an instance does not set costs it nothing.
    buffered = 0
    """Bytes that wait for the reader."""
    _waiter: asyncio.Future[None] | None = None
    _sink: Sink | None = None
    _sink_error: Exception | None = None
    _sink_full = False

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    # --- what a side adds

    def _at_end(self) -> bool:
        """Return whether nothing more will come; raise what broke the body off."""
        raise NotImplementedError

    def _starving(self) -> None:
        """The reader has everything and is going to wait."""

    def _emptied(self) -> None:
        """The reader has everything; its socket may be read on."""

    # --- for the reader

    async def _read(self) -> bytes:
        """Return what has arrived as soon as there is any, ``b""`` at the end."""
        while not self._pieces:
            if self._at_end():
                return b""
            await self._wait()
        return self._read_nowait()

    def _read_nowait(self) -> bytes:
        """Return what has arrived, ``b""`` if nothing has."""
        data = self._take()
        if not self.buffered:
            self._emptied()
        return data

    async def _pipe(self, sink: Sink) -> None:
        """Hand everything to ``sink``, to the end of the body."""
        try:
            await self._pipe_all(sink)
        finally:
            self._sink_full = False  # that of nobody any more

    async def _pipe_all(self, sink: Sink) -> None:
        while True:
            while self._pieces:
                if not sink.write(self._take()):
                    await self._drain(sink)
            self._emptied()
            if self._at_end():
                return
            self._sink = sink
            try:
                await self._wait()
            finally:
                self._sink = None
            if self._sink_error is not None:
                raise self._sink_error
            if self._sink_full:
                await self._drain(sink)

    async def _drain(self, sink: Sink) -> None:
        self._sink_full = True
        await sink.drained()
        self._sink_full = False

    async def _wait(self) -> None:
        if self._waiter is not None:
            raise RuntimeError("the body is being read by someone else")
        self._starving()
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    @property
    def waiting(self) -> bool:
        """A reader waits for bytes."""
        return self._waiter is not None and not self._waiter.done()

    @property
    def piping(self) -> bool:
        """What comes is handed on at once."""
        return self._sink is not None

    def _take(self) -> bytes:
        pieces = self._pieces
        if self.buffered > PIECE and len(pieces) > 1:
            return self._take_some()
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self.buffered = 0
        return data

    def _take_some(self) -> bytes:
        """As much as makes one piece."""
        size = count = 0
        for piece in self._pieces:
            size += len(piece)
            if size > PIECE and count:
                size -= len(piece)
                break
            count += 1
        data = b"".join(self._pieces[:count])
        del self._pieces[:count]
        self.buffered -= size
        return data

    # --- for whoever fills it

    def full(self, room: int) -> bool:
        """Return whether to stop reading: more than ``room`` bytes wait, or the side piped
        to cannot keep up."""
        return self.buffered > room or self._sink_full

    def _put(self, pieces: list[bytes]) -> None:
        """Add pieces that have come together, none of them empty."""
        if len(pieces) > 1 and sum(map(len, pieces)) < len(pieces) * _SMALL:
            pieces = [b"".join(pieces)]
        sink = self._sink
        if sink is not None:
            pieces = self._pipe_now(pieces, sink)
        if pieces:
            for piece in pieces:
                self.buffered += len(piece)
            self._pieces.extend(pieces)
            self._wake()

    def _pipe_now(self, pieces: list[bytes], sink: Sink) -> list[bytes]:
        """Hand on as many as ``sink`` takes; return the others."""
        for count, piece in enumerate(pieces, 1):
            try:
                keeps_up = sink.write(piece)
            except Exception as exc:  # noqa: BLE001 - raised again where the body is piped
                self._sink_error = exc
                keeps_up = False
            if not keeps_up:
                self._sink = None
                self._sink_full = True
                self._wake()
                return pieces[count:]
        return []

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
