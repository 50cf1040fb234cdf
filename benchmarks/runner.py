"""The rounds: A B C, B C A, ..., each subject started afresh, alone on the machine with its load.

Rounds spread slow changes of the machine evenly over the subjects. Ratios are taken within a
round, between neighbours in time, so that they mean something even where absolute figures wander.
"""

from __future__ import annotations

import dataclasses
import os
import statistics
import subprocess
import sys
import typing as t

from benchmarks import process
from benchmarks.measurements import MEASUREMENTS, Figures, Scale
from benchmarks.subjects import SUBJECTS, Target, Unavailable, running, running_origin
from benchmarks.wire import MeasurementFailed


@dataclasses.dataclass
class Results:
    """All that was measured, in the order of subjects and measurements asked for.

    ``samples[measurement][subject]`` holds one :data:`Figures` per round that succeeded, with
    the number of that round as ``round``.
    """

    subjects: list[str]
    measurements: list[str]
    conditions: dict[str, t.Any]
    samples: dict[str, dict[str, list[Figures]]] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)

    def add(self, measurement: str, subject: str, number: int, figures: Figures) -> None:
        rounds = self.samples.setdefault(measurement, {}).setdefault(subject, [])
        rounds.append({**figures, "round": number})

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def median(self, measurement: str, subject: str, key: str) -> float | None:
        """Return the median over the rounds, ``None`` if there is no figure."""
        values = self._by_round(measurement, subject, key).values()
        return statistics.median(values) if values else None

    def ratio(self, measurement: str, subject: str, baseline: str, key: str) -> float | None:
        """Return how many times as much as ``baseline`` the subject has of ``key``: the median
        over the rounds in which both were measured."""
        own = self._by_round(measurement, subject, key)
        other = self._by_round(measurement, baseline, key)
        ratios = [own[number] / other[number] for number in own if other.get(number)]
        return statistics.median(ratios) if ratios else None

    def _by_round(self, measurement: str, subject: str, key: str) -> dict[float, float]:
        rounds = self.samples.get(measurement, {}).get(subject, [])
        return {figures["round"]: figures[key] for figures in rounds if key in figures}


def run_rounds(
    subjects: list[str], measurements: list[str], rounds: int, scale: Scale, *, pin: bool
) -> Results:
    """Measure everything ``rounds`` times; what fails becomes a note, not an exception.

    :param pin: give the subject a core of its own, the origin and the load the others
    """
    process.raise_file_limit()
    cores = sorted(os.sched_getaffinity(0)) if pin else []
    subject_cores, load_cores = ({cores[0]}, set(cores[1:])) if pin else (None, None)
    conditions = dataclasses.asdict(scale) | {"rounds": rounds, "pinned": pin}
    results = Results(subjects, measurements, conditions)
    missing: set[str] = set()
    with process.running_on(load_cores), running_origin(load_cores) as origin:
        for number in range(rounds):
            first = number % len(subjects)
            for name in subjects[first:] + subjects[:first]:
                if name in missing:
                    continue
                print(f"round {number + 1}/{rounds}: {name}", file=sys.stderr)
                try:
                    for group in _groups(measurements, SUBJECTS[name].kinds):
                        with running(SUBJECTS[name], origin, subject_cores) as target:
                            _measure_all(target, group, scale, number, results)
                except Unavailable as exc:
                    missing.add(name)
                    results.note(f"{name} left out: {exc}")
    return results


def _groups(measurements: list[str], kinds: frozenset[str]) -> list[list[str]]:
    """Return what may be measured one after the other on the same process."""
    measurements = [name for name in measurements if MEASUREMENTS[name].kind in kinds]
    together = [name for name in measurements if not MEASUREMENTS[name].alone]
    alone = [[name] for name in measurements if MEASUREMENTS[name].alone]
    return [together, *alone] if together else alone


def _measure_all(
    target: Target, measurements: list[str], scale: Scale, number: int, results: Results
) -> None:
    subject = target.subject.name
    for name in measurements:
        try:
            results.add(name, subject, number, MEASUREMENTS[name].run(target, scale))
        except (MeasurementFailed, OSError, subprocess.SubprocessError) as exc:
            results.note(f"{subject}, {name}: {exc}")
