"""Messages that end before they have ended, or never."""

from __future__ import annotations

import dataclasses
import random
import typing as t

from rolo.faults.fault import Fault, check_counts
from rolo.faults.message import Bottom, Head, Stage, Way
from rolo.faults.units import EventSplitter

if t.TYPE_CHECKING:
    from rolo.faults.websocket import SpoiledLeg

Within = t.Literal["head", "body", "event", "message"]


@dataclasses.dataclass(frozen=True)
class Break(Fault):
    """The message goes no further than a point of it.

    ``after`` are bytes of the head or the body, or whole events or messages, of which the next
    is sent by half; ``None`` is before all of it.
    """

    after: int | None
    within: Within = "body"

    rank: t.ClassVar[int] = 3
    name: t.ClassVar[str]

    def __post_init__(self) -> None:
        check_counts(0, after=self.after)
        if self.within not in t.get_args(Within):
            raise ValueError(f"within is one of {t.get_args(Within)}, not {self.within!r}")

    @property
    def why(self) -> str:
        """What a log says of it."""
        if self.after is None:
            return f"{self.name} by a fault"
        units = "bytes of the " if self.within in ("head", "body") else "whole "
        plural = "" if self.within in ("head", "body") else "s"
        return f"{self.name} by a fault after {self.after} {units}{self.within}{plural}"

    async def act(self, bottom: Bottom) -> t.NoReturn:
        """The point is reached."""
        raise NotImplementedError

    def stage(self, below: Way, bottom: Bottom, draw: random.Random) -> Way:
        if self.within == "message" and self.after is not None:
            return below
        return _BreakStage(below, bottom, self)

    def on_leg(self, leg: SpoiledLeg, draw: random.Random) -> None:
        if self.after is None:
            leg.break_handshake = self
        elif self.within in ("body", "message"):
            leg.breaks.append(self)


@dataclasses.dataclass(frozen=True)
class Cut(Break):
    name = "cut"

    @property
    def needs_wire(self) -> bool:
        return self.after is None or self.within in ("head", "message")

    async def act(self, bottom: Bottom) -> t.NoReturn:
        bottom.break_off(self.why)


@dataclasses.dataclass(frozen=True)
class Reset(Break):
    name = "reset"

    @property
    def needs_wire(self) -> bool:
        return True

    async def act(self, bottom: Bottom) -> t.NoReturn:
        await bottom.flush()
        bottom.break_off(self.why, reset=True)


@dataclasses.dataclass(frozen=True)
class Refuse(Reset):
    name = "refused"
    first = True


@dataclasses.dataclass(frozen=True)
class Hang(Break):
    name = "held up"

    @property
    def needs_wire(self) -> bool:
        return self.after is not None and self.within in ("head", "message")

    @property
    def endless(self) -> bool:
        return True

    async def act(self, bottom: Bottom) -> t.NoReturn:
        await bottom.hang(self.why)


def refuse() -> Fault:
    """The connection is reset before a byte of the answer, and nobody is asked for one: neither
    the handlers behind, nor the upstream. Upwards it is the upstream that cannot be reached
    (:class:`~rolo.errors.ConnectError`)."""
    return Refuse(None)


def reset(after: int | None = None, within: Within = "body") -> Fault:
    """The connection is reset (RST): before a byte of the answer, which was made and is lost;
    or behind a point of it, see :func:`cut`."""
    return Reset(after, within)


def empty() -> Fault:
    """The connection is closed (FIN) without a byte of the answer, which was made and is
    lost."""
    return Cut(None)


def hang(after: int | None = None, within: Within = "body") -> Fault:
    """Nothing more comes, before a byte of the answer or behind a point of it (see
    :func:`cut`), and the connection stays open: until the other side leaves, or the server
    stops."""
    return Hang(after, within)


def cut(after: int = 0, within: Within = "body") -> Fault:
    """The connection is closed (FIN) at a point of the message, whose framing is left open.

    :param after: bytes of the head or the body, or whole events or messages, of which the next
        is sent by half
    :param within: ``head``, ``body``, ``event`` (of an event stream) or ``message`` (of a
        websocket). Of websockets ``body`` counts the bytes of all messages.
    """
    return Cut(after, within)


class _BreakStage(Stage):
    def __init__(self, below: Way, bottom: Bottom, fault: Break) -> None:
        super().__init__(below, bottom)
        self._fault = fault
        self._left = fault.after or 0
        self._events: EventSplitter | None = None

    async def head(self, head: Head) -> None:
        fault = self._fault
        if fault.after is None:
            await fault.act(self.bottom)
        if fault.within == "head":
            block = self.bottom.block(head)[: fault.after]
            if block:
                await self.bottom.write_head(block)
            await fault.act(self.bottom)
        if fault.within == "event" and head.is_event_stream:
            self._events = EventSplitter()
        await self.below.head(head)

    async def body(self, piece: bytes) -> None:
        if self._fault.within == "body":
            await self._bytes(piece)
        elif self._events is not None:
            for event in self._events.feed(piece):
                await self._event(event)
        else:
            await self.below.body(piece)

    async def _bytes(self, piece: bytes) -> None:
        sent, self._left = piece[: self._left], self._left - len(piece)
        if sent:
            await self.below.body(sent)
        if self._left < 0:
            await self._fault.act(self.bottom)

    async def _event(self, event: bytes) -> None:
        if self._left == 0:
            await self.below.body(event[: len(event) // 2])
            await self._fault.act(self.bottom)
        self._left -= 1
        await self.below.body(event)

    async def end(self) -> None:
        if self._events is not None and (rest := self._events.rest()):
            await self.below.body(rest)
        await self.below.end()
