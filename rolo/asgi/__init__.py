"""The ASGI side: WSGI applications and websocket listeners served by an ASGI server."""

from rolo.asgi.adapter import ASGIAdapter
from rolo.asgi.application import ASGILifespanListener
from rolo.asgi.environ import populate_wsgi_environment
from rolo.asgi.input import RawHTTPRequestEventStreamAdapter, create_wsgi_input
from rolo.asgi.start_response import WsgiStartResponse
from rolo.asgi.websocket_adapter import ASGIWebSocketAdapter
from rolo.websocket.adapter import WebSocketEnvironment, WebSocketListener
from rolo.websocket.errors import WebSocketDisconnectedError, WebSocketProtocolError

__all__ = [
    "ASGIAdapter",
    "ASGILifespanListener",
    "ASGIWebSocketAdapter",
    "RawHTTPRequestEventStreamAdapter",
    "WebSocketDisconnectedError",
    "WebSocketEnvironment",
    "WebSocketListener",
    "WebSocketProtocolError",
    "WsgiStartResponse",
    "create_wsgi_input",
    "populate_wsgi_environment",
]
