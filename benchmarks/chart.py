"""Results as one SVG of bar charts, small enough to be read as text."""

from __future__ import annotations

import html

from benchmarks.measurements import MEASUREMENTS, Measurement
from benchmarks.runner import Results
from benchmarks.subjects import SUBJECTS

WIDTH = 720
LABEL_WIDTH = 160
BAR_WIDTH = 440
ROW = 20
# Readable on a light and on a dark page alike.
TEXT, OWN, OTHER = "#808080", "#3b82f6", "#9ca3af"


def as_svg(results: Results) -> str:
    """Return a chart per measurement, of the first figure it is compared by."""
    parts: list[str] = []
    y = 0
    for name in results.measurements:
        panel, height = _panel(results, MEASUREMENTS[name], y)
        parts.extend(panel)
        y += height
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" '
            f'font-family="sans-serif" font-size="12" fill="{TEXT}">',
            *parts,
            "</svg>\n",
        ]
    )


def _panel(results: Results, measurement: Measurement, y: int) -> tuple[list[str], int]:
    figure = next(f for f in measurement.figures if f.key == measurement.compared[0])
    bars = [
        (subject, value)
        for subject in results.subjects
        if (value := results.median(measurement.name, subject, figure.key)) is not None
    ]
    longest = max((value for _, value in bars), default=0) or 1
    better = "more" if figure.higher_is_better else "less"
    title = f"{measurement.title}: {figure.label} ({better} is better)"
    parts = [_text(0, y + 20, title, ' font-weight="bold"')]
    for row, (subject, value) in enumerate(bars):
        top = y + 32 + row * ROW
        width = max(1.0, value / longest * BAR_WIDTH)
        colour = OWN if SUBJECTS[subject].serve else OTHER
        parts += [
            _text(LABEL_WIDTH - 8, top + 12, SUBJECTS[subject].title, ' text-anchor="end"'),
            f'<rect x="{LABEL_WIDTH}" y="{top}" width="{width:.1f}" height="{ROW - 5}" '
            f'fill="{colour}"/>',
            _text(LABEL_WIDTH + width + 6, top + 12, f"{value:,.{figure.digits}f}"),
        ]
    return parts, 44 + len(bars) * ROW


def _text(x: float, y: float, text: str, attributes: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y}"{attributes}>{html.escape(text)}</text>'
