"""The filter language, as breakpoints read it.

The page reads the same language (``page/filter.js``); one table of cases tests both.
"""

from __future__ import annotations

import operator
import re
import typing as t

Row = t.Mapping[str, t.Any]
Test = t.Callable[[Row], bool]

KEYS = (
    "method",
    "status",
    "host",
    "path",
    "type",
    "slow",
    "size",
    "up",
    "error",
    "client",
    "is",
    "conn",
    "id",
)
STATES = ("open", "held", "pinned", "edited", "reused", "retried", "failed")

_TOKEN = re.compile(r'\s*(-?)(?:([a-z]+):(?!//))?(?:"((?:[^"\\]|\\.)*)("?)|(\S*))')
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)([a-z]*)")
_SECONDS = {"": 1, "us": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "min": 60, "h": 3600}
_BYTES = {"": 1, "b": 1, "k": 1e3, "kb": 1e3, "m": 1e6, "mb": 1e6, "g": 1e9, "gb": 1e9}
_COMPARISONS: dict[str, t.Callable[[t.Any, t.Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "=": operator.eq,
}


class FilterError(ValueError):
    """A filter that cannot be read; the text says what is wrong."""


def parse(line: str) -> Test:
    """Return what tells whether a row is let through.

    :raises FilterError: the line cannot be read
    """
    tests: list[Test] = []
    position, end = 0, len(line.rstrip())
    while position < end:
        match = _TOKEN.match(line, position)
        assert match is not None
        position = match.end()
        minus, key, quoted, closed, word = match.groups()
        if quoted is not None and not closed:
            raise FilterError('a quotation mark is missing: "')
        value = word if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        if key == "text":
            raise FilterError("text: is for looking back, not for what is held")
        if key is not None and key not in KEYS:
            raise FilterError(f"unknown: {key}: (known are {', '.join(KEYS)})")
        if key is None and value == "" and quoted is None:
            continue
        test = _anywhere(value) if key is None else _condition(key, value)
        tests.append(_not(test) if minus else test)
    return lambda row: all(test(row) for test in tests)


def _not(test: Test) -> Test:
    return lambda row: not test(row)


def _anywhere(word: str) -> Test:
    word = word.lower()
    return lambda row: (
        word in f"{row['method']} {row['scheme']}://{row['host']}{row['path']}".lower()
    )


def _condition(key: str, value: str) -> Test:
    part = value.lower()
    if part == "":
        return lambda row: True
    if key == "method":
        return lambda row: str(row["method"]).lower() == part
    if key in ("host", "path", "client"):
        return lambda row: part in (row[key] or "").lower()
    if key == "error":
        return lambda row: part in f"{row['outcome'] or ''} {row['error'] or ''}".lower()
    if key in ("id", "conn"):
        return lambda row: str(row[key]) == part
    if key == "type":
        return _of_type(part)
    if key == "is":
        return _of_state(part)
    if key == "status":
        if re.fullmatch("[1-5]xx", part):
            return lambda row: row["status"] is not None and row["status"] // 100 == int(part[0])
        return _compared(key, part, {"": 1}, "status", "=")
    if key == "slow":
        return _compared(key, part, _SECONDS, "seconds", ">=")
    return _compared(key, part, _BYTES, key, ">=")


def _of_type(kind: str) -> Test:
    if kind == "ws":
        return lambda row: row["kind"] == "websocket"
    if kind == "sse":
        return lambda row: row["kind"] == "sse"
    wanted = "javascript" if kind == "js" else kind
    return lambda row: wanted in (row["type"] or "")


def _of_state(state: str) -> Test:
    if state not in STATES:
        raise FilterError(f"is: {', '.join(STATES)}, not {state}")
    if state == "failed":
        return lambda row: row["outcome"] not in (None, "complete")
    return lambda row: row[state] is True


def _compared(key: str, text: str, units: dict[str, float], column: str, default: str) -> Test:
    match = re.fullmatch(r"(>=|<=|>|<|=)?(.*)", text, re.S)
    assert match is not None
    sign, rest = match.groups()
    if rest == "":
        return lambda row: True
    number = _NUMBER.fullmatch(rest)
    if number is None or number[2] not in units:
        raise FilterError(f"{key}: cannot read {rest}")
    bound = float(number[1]) * units[number[2]]
    compare = _COMPARISONS[sign or default]
    return lambda row: row[column] is not None and compare(row[column], bound)
