"""Back-pressure: what a slow side costs in memory, measured on the process of the command."""

import contextlib
import os
import re
import selectors
import socket
import subprocess
import sys
import threading

import pytest
from commanded import Commanded, installed
from h2.events import StreamEnded
from h2wire import H2Client
from wire import Wire, fetch

EXCHANGES = 40
KIB = 1024

needs_proc = pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs /proc")


@contextlib.contextmanager
def command(*args):
    """Run ``rolo proxy``; yields its process id and its port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "rolo", "proxy", *args, "--listen", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        line = process.stdout.readline()
        yield process.pid, int(re.search(r":(\d+), forwarding", line)[1])
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()


def resident(pid):
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Peers:
    """Pairs of a client and the connection of the origin that its request came over."""

    def __init__(self, stack, port, listener):
        self._stack = stack
        self._port = port
        self._listener = listener

    def open(self, head):
        # Small, so that the kernel does not hold what the proxy should.
        client = self._stack.enter_context(socket.socket())
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * KIB)
        client.settimeout(10)
        client.connect(("127.0.0.1", self._port))
        client.sendall(head)
        origin = self._stack.enter_context(self._listener.accept()[0])
        origin.settimeout(10)
        received = b""
        while b"\r\n\r\n" not in received:
            received += origin.recv(65536)
        return client, origin


@contextlib.contextmanager
def peers(*options):
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=100))
        listener.settimeout(10)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        pid, port = stack.enter_context(command(url, *options, "--no-access-log"))
        yield pid, Peers(stack, port, listener)


def fill(sockets):
    """Send all that is taken, until nobody has taken anything for a while."""
    piece = b"x" * 64 * KIB
    for sock in sockets:
        sock.setblocking(False)
    with selectors.DefaultSelector() as selector:
        for sock in sockets:
            selector.register(sock, selectors.EVENT_WRITE)
        total = 0
        while ready := selector.select(0.3):
            for key, _ in ready:
                with contextlib.suppress(BlockingIOError):
                    total += key.fileobj.send(piece)
    return total


def download(some, number):
    """Begin an answer without an end; return what sends it."""
    _, origin = some.open(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number)
    origin.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
    return origin


def upload(some, number):
    """Begin a request without an end; return what sends it."""
    head = b"POST /%d HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n"
    return some.open(head % number)[0]


def warm_up(some):
    for number in range(5):
        client, origin = some.open(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number)
        origin.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        client.recv(1000)


def held(pid, some, begin):
    """Return how many bytes the process holds for each exchange whose reader never reads."""
    senders = [begin(some, number) for number in range(EXCHANGES)]
    before = resident(pid)
    sent = fill(senders)
    assert sent > EXCHANGES * 512 * KIB  # the senders were held up, not the test
    return (resident(pid) - before) / EXCHANGES


# Server and mode, and what is held of a download and of an upload, as docs/limits-and-timeouts.md
# states it: 256 KiB are ours, the rest is in the servers and not ours to bound.
BOUNDS = [
    ("native", "loop", 256, 256),
    ("uvicorn", "threads", 512, 1024),
    ("hypercorn", "loop", 384, 1280),
    ("granian", "loop", 1536, 2048),
    ("twisted", "loop", 384, 384),
]


@needs_proc
@pytest.mark.parametrize(
    ("server", "mode", "down", "up"), BOUNDS, ids=[f"{b[0]}-{b[1]}" for b in BOUNDS]
)
def test_what_is_held_for_a_slow_side_is_bounded(server, mode, down, up):
    with peers("--server", installed(server), "--mode", mode) as (pid, some):
        warm_up(some)
        assert held(pid, some, download) < down * KIB
        assert held(pid, some, upload) < up * KIB


@needs_proc
@pytest.mark.parametrize(("mode", "down"), [("loop", 384), ("threads", 640)])
def test_what_is_held_behind_a_hook_is_bounded(tmp_path, mode, down):
    script = tmp_path / "hooks.py"
    script.write_text("def on_response_chunk(context, chunk):\n    return chunk\n")
    with peers("--server", "native", "--mode", mode, "--script", str(script)) as (pid, some):
        warm_up(some)
        assert held(pid, some, download) < down * KIB


@needs_proc
def test_what_is_held_is_a_setting():
    with peers("--server", "native", "--buffer", "1m") as (pid, some):
        warm_up(some)
        # Once before our own writing, and once in it.
        assert 512 * KIB < held(pid, some, download) < 2304 * KIB


def test_a_slow_reader_gets_all_of_it_in_the_end(proxy, origin):
    """Being held up now and then harms nobody."""
    body = os.urandom(1000) * 3000
    origin.script(
        lambda connection: connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
    )
    with Wire(proxy(origin.url).url) as wire:
        wire.request("GET", "/")
        head = wire.head()
        received = wire.read_exactly(1)
        while len(received) < len(body):
            received += wire.read_exactly(min(300_000, len(body) - len(received)))
            os.sched_yield()
        assert head.status == 200
    assert received == body


@pytest.mark.parametrize("mode", ["threads", "loop"])
@pytest.mark.parametrize("server", ["hypercorn", "granian"])
def test_ten_http2_uploads_on_one_connection_pass_a_pool_of_two(
    server_tls, trusting, origin, server, mode
):
    with contextlib.ExitStack() as running:
        proxy = Commanded(installed(server), mode, running)
        port = proxy(origin.url, tls=server_tls, threads=2).port
        client = running.enter_context(H2Client(port, trusting))
        streams = [client.request(f"/{n}", body=None) for n in range(10)]
        for part in (b"a" * 30_000, b"b" * 30_000):
            for stream in streams:
                client.upload(stream, part)
        for stream in reversed(streams):
            client.connection.end_stream(stream)
            client.flush()
        for stream in streams:
            client.until(StreamEnded, stream)
            assert client.body(stream) == b"ok"
    assert sorted(seen.target for seen in origin.requests) == [f"/{n}" for n in range(10)]
    assert {seen.body for seen in origin.requests} == {b"a" * 30_000 + b"b" * 30_000}


def test_uploads_that_the_origin_does_not_read_hold_up_no_other_exchange(proxy, origin):
    over = threading.Event()
    origin.script(lambda connection: over.wait(10), only="/stuck")
    url = proxy(origin.url, threads=8).url
    with contextlib.ExitStack() as open_wires:
        stuck = []
        for _ in range(4):
            wire = open_wires.enter_context(Wire(url))
            wire.request("POST", "/stuck", [("Content-Length", "1000000000")])
            stuck.append(wire.socket)
        fill(stuck)
        for n in range(5):
            assert fetch(url, f"/{n}").status == 200
        over.set()
