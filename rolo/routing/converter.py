"""Converters for rule variables beyond werkzeug's own."""

from __future__ import annotations

import typing as t

from werkzeug.routing import BaseConverter, Map


class RegexConverter(BaseConverter):
    """``<regex("[a-z]+"):name>`` matches what the expression matches.

    The value stays inside one path segment; the expression must not have groups that
    capture.
    """

    def __init__(self, map: Map, *args: t.Any, **kwargs: t.Any) -> None:
        super().__init__(map, *args, **kwargs)
        self.regex = args[0]


class PortConverter(BaseConverter):
    """``localhost<port:port>`` in a host matches with a port, without it, and gives the
    port as int, or ``None``."""

    regex = r"(?::[0-9]{1,5})?"

    def to_python(self, value: str) -> t.Any:
        return int(value[1:]) if value else None

    def to_url(self, value: t.Any) -> str:
        return f":{value}" if value else ""
