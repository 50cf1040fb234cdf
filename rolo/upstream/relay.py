"""Relaying an accepted websocket: one message at a time each way, until one side closes.

It runs on the event loop, after the handler that decided on it has returned; no thread
and no greenlet is held.
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import logging
import typing as t

from rolo.bridge.downstream import WebSocketDownstream
from rolo.net.ticker import Ticker
from rolo.net.websocket import Liveness, WebSocketPeer
from rolo.portal.containment import ERRORS, contained
from rolo.portal.portal import LoopScope
from rolo.upstream.settings import WebSocketSettings
from rolo.upstream.websocket import UpstreamWebSocket
from rolo.websocket.errors import (
    WebSocketDisconnectedError,
    WebSocketError,
    WebSocketProtocolError,
)
from rolo.wire.close_codes import GOING_AWAY, INTERNAL_ERROR, LOST, Side, passed_on

LOG = logging.getLogger(__name__)

Message = str | bytes
_MESSAGE = (str, bytes)
RelayHook = t.Callable[[Message], t.Coroutine[t.Any, t.Any, Message | None] | Message | None]
"""Gets each message of one direction, on the loop, before it is sent on; what it returns
is sent instead, ``None`` drops it. Awaiting in it holds that direction back."""


@dataclasses.dataclass(frozen=True, slots=True)
class Closed:
    """How a relay ended: the first close."""

    by: Side
    """``client`` or ``upstream``: the sides by the names that phases and methods have."""
    code: int
    """As the side reported it: 1005 for a close without a code, 1006 for a lost leg."""
    reason: str


class Relay:
    """Carries messages between a client and an origin.

    Bytes held at most: on each leg, each way, ``buffer`` bytes and one message; a side that
    does not read stops the other side's reading.

    :param upstream: open; closed by :meth:`run`, or by :meth:`abandon`
    :param loop_scope: of the loop that it will run on
    :param to_origin: sees what the client sends
    :param to_client: sees what the origin sends
    :param on_closed: told on the loop, once, when both legs are done
    """

    __slots__ = (
        "_closing",
        "_downstream",
        "_given",
        "_loop_scope",
        "_settings",
        "_upstream",
        "closed",
        "moved",
        "on_closed",
        "to_client",
        "to_origin",
    )

    def __init__(
        self,
        upstream: UpstreamWebSocket,
        loop_scope: LoopScope,
        settings: WebSocketSettings,
        *,
        to_origin: RelayHook | None = None,
        to_client: RelayHook | None = None,
        on_closed: t.Callable[[Closed], None] | None = None,
    ) -> None:
        self._downstream: WebSocketDownstream | None = None
        self._upstream = upstream
        self._loop_scope = loop_scope
        self._settings = settings
        self.to_origin = to_origin
        self.to_client = to_client
        self.on_closed = on_closed
        self.closed: Closed | None = None
        """The first close, ``None`` before."""
        self.moved = False
        """Set with each message; for the watch to reset."""
        self._closing = False
        self._given: dict[str, t.Coroutine[t.Any, t.Any, Message | None]] = {}
        """What a hook that waits will give for the message that is delivered next."""

    async def run(self, downstream: WebSocketDownstream) -> None:
        """Relay until both legs are closed.

        :param downstream: the client's side, accepted
        """
        self._downstream = downstream
        settings = self._settings
        own: WebSocketPeer | None = downstream.end
        if own is not None:
            own.tap = self._tap(self._upstream.end, "to_origin")
            self._upstream.end.tap = self._tap(own, "to_client")
        if settings.idle_timeout is None and settings.ping_interval is None:
            await self._run(downstream)
            return
        loop = self._loop_scope.loop
        ticker = self._loop_scope.resource(Watch, lambda: Ticker(loop))
        watch = Watch(self, self._upstream.end, settings, loop.time())
        ticker.add(watch, watch.tick)
        try:
            await self._run(downstream)
        finally:
            ticker.discard(watch)

    def wrap_upstream(self, wrap: t.Callable[[UpstreamWebSocket], t.Any]) -> None:
        """Let something of the same shape stand in front of the origin's leg, before the relay
        runs. If that is to see each message, something has to stand in front of the client's
        leg as well: two bare ends hand messages over by themselves."""
        self._upstream = wrap(self._upstream)

    def abandon(self) -> None:
        """Do not run after all."""
        self._upstream.abort()

    async def _run(self, downstream: WebSocketDownstream) -> None:
        upstream, create_task = self._upstream, self._loop_scope.loop.create_task
        legs = (
            create_task(self._carry("client", downstream, upstream, "upstream")),
            create_task(self._carry("upstream", upstream, downstream, "client")),
        )
        try:
            await asyncio.wait(legs, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait(legs, timeout=self._settings.close_timeout)
        except BaseException:
            upstream.abort()
            raise
        finally:
            for leg in legs:
                leg.cancel()
            for given in self._given.values():
                given.close()
            upstream.end.close_nowait(GOING_AWAY, "")
            if self.on_closed is not None:
                self.on_closed(self.closed or Closed("client", LOST, ""))

    async def send_to_client(self, message: Message) -> None:
        """Put a message of our own among those of the origin.

        :raises WebSocketError: closed or lost
        """
        if self._downstream is None:
            raise WebSocketProtocolError("the relay does not run yet")
        await self._downstream.send(message)

    async def send_to_origin(self, message: Message) -> None:
        """Put a message of our own among those of the client.

        :raises WebSocketError: closed or lost
        """
        await self._upstream.send(message)

    async def close(self, code: int, reason: str = "") -> None:
        """Close both legs."""
        self._closing = True
        await self._upstream.close(code, reason)
        if self._downstream is not None:
            await self._downstream.close(code, reason)

    # --- one direction --------------------------------------------------------------------

    def _tap(
        self, sink: WebSocketPeer, hook: t.Literal["to_origin", "to_client"]
    ) -> t.Callable[[Message], bool]:
        """Return what sends a message on at once where nothing is in the way. With both ends
        ours that spares most messages the turn through :meth:`_carry`."""

        def tap(message: Message) -> bool:
            if not sink.ready or self._closing:
                return False
            asked = getattr(self, hook)
            if asked is not None:
                try:
                    given = asked(message)
                except ERRORS as exc:
                    given = _raising(contained(exc))
                if given is not message:
                    if given is None:
                        return True
                    if not isinstance(given, _MESSAGE):
                        # It waits: the task of this direction has to wait with it.
                        self._given[hook] = given
                        return False
                    message = given
            self.moved = True
            try:
                sink.send_nowait(message)
            except WebSocketError:  # the hook has closed it
                self._closing = True
            return True

        return tap

    async def _carry(self, side: Side, source: t.Any, sink: t.Any, other: Side) -> None:
        """Carry from ``source`` to ``sink`` until ``source`` has ended; then close ``sink``
        the same way. If ``sink`` ends first, what ``source`` still sends is discarded; the
        other direction tells it of the end."""
        receive, send = source.receive, sink.send
        direction = "to_origin" if side == "client" else "to_client"
        try:
            while True:
                message = await receive()
                self.moved = True
                hook = self.to_origin if side == "client" else self.to_client
                if hook is not None:
                    given = self._given.pop(direction, None) or hook(message)
                    message = await given if inspect.isawaitable(given) else given
                    if message is None:
                        continue
                if not self._closing:
                    try:
                        await send(message)
                    except WebSocketError:
                        self._closing = True
        except WebSocketDisconnectedError as exc:
            await self._ended(side, exc, sink, other)
        except ERRORS as exc:
            error = contained(exc)
            LOG.error("error while relaying a websocket from the %s", side, exc_info=error)
            if self.closed is None:
                self.closed = Closed(side, INTERNAL_ERROR, "")
            await self.close(INTERNAL_ERROR)

    async def _ended(
        self, side: Side, end: WebSocketDisconnectedError, sink: t.Any, other: Side
    ) -> None:
        code = end.code
        if side == "upstream" and self._upstream.end.broken:
            LOG.warning("origin broke the websocket protocol: %s (%d)", end.reason, code)
            code = LOST
        if self.closed is None:
            self.closed = Closed(side, end.code, end.reason or "")
        self._closing = True
        await sink.close(*passed_on(code, end.reason, other))


async def _raising(error: Exception) -> t.NoReturn:
    """Stands for what a hook gives that has raised already."""
    raise error


class Watch:
    """The timeouts of one relay. Its client is pinged by the server."""

    def __init__(
        self, relay: Relay, upstream: WebSocketPeer, settings: WebSocketSettings, now: float
    ) -> None:
        self._relay = relay
        self._settings = settings
        self._moved_at = now
        self._liveness: Liveness | None = None
        if settings.ping_interval is not None:
            self._liveness = Liveness(upstream, settings.ping_interval, settings.ping_timeout, now)
        self._closing: asyncio.Task[None] | None = None
        waits = [settings.idle_timeout]
        if self._liveness is not None:
            waits += [settings.ping_interval, settings.ping_timeout]
        #: seconds from one look to the next, so that no timeout is late by more than a tenth
        self.tick = max(0.01, min(1.0, min(wait for wait in waits if wait is not None) / 10))

    def look(self, now: float) -> None:
        """End, or ping, what was silent for too long."""
        relay, idle = self._relay, self._settings.idle_timeout
        if relay.moved:
            relay.moved = False
            self._moved_at = now
        elif idle is not None and now - self._moved_at >= idle and self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(
                relay.close(GOING_AWAY, "idle timeout")
            )
        if self._liveness is not None:
            self._liveness.look(now)
