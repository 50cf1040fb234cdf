"""WireMock's matchers of values (``equalTo``, ``matches``, ``equalToJson``, ...) as ours.

What is read stands in :data:`MATCHERS`; all else is a mistake, and told.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import typing as t
import warnings

from rolo.har.json_paths import Path, parse_path
from rolo.matching import ABSENT, ANY, Matcher, one_of, regex, subset
from rolo.matching.differences import MISSING, Difference, described, inside
from rolo.matching.matchers import _assigned, differences, matches

T = t.TypeVar("T")


class Place:
    """A place in a file of mappings, and the list of mistakes that are found there and below.

    :param path: within the file, empty for the whole of it
    """

    def __init__(self, file: str, mistakes: list[str], path: str = "") -> None:
        self._file = file
        self._path = path
        self._mistakes = mistakes

    def at(self, key: str | int) -> Place:
        """Return a place within this one."""
        return Place(self._file, self._mistakes, inside(self._path, key))

    def mistake(self, text: object) -> None:
        """Note that something is wrong here."""
        where = f"{self._file}: {self._path}" if self._path else self._file
        self._mistakes.append(f"{where}: {text}")


class Object:
    """A JSON object that is being read. What is not taken is a mistake, told by :meth:`end`."""

    def __init__(self, value: t.Any, place: Place) -> None:
        self.place = place
        self._left: dict[str, t.Any] = {}
        if isinstance(value, dict):
            self._left = dict(value)
        else:
            place.mistake(f"an object is wanted, not {described(value)}")

    def __contains__(self, key: str) -> bool:
        return key in self._left

    def take(self, key: str, kind: type[T], otherwise: T | None = None) -> T | None:
        """Return the value of ``key``; ``otherwise`` if it is not there, or of another kind."""
        if key not in self._left:
            return otherwise
        value = self._left.pop(key)
        right = kind | int if kind is float else kind
        if isinstance(value, right) and (kind is bool or not isinstance(value, bool)):
            return value
        self.place.at(key).mistake(f"{_KINDS[kind]} is wanted, not {described(value)}")
        return otherwise

    def take_any(self, key: str) -> t.Any:
        """Return the value of ``key``, which is there."""
        return self._left.pop(key)

    def one_of(self, *keys: str) -> str | None:
        """Return which of ``keys`` is there; several are a mistake."""
        found = [key for key in keys if key in self._left]
        for key in found[1:]:
            self._left.pop(key)
            self.place.mistake(f"{found[0]} and {key} exclude each other")
        return found[0] if found else None

    def end(self) -> None:
        """Tell what was not taken."""
        for key in self._left:
            self.place.at(key).mistake("this is not read")


_KINDS: dict[t.Any, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "an object",
    list: "a list",
}


# --- matchers -------------------------------------------------------------------------------


class _Text(Matcher):
    """Text, or bytes in UTF-8, that ``fits``.

    :param said: how it is written in texts
    """

    def __init__(self, said: str, fits: t.Callable[[str], object], *, negative: bool) -> None:
        self._said = said
        self._fits = fits
        self.takes_missing = negative
        """What is not there does not contain, nor match."""

    def check(self, got: t.Any, place: str) -> t.Iterator[Difference]:
        text = got.decode("utf-8", "replace") if isinstance(got, bytes) else got
        if got is not MISSING and not self._fits(text):
            yield Difference(place, self._said, described(text))

    def __repr__(self) -> str:
        return self._said


class _Empty(Matcher):
    """A body that is not there."""

    def check(self, got: t.Any, place: str) -> t.Iterator[Difference]:
        if got:
            yield Difference(place, "absent", described(got))

    def __repr__(self) -> str:
        return "absent"


class _All(Matcher):
    """What each of ``parts`` accepts."""

    takes_missing = True

    def __init__(self, parts: t.Sequence[Matcher]) -> None:
        self._parts = parts

    def check(self, got: t.Any, place: str) -> t.Iterator[Difference]:
        for part in self._parts:
            yield from differences(part, got, place)

    def __repr__(self) -> str:
        return " & ".join(map(repr, self._parts))


class _Json(Matcher):
    """Text that is JSON, with a value like ``wanted``."""

    def __init__(self, wanted: t.Any) -> None:
        self._wanted = wanted

    def check(self, got: t.Any, place: str) -> t.Iterator[Difference]:
        try:
            value = json.loads(got)
        except (ValueError, RecursionError):
            yield Difference(place, described(self._wanted), f"{_shown(got)} (no JSON)")
        else:
            yield from differences(self._wanted, value, place)

    def __repr__(self) -> str:
        return described(self._wanted)


class _Items(Matcher):
    """A list with these elements.

    :param ordered: they are in this order
    :param more: there may be others
    """

    def __init__(self, elements: list[t.Any], *, ordered: bool, more: bool) -> None:
        self._elements = elements
        self._ordered = ordered
        self._more = more

    def check(self, got: t.Any, place: str) -> t.Iterator[Difference]:
        if not isinstance(got, list):
            yield Difference(place, repr(self), described(got))
        elif self._ordered:
            beginning = got[: len(self._elements)] if self._more else got
            yield from differences(self._elements, beginning, place)
        else:
            lacking, left = _assigned(self._elements, got)
            if lacking or (left and not self._more):
                yield Difference(place, repr(self), described(got))

    def __repr__(self) -> str:
        order = "" if self._ordered else " in any order"
        return f"{described(self._elements)}{order}{' and more' if self._more else ''}"


class _AtPath(Matcher):
    """Text that is JSON, with something at ``path``.

    :param inner: what the text of a value there is like; ``None``: it is neither null nor empty
    """

    def __init__(self, said: str, path: Path, inner: Matcher | None) -> None:
        self._said = said
        self._path = path
        self._inner = inner

    def check(self, got: t.Any, place: str) -> t.Iterator[Difference]:
        try:
            found = _found(json.loads(got), self._path)
        except (ValueError, RecursionError):
            yield Difference(place, repr(self), f"{_shown(got)} (no JSON)")
            return
        if self._inner is None:
            if not self._is_there(found):
                yield Difference(place, repr(self), _shown(got))
            return
        values: list[t.Any] = [each for value in found for each in self._texts(value)]
        if not any(matches(self._inner, each) for each in values or [MISSING]):
            yield Difference(place, repr(self), described(values) if values else "absent")

    def _is_there(self, found: list[t.Any]) -> bool:
        several = any(step.descends or step.name is None for step in self._path)
        return bool(found) and (several or found[0] not in (None, [], {}))

    @staticmethod
    def _texts(value: t.Any) -> list[str]:
        if isinstance(value, list):
            return [each if isinstance(each, str) else json.dumps(each) for each in value]
        if value is None:
            return []
        return [value if isinstance(value, str) else json.dumps(value)]

    def __repr__(self) -> str:
        return self._said if self._inner is None else f"{self._said} is {self._inner!r}"


def _found(value: t.Any, path: Path) -> list[t.Any]:
    """Return the values at ``path``."""
    values = [value]
    for step in path:
        above = [each for one in values for each in _descended(one)] if step.descends else values
        values = []
        for each in above:
            if isinstance(each, dict):
                if step.name is None:
                    values += each.values()
                elif isinstance(step.name, str) and step.name in each:
                    values.append(each[step.name])
            elif isinstance(each, list):
                if step.name is None:
                    values += each
                elif isinstance(step.name, int) and step.name < len(each):
                    values.append(each[step.name])
    return values


def _descended(value: t.Any) -> t.Iterator[t.Any]:
    waiting = [value]
    while waiting:
        each = waiting.pop()
        yield each
        if isinstance(each, dict | list):
            waiting += each.values() if isinstance(each, dict) else each


def _shown(got: t.Any) -> str:
    return described(got.decode("utf-8", "replace") if isinstance(got, bytes) else got)


# --- reading them ---------------------------------------------------------------------------


def matcher_of(value: t.Any, place: Place, *, body: bool = False) -> Matcher:
    """Read a matcher: ``{"equalTo": "x"}``.

    :param body: of a body, which is bytes, and absent if it is empty
    """
    given = Object(value, place)
    name = given.one_of(*MATCHERS)
    found: Matcher = ANY
    if name is not None:
        found = MATCHERS[name](given, place, body)
    elif isinstance(value, dict):
        place.mistake(f"one of {', '.join(MATCHERS)} is wanted")
    given.end()
    return found


def pattern_of(text: str, place: Place) -> re.Pattern[str]:
    """Compile a regular expression of Java's; what ours cannot read is a mistake."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # e.g. intersections, which would mean something else
            return re.compile(re.sub(r"\(\?<(?![=!])", "(?P<", text), re.DOTALL)
    except (re.error, Warning) as exc:
        place.mistake(f"{text!r} is no regular expression of Python's: {exc}")
        return re.compile("")


def _equal_to(given: Object, place: Place, body: bool) -> Matcher:
    text = given.take("equalTo", str, "") or ""
    said = described(text)
    if given.take("caseInsensitive", bool):
        folded = text.casefold()
        return _Text(f"{said} in any case", lambda got: got.casefold() == folded, negative=False)
    return _Text(said, lambda got: got == text, negative=False)


def _contains(given: Object, place: Place, body: bool) -> Matcher:
    text = given.take("contains", str, "") or ""
    return _Text(f"contains({described(text)})", lambda got: text in got, negative=False)


def _lacks(given: Object, place: Place, body: bool) -> Matcher:
    text = given.take("doesNotContain", str, "") or ""
    return _Text(f"not contains({described(text)})", lambda got: text not in got, negative=True)


def _fits(given: Object, place: Place, body: bool) -> Matcher:
    return regex(pattern_of(given.take("matches", str, "") or "", place.at("matches")))


def _unfit(given: Object, place: Place, body: bool) -> Matcher:
    return ~regex(pattern_of(given.take("doesNotMatch", str, "") or "", place.at("doesNotMatch")))


def _absent(given: Object, place: Place, body: bool) -> Matcher:
    there = ANY if not body else ~_Empty()
    return (_Empty() if body else ABSENT) if given.take("absent", bool, True) else there


def _anything(given: Object, place: Place, body: bool) -> Matcher:
    given.take_any("anything")
    return ANY


def _binary(given: Object, place: Place, body: bool) -> Matcher:
    data = decoded(given.take("binaryEqualTo", str, "") or "", place.at("binaryEqualTo"))
    if not body:
        place.mistake("binaryEqualTo is for bodies")
    return one_of(data)


def _and(given: Object, place: Place, body: bool) -> Matcher:
    return _All(_several(given, "and", place, body))


def _or(given: Object, place: Place, body: bool) -> Matcher:
    return one_of(*(_several(given, "or", place, body) or [ANY]))


def _not(given: Object, place: Place, body: bool) -> Matcher:
    return ~matcher_of(given.take_any("not"), place.at("not"), body=body)


def _several(given: Object, name: str, place: Place, body: bool) -> list[Matcher]:
    where = place.at(name)
    values = given.take(name, list, []) or []
    return [matcher_of(each, where.at(n), body=body) for n, each in enumerate(values)]


def _equal_to_json(given: Object, place: Place, body: bool) -> Matcher:
    value = given.take_any("equalToJson")
    ordered = not given.take("ignoreArrayOrder", bool)
    more = bool(given.take("ignoreExtraElements", bool))
    where = place.at("equalToJson")
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as exc:
            where.mistake(f"no JSON: {exc}")
    return _Json(_json_wanted(value, ordered, more, where))


def _json_wanted(value: t.Any, ordered: bool, more: bool, place: Place) -> t.Any:
    if isinstance(value, dict):
        inner = {k: _json_wanted(v, ordered, more, place.at(k)) for k, v in value.items()}
        return subset(inner) if more else inner
    if isinstance(value, list):
        items = [_json_wanted(v, ordered, more, place.at(n)) for n, v in enumerate(value)]
        return items if ordered and not more else _Items(items, ordered=ordered, more=more)
    if isinstance(value, str) and value.startswith(("${json-unit.", "#{json-unit.")):
        return _placeholder(value, place)
    return value


def _placeholder(text: str, place: Place) -> t.Any:
    name = text[len("${json-unit.") :]
    if name.startswith("regex}"):
        return regex(pattern_of(name.removeprefix("regex}"), place))
    known: dict[str, t.Any] = {
        "ignore}": ANY,
        "any-string}": str,
        "any-number}": one_of(int, float),
        "any-boolean}": bool,
    }
    if name not in known:
        place.mistake(f"the placeholder {text} is not read")
    return known.get(name)


def _json_path(given: Object, place: Place, body: bool) -> Matcher:
    value = given.take_any("matchesJsonPath")
    where = place.at("matchesJsonPath")
    inner = None
    if isinstance(value, dict):
        value = dict(value)
        expression = value.pop("expression", None)
        inner = matcher_of(value, where)
    else:
        expression = value
    try:
        if not isinstance(expression, str):
            raise ValueError("a path is wanted")
        if "(" in expression:
            raise ValueError(f"{expression!r}: filters and functions are not read")
        path = parse_path(expression)
    except ValueError as exc:
        where.mistake(exc)
        path = ()
    return _AtPath(str(expression), path, inner)


def decoded(text: str, place: Place) -> bytes:
    """Return what ``text``, in Base64, stands for."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as exc:
        place.mistake(f"no Base64: {exc}")
        return b""


MATCHERS: dict[str, t.Callable[[Object, Place, bool], Matcher]] = {
    "equalTo": _equal_to,
    "contains": _contains,
    "doesNotContain": _lacks,
    "matches": _fits,
    "doesNotMatch": _unfit,
    "absent": _absent,
    "anything": _anything,
    "equalToJson": _equal_to_json,
    "matchesJsonPath": _json_path,
    "binaryEqualTo": _binary,
    "and": _and,
    "or": _or,
    "not": _not,
}
"""Those that are read."""
