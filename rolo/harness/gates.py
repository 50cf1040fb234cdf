"""A gate that lets through one piece or message for each step that a test takes."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import threading


class Gate:
    """Whoever passes waits until somebody steps. Steps taken before are kept."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._steps = 0
        self._waiting: collections.deque[asyncio.Future[None]] = collections.deque()

    def step(self, count: int = 1) -> None:
        """Let ``count`` of those who wait through, in their order; or whoever comes. Any
        thread."""
        for _ in range(count):
            with self._mutex:
                if not self._waiting:
                    self._steps += 1
                    continue
                waiting = self._waiting.popleft()
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                waiting.get_loop().call_soon_threadsafe(_let_through, waiting)

    async def passed(self) -> None:
        """Wait for a step. On any loop."""
        with self._mutex:
            if self._steps:
                self._steps -= 1
                return
            waiting = asyncio.get_running_loop().create_future()
            self._waiting.append(waiting)
        try:
            await waiting
        finally:
            with self._mutex, contextlib.suppress(ValueError):
                self._waiting.remove(waiting)


def _let_through(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
