"""The request of a bridged exchange, which costs nothing until a handler looks at it."""

from __future__ import annotations

import functools
import io
import typing as t

from werkzeug.datastructures import Headers

from rolo.bridge.body import RequestBody, RequestStream
from rolo.bridge.downstream import RawHeaders, RequestHead
from rolo.bridge.environ import wsgi_environ
from rolo.bridge.portal import Portal
from rolo.request import Request

if t.TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


class BridgeRequest(Request):
    """A :class:`rolo.Request` over a raw head and a pulled body.

    A proxy that changes nothing never looks at decoded headers, the environment or a
    parsed form, so each is made when it is first asked for.
    """

    shallow = False

    def __init__(self, head: RequestHead, body: RequestBody, portal: Portal) -> None:
        # The base class derives everything from an environment; here it is derived last.
        self.method = head.method
        self.head = head
        self.body = body
        self.portal = portal

    @functools.cached_property
    def environ(self) -> WSGIEnvironment:  # type: ignore[override]
        environ = wsgi_environ(self.head)
        environ["wsgi.input"] = io.BytesIO() if self.body.is_empty else RequestStream(self.body)
        environ["wsgi.input_terminated"] = True
        environ["rolo.portal"] = self.portal
        environ["werkzeug.request"] = self
        return environ

    @functools.cached_property
    def headers(self) -> Headers:  # type: ignore[override]
        return Headers(
            [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self.head.headers]
        )

    @property
    def raw_headers(self) -> RawHeaders:
        """The header pairs to forward: as they came, or as a handler left them."""
        if "headers" not in self.__dict__:
            return self.head.headers
        return [
            (name.encode("latin-1"), str(value).encode("latin-1")) for name, value in self.headers
        ]

    @functools.cached_property
    def scheme(self) -> str:  # type: ignore[override]
        return self.head.scheme

    @functools.cached_property
    def server(self) -> tuple[str, int | None] | None:  # type: ignore[override]
        return self.head.server

    @functools.cached_property
    def root_path(self) -> str:  # type: ignore[override]
        return self.head.root_path.rstrip("/")

    @functools.cached_property
    def path(self) -> str:  # type: ignore[override]
        path = self.head.path
        if self.head.root_path and path.startswith(self.head.root_path):
            path = path[len(self.head.root_path) :]
        return "/" + path.lstrip("/")

    @functools.cached_property
    def query_string(self) -> bytes:  # type: ignore[override]
        return self.head.query

    @functools.cached_property
    def remote_addr(self) -> str | None:  # type: ignore[override]
        return self.head.client[0] if self.head.client else None
