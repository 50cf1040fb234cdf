"""Gateways on Twisted: as a site on the ports of a program's reactor, or by ``serve``.

:class:`TwistedGateway` serves a gateway with all that our own HTTP can do. The other names are
for sites that a program composes by itself from the parts of Twisted's web server, as it could
with rolo 0.8.

Nothing of Twisted is imported before one of the names is asked for.
"""

from __future__ import annotations

import importlib
import typing as t

from rolo.serving.twisted.adapter import TwistedAdapter, why_not

if t.TYPE_CHECKING:
    from rolo.gateway.gateway import Gateway
    from rolo.gateway.wsgi import WsgiGateway
    from rolo.serving.twisted.headers import (
        TwistedHeaderAdapter,
        TwistedRequestHeaderAdapter,
        to_flat_header_list,
    )
    from rolo.serving.twisted.requests import (
        HeaderPreservingHTTPChannel,
        PriorKnowledgeHTTPChannelProtocol,
        TwistedRequestAdapter,
        to_websocket_environment,
        update_wsgi_environment,
    )
    from rolo.serving.twisted.resources import (
        GatewayResource,
        HeaderPreservingWSGIResource,
        HeaderPreservingWSGIResponse,
        WebsocketResourceDecorator,
    )
    from rolo.serving.twisted.site import TwistedGateway
    from rolo.serving.twisted.websocket import TwistedWebSocketAdapter, WebSocketChannel
    from rolo.websocket import (
        WebSocketDisconnectedError,
        WebSocketListener,
        WebSocketProtocolError,
        WebSocketRequest,
    )

_PLACES = {
    "rolo.gateway.gateway": ("Gateway",),
    "rolo.gateway.wsgi": ("WsgiGateway",),
    "rolo.serving.twisted.headers": (
        "TwistedHeaderAdapter",
        "TwistedRequestHeaderAdapter",
        "to_flat_header_list",
    ),
    "rolo.serving.twisted.requests": (
        "HeaderPreservingHTTPChannel",
        "PriorKnowledgeHTTPChannelProtocol",
        "TwistedRequestAdapter",
        "to_websocket_environment",
        "update_wsgi_environment",
    ),
    "rolo.serving.twisted.resources": (
        "GatewayResource",
        "HeaderPreservingWSGIResource",
        "HeaderPreservingWSGIResponse",
        "WebsocketResourceDecorator",
    ),
    "rolo.serving.twisted.site": ("TwistedGateway",),
    "rolo.serving.twisted.websocket": ("TwistedWebSocketAdapter", "WebSocketChannel"),
    "rolo.websocket": (
        "WebSocketDisconnectedError",
        "WebSocketListener",
        "WebSocketProtocolError",
        "WebSocketRequest",
    ),
}
_MODULES = {name: module for module, names in _PLACES.items() for name in names}

__all__ = [
    "Gateway",
    "GatewayResource",
    "HeaderPreservingHTTPChannel",
    "HeaderPreservingWSGIResource",
    "HeaderPreservingWSGIResponse",
    "PriorKnowledgeHTTPChannelProtocol",
    "TwistedAdapter",
    "TwistedGateway",
    "TwistedHeaderAdapter",
    "TwistedRequestAdapter",
    "TwistedRequestHeaderAdapter",
    "TwistedWebSocketAdapter",
    "WebSocketChannel",
    "WebSocketDisconnectedError",
    "WebSocketListener",
    "WebSocketProtocolError",
    "WebSocketRequest",
    "WebsocketResourceDecorator",
    "WsgiGateway",
    "to_flat_header_list",
    "to_websocket_environment",
    "update_wsgi_environment",
]


def __getattr__(name: str) -> t.Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    reason = why_not()
    if reason is not None:
        raise ModuleNotFoundError(f"{name}: {reason}: pip install rolo[twisted]", name="twisted")
    return getattr(importlib.import_module(module), name)
