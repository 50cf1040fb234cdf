"""Websockets that fail: faults of theirs alone, and one leg with faults in front of it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import random
import typing as t

from rolo.errors import FaultUnavailable, InjectedFault, RoloError
from rolo.faults.breaks import Break, Hang, Refuse, Reset
from rolo.faults.fault import Fault, Shot, check_counts
from rolo.faults.malformed import padding
from rolo.faults.message import Bottom
from rolo.faults.pace import Pace
from rolo.faults.units import Changer, Pause, Unit
from rolo.net.websocket import WebSocketPeer
from rolo.portal.portal import LoopScope
from rolo.websocket.errors import WebSocketDisconnectedError, WebSocketError
from rolo.wire.close_codes import LOST, is_sendable
from rolo.wire.fields import RawHeaders
from rolo.wire.websocket_frames import (
    BINARY,
    CONTINUATION,
    TEXT,
    encode_fragment,
    encode_ping,
)

if t.TYPE_CHECKING:
    from rolo.bridge.downstream import AnswerDownstream, WebSocketDownstream
    from rolo.bridge.websocket import PortalWebSocketAdapter
    from rolo.portal.portal import Portal
    from rolo.upstream.websocket import UpstreamWebSocket

HOLD = 1.0
"""Seconds that a message is held back at most for another one to pass it."""
_AT_ONCE = 1000
"""Fragments written in one turn of the loop."""
_PING_EVERY = 2
"""Fragments between two pings of :func:`fragment`."""


class _OfWebSockets(Fault):
    http: t.ClassVar[bool] = False

    @property
    def needs_wire(self) -> bool:
        return True


@dataclasses.dataclass(frozen=True)
class Lose(_OfWebSockets):
    after: int = 0

    def __post_init__(self) -> None:
        check_counts(0, after=self.after)

    def on_leg(self, leg: SpoiledLeg, draw: random.Random) -> None:
        leg.lose_after = self.after


@dataclasses.dataclass(frozen=True)
class CloseWith(_OfWebSockets):
    code: int
    reason: str = ""
    after: int = 0

    def __post_init__(self) -> None:
        check_counts(0, after=self.after)
        if not is_sendable(self.code):
            raise ValueError(f"{self.code!r} is no close code that may be sent")

    @property
    def needs_wire(self) -> bool:
        return False

    def on_leg(self, leg: SpoiledLeg, draw: random.Random) -> None:
        leg.close_with = self


@dataclasses.dataclass(frozen=True)
class Fragment(_OfWebSockets):
    size: int = 1

    def __post_init__(self) -> None:
        check_counts(1, size=self.size)

    def on_leg(self, leg: SpoiledLeg, draw: random.Random) -> None:
        leg.fragment_size = self.size


@dataclasses.dataclass(frozen=True)
class Withhold(_OfWebSockets):
    pongs: bool = False
    closes: bool = False

    def on_leg(self, leg: SpoiledLeg, draw: random.Random) -> None:
        leg.no_pongs |= self.pongs
        leg.no_closes |= self.closes


def lose(after: int = 0) -> Fault:
    """The websocket ends without a close frame (1006) once ``after`` messages were sent."""
    return Lose(after)


def close_with(code: int, reason: str = "", after: int = 0) -> Fault:
    """The websocket is closed with this code once ``after`` messages were sent, or with it
    instead of another one if it is closed before.

    :raises ValueError: ``code`` may not be sent (RFC 6455 section 7.4)
    """
    return CloseWith(code, reason, after)


def fragment(size: int = 1) -> Fault:
    """Each message comes in fragments of ``size`` bytes (so a character may be torn), with
    empty ones and pings between them: all of it is allowed."""
    return Fragment(size)


def no_pong() -> Fault:
    """Pings are not answered."""
    return Withhold(pongs=True)


def no_close() -> Fault:
    """No close frame is sent, be it the first or the answer: the connection ends instead."""
    return Withhold(closes=True)


class SpoiledLeg:
    """One leg of a websocket, with faults in what is sent to it. The loop's thread only.

    :param leg: a :class:`~rolo.bridge.downstream.WebSocketDownstream`, or the websocket of an
        origin
    :param wire: the connection below; ``None`` where there is none
    :param client: we are the client of this connection
    """

    end: t.Any = None

    def __init__(
        self, leg: t.Any, wire: t.Any, shots: t.Iterable[Shot], scope: LoopScope, *, client: bool
    ) -> None:
        self.leg = leg
        self.wire = wire
        self.bottom = Bottom(scope)
        self.late = 0.0
        self.head_size = 0
        self.pace: Pace | None = None
        self.break_handshake: Break | None = None
        self.breaks: list[Break] = []
        self.lose_after: int | None = None
        self.close_with: CloseWith | None = None
        self.fragment_size: int | None = None
        self.no_pongs = self.no_closes = False
        self._scope = scope
        self._client = client
        self._changers: list[Changer] = []
        self._messages = self._bytes = 0
        self._lock = asyncio.Lock()
        self._flushing: asyncio.Task[None] | None = None
        self._over = asyncio.Event()
        self._ended: WebSocketDisconnectedError | None = None
        for shot in shots:
            draw = shot.draw()
            shot.fault.on_leg(self, draw)
            changer = shot.fault.changer(draw)
            if changer is not None:
                self._changers.append(changer)

    async def opened(self) -> None:
        """The handshake is accepted."""
        if self.wire is not None:
            self.wire.watch_end(self._over.set)
        if self.no_pongs or self.no_closes:
            self.wire.withhold(pongs=self.no_pongs, closes=self.no_closes)
        await self._end_if_due()

    async def receive(self) -> str | bytes:
        try:
            return t.cast("str | bytes", await self.leg.receive())
        except WebSocketDisconnectedError:
            self._over.set()
            raise

    async def send(self, message: str | bytes) -> None:
        units: list[Unit | Pause] = [message]
        async with self._lock:
            for changer in self._changers:
                units = [new for unit in units for new in _changed(changer, unit)]
            await self._pass(units)
        if any(changer.held for changer in self._changers) and self._flushing is None:
            self._flushing = self._scope.loop.create_task(self._flush_soon())

    async def close(self, code: int | None, reason: str) -> None:
        self._over.set()
        if self._ended is not None:
            return
        with contextlib.suppress(WebSocketError):
            async with self._lock:
                await self._pass(self._held())
        if self.close_with is not None:
            code, reason = self.close_with.code, self.close_with.reason
        await self.leg.close(code, reason)

    # --- passing messages

    def _held(self) -> list[Unit | Pause]:
        held: list[Unit | Pause] = []
        for changer in self._changers:
            held = [new for unit in held for new in _changed(changer, unit)]
            held += changer.flush()
        return [unit for unit in held if not isinstance(unit, Pause)]

    async def _flush_soon(self) -> None:
        try:
            await self._wait(HOLD)
            with contextlib.suppress(WebSocketError):
                async with self._lock:
                    await self._pass(self._held())
        finally:
            self._flushing = None

    async def _pass(self, units: list[Unit | Pause]) -> None:
        for unit in units:
            if isinstance(unit, Pause):
                await self._wait(unit.seconds)
            else:
                await self._send(unit)

    async def _send(self, message: Unit) -> None:
        self._check()
        payload = message.encode("utf-8", "replace") if isinstance(message, str) else message
        if self.pace is not None:
            await self.pace.pay(len(payload))
        opcode = TEXT if isinstance(message, str) else BINARY
        for fault in self.breaks:
            at = self._break_at(fault, len(payload))
            if at is not None:
                await self._break(fault, payload, opcode, at)
        if self.fragment_size is not None:
            await self._send_fragments(payload, opcode, self.fragment_size)
            self.wire.wrote(message)
        else:
            await self.leg.send(message)
        self._messages += 1
        self._bytes += len(payload)
        await self._end_if_due()

    async def _send_fragments(self, payload: bytes, opcode: int, size: int) -> None:
        fragments = self._fragments(payload, opcode, size)
        # A long message is a great many fragments: others have their turn between some.
        while batch := b"".join(itertools.islice(fragments, _AT_ONCE)):
            self.wire.write(batch)
            try:
                await self.wire.drained()
            except RoloError:
                raise WebSocketDisconnectedError(LOST, "") from None
            await asyncio.sleep(0)

    def _fragments(self, payload: bytes, opcode: int, size: int) -> t.Iterator[bytes]:
        client = self._client
        for number, start in enumerate(range(0, len(payload), size)):
            yield encode_fragment(
                payload[start : start + size], opcode=opcode, final=False, client=client
            )
            opcode = CONTINUATION
            if number % _PING_EVERY == 0:
                yield encode_ping(b"", client=client)
                yield encode_fragment(b"", opcode=opcode, final=False, client=client)
        yield encode_fragment(b"", opcode=opcode, final=True, client=client)

    # --- breaking off

    def _break_at(self, fault: Break, size: int) -> int | None:
        """Return where in a message of ``size`` bytes it breaks, ``None`` if it does not."""
        assert fault.after is not None
        if fault.within == "message":
            return size // 2 if self._messages == fault.after else None
        left = fault.after - self._bytes
        return left if left < size else None

    async def _break(self, fault: Break, payload: bytes, opcode: int, at: int) -> None:
        if self.wire is not None:
            frame = encode_fragment(payload, opcode=opcode, final=True, client=self._client)
            self.wire.write(frame[: len(frame) - len(payload) + at])
        if isinstance(fault, Hang):
            await self._wait(None)
            if self._over.is_set():  # by the other side
                self._ended = WebSocketDisconnectedError(LOST, "")
                raise self._ended
        reset = isinstance(fault, Reset)
        if reset:
            with contextlib.suppress(RoloError):  # it is lost already
                await self.wire.flushed()
        self._lose(fault.why, reset=reset)

    async def _end_if_due(self) -> None:
        if self.lose_after is not None and self._messages >= self.lose_after:
            self._lose(f"lost by a fault after {self._messages} messages")
        closing = self.close_with
        if closing is not None and self._messages >= closing.after:
            self._ended = WebSocketDisconnectedError(closing.code, closing.reason)
            await self.leg.close(closing.code, closing.reason)

    def _lose(self, why: str, *, reset: bool = False) -> t.NoReturn:
        self._ended = WebSocketDisconnectedError(LOST, "")
        self._over.set()
        self.wire.lose(InjectedFault(why), reset=reset)
        raise self._ended

    def _check(self) -> None:
        if self._ended is not None:
            raise WebSocketDisconnectedError(self._ended.code, self._ended.reason)

    async def _wait(self, seconds: float | None) -> None:
        """Wait, but not beyond the end of the websocket or of the server."""
        over = self._scope.loop.create_task(self._over.wait())
        sleeping = self._scope.loop.create_task(self._scope.sleep(seconds))
        try:
            await asyncio.wait((over, sleeping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            over.cancel()
            sleeping.cancel()


class SpoiledClient(SpoiledLeg):
    """A :class:`~rolo.bridge.downstream.WebSocketDownstream` with faults in front of it."""

    def __init__(
        self, downstream: WebSocketDownstream, shots: t.Iterable[Shot], scope: LoopScope
    ) -> None:
        super().__init__(downstream, downstream.wire, shots, scope, client=False)
        self.head = downstream.head
        self.capabilities = downstream.capabilities
        self.subprotocols = downstream.subprotocols
        self.watch_gone = downstream.watch_gone

    @property
    def gone(self) -> bool:
        return bool(self.leg.gone)

    def make_adapter(self, outer: WebSocketDownstream, portal: Portal) -> PortalWebSocketAdapter:
        made: PortalWebSocketAdapter = self.leg.make_adapter(outer, portal)
        return made

    @property
    def pinged_at(self) -> float:
        return float(self.leg.pinged_at)

    async def accept(self, subprotocol: str | None, headers: RawHeaders) -> None:
        await self._before_the_answer()
        await self.leg.accept(subprotocol, [*headers, *padding(self.head_size)])
        with contextlib.suppress(WebSocketDisconnectedError):  # who receives hears of it
            await self.opened()

    async def reject(self, status: int, reason: bytes, headers: RawHeaders, body: bytes) -> None:
        await self._before_the_answer()
        await self.leg.reject(status, reason, [*headers, *padding(self.head_size)], body)

    async def refusal(self) -> AnswerDownstream:
        await self._before_the_answer()
        refusal: AnswerDownstream = await self.leg.refusal()
        return refusal

    async def receive(self) -> str | bytes:
        if self._ended is not None and self._ended.code == LOST:
            self._check()
        return await super().receive()

    async def _before_the_answer(self) -> None:
        await self.bottom.sleep(self.late)
        fault = self.break_handshake
        if fault is None:
            return
        if isinstance(fault, Hang):
            await self._scope.sleep(None)
            if self.wire is None:
                return  # the server stops: let the handshake be answered
        self._lose(fault.why, reset=isinstance(fault, Reset | Refuse))


class SpoiledOrigin(SpoiledLeg):
    """The websocket of an origin with faults in front of it, for a relay."""

    def __init__(
        self, upstream: UpstreamWebSocket, shots: t.Iterable[Shot], scope: LoopScope
    ) -> None:
        super().__init__(upstream, _PeerWire(upstream.end), shots, scope, client=True)
        self.end = upstream.end
        self.subprotocol = upstream.subprotocol
        self.headers = upstream.headers
        self.abort = upstream.abort


class _PeerWire:
    """The wire of a websocket whose end is ours."""

    def __init__(self, peer: WebSocketPeer) -> None:
        self.write = peer.write
        self.drained, self.flushed = peer.drained, peer.flushed
        self.withhold = peer.withhold
        self._peer = peer

    def wrote(self, message: str | bytes) -> None:
        pass

    def watch_end(self, callback: t.Callable[[], None]) -> None:
        self._peer.on_end = callback

    def lose(self, error: BaseException, *, reset: bool = False) -> None:
        self._peer.lose(reset=reset)


def check_leg(shots: t.Iterable[Shot], wire: t.Any) -> None:
    """:raises FaultUnavailable: one wants more of a websocket than the server can give"""
    for shot in shots:
        fault = shot.fault
        in_handshake = isinstance(fault, Hang) and fault.after is None
        # Elsewhere nobody tells a handler that waits in it that its client has left.
        endless = fault.endless and not in_handshake
        breaks = isinstance(fault, Break) and not in_handshake
        if wire is None and (fault.needs_wire or breaks or endless):
            raise FaultUnavailable(
                f"{fault!r} wants the connection itself, which is not to be had here: "
                "the native server gives it, in HTTP/1.1"
            )


def _changed(changer: Changer, unit: Unit | Pause) -> list[Unit | Pause]:
    return [unit] if isinstance(unit, Pause) else changer.feed(unit)
