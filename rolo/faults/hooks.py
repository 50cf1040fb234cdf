"""Faults as hooks of a proxy, which see both ways."""

from __future__ import annotations

import typing as t

from rolo.bridge.websocket import PortalWebSocketAdapter
from rolo.errors import ConnectError, FaultUnavailable, InjectedFault
from rolo.faults.answers import way
from rolo.faults.breaks import Refuse
from rolo.faults.fault import Shot
from rolo.faults.message import UpBottom, head_of
from rolo.faults.rules import Faults, spoil_by
from rolo.faults.units import UnitFault
from rolo.faults.websocket import SpoiledClient, SpoiledOrigin
from rolo.portal.portal import LoopScope, Portal
from rolo.proxy import Hooks, OutboundHandshake, OutboundRequest, ProxyContext, RelayedWebSocket
from rolo.response import Response
from rolo.upstream.relay import Relay
from rolo.upstream.request import RequestWire, RequestWriter, UpstreamRequest
from rolo.websocket.errors import WebSocketError


class FaultHooks(Hooks):
    """Lets what passes a proxy fail. Made by :attr:`Faults.hooks`."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        # Several of them may share a context.
        self._mark = f"_spoilt_by_{id(self)}"

    def on_request(self, context: ProxyContext) -> Response | None:
        shots = self._faults.shots(context.request, "down")
        self._remember(context, shots)
        return spoil_by(context.request, shots) if shots else None

    def on_outgoing(self, context: ProxyContext, outbound: OutboundRequest) -> None:
        if any(isinstance(shot.fault, UnitFault) for shot in self._remembered(context)):
            # Events that are coded cannot be told apart.
            outbound.headers.remove("Accept-Encoding")
        shots = self._faults.shots(context.request, "up")
        if shots:
            self._refuse(shots, context)
            outgoing = outbound.outgoing
            outgoing.writer = _writer(outgoing.writer, shots, _portal(context, shots).loop_scope)

    def on_handshake(self, context: ProxyContext, handshake: OutboundHandshake) -> None:
        shots = self._faults.shots(context.request, "up")
        self._remember(context, shots)
        if shots:
            self._refuse(shots, context)
            outgoing = handshake._handshake
            outgoing.writer = _writer(outgoing.writer, shots, _portal(context, shots).loop_scope)

    def on_accepted(self, context: ProxyContext, websocket: RelayedWebSocket) -> None:
        shots = self._remembered(context)
        if not shots:
            return
        portal = _portal(context, shots)
        portal.call(_spoil_origin(t.cast(Relay, websocket.relay), shots, portal))
        adapter = context.request.socket
        if isinstance(adapter, PortalWebSocketAdapter):
            # Two bare ends would hand messages over by themselves.
            adapter._put_in_front(lambda leg, portal: SpoiledClient(leg, (), portal.loop_scope))

    def _remember(self, context: ProxyContext, shots: tuple[Shot, ...]) -> None:
        context.__dict__[self._mark] = shots

    def _remembered(self, context: ProxyContext) -> tuple[Shot, ...]:
        return t.cast("tuple[Shot, ...]", context.__dict__.get(self._mark, ()))

    def _refuse(self, shots: tuple[Shot, ...], context: ProxyContext) -> None:
        """:raises ConnectError: one of the faults is that the upstream cannot be reached"""
        for shot in shots:
            if isinstance(shot.fault, Refuse):
                error = ConnectError(shot.fault.why, target=str(context.upstream.origin))
                raise error from InjectedFault(shot.fault.why)


class FaultWriter:
    """A :class:`~rolo.upstream.request.RequestWriter`: writes requests through faults."""

    def __init__(self, shots: tuple[Shot, ...], scope: LoopScope) -> None:
        self.shots = shots
        self._scope = scope

    async def __call__(self, wire: RequestWire, head: bytes, request: UpstreamRequest) -> None:
        top = way(self.shots, UpBottom(wire, request, self._scope))
        await top.head(head_of(head))
        body = request.body
        if isinstance(body, bytes):
            if body:
                await top.body(body)
        elif body is not None:
            while piece := await body.receive_body():
                await top.body(piece)
        await top.end()


def _writer(
    before: RequestWriter | None, shots: tuple[Shot, ...], scope: LoopScope
) -> RequestWriter:
    """Return what writes through ``shots``, and those of the hooks before us."""
    return FaultWriter(before.shots + shots if isinstance(before, FaultWriter) else shots, scope)


async def _spoil_origin(relay: Relay, shots: tuple[Shot, ...], portal: Portal) -> None:
    legs: list[SpoiledOrigin] = []

    def wrap(upstream: t.Any) -> SpoiledOrigin:
        legs.append(SpoiledOrigin(upstream, shots, portal.loop_scope))
        return legs[0]

    relay.wrap_upstream(wrap)
    try:
        await legs[0].opened()
    except WebSocketError:
        pass  # the relay will see that it is lost


def _portal(context: ProxyContext, shots: tuple[Shot, ...]) -> Portal:
    """:raises FaultUnavailable: there is no loop"""
    portal = context.portal
    if portal is None:
        raise FaultUnavailable(
            f"{shots[0].fault!r} wants an event loop, which a WSGI server has not"
        )
    return portal
