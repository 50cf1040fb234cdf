"""The path that 0.8 had for :mod:`rolo.websocket`."""

from rolo.websocket.adapter import WebSocketEnvironment, WebSocketListener
from rolo.websocket.errors import (
    WebSocketDisconnectedError,
    WebSocketError,
    WebSocketProtocolError,
)
from rolo.websocket.request import WebSocket, WebSocketRequest

__all__ = [
    "WebSocket",
    "WebSocketDisconnectedError",
    "WebSocketEnvironment",
    "WebSocketError",
    "WebSocketListener",
    "WebSocketProtocolError",
    "WebSocketRequest",
]
