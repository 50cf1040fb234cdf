"""Origins in memory, on a clock of the test's own, for the transport of the loop."""

import asyncio
import types

from rolo.upstream.request import UpstreamRequest
from rolo.upstream.settings import PoolLimits, Timeouts
from rolo.upstream.transport import LoopTransport
from rolo.wire.target import Origin

ORIGIN = Origin("http", "origin", 80)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class NoSocket:
    """Of which the kernel knows nothing."""

    def fileno(self):
        return -1

    def dup(self):
        raise OSError("there is none")

    def setsockopt(self, *option):
        raise OSError("there is none")


class Connected(asyncio.Transport):
    """An origin's end of one connection: what it was sent, and what was done to it."""

    def __init__(self, connection):
        super().__init__({"socket": NoSocket()})
        self.connection = connection
        self.received = b""
        self.writes = []
        self.done = []
        self.reading = True
        self.unsent = 0
        self._closing = False
        connection.connection_made(self)

    def send(self, data):
        """Have ``data`` read, in as many reads as the buffer makes of it."""
        while data and not self._closing:
            window = self.connection.get_buffer(-1)
            size = min(len(data), len(window))
            window[:size] = data[:size]
            self.connection.buffer_updated(size)
            data = data[size:]

    def ends(self):
        """Say that nothing more will come."""
        self.connection.eof_received()

    def breaks(self, error=None):
        self._closing = True
        self.connection.connection_lost(error)

    # --- what a transport has

    def is_closing(self):
        return self._closing

    def write(self, data):
        self.received += data
        self.writes.append(len(data))

    def writelines(self, pieces):
        self.write(b"".join(pieces))

    def get_write_buffer_size(self):
        return self.unsent

    def can_write_eof(self):
        return True

    def write_eof(self):
        self.done.append("eof")

    def close(self):
        self._end("close")

    def abort(self):
        self._end("abort")

    def _end(self, how):
        self.done.append(how)
        if not self._closing:
            self._closing = True
            asyncio.get_running_loop().call_soon(self.connection.connection_lost, None)

    def pause_reading(self):
        self.reading = False

    def resume_reading(self):
        self.reading = True


class World:
    """``connections`` so far, the last of which is ``origin``; ``passes`` lets time pass."""

    def __init__(self, transport, clock):
        self.transport = transport
        self.connections = []
        self.tasks = []
        self._clock = clock
        self.reachable = asyncio.Event()
        self.reachable.set()
        self.refuses = None
        """What dialling raises."""

    @property
    def origin(self):
        return self.connections[-1]

    async def dial(self, origin, factory):
        await self.reachable.wait()
        if self.refuses is not None:
            raise self.refuses
        connection = factory()
        self.connections.append(Connected(connection))
        return connection

    def close(self):
        """As a dialer has it."""

    async def sending(self, body=None, method=None, on_interim=None, **fields):
        """Begin a request; returns its task once it is on its way."""
        method = method or ("GET" if body is None else "PUT")
        request = UpstreamRequest(ORIGIN, method, b"/", [(b"Host", b"o")], body=body, **fields)
        task = asyncio.create_task(self.transport.send(request, on_interim=on_interim))
        self.tasks.append(task)
        await turns()
        return task

    async def answered(self, answer=OK, **request):
        """Send a request, answer it, and return what the transport gives."""
        task = await self.sending(**request)
        self.origin.send(answer)
        await turns()
        return task.result()

    async def passes(self, seconds):
        self._clock.now += seconds
        await turns()


async def turns(count=8):
    for _ in range(count):
        await asyncio.sleep(0)


def with_origin(*, buffer=None, timeouts=None, limits=None, **options):
    """Run the test, a coroutine function, with a :class:`World`."""
    times = {"connect": None, "response": None, "idle": None, **(timeouts or {})}

    def decorate(test):
        async def main():
            transport = LoopTransport(
                timeouts=Timeouts(**times), limits=PoolLimits(**(limits or {})), **options
            )
            loop, clock = asyncio.get_running_loop(), types.SimpleNamespace(now=1000.0)
            world = World(transport, clock)
            transport._dialer = world
            loop.time = lambda: clock.now
            try:
                await test(world)
            finally:
                for task in world.tasks:
                    task.cancel()
                await asyncio.gather(*world.tasks, return_exceptions=True)
                await turns()
                del loop.time
                await transport.close()

        def run():
            asyncio.run(main())

        run.__name__, run.__doc__ = test.__name__, test.__doc__
        return run

    return decorate
