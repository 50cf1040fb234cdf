"""One proxied exchange through its hooks, in wire order."""

from __future__ import annotations

import typing as t
import weakref

from rolo.bridge.lazy_response import UpstreamAnswer
from rolo.portal.hook_runner import HookRunner
from rolo.portal.portal import Portal
from rolo.proxy.hooks.bodies import tap_upload
from rolo.proxy.hooks.context import ProxyContext
from rolo.proxy.hooks.editable import OutboundRequest
from rolo.proxy.hooks.hooks import Interim
from rolo.proxy.hooks.transform import call
from rolo.proxy.hooks.way_back import AnsweredRun
from rolo.request import Request
from rolo.response import Response
from rolo.upstream.request import OnInterim, UpstreamRequest
from rolo.wire.fields import HeaderFields, RawHeaders

HookInterim = t.Callable[[OnInterim | None], OnInterim | None]


class Forwarder(t.Protocol):
    """What builds and sends requests: the proxy below the hooks."""

    def build(self, context: ProxyContext) -> UpstreamRequest:
        """Return what goes to ``context.upstream`` for ``context.request``."""

    def send(
        self,
        outgoing: UpstreamRequest,
        request: Request,
        portal: Portal | None,
        hooked: HookInterim | None,
    ) -> UpstreamAnswer:
        """Send it for ``request``, and return the answer once its head is here.

        :param hooked: makes of what passes 1xx answers on to the client (``None`` if
            nothing can) what asks the hooks first; ``None`` if there are none
        """


class HookedExchange(AnsweredRun[Forwarder]):
    """Takes one HTTP request through hooks, to the upstream and back."""

    def _begin(self) -> Response | None:
        answered = self._ask("on_request") if self._phases.on_request else None
        return self._try() if answered is None else self._answered(answered)

    def _try(self) -> Response | None:
        context, phases = self._context, self._phases
        context.tries += 1
        answer = self._connect(self._send) if phases.on_connect_failed else self._send()
        if not isinstance(answer, UpstreamAnswer):
            return None if answer is None else self._answered(answer)
        return self._come_back(answer, context.request.method)

    # --- the way out

    def _send(self) -> UpstreamAnswer | Response:
        """Build the request that goes out, and send it."""
        context, phases = self._context, self._phases
        outgoing = context.outgoing = self._forwarder.build(context)
        if phases.prepare_request:
            answered = self._prepare(outgoing)
            if answered is not None:
                return answered
        hooked = self._hooked_interim if phases.on_interim else None
        return self._forwarder.send(outgoing, context.request, self._portal, hooked)

    def _prepare(self, outgoing: UpstreamRequest) -> Response | None:
        phases = self._phases
        if phases.edit_request:
            outbound = self._context.outbound
            assert outbound is not None
            answered = self._edit(outbound)
            if answered is not None:
                return answered
        if phases["on_finished"] and outgoing.body is not None:
            tap_upload(outgoing, _counting(self._context), self._portal)
        return None

    def _edit(self, outbound: OutboundRequest) -> Response | None:
        if self._phases.see_body:
            self._ask_for_whole(outbound)
        answered = self._ask("on_outgoing", outbound)
        if answered is None:
            for hook in self._phases["on_request_chunk"]:
                outbound.transform_with(self._chunk_stage(hook))
            outbound.apply()
        return answered

    def _hooked_interim(self, relay: OnInterim | None) -> OnInterim | None:
        portal = self._portal
        if portal is None:
            return relay

        async def hooked(status: int, headers: RawHeaders) -> None:
            interim = Interim(status, HeaderFields(list(headers)))
            runner = HookRunner.of(portal)
            if await runner.run(portal, self._pass_interim, interim) and relay is not None:
                await relay(interim.status, interim.headers.pairs)

        return hooked

    def _pass_interim(self, interim: Interim) -> bool:
        return all(
            call(hook.label, hook.call, self._context, interim) is not False
            for hook in self._phases["on_interim"]
        )


def _counting(context: ProxyContext) -> t.Callable[[bytes], None]:
    """Return what counts the pieces of a request body, which its context leads to."""
    reference = weakref.ref(context)

    def received(piece: bytes) -> None:
        context = reference()
        if context is not None:
            context.bytes_received += len(piece)

    return received
