"""What a request must look like, as one value."""

from __future__ import annotations

import dataclasses
import functools
import typing as t
from collections.abc import Mapping
from urllib.parse import parse_qsl

from werkzeug.datastructures import Headers, MultiDict

from rolo.matching.differences import MISSING, Difference, described, inside
from rolo.matching.matchers import Matcher, differences, matches, only
from rolo.matching.paths import PathRule
from rolo.matching.seen import WEBSOCKET, Seen

UNSET: t.Final[t.Any] = MISSING
"""``json=None`` is a condition: the body is ``null``."""

Rank = tuple[int, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Match:
    """The request is as the pattern says."""

    values: dict[str, t.Any]
    """Of the path's and the host's variables, converted."""


@dataclasses.dataclass(frozen=True, slots=True)
class Miss:
    """The request is not as the pattern says; false, where a :class:`Match` is true."""

    differences: tuple[Difference, ...]

    def __bool__(self) -> bool:
        return False


class part(Matcher):
    """A part of a multipart form. What is ``None`` does not matter.

    :param content: text, bytes, or what they must be like
    """

    def __init__(
        self, content: t.Any = None, *, filename: t.Any = None, content_type: t.Any = None
    ) -> None:
        self.wanted = {"content": content, "filename": filename, "content_type": content_type}

    def check(self, got: t.Any, place: str) -> t.Iterator[Difference]:
        for name, wanted in self.wanted.items():
            if wanted is None:
                continue
            if name == "content":
                yield from _bytes_differences(wanted, got.content, inside(place, name))
            else:
                value = getattr(got, name)
                yield from differences(
                    wanted, MISSING if value is None else value, inside(place, name)
                )

    def __repr__(self) -> str:
        given = [f"{k}={described(v)}" for k, v in self.wanted.items() if v is not None]
        return f"part({', '.join(given)})"


class RequestPattern:
    """What a request must look like. What is not given does not matter.

    Values may be plain, matchers, predicates, types or models, see
    :mod:`rolo.matching.matchers`. Where a name occurs several times (in the query, a form, the
    fields of the head), one of its values must be as wanted, or all of them, in their order, as
    a wanted list. Names that are not named may be there, unless ``only({...})`` is wanted.

    :param method: one, several, or ``None`` for each; ``GET`` brings ``HEAD``.
        ``WEBSOCKET`` is a websocket's handshake, and no other method is.
    :param path: in the syntax of the router's rules, also with a query, ``/x?page=2``
    :param host: likewise; without a port it is the host on any port
    :param query: parameters by name; numbers stand for their text
    :param headers: fields by name, whatever its case
    :param cookies: by name
    :param json: the body's value. A mapping has these keys and no others, unless it is
        ``subset({...})``. Not given: the body does not matter; ``None``: it is ``null``.
    :param form: fields of an urlencoded or multipart form
    :param parts: parts of a multipart form by name: their content, or ``part(...)``
    :param body: text, bytes, or what they must be like
    :param subprotocol: that a websocket's client offers
    :param when: is called with the :class:`Seen` request; true if it will do
    :raises TypeError, ValueError: a condition cannot be read; says which
    """

    precedence = "the most specific answers; of equals, the latest"
    """Which of several that match counts, in words; see :attr:`rank`."""

    def __init__(
        self,
        method: str | t.Iterable[str] | None = None,
        path: str | None = None,
        *,
        host: str | None = None,
        query: Mapping[str, t.Any] | Matcher | None = None,
        headers: Mapping[str, t.Any] | None = None,
        cookies: Mapping[str, t.Any] | Matcher | None = None,
        json: t.Any = UNSET,
        form: Mapping[str, t.Any] | Matcher | None = None,
        parts: Mapping[str, t.Any] | None = None,
        body: t.Any = None,
        subprotocol: t.Any = None,
        when: t.Callable[[Seen], object] | None = None,
    ) -> None:
        if path is not None and "?" in path:
            path, _, text = path.partition("?")
            query = _with_query(query, text)
        self.methods = _methods(method)
        self.rule = PathRule(path, host)
        self.query = _named("query", query)
        self.headers = _named("headers", headers)
        self.cookies = _named("cookies", cookies)
        self.json = json
        self.form = _named("form", form)
        self.parts = _named("parts", parts)
        self.body = body
        self.subprotocol = subprotocol
        self.when = when

    def match(self, seen: Seen) -> Match | Miss:
        """Return what the path's variables are, or where ``seen`` is different."""
        values = self.rule.values(seen)
        if values is not None:
            found = tuple(self._differences(seen))
            return Miss(found) if found else Match(values)
        return Miss((*self._path_differences(seen), *self._differences(seen)))

    def matched(self, seen: Seen) -> Match | None:
        """As :meth:`match`, but stops at the first difference."""
        values = self.rule.values(seen)
        if values is None or next(self._differences(seen), None) is not None:
            return None
        return Match(values)

    @functools.cached_property
    def rank(self) -> Rank:
        """Greater is more specific: first the path (without variables, then with ones of one
        segment, then with ``<path:...>``, then any; among equals the one with more letters of
        its own), then the number of conditions (each parameter, field and cookie is one)."""
        named = (self.query, self.headers, self.cookies, self.form, self.parts)
        conditions = sum(_size(each) for each in named)
        conditions += self.methods is not None
        conditions += self.json is not UNSET
        conditions += sum(
            each is not None for each in (self.body, self.subprotocol, self.when, self.rule.host)
        )
        return (*self.rule.rank, conditions)

    @property
    def where(self) -> str:
        """The path that is wanted, as it is written in texts; empty for any."""
        return self.rule.path or ""

    def describe(self) -> str:
        """Return a short name: ``POST /orders with json, headers``."""
        methods = "any method" if self.methods is None else "|".join(self.methods)
        where = f"{self.rule.host or ''}{self.where or ('' if self.rule.host else 'any path')}"
        names = [
            name
            for name in ("query", "headers", "cookies", "form", "parts", "body", "subprotocol")
            if getattr(self, name) is not None
        ]
        if self.json is not UNSET:
            names.append("json")
        if self.when is not None:
            names.append("when")
        return f"{methods} {where}" + (f" with {', '.join(names)}" if names else "")

    def __repr__(self) -> str:
        return f"<RequestPattern {self.describe()}>"

    # --- the conditions, in the order of a request ----------------------------------------

    def _differences(self, seen: Seen) -> t.Iterator[Difference]:
        if not self._takes_method(seen.method):
            wanted = "another method" if self.methods is None else " or ".join(self.methods)
            yield Difference("method", wanted, seen.method)
        if self.query is not None:
            yield from _fields_differences(self.query, seen.args, "query")
        if self.headers is not None:
            yield from _fields_differences(self.headers, seen.headers, "headers")
        if self.cookies is not None:
            yield from _fields_differences(self.cookies, MultiDict(seen.cookies), "cookies")
        if self.subprotocol is not None:
            yield from _one_differences(self.subprotocol, seen.subprotocols, "subprotocol")
        if self.json is not UNSET:
            yield from _json_differences(self.json, seen)
        if self.form is not None:
            yield from _form_differences(self.form, seen)
        if self.parts is not None:
            yield from _parts_differences(self.parts, seen)
        if self.body is not None:
            yield from _bytes_differences(self.body, seen.data, "body", cut=seen.cut)
        if self.when is not None:
            yield from _predicate_differences(self.when, seen)

    def _takes_method(self, method: str) -> bool:
        if self.methods is None:
            return method != WEBSOCKET
        return method in self.methods or (method == "HEAD" and "GET" in self.methods)

    def _path_differences(self, seen: Seen) -> t.Iterator[Difference]:
        if self.rule.host is not None and PathRule(None, self.rule.host).values(seen) is None:
            yield Difference("host", self.rule.host, seen.host)
        if self.rule.path is not None and PathRule(self.rule.path).values(seen) is None:
            yield Difference("path", self.rule.path, seen.raw_path)


# --- conditions when they are given ------------------------------------------------------------


def _methods(method: str | t.Iterable[str] | None) -> tuple[str, ...] | None:
    if method is None:
        return None
    methods = (method,) if isinstance(method, str) else tuple(method)
    return tuple(each.upper() for each in methods)


def _named(name: str, wanted: t.Any) -> t.Any:
    if wanted is None or isinstance(wanted, Mapping | Matcher):
        return wanted
    raise TypeError(f"{name}: a mapping of names to what is wanted, not {wanted!r}")


def _with_query(query: t.Any, text: str) -> dict[str, t.Any]:
    if isinstance(query, Matcher):
        raise TypeError("the query is given twice: in the path, and as a matcher")
    found: dict[str, list[str]] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        found.setdefault(name, []).append(value)
    merged = {name: each[0] if len(each) == 1 else each for name, each in found.items()}
    return {**merged, **(query or {})}


def _size(wanted: t.Any) -> int:
    if isinstance(wanted, only):
        return len(wanted.wanted) + 1
    if isinstance(wanted, Mapping):
        return len(wanted)
    return 0 if wanted is None else 1


# --- what is different -------------------------------------------------------------------------


def _fields_differences(
    wanted: t.Any, got: MultiDict[str, str] | Headers, place: str
) -> t.Iterator[Difference]:
    if isinstance(wanted, only):
        for name in {name: None for name, _ in got.items()}:
            if name not in wanted.wanted:
                yield Difference(inside(place, name), "absent", described(got.getlist(name)[0]))
        wanted = wanted.wanted
    if isinstance(wanted, Matcher):
        yield from differences(wanted, dict(got.items()), place)
        return
    for name, value in wanted.items():
        yield from _one_differences(value, got.getlist(name), inside(place, name))


def _one_differences(wanted: t.Any, got: list[str], place: str) -> t.Iterator[Difference]:
    """One of ``got`` is as wanted, or all are as a wanted list."""
    if isinstance(wanted, list | tuple):
        yield from differences([_text(each) for each in wanted], got, place)
        return
    wanted = _text(wanted)
    if not got:
        yield from differences(wanted, MISSING, place)
    elif len(got) == 1:
        yield from differences(wanted, got[0], place)
    elif isinstance(wanted, Matcher) and wanted.takes_missing:
        # "absent", "not this": of all of them, else the others would always do.
        for each in got:
            yield from differences(wanted, each, place)
    elif not any(matches(wanted, each) for each in got):
        yield Difference(place, described(wanted), described(got))


def _text(wanted: t.Any) -> t.Any:
    if isinstance(wanted, int | float) and not isinstance(wanted, bool):
        return str(wanted)
    return wanted


def _json_differences(wanted: t.Any, seen: Seen) -> t.Iterator[Difference]:
    try:
        got = seen.json
    except ValueError as exc:
        yield Difference("json", described(wanted), f"{described(seen.text)} ({exc})")
    else:
        yield from differences(wanted, got, "json")


def _form_differences(wanted: t.Any, seen: Seen) -> t.Iterator[Difference]:
    try:
        got = seen.form
    except ValueError as exc:
        yield Difference("form", described(wanted), str(exc))
    else:
        yield from _fields_differences(wanted, got, "form")


def _parts_differences(wanted: Mapping[str, t.Any], seen: Seen) -> t.Iterator[Difference]:
    try:
        got = seen.parts
    except ValueError as exc:
        yield Difference("parts", described(wanted), str(exc))
        return
    for name, value in wanted.items():
        condition = value if isinstance(value, Matcher) else part(value)
        place = inside("parts", name)
        named = [each for each in got if each.name == name]
        if not named or (isinstance(condition, Matcher) and not isinstance(condition, part)):
            content = [each.content for each in named]
            yield from differences(condition, content[0] if content else MISSING, place)
        elif not any(matches(condition, each) for each in named):
            yield from differences(condition, named[0], place)


def _predicate_differences(
    predicate: t.Callable[[Seen], object], seen: Seen
) -> t.Iterator[Difference]:
    try:
        if predicate(seen):
            return
    except Exception as exc:  # noqa: BLE001 - whatever a user's predicate raises
        yield Difference("when", described(predicate), f"{type(exc).__name__}: {exc}")
    else:
        yield Difference("when", described(predicate), "not accepted")


def _bytes_differences(
    wanted: t.Any, got: bytes, place: str, *, cut: bool = False
) -> t.Iterator[Difference]:
    if cut:
        yield Difference(place, described(wanted), f"only its first {len(got)} bytes were kept")
    elif isinstance(wanted, str):
        text = got.decode("utf-8", "replace")
        yield from differences(wanted, text, place)
    else:
        yield from differences(wanted, got, place)
