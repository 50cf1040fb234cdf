"""Any WSGI application as an ASGI application."""

from __future__ import annotations

import asyncio
import concurrent.futures
import typing as t

from werkzeug.test import run_wsgi_app

from rolo.asgi.application import AsgiApplication, ASGILifespanListener
from rolo.asgi.environ import Scope, populate_wsgi_environment
from rolo.asgi.input import create_wsgi_input
from rolo.asgi.watch import Receive, Send
from rolo.asgi.websocket_adapter import ASGIWebSocketAdapter
from rolo.bridge.bridge import Bridge
from rolo.bridge.environ import wsgi_environ
from rolo.portal.workers import ExecutorWorkers
from rolo.request import Request
from rolo.response import Response
from rolo.websocket.adapter import WebSocketListener
from rolo.websocket.request import WebSocketRequest

if t.TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment


class ASGIAdapter(AsgiApplication):
    """Exposes ``wsgi_app`` as an ASGI 3 application, with websockets and lifespan events
    beside it.

    :param wsgi_app: serves the HTTP requests
    :param event_loop: kept for programs that pass it; the running loop is used
    :param executor: where the application runs; it stays the caller's to shut down.
        ``None`` runs it on a pool of the adapter's own
    :param lifespan_listener: told of the server's start and stop
    :param websocket_listener: called with the environment of each websocket handshake,
        on a thread; ``None`` refuses websockets
    """

    def __init__(
        self,
        wsgi_app: WSGIApplication,
        event_loop: asyncio.AbstractEventLoop | None = None,
        executor: concurrent.futures.Executor | None = None,
        lifespan_listener: ASGILifespanListener | None = None,
        websocket_listener: WebSocketListener | None = None,
    ) -> None:
        bridge = Bridge(_WsgiProcess(wsgi_app, websocket_listener))
        if executor is not None:
            bridge.workers = ExecutorWorkers(executor)
        super().__init__(bridge, lifespan_listener)
        self.wsgi_app = wsgi_app
        self.event_loop = event_loop
        self.executor = executor
        self.websocket_listener = websocket_listener

    def to_wsgi_environment(self, scope: Scope, receive: Receive) -> WSGIEnvironment:
        """Return the WSGI environment of an ASGI ``http`` scope, its body readable from
        another thread than the loop's."""
        environ: WSGIEnvironment = {}
        populate_wsgi_environment(environ, scope)
        environ["wsgi.input"] = create_wsgi_input(receive, self.event_loop)
        environ["wsgi.input_terminated"] = True
        return environ

    def to_websocket_environment(
        self, scope: Scope, receive: Receive, send: Send
    ) -> dict[str, t.Any]:
        """Return the environment of an ASGI ``websocket`` scope."""
        loop = self.event_loop or asyncio.get_running_loop()
        adapter = ASGIWebSocketAdapter(scope, receive, send, loop)
        environ = wsgi_environ(adapter._asgi.head)
        environ["REQUEST_METHOD"] = "WEBSOCKET"
        environ["rolo.websocket"] = environ["asgi.websocket"] = adapter
        return environ

    def close(self) -> None:
        """End the threads of the adapter's own pools; a given executor is left alone."""
        self.bridge.close()


class _WsgiProcess:
    """A WSGI application in the shape that a bridge serves."""

    def __init__(self, app: WSGIApplication, listener: WebSocketListener | None) -> None:
        self._app = app
        self._listener = listener

    def process(self, request: Request, response: Response) -> None:
        body, status, headers = run_wsgi_app(self._app, request.environ)
        response.status = status
        response.headers = headers
        response.response = body
        response.direct_passthrough = True

    def accept(self, request: WebSocketRequest) -> None:
        if self._listener is None:
            request.reject(Response("websockets are not served here\n", status=404))
        else:
            self._listener(request.environ)
