"""The harnesses of one test: made, verified at its end, shown if it fails, closed."""

from __future__ import annotations

import typing as t
import zlib

from rolo.harness import Harness, Unverified
from rolo.harness.ground import Ground, hold, release

__all__ = ["Ground", "Harnesses", "hold", "release", "seed_for"]


class Harnesses:
    """What the fixture ``harness`` has made for one test.

    :param seed: of all that is drawn by chance in this test
    :param repeat: the option that repeats it, for texts
    """

    def __init__(self, seed: int, repeat: str) -> None:
        self._seed = seed
        self._repeat = repeat
        self._made: list[Harness] = []
        self._borrowed: list[tuple[Harness, t.Any]] = []

    def make(self, upstream: t.Any = None, **options: t.Any) -> Harness:
        """Return a :class:`~rolo.harness.Harness` for this test. Given another harness, one of
        the session's, it is that one: what is stubbed on it now is gone after the test."""
        if isinstance(upstream, Harness):
            if options:
                raise TypeError("a harness of the session has been given its options already")
            self._borrowed.append((upstream, upstream.lend()))
            return upstream
        made = Harness(upstream, **{"seed": self._seed, **options})
        self._made.append(made)
        return made

    @property
    def _all(self) -> list[Harness]:
        return [*self._made, *(each for each, _ in self._borrowed)]

    def complaint(self) -> str:
        """Return what they complain of at the end of the test; empty if nothing."""
        complaints = []
        for each in self._all:
            try:
                each.verify()
            except Unverified as exc:
                complaints.append(str(exc))
        return "\n".join(complaints)

    def sections(self) -> t.Iterator[tuple[str, str]]:
        """Return what a report of a failing test is to show."""
        for each in self._all:
            yield f"rolo harness at {each.url} ({self._repeat})", each.transcript()

    def close(self) -> None:
        """Close those that were made, and give back those that were borrowed."""
        while self._borrowed:
            lent, before = self._borrowed.pop()
            lent.give_back(before)
        while self._made:
            self._made.pop().close()


def seed_for(seed: int, test: str) -> int:
    """Return the seed of one test of a run: the same whatever else runs."""
    return zlib.crc32(f"{seed}:{test}".encode())
