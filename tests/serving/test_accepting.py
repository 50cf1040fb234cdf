"""Accepting connections: when there is no file left for them, and when the server stops."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import socket
import subprocess
import sys
import threading
import typing as t

import pytest
from serving_support import Client, fetch, need

from rolo import Response
from rolo.gateway import Gateway
from rolo.serving import SERVERS, serve
from rolo.serving.loop import loop_factory
from rolo.serving.native import start
from rolo.serving.sockets import listen

FEW_FILES = """
import logging, resource, signal, sys, time
from rolo import Response, Router
from rolo.serving import serve

resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))
logging.basicConfig(format="%(message)s")

def stream(request, args):
    def ticks():
        while True:
            yield b"tick"
            time.sleep(0.02)
    return Response(ticks())

router = Router()
router.add("/stream", stream)
router.add("/hello", lambda request, args: Response("hello"))
name, loop = sys.argv[1].split("-")
server = serve(router, server=name, loop=loop, shutdown_timeout=0.1)
print(server.port, flush=True)
sys.stdin.read()
server.shutdown()
"""


@pytest.mark.parametrize("server", ["native-asyncio", "native-uvloop", "werkzeug-asyncio"])
def test_a_server_without_files_says_so_sparely_keeps_its_streams_and_recovers(
    server: str, tmp_path: pathlib.Path
) -> None:
    if server.endswith("uvloop"):
        pytest.importorskip("uvloop")
    log = tmp_path / "log"
    with contextlib.ExitStack() as held, log.open("w") as err:
        command = [sys.executable, "-c", FEW_FILES, server]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=err)
        held.enter_context(process)
        held.callback(process.kill)
        port = int(t.cast(t.IO[bytes], process.stdout).readline())
        stream = held.enter_context(Client(port))
        stream.get("/stream")
        with contextlib.ExitStack() as crowd:
            for _ in range(100):
                crowd.enter_context(Client(port))
            while b"no connection is accepted" not in log.read_bytes():
                go_on(stream)
        go_on(stream)
        assert fetch(port, "/hello").endswith(b"hello")
        go_on(stream)
        stream.sock.close()
        t.cast(t.IO[bytes], process.stdin).close()
        assert process.wait(20) == 0
    lines = log.read_text().splitlines()
    assert len(lines) <= 10, lines[:20]  # one for each second that it lasted


def go_on(stream: Client) -> None:
    stream.received = b""
    stream.until(b"tick")


@pytest.fixture(params=sorted(SERVERS))
def any_server(request: pytest.FixtureRequest) -> str:
    return need(request.param)


def test_who_connects_while_a_server_stops_is_not_left_waiting(any_server: str) -> None:
    running, go = threading.Event(), threading.Event()

    def handle(chain: t.Any, context: t.Any, response: Response) -> None:
        if context.request.path == "/first":
            running.set()
            go.wait(10)
        chain.respond(200, "finished")

    server = serve(Gateway([handle]), server=any_server, mode="threads")
    stopping = threading.Thread(target=server.shutdown)
    with Client(server.port) as first:
        first.get("/first")
        assert running.wait(10)
        stopping.start()
        try:
            # The first ones may still be served. All are told before the drain is over.
            for _ in range(3):
                with contextlib.suppress(ConnectionError), Client(server.port) as late:
                    late.get("/late", "Connection: close")
                    late.all()
        finally:
            go.set()
            stopping.join(10)
        assert first.all().endswith(b"finished")


@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
def test_what_waits_in_the_kernel_at_the_end_is_answered(kind: str) -> None:
    if kind == "uvloop":
        pytest.importorskip("uvloop")

    async def main() -> list[bytes]:
        server = await start(t.cast(t.Any, None), sock=listen("127.0.0.1", 0))
        address = server.sockets[0].getsockname()
        # The loop has no turn in between: the kernel alone knows of them.
        clients = [socket.create_connection(address, 5) for _ in range(200)]
        answers = asyncio.create_task(asyncio.to_thread(read, clients))
        await server.close()
        return await answers

    def read(clients: list[socket.socket]) -> list[bytes]:
        answers = []
        for client in clients:
            with client:
                answers.append(client.recv(100))
        return answers

    with asyncio.Runner(loop_factory=loop_factory(t.cast(t.Any, kind))) as runner:
        answers = runner.run(main())
    assert all(answer.startswith(b"HTTP/1.1 503 ") for answer in answers)
