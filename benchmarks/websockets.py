"""Websocket clients on bare asyncio protocols: ping-pong on a few, or many that mostly wait."""

from __future__ import annotations

import asyncio
import dataclasses
import time
import typing as t

from benchmarks import eventloop
from benchmarks.frames import frame_header
from benchmarks.wire import MeasurementFailed, request_head

OPEN_TIMEOUT = 60.0
OPENING_AT_ONCE = 50
FINAL_BINARY = 0x82
HANDSHAKE = request_head(
    "GET",
    "/ws",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


class Client(asyncio.Protocol):
    """One socket with one message on its way at a time, always of the same size."""

    def __init__(self, size: int) -> None:
        self._message = frame_header(FINAL_BINARY, size, masked=True) + bytes(size)
        self._echo_size = len(frame_header(FINAL_BINARY, size, masked=False)) + size
        self._received = b""
        self._missing = 0
        self._waiter: asyncio.Future[None] | None = None
        self._upgraded = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = t.cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if not self._upgraded:
            self._received += data
            if b"\r\n\r\n" in self._received:
                self._upgraded = self._received.startswith(b"HTTP/1.1 101 ")
                self._wake(None if self._upgraded else "handshake refused")
            return
        self._missing -= len(data)
        if self._missing <= 0:
            self._wake(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._wake("connection lost")

    def _wake(self, trouble: str | None) -> None:
        if self._waiter is None or self._waiter.done():
            return
        if trouble is None:
            self._waiter.set_result(None)
        else:
            self._waiter.set_exception(MeasurementFailed(trouble))

    async def _send_and_wait(self, data: bytes) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        self._transport.write(data)
        await self._waiter

    async def handshake(self) -> None:
        """:raises MeasurementFailed: refused or lost"""
        await self._send_and_wait(HANDSHAKE)

    async def echo(self) -> None:
        """Send a message and wait for as many bytes as its echo has."""
        self._missing = self._echo_size
        await self._send_and_wait(self._message)

    def close(self) -> None:
        self._transport.abort()


async def _open_all(port: int, count: int, size: int, clients: list[Client]) -> None:
    gate = asyncio.Semaphore(OPENING_AT_ONCE)

    async def open_one() -> None:
        async with gate:
            loop = asyncio.get_running_loop()
            _, client = await loop.create_connection(lambda: Client(size), "127.0.0.1", port)
            clients.append(client)
            await client.handshake()

    try:
        await asyncio.wait_for(asyncio.gather(*(open_one() for _ in range(count))), OPEN_TIMEOUT)
    except TimeoutError as exc:
        raise MeasurementFailed(f"only {len(clients)} of {count} sockets opened") from exc
    except (OSError, MeasurementFailed) as exc:
        raise MeasurementFailed(f"socket {len(clients)} of {count}: {exc}") from exc


async def _close_all(clients: list[Client]) -> None:
    for client in clients:
        client.close()
    # One turn of the loop, for the transports to close.
    await asyncio.sleep(0)


@dataclasses.dataclass(frozen=True)
class PingPong:
    seconds: float
    latencies_ms: list[float]


def run_ping_pong(
    port: int, connections: int, size: int, seconds: float, opened: t.Callable[[], None]
) -> PingPong:
    """Echo messages of ``size`` bytes on ``connections`` sockets for ``seconds``.

    :param opened: called when all sockets are open, before the first message
    :raises MeasurementFailed: a socket was refused or lost
    """
    latencies: list[float] = []

    async def play(client: Client, end: float) -> None:
        started = time.perf_counter()
        while started < end:
            await client.echo()
            now = time.perf_counter()
            latencies.append((now - started) * 1000)
            started = now

    async def main() -> PingPong:
        clients: list[Client] = []
        try:
            await _open_all(port, connections, size, clients)
            opened()
            started = time.perf_counter()
            games = (play(client, started + seconds) for client in clients)
            await asyncio.wait_for(asyncio.gather(*games), seconds + 30)
            return PingPong(time.perf_counter() - started, latencies)
        finally:
            await _close_all(clients)

    return eventloop.run(main())


def run_idle(port: int, count: int, opened: t.Callable[[], None]) -> float:
    """Hold ``count`` sockets that have echoed once, then echo once on each again.

    :param opened: called when all are open and idle
    :return: the seconds of the last echoes, all asked for at the same time
    :raises MeasurementFailed: a socket was refused, lost, or did not echo
    """

    async def main() -> float:
        clients: list[Client] = []
        try:
            await _open_all(port, count, 64, clients)
            for client in clients:
                await asyncio.wait_for(client.echo(), 30)
            opened()
            started = time.perf_counter()
            await asyncio.wait_for(asyncio.gather(*(client.echo() for client in clients)), 30)
            return time.perf_counter() - started
        except TimeoutError as exc:
            raise MeasurementFailed("an echo did not come within 30 s") from exc
        finally:
            await _close_all(clients)

    return eventloop.run(main())
