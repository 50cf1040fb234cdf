"""Breaks answers off whose client takes nothing of them."""

from __future__ import annotations

import asyncio
import typing as t

from rolo.bridge.downstream import AnswerDownstream
from rolo.errors import SendTimeout
from rolo.net.body_stream import Sink
from rolo.net.ticker import Ticker


class TimedDownstream:
    """A downstream to which one answer is sent, with a clock. The maker closes it.

    :param task: sends the answer; it is cancelled when that takes too long
    :param limit: seconds without the client taking anything (of one piece, on servers that
        do not tell how far it has got)
    """

    __slots__ = (
        "_downstream",
        "_expired",
        "_limit",
        "_now",
        "_since",
        "_task",
        "_ticker",
        "_unacknowledged",
    )

    def __init__(
        self,
        downstream: AnswerDownstream,
        task: asyncio.Task[t.Any],
        limit: float,
        ticker: Ticker,
    ) -> None:
        self._downstream = downstream
        self._task = task
        self._limit = limit
        self._ticker = ticker
        self._now = task.get_loop().time
        self._expired = False
        self._since: float | None = None
        self._unacknowledged: int | None = None
        ticker.add(self, limit / 4)

    async def send_body(self, chunk: bytes) -> None:
        """As :meth:`AnswerDownstream.send_body`."""
        self._start_clock()
        await self._downstream.send_body(chunk)
        self._since = None

    def _start_clock(self) -> None:
        self._since = self._now()
        self._unacknowledged = None

    @property
    def sink(self) -> Sink | None:
        """As :attr:`AnswerDownstream.sink`, with the clock."""
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

    def look(self, now: float) -> None:
        """Break off if the client has taken nothing for too long; called by the ticker."""
        if self._since is None:
            return
        unacknowledged = self._downstream.unacknowledged
        if unacknowledged != self._unacknowledged:
            if self._unacknowledged is not None:
                self._since = now  # slow, but steady
            self._unacknowledged = unacknowledged
        if now - self._since >= self._limit:
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
        return SendTimeout(f"the client took nothing for {self._limit:g} s")

    def close(self) -> None:
        """The answer is over."""
        self._ticker.discard(self)
