"""Whether a host and a path are those of one rule, in the syntax and with the converters of
the router."""

from __future__ import annotations

import functools
import re
import typing as t

from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule

from rolo.matching.seen import Seen
from rolo.routing.match import match_raw
from rolo.routing.router import Router

_ANY_HOST = "<__host__>"
_VARIABLE = re.compile(r"<[^<>]*>")


class PathRule:
    """A path, and a host if it matters, that may have variables.

    :param path: e.g. ``/users/<int:id>``; ``None`` is any path
    :param host: e.g. ``<tenant>.example.com``; without a port it is that host on any port;
        ``None`` is any host
    :raises ValueError: the rule cannot be read
    """

    def __init__(self, path: str | None, host: str | None = None) -> None:
        self.path = path
        self.host = host
        if path is not None and not path.startswith("/"):
            raise ValueError(f"a path begins with a slash: {path!r}")
        self.literal = None if path is None or "<" in path else bare(path)
        """The path without the slashes around it, if it has no variables."""
        self.prefix = "" if path is None else path.partition("<")[0].rpartition("/")[0] + "/"
        """What comes before the first segment with a variable."""
        if host is not None or self.literal is None:
            self._map  # noqa: B018 - a rule that cannot be read is told now

    @property
    def variables(self) -> set[str]:
        """The names of the variables of path and host."""
        if self.host is None and (self.path is None or "<" not in self.path):
            return set()
        names = {name for rule in self._map.iter_rules() for name in rule.arguments}
        return {name for name in names if not name.startswith("__")}

    @functools.cached_property
    def rank(self) -> tuple[int, int, int]:
        """Higher is more specific: a path without variables, then one whose variables take one
        segment, then one with ``<path:...>``, then any path; among equals, more letters that
        are not a variable's."""
        if self.path is None:
            return (0, 0, 0)
        kind = 3 if self.literal is not None else 1 if "<path" in self.path else 2
        return (kind, len(_VARIABLE.sub("", self.path)), 0 if self.host is None else 1)

    def values(self, seen: Seen) -> dict[str, t.Any] | None:
        """Return the variables' values, or ``None`` if path or host are others."""
        if self.host is None:
            if self.path is None:
                return {}
            if self.path == seen.raw_path and self.literal is not None:
                return {}
            if self.literal is not None and self.literal not in bare_forms(seen):
                return None
        host = seen.host
        if self.host is not None and ":" not in _VARIABLE.sub("", self.host):
            host = re.sub(r":\d*$", "", host)
        adapter = self._map.bind(host or "-", default_method="GET")
        try:
            _, values = match_raw(adapter, seen.raw_path)
        except HTTPException:
            return None
        return {name: value for name, value in values.items() if not name.startswith("__")}

    @functools.cached_property
    def _map(self) -> Map:
        try:
            return Map(
                [
                    Rule(
                        self.path or "/<path:__path__>",
                        host=self.host or _ANY_HOST,
                        endpoint=self,
                    ),
                    *([Rule("/", host=self.host or _ANY_HOST, endpoint=self)] * (not self.path)),
                ],
                host_matching=True,
                strict_slashes=False,
                merge_slashes=False,
                redirect_defaults=False,
                converters=Router.default_converters,
            )
        except (ValueError, LookupError) as exc:
            raise ValueError(f"{self.host or ''}{self.path}: {exc}") from exc


def bare(path: str) -> str:
    """Return ``path`` without the slashes around it. The router has an opinion of these;
    without them, paths that it takes for the same are the same."""
    return path.strip("/")


def bare_forms(seen: Seen) -> set[str]:
    """Return the path as it came and decoded, without the slashes around it."""
    return {bare(seen.raw_path), bare(seen.path)}
