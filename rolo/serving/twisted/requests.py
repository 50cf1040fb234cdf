"""Requests and connections for sites of Twisted's web server that are a program's own.

:class:`~rolo.serving.twisted.TwistedGateway` does without: there, our own HTTP is spoken.
"""

from __future__ import annotations

import io
import typing as t
import urllib.parse

from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.http import H2_ENABLED, HTTPChannel, _GenericHTTPChannelProtocol
from twisted.web.http_headers import Headers
from twisted.web.server import Request

from rolo.serving.twisted.headers import (
    TwistedHeaderAdapter,
    TwistedRequestHeaderAdapter,
    to_flat_header_list,
)
from rolo.serving.twisted.transport import is_tls

if t.TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

H2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""How every HTTP/2 connection begins (RFC 9113 section 3.4)."""


class TwistedRequestAdapter(Request):
    """A request whose field names keep their case, and those of its answer."""

    def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:
        super().__init__(*args, **kwargs)
        self.requestHeaders = TwistedRequestHeaderAdapter()
        self.responseHeaders = TwistedHeaderAdapter()


class HeaderPreservingHTTPChannel(HTTPChannel):
    """An HTTP/1 connection that reads and writes field names in the case they were written."""

    requestFactory = TwistedRequestAdapter
    _dataBuffer: list[bytes]
    _upgraded: Protocol | None = None

    @staticmethod
    def protocol_factory() -> PriorKnowledgeHTTPChannelProtocol:
        """Return the protocol of a new connection; to be the ``protocol`` of a site."""
        return PriorKnowledgeHTTPChannelProtocol(HeaderPreservingHTTPChannel())

    def headerReceived(self, line: bytes) -> bool:
        headers = self.requests[-1].requestHeaders
        if isinstance(headers, TwistedHeaderAdapter):
            headers.rememberHeaderCasing(line.split(b":", 1)[0])
        return bool(super().headerReceived(line))

    def writeHeaders(
        self,
        version: bytes,
        code: bytes,
        reason: bytes,
        headers: Headers | t.Iterable[tuple[bytes, bytes]],
    ) -> None:
        if not isinstance(headers, Headers):
            fields = TwistedHeaderAdapter()
            for name, value in headers:
                fields.rememberHeaderCasing(name)
                fields.addRawHeader(name, value)
            headers = fields
        lines = [b"%b %b %b" % (version, code, reason)]
        lines += [b"%b: %b" % field for field in to_flat_header_list(headers)]
        self.transport.write(b"\r\n".join([*lines, b"", b""]))

    def isSecure(self) -> bool:
        """Whether what is written is encrypted, whatever is wrapped around the connection."""
        return is_tls(self.transport)

    def upgrade(self, protocol: Protocol) -> bytes:
        """Leave the connection to ``protocol``, which has its transport already.

        :return: what has come behind the request
        """
        self._upgraded = protocol
        self.setTimeout(None)
        early = b"".join(self._dataBuffer)
        self._dataBuffer = []
        transport: t.Any = self.transport
        transport.unregisterProducer()
        transport.registerProducer(protocol, True)
        transport.resumeProducing()
        return early

    def dataReceived(self, data: bytes) -> None:
        if self._upgraded is not None:
            self._upgraded.dataReceived(data)
        else:
            super().dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._upgraded is not None:
            self._upgraded.connectionLost(reason)
        super().connectionLost(reason)


class PriorKnowledgeHTTPChannelProtocol(_GenericHTTPChannelProtocol):
    """HTTP/1 or HTTP/2, by ALPN or by how the client begins: in clear text, or over TLS without
    ALPN. For HTTP/2 it needs what ``twisted[http2]`` installs."""

    _channel: t.Any
    _prefaceBuffer: bytes | None = b""

    def dataReceived(self, data: bytes) -> None:
        if self._prefaceBuffer is None:
            super().dataReceived(data)
            return
        data = self._prefaceBuffer + data
        if len(data) < len(H2_PREFACE) and H2_PREFACE.startswith(data):
            self._prefaceBuffer = data  # the rest will tell
            return
        self._prefaceBuffer = None
        if data.startswith(H2_PREFACE):
            if not H2_ENABLED:
                self._channel.transport.loseConnection()
                raise ValueError("a client begins with HTTP/2, which twisted[http2] would bring")
            if getattr(self._channel.transport, "negotiatedProtocol", None) != b"h2":
                self._switchToH2()
        super().dataReceived(data)

    def _switchToH2(self) -> None:
        from twisted.web._http2 import H2Connection

        former = self._channel
        former.setTimeout(None)
        transport = former.transport
        transport.unregisterProducer()
        self._channel = H2Connection()
        self._channel.requestFactory = self._requestFactory
        self._channel.site = self._site
        self._channel.factory = self._factory
        self._channel.timeOut = self._timeOut
        self._channel.callLater = self._callLater
        self._channel.makeConnection(transport)
        transport.registerProducer(self._channel, True)
        self._negotiatedProtocol = b"h2"


def update_wsgi_environment(environ: WSGIEnvironment, request: Request) -> None:
    """Put into the WSGI environment of ``request`` what it looked like on the wire, under the
    keys that :func:`rolo.bridge.environ.wsgi_environ` names."""
    target = request.uri.decode("latin-1")
    headers = to_flat_header_list(request.requestHeaders)
    client = request.getClientAddress()
    environ.update(
        {
            "RAW_URI": target,
            "REQUEST_URI": target,
            "PATH_INFO": urllib.parse.unquote_to_bytes(_path(request.uri)).decode("latin-1"),
            "wsgi.input_terminated": True,
            "rolo.headers": headers,
            "asgi.headers": headers,
        }
    )
    if hasattr(client, "port"):
        environ["REMOTE_ADDR"] = client.host
        environ["REMOTE_PORT"] = str(client.port)


def to_websocket_environment(request: Request) -> dict[str, t.Any]:
    """Return the environment of a websocket handshake, without its websocket."""
    environ: dict[str, t.Any] = {
        "REQUEST_METHOD": "WEBSOCKET",
        "SCRIPT_NAME": "",
        "QUERY_STRING": request.uri.partition(b"?")[2].decode("latin-1"),
        "CONTENT_TYPE": request.getHeader("content-type") or "",
        "CONTENT_LENGTH": request.getHeader("content-length") or "",
        "SERVER_NAME": request.getRequestHostname().decode("latin-1"),
        "SERVER_PORT": str(getattr(request.getHost(), "port", "")),
        "SERVER_PROTOCOL": request.clientproto.decode("latin-1"),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https" if request.isSecure() else "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.BytesIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, values in request.requestHeaders.getAllRawHeaders():
        key = "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
        environ[key] = ",".join(value.decode("latin-1") for value in values)
    update_wsgi_environment(environ, request)
    return environ


def _path(target: bytes) -> bytes:
    """Return the path of a request target, of one in absolute form too."""
    path = target.partition(b"?")[0]
    if not path.startswith(b"/") and b"://" in path:
        return b"/" + path.partition(b"://")[2].partition(b"/")[2]
    return path
