"""Many small requests over a few connections: wrk where it is installed, else a client of ours."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import re
import shutil
import statistics
import subprocess
import time
import typing as t

from benchmarks import eventloop
from benchmarks.wire import MeasurementFailed, request_head


@dataclasses.dataclass(frozen=True)
class Load:
    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float


def run_load(port: int, path: str, connections: int, seconds: float) -> Load:
    """Keep ``connections`` busy with ``GET path``, one request at a time each.

    :raises MeasurementFailed: an answer was missing or not a success
    """
    wrk = shutil.which("wrk")
    # wrk counts in whole seconds.
    if wrk is None or seconds < 1:
        return run_requests(port, itertools.repeat(request_head("GET", path)), connections, seconds)
    command = [wrk, "-t1", f"-c{connections}", f"-d{round(seconds)}s", "--latency"]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{port}{path}"],
        capture_output=True,
        text=True,
        timeout=seconds + 30,
        check=True,
    )
    return parse_wrk(done.stdout)


def run_requests(port: int, requests: t.Iterator[bytes], connections: int, seconds: float) -> Load:
    """The same with one of ``requests`` after the other, by a client of ours."""
    return eventloop.run(_client_load(port, requests, connections, seconds))


def heads_that_differ() -> t.Iterator[bytes]:
    """Give requests of which no two are alike in path, query and several fields, as those of
    many users are: whoever remembers heads gains nothing."""
    for number in itertools.count(1):
        key = number * 2654435761 % 2**32
        yield request_head(
            "GET",
            f"/varied/{key:08x}/{number % 89}?page={number % 97}&sort={key % 7}",
            f"User-Agent: load/{key % 50}.{number % 10}",
            "Accept: text/html,application/json;q=0.9,*/*;q=0.8",
            f"Accept-Language: {('en', 'de', 'fr', 'ja')[key % 4]},en;q=0.5",
            f"Cookie: session={key:08x}{number:08x}; theme={number % 3}",
            f"X-Request-Id: {number:016x}",
            f'If-None-Match: "{key % 100003:x}"',
        )


def small_uploads() -> t.Iterator[bytes]:
    """Give requests with a body of 13 bytes."""
    head = request_head("POST", "/upload", "Content-Type: text/plain", "Content-Length: 13")
    return itertools.repeat(head + b"Hello, world!")


_MILLISECONDS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60000.0}


def parse_wrk(output: str) -> Load:
    """Read the report that ``wrk --latency`` prints."""

    def find(pattern: str) -> tuple[str, ...]:
        match = re.search(pattern, output)
        if match is None:
            raise MeasurementFailed(f"wrk said {output.strip()[-200:]!r}")
        return match.groups()

    def percentile(percent: int) -> float:
        number, unit = find(rf"\b{percent}%\s+([\d.]+)(us|ms|s|m)\b")
        return float(number) * _MILLISECONDS[unit]

    trouble = re.search(r"(Socket errors|Non-2xx).*", output)
    if trouble:
        raise MeasurementFailed(trouble.group())
    requests, number, unit = find(r"(\d+) requests in ([\d.]+)(ms|s|m),")
    seconds = float(number) * _MILLISECONDS[unit] / 1000
    return Load(int(requests), seconds, percentile(50), percentile(99))


class _Client(asyncio.Protocol):
    """One connection that asks again as soon as it has its answer."""

    def __init__(self, requests: t.Iterator[bytes], latencies: list[float]) -> None:
        import httptools

        self._requests = requests
        self._latencies = latencies
        self._new_parser: t.Callable[[], t.Any] = lambda: httptools.HttpResponseParser(self)
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = t.cast(asyncio.Transport, transport)
        self._ask()

    def _ask(self) -> None:
        self._parser = self._new_parser()
        self._started = time.perf_counter()
        self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._latencies.append(time.perf_counter() - self._started)
        if self._parser.get_status_code() != 200:
            self._transport.abort()
        else:
            # Not from within the parser's own callback.
            asyncio.get_running_loop().call_soon(self._ask)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(None)

    def close(self) -> None:
        self._transport.abort()


async def _client_load(
    port: int, requests: t.Iterator[bytes], connections: int, seconds: float
) -> Load:
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    started = time.perf_counter()
    clients = []
    for _ in range(connections):
        _, client = await loop.create_connection(
            lambda: _Client(requests, latencies), "127.0.0.1", port
        )
        clients.append(client)
    lost, _ = await asyncio.wait(
        [client.lost for client in clients], timeout=seconds, return_when=asyncio.FIRST_COMPLETED
    )
    elapsed = time.perf_counter() - started
    for client in clients:
        client.close()
    await asyncio.wait([client.lost for client in clients], timeout=5)
    if lost or len(latencies) < 2:
        raise MeasurementFailed("a connection broke, or an answer was no 200")
    percentiles = statistics.quantiles(latencies, n=100)
    return Load(len(latencies), elapsed, percentiles[49] * 1000, percentiles[98] * 1000)
