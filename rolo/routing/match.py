"""Which rule of a map a request's path, host and method lead to."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping
from urllib.parse import unquote

from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.routing import Map, MapAdapter, Rule

from rolo.request import Request, get_raw_path

Found = tuple[Rule, Mapping[str, t.Any]]
"""A rule, and the values of its variables."""


def match(url_map: Map, request: Request) -> Found:
    """Return the rule for ``request``.

    :raises HTTPException: as :func:`match_raw`
    """
    # The Host field may hold what werkzeug does not take for a host, an underscore say.
    host = request.host or request.headers.get("host") or "-"
    return match_raw(_bind(url_map, request, host), get_raw_path(request))


def match_raw(adapter: MapAdapter, path: str) -> Found:
    """Return the rule for ``path``, which is as on the wire, and its variables' values.

    :raises HTTPException: no rule matches (404), not with this method (405), or a redirect
    """
    if "%" not in path:
        return adapter.match(path, return_rule=True, websocket=False)
    try:
        rule, args = adapter.match(_decoded(path), return_rule=True, websocket=False)
    except NotFound:
        # A converter may have been written for what is on the wire.
        return adapter.match(path, return_rule=True, websocket=False)
    try:
        raw_rule, raw_args = adapter.match(path, return_rule=True, websocket=False)
    except HTTPException:
        return rule, args
    return (rule, raw_args) if raw_rule is rule else (rule, args)


def match_like_0_8(url_map: Map, request: Request) -> Found:
    """Return the rule that rolo 0.8.9 would find for ``request``.

    :raises HTTPException: as :func:`match_raw`
    """
    path, slash, last = get_raw_path(request).rpartition("/")
    path += slash + last.partition(";")[0]
    adapter = _bind(url_map, request, request.host)
    return adapter.match(path, return_rule=True, websocket=False)


def _bind(url_map: Map, request: Request, host: str) -> MapAdapter:
    return url_map.bind(
        host,
        script_name=request.root_path,
        url_scheme=request.scheme,
        default_method=request.method,
        query_args=request.query_string.decode("latin-1"),
    )


def _decoded(path: str) -> str:
    """Decode a path but for slashes, which separate nothing while they are encoded."""
    return unquote(path.replace("%2F", "%252F").replace("%2f", "%252f"), errors="replace")
