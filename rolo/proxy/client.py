"""The client that proxies forward with: the loop's transport, or a blocking one."""

from __future__ import annotations

import weakref

from rolo.bridge.lazy_response import LazyResponse, UpstreamAnswer
from rolo.http_client import HttpClient
from rolo.portal.portal import LoopScope, Portal, current_portal
from rolo.proxy.outgoing import direct_request
from rolo.request import Request
from rolo.response import Response
from rolo.upstream.blocking_transport import SyncTransport
from rolo.upstream.forwarded_body import ForwardedBody
from rolo.upstream.observed import send_observed
from rolo.upstream.request import OnInterim, UpstreamRequest
from rolo.upstream.settings import PoolLimits, Timeouts, Tls, WebSocketSettings
from rolo.upstream.transport import LoopTransport
from rolo.upstream.websocket import (
    Handshake,
    HandshakeRefused,
    UpstreamWebSocket,
    open_websocket,
)
from rolo.websocket.request import WebSocketRequest
from rolo.wire.hop_by_hop import end_to_end


def portal_of(request: Request | WebSocketRequest) -> Portal | None:
    """Return the portal through which ``request`` may wait for the loop: its own, or the
    current handler's; ``None`` where there is no loop (WSGI, scripts)."""
    portal = getattr(request, "_portal", None)
    if portal is None:
        portal = request.environ.get("rolo.portal")
    return portal or current_portal()


class ForwardingClient(HttpClient):
    """Sends requests as a proxy must: no redirects, no cookie jar, no retries but the safe
    one, no decoding, no settings from the environment.

    Inside a handler that a bridge runs it uses connections of the bridge's event loop,
    elsewhere blocking ones. Connections are kept for the next request until ``close()``.

    :param timeouts: see :class:`Timeouts`
    :param limits: see :class:`PoolLimits`
    :param tls: how ``https`` upstreams are verified
    :param lenient_framing: see :class:`Proxy`
    """

    def __init__(
        self,
        *,
        timeouts: Timeouts | None = None,
        limits: PoolLimits | None = None,
        tls: Tls | None = None,
        lenient_framing: bool = False,
    ) -> None:
        self.timeouts = timeouts or Timeouts()
        self.limits = limits or PoolLimits()
        self.tls = tls or Tls()
        self.lenient_framing = lenient_framing
        self._loop_scopes: weakref.WeakSet[LoopScope] = weakref.WeakSet()
        self._blocking = SyncTransport(
            timeouts=self.timeouts,
            limits=self.limits,
            tls=self.tls,
            lenient_framing=self.lenient_framing,
        )

    def send(
        self,
        request: UpstreamRequest,
        portal: Portal | None,
        on_interim: OnInterim | None = None,
    ) -> UpstreamAnswer:
        """Send ``request`` and return the answer as soon as its head is here. Whoever gets
        the answer closes its body.

        :param on_interim: told, on the loop, of 1xx answers; never called without a portal

        :raises UpstreamError: there is no answer; the subclass says why
        :raises ClientDisconnected: the client left while we waited
        """
        if portal is None:
            answer = self._blocking.send(request)
            answer.headers = end_to_end(answer.headers)
            return answer
        if portal.on_loop and portal.observer is None:
            sending = self._transport(portal.loop_scope).send(request, on_interim)
        else:
            sending = self._send_on_loop(request, portal, on_interim)
        return _forwarded(portal.call(sending), portal)

    def open_websocket(
        self, handshake: Handshake, portal: Portal, settings: WebSocketSettings
    ) -> UpstreamWebSocket:
        """Shake hands; the websocket is the caller's to close. It is bounded by ``settings``
        only, not by the timeouts of exchanges.

        :raises HandshakeRefused: the origin answered with an ordinary response
        :raises UpstreamError: there is no answer; the subclass says why
        :raises ClientDisconnected: the client left while we waited
        """
        return portal.call(self._open_on_loop(handshake, portal, settings))

    def request(self, request: Request, server: str | None = None) -> Response:
        """Send ``request`` to ``server`` (a base URL), or without one to its own host.

        :raises UpstreamError: there is no answer
        """
        portal = portal_of(request)
        return LazyResponse(self.send(direct_request(request, server), portal))

    def close(self) -> None:
        """Close all connections."""
        self._blocking.close()
        for loop_scope in list(self._loop_scopes):
            loop_scope.release(self)

    async def _send_on_loop(
        self, request: UpstreamRequest, portal: Portal, on_interim: OnInterim | None
    ) -> UpstreamAnswer:
        transport = self._transport(portal.loop_scope)
        if portal.observer is None:
            return await transport.send(request, on_interim)
        return await send_observed(transport, request, portal.observer, on_interim)

    async def _open_on_loop(
        self, handshake: Handshake, portal: Portal, settings: WebSocketSettings
    ) -> UpstreamWebSocket:
        transport = self._transport(portal.loop_scope)
        opened = await open_websocket(transport, handshake, settings, portal.observer)
        if isinstance(opened, UpstreamWebSocket):
            return opened
        raise HandshakeRefused(_forwarded(opened, portal))

    def _transport(self, loop_scope: LoopScope) -> LoopTransport:
        """Return the transport of a loop. That loop's thread only."""
        return loop_scope.resource(self, lambda: self._new_transport(loop_scope))

    def _new_transport(self, loop_scope: LoopScope) -> LoopTransport:
        self._loop_scopes.add(loop_scope)
        return LoopTransport(
            timeouts=self.timeouts,
            limits=self.limits,
            tls=self.tls,
            lenient_framing=self.lenient_framing,
        )


def _forwarded(answer: UpstreamAnswer, portal: Portal) -> UpstreamAnswer:
    """Return ``answer`` as it goes on to a client, with a body for handlers."""
    answer.headers = end_to_end(answer.headers)
    answer.body = ForwardedBody(answer.body, portal)
    return answer
