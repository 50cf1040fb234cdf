"""Texts for people: what came, what was wanted, and how they differ. 80 columns wide."""

from __future__ import annotations

import collections
import difflib
import re
import textwrap
import typing as t

from rolo.matching.differences import Difference
from rolo.matching.pattern import Miss, RequestPattern
from rolo.matching.seen import Seen

WIDTH = 80
_INDENT = " " * 5
_SHOWN = 3
_DIFFERENCES = 12
"""Of one candidate; more are counted."""
_MAX_LINES = 4
"""Of one value."""


def miss_report(
    seen: Seen,
    patterns: t.Iterable[tuple[str, RequestPattern]],
    *,
    title: str = "No stub matches",
    kind: str = "stub",
) -> str:
    """Return why ``seen`` matches none of ``patterns``: the three nearest, place by place.

    :param patterns: each with what it is called, e.g. where it was made
    :param title: begins the text, before the request
    :param kind: what a pattern is, in one word
    """
    head = f"{title} {request_line(seen)}"
    candidates = [
        (_distance(pattern, seen, miss), f"{pattern.describe()}{_aside(label)}", miss)
        for label, pattern in patterns
        if isinstance(miss := pattern.match(seen), Miss)
    ]
    return _report(head, candidates, kind)


def nearest_report(
    pattern: RequestPattern,
    seen: t.Iterable[tuple[str, Seen]],
    *,
    title: str = "Nothing received matches",
) -> str:
    """Return why none of the requests ``seen`` matches ``pattern``: the three nearest."""
    candidates = [
        (_distance(pattern, each, miss), f"{request_line(each)}{_aside(label)}", miss)
        for label, each in seen
        if isinstance(miss := pattern.match(each), Miss)
    ]
    return _report(f"{title} {pattern.describe()}", candidates, "request")


def request_line(seen: Seen) -> str:
    """Return method, target and what the body is, e.g. ``POST /orders (json, 38 bytes)``."""
    line = f"{seen.method} {seen.target}"
    if seen.data:
        media_type = seen.content_type or "no content type"
        line += f" ({media_type}, {len(seen.data)}{'+' * seen.cut} bytes)"
    return line


def _report(head: str, candidates: list[tuple[float, str, Miss]], kind: str) -> str:
    lines = _wrapped(f"{head}.", "", "  ")
    if not candidates:
        return "\n".join([*lines, f"There is no {kind}."]) + "\n"
    candidates.sort(key=lambda each: each[0])
    count = len(candidates)
    lines.append("")
    lines.append(f"The only {kind}:" if count == 1 else f"The nearest of {count} {kind}s:")
    for number, (_, name, miss) in enumerate(candidates[:_SHOWN], 1):
        lines.append("")
        lines += _wrapped(name, f"{number:>2}. ", _INDENT)
        lines += difference_lines(miss.differences)
    return "\n".join(lines) + "\n"


def difference_lines(differences: t.Sequence[Difference]) -> t.Iterator[str]:
    """Yield what is shown of ``differences``: place, what was wanted, what came."""
    for difference in differences[:_DIFFERENCES]:
        yield from _wrapped(difference.place, _INDENT, _INDENT)
        yield from _wrapped(difference.wanted, f"{_INDENT}  wanted  ", f"{_INDENT}          ")
        yield from _wrapped(difference.got, f"{_INDENT}  got     ", f"{_INDENT}          ")
    left = len(differences) - _DIFFERENCES
    if left > 0:
        yield f"{_INDENT}and {left} more differences"


def _wrapped(text: str, first: str, following: str) -> list[str]:
    """Wrap ``text`` without losing or adding a letter that matters, to a few lines; what is
    left out in the middle is counted."""
    room = (WIDTH - len(following)) * _MAX_LINES
    if len(text) > room:
        keep = room // 2 - 20
        left_out = len(text) - 2 * keep
        text = f"{text[:keep]} ... {left_out} more letters ... {text[-keep:]}"
    text = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=following,
        break_on_hyphens=False,
        replace_whitespace=False,
    ) or [first.rstrip()]


def _aside(label: str) -> str:
    return f"  [{label}]" if label else ""


def _distance(pattern: RequestPattern, seen: Seen, miss: Miss) -> float:
    """Smaller is nearer: another path weighs most, and the less the more alike it is; many
    differences within one part of the request little more than one."""
    distance = 0.0
    places = collections.Counter(re.split(r"[.\[]", each.place)[0] for each in miss.differences)
    for place, count in places.items():
        if place == "path":
            distance += 8 - 3 * _alike(pattern, seen)
        elif place in ("method", "host"):
            distance += 3
        else:
            distance += 1 + min(count - 1, 10) / 10
    return distance


def _alike(pattern: RequestPattern, seen: Seen) -> float:
    """Return how much of the two paths is the same, from 0 to 1: by segments, then letters."""
    path = pattern.where
    segments = difflib.SequenceMatcher(None, path.split("/"), seen.path.split("/"))
    return 0.7 * segments.ratio() + 0.3 * difflib.SequenceMatcher(None, path, seen.path).ratio()
