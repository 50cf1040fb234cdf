"""The request of a bridged exchange, which costs nothing until a handler looks at it."""

from __future__ import annotations

import io
import typing as t

from werkzeug.datastructures import Headers

from rolo.bridge.downstream import RequestHead
from rolo.bridge.environ import wsgi_environ
from rolo.bridge.request_body import RequestBody, RequestStream
from rolo.portal.portal import Portal
from rolo.request import Request
from rolo.wire.fields import RawHeaders
from rolo.wire.hop_by_hop import interim_headers

if t.TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


class lazy:
    """Computes an attribute at its first use; ``functools.cached_property`` without the
    lock that it takes on Python 3.11."""

    def __init__(self, compute: t.Callable[[t.Any], t.Any]) -> None:
        self._compute = compute
        self._name = compute.__name__
        self.__doc__ = compute.__doc__

    def __get__(self, instance: t.Any, owner: t.Any = None) -> t.Any:
        if instance is None:
            return self
        value = instance.__dict__[self._name] = self._compute(instance)
        return value


class BridgeRequest(Request):
    """A :class:`rolo.Request` over a raw head and a pulled body.

    A proxy that changes nothing never looks at decoded headers, the environment or a
    parsed form, so each is made when it is first asked for.
    """

    shallow = False

    def __init__(self, head: RequestHead, body: RequestBody, portal: Portal) -> None:
        # The base class derives everything from an environment; here it is derived last.
        self.method = head.method
        self.scheme = head.scheme
        self.remote_addr = head.client[0] if head.client else None
        self._head = head
        self._body = body
        self._portal = portal

    async def _pass_interim(self, status: int, headers: RawHeaders) -> None:
        """Pass a 1xx answer on to the client. 100 is sent by the server itself, when the body
        is asked for."""
        if status != 100:
            await self._body.downstream.send_interim(status, interim_headers(headers))

    @lazy
    def environ(self) -> WSGIEnvironment:
        environ = wsgi_environ(self._head)
        self._input = io.BytesIO() if self._body.is_empty else RequestStream(self._body)
        environ["wsgi.input"] = self._input
        environ["wsgi.input_terminated"] = True
        environ["rolo.portal"] = self._portal
        environ["werkzeug.request"] = self
        return environ

    @lazy
    def headers(self) -> Headers:
        return Headers(
            [
                (name.decode("latin-1"), value.decode("latin-1"))
                for name, value in self._head.headers
            ]
        )

    @property
    def _raw_headers(self) -> RawHeaders:
        """The header pairs to forward: as they came, or as a handler left them."""
        if "headers" not in self.__dict__:
            return self._head.headers
        return [
            (name.encode("latin-1"), str(value).encode("latin-1")) for name, value in self.headers
        ]

    @property
    def _body_replaced(self) -> bool:
        """Whether a handler has put another body in the place of what came."""
        own = self.__dict__
        if "environ" in own and own["environ"].get("wsgi.input") is not own["_input"]:
            return True
        if not own.get("data"):
            return False
        # It is also what came, for those who have merely read it.
        record = self._body.record
        return not (record.is_kept and record.read(0, -1) == own["data"])

    @lazy
    def server(self) -> tuple[str, int | None] | None:
        return self._head.server

    @lazy
    def root_path(self) -> str:
        return self._head.root_path.rstrip("/")

    @lazy
    def path(self) -> str:
        path = self._head.path
        if self._head.root_path and path.startswith(self._head.root_path):
            path = path[len(self._head.root_path) :]
        return "/" + path.lstrip("/")

    @lazy
    def query_string(self) -> bytes:
        return self._head.query
