"""Messages that are right, and too slow."""

from __future__ import annotations

import dataclasses
import random
import re
import typing as t

from rolo.faults.fault import Fault, check_counts, check_seconds, jittered
from rolo.faults.message import Bottom, Head, Stage, Way

if t.TYPE_CHECKING:
    from rolo.faults.websocket import SpoiledLeg

_RATE = re.compile(r"(\d+(?:\.\d+)?) ?([kMG]i?)?B?/s")
_FACTORS = {"k": 1000, "M": 1000**2, "G": 1000**3, "ki": 1024, "Mi": 1024**2, "Gi": 1024**3}
_SLICE = 0.05
"""Seconds of a body that are sent at once."""


def bytes_per_second(rate: str | float) -> float:
    """Return what a rate such as ``"10k/s"``, ``"1.5 MB/s"``, ``"64Ki/s"`` or a number means.

    :raises ValueError: it means nothing
    """
    if isinstance(rate, str):
        match = _RATE.fullmatch(rate.replace("Ki", "ki").replace("K", "k"))
        if match is None:
            raise ValueError(f"a rate is written like '10k/s' or '1.5 MB/s', not {rate!r}")
        rate = float(match[1]) * _FACTORS.get(match[2] or "", 1)
    if not 0 < rate < float("inf"):
        raise ValueError(f"a rate is more than 0 bytes a second, not {rate!r}")
    return float(rate)


@dataclasses.dataclass(frozen=True)
class Late(Fault):
    seconds: float
    jitter: float = 0.0

    rank: t.ClassVar[int] = 5

    def __post_init__(self) -> None:
        check_seconds(seconds=self.seconds, jitter=self.jitter)

    def stage(self, below: Way, bottom: Bottom, draw: random.Random) -> Way:
        return _LateStage(below, bottom, jittered(self.seconds, self.jitter, draw))

    def on_leg(self, leg: SpoiledLeg, draw: random.Random) -> None:
        leg.late += jittered(self.seconds, self.jitter, draw)


@dataclasses.dataclass(frozen=True)
class Drip(Fault):
    size: int = 1
    every: float = 0.1
    jitter: float = 0.0

    rank: t.ClassVar[int] = 4
    websockets: t.ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_counts(1, size=self.size)
        check_seconds(every=self.every, jitter=self.jitter)

    def stage(self, below: Way, bottom: Bottom, draw: random.Random) -> Way:
        return _DripStage(below, bottom, self, draw)


@dataclasses.dataclass(frozen=True)
class Rate(Fault):
    bandwidth: float
    jitter: float = 0.0

    rank: t.ClassVar[int] = 4

    def __post_init__(self) -> None:
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"the jitter of a rate is a share, 0 to 1, not {self.jitter!r}")

    def stage(self, below: Way, bottom: Bottom, draw: random.Random) -> Way:
        return _RateStage(below, bottom, Pace(self, bottom, draw))

    def on_leg(self, leg: SpoiledLeg, draw: random.Random) -> None:
        leg.pace = Pace(self, leg.bottom, draw)


def late(seconds: float, jitter: float = 0.0) -> Fault:
    """The head comes late (of a websocket, the answer to its handshake).

    :param jitter: the time is drawn evenly from so much less to so much more
    """
    return Late(seconds, jitter)


def drip(size: int = 1, every: float = 0.1, jitter: float = 0.0) -> Fault:
    """The body comes in pieces of ``size`` bytes, one ``every`` so many seconds.

    :param jitter: as of :func:`late`, for each piece
    """
    return Drip(size, every, jitter)


def rate(bandwidth: str | float, jitter: float = 0.0) -> Fault:
    """The body (of a websocket, its messages) comes at no more than ``bandwidth``.

    :param bandwidth: bytes a second, as a number or written like ``"10k/s"`` (10,000),
        ``"64Ki/s"`` (65,536) or ``"1.5 MB/s"``
    :param jitter: a share, 0 to 1: each moment is slower or faster by as much, evenly drawn
    """
    return Rate(bytes_per_second(bandwidth), jitter)


class Pace:
    """When the next bytes may go."""

    def __init__(self, fault: Rate, bottom: Bottom, draw: random.Random) -> None:
        self._fault = fault
        self._bottom = bottom
        self._draw = draw
        self._due = 0.0
        self.slice = max(1, int(fault.bandwidth * _SLICE))

    async def pay(self, size: int) -> None:
        """Wait as long as ``size`` bytes take."""
        now = self._bottom.now()
        seconds = size / self._fault.bandwidth
        jitter = self._fault.jitter
        if jitter:
            seconds *= 1 + self._draw.uniform(-jitter, jitter)
        self._due = max(self._due, now) + seconds
        await self._bottom.sleep(self._due - now)


class _LateStage(Stage):
    def __init__(self, below: Way, bottom: Bottom, seconds: float) -> None:
        super().__init__(below, bottom)
        self._seconds = seconds

    async def head(self, head: Head) -> None:
        await self.bottom.sleep(self._seconds)
        await self.below.head(head)


class _DripStage(Stage):
    def __init__(self, below: Way, bottom: Bottom, fault: Drip, draw: random.Random) -> None:
        super().__init__(below, bottom)
        self._fault = fault
        self._draw = draw

    async def body(self, piece: bytes) -> None:
        fault = self._fault
        for start in range(0, len(piece), fault.size):
            await self.bottom.sleep(jittered(fault.every, fault.jitter, self._draw))
            await self.below.body(piece[start : start + fault.size])


class _RateStage(Stage):
    def __init__(self, below: Way, bottom: Bottom, pace: Pace) -> None:
        super().__init__(below, bottom)
        self._pace = pace

    async def body(self, piece: bytes) -> None:
        size = self._pace.slice
        for start in range(0, len(piece), size):
            part = piece[start : start + size]
            await self._pace.pay(len(part))
            await self.below.body(part)
