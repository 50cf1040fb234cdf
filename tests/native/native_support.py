"""A native server in a thread, with handlers on its loop that tests can watch."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import time
import typing as t

from wire import Wire

from rolo.native.connection import NativeSettings, ServerState
from rolo.serving.loop import LoopThread, loop_factory
from rolo.serving.native import start

DEADLINE = 5.0


class Running:
    """``seen`` holds what handlers noted; ``serve_http``/``serve_websocket`` are replaceable."""

    def __init__(self, kind="uvloop", tls=None, uds=None, http2=False, **settings):
        self.seen: queue.Queue[t.Any] = queue.Queue()
        self.server_state: ServerState
        self.port = 0
        self._tls, self._uds, self._http2 = tls, uds, http2
        self._settings = NativeSettings(**settings)
        self._thread = LoopThread("native-under-test", self._main, loop_factory(kind))
        self.http: t.Callable[..., t.Awaitable[None]] = hello
        self.websocket: t.Callable[..., t.Awaitable[None]] | None = None
        self._thread.start()

    async def _main(self, lifetime):
        server = await start(
            self, ssl=self._tls, uds=self._uds, settings=self._settings, http2=self._http2
        )
        self.server_state = server.server_state
        self.loop = asyncio.get_running_loop()
        if self._uds is None:
            self.port = server.sockets[0].getsockname()[1]
        lifetime.ready()
        await server.close(await lifetime.stopping())
        self.seen.put(("connections left", len(self.server_state.connections)))

    async def handle_http(self, downstream):
        await self.http(self, downstream)

    async def handle_websocket(self, downstream):
        assert self.websocket is not None
        await self.websocket(self, downstream)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def wire(self):
        return Wire(self.url, DEADLINE)

    def next(self):
        return self.seen.get(timeout=DEADLINE)

    def stop(self, grace=0.5):
        self._thread.stop(grace)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()


async def hello(server, d):
    await answer(d, b"hello")


async def answer(d, body, status=200, headers=()):
    fields = [*headers, (b"Content-Length", b"%d" % len(body))]
    await d.send_complete(status, b"OK", fields, body)


async def read_all(d):
    pieces = []
    while piece := await d.receive_body():
        pieces.append(piece)
    return b"".join(pieces)


def wait_until(condition, seconds=DEADLINE):
    """Wait for something that gives no event; fails when ``seconds`` have passed."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


@contextlib.contextmanager
def running(handler=None, **settings):
    with Running(**settings) as server:
        if handler is not None:
            server.http = handler
        yield server
