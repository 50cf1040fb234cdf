"""What a value must be like: plain values, matchers, predicates, types and pydantic models.

Wherever a value is wanted (a query parameter, a field, a place within JSON), these may stand:

- a plain value: equal to it. JSON's ``true`` is not ``1``. Mappings have the same keys, lists the
  same length; within them anything of this list may stand.
- a matcher of this module. Matchers compare equal to what they match, so they may stand in
  ``assert`` as well; ``a & b``, ``a | b`` and ``~a`` combine them.
- a compiled regular expression: text that matches it as a whole
- a type: an instance of it. A pydantic model: what it validates.
- another callable: a predicate, called with the value.
"""

from __future__ import annotations

import re
import sys
import typing as t
from collections.abc import Mapping, Sequence

from rolo.matching.differences import MISSING, Difference, described, inside


def differences(wanted: t.Any, got: t.Any, place: str = "") -> t.Iterator[Difference]:
    """Yield where ``got`` is not what is ``wanted``.

    :param got: :data:`~rolo.matching.differences.MISSING` if there is no value
    :param place: what ``got`` is called in the differences
    """
    if isinstance(wanted, Matcher):
        if got is MISSING and not wanted.takes_missing:
            yield Difference(place, repr(wanted), "absent")
        else:
            yield from wanted.check(got, place)
    elif got is MISSING:
        yield Difference(place, described(wanted), "absent")
    elif isinstance(wanted, Mapping):
        yield from _mapping_differences(wanted, got, place, more_allowed=False)
    elif isinstance(wanted, list | tuple):
        yield from _list_differences(wanted, got, place)
    elif isinstance(wanted, re.Pattern):
        yield from regex(wanted).check(got, place)
    elif isinstance(wanted, type):
        yield from _type_differences(wanted, got, place)
    elif callable(wanted):
        yield from satisfies(wanted).check(got, place)
    elif not _equal(wanted, got):
        yield Difference(place, described(wanted), described(got))


def matches(wanted: t.Any, got: t.Any) -> bool:
    """Tell whether ``got`` is what is ``wanted``."""
    return next(differences(wanted, got), None) is None


class Matcher:
    """What a value must be like. Subclasses say what is different, in :meth:`check`, and how
    they are called in texts, in ``__repr__``."""

    takes_missing = False
    """Whether :meth:`check` is asked about a value that is not there."""

    def check(self, got: t.Any, place: str) -> t.Iterator[Difference]:
        """Yield where ``got`` is not what is wanted; ``place`` is what it is called."""
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return matches(self, other)

    __hash__ = object.__hash__

    def __and__(self, other: t.Any) -> Matcher:
        return _Both(self, other)

    def __or__(self, other: t.Any) -> Matcher:
        return one_of(self, other)

    def __invert__(self) -> Matcher:
        return _Not(self)


class _Any(Matcher):
    def check(self, got: t.Any, place: str) -> t.Iterator[Difference]:
        yield from ()

    def __repr__(self) -> str:
        return "ANY"


class _Absent(Matcher):
    takes_missing = True

    def check(self, got: t.Any, place: str) -> t.Iterator[Difference]:
        if got is not MISSING:
            yield Difference(place, "absent", described(got))

    def __repr__(self) -> str:
        return "absent"


ANY: t.Final[Matcher] = _Any()
"""Any value, but there must be one."""

ABSENT: t.Final[Matcher] = _Absent()
"""There must be no value."""


class contains(Matcher):
    """Text or bytes with each of ``parts`` in it; a list with an element for each of them; a
    mapping with each of them as a key."""

    def __init__(self, *parts: t.Any) -> None:
        if not parts:
            raise TypeError("contains() needs at least one thing that is to be contained")
        self.parts = parts

    def check(self, got: t.Any, place: str) -> t.Iterator[Difference]:
        for part in self.parts:
            if not self._has(got, part):
                yield Difference(place, f"contains({described(part)})", described(got))

    @staticmethod
    def _has(got: t.Any, part: t.Any) -> bool:
        if isinstance(got, str):
            return isinstance(part, str) and part in got
        if isinstance(got, bytes):
            return _as_bytes(part) in got if isinstance(part, str | bytes) else False
        if isinstance(got, Mapping | Sequence):
            return any(matches(part, each) for each in got)
        return False

    def __repr__(self) -> str:
        return f"contains({', '.join(map(described, self.parts))})"


class regex(Matcher):
    """Text (or bytes) that matches ``pattern`` as a whole; begin and end it with ``.*`` to look
    for a part.

    :raises TypeError: the pattern cannot be read
    """

    def __init__(self, pattern: str | re.Pattern[str] | re.Pattern[bytes], flags: int = 0) -> None:
        try:
            self.pattern = re.compile(pattern, flags)
        except re.error as exc:
            raise TypeError(f"regex({pattern!r}): {exc}") from exc

    def check(self, got: t.Any, place: str) -> t.Iterator[Difference]:
        if not self._fits(got):
            yield Difference(place, repr(self), described(got))

    def _fits(self, got: t.Any) -> bool:
        if isinstance(self.pattern.pattern, bytes):
            return isinstance(got, bytes) and bool(self.pattern.fullmatch(got))
        if isinstance(got, bytes):
            got = got.decode("utf-8", "replace")
        return isinstance(got, str) and bool(self.pattern.fullmatch(got))

    def __repr__(self) -> str:
        return f"regex({self.pattern.pattern!r})"


class one_of(Matcher):
    """What at least one of ``choices`` accepts."""

    def __init__(self, *choices: t.Any) -> None:
        if not choices:
            raise TypeError("one_of() needs at least one choice")
        self.choices = choices
        self.takes_missing = True

    def check(self, got: t.Any, place: str) -> t.Iterator[Difference]:
        if not any(matches(each, got) for each in self.choices):
            yield Difference(place, repr(self), described(got))

    def __repr__(self) -> str:
        return f"one_of({', '.join(map(described, self.choices))})"


class subset(Matcher):
    """A mapping with at least these keys; mappings within it likewise, in any depth."""

    def __init__(self, wanted: Mapping[t.Any, t.Any]) -> None:
        self.wanted = wanted

    def check(self, got: t.Any, place: str) -> t.Iterator[Difference]:
        deep = {
            key: subset(value) if isinstance(value, Mapping) else value
            for key, value in self.wanted.items()
        }
        yield from _mapping_differences(deep, got, place, more_allowed=True)

    def __repr__(self) -> str:
        return f"subset({described(self.wanted)})"


class only(Matcher):
    """Query parameters, fields of a form or cookies: these, and no others."""

    def __init__(self, wanted: Mapping[str, t.Any]) -> None:
        self.wanted = wanted

    def check(self, got: t.Any, place: str) -> t.Iterator[Difference]:
        yield from _mapping_differences(self.wanted, got, place, more_allowed=False)

    def __repr__(self) -> str:
        return f"only({described(self.wanted)})"


class unordered(Matcher):
    """A list of exactly these elements, in any order."""

    def __init__(self, elements: t.Iterable[t.Any]) -> None:
        self.elements = list(elements)

    def check(self, got: t.Any, place: str) -> t.Iterator[Difference]:
        if not isinstance(got, list | tuple):
            yield Difference(place, repr(self), described(got))
            return
        lacking, left = _assigned(self.elements, list(got))
        for element in lacking:
            yield Difference(place, f"contains({described(element)})", described(got))
        for index in left:
            yield Difference(inside(place, index), "absent", described(got[index]))

    def __repr__(self) -> str:
        return f"unordered({described(self.elements)})"


class each(Matcher):
    """A list whose elements are all like ``wanted``; an empty one is."""

    def __init__(self, wanted: t.Any) -> None:
        self.wanted = wanted

    def check(self, got: t.Any, place: str) -> t.Iterator[Difference]:
        if not isinstance(got, list | tuple):
            yield Difference(place, repr(self), described(got))
            return
        for index, element in enumerate(got):
            yield from differences(self.wanted, element, inside(place, index))

    def __repr__(self) -> str:
        return f"each({described(self.wanted)})"


class satisfies(Matcher):
    """What ``predicate`` returns a true value for. If it raises, the value does not match, and
    the difference says what was raised.

    :param name: what it is called in texts; ``None`` is the name of the function
    """

    def __init__(self, predicate: t.Callable[[t.Any], object], name: str | None = None) -> None:
        self.predicate = predicate
        self.name = described(predicate) if name is None else name

    def check(self, got: t.Any, place: str) -> t.Iterator[Difference]:
        try:
            if self.predicate(got):
                return
        except Exception as exc:  # noqa: BLE001 - whatever a user's predicate raises
            yield Difference(place, self.name, f"{described(got)} ({type(exc).__name__}: {exc})")
        else:
            yield Difference(place, self.name, described(got))

    def __repr__(self) -> str:
        return self.name


class _Both(Matcher):
    def __init__(self, left: t.Any, right: t.Any) -> None:
        self.sides = (left, right)

    def check(self, got: t.Any, place: str) -> t.Iterator[Difference]:
        for side in self.sides:
            yield from differences(side, got, place)

    def __repr__(self) -> str:
        return " & ".join(map(described, self.sides))


class _Not(Matcher):
    takes_missing = True

    def __init__(self, inner: Matcher) -> None:
        self.inner = inner

    def check(self, got: t.Any, place: str) -> t.Iterator[Difference]:
        if matches(self.inner, got):
            yield Difference(place, repr(self), described(got))

    def __repr__(self) -> str:
        return f"not {self.inner!r}"


# --- how plain values compare ----------------------------------------------------------------


def _equal(wanted: t.Any, got: t.Any) -> bool:
    if isinstance(wanted, bool) or isinstance(got, bool):
        return wanted is got
    return bool(wanted == got)


def _mapping_differences(
    wanted: Mapping[t.Any, t.Any], got: t.Any, place: str, *, more_allowed: bool
) -> t.Iterator[Difference]:
    if not isinstance(got, Mapping):
        yield Difference(place, described(dict(wanted)), described(got))
        return
    for key, value in wanted.items():
        yield from differences(value, got.get(key, MISSING), inside(place, key))
    if not more_allowed:
        for key in got:
            if key not in wanted:
                yield Difference(inside(place, key), "absent", described(got[key]))


def _list_differences(wanted: Sequence[t.Any], got: t.Any, place: str) -> t.Iterator[Difference]:
    if not isinstance(got, list | tuple):
        yield Difference(place, described(wanted), described(got))
        return
    for index, value in enumerate(wanted):
        element = got[index] if index < len(got) else MISSING
        yield from differences(value, element, inside(place, index))
    for index in range(len(wanted), len(got)):
        yield Difference(inside(place, index), "absent", described(got[index]))


def _type_differences(wanted: t.Any, got: t.Any, place: str) -> t.Iterator[Difference]:
    # A model is one only if pydantic is there already: importing it takes a tenth of a second.
    pydantic = sys.modules.get("pydantic")
    if pydantic is not None and issubclass(wanted, pydantic.BaseModel):
        try:
            wanted.model_validate(got)
        except pydantic.ValidationError as exc:
            for error in exc.errors(include_url=False):
                where = place
                for key in error["loc"]:
                    where = inside(where, key)
                yield Difference(where, error["msg"], described(error["input"]))
    elif not isinstance(got, wanted) or (isinstance(got, bool) and wanted is not bool):
        yield Difference(place, described(wanted), described(got))


def _assigned(wanted: list[t.Any], got: list[t.Any]) -> tuple[list[t.Any], list[int]]:
    """Assign an element of ``got`` of its own to as many of ``wanted`` as can be; return what
    is wanted and has none, and the numbers of those left over.

    Kuhn's way: what is taken is given up again if its owner finds another, since the first
    that fits may be the only one for a stricter matcher.
    """
    owner: dict[int, int] = {}

    def find(want: int, tried: set[int]) -> bool:
        for index, element in enumerate(got):
            if index not in tried and matches(wanted[want], element):
                tried.add(index)
                if index not in owner or find(owner[index], tried):
                    owner[index] = want
                    return True
        return False

    lacking = [wanted[want] for want in range(len(wanted)) if not find(want, set())]
    return lacking, [index for index in range(len(got)) if index not in owner]


def _as_bytes(part: str | bytes) -> bytes:
    return part.encode() if isinstance(part, str) else part
