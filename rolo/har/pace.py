"""How fast a recording is replayed: as it was, at another speed, at once, or by hand."""

from __future__ import annotations

import asyncio
import collections
import threading
import time
import typing as t

from rolo.portal.portal import Portal

PaceLike = t.Literal["recorded", "at_once", "gated"] | float


class Pace:
    """Lets the parts of one answer, or of one websocket, pass. Times are seconds, as recorded,
    since the exchange began."""

    async def head(self, at: float) -> None:
        """Wait until a head, or the end, may pass."""

    async def piece(self, at: float) -> None:
        """Wait until a piece of a body, or a message, may pass."""

    def anchor(self, at: float) -> None:
        """Something has happened now that happened at ``at``."""

    def call(self, portal: Portal | None, wait: t.Coroutine[t.Any, t.Any, None]) -> None:
        """Wait in sync code."""
        if portal is not None:
            portal.call(wait)
        else:
            asyncio.run(wait)


class Scaled(Pace):
    """As it was recorded, with all times multiplied."""

    def __init__(self, factor: float) -> None:
        self._factor = factor
        self._start = time.monotonic()

    async def head(self, at: float) -> None:
        left = self._start + at * self._factor - time.monotonic()
        if left > 0:
            await asyncio.sleep(left)

    piece = head

    def anchor(self, at: float) -> None:
        self._start = time.monotonic() - at * self._factor


class AtOnce(Pace):
    """Without waiting."""


class Gate:
    """Lets as many pass as :meth:`step` was called for. Any thread, any number of loops."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._permits = 0
        self._open = False
        self._waiting: collections.deque[_Waiter] = collections.deque()

    def step(self, count: int = 1) -> None:
        """Let ``count`` more pass: those who wait, in their order, then those who come."""
        with self._lock:
            while count and self._waiting:
                if self._waiting.popleft().wake():
                    count -= 1
            self._permits += count

    def open(self) -> None:
        """Let everything pass from now on."""
        with self._lock:
            self._open = True
            while self._waiting:
                self._waiting.popleft().wake()

    async def passed(self) -> None:
        """Wait for a step."""
        with self._lock:
            if self._open:
                return
            if self._permits:
                self._permits -= 1
                return
            waiter = _Waiter(asyncio.get_running_loop())
            self._waiting.append(waiter)
        try:
            await waiter.future
        except asyncio.CancelledError:
            if waiter.give_up():
                self.step()  # it was let pass, and will not
            raise


class _Waiter:
    """Somebody on a loop who waits at a gate."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.future: asyncio.Future[None] = loop.create_future()
        self._loop = loop
        self._lock = threading.Lock()
        self._state: t.Literal["waiting", "let", "gone"] = "waiting"

    def wake(self) -> bool:
        """Let it pass; False if it is not there any more."""
        with self._lock:
            if self._state == "gone":
                return False
            try:
                self._loop.call_soon_threadsafe(self._set)
            except RuntimeError:  # its loop is closed
                self._state = "gone"
                return False
            self._state = "let"
            return True

    def give_up(self) -> bool:
        """Do not wait any more; True if it has been let pass."""
        with self._lock:
            was_let, self._state = self._state == "let", "gone"
            return was_let

    def _set(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


class Gated(Pace):
    """By hand: heads pass at once, each piece and message needs a step."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def piece(self, at: float) -> None:
        await self._gate.passed()


def check_pace(pace: PaceLike) -> PaceLike:
    """Return ``pace``.

    :raises ValueError: it is none
    """
    if pace in ("recorded", "at_once", "gated"):
        return pace
    if isinstance(pace, int | float) and not isinstance(pace, bool) and pace > 0:
        return float(pace)
    raise ValueError(f"not a pace: {pace!r}: 'recorded', 'at_once', 'gated' or a factor over 0")


def new_pace(pace: PaceLike, gate: Gate) -> Pace:
    """Return the pace of one exchange that begins now."""
    if pace == "gated":
        return Gated(gate)
    if pace == "at_once":
        return AtOnce()
    return Scaled(1.0 if pace == "recorded" else float(pace))
