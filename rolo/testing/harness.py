"""The harnesses of one test: made, verified at its end, shown if it fails, closed."""

from __future__ import annotations

import pathlib
import typing as t
import zlib

from rolo.har import Recorder
from rolo.harness import Harness, Unverified
from rolo.harness.ground import Ground, hold, release

if t.TYPE_CHECKING:
    from rolo.testing.recording import Tape, Tapes

__all__ = ["Ground", "Harnesses", "hold", "release", "seed_for"]


class Harnesses:
    """What the fixture ``harness`` has made for one test.

    :param seed: of all that is drawn by chance in this test
    :param repeat: the option that repeats it, for texts
    :param tapes: says what is recorded or replayed; ``None``: nothing but what a test says itself
    :param keep: returns where what came to the n-th harness is written if the test fails; ``None``
        keeps nothing
    """

    def __init__(
        self,
        seed: int,
        repeat: str,
        tapes: Tapes | None = None,
        keep: t.Callable[[int], pathlib.Path] | None = None,
    ) -> None:
        self._seed = seed
        self._repeat = repeat
        self._tapes = tapes
        self._keep = keep
        self._taped: list[Tape] = []
        self._recorders: list[Recorder] = []
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
        options = {"seed": self._seed, **options}
        tape = None
        if self._tapes is not None and not options.keys() & {"mode", "recording"}:
            tape = self._tapes.next()
        if tape is not None:
            options |= tape.options()
        if self._keep is not None:
            recorder = Recorder(with_replays=True)
            self._recorders.append(recorder)
            options["observers"] = [*options.get("observers", ()), recorder]
        made = Harness(upstream, **options)
        if tape is not None:
            made.keep_recording(tape.write)
            self._taped.append(tape)
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
        complaints += filter(None, (tape.complaint() for tape in self._taped))
        return "\n".join(complaints)

    def failed(self) -> t.Iterator[tuple[str, str]]:
        """The test has failed: what it recorded is not to be replayed. Return where what came
        is written."""
        for tape in self._taped:
            tape.keep = False
        if self._keep is None:
            return
        for number, (made, recorder) in enumerate(zip(self._made, self._recorders, strict=True), 1):
            made.wait_observed()
            path = self._keep(number)
            recorder.write(path)
            yield f"rolo har of {made.url}", f"{path}\n"

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
        for recorder in self._recorders:
            recorder.discard()


def seed_for(seed: int, test: str) -> int:
    """Return the seed of one test of a run: the same whatever else runs."""
    return zlib.crc32(f"{seed}:{test}".encode())
