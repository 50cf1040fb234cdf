"""The WSGI environment of a request head: derived from the raw header pairs, not the other
way round."""

from __future__ import annotations

import sys
import typing as t

from rolo.bridge.downstream import RequestHead
from rolo.request import header_variables

if t.TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


def wsgi_environ(head: RequestHead) -> WSGIEnvironment:
    """Return the WSGI environment of ``head`` (PEP 3333), without ``wsgi.input``.

    Beyond the standard keys: ``RAW_URI`` and ``REQUEST_URI`` hold the request target as
    it came, ``rolo.headers`` and ``asgi.headers`` the raw header pairs, those too whose
    names have underscores and therefore no variable.
    """
    headers = list(head.headers)
    server_name, server_port = head.server or ("localhost", None)
    target = head.target.decode("latin-1")
    environ: dict[str, t.Any] = {
        "REQUEST_METHOD": head.method,
        "SCRIPT_NAME": _wsgi_text(head.root_path),
        "PATH_INFO": _wsgi_text(_below_root(head.path, head.root_path)),
        "QUERY_STRING": head.query.decode("latin-1"),
        "RAW_URI": target,
        "REQUEST_URI": target,
        "SERVER_NAME": server_name,
        "SERVER_PORT": str(server_port if server_port is not None else _default_port(head)),
        "SERVER_PROTOCOL": _protocol(head.http_version),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": head.scheme,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "rolo.headers": headers,
        "asgi.headers": headers,
    }
    if head.client:
        environ["REMOTE_ADDR"] = head.client[0]
        environ["REMOTE_PORT"] = str(head.client[1])
    environ.update(
        header_variables((n.decode("latin-1"), v.decode("latin-1")) for n, v in head.headers)
    )
    return environ


def _below_root(path: str, root_path: str) -> str:
    if root_path and path.startswith(root_path):
        return path[len(root_path) :]
    return path


def _default_port(head: RequestHead) -> int:
    return 443 if head.scheme in ("https", "wss") else 80


def _protocol(http_version: str) -> str:
    # Servers say "2" in scopes; CGI variables have always said "HTTP/2".
    return (
        "HTTP/" + http_version.removesuffix(".0")
        if http_version[0] > "1"
        else ("HTTP/" + http_version)
    )


def _wsgi_text(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("latin-1")
