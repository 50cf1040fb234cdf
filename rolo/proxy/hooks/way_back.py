"""The answer of an upstream on its way back through hooks, be it one to a request or to the
handshake of a websocket: none passes unseen."""

from __future__ import annotations

import typing as t

from rolo.bridge.lazy_response import LazyResponse, UpstreamAnswer
from rolo.errors import ClientDisconnected
from rolo.net.body import Body, LoopBody
from rolo.proxy.hooks.bodies import (
    TrackedBody,
    TransformedBody,
    Unwatched,
    WholeBody,
    pipeline,
)
from rolo.proxy.hooks.editable import OutboundHead, ProxiedResponse
from rolo.proxy.hooks.event_sender import RelayedEvents, SpokenBody
from rolo.proxy.hooks.hook_run import HookedRun
from rolo.proxy.hooks.phases import Hook
from rolo.proxy.hooks.transform import Stage, call, chunk_stage, event_stage
from rolo.response import Response
from rolo.wire.content_codings import decode
from rolo.wire.fields import HeaderFields, RawHeaders

F = t.TypeVar("F")


class AnsweredRun(HookedRun[F]):
    """Takes an answer through hooks.

    It is also the watcher of the answer's body, whose end is the end of the exchange.
    """

    _whole = False

    def _ask_for_whole(self, outbound: OutboundHead) -> None:
        """Ask only for what can be transformed."""
        outbound.accept_known_codings()
        if not self._phases.see_parts:
            outbound.refuse_ranges()

    def _come_back(self, answer: UpstreamAnswer, method: str) -> Response | None:
        """Return the answer as hooks leave it, or theirs; ``None`` for another try."""
        context, phases = self._context, self._phases
        context.comes_back()
        response = context.response = ProxiedResponse(answer, method)
        try:
            answered = self._ask("on_response", response) if phases.on_response else None
            if answered is None and not context.again:
                return LazyResponse(self._forwarded(response))
        except BaseException:
            response.body.close()
            raise
        response.body.close()
        return None if answered is None else self._answered(answered)

    def _forwarded(self, response: ProxiedResponse) -> UpstreamAnswer:
        """Return the answer as the hooks have left it."""
        phases, body = self._phases, response.body
        self._context.status = response.status
        if self._context.spoken_events is not None:
            return response.answer(self._spoken(response, self._context.spoken_events))
        if phases.see_body or response.stages or response.plain is not None:
            body = self._rewritten(response)
        if phases.watch_body:
            self._whole = not response.has_body
            body = self._tracked(body)
        return response.answer(body)

    def _spoken(self, response: ProxiedResponse, events: RelayedEvents) -> Body:
        """Return the body of an event stream, all that hooks do to it, and ``events``."""
        assert self._portal is not None
        codings, stages = response.codings, [*response.stages, *self._body_stages(response)]
        if codings:
            # What is spoken cannot go into the middle of a coding.
            stages.insert(0, lambda pieces: decode(pieces, codings))
            response.headers.remove("Content-Encoding")
        response.fix_head()
        source: t.Iterable[bytes] = response.body
        if response.plain is not None:
            source, stages = [response.plain], stages[bool(codings) :]
        body = response.body
        if stages or response.plain is not None or self._phases["on_trailers"]:
            pieces = pipeline(source, [], stages)
            body = TransformedBody(pieces, body, Unwatched(), self._edit_trailers)
        return TrackedBody(SpokenBody(body, events, self._portal), self)

    def _rewritten(self, response: ProxiedResponse) -> Body:
        """Return the body of an answer through all stages; its head is made right."""
        stages = [*response.stages, *self._body_stages(response)]
        if response.plain is None and not stages:
            return response.body
        response.fix_head()
        if not response.has_body:
            if response.plain is not None and self._context.request.method == "HEAD":
                response.set_length(len(response.encoded(stages)))
            return response.body
        body = self._transformed(response, stages)
        if isinstance(body, Body):
            return body
        response.set_length(len(body))
        return WholeBody(body, response.body)

    def _body_stages(self, response: ProxiedResponse) -> list[Stage]:
        phases = self._phases
        for hook in (*phases["on_response_chunk"], *phases["on_event"]):
            response.refuse_part(hook.call)
        stages = [self._chunk_stage(hook) for hook in phases["on_response_chunk"]]
        if response.is_event_stream:
            stages += [
                event_stage(self._bound(hook, "on_event"), hook.label)
                for hook in phases["on_event"]
            ]
        return stages

    def _transformed(self, response: ProxiedResponse, stages: list[Stage]) -> Body | bytes:
        """Return the new body; all of it if it is here already."""
        if response.plain is not None:
            return response.encoded(stages)
        here = response.body.read_whole_nowait()
        source = response.body if here is None else [here]
        pieces = pipeline(source, response.codings, stages)
        if here is not None and response.prompt and not self._must_stream(response):
            whole = pieces.take_whole()
            if whole is not None:
                return whole
        return TransformedBody(pieces, response.body, self, self._edit_trailers)

    def _must_stream(self, response: ProxiedResponse) -> bool:
        """Whether even a body that is here cannot be one step with its head: events may be
        delayed, and trailers need chunks."""
        has_trailers = bool(response.body.trailers)
        return response.is_event_stream or has_trailers or bool(self._phases["on_trailers"])

    def _tracked(self, body: Body) -> Body:
        """Return ``body``, watched to its end."""
        if isinstance(body, TransformedBody):
            return body
        if self._phases["on_trailers"] or not isinstance(body, LoopBody):
            return TransformedBody(body, body, self, self._edit_trailers)
        return TrackedBody(body, self)

    def _edit_trailers(self, trailers: RawHeaders) -> RawHeaders:
        fields = HeaderFields(list(trailers))
        for hook in self._phases["on_trailers"]:
            self._context.phase = "on_trailers"
            call(hook.label, hook.call, self._context, fields)
        return fields.pairs

    def _chunk_stage(self, hook: Hook) -> Stage:
        return chunk_stage(self._bound(hook, hook.label.partition(" ")[0]), hook.label)

    def _bound(self, hook: Hook, phase: str) -> t.Callable[[t.Any], t.Any]:
        context, function = self._context, hook.call

        def bound(item: t.Any) -> t.Any:
            context.phase = phase
            return function(context, item)

        return bound

    # --- the end

    def body_ended(self) -> None:
        self._whole = True

    def body_failed(self, error: BaseException) -> None:
        self._context.error = error

    def body_closed(self, sent: int) -> None:
        self._context.bytes_sent = sent
        error = self._context.error
        if self._whole:
            self._finish("complete", None)
        elif isinstance(error, ClientDisconnected) or self._context.client_gone:
            self._finish("client gone", error)
        else:
            self._finish("unread" if error is None else "aborted", error)
