"""How stubs, and what passes, are told to fail: the words for it, around :mod:`rolo.faults`."""

from __future__ import annotations

import contextlib
import typing as t

from rolo.faults import Fault, Faults, Rule, late, rate
from rolo.faults.fault import Direction
from rolo.faults.rules import seen_of
from rolo.harness.conditions import needs_body
from rolo.matching import RequestPattern


class When(t.TypedDict, total=False):
    """Which of the requests faults happen to; all that is given has to hold. See
    :meth:`rolo.faults.Faults.add`."""

    every: int | None
    """Each so-manieth."""
    first: int | None
    """Only so many."""
    after: int
    """None of the first so many."""
    probability: float | None
    """By chance, 0 to 1, from the harness's seed."""
    flapping: tuple[int, int] | None
    """So many well, then so many not, again and again."""


def slowness(head: float | None, bandwidth: str | float | None, jitter: float) -> tuple[Fault, ...]:
    """Return the faults that ``slowed(...)`` stands for.

    :raises TypeError: nothing is slowed
    """
    faults: list[Fault] = []
    if head is not None:
        faults.append(late(head, head * jitter))
    if bandwidth is not None:
        faults.append(rate(bandwidth, jitter))
    if not faults:
        raise TypeError("slowed(head=...), slowed(rate=...) or both")
    return tuple(faults)


class Traffic:
    """Requests that are alike, and what goes wrong with them. Its methods return it.

    :param patterns: one of these they are like
    """

    def __init__(self, faults: Faults, patterns: t.Sequence[RequestPattern]) -> None:
        self._faults = faults
        self._patterns = patterns
        self._whole = any(map(needs_body, patterns))
        self.rules: list[Rule] = []
        """What was said so far; each counts in ``seen`` and ``hits``."""

    def fails(
        self, *faults: Fault, direction: Direction = "down", **when: t.Unpack[When]
    ) -> t.Self:
        """Let faults of :mod:`rolo.faults` happen to them from now on, all together:
        ``fails(cut(after=1000), every=3)``.

        :param direction: ``down``: to answers; ``up``: to requests on their way to the upstream
        :param when: to which of them; not given: to all
        """
        self.rules.append(
            self._faults.add(*faults, when=self._is_like, direction=direction, **when)
        )
        return self

    def slowed(
        self,
        head: float | None = None,
        rate: str | float | None = None,
        *,
        jitter: float = 0.0,
        **when: t.Unpack[When],
    ) -> t.Self:
        """Let them be slow from now on.

        :param head: seconds by which the answer's head is late
        :param rate: bytes a second at which its body comes, such as ``"10k/s"``
        :param jitter: a share, 0 to 1: by chance so much slower or faster
        """
        return self.fails(*slowness(head, rate, jitter), **when)

    @contextlib.contextmanager
    def outage(self, *faults: Fault) -> t.Iterator[t.Self]:
        """Let faults happen to all that begin within a ``with`` block.

        :param faults: none: the connection is refused
        """
        with self._faults.outage(*faults, when=self._is_like):
            yield self

    def heal(self) -> None:
        """Let nothing of what was said happen any more."""
        while self.rules:
            self.rules.pop().remove()

    def _is_like(self, request: t.Any) -> bool:
        seen = seen_of(request, whole=self._whole)
        return any(pattern.matched(seen) is not None for pattern in self._patterns)
