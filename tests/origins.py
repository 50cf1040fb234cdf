"""Origins that misbehave on purpose: raw sockets on the running loop, told what to do.

A script is a coroutine that gets a :class:`Wire` per connection::

    async def early_refusal(wire):
        await wire.head()
        await wire.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")

    async with scripted_origin(early_refusal) as origin:
        ...  # origin.host, origin.port, origin.connections, origin.heads

The connection ends with the script. :func:`run` runs a test's coroutine and sees to it
that nothing is left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import socket
import ssl
import struct
import threading
import typing as t

Script = t.Callable[["Wire"], t.Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_PATIENCE = 5.0


@dataclasses.dataclass
class ScriptedOrigin:
    """What a scripted origin has seen so far."""

    host: str = ""
    port: int = 0
    path: str | None = None
    """Of the UNIX socket, if it listens on one."""
    connections: int = 0
    open: int = 0
    most_open: int = 0
    heads: list[bytes] = dataclasses.field(default_factory=list)
    bodies: list[bytes] = dataclasses.field(default_factory=list)
    failures: list[BaseException] = dataclasses.field(default_factory=list)
    changed: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    async def until(self, condition: t.Callable[[], bool]) -> None:
        """Wait until ``condition`` holds; looked at whenever a connection comes or goes."""
        async with asyncio.timeout(_PATIENCE):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    def _count(self, by: int) -> None:
        self.open += by
        self.most_open = max(self.most_open, self.open)
        self.changed.set()


class Wire:
    """The origin's end of one connection."""

    def __init__(
        self, origin: ScriptedOrigin, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.origin = origin
        self.number = origin.connections
        """1 for the first connection."""
        self.reader = reader
        self.writer = writer

    async def head(self) -> bytes:
        """Read a request head, blank line included; raises ``EOFError`` at the end."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        self.origin.heads.append(head)
        self.origin.changed.set()
        return head

    async def body(self, length: int) -> bytes:
        body = await self.reader.readexactly(length)
        self.origin.bodies.append(body)
        return body

    async def chunked(self) -> bytes:
        """Read a chunked body; keeps it whole, trailers and all, in ``origin.bodies``."""
        raw: list[bytes] = []
        data: list[bytes] = []
        while True:
            line = await self.reader.readuntil(b"\r\n")
            raw.append(line)
            if (size := int(line, 16)) == 0:
                break
            chunk = await self.reader.readexactly(size + 2)
            raw.append(chunk)
            data.append(chunk[:-2])
        while (line := await self.reader.readuntil(b"\r\n")) != b"\r\n":
            raw.append(line)
        self.origin.bodies.append(b"".join([*raw, b"\r\n"]))
        return b"".join(data)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def dribble(self, data: bytes) -> None:
        """Send byte by byte, each as a packet of its own as far as the kernel goes along."""
        for i in range(len(data)):
            await self.send(data[i : i + 1])
            await asyncio.sleep(0)

    async def gone(self) -> None:
        """Wait until the other side has closed; what it still sends is dropped."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(65536):
                pass

    def reset(self) -> None:
        """End the connection with a RST at once."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@contextlib.asynccontextmanager
async def scripted_origin(
    script: Script,
    *,
    host: str = "127.0.0.1",
    path: str | None = None,
    context: ssl.SSLContext | None = None,
) -> t.AsyncIterator[ScriptedOrigin]:
    """Serve ``script`` on a free port (or on the UNIX socket ``path``).

    On leaving, a script's own failure is raised; the connections' failures are not.
    """
    origin = ScriptedOrigin(path=path)
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        origin.connections += 1
        origin._count(+1)
        try:
            await script(Wire(origin, reader, writer))
        except (EOFError, ConnectionError):
            pass
        except Exception as failure:  # noqa: BLE001 - raised by scripted_origin
            origin.failures.append(failure)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            origin._count(-1)

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    if path is not None:
        server = await asyncio.start_unix_server(connected, path, ssl=context)
    else:
        server = await asyncio.start_server(connected, host, 0, ssl=context)
        origin.host, origin.port = server.sockets[0].getsockname()[:2]
    try:
        yield origin
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if origin.failures:
        raise origin.failures[0]


def answering(response: bytes, *, then: t.Literal["wait", "close", "reset"] = "wait") -> Script:
    """Answer every bodiless request with ``response``; or the first, and end."""

    async def script(wire: Wire) -> None:
        while True:
            await wire.head()
            await wire.send(response)
            if then == "reset":
                wire.reset()
            if then != "wait":
                return

    return script


async def silent(wire: Wire) -> None:
    """Take the request and never answer."""
    await wire.gone()


async def reset_before_head(wire: Wire) -> None:
    await wire.head()
    wire.reset()


async def eventually(condition: t.Callable[[], bool]) -> None:
    """Wait, turning the loop, until ``condition`` holds: for what no event tells of."""
    async with asyncio.timeout(_PATIENCE):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0)


def run(
    test: t.Callable[[], t.Coroutine[t.Any, t.Any, None]],
    *,
    loop_factory: t.Callable[[], asyncio.AbstractEventLoop] | None = None,
    timeout: float = 20.0,
) -> None:
    """Run ``test`` on a new loop; fails if it takes too long or leaves tasks or threads."""

    async def guarded() -> None:
        me = asyncio.current_task()
        async with asyncio.timeout(timeout):
            await test()
        left = [task for task in asyncio.all_tasks() if task is not me]
        if left:
            await asyncio.wait(left, timeout=1)
        assert [task for task in left if not task.done()] == []

    before = set(threading.enumerate())
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(guarded())
    assert [thread for thread in threading.enumerate() if thread not in before] == []
