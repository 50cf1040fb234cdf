"""Fields set, added and removed without code."""

from __future__ import annotations

import typing as t

from rolo.proxy.hooks.context import ProxyContext
from rolo.proxy.hooks.editable import OutboundRequest, ProxiedResponse
from rolo.proxy.hooks.hooks import Hooks
from rolo.proxy.hooks.websocket_handle import RelayedWebSocket
from rolo.wire.fields import HeaderFields

Changes = t.Mapping[str, str | None]


class SetHeaders(Hooks):
    """Sets fields on the way out and on the way back; ``None`` removes one.

    :param request: of the request, or of a websocket's handshake
    :param response: of the answer, or of the 101 that accepts a websocket
    """

    def __init__(self, request: Changes | None = None, response: Changes | None = None) -> None:
        self.request = dict(request or {})
        self.response = dict(response or {})

    def on_outgoing(self, context: ProxyContext, outbound: OutboundRequest) -> None:
        _apply(outbound.headers, self.request)

    def on_response(self, context: ProxyContext, response: ProxiedResponse) -> None:
        _apply(response.headers, self.response)

    def on_accepted(self, context: ProxyContext, websocket: RelayedWebSocket) -> None:
        _apply(websocket.headers, self.response)


class RewriteHost(Hooks):
    """Sends this Host to the upstream, whoever it is."""

    def __init__(self, host: str) -> None:
        self.host = host

    def on_outgoing(self, context: ProxyContext, outbound: OutboundRequest) -> None:
        outbound.headers["Host"] = self.host


def _apply(headers: HeaderFields, changes: Changes) -> None:
    for name, value in changes.items():
        if value is None:
            headers.remove(name)
        else:
            headers[name] = value
