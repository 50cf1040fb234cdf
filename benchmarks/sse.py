"""Many event streams at once: how soon the first event comes, and how late the others are."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import re
import time
import typing as t

from benchmarks import eventloop
from benchmarks.wire import MeasurementFailed, request_head

# The origin's time stamp has a fixed width, so that chunk framing cannot pass for digits.
EVENT = re.compile(rb"data: (\d{20})\n\n")
EVENT_SIZE = 28
OPEN_TIMEOUT = 30.0
OPENING_AT_ONCE = 50


@dataclasses.dataclass(frozen=True)
class Streams:
    """What ``opened`` streams saw; times in milliseconds."""

    opened: int
    first_ms: list[float]
    lag_ms: list[float]


class _Stream(asyncio.Protocol):
    def __init__(self, request: bytes, lags: list[float]) -> None:
        self._request = request
        self._lags = lags
        self._rest = b""
        self._first: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = t.cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        received = self._rest + data
        end = 0
        for match in EVENT.finditer(received):
            end = match.end()
            self._lags.append((now - int(match[1])) / 1e6)
            if not self._first.done():
                self._first.set_result(time.perf_counter())
        self._rest = received[max(end, len(received) - EVENT_SIZE) :]

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._first.done():
            self._first.cancel()

    async def first_event(self) -> float:
        """Return when the first event came (``time.perf_counter``)."""
        return await self._first

    def close(self) -> None:
        self._transport.abort()


def run_streams(
    port: int,
    count: int,
    interval: float,
    seconds: float,
    opened: t.Callable[[], None],
    closing: t.Callable[[int], None],
) -> Streams:
    """Open ``count`` streams with an event every ``interval`` seconds, listen, close them.

    :param seconds: how long to listen once all are open
    :param opened: called when that begins, with all streams open
    :param closing: called at its end with the number of events since, all streams still open
    :raises MeasurementFailed: fewer than half could be opened in time
    """

    async def main() -> Streams:
        lags: list[float] = []
        streams: list[_Stream] = []
        firsts: list[float] = []
        try:
            await _open_all(port, count, interval, lags, streams, firsts)
            if len(firsts) < count / 2:
                raise MeasurementFailed(f"only {len(firsts)} of {count} streams began")
            lags.clear()
            opened()
            await asyncio.sleep(seconds)
            closing(len(lags))
            return Streams(len(firsts), firsts, list(lags))
        finally:
            for stream in streams:
                stream.close()
            # One turn of the loop, for the transports to close.
            await asyncio.sleep(0)

    return eventloop.run(main())


async def _open_all(
    port: int,
    count: int,
    interval: float,
    lags: list[float],
    streams: list[_Stream],
    firsts: list[float],
) -> None:
    loop = asyncio.get_running_loop()
    gate = asyncio.Semaphore(OPENING_AT_ONCE)
    request = request_head("GET", f"/sse?interval={interval:g}", "Accept: text/event-stream")

    async def open_one() -> None:
        async with gate:
            started = time.perf_counter()
            _, stream = await loop.create_connection(
                lambda: _Stream(request, lags), "127.0.0.1", port
            )
            streams.append(stream)
            firsts.append((await stream.first_event() - started) * 1000)

    openers = [asyncio.create_task(open_one()) for _ in range(count)]
    _, late = await asyncio.wait(openers, timeout=OPEN_TIMEOUT)
    for opener in late:
        opener.cancel()
    for opener in openers:
        with contextlib.suppress(asyncio.CancelledError, OSError):
            await opener
