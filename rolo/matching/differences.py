"""Where a value is not what was wanted, and how values are written in texts for people."""

from __future__ import annotations

import dataclasses
import json
import re
import typing as t


@dataclasses.dataclass(frozen=True, slots=True)
class Difference:
    """One place where a request is not what was wanted."""

    place: str
    """E.g. ``method``, ``query.page``, ``headers.X-Tenant``, ``json.items[2].price``."""
    wanted: str
    """In words or as JSON; ``absent`` for what must not be there."""
    got: str
    """Likewise; ``absent`` for what is not there."""


class _Missing:
    def __repr__(self) -> str:
        return "absent"


MISSING: t.Final = _Missing()
"""In the place of a value that is not there."""


def described(value: t.Any) -> str:
    """Return ``value`` as a reader of a miss report wants to see it, on one line.

    What JSON knows is written as JSON, matchers and everything else as their ``repr``, in any
    depth.
    """
    if isinstance(value, dict):
        inner = ", ".join(f"{described(key)}: {described(each)}" for key, each in value.items())
        return f"{{{inner}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(described, value))}]"
    if value is None or isinstance(value, str | bool | int | float):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, bytes):
        return repr(value)
    if isinstance(value, type):
        return f"a value of {value.__name__}"
    if isinstance(value, re.Pattern):
        return f"regex({value.pattern!r})"
    if callable(value):
        return _function(value)
    return repr(value)


def _function(function: t.Callable[..., t.Any]) -> str:
    code = getattr(function, "__code__", None)
    name = getattr(function, "__name__", type(function).__name__)
    if name == "<lambda>" and code is not None:
        return f"what the lambda in line {code.co_firstlineno} accepts"
    return f"what {name}() accepts"


def inside(place: str, key: t.Any) -> str:
    """Return the name of the place ``key`` within ``place``."""
    if isinstance(key, int):
        return f"{place}[{key}]"
    if isinstance(key, str) and key and all(each.isalnum() or each in "_-" for each in key):
        return f"{place}.{key}" if place else key
    return f"{place}[{described(key)}]"
