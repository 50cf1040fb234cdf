"""A body on its way from the side that sends it to the side that takes it.

What arrives is either read, piece by piece, or poured: handed on in the very call that
brought it, without waking a task for every piece.
"""

from __future__ import annotations

import asyncio
import typing as t

PIECE = 64 * 1024
"""Bytes handed to a reader at once, at most (a piece that came larger is not cut): what is
handed on is held a second time below."""


class Outlet(t.Protocol):
    """Where a body is poured, on the loop."""

    def write(self, piece: bytes) -> bool:
        """Send ``piece``. ``False`` asks to wait for :meth:`drained` before the next.

        :raises ClientDisconnected: or another error of the side written to
        """

    async def drained(self) -> None:
        """Wait until that side can take more.

        :raises ClientDisconnected: or another error of the side written to
        """


class Source(t.Protocol):
    """A body that is read piece by piece."""

    async def receive_body(self) -> bytes: ...


async def pour_read(source: Source, outlet: Outlet) -> None:
    """Pour ``source`` if it can be poured, else what reading it gives."""
    pour = getattr(source, "pour", None)
    if pour is not None:
        await pour(outlet)
        return
    while piece := await source.receive_body():
        if not outlet.write(piece):
            await outlet.drained()


async def pour_pulled(body: t.AsyncIterable[bytes], outlet: Outlet) -> None:
    """Pour ``body`` if it can be poured, else what pulling it gives."""
    pour = getattr(body, "pour", None)
    if pour is not None:
        await pour(outlet)
        return
    async for piece in body:
        if piece and not outlet.write(piece):
            await outlet.drained()


class SeenOutlet:
    """An outlet, with what is written to it shown to ``see`` first."""

    __slots__ = ("_outlet", "_see", "drained")

    def __init__(self, outlet: Outlet, see: t.Callable[[bytes], t.Any]) -> None:
        self._outlet = outlet
        self._see = see
        self.drained = outlet.drained

    def write(self, piece: bytes) -> bool:
        self._see(piece)
        return self._outlet.write(piece)


class Inflow:
    """What has arrived of a body and is not taken yet; a base class for both sides.

    One reader at a time. Whoever fills it stops reading its socket while :attr:`full`.
    """

    # Most bodies need few of these: what an instance does not set costs it nothing.
    buffered = 0
    """Bytes that wait for the reader."""
    _waiter: asyncio.Future[None] | None = None
    _outlet: Outlet | None = None
    _outlet_error: Exception | None = None
    _outlet_full = False

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

    async def _pour(self, outlet: Outlet) -> None:
        """Hand everything to ``outlet``, to the end of the body."""
        try:
            await self._pour_all(outlet)
        finally:
            self._outlet_full = False  # that of nobody any more

    async def _pour_all(self, outlet: Outlet) -> None:
        while True:
            while self._pieces:
                if not outlet.write(self._take()):
                    await self._drain(outlet)
            self._emptied()
            if self._at_end():
                return
            self._outlet = outlet
            try:
                await self._wait()
            finally:
                self._outlet = None
            if self._outlet_error is not None:
                raise self._outlet_error
            if self._outlet_full:
                await self._drain(outlet)

    async def _drain(self, outlet: Outlet) -> None:
        self._outlet_full = True
        await outlet.drained()
        self._outlet_full = False

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
    def pouring(self) -> bool:
        """What comes is handed on at once."""
        return self._outlet is not None

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
        """Return whether to stop reading: more than ``room`` bytes wait, or the side poured
        to cannot keep up."""
        return self.buffered > room or self._outlet_full

    def _put(self, pieces: list[bytes]) -> None:
        """Add pieces, none of them empty."""
        outlet = self._outlet
        if outlet is not None:
            pieces = self._pour_now(pieces, outlet)
        if pieces:
            for piece in pieces:
                self.buffered += len(piece)
            self._pieces.extend(pieces)
            self._wake()

    def _pour_now(self, pieces: list[bytes], outlet: Outlet) -> list[bytes]:
        """Hand on as many as ``outlet`` takes; return the others."""
        for count, piece in enumerate(pieces, 1):
            try:
                keeps_up = outlet.write(piece)
            except Exception as exc:  # noqa: BLE001 - raised again where the body is poured
                self._outlet_error = exc
                keeps_up = False
            if not keeps_up:
                self._outlet = None
                self._outlet_full = True
                self._wake()
                return pieces[count:]
        return []

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
