"""From an ASGI scope to a request head."""

from __future__ import annotations

import typing as t
from urllib.parse import quote

from rolo.bridge.downstream import RequestHead
from rolo.bridge.environ import wsgi_environ

if t.TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

Scope = t.MutableMapping[str, t.Any]


def head_from_scope(scope: Scope) -> RequestHead:
    """Return the request head of an ASGI ``http`` or ``websocket`` scope.

    Servers that leave out ``raw_path`` get it back as the quoted path.
    """
    path = _below_authority(scope["path"])
    query = scope.get("query_string") or b""
    raw_path = scope.get("raw_path")
    if raw_path is None:
        raw_path = _quote(path)
    # The specification keeps the query out of raw_path; some servers leave it in.
    raw_path = raw_path.partition(b"?")[0]
    headers = scope["headers"]
    offered = scope.get("subprotocols")
    if offered and not any(name.lower() == b"sec-websocket-protocol" for name, _ in headers):
        # Some servers take the field out once they have parsed it.
        headers = [*headers, (b"sec-websocket-protocol", ", ".join(offered).encode("latin-1"))]
    version = scope.get("http_version", "1.1")
    if version == "1":  # as some servers shorten it
        version = "1.0"
    return RequestHead(
        method=scope.get("method", "GET"),
        target=b"%b?%b" % (raw_path, query) if query else raw_path,
        headers=headers if isinstance(headers, list) else list(headers),
        http_version=version,
        scheme=scope.get("scheme", "http"),
        path=path,
        query=query,
        root_path=scope.get("root_path") or "",
        client=_address(scope.get("client")),
        server=_address(scope.get("server")),
        extensions={"asgi.scope": scope},
    )


def populate_wsgi_environment(environ: WSGIEnvironment | dict[str, t.Any], scope: Scope) -> None:
    """Add to ``environ`` what :func:`wsgi_environ` makes of an ASGI ``scope``."""
    environ.update(wsgi_environ(head_from_scope(scope)))


def _below_authority(path: str) -> str:
    """Return the path of a target in absolute form, which servers pass on whole."""
    if path.startswith("/"):
        return path
    scheme, separator, rest = path.partition("://")
    return "/" + rest.partition("/")[2] if separator and scheme.isalnum() else path


def _quote(path: str) -> bytes:
    return quote(path, safe="/:@!$&'()*+,;=~").encode("ascii")


def _address(pair: t.Any) -> t.Any:
    return (pair[0], pair[1]) if pair else None
