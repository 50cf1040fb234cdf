"""The event loop on which the servers of all harnesses of a process run.

A loop and its thread take longer to start than a server on a loop that is there already, so
whoever runs many tests holds the ground between them.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
import typing as t

from rolo.serving.loop import Lifetime, LoopThread, loop_factory

T = t.TypeVar("T")

PATIENCE = 10.0
"""Seconds that the loop gets to do something for a harness."""


class GroundBlocked(RuntimeError):
    """The loop of the harnesses does not answer: something blocks it that should not, most
    likely a predicate (``when=``) that waits."""


class Ground:
    """One event loop on a thread."""

    def __init__(self) -> None:
        self.blocked = False
        self._pid = os.getpid()
        self._loop: asyncio.AbstractEventLoop
        self._thread = LoopThread("rolo-harness", self._main, loop_factory())
        self._thread.start()

    @property
    def usable(self) -> bool:
        """It is of this process, and answers."""
        return not self.blocked and self._pid == os.getpid()

    def run(self, coroutine: t.Coroutine[t.Any, t.Any, T]) -> T:
        """Run ``coroutine`` on the loop and return what it returns. Any other thread.

        :raises GroundBlocked: the loop does not come to it
        """
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result(PATIENCE)
        except concurrent.futures.TimeoutError:
            self.blocked = True
            raise GroundBlocked(
                "the event loop of the harnesses is blocked; does a predicate wait?"
            ) from None

    def stop(self) -> None:
        """End the loop and its thread, unless it is blocked, or of another process."""
        if self.usable:
            self._thread.stop(0)

    async def _main(self, lifetime: Lifetime) -> None:
        self._loop = asyncio.get_running_loop()
        lifetime.ready()
        await lifetime.stopping()


_mutex = threading.Lock()
_ground: Ground | None = None
_holders = 0


def hold() -> Ground:
    """Return the ground, made if there is none, which stays until it is released as often as
    it is held."""
    global _ground, _holders
    with _mutex:
        if _ground is None or not _ground.usable:
            _ground, _holders = Ground(), 0
        _holders += 1
        return _ground


def release(ground: Ground) -> None:
    """Let go of what :func:`hold` returned; the last one stops it."""
    global _ground, _holders
    with _mutex:
        if ground is not _ground:
            return  # it was found blocked, or is another process's
        _holders -= 1
        if not _holders:
            _ground = None
            ground.stop()
