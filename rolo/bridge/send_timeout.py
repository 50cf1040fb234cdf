"""Breaks answers off whose client takes nothing of them."""

from __future__ import annotations

import asyncio
import typing as t

from rolo.bridge.downstream import HttpDownstream
from rolo.errors import SendTimeout
from rolo.net.body_stream import Sink


class SendTimeouts:
    """Looks at all streams of one loop from time to time: a timer for each piece that is
    sent would cost more than the sending.

    :param limit: seconds without the client taking anything (of one piece, on servers that
        do not tell how far it has got)
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, limit: float) -> None:
        self._loop = loop
        self.limit = limit
        self._sending: set[TimedDownstream] = set()
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, downstream: HttpDownstream, task: asyncio.Task[t.Any]) -> TimedDownstream:
        """Return ``downstream`` as ``task`` is to send to it. The caller closes it."""
        sending = TimedDownstream(downstream, task, self)
        self._sending.add(sending)
        if self._timer is None:
            self._wait()
        return sending

    def discard(self, sending: TimedDownstream) -> None:
        self._sending.discard(sending)

    def _wait(self) -> None:
        self._timer = self._loop.call_later(self.limit / 4, self._look)

    def _look(self) -> None:
        self._timer = None
        now = self._loop.time()
        for sending in list(self._sending):
            sending.look(now, self.limit)
        if self._sending:
            self._wait()

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class TimedDownstream:
    """A downstream to which one answer is sent, with a clock."""

    __slots__ = (
        "_downstream",
        "_expired",
        "_now",
        "_since",
        "_task",
        "_timeouts",
        "_unacknowledged",
    )

    def __init__(
        self, downstream: HttpDownstream, task: asyncio.Task[t.Any], timeouts: SendTimeouts
    ) -> None:
        self._downstream = downstream
        self._task = task
        self._timeouts = timeouts
        self._now = task.get_loop().time
        self._expired = False
        self._since: float | None = None
        self._unacknowledged: int | None = None

    async def send_body(self, chunk: bytes) -> None:
        """As :meth:`HttpDownstream.send_body`."""
        self._start_clock()
        await self._downstream.send_body(chunk)
        self._since = None

    def _start_clock(self) -> None:
        self._since = self._now()
        self._unacknowledged = None

    @property
    def sink(self) -> Sink | None:
        """As :attr:`HttpDownstream.sink`, with the clock."""
        return None if self._downstream.sink is None else self

    def write(self, piece: bytes) -> bool:
        """As :meth:`Sink.write`."""
        sink = self._downstream.sink
        assert sink is not None
        return sink.write(piece)

    async def drained(self) -> None:
        """As :meth:`Sink.drained`."""
        sink = self._downstream.sink
        assert sink is not None
        self._start_clock()
        await sink.drained()
        self._since = None

    def look(self, now: float, limit: float) -> None:
        """Break off if the client has taken nothing for ``limit`` seconds."""
        if self._since is None:
            return
        unacknowledged = self._downstream.unacknowledged
        if unacknowledged != self._unacknowledged:
            if self._unacknowledged is not None:
                self._since = now  # slow, but steady
            self._unacknowledged = unacknowledged
        if now - self._since >= limit:
            self._since = None
            self._expired = True
            self._task.cancel()

    def translate_cancel(self, exc: asyncio.CancelledError) -> BaseException:
        """Return what a cancelled wait means: :class:`SendTimeout` if the clock caused it,
        else ``exc`` itself."""
        if not self._expired:
            return exc
        self._expired = False
        self._task.uncancel()
        return SendTimeout(f"the client took nothing for {self._timeouts.limit:g} s")

    def close(self) -> None:
        """The answer is over."""
        self._timeouts.discard(self)
