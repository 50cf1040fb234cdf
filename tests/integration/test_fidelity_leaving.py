"""Clients that leave: nobody else notices, and nothing of them stays."""

import contextlib
import socket
import threading
import time

import pytest
from choosing import OWN_HTTP
from commanded import Commanded, installed
from h2.events import DataReceived, StreamEnded
from h2wire import H2Client
from leaks import Nothing, needs_proc
from raw_origin import RawOrigin
from wire import Wire, fetch

KINDS = ["waiting", "streaming", "idle", "uploading"]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b"8\r\ndata: 1\n\r\n"


class Busy:
    """An origin that never comes to an end; counts what has begun and what is open."""

    def __init__(self):
        self.begun = 0
        self._lock = threading.Lock()
        self.stop = threading.Event()
        self.origin = RawOrigin(self._serve)
        self.url = self.origin.url

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop.set()
        self.origin.__exit__()

    def _serve(self, origin, connection, number):
        head = origin.head(connection)
        if not head:
            return
        kind = head.split()[1].decode().strip("/")
        if kind in ("streaming", "idle"):
            connection.sendall(HEAD + EVENT)
        with self._lock:
            self.begun += 1
        if kind == "streaming":
            while not self.stop.wait(0.02):
                connection.sendall(EVENT)
        connection.settimeout(20)
        while connection.recv(65536):
            pass

    def until(self, condition, seconds):
        """Return how long it took for ``condition`` to come true."""
        began = time.monotonic()
        while not condition():
            assert time.monotonic() - began < seconds, (self.begun, self.origin.open)
            self.stop.wait(0.01)
        return time.monotonic() - began


def enter(url, kind):
    """Come as a client of ``kind``; return its connection when the exchange has begun."""
    wire = Wire(url)
    if kind == "uploading":
        wire.request("POST", f"/{kind}", [("Content-Length", "1000000")])
        wire.send(b"x" * 1000)
    else:
        wire.request("GET", f"/{kind}")
    return wire


def leave(wire, rudely):
    if rudely:
        wire.reset()
    else:
        wire.close()


@pytest.fixture
def busy():
    with Busy() as busy:
        yield busy


def test_the_upstream_exchange_ends_within_a_second(proxy, busy, caplog):
    """Those who stay are served on, there is room for others, and it is no error."""
    url = proxy(busy.url, "--max-exchanges", "9").url
    with Wire(url) as stays:
        stays.request("GET", "/streaming")
        head = stays.head()
        leaving = [enter(url, kind) for kind in KINDS * 2]
        busy.until(lambda: busy.begun == 9, 5)
        assert fetch(url).status == 503
        caplog.clear()
        for n, wire in enumerate(leaving):
            leave(wire, rudely=n < 4)
        assert busy.until(lambda: busy.origin.open == 1, 5) < 1.0
        for _ in range(3):
            assert stays.piece(head)
        assert busy.origin.open == 1
        with Wire(url) as comes:
            comes.request("GET", "/idle")
            assert comes.head().status == 200
            assert [r.message for r in caplog.records if r.levelno >= 30] == []


def test_a_client_that_leaves_in_the_middle_of_what_cannot_be_sent_on(proxy, origin):
    """The origin reads nothing, the client's side is full. A client that ends in order cannot
    be noticed, as its end waits behind what it has sent; of one that resets, only the native
    server hears. On the others the idle timeout is what ends the exchange."""
    over = threading.Event()
    ended = threading.Event()

    def script(connection):
        # Without reading: that the other side has left is all there is to see.
        established = 1
        while not over.wait(0.01):
            if connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != established:
                break
        ended.set()

    origin.script(script)
    options = () if proxy.server in OWN_HTTP else ("--idle-timeout", "0.5")
    with Wire(proxy(origin.url, *options).url) as wire:
        wire.request("POST", "/", [("Content-Length", "1000000000")])
        wire.socket.settimeout(0.2)
        with contextlib.suppress(OSError):
            while True:
                wire.send(b"x" * 65536)
        wire.reset()
        assert ended.wait(3)
    over.set()


# --- hundreds of them -------------------------------------------------------------------


@needs_proc
@pytest.mark.parametrize(
    ("server", "mode", "crowds"),
    [
        ("native", "loop", 2),
        ("native", "threads", 1),
        ("uvicorn", "threads", 1),
        ("hypercorn", "loop", 1),
        ("granian", "loop", 1),
        ("twisted", "threads", 1),
    ],
)
def test_hundreds_leave_nothing_behind(server, mode, crowds, busy):
    with contextlib.ExitStack() as running:
        proxy = Commanded(installed(server), mode, running)
        # In threads mode half of a crowd wait on threads, of which far fewer may run at once.
        url = proxy(busy.url, threads=20).url
        crowd(url, busy, 20)
        with Nothing():
            for _ in range(crowds):
                crowd(url, busy, 120)
            crowd(url, busy, 20)
        assert len([t for t in threading.enumerate() if t.name.startswith("rolo-worker")]) <= 120


def crowd(url, busy, count):
    """``count`` clients come, each kind in turn, and leave all at once."""
    begun = busy.begun
    wires = [enter(url, KINDS[n % 4]) for n in range(count)]
    busy.until(lambda: busy.begun == begun + count, 10)
    for n, wire in enumerate(wires):
        leave(wire, rudely=n % 3 == 0)
    busy.until(lambda: busy.origin.open == 0, 5)


# --- HTTP/2 -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["threads", "loop"])
@pytest.mark.parametrize("server", ["hypercorn", "granian"])
def test_a_reset_http2_stream_ends_its_exchange_and_no_other(
    server_tls, trusting, busy, server, mode
):
    with contextlib.ExitStack() as running:
        proxy = Commanded(installed(server), mode, running)
        port = proxy(busy.url, tls=server_tls).port
        client = running.enter_context(H2Client(port, trusting))
        stays = client.request("/streaming")
        leaving = [client.request(f"/{kind}") for kind in ("waiting", "streaming", "idle")]
        leaving.append(client.request("/uploading", body=None))
        client.upload(leaving[-1], b"x" * 1000)
        busy.until(lambda: busy.begun == 5, 5)
        client.until(DataReceived, stays)
        for stream in leaving:
            client.connection.reset_stream(stream)
        client.flush()
        assert busy.until(lambda: busy.origin.open == 1, 5) < 1.0
        client.events.clear()
        client.until(DataReceived, stays)
        assert not [event for event in client.events if isinstance(event, StreamEnded)]
