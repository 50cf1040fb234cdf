"""Where in a JSON document some values are, so that they can be replaced and the rest stays as it
came, byte for byte. The paths are a subset of JSONPath (RFC 9535).
"""

from __future__ import annotations

import json
import re
import typing as t

_STEP = re.compile(
    r"""(?P<descend>\.\.)? (?: \.? (?P<name>[^.\[\]'"*\s]+) | \.? (?P<star>\*)
    | \[ (?: (?P<index>\d+) | (?P<each>\*) | '(?P<quoted>[^']*)' | "(?P<double>[^"]*)" ) \] )""",
    re.VERBOSE,
)
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.S)
# The last two are no JSON, but Python and JavaScript programs write them.
_SCALAR = re.compile(r"-?[0-9][0-9.eE+-]*|true|false|null|NaN|-?Infinity")
_SPACE = re.compile(r"[ \t\r\n]*")

Span = tuple[int, int]


class Step(t.NamedTuple):
    """One step of a path. ``name`` is that of a member, an element's index, or ``None`` for
    any; it ``descends`` if it may be in any depth."""

    name: str | int | None
    descends: bool


Path = tuple[Step, ...]
_States = tuple[tuple[int, int], ...]


def parse_path(text: str) -> Path:
    """Read ``$.user.password``, ``items[*].key``, ``items[0]``, ``['a name']`` or ``$..token``
    (in any depth); the ``$`` may be left out.

    :raises ValueError: it is none of these; says what is wrong
    """
    rest = text.removeprefix("$")
    steps: list[Step] = []
    at = 0
    while at < len(rest):
        step = _STEP.match(rest, at)
        if step is None:
            raise ValueError(f"not a JSON path: {text!r}, from {rest[at:]!r} on")
        name: str | int | None
        if step["index"] is not None:
            name = int(step["index"])
        elif step["star"] or step["each"]:
            name = None
        else:
            name = next(
                each for each in (step["name"], step["quoted"], step["double"]) if each is not None
            )
        steps.append(Step(name, step["descend"] is not None))
        at = step.end()
    if not steps:
        raise ValueError(f"not a JSON path: {text!r}: it names no value")
    return tuple(steps)


def locate(document: bytes, paths: t.Sequence[Path]) -> list[Span]:
    """Return where the values are that ``paths`` lead to, in order; those within another of
    them are left out.

    :raises ValueError: ``document`` is no JSON document
    """
    # Offsets of a Latin-1 text are those of the bytes, and all that has a meaning is ASCII.
    text = document.removeprefix(b"\xef\xbb\xbf").decode("latin-1")
    offset = len(document) - len(text)
    spans = _Walk(text, paths).run()
    return [(start + offset, end + offset) for start, end in spans] if offset else spans


class _Frame:
    """An object or a list that is being walked through."""

    __slots__ = ("close", "hit", "index", "start", "states")

    def __init__(self, close: str, states: _States, start: int, hit: bool) -> None:
        self.close = close
        self.states = states
        self.start = start
        self.hit = hit
        self.index = -1


class _Walk:
    """One pass over a document, without recursion: depth is the sender's to choose."""

    def __init__(self, text: str, paths: t.Sequence[Path]) -> None:
        self.text = text
        self.paths = paths
        self.at = 0
        self.found: list[Span] = []
        self.frames: list[_Frame] = []

    def run(self) -> list[Span]:
        states: _States = tuple((number, 0) for number in range(len(self.paths)))
        self._space()
        hit = False
        while True:
            start = self.at
            if self._open(states, start, hit):
                states, hit = self._child()
                continue
            if hit:
                self.found.append((start, self.at))
            if not self._next():
                break
            states, hit = self._child()
        self._space()
        if self.at != len(self.text):
            raise self._broken()
        return sorted(self.found)

    def _open(self, states: _States, start: int, hit: bool) -> bool:
        """Read a scalar or an empty container whole, or step into one that is not: true."""
        text = self.text
        first = text[start : start + 1]
        if first in ("{", "["):
            close = "}" if first == "{" else "]"
            self.at += 1
            self._space()
            if text.startswith(close, self.at):
                self.at += 1
                return False
            self.frames.append(_Frame(close, () if hit else states, start, hit))
            return True
        match = (_STRING if first == '"' else _SCALAR).match(text, start)
        if match is None:
            raise self._broken()
        self.at = match.end()
        return False

    def _child(self) -> tuple[_States, bool]:
        """Read the name of the next member, or count the next element; return what is looked
        for in it, and whether it is to be replaced itself."""
        frame = self.frames[-1]
        key: str | int
        if frame.close == "]":
            frame.index += 1
            key = frame.index
        else:
            match = _STRING.match(self.text, self.at)
            if match is None:
                raise self._broken()
            self.at = match.end()
            self._space()
            if not self.text.startswith(":", self.at):
                raise self._broken()
            self.at += 1
            self._space()
            if not frame.states:
                return (), False
            key = _name(match[0])
        return self._advance(frame.states, key)

    def _advance(self, states: _States, key: str | int) -> tuple[_States, bool]:
        following: dict[tuple[int, int], None] = {}
        hit = False
        for path, at in states:
            step = self.paths[path][at]
            if step.descends:
                following[path, at] = None
            if step.name is None or (step.name == key and type(step.name) is type(key)):
                if at + 1 == len(self.paths[path]):
                    hit = True
                else:
                    following[path, at + 1] = None
        return tuple(following), hit

    def _next(self) -> bool:
        """Go to the next value within what is open, closing what ends; false at the end."""
        while self.frames:
            self._space()
            frame = self.frames[-1]
            if self.text.startswith(",", self.at):
                self.at += 1
                self._space()
                return True
            if not self.text.startswith(frame.close, self.at):
                raise self._broken()
            self.at += 1
            self.frames.pop()
            if frame.hit:
                self.found.append((frame.start, self.at))
        return False

    def _space(self) -> None:
        match = _SPACE.match(self.text, self.at)
        assert match is not None
        self.at = match.end()

    def _broken(self) -> ValueError:
        return ValueError(f"not JSON from byte {self.at} on")


def _name(quoted: str) -> str:
    """Return the name of a member as it is meant."""
    name = quoted[1:-1]
    if name.isascii() and "\\" not in name:
        return name
    return t.cast(str, json.loads(quoted.encode("latin-1")))
