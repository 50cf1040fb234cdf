"""What a fault is: a value that makes stages for a message on its way, or for a websocket."""

from __future__ import annotations

import dataclasses
import random
import typing as t

if t.TYPE_CHECKING:
    from rolo.faults.message import Bottom, Way
    from rolo.faults.units import Changer
    from rolo.faults.websocket import SpoiledLeg
    from rolo.response import Response

Direction = t.Literal["down", "up"]
"""``down`` is the answer on its way to the client, ``up`` the request on its way to the
upstream; of a websocket, the messages each way."""

BOTH: frozenset[Direction] = frozenset(("down", "up"))
DOWN: frozenset[Direction] = frozenset(("down",))


class Fault:
    """Something that goes wrong on purpose. A value: it can be kept, compared and used again."""

    directions: t.ClassVar[frozenset[Direction]] = BOTH
    """Where it can happen."""
    http: t.ClassVar[bool] = True
    """It concerns requests and their answers."""
    websockets: t.ClassVar[bool] = True
    """It concerns websockets."""
    rank: t.ClassVar[int] = 0
    """Of several, those of a higher rank see a message first."""
    first: t.ClassVar[bool] = False
    """It happens before anybody is asked for an answer."""

    @property
    def needs_wire(self) -> bool:
        """Whether it wants the connection itself, which only some servers give."""
        return False

    @property
    def endless(self) -> bool:
        """Whether it may wait for ever."""
        return False

    def answer(self, draw: random.Random) -> Response | None:
        """Return what a client gets in the place of the answer, if that says it all."""
        return None

    def stage(self, below: Way, bottom: Bottom, draw: random.Random) -> Way:
        """Return what a message passes before it gets to ``below``, which may be it."""
        return below

    def changer(self, draw: random.Random) -> Changer | None:
        """Return what changes events and messages; ``None`` if it leaves them alone."""
        return None

    def on_leg(self, leg: SpoiledLeg, draw: random.Random) -> None:
        """Tell one leg of a websocket what to do."""


@dataclasses.dataclass(frozen=True, slots=True)
class Shot:
    """A fault that happens now, with the numbers it draws."""

    fault: Fault
    seed: str

    def draw(self) -> random.Random:
        """Return its numbers, from the first on."""
        return random.Random(self.seed)


def jittered(seconds: float, jitter: float, draw: random.Random) -> float:
    """Return a number drawn evenly from ``seconds - jitter`` to ``seconds + jitter``, not below
    0."""
    return max(0.0, seconds + draw.uniform(-jitter, jitter)) if jitter else seconds


def check_seconds(**given: float | None) -> None:
    """:raises ValueError: one of them is no time to wait"""
    for name, seconds in given.items():
        if seconds is not None and not 0 <= seconds < float("inf"):
            raise ValueError(f"{name} is a number of seconds, 0 or more, not {seconds!r}")


def check_counts(least: int, **given: int | None) -> None:
    """:raises ValueError: one of them is no whole number from ``least`` on"""
    for name, count in given.items():
        if count is not None and (not isinstance(count, int) or count < least):
            raise ValueError(f"{name} is a whole number, {least} or more, not {count!r}")
