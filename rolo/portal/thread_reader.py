"""A body on its way from the loop, which pipes it, to a thread, which takes it."""

from __future__ import annotations

import asyncio
import dataclasses
import queue
import typing as t

from rolo.errors import NoPortalError
from rolo.net.body_stream import Sink
from rolo.portal.portal import Portal
from rolo.portal.workers import wait

_ROOM = 128 * 1024
"""Bytes that may wait for the thread while the next piece is still piped."""


@dataclasses.dataclass(frozen=True, slots=True)
class _End:
    error: BaseException | None


class ThreadReader:
    """Pieces of one body for one thread. The loop runs ahead of it, within bounds, so that
    neither waits for the other at every piece.

    :param pipe: pipes the body into an sink, to its end; on the loop
    """

    def __init__(
        self, pipe: t.Callable[[Sink], t.Coroutine[t.Any, t.Any, None]], portal: Portal
    ) -> None:
        self._pipe = pipe
        self._portal = portal
        self._pieces: queue.SimpleQueue[bytes | _End] = queue.SimpleQueue()
        self._begun = False
        # Each is written by one side only.
        self._piped = self._taken = 0
        self._end: _End | None = None
        # Only the loop's thread touches the following.
        self._task: asyncio.Task[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._unwanted = False

    # --- the thread's side

    def take(self) -> bytes:
        """Wait for the next piece and return it, ``b""`` at the end (and ever after).

        :raises ClientDisconnected: the client left
        :raises NoPortalError: the exchange has ended otherwise, or the loop has
        """
        if self._end is None:
            piece = self._next()
            if isinstance(piece, bytes):
                self._taken += len(piece)
                if self._room is not None and self._has_room():
                    self._portal.post(self._tell_room)
                return piece
            self._end = piece
        if self._end.error is not None:
            raise self._end.error
        return b""

    def _next(self) -> bytes | _End:
        loop_scope = self._portal.loop_scope
        if loop_scope.loop.is_closed():
            raise NoPortalError("the event loop of this exchange is closed")
        # If the loop stops, this is how the thread hears of it.
        loop_scope.parked.add(self)
        try:
            if not self._begun:
                self._begun = True
                self._portal.post(self._begin)
            return self._pieces.get() if not self._pieces.empty() else self._wait_for_piece()
        finally:
            loop_scope.parked.discard(self)

    def _wait_for_piece(self) -> bytes | _End:
        found: list[bytes | _End] = []

        def get(block: bool, timeout: float) -> bool:
            try:
                found.append(self._pieces.get(block, None if timeout < 0 else timeout))
            except queue.Empty:
                return False
            return True

        wait(get)
        return found[0]

    def release(self) -> None:
        """Let the thread go on: the loop has stopped. Any thread."""
        error = NoPortalError("the event loop stopped while a handler waited for it")
        self._pieces.put(_End(error))

    # --- the loop's side

    def _begin(self) -> None:
        self._task = self._portal.loop.create_task(self._pipe(self))
        self._task.add_done_callback(self._piped_all)
        if self._unwanted:
            self._task.cancel()
        self._portal.track(self._task)

    def _piped_all(self, task: asyncio.Task[None]) -> None:
        error = self._portal.why_cut() if task.cancelled() else task.exception()
        self._pieces.put(_End(error))

    def write(self, piece: bytes) -> bool:
        """As :meth:`Sink.write`."""
        self._piped += len(piece)
        self._pieces.put(piece)
        return self._has_room()

    async def drained(self) -> None:
        """As :meth:`Sink.drained`."""
        self._room = self._portal.loop.create_future()
        try:
            # The thread may have looked before there was a future to find.
            if not self._has_room():
                await self._room
        finally:
            self._room = None

    def _has_room(self) -> bool:
        return self._piped - self._taken <= _ROOM

    def _tell_room(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    async def stop(self) -> list[bytes]:
        """Pipe no more; return what was piped and not taken."""
        self.cancel()
        if self._task is not None:
            await asyncio.wait((self._task,))
        rest = []
        while not self._pieces.empty():
            piece = self._pieces.get_nowait()
            if isinstance(piece, bytes):
                rest.append(piece)
        return rest

    def cancel(self) -> None:
        """Pipe no more; nobody wants the rest."""
        self._unwanted = True
        if self._task is not None:
            self._task.cancel()
