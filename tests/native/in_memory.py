"""Connections of the native server without sockets, on a clock of the test's own."""

import asyncio
import types

from native_support import answer

from rolo.native.connection import NativeSettings, ServerState

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Client(asyncio.Transport):
    """A client in memory: what it was sent, and what was done to its connection."""

    def __init__(self, state, peer=("10.0.0.1", 5000), local=("10.0.0.2", 80)):
        super().__init__({"peername": peer, "sockname": local})
        self.sent = b""
        self.done = []
        self.reading = True
        self.high = None
        self.unsent = 0
        self._closing = False
        self.connection = state.connection()
        self.connection.connection_made(self)

    def send(self, data):
        """Have ``data`` read, in as many reads as its buffer makes of it."""
        while data:
            window = self.connection.get_buffer(-1)
            size = min(len(data), len(window))
            window[:size] = data[:size]
            self.connection.buffer_updated(size)
            data = data[size:]

    def take(self):
        """Return what was sent since the last time."""
        sent, self.sent = self.sent, b""
        return sent

    def leave(self):
        self.connection.connection_lost(None)

    @property
    def status(self):
        """The status of the answer it was sent last; ``None`` for none."""
        return int(self.sent.rpartition(b"HTTP/1.1 ")[2][:3]) if self.sent else None

    # --- what a transport has

    def is_closing(self):
        return self._closing

    def write(self, data):
        self.sent += data

    def writelines(self, pieces):
        self.sent += b"".join(pieces)

    def set_protocol(self, protocol):
        self.connection = protocol

    def get_write_buffer_size(self):
        return self.unsent

    def can_write_eof(self):
        return True

    def write_eof(self):
        self.done.append("eof")

    def close(self):
        self._closing = True
        self.done.append("close")

    def abort(self):
        self._closing = True
        self.done.append("abort")

    def pause_reading(self):
        self.reading = False

    def resume_reading(self):
        self.reading = True

    def set_write_buffer_limits(self, high=None, low=None):
        self.high = high


async def turns(count=5):
    for _ in range(count):
        await asyncio.sleep(0)


class Handler:
    """Answers ``hello``, or does what ``http`` and ``websocket`` say."""

    def __init__(self):
        self.http = self.websocket = None
        self.seen = []

    async def handle_http(self, d):
        self.seen.append(d)
        if self.http is not None:
            await self.http(d)
        else:
            await answer(d, b"hello")

    async def handle_websocket(self, d):
        self.seen.append(d)
        if self.websocket is not None:
            await self.websocket(d)


def serving(*, http2=False, **settings):
    """Run the test, a coroutine function, with ``(state, handler, clock)``. The clock's ``now``
    is what the loop then takes for the time."""

    def decorate(test):
        async def main():
            handler = Handler()
            state = ServerState(handler, NativeSettings(**settings), http2=http2)
            clock = types.SimpleNamespace(now=1000.0)
            state.loop.time = lambda: clock.now
            try:
                await asyncio.wait_for(test(state, handler, clock), None)
            finally:
                del state.loop.time
                for connection in list(state.connections):
                    for task in connection.tasks:
                        task.cancel()
                    connection.connection_lost(None)
                await turns()
                await state.shutdown(0)

        def run():
            asyncio.run(main())

        run.__name__, run.__doc__ = test.__name__, test.__doc__
        return run

    return decorate


def passes(state, clock, seconds):
    """Let the time pass, and look at what is over."""
    clock.now += seconds
    state.look(clock.now)
