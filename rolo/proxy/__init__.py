"""Reverse proxies: forward requests to an upstream, as an object, a handler or a call."""

from rolo.http_client import HttpClient, SimpleRequestsClient
from rolo.proxy.client import ForwardingClient
from rolo.proxy.connect import ClientWebSocket, connect_websocket
from rolo.proxy.forwarded_fields import ForwardedPolicy
from rolo.proxy.handler import ProxyHandler
from rolo.proxy.hooks.context import ProxyContext
from rolo.proxy.hooks.editable import OutboundHandshake, OutboundRequest, ProxiedResponse
from rolo.proxy.hooks.event_sender import RelayedEvents
from rolo.proxy.hooks.hooks import Hooks, Interim
from rolo.proxy.hooks.sse import Event, event_stream
from rolo.proxy.hooks.transform import takes_parts
from rolo.proxy.hooks.websocket_handle import RelayedWebSocket
from rolo.proxy.proxy import Proxy, forward
from rolo.proxy.request_rules import RequestRules
from rolo.proxy.websocket_proxy import WebSocketProxy, relay_websocket
from rolo.request import get_raw_path, restore_payload, set_environment_headers
from rolo.upstream.relay import Closed
from rolo.upstream.settings import PoolLimits, Timeouts, Tls, WebSocketSettings
from rolo.upstream.websocket import HandshakeRefused
from rolo.wire.fields import HeaderFields

__all__ = [
    "ClientWebSocket",
    "Closed",
    "Event",
    "ForwardedPolicy",
    "ForwardingClient",
    "HandshakeRefused",
    "HeaderFields",
    "Hooks",
    "HttpClient",
    "Interim",
    "OutboundHandshake",
    "OutboundRequest",
    "PoolLimits",
    "ProxiedResponse",
    "Proxy",
    "ProxyContext",
    "ProxyHandler",
    "RelayedEvents",
    "RelayedWebSocket",
    "RequestRules",
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
    "takes_parts",
]
