"""What a request may be asked to be like, beside method and path."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from rolo.matching import Matcher, Seen


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
