"""Answers that fail, and how an answer that a handler made is spoilt."""

from __future__ import annotations

import dataclasses
import random
import typing as t

from rolo.errors import FaultUnavailable
from rolo.faults.fault import DOWN, Direction, Fault, Shot
from rolo.faults.message import Bottom, DownBottom, Head, Stage, Way
from rolo.portal.portal import Portal
from rolo.response import Response
from rolo.wire.error_page import CONTENT_TYPE, error_text
from rolo.wire.fields import RawHeaders

if t.TYPE_CHECKING:
    from rolo.bridge.answer import Answer
    from rolo.bridge.downstream import HttpDownstream

_BODILESS = (204, 304)


@dataclasses.dataclass(frozen=True)
class Status(Fault):
    codes: tuple[int, ...]
    headers: tuple[tuple[str, str], ...] = ()
    body: str | bytes | None = None

    directions: t.ClassVar[frozenset[Direction]] = DOWN
    first: t.ClassVar[bool] = True

    def __post_init__(self) -> None:
        for code in self.codes:
            if not isinstance(code, int) or not 200 <= code <= 599:
                raise ValueError(f"a status is 200 to 599, not {code!r}")

    def answer(self, draw: random.Random) -> Response:
        code = self.codes[0] if len(self.codes) == 1 else draw.choice(self.codes)
        if self.body is None:
            response = Response(error_text(code), status=code, content_type=CONTENT_TYPE)
        else:
            response = Response(self.body, status=code)
        for name, value in self.headers:
            response.headers[name] = value
        return response


def status(
    code: int,
    *others: int,
    headers: t.Mapping[str, str] | None = None,
    body: str | bytes | None = None,
) -> Fault:
    """An answer with this status comes, and nobody is asked for another one.

    :param others: of several statuses, one is drawn each time
    :param body: ``None`` for a short text
    """
    return Status((code, *others), tuple((headers or {}).items()), body)


@dataclasses.dataclass(frozen=True)
class Raw(Fault):
    data: bytes | None = None
    rank: t.ClassVar[int] = 2

    @property
    def needs_wire(self) -> bool:
        return True

    def stage(self, below: Way, bottom: Bottom, draw: random.Random) -> Way:
        return _RawStage(below, bottom, self.data)


class _RawStage(Stage):
    """Sends what would be the body, and nothing else."""

    def __init__(self, below: Way, bottom: Bottom, data: bytes | None) -> None:
        super().__init__(below, bottom)
        self._data = data

    async def head(self, head: Head) -> None:
        if self._data is not None:
            await self.bottom.write(self._data)

    async def body(self, piece: bytes) -> None:
        if self._data is None:
            await self.bottom.write(piece)

    async def end(self) -> None:
        self.bottom.break_off("raw bytes sent")


def raw(data: bytes | t.Iterable[bytes]) -> Response:
    """Return an answer of which the client gets these bytes as they are, and then the end of
    the connection: no head, no framing but what they hold.

    :param data: an iterable is sent as it comes, to anything but HEAD
    """
    if isinstance(data, bytes):
        return _spoilt(Response(b""), (Shot(Raw(data), ""),))
    return _spoilt(Response(data), (Shot(Raw(), ""),))


def faulty(response: Response, *faults: Fault, seed: object = None) -> Response:
    """Let ``response`` fail on the wire, and return it: to be returned by a handler, an endpoint
    or a stub. Each time it is sent the same happens.

    :param faults: all of them happen, see the table of faults; one that says it all (``status``,
        ``refuse``) makes the response another one
    :param seed: what the numbers are drawn from; ``None`` for others each time it is called
    :raises ValueError: one of them does not concern answers
    """
    check_faults(faults, "down")
    if seed is None:
        seed = random.getrandbits(64)
    shots = tuple(Shot(fault, f"{seed}/{number}") for number, fault in enumerate(faults))
    left = []
    for shot in shots:
        answer = shot.fault.answer(shot.draw())
        if answer is None:
            left.append(shot)
        else:
            response.update_from(answer)
    return _spoilt(response, tuple(left)) if left else response


def check_faults(faults: t.Iterable[Fault], direction: Direction) -> None:
    """:raises TypeError: one of them is no fault
    :raises ValueError: one does not happen in this direction
    """
    for fault in faults:
        if not isinstance(fault, Fault):
            raise TypeError(f"a fault is what cut(), reset(), hang() and so on return: {fault!r}")
        if direction not in fault.directions:
            raise ValueError(f"{fault!r} has no direction {direction!r}")


def _spoilt(response: Response, shots: tuple[Shot, ...]) -> Response:
    before = response._spoiler
    if isinstance(before, AnswerSpoiler):
        shots = before.shots + shots
    response._spoiler = AnswerSpoiler(shots)
    return response


class AnswerSpoiler:
    """A :class:`~rolo.bridge.downstream.Spoiler`: sends answers through faults."""

    def __init__(self, shots: tuple[Shot, ...]) -> None:
        self.shots = shots

    def spoil(self, downstream: HttpDownstream, portal: Portal) -> HttpDownstream:
        for shot in self.shots:
            check_wire(shot.fault, downstream)
        bottom = DownBottom(downstream, portal.loop_scope)
        return t.cast("HttpDownstream", SpoiledAnswer(downstream, bottom, way(self.shots, bottom)))

    def spoil_blocking(self, answer: Answer) -> Answer:
        from rolo.faults.blocking import spoilt

        return spoilt(answer, self.shots, way)


def check_wire(fault: Fault, downstream: t.Any) -> None:
    """:raises FaultUnavailable: ``fault`` wants more than the server can give"""
    if fault.needs_wire and downstream.wire is None:
        raise FaultUnavailable(
            f"{fault!r} wants the connection itself, which is not to be had here: "
            "the native server gives it, in HTTP/1.1"
        )


def way(shots: t.Iterable[Shot], bottom: Bottom) -> Way:
    """Return the way of a message through ``shots`` to ``bottom``."""
    top: Way = bottom
    for shot in sorted(shots, key=lambda shot: shot.fault.rank):
        top = shot.fault.stage(top, bottom, shot.draw())
    return top


class SpoiledAnswer:
    """As much of an ``HttpDownstream`` as an answer is sent to, on its way through faults."""

    sink = None

    def __init__(self, downstream: HttpDownstream, bottom: DownBottom, top: Way) -> None:
        self._downstream = downstream
        self._bottom = bottom
        self._way = top
        self._beats = 0
        self.head = downstream.head
        self.capabilities = downstream.capabilities

    @property
    def wire(self) -> t.Any:
        return self._downstream.wire

    @property
    def unacknowledged(self) -> int | None:
        if self._bottom.waiting:
            # A client that is sent nothing is not one that takes nothing.
            self._beats += 1
            return self._beats
        return self._downstream.unacknowledged

    async def send_head(self, status: int, reason: bytes, headers: RawHeaders) -> None:
        await self._way.head(Head(b"", headers, status, reason))

    async def send_body(self, chunk: bytes) -> None:
        await self._way.body(chunk)

    async def end(self, trailers: RawHeaders | None = None) -> None:
        self._bottom.trailers = trailers
        await self._way.end()

    async def send_complete(
        self, status: int, reason: bytes, headers: RawHeaders, body: bytes
    ) -> None:
        framed = any(n.lower() in (b"content-length", b"transfer-encoding") for n, _ in headers)
        if not framed and status not in _BODILESS and self.head.method != "HEAD":
            headers = [*headers, (b"Content-Length", b"%d" % len(body))]
        await self.send_head(status, reason, headers)
        if body:
            await self.send_body(body)
        await self.end()

    def abort(self, error: BaseException | None = None) -> None:
        self._downstream.abort(error)
