"""One relayed websocket through its hooks, from the handshake to the last close."""

from __future__ import annotations

import asyncio
import contextvars
import typing as t

from werkzeug.datastructures import Headers

from rolo.bridge.downstream import WebSocketDownstream
from rolo.errors import ClientDisconnected, HookError, RoloError
from rolo.portal.containment import ERRORS
from rolo.portal.hook_runner import HookRunner
from rolo.portal.portal import Portal
from rolo.proxy.hooks.context import ProxyContext
from rolo.proxy.hooks.editable import OutboundHandshake
from rolo.proxy.hooks.phases import Hook, Phases
from rolo.proxy.hooks.transform import call, failed, several
from rolo.proxy.hooks.way_back import AnsweredRun
from rolo.proxy.hooks.websocket_handle import Message, RelayedWebSocket
from rolo.response import Response
from rolo.upstream.relay import Closed, Relay, RelayHook
from rolo.upstream.settings import WebSocketSettings
from rolo.upstream.websocket import Handshake, HandshakeRefused, UpstreamWebSocket
from rolo.websocket.errors import WebSocketError
from rolo.websocket.request import WebSocketRequest
from rolo.wire.close_codes import INTERNAL_ERROR, LOST
from rolo.wire.fields import HeaderFields


class HandshakeForwarder(t.Protocol):
    """What builds and sends handshakes: the proxy below the hooks."""

    settings: WebSocketSettings

    def build(self, context: ProxyContext) -> Handshake:
        """Return what goes to ``context.upstream`` for ``context.request``."""

    def open(self, context: ProxyContext, handshake: Handshake) -> UpstreamWebSocket:
        """Shake hands with the upstream."""


class HookedWebSocket(AnsweredRun[HandshakeForwarder]):
    """Takes one websocket through hooks. What :meth:`run` returns has status 101 once the
    relay is handed over, or a hook has served the websocket itself."""

    def __init__(
        self,
        phases: Phases,
        forwarder: HandshakeForwarder,
        context: ProxyContext,
        request: WebSocketRequest,
        portal: Portal,
    ) -> None:
        super().__init__(phases, forwarder, context, portal)
        self.context = context
        self.loop_portal = portal
        self._request = request

    def _begin(self) -> Response | None:
        answered = self._ask("on_request")
        if answered is not None:
            return self._answered(answered)
        if self._request.is_upgraded():
            self._context.status = 101
            self._finish("answered", None)
            return Response(status=101)
        return self._try()

    def _try(self) -> Response | None:
        self._context.tries += 1
        try:
            upstream = self._connect(self._open)
        except HandshakeRefused as exc:
            return self._come_back(exc.answer, "GET")
        if upstream is None:
            return None
        if isinstance(upstream, Response):
            return self._answered(upstream)
        self._context.comes_back()
        try:
            return self._accepted(upstream)
        except BaseException:
            self.loop_portal.post(upstream.abort)
            raise

    def _open(self) -> UpstreamWebSocket | Response:
        context = self._context
        handshake = self._forwarder.build(context)
        outbound = OutboundHandshake(handshake)
        if self._phases.see_body:
            self._ask_for_whole(outbound)  # the origin may answer with a body
        answered = self._ask("on_handshake", outbound)
        if answered is not None:
            return answered
        return self._forwarder.open(context, handshake)

    def _accepted(self, upstream: UpstreamWebSocket) -> Response:
        context, portal = self._context, self.loop_portal
        relay = Relay(upstream, portal.loop_scope, self._forwarder.settings)
        websocket = RelayedWebSocket(
            relay, portal, upstream.subprotocol, HeaderFields(list(upstream.headers))
        )
        context.websocket = websocket
        answered = self._ask("on_accepted", websocket)
        if answered is not None:
            portal.post(relay.abandon)
            return self._answered(answered)
        relay.to_origin = self._message_hook("on_client_message", relay.send_to_origin)
        relay.to_client = self._message_hook("on_upstream_message", relay.send_to_client)
        relay.on_closed = self._closed
        self._request.hand_over(
            _RelayAfterHooks(self, relay, websocket),
            websocket.subprotocol,
            Headers(websocket.headers.items()),
        )
        context.status = 101
        return Response(status=101)

    # --- messages

    def _message_hook(
        self, phase: str, send: t.Callable[[Message], t.Awaitable[None]]
    ) -> RelayHook | None:
        """Return what the relay asks about each message of one direction."""
        from_client = phase == "on_client_message"
        count = self._count(from_client) if self._phases["on_finished"] else None
        if not self._phases[phase]:
            return count
        passing = _MessageHooks(self, self._phases[phase], phase, send, count)
        return passing.on_thread if self.loop_portal.threaded else passing.in_greenlet

    def _count(self, from_client: bool) -> t.Callable[[Message], Message]:
        context = self._context

        def count(message: Message) -> Message:
            size = len(message) if isinstance(message, bytes) else len(message.encode())
            if from_client:
                context.bytes_received += size
            else:
                context.bytes_sent += size
            return message

        return count

    async def broken(self, error: HookError) -> None:
        """A hook has raised: close both legs."""
        context = self._context
        context.error = error
        if context.websocket is not None:
            await context.websocket.relay.close(INTERNAL_ERROR)

    # --- the end

    def _closed(self, closed: Closed) -> None:
        """On the loop, when both legs are done."""
        runner = HookRunner.of(self.loop_portal)
        runner.start(self.loop_portal, self._end, closed)

    def _end(self, closed: Closed) -> None:
        context = self._context
        context.closed = closed
        for hook in self._phases["on_closed"]:
            context.phase = "on_closed"
            try:
                hook.call(context, closed)
            except (*ERRORS, asyncio.CancelledError) as exc:
                context.error = failed(hook.label, exc, steered=False)
        lost = closed.code == LOST
        if context.error is None and not (lost and closed.by == "upstream"):
            self._finish("client gone" if lost else "complete", None)
        else:
            self._finish("aborted", context.error)

    def relay_failed(self, error: BaseException) -> None:
        """The relay was never run, or was cut."""
        if not self._finished:
            self._finish("client gone" if self._context.client_gone else "aborted", error)


class _MessageHooks:
    """The messages of one direction on their way through the hooks of one phase."""

    def __init__(
        self,
        run: HookedWebSocket,
        hooks: tuple[Hook, ...],
        phase: str,
        send: t.Callable[[Message], t.Awaitable[None]],
        count: t.Callable[[Message], Message] | None,
    ) -> None:
        self._run = run
        self._hooks = hooks
        self._phase = phase
        self._send = send
        self._count = count
        self._context = run.context
        self._portal = run.loop_portal
        self._change = self._changed if len(hooks) > 1 else self._changed_once
        # Messages may come in a callback of the connection, which knows nothing of handlers.
        self._variables = contextvars.copy_context()

    def in_greenlet(
        self, message: Message
    ) -> Message | t.Coroutine[t.Any, t.Any, Message | None] | None:
        """Pass a message in ``loop`` mode; awaits nothing unless a hook does."""
        try:
            given: t.Any = self._portal.start_in_greenlet(self._variables, self._change, message)
        except HookError as exc:
            return self._run.broken(exc)
        except (WebSocketError, ClientDisconnected):
            return None  # the hook spoke to a leg that is closed
        kind = type(given)
        if kind is bytes or kind is str:
            return self._sent(given) if self._count is not None else given
        return self._sent(given) if kind is list else self._waited(given)

    async def on_thread(self, message: Message) -> Message | None:
        """Pass a message in ``threads`` mode."""
        portal = self._portal
        return await self._waited(
            HookRunner.of(portal, threads=True).run(portal, self._change, message)
        )

    async def _waited(self, given: t.Awaitable[Message | list[Message]]) -> Message | None:
        try:
            messages = await given
        except HookError as exc:
            await self._run.broken(exc)
            return None
        except (WebSocketError, ClientDisconnected):
            return None
        return await self._sent(messages)

    async def _sent(self, given: Message | list[Message]) -> Message | None:
        """Send all but the last, which the relay sends itself."""
        messages = given if isinstance(given, list) else [given]
        if self._count is not None:
            for each in messages:
                self._count(each)
        for each in messages[:-1]:
            await self._send(each)
        return messages[-1] if messages else None

    def _changed_once(self, message: Message) -> Message | list[Message]:
        """Return what the one hook makes of one message."""
        context = self._context
        context.phase = self._phase
        hook = self._hooks[0]
        try:  # as call() does, without calling it for each message
            new = hook.call(context, message)
        except (RoloError, WebSocketError):
            raise
        except ERRORS as exc:
            raise failed(hook.label, exc) from exc
        if new is message or new is None:
            return message
        return new if isinstance(new, str | bytes) else list(new)

    def _changed(self, message: Message) -> list[Message]:
        """Return what several hooks, one after the other, make of one message."""
        context = self._context
        context.phase = self._phase
        messages = [message]
        for hook in self._hooks:
            given, messages = messages, []
            for each in given:
                new = call(hook.label, hook.call, context, each)
                messages += several(new, (str, bytes), each)
        return messages


class _RelayAfterHooks:
    """Runs the relay, after what hooks have put in front of it."""

    def __init__(self, run: HookedWebSocket, relay: Relay, websocket: RelayedWebSocket) -> None:
        self._run = run
        self._relay = relay
        self._websocket = websocket

    async def run(self, downstream: WebSocketDownstream) -> None:
        starting = asyncio.ensure_future(self._websocket.start())
        try:
            await self._relay.run(downstream)
        finally:
            starting.cancel()

    def abandon(self) -> None:
        self._relay.abandon()
        self._run.relay_failed(RuntimeError("the relay did not run"))
