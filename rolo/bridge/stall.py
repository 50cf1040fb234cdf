"""Breaks answers off whose client takes nothing of them."""

from __future__ import annotations

import asyncio
import typing as t

from rolo.bridge.downstream import HttpDownstream
from rolo.bridge.flow import Outlet
from rolo.errors import SendTimeout


class Stalls:
    """Looks at all streams of one loop from time to time: a timer for each piece that is
    sent would cost more than the sending.

    :param limit: seconds without the client taking anything (of one piece, on servers that
        do not tell how far it has got)
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, limit: float) -> None:
        self._loop = loop
        self.limit = limit
        self._sending: set[Sending] = set()
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, downstream: HttpDownstream, task: asyncio.Task[t.Any]) -> Sending:
        """Return ``downstream`` as ``task`` is to send to it. The caller closes it."""
        sending = Sending(downstream, task, self)
        self._sending.add(sending)
        if self._timer is None:
            self._wait()
        return sending

    def discard(self, sending: Sending) -> None:
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


class Sending:
    """A downstream to which one answer is sent, with a clock."""

    __slots__ = (
        "_downstream",
        "_expired",
        "_now",
        "_outstanding",
        "_since",
        "_stalls",
        "_task",
    )

    def __init__(
        self, downstream: HttpDownstream, task: asyncio.Task[t.Any], stalls: Stalls
    ) -> None:
        self._downstream = downstream
        self._task = task
        self._stalls = stalls
        self._now = task.get_loop().time
        self._expired = False
        self._since: float | None = None
        self._outstanding: int | None = None

    async def send_body(self, chunk: bytes) -> None:
        """As :meth:`HttpDownstream.send_body`."""
        self._start_clock()
        await self._downstream.send_body(chunk)
        self._since = None

    def _start_clock(self) -> None:
        self._since = self._now()
        self._outstanding = None

    @property
    def outlet(self) -> Outlet | None:
        """As :attr:`HttpDownstream.outlet`, with the clock."""
        return None if self._downstream.outlet is None else self

    def write(self, piece: bytes) -> bool:
        """As :meth:`Outlet.write`."""
        outlet = self._downstream.outlet
        assert outlet is not None
        return outlet.write(piece)

    async def drained(self) -> None:
        """As :meth:`Outlet.drained`."""
        outlet = self._downstream.outlet
        assert outlet is not None
        self._start_clock()
        await outlet.drained()
        self._since = None

    def look(self, now: float, limit: float) -> None:
        """Break off if the client has taken nothing for ``limit`` seconds."""
        if self._since is None:
            return
        outstanding = self._downstream.outstanding
        if outstanding != self._outstanding:
            if self._outstanding is not None:
                self._since = now  # slow, but steady
            self._outstanding = outstanding
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
        return SendTimeout(f"the client took nothing for {self._stalls.limit:g} s")

    def close(self) -> None:
        """The answer is over."""
        self._stalls.discard(self)
