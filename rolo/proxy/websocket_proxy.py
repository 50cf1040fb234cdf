"""Relaying websockets to one upstream: the handshake, then the hand-over."""

from __future__ import annotations

import typing as t

from werkzeug.datastructures import Headers

from rolo.portal.portal import Portal
from rolo.proxy.client import ForwardingClient, portal_of
from rolo.proxy.forwarded_fields import ForwardedPolicy
from rolo.proxy.outgoing import DEFAULT_POLICY, HeaderEdits, outgoing_head
from rolo.proxy.request_rules import DEFAULT_RULES, RequestRules
from rolo.response import Response
from rolo.upstream.relay import Closed, Relay, RelayHook
from rolo.upstream.settings import (
    DEFAULT_WEBSOCKET_SETTINGS,
    PoolLimits,
    Timeouts,
    Tls,
    WebSocketSettings,
)
from rolo.upstream.websocket import (
    Handshake,
    HandshakeRefused,
    UpstreamWebSocket,
    without_handshake_fields,
)
from rolo.websocket.request import WebSocketRequest
from rolo.wire.fields import RawHeaders
from rolo.wire.handshake import subprotocols
from rolo.wire.target import Upstream, parse_upstream


class RelayHooks(t.TypedDict, total=False):
    """What may look at a relay; all of it is called on the event loop."""

    to_origin: RelayHook | None
    """Sees, and may change, each message of the client."""
    to_client: RelayHook | None
    """The same for those of the origin."""
    on_closed: t.Callable[[Closed], None] | None
    """Told when the websocket has ended."""


class WebSocketProxy:
    """Relays websockets to one upstream, by the rules by which a
    :class:`~rolo.proxy.Proxy` forwards requests.

    :param forward_base_url: as of a proxy; ``http`` and ``ws`` mean the same
    :param settings: see :class:`WebSocketSettings`
    :param client: shakes hands instead of one of our own; it stays the caller's to close, and
        ``timeouts``, ``limits`` and ``tls`` do not apply
    :raises ValueError: ``forward_base_url`` is not a URL to forward to; says why
    """

    def __init__(
        self,
        forward_base_url: str,
        preserve_host: bool = True,
        *,
        timeouts: Timeouts | None = None,
        limits: PoolLimits | None = None,
        tls: Tls | None = None,
        forwarded: ForwardedPolicy = DEFAULT_POLICY,
        rules: RequestRules = DEFAULT_RULES,
        settings: WebSocketSettings = DEFAULT_WEBSOCKET_SETTINGS,
        client: ForwardingClient | None = None,
    ) -> None:
        self.upstream = parse_upstream(forward_base_url)
        self.preserve_host = preserve_host
        self.forwarded = forwarded
        self.rules = rules
        self.settings = settings
        self._owns_client = client is None
        self.client = client or ForwardingClient(timeouts=timeouts, limits=limits, tls=tls)

    def relay(
        self,
        request: WebSocketRequest,
        forward_path: str | None = None,
        headers: HeaderEdits | None = None,
        **hooks: t.Unpack[RelayHooks],
    ) -> Response:
        """Shake hands with the origin, then with the client, and relay from then on. Returns
        before the first message; the relay runs when the handler has returned.

        :param forward_path: as in :meth:`rolo.proxy.Proxy.forward`
        :param headers: fields to set in the handshake in place of the client's
        :param hooks: see :class:`RelayHooks`
        :return: with status 101; if the origin refused, its answer, which is the client's
            once the handler returns it, or :meth:`WebSocketRequest.reject` is given it
        :raises UpstreamError: there is no answer; the subclass says why
        :raises BadRequest: the handshake cannot be forwarded well-formed
        :raises ClientDisconnected: the client left meanwhile
        :raises RuntimeError: there is no event loop to relay on
        """
        handshake = self.handshake(request, forward_path, headers)
        try:
            upstream = self.open(request, handshake)
        except HandshakeRefused as exc:
            return exc.response
        self.hand_over(request, upstream, **hooks)
        return Response(status=101)

    def handshake(
        self,
        request: WebSocketRequest,
        forward_path: str | None = None,
        headers: HeaderEdits | None = None,
    ) -> Handshake:
        """Return the handshake that goes to the origin for ``request``, free to be edited.

        :raises BadRequest: the request's target cannot be forwarded well-formed
        """
        return outgoing_handshake(
            request,
            self.upstream,
            path=forward_path,
            edits=headers,
            preserve_host=self.preserve_host,
            policy=self.forwarded,
            rules=self.rules,
        )

    def open(self, request: WebSocketRequest, handshake: Handshake) -> UpstreamWebSocket:
        """Shake hands with the origin. The websocket is to be given to :meth:`hand_over`.

        :raises HandshakeRefused: the origin answered with an ordinary response
        :raises UpstreamError: and others, as :meth:`relay`
        """
        return self.client.open_websocket(handshake, _portal(request), self.settings)

    def hand_over(
        self,
        request: WebSocketRequest,
        upstream: UpstreamWebSocket,
        **hooks: t.Unpack[RelayHooks],
    ) -> Relay:
        """Accept the client as the origin has accepted us, and relay. Parameters as of
        :meth:`relay`.

        :return: what will run; it takes messages of your own too
        :raises ClientDisconnected: the client left meanwhile; ``upstream`` is closed
        """
        portal = _portal(request)
        relay = Relay(upstream, portal.loop_scope, self.settings, **hooks)
        try:
            request.hand_over(relay, upstream.subprotocol, _decoded(upstream.headers))
        except BaseException:
            portal.post(relay.abandon)
            raise
        return relay

    def close(self) -> None:
        """Close the connections to the upstream; those of a client that was given are left
        alone."""
        if self._owns_client:
            self.client.close()


def relay_websocket(
    request: WebSocketRequest,
    forward_base_url: str,
    forward_path: str | None = None,
    headers: HeaderEdits | None = None,
    *,
    settings: WebSocketSettings = DEFAULT_WEBSOCKET_SETTINGS,
    **hooks: t.Unpack[RelayHooks],
) -> Response:
    """Relay one websocket, as :meth:`WebSocketProxy.relay` of a proxy that lives as long as
    the websocket."""
    proxy = WebSocketProxy(forward_base_url, settings=settings)
    on_closed = hooks.get("on_closed")

    def closed(how: Closed) -> None:
        proxy.close()
        if on_closed is not None:
            on_closed(how)

    hooks["on_closed"] = closed
    try:
        response = proxy.relay(request, forward_path, headers, **hooks)
    except BaseException:
        proxy.close()
        raise
    if not request.is_upgraded():
        response.call_on_close(proxy.close)
    return response


def outgoing_handshake(
    request: WebSocketRequest,
    upstream: Upstream,
    *,
    path: str | None = None,
    edits: HeaderEdits | None = None,
    preserve_host: bool = True,
    policy: ForwardedPolicy = DEFAULT_POLICY,
    rules: RequestRules = DEFAULT_RULES,
) -> Handshake:
    """Return what goes to ``upstream`` for the handshake ``request``. Parameters as of
    :func:`~rolo.proxy.outgoing.outgoing_request`.

    :raises BadRequest: the request's target cannot be forwarded well-formed
    """
    head = outgoing_head(
        request,
        upstream,
        path=path,
        edits=edits,
        preserve_host=preserve_host,
        policy=policy,
        rules=rules,
    )
    return Handshake(
        head.origin, head.target, without_handshake_fields(head.headers), subprotocols(head.headers)
    )


def _portal(request: WebSocketRequest) -> Portal:
    portal = portal_of(request)
    if portal is None:
        raise RuntimeError("only a gateway on an asynchronous server can relay websockets")
    return portal


def _decoded(headers: RawHeaders) -> Headers:
    return Headers([(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers])
