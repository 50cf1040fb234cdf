"""Results as Markdown tables and as JSON."""

from __future__ import annotations

import dataclasses
import json

from benchmarks.measurements import MEASUREMENTS, Measurement
from benchmarks.runner import Results
from benchmarks.subjects import BASELINES, SUBJECTS


def as_markdown(results: Results) -> str:
    """Return a heading and a table per measurement, and notes on what failed."""
    measured = [name for name in results.measurements if name in results.samples]
    tables = [_table(results, MEASUREMENTS[name]) for name in measured]
    notes = "\n".join(f"- {note}" for note in results.notes)
    return "\n\n".join([*tables, notes] if notes else tables) + "\n"


def as_json(results: Results) -> str:
    return json.dumps(dataclasses.asdict(results), indent=1) + "\n"


def _table(results: Results, measurement: Measurement) -> str:
    subjects = [
        name for name in results.subjects if results.samples.get(measurement.name, {}).get(name)
    ]
    baselines = [name for name in BASELINES if name in subjects and len(subjects) > 1]
    header = [""] + [figure.label for figure in measurement.figures]
    header += [
        f"{_short(measurement, key)} / {baseline}"
        for baseline in baselines
        for key in measurement.compared
    ]
    figures = {figure.key: figure for figure in measurement.figures}
    rows = [header, ["---"] + ["---:"] * (len(header) - 1)]
    for subject in subjects:
        cells = [
            _number(results.median(measurement.name, subject, figure.key), figure.digits)
            for figure in measurement.figures
        ]
        cells += [
            _ratio(
                results.ratio(measurement.name, subject, baseline, key), figures[key].ratio_digits
            )
            for baseline in baselines
            for key in measurement.compared
        ]
        rows.append([SUBJECTS[subject].title, *cells])
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([f"### {measurement.title}", "", *lines])


def _short(measurement: Measurement, key: str) -> str:
    """Return the figure's label without its unit, for the head of a ratio."""
    label = next(figure.label for figure in measurement.figures if figure.key == key)
    if "/s" in label:
        return label
    return label.removesuffix(" ms").partition(" us/")[0].partition(" s/")[0]


def _ratio(value: float | None, digits: int) -> str:
    if value is None:
        return ""
    return f"{value:.{digits}f}" if value >= 0.095 else f"{value:.2g}"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"
