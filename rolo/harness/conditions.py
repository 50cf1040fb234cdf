"""What a request must be like."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from rolo.matching import Matcher, RequestPattern, Seen
from rolo.matching.pattern import UNSET
from rolo.matching.seen import WEBSOCKET


class Conditions(t.TypedDict, total=False):
    """The conditions of a :class:`~rolo.matching.RequestPattern`, which says what they mean."""

    host: str | None
    query: Mapping[str, t.Any] | Matcher | None
    headers: Mapping[str, t.Any] | None
    cookies: Mapping[str, t.Any] | Matcher | None
    json: t.Any
    form: Mapping[str, t.Any] | Matcher | None
    parts: Mapping[str, t.Any] | None
    body: t.Any
    subprotocol: t.Any
    when: t.Callable[[Seen], object] | None


def patterns_of(
    method: str | t.Iterable[str] | None, path: str | None, conditions: Conditions
) -> list[RequestPattern]:
    """Return what requests must be like, and websockets, unless a method is given."""
    patterns = [RequestPattern(method, path, **conditions)]
    if method is None:
        patterns.append(RequestPattern(WEBSOCKET, path, **conditions))
    return patterns


def needs_body(pattern: RequestPattern) -> bool:
    """Whether the request's body decides if it is like ``pattern``."""
    return pattern.json is not UNSET or any(
        each is not None for each in (pattern.form, pattern.parts, pattern.body, pattern.when)
    )
