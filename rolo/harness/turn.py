"""One request at a stub: what it brings, and what a stub can do for it."""

from __future__ import annotations

import asyncio
import contextvars
import random
import typing as t

from rolo.bridge.request import BridgeRequest
from rolo.errors import FaultUnavailable, InjectedFault
from rolo.faults.fault import Shot
from rolo.faults.rules import spoil_by
from rolo.har.pace import Gate
from rolo.harness.delays import Delay, seconds_of
from rolo.harness.record import Record
from rolo.net.body import LoopBody
from rolo.portal.portal import Portal
from rolo.portal.workers import WorkerPool
from rolo.response import Response
from rolo.wire.fields import RawHeaders

if t.TYPE_CHECKING:
    from rolo.harness.stub import Stub

T = t.TypeVar("T")

LOST = "a stub was told to lose its client"


class Means(t.Protocol):
    """What all stubs of a harness share."""

    rng: random.Random
    workers: WorkerPool
    gate: Gate
    timeout: float
    """Seconds for which a script waits for a message, if it does not say."""

    def problem(self, text: str) -> None:
        """Something is not as it should be: the test fails at its end with ``text``."""


class Turn:
    """One request that a stub deals with. Its methods are for the greenlet of the exchange."""

    __slots__ = ("means", "portal", "record", "request", "shots", "stub", "values")

    def __init__(self, request: t.Any, portal: Portal, means: Means, record: Record | None) -> None:
        self.request = request
        """A :class:`~rolo.Request`, or a :class:`~rolo.websocket.WebSocketRequest`."""
        self.portal = portal
        self.means = means
        self.record = record
        self.stub: Stub | None = None
        """``None`` if there is none for it."""
        self.values: t.Mapping[str, t.Any] = {}
        """Of the path's variables."""
        self.shots: tuple[Shot, ...] = ()
        """What is to go wrong."""

    def problem(self, text: str) -> None:
        """Something is not as it should be: the test fails at its end."""
        name = "" if self.stub is None else self.stub.name
        self.means.problem(f"{name}{text}")

    def spoil(self) -> Response | None:
        """Let go wrong what is to. Return the answer, if there is to be no other.

        :raises FaultUnavailable: the server cannot do it, which fails the test, too
        """
        if not self.shots:
            return None
        if self.record is not None:
            wrong = ", ".join(repr(shot.fault) for shot in self.shots)
            self.record.wrong = f"; went wrong: {wrong}"
        try:
            return spoil_by(self.request, self.shots)
        except FaultUnavailable as exc:
            self.problem(f": {exc}")
            raise

    def wait(self, delay: Delay) -> None:
        """Wait before the answer."""
        if delay:
            self.sleep(seconds_of(delay, self.means.rng))

    def begin(self, delay: Delay, interim: t.Iterable[tuple[int, RawHeaders]]) -> None:
        """What comes before an answer's head: interim answers, then a delay."""
        for status, headers in interim:
            self.send_interim(status, headers)
        self.wait(delay)

    def lose(self) -> None:
        """End a websocket without a close frame.

        :raises RuntimeError: the server does not give the connection away
        """
        wire = self.request.socket._downstream.wire
        if wire is None:
            raise RuntimeError("only the native server can lose a websocket on purpose")
        self.portal.post(wire.lose, InjectedFault(LOST))

    def sleep(self, seconds: float) -> None:
        """Wait, and hold up nobody else.

        :raises ClientDisconnected: the client left meanwhile
        """
        if seconds > 0:
            self.portal.call(asyncio.sleep(seconds))

    def drain(self) -> None:
        """Take what is left of the request's body, for the journal: only what is taken is seen."""
        body = getattr(self.request, "_body", None)  # a websocket's handshake has none
        if body is not None and not body.is_empty:
            self.portal.call(_drain(body))

    def send_interim(self, status: int, headers: RawHeaders) -> None:
        """Send a 1xx answer, where the server can."""
        self.portal.call(self.request._body.downstream.send_interim(status, headers))

    def on_thread(self, function: t.Callable[..., T], *args: t.Any) -> T:
        """Call ``function`` on a thread, where it may block, and return what it returns."""
        return self.portal.call(self._on_thread(function, args))

    async def _on_thread(self, function: t.Callable[..., T], args: tuple[t.Any, ...]) -> T:
        portal = self.portal
        # While it runs, who leaves or stops is told to the thread, not to the greenlet's task.
        task, portal.task = portal.task, None
        portal.context = contextvars.copy_context()
        try:
            return await portal.run_on_thread(
                self.means.workers, portal.context, _entered, portal, function, args
            )
        except asyncio.CancelledError:
            portal.interrupt()
            raise
        finally:
            portal.task = task


def _entered(portal: Portal, function: t.Callable[..., T], args: tuple[t.Any, ...]) -> T:
    portal.enter()
    return function(*args)


async def _drain(body: t.Any) -> None:
    at = body.record.size
    while piece := await body.piece_at(at):
        at += len(piece)


def portal_of(request: t.Any) -> Portal:
    """Return the portal of a request or a websocket's handshake."""
    if isinstance(request, BridgeRequest):
        return request._portal
    return t.cast(Portal, request.environ["rolo.portal"])


class StepsBody(LoopBody):
    """A body that is made step by step on the loop."""

    __slots__ = ("_ended", "_pieces", "_trailers")

    def __init__(self, pieces: t.AsyncIterator[bytes], trailers: RawHeaders) -> None:
        self._pieces = pieces
        self._trailers = trailers
        self._ended = False

    def __aiter__(self) -> t.AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await self._pieces.__anext__()
        except StopAsyncIteration:
            self._ended = True
            raise

    @property
    def trailers(self) -> RawHeaders:
        return self._trailers if self._ended else []
