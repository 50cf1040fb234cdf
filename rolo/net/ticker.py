"""Looking at many things from time to time, with one timer for all of them."""

from __future__ import annotations

import asyncio
import typing as t


class Watched(t.Protocol):
    """What is looked at."""

    def look(self, now: float) -> None:
        """See what has taken too long; ``now`` is in loop time. May discard itself."""


class Ticker:
    """Looks at everything that is registered, as often as the most impatient of it asks.

    A timer for each would cost more than the looking, since most things are over long before
    they are due. While nothing is registered there is no timer. Used on its loop only.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._watched: dict[Watched, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._interval = float("inf")

    def add(self, watched: Watched, interval: float) -> None:
        """Look at ``watched`` every ``interval`` seconds at least, until it is discarded."""
        self._watched[watched] = interval
        if interval < self._interval:
            self._arm(interval)

    def discard(self, watched: Watched) -> None:
        self._watched.pop(watched, None)

    async def close(self) -> None:
        """Look at nothing any more."""
        self._watched.clear()
        self._disarm()

    def _arm(self, interval: float) -> None:
        self._disarm()
        self._interval = interval
        self._timer = self._loop.call_later(interval, self._look)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._interval = None, float("inf")

    def _look(self) -> None:
        self._disarm()
        now = self._loop.time()
        try:
            for watched in list(self._watched):
                watched.look(now)
        finally:
            if self._watched:
                self._arm(min(self._watched.values()))
