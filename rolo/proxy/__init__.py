"""Reverse proxies: forward requests to an upstream, as an object, a handler or a call."""

from rolo.client import HttpClient, SimpleRequestsClient
from rolo.proxy.client import ForwardingClient
from rolo.proxy.connect import ClientWebSocket, connect_websocket
from rolo.proxy.handler import ProxyHandler
from rolo.proxy.headers import ForwardedPolicy
from rolo.proxy.messages import PoolLimits, Timeouts, Tls, WebSocketSettings
from rolo.proxy.proxy import Proxy, forward
from rolo.proxy.rewrite.context import ProxyContext
from rolo.proxy.rewrite.fields import HeaderFields
from rolo.proxy.rewrite.hooks import Hooks, Interim
from rolo.proxy.rewrite.messages import OutboundRequest, ProxiedResponse
from rolo.proxy.rewrite.sse import Event, event_stream
from rolo.proxy.upstream_websocket import HandshakeRefused
from rolo.proxy.websocket_proxy import WebSocketProxy, relay_websocket
from rolo.request import get_raw_path, restore_payload, set_environment_headers

__all__ = [
    "ClientWebSocket",
    "Event",
    "ForwardedPolicy",
    "ForwardingClient",
    "HandshakeRefused",
    "HeaderFields",
    "Hooks",
    "HttpClient",
    "Interim",
    "OutboundRequest",
    "PoolLimits",
    "ProxiedResponse",
    "Proxy",
    "ProxyContext",
    "ProxyHandler",
    "SimpleRequestsClient",
    "Timeouts",
    "Tls",
    "WebSocketProxy",
    "WebSocketSettings",
    "connect_websocket",
    "event_stream",
    "forward",
    "get_raw_path",
    "relay_websocket",
    "restore_payload",
    "set_environment_headers",
]
