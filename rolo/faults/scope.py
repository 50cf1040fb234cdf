"""Which of many something happens to. No I/O."""

from __future__ import annotations

import dataclasses
import random

from rolo.faults.fault import check_counts


@dataclasses.dataclass(frozen=True, slots=True)
class Scope:
    """Which of the things that are counted, from 1 on. All that is given has to hold."""

    every: int | None = None
    """Each so-manieth."""
    first: int | None = None
    """Only the first so many."""
    after: int = 0
    """None of the first so many; ``every`` and ``first`` count behind them."""
    probability: float | None = None
    """By chance, 0 to 1."""
    flapping: tuple[int, int] | None = None
    """So many well, then so many not, again and again."""

    def __post_init__(self) -> None:
        check_counts(1, every=self.every, first=self.first)
        check_counts(0, after=self.after)
        if self.probability is not None and not 0 <= self.probability <= 1:
            raise ValueError(f"probability is from 0 to 1, not {self.probability!r}")
        if self.flapping is not None:
            well, bad = self.flapping
            check_counts(1, flapping=well)
            check_counts(1, flapping=bad)

    def hits(self, number: int, draw: random.Random) -> bool:
        """Return whether it is the one with this number that something happens to. Draws one
        number if, and only if, there is a probability."""
        chance = self.probability is None or draw.random() < self.probability
        number -= self.after
        if number < 1 or not chance:
            return False
        if self.every is not None and number % self.every:
            return False
        if self.first is not None and number > self.first:
            return False
        if self.flapping is not None:
            well, bad = self.flapping
            return (number - 1) % (well + bad) >= well
        return True
