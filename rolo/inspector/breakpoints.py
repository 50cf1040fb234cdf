"""Requests, answers and messages that are held until somebody lets them go on, edited or not."""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import itertools
import threading
import time
import typing as t

from rolo.har.model import Fields
from rolo.inspector import filters
from rolo.portal.portal import Portal

Stage = t.Literal["request", "answer", "client", "server"]
STAGES: tuple[Stage, ...] = ("request", "answer", "client", "server")

Action = t.Literal["go", "edit", "drop"]
ACTIONS: tuple[Action, ...] = ("go", "edit", "drop")

MAX_HELD = 200
"""More than these go on at once."""


@dataclasses.dataclass(frozen=True, slots=True)
class Breakpoint:
    """What is held.

    :raises FilterError: the filter cannot be read
    :raises ValueError: a stage or the time is none
    """

    filter: str
    stages: tuple[Stage, ...]
    timeout: float
    """Seconds after which it goes on by itself."""
    test: filters.Test = dataclasses.field(repr=False, compare=False)

    @classmethod
    def of(cls, filter: str, stages: t.Iterable[str], timeout: float) -> Breakpoint:
        """Return a breakpoint that is checked."""
        stages = tuple(stages)
        for stage in stages:
            if stage not in STAGES:
                raise ValueError(f"unknown stage {stage!r}: {', '.join(STAGES)}")
        if not stages:
            raise ValueError("a breakpoint holds at least one of " + ", ".join(STAGES))
        if not 0 < timeout <= 3600:
            raise ValueError(f"a time from 1 to 3600 seconds, not {timeout}")
        return cls(filter, t.cast("tuple[Stage, ...]", stages), timeout, filters.parse(filter))


class Decision(t.NamedTuple):
    """What becomes of something held."""

    action: Action
    changes: dict[str, t.Any]


GO_ON: t.Final = Decision("go", {})


@dataclasses.dataclass(eq=False, slots=True)
class Held:
    """Something that waits."""

    id: int
    exchange: int
    stage: Stage
    title: str
    until: float
    """As ``time.time()``: when it goes on by itself."""
    line: str = ""
    fields: Fields = dataclasses.field(default_factory=list)
    text: str | None = None
    """``None`` if it is binary."""
    base64: str | None = None
    decided: concurrent.futures.Future[Decision] = dataclasses.field(
        default_factory=concurrent.futures.Future
    )

    def shown(self) -> dict[str, t.Any]:
        return {
            "id": self.id,
            "exchange": self.exchange,
            "stage": self.stage,
            "title": self.title,
            "until": self.until,
            "line": self.line,
            "fields": self.fields,
            "text": self.text,
            "base64": self.base64,
        }


class Breakpoints:
    """All breakpoints, and what is held by them. Any thread may call."""

    def __init__(self) -> None:
        self._all: tuple[Breakpoint, ...] = ()
        self._held: dict[int, Held] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self.version = 0
        """Grows with each change of what is held."""

    @property
    def all(self) -> tuple[Breakpoint, ...]:
        return self._all

    @property
    def held(self) -> list[Held]:
        with self._lock:
            return list(self._held.values())

    def holds(self, stage: Stage) -> bool:
        """Whether anything of that stage may be held."""
        return any(stage in each.stages for each in self._all)

    def replace(self, breakpoints: t.Iterable[Breakpoint]) -> None:
        """Put these in the place of all others; what none of them holds goes on."""
        self._all = tuple(breakpoints)
        for held in self.held:
            if not self.holds(held.stage):
                self.decide(held.id, GO_ON)

    def find(self, stage: Stage, row: filters.Row) -> Breakpoint | None:
        """Return the breakpoint that holds what has this row; ``None`` if it may pass."""
        for each in self._all:
            if stage in each.stages and each.test(row):
                return each
        return None

    def decide(self, number: int, decision: Decision) -> bool:
        """Let something go on; false if it is not held (any more)."""
        with self._lock:
            held = self._held.pop(number, None)
            self.version += 1
        if held is None:
            return False
        held.decided.set_result(decision)
        return True

    def hold(self, breakpoint: Breakpoint, portal: Portal | None, **what: t.Any) -> Decision:
        """Wait in the calling handler or hook until somebody decides, or the time is over.

        :param what: fields of :class:`Held`
        :raises ClientDisconnected: the client has left meanwhile
        """
        with self._lock:
            if len(self._held) >= MAX_HELD:
                return GO_ON
            number = next(self._numbers)
            held = Held(number, until=time.time() + breakpoint.timeout, **what)
            self._held[number] = held
            self.version += 1
        try:
            if portal is None:
                return held.decided.result(breakpoint.timeout)
            return portal.call(_decision(held, breakpoint.timeout))
        except TimeoutError:
            return GO_ON
        finally:
            with self._lock:
                if self._held.pop(number, None) is not None:
                    self.version += 1

    def release(self) -> None:
        """Let everything go on, and hold nothing more."""
        self.replace(())


async def _decision(held: Held, timeout: float) -> Decision:
    async with asyncio.timeout(timeout):
        return await asyncio.wrap_future(held.decided)
