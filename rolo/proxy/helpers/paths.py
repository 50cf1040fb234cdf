"""Other paths for the upstream. Paths are percent-encoded and without the query."""

from __future__ import annotations

import re

from rolo.proxy.hooks.context import ProxyContext
from rolo.proxy.hooks.hooks import Hooks
from rolo.response import Response
from rolo.wire.error_page import CONTENT_TYPE, error_text


def strip_prefix(path: str, prefix: str) -> str | None:
    """Return ``path`` without ``prefix``, ``None`` if it does not begin with it. A prefix
    ends where a segment ends: ``/api`` is none of ``/apis``."""
    prefix = prefix.rstrip("/")
    if path == prefix:
        return "/"
    return path[len(prefix) :] if path.startswith(f"{prefix}/") else None


def add_prefix(path: str, prefix: str) -> str:
    """Return ``path`` below ``prefix``."""
    return f"{prefix.rstrip('/')}/{path.removeprefix('/')}"


class StripPrefix(Hooks):
    """Forwards ``/prefix/x`` as ``/x``; what is not below the prefix is answered with 404."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def on_request(self, context: ProxyContext) -> Response | None:
        path = strip_prefix(context.path, self.prefix)
        if path is None:
            return Response(error_text(404), status=404, content_type=CONTENT_TYPE)
        context.path = path
        return None


class AddPrefix(Hooks):
    """Forwards ``/x`` as ``/prefix/x``."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def on_request(self, context: ProxyContext) -> None:
        context.path = add_prefix(context.path, self.prefix)


class RewritePath(Hooks):
    """Replaces what ``pattern`` matches in the path, as :func:`re.sub` does.

    :param count: how many times at most; 0 is no limit
    """

    def __init__(self, pattern: str, replacement: str, count: int = 0) -> None:
        self.pattern = re.compile(pattern)
        self.replacement = replacement
        self.count = count

    def on_request(self, context: ProxyContext) -> None:
        context.path = self.pattern.sub(self.replacement, context.path, count=self.count)
