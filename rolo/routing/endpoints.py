"""What ``@route`` notes on functions, and how noted functions are found on objects."""

from __future__ import annotations

import dataclasses
import inspect
import typing as t

_MARK = "rule_attributes"


@dataclasses.dataclass(frozen=True)
class RuleAttributes:
    """The arguments of one ``@route``."""

    path: str
    host: str | None = None
    methods: t.Iterable[str] | None = None
    kwargs: dict[str, t.Any] = dataclasses.field(default_factory=dict)


def mark(endpoint: t.Any, attributes: RuleAttributes) -> None:
    """Note ``attributes`` on ``endpoint``, after those it has."""
    setattr(endpoint, _MARK, [*attributes_of(endpoint), attributes])


def attributes_of(endpoint: t.Any) -> list[RuleAttributes]:
    """Return what ``@route`` noted on ``endpoint``; empty if nothing."""
    noted = getattr(endpoint, _MARK, None)
    # A mock has every attribute.
    return noted if isinstance(noted, list) else []


def marked_members(obj: object) -> t.Iterator[t.Any]:
    """Yield the members of ``obj`` that ``@route`` has decorated, by name. Properties and
    other computed attributes are not touched."""
    for name in dir(obj):
        static = inspect.getattr_static(obj, name, None)
        if isinstance(static, staticmethod | classmethod):
            static = static.__func__
        if callable(static) and attributes_of(static):
            yield getattr(obj, name)
