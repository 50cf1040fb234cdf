"""Resources for sites of Twisted's web server that are a program's own."""

from __future__ import annotations

import logging
import typing as t

from twisted.python.components import proxyForInterface
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET, Request
from twisted.web.wsgi import WSGIResource, _WSGIResponse
from wsproto.utilities import RemoteProtocolError

from rolo.gateway.gateway import Gateway
from rolo.gateway.wsgi import WsgiGateway
from rolo.serving.twisted.headers import TwistedHeaderAdapter
from rolo.serving.twisted.requests import to_websocket_environment, update_wsgi_environment
from rolo.serving.twisted.websocket import TwistedWebSocketAdapter, WebSocketChannel
from rolo.websocket.adapter import WebSocketListener
from rolo.websocket.errors import WebSocketDisconnectedError
from rolo.websocket.request import WebSocketRequest

if t.TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

LOG = logging.getLogger(__name__)


class HeaderPreservingWSGIResponse(_WSGIResponse):
    """The call of a WSGI application that sees what was on the wire, and whose field names are
    written as it spells them."""

    def __init__(
        self, reactor: t.Any, threadpool: t.Any, application: WSGIApplication, request: Request
    ) -> None:
        super().__init__(reactor, threadpool, application, request)
        update_wsgi_environment(self.environ, request)

    def startResponse(
        self, status: str, headers: list[tuple[str, str]], excInfo: t.Any = None
    ) -> t.Callable[[bytes], t.Any]:
        write = super().startResponse(status, headers, excInfo)
        fields = self.request.responseHeaders
        if isinstance(fields, TwistedHeaderAdapter):
            for name, _ in headers:
                fields.rememberHeaderCasing(name)
        return t.cast("t.Callable[[bytes], t.Any]", write)


class HeaderPreservingWSGIResource(WSGIResource):
    """A WSGI application as a resource. Its request bodies have come whole when it is called."""

    def render(self, request: Request) -> t.Any:
        HeaderPreservingWSGIResponse(
            self._reactor, self._threadpool, self._application, request
        ).start()
        return NOT_DONE_YET


_Decorated: t.Any = proxyForInterface(IResource)


class WebsocketResourceDecorator(_Decorated):
    """A resource whose websocket handshakes go to a listener.

    :param original: gets everything else
    :param websocketListener: called with the environment of each handshake, on a thread of the
        reactor
    """

    isLeaf = True
    original: t.Any

    def __init__(self, original: t.Any, websocketListener: WebSocketListener) -> None:
        super().__init__(original)
        self.websocketListener = websocketListener

    def render(self, request: Request) -> t.Any:
        upgrade = (request.getHeader("upgrade") or "").strip().lower()
        if upgrade != "websocket" or request.method != b"GET":
            return self.original.render(request)
        channel = WebSocketChannel(request, reactor=_reactor_of(request))
        environ = to_websocket_environment(request)
        try:
            channel.initiateUpgrade()
        except RemoteProtocolError as exc:
            request.setResponseCode(400)
            LOG.info("websocket handshake refused: %s", exc)
            return b"400 Bad Request\n"
        environ["rolo.websocket"] = TwistedWebSocketAdapter(channel)
        channel.reactor.callInThread(self._listen, environ, channel)
        return NOT_DONE_YET

    def _listen(self, environ: dict[str, t.Any], channel: WebSocketChannel) -> None:
        try:
            self.websocketListener(environ)
        except WebSocketDisconnectedError:
            pass  # the client left, and nobody asked
        except Exception:
            LOG.exception("error in the websocket listener of %s", environ["PATH_INFO"])
            channel.reactor.callFromThread(channel.wsClose, 1011)


class GatewayResource(WebsocketResourceDecorator):
    """A gateway as a resource: its requests by WSGI, its websockets by a listener.

    :param threadpool: on which its handlers run
    """

    def __init__(self, gateway: Gateway, reactor: t.Any, threadpool: t.Any) -> None:
        super().__init__(
            HeaderPreservingWSGIResource(reactor, threadpool, WsgiGateway(gateway)),
            WebSocketRequest.listener(gateway.accept),
        )


def _reactor_of(request: Request) -> t.Any:
    site = getattr(request, "site", None)
    return getattr(site, "reactor", None)
