"""What happens to whole events of a stream and whole messages of a websocket. No I/O.

A *unit* is one of them: the bytes of an event with the empty line that ends it, or a message.
"""

from __future__ import annotations

import dataclasses
import random
import re
import typing as t

from rolo.faults.fault import DOWN, Fault, check_counts, check_seconds, jittered
from rolo.faults.message import Bottom, Head, Stage, Way
from rolo.faults.scope import Scope

Unit = str | bytes

MAX_EVENT = 1024 * 1024
"""Bytes without an end of an event after which they pass as one."""

# Two line ends in a row; a CR at the end may yet turn out to be half of a CRLF.
_EVENT_END = re.compile(rb"(?:\r\n|\n|\r(?!\n|\Z)){2}")


class EventSplitter:
    """Cuts an event stream into its events, as it comes."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the events that ``piece`` completes."""
        buffer, start, found = self._buffer, 0, []
        buffer += piece
        for end in _EVENT_END.finditer(buffer, self._searched):
            found.append(bytes(buffer[start : end.end()]))
            start = end.end()
        if start:
            del buffer[:start]
        self._searched = max(0, len(buffer) - 3)
        if len(buffer) > MAX_EVENT:
            found.append(self.rest())
        return found

    def rest(self) -> bytes:
        """Return what is no whole event, and forget it."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        self._searched = 0
        return rest


@dataclasses.dataclass(frozen=True, slots=True)
class Pause:
    """Nothing passes for so many seconds; ``None`` for ever."""

    seconds: float | None


class Changer:
    """Takes units in their order, and gives what passes in their place."""

    held = False
    """Something waits for the next unit."""

    def feed(self, unit: Unit) -> list[Unit | Pause]:
        raise NotImplementedError

    def flush(self) -> list[Unit | Pause]:
        """Give what is held back; nothing more comes, or not for a while."""
        return []


@dataclasses.dataclass(frozen=True)
class UnitFault(Fault):
    """A fault that happens to some of the units."""

    scope: Scope

    directions = DOWN | {"up"}
    rank: t.ClassVar[int] = 6

    def changed(self, unit: Unit, draw: random.Random) -> list[Unit | Pause]:
        """Return what passes in the place of a unit that it happens to."""
        raise NotImplementedError

    def stage(self, below: Way, bottom: Bottom, draw: random.Random) -> Way:
        return _UnitStage(below, bottom, self.changer(draw))

    def changer(self, draw: random.Random) -> Changer:
        return _Changer(self, draw)


class _Changer(Changer):
    def __init__(self, fault: UnitFault, draw: random.Random) -> None:
        self._fault = fault
        self._draw = draw
        self._count = 0

    def feed(self, unit: Unit) -> list[Unit | Pause]:
        self._count += 1
        if self._fault.scope.hits(self._count, self._draw):
            return self._fault.changed(unit, self._draw)
        return [unit]


class Drop(UnitFault):
    def changed(self, unit: Unit, draw: random.Random) -> list[Unit | Pause]:
        return []


class Duplicate(UnitFault):
    def changed(self, unit: Unit, draw: random.Random) -> list[Unit | Pause]:
        return [unit, unit]


class Corrupt(UnitFault):
    def changed(self, unit: Unit, draw: random.Random) -> list[Unit | Pause]:
        return [corrupted(unit, draw)]


@dataclasses.dataclass(frozen=True)
class Delay(UnitFault):
    seconds: float
    jitter: float

    def __post_init__(self) -> None:
        check_seconds(seconds=self.seconds, jitter=self.jitter)

    def changed(self, unit: Unit, draw: random.Random) -> list[Unit | Pause]:
        return [Pause(jittered(self.seconds, self.jitter, draw)), unit]


@dataclasses.dataclass(frozen=True)
class Silence(UnitFault):
    seconds: float | None

    def __post_init__(self) -> None:
        check_seconds(seconds=self.seconds)

    @property
    def endless(self) -> bool:
        return self.seconds is None

    def changed(self, unit: Unit, draw: random.Random) -> list[Unit | Pause]:
        return [Pause(self.seconds), unit]


@dataclasses.dataclass(frozen=True)
class Reorder(UnitFault):
    by: int

    def __post_init__(self) -> None:
        check_counts(1, by=self.by)

    def changer(self, draw: random.Random) -> Changer:
        return _Reorderer(self, draw)


class _Reorderer(Changer):
    def __init__(self, fault: Reorder, draw: random.Random) -> None:
        self._fault = fault
        self._draw = draw
        self._count = 0
        self._waiting: list[tuple[int, Unit]] = []
        """Units, each with how many others are to pass before it."""

    @property
    def held(self) -> bool:  # type: ignore[override]
        return bool(self._waiting)

    def feed(self, unit: Unit) -> list[Unit | Pause]:
        self._count += 1
        if not self._waiting and self._fault.scope.hits(self._count, self._draw):
            self._waiting.append((self._fault.by, unit))
            return []
        passing: list[Unit | Pause] = [unit]
        waiting = [(left - 1, each) for left, each in self._waiting]
        passing += [each for left, each in waiting if left <= 0]
        self._waiting = [(left, each) for left, each in waiting if left > 0]
        return passing

    def flush(self) -> list[Unit | Pause]:
        waiting, self._waiting = self._waiting, []
        return [unit for _, unit in waiting]


def corrupted(unit: Unit, draw: random.Random) -> Unit:
    """Return ``unit`` with one character, or one byte, made another one. Line ends of an event
    stay as they are, and text stays text."""
    if isinstance(unit, str):
        if not unit:
            return "\ufffd"
        at = draw.randrange(len(unit))
        return unit[:at] + ("#" if unit[at] != "#" else "*") + unit[at + 1 :]
    places = [at for at, byte in enumerate(unit) if byte not in b"\r\n"]
    if not places:
        return unit
    at = draw.choice(places)
    other = unit[at] ^ (1 << draw.randrange(8))
    if other in b"\r\n":
        other = unit[at] ^ 0x80
    return unit[:at] + bytes((other,)) + unit[at + 1 :]


def drop(
    *,
    every: int | None = None,
    first: int | None = None,
    after: int = 0,
    probability: float | None = None,
) -> Fault:
    """Events, or messages of a websocket, are lost. Which of them, see
    :class:`~rolo.faults.Scope`; without a word about it, all."""
    return Drop(Scope(every, first, after, probability))


def duplicate(
    *,
    every: int | None = None,
    first: int | None = None,
    after: int = 0,
    probability: float | None = None,
) -> Fault:
    """Events, or messages, come twice. Which of them: as of :func:`drop`."""
    return Duplicate(Scope(every, first, after, probability))


def corrupt(
    *,
    every: int | None = None,
    first: int | None = None,
    after: int = 0,
    probability: float | None = None,
) -> Fault:
    """Events, or messages, come with one bit, or one character of a text, made another one.
    Which of them: as of :func:`drop`."""
    return Corrupt(Scope(every, first, after, probability))


def reorder(
    by: int = 1,
    *,
    every: int | None = 2,
    first: int | None = None,
    after: int = 0,
    probability: float | None = None,
) -> Fault:
    """Events, or messages, come behind the ``by`` that follow them: by default, each second one
    (that is not itself passed by another) changes places with the next. At the end nothing is
    held back; of a websocket, a message no longer than a second. Which of them: as of
    :func:`drop`."""
    return Reorder(Scope(every, first, after, probability), by)


def delay(
    seconds: float,
    jitter: float = 0.0,
    *,
    every: int | None = None,
    first: int | None = None,
    after: int = 0,
    probability: float | None = None,
) -> Fault:
    """Events, or messages, come later, and all behind them.

    :param jitter: as of :func:`late`, for each; which of them: as of :func:`drop`
    """
    return Delay(Scope(every, first, after, probability), seconds, jitter)


def silence(after: int, seconds: float | None = None) -> Fault:
    """After so many events, or messages, nothing comes for ``seconds`` (``None``: any more),
    and the connection stays open."""
    check_counts(0, after=after)
    return Silence(Scope(first=1, after=after), seconds)


class _UnitStage(Stage):
    """Passes the events of a stream through a changer, and other bodies as they are."""

    def __init__(self, below: Way, bottom: Bottom, changer: Changer) -> None:
        super().__init__(below, bottom)
        self._changer = changer
        self._events: EventSplitter | None = None

    async def head(self, head: Head) -> None:
        if head.is_event_stream:
            self._events = EventSplitter()
            head.remove(b"content-length")
        await self.below.head(head)

    async def body(self, piece: bytes) -> None:
        if self._events is None:
            await self.below.body(piece)
            return
        for event in self._events.feed(piece):
            await self._pass(self._changer.feed(event))

    async def end(self) -> None:
        if self._events is not None:
            await self._pass(self._changer.flush())
            if rest := self._events.rest():
                await self.below.body(rest)
        await self.below.end()

    async def _pass(self, units: list[Unit | Pause]) -> None:
        for unit in units:
            if isinstance(unit, bytes):
                await self.below.body(unit)
            elif isinstance(unit, Pause):
                await self._pause(unit.seconds)

    async def _pause(self, seconds: float | None) -> None:
        if seconds is None:
            await self.bottom.hang("silent by a fault")
        else:
            await self.bottom.sleep(seconds)
