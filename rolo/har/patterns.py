"""What a request must look like so that a recorded answer is given to it."""

from __future__ import annotations

import json as jsonlib
import typing as t
from urllib.parse import parse_qsl, unquote

from werkzeug.datastructures import Headers

from rolo.har.json_paths import Path, parse_path
from rolo.har.model import FORM, MULTIPART, Entry, is_json, media_type
from rolo.har.redact import REDACTED
from rolo.matching import ABSENT, ANY, Difference, Matcher, RequestPattern, Seen, only, part
from rolo.matching.differences import MISSING, described
from rolo.matching.matchers import differences

Match = t.Iterable[str]

WHOLE = ("method", "host", "path", "query", "body")
PARTS = ("query", "header", "cookie", "json", "form")


def check_match(match: Match) -> tuple[str, ...]:
    """Return what requests are compared by, checked.

    :raises ValueError: nobody knows what one of them is
    """
    names = (match,) if isinstance(match, str) else tuple(match)
    for name in names:
        kind, colon, inner = name.partition(":")
        if colon and kind == "json":
            parse_path(inner)
        if (kind not in PARTS or not inner) if colon else name not in WHOLE:
            known = ", ".join([*WHOLE, *(f"{each}:..." for each in PARTS)])
            raise ValueError(f"requests are not matched by {name!r}, but by: {known}")
    return names


def seen_of(entry: Entry) -> Seen:
    """Return a recorded request as a request that came."""
    parts = entry.parts
    body = entry.body
    return Seen(
        method="WEBSOCKET" if entry.is_websocket else entry.method,
        host=entry.header("host") or parts.netloc.rpartition("@")[2],
        raw_path=parts.path or "/",
        query_string=parts.query,
        headers=Headers(entry.headers),
        data=b"" if body is None else body.read(),
        cut=body is None,
    )


def pattern_of(entry: Entry, match: tuple[str, ...]) -> RequestPattern:
    """Return what a request must look like to be the one of ``entry``, as far as ``match``
    wants. A value that was redacted may be any."""
    wanted: dict[str, t.Any] = {}
    parts = entry.parts
    path: str | None = None
    absent: list[Path] = []
    for name in match:
        kind, _, inner = name.partition(":")
        if name == "method":
            wanted["method"] = "WEBSOCKET" if entry.is_websocket else entry.method
        elif name == "host":
            wanted["host"] = parts.netloc.rpartition("@")[2]
        elif name == "path":
            path = _plain(parts.path)
        elif name == "query":
            wanted["query"] = only(_grouped(parts.query))
        elif name == "body":
            wanted |= _body(entry)
        elif kind == "query":
            _put(wanted, "query", inner, _grouped(parts.query))
        elif kind == "form":
            _put(wanted, "form", inner, _grouped(_body_text(entry)))
        elif kind == "header":
            _put_header(wanted, entry, inner)
        elif kind == "cookie":
            _put(wanted, "cookies", inner, _cookies(entry))
        elif kind == "json":
            absent.append(parse_path(inner))
            if (document := _json(entry)) is not MISSING:
                wanted["json"] = _AtPaths.of(wanted.get("json"), inner, document)
    if absent and "json" not in wanted:
        wanted["when"] = _Without(absent)
    return RequestPattern(path=path, **wanted)


def same_path(entry: Entry, seen: Seen) -> bool:
    """Whether the paths are the same, slashes included: to a pattern ``/a`` and ``/a/`` are."""
    return unquote(entry.parts.path or "/") == seen.path


def _plain(path: str) -> str:
    """As a rule without variables, which is how a path is written that has signs of them."""
    plain = unquote(path or "/")
    return plain if "<" not in plain else path.replace("<", "%3C").replace(">", "%3E")


def _value(text: str) -> t.Any:
    return ANY if text == REDACTED else text


def _grouped(query: str) -> dict[str, t.Any]:
    found: dict[str, list[t.Any]] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        found.setdefault(name, []).append(_value(value))
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def _put(wanted: dict[str, t.Any], where: str, name: str, values: dict[str, t.Any]) -> None:
    """Ask for one value of several; for none if there was none."""
    if not isinstance(wanted.get(where), Matcher):  # else all of them are asked for
        wanted.setdefault(where, {})[name] = values.get(name, ABSENT)


def _put_header(wanted: dict[str, t.Any], entry: Entry, name: str) -> None:
    values = [value for each, value in entry.headers if each.lower() == name.lower()]
    value: t.Any = ABSENT
    if values:
        value = ANY if any(REDACTED in each for each in values) else values
        value = value[0] if isinstance(value, list) and len(value) == 1 else value
    wanted.setdefault("headers", {})[name] = value


def _cookies(entry: Entry) -> dict[str, t.Any]:
    pairs = (part.strip().partition("=") for part in (entry.header("cookie") or "").split(";"))
    return {name: _value(value) for name, _, value in pairs}


# --- bodies


def _body_text(entry: Entry) -> str:
    return "" if entry.body is None else entry.body.read().decode("utf-8", "replace")


def _json(entry: Entry) -> t.Any:
    try:
        return jsonlib.loads(b"" if entry.body is None else entry.body.read())
    except ValueError:
        return MISSING


def _body(entry: Entry) -> dict[str, t.Any]:
    """Two bodies are the same if they say the same: JSON in another layout does, and a
    multipart form with another boundary."""
    if entry.body is None:
        return {}  # what is not in the recording cannot be compared
    kind = media_type(entry.headers)
    if is_json(kind) and (value := _json(entry)) is not MISSING:
        return {"json": wild(value)}
    if kind == FORM:
        return {"form": only(_grouped(_body_text(entry)))}
    if kind == MULTIPART:
        try:
            parts = seen_of(entry).parts
        except ValueError:
            return {"body": entry.body.read()}
        return {
            "parts": {
                each.name: part(
                    ANY if each.content == REDACTED.encode() else each.content,
                    filename=each.filename,
                    content_type=each.content_type,
                )
                for each in parts
            }
        }
    return {"body": entry.body.read()}


def wild(value: t.Any) -> t.Any:
    """Return a value of JSON, with :data:`ANY` in the place of what was redacted."""
    if value == REDACTED:
        return ANY
    if isinstance(value, dict):
        return {key: wild(each) for key, each in value.items()}
    if isinstance(value, list):
        return [wild(each) for each in value]
    return value


class _AtPaths(Matcher):
    """Some places of a JSON document, and what must be there."""

    def __init__(self, places: dict[str, list[t.Any]]) -> None:
        self.places = places

    @classmethod
    def of(cls, former: t.Any, path: str, document: t.Any) -> t.Any:
        if former is not None and not isinstance(former, _AtPaths):
            return former  # all of the document is asked for
        places = {} if former is None else former.places
        return cls({**places, path: [wild(each) for each in values_at(document, parse_path(path))]})

    def check(self, got: t.Any, place: str) -> t.Iterator[Difference]:
        for text, wanted in self.places.items():
            name = f"{place} {text}"
            found = values_at(got, parse_path(text))
            if len(wanted) == len(found) == 1:
                yield from differences(wanted[0], found[0], name)
            else:
                yield from differences(wanted or ABSENT, found or MISSING, name)

    def __repr__(self) -> str:
        return ", ".join(f"{path}: {described(wanted)}" for path, wanted in self.places.items())


class _Without:
    """Whether a request has no JSON, or none at some places, as the recorded one had not."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths
        self.__name__ = "a body without JSON there"

    def __call__(self, seen: Seen) -> bool:
        try:
            document = seen.json
        except ValueError:
            return True
        return not any(values_at(document, path) for path in self._paths)


def values_at(document: t.Any, path: Path) -> list[t.Any]:
    """Return the values that a path leads to, in the order of the document."""
    found = [document]
    for step in path:
        if step.descends:
            found = [inner for each in found for inner in _all_within(each)]
        following: list[t.Any] = []
        for each in found:
            if isinstance(each, dict):
                following += [v for k, v in each.items() if step.name is None or k == step.name]
            elif isinstance(each, list):
                following += [v for k, v in enumerate(each) if step.name is None or k == step.name]
        found = following
    return found


def _all_within(value: t.Any) -> t.Iterator[t.Any]:
    left = [value]
    while left:
        value = left.pop()
        yield value
        inner = value.values() if isinstance(value, dict) else value
        if isinstance(value, dict | list):
            left += reversed(list(inner))
