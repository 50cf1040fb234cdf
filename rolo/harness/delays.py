"""How long an answer is held back: so many seconds, or as many as are drawn."""

from __future__ import annotations

import dataclasses
import math
import random
import typing as t


class Distribution(t.Protocol):
    """Where delays are drawn from."""

    def draw(self, rng: random.Random) -> float:
        """Return seconds, not less than 0."""


Delay = float | Distribution
"""Seconds, fixed or drawn anew for each answer."""


@dataclasses.dataclass(frozen=True, slots=True)
class between:
    """Any time from ``least`` to ``most`` seconds is as likely as any other."""

    least: float
    most: float

    def __post_init__(self) -> None:
        if not 0 <= self.least <= self.most:
            raise ValueError(f"no times between {self.least} and {self.most} seconds")

    def draw(self, rng: random.Random) -> float:
        return rng.uniform(self.least, self.most)


@dataclasses.dataclass(frozen=True, slots=True)
class normal:
    """A normal distribution; what would be less than 0 is 0. In seconds."""

    mean: float
    deviation: float

    def draw(self, rng: random.Random) -> float:
        return max(0.0, rng.gauss(self.mean, self.deviation))


@dataclasses.dataclass(frozen=True, slots=True)
class lognormal:
    """As answers of services come: most near the median, a few very late.

    :param median: seconds
    :param sigma: of the logarithm; at 0.5, one in twenty takes more than twice the median
    """

    median: float
    sigma: float = 0.5

    def __post_init__(self) -> None:
        if self.median <= 0:
            raise ValueError(f"the median is more than 0 seconds, not {self.median}")

    def draw(self, rng: random.Random) -> float:
        return rng.lognormvariate(math.log(self.median), self.sigma)


def seconds_of(delay: Delay, rng: random.Random) -> float:
    """Return how long ``delay`` is this time."""
    return float(delay) if isinstance(delay, int | float) else delay.draw(rng)


def checked(delay: t.Any) -> Delay:
    """Return ``delay`` if it is one.

    :raises TypeError, ValueError: it is none
    """
    if isinstance(delay, int | float) and not isinstance(delay, bool):
        if delay < 0 or not math.isfinite(delay):
            raise ValueError(f"a delay is 0 seconds or more, not {delay!r}")
    elif not hasattr(delay, "draw"):
        raise TypeError(f"a delay is seconds or a distribution, not {delay!r}")
    return t.cast(Delay, delay)
