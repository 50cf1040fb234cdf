"""The origin behind every subject: one asyncio protocol, as fast as Python allows.

::

    GET  /hello                13 bytes
    GET  /varied/...           13 bytes, with fields that differ from one answer to the next
    GET  /bytes/N              N bytes with a Content-Length
    GET  /chunked/N            N bytes, chunked
    *    /upload               swallows the body, answers its size in bytes
    GET  /sse?interval=S       an event at once, then every S seconds, for ever; its data is
                               the time it was sent (CLOCK_MONOTONIC, ns, 20 digits)
    GET  /ws                   websocket echo

``python -m benchmarks.origin`` listens on a free port of 127.0.0.1 and prints its number.
"""

from __future__ import annotations

import asyncio
import itertools
import signal
import time
import typing as t
import urllib.parse

import httptools

from benchmarks import eventloop
from benchmarks.frames import FrameEcho, accept_field

PIECE = bytes(65536)
CHUNK = b"%x\r\n%b\r\n" % (len(PIECE), PIECE)
HELLO = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world!"
SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: %b\r\n\r\n"
)
CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nTransfer-Encoding: chunked\r\n\r\n"


class Origin(asyncio.Protocol):
    """One connection, one request at a time (a proxy does not pipeline)."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._received = 0
        self._keep_alive = True
        self._paused = False
        self._pieces: t.Iterator[bytes] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._key = b""
        self._echo: FrameEcho | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = t.cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=4 * len(PIECE))

    def connection_lost(self, exc: Exception | None) -> None:
        self._pieces = None
        if self._timer:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        if self._echo is not None:
            self._echo_frames(data)
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._echo is not None:
                self._echo_frames(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._transport.close()

    def _echo_frames(self, data: bytes) -> None:
        assert self._echo is not None
        answer = self._echo.feed(data)
        if answer:
            self._transport.write(answer)
        if self._echo.closed:
            self._transport.close()

    def on_message_begin(self) -> None:
        self._url = b""
        self._received = 0

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"expect":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        elif name.lower() == b"sec-websocket-key":
            self._key = value

    def on_body(self, body: bytes) -> None:
        self._received += len(body)

    def on_message_complete(self) -> None:
        self._keep_alive = self._parser.should_keep_alive()
        path, _, query = self._url.partition(b"?")
        if path == b"/hello":
            self._send(iter([HELLO]))
        elif path.startswith(b"/varied/"):
            self._send(iter([_varied()]))
        elif path.startswith(b"/bytes/"):
            self._send(_sized(int(path[7:])))
        elif path.startswith(b"/chunked/"):
            self._send(_chunked(int(path[9:])))
        elif path == b"/upload":
            self._send(iter([_answer(b"200 OK", b"%d" % self._received)]))
        elif path == b"/sse":
            interval = float(urllib.parse.parse_qs(query)[b"interval"][0])
            self._transport.write(CHUNKED_HEAD % b"text/event-stream")
            self._tick(interval)
        elif path == b"/ws":
            self._transport.write(SWITCHING % accept_field(self._key))
            self._echo = FrameEcho()
        else:
            self._send(iter([_answer(b"404 Not Found", b"no such path")]))

    def _send(self, pieces: t.Iterator[bytes]) -> None:
        self._pieces = pieces
        self._pump()

    def _pump(self) -> None:
        while self._pieces and not self._paused:
            piece = next(self._pieces, None)
            if piece is not None:
                self._transport.write(piece)
                continue
            self._pieces = None
            if not self._keep_alive:
                self._transport.close()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._pump()

    def _tick(self, interval: float) -> None:
        if not self._paused:
            event = b"data: %020d\n\n" % time.monotonic_ns()
            self._transport.write(b"%x\r\n%b\r\n" % (len(event), event))
        self._timer = asyncio.get_running_loop().call_later(interval, self._tick, interval)


_numbers = itertools.count(1)


def _varied() -> bytes:
    number = next(_numbers)
    key = number * 2654435761 % 2**32
    return (
        b'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nETag: "%08x"\r\nX-Trace: %016x\r\n'
        b"Set-Cookie: seen=%d; Path=/%x\r\nCache-Control: max-age=%d\r\nContent-Length: 13\r\n\r\n"
        b"Hello, world!" % (key, number, number % 1009, key % 64, key % 600)
    )


def _answer(status: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b" % (
        status,
        len(body),
        body,
    )


def _sized(size: int) -> t.Iterator[bytes]:
    yield (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n"
        % size
    )
    for _ in range(size // len(PIECE)):
        yield PIECE
    yield PIECE[: size % len(PIECE)]


def _chunked(size: int) -> t.Iterator[bytes]:
    yield CHUNKED_HEAD % b"application/octet-stream"
    for _ in range(size // len(PIECE)):
        yield CHUNK
    rest = PIECE[: size % len(PIECE)]
    if rest:
        yield b"%x\r\n%b\r\n" % (len(rest), rest)
    yield b"0\r\n\r\n"


async def main() -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    server = await loop.create_server(Origin, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await stopped.wait()
    server.close()


if __name__ == "__main__":
    eventloop.run(main())
