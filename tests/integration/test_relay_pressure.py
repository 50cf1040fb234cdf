"""What relayed websockets hold, and what they leave behind."""

import asyncio
import contextlib
import gc
import os
import socket
import threading
import time

import greenlet
import pytest
from choosing import OWN_HTTP
from websocket_origin import BINARY, CLOSE, Client, WebSocketOrigin, echo
from wire import fetch

from rolo.gateway import Gateway
from rolo.proxy import ProxyHandler, WebSocketSettings
from rolo.serving import Limits, serve

KIB = 1024
CHUNK = bytes(range(256)) * 64
# Kernel buffers of four sockets and what the proxy may hold itself, of messages of 16 KiB.
HELD = 24 * 1024 * KIB


def pump_until_stuck(peer, limit=256 * 1024 * KIB):
    """Send until the other side takes no more for a while; return the bytes sent."""
    peer.wire.socket.settimeout(0.4)
    sent = 0
    try:
        while sent < limit:
            peer.send(BINARY, CHUNK, **({"key": b"\0\0\0\0"} if peer.client else {}))
            sent += len(CHUNK)
    except TimeoutError:
        return sent
    pytest.fail(f"{sent} bytes were taken though nobody read")


@pytest.fixture
def small_buffers(monkeypatch):
    """Origins with kernel buffers of a known size."""
    original = WebSocketOrigin._serve

    def serve_small(self, connection):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * KIB)
        original(self, connection)

    monkeypatch.setattr(WebSocketOrigin, "_serve", serve_small)


def test_an_origin_that_does_not_read_stops_the_client(relayed, small_buffers):
    go_on = threading.Event()

    def play(origin):
        origin.accept()
        go_on.wait(20)
        count = 0
        while origin.frame().payload == CHUNK:
            count += 1
            origin.note(count)

    client, origin = relayed(play)
    sent = pump_until_stuck(client)
    assert sent < HELD
    go_on.set()
    for number in range(sent // len(CHUNK)):
        assert origin.note() == number + 1


def test_a_client_that_does_not_read_stops_the_origin_and_gets_everything_in_the_end(relaying):
    total = []
    stuck = threading.Event()

    def play(origin):
        origin.accept()
        origin.wire.socket.settimeout(0.4)
        sent = 0
        try:
            while sent < 256 * 1024 * KIB:
                origin.wire.send(HEADER + CHUNK)
                sent += len(CHUNK)
        except TimeoutError:
            pass
        total.append(sent)
        stuck.set()

    url, _ = relaying(play)
    with Client(url, buffer=64 * KIB) as client:
        client.open()
        assert stuck.wait(20)
        assert total[0] < HELD
        got = 0
        while got < total[0]:
            assert client.frame().payload == CHUNK
            got += len(CHUNK)


HEADER = b"\x82\x7e" + len(CHUNK).to_bytes(2, "big")


def test_a_stuck_socket_slows_no_other_and_no_request(relaying):
    def play(origin):
        if origin.seen.target == "/stuck":
            origin.accept()
            origin.note("stuck")
            origin.rest_when_told.wait(20)
        else:
            echo(origin)

    told = threading.Event()

    def with_event(origin):
        origin.rest_when_told = told
        play(origin)

    url, origin = relaying(with_event)
    with Client(url, "/stuck") as stuck:
        stuck.open()
        assert origin.note() == "stuck"
        pump_until_stuck(stuck)
        started = time.monotonic()
        with Client(url, "/echo") as other:
            other.open()
            for _ in range(20):
                other.text("x")
                assert other.message() == "x"
        assert fetch(url).body == b"ok"
        assert time.monotonic() - started < 2
        told.set()


def test_an_origin_whose_messages_are_held_longest_is_closed_and_no_other(relaying, caplog):
    """``max_memory`` holds over all websockets, on every server."""

    def play(origin):
        origin.accept()
        size = int(origin.frame().payload)
        origin.wire.send(b"\x82\x7f" + (2 * size).to_bytes(8, "big") + bytes(size))
        got = origin.frame()
        origin.note(got.close if got.opcode == CLOSE else got.payload)
        origin.wire.send(bytes(size))

    url, origin = relaying(play, websockets=WebSocketSettings(max_memory=1024 * KIB))
    with Client(url) as small, Client(url) as large:
        small.open().text("100000")
        large.open().text("2000000")
        assert origin.note()[0] == 1013
        assert large.closing()[0] == 1013
        small.text("go on")
        assert origin.note() == b"go on"
        assert len(small.message()) == 200_000
    assert any("closing the one that holds most" in r.message for r in caplog.records)


def test_a_client_that_holds_most_is_closed_with_1013(served_on):
    name, mode = served_on
    if name not in OWN_HTTP:
        pytest.skip("what other servers hold of their clients is not known")
    limits = Limits(max_websocket_memory=1024 * KIB)
    with WebSocketOrigin(echo) as origin, contextlib.ExitStack() as closing:
        handler = ProxyHandler(origin.url)
        closing.callback(handler.close)
        server = closing.enter_context(
            serve(Gateway([handler]), server=name, mode=mode, limits=limits)
        )
        with Client(server.url) as small, Client(server.url) as large:
            message = b"\x82\xff" + (100 * KIB).to_bytes(8, "big") + bytes(4 + 100 * KIB)
            small.open().wire.send(message[: 50 * KIB])
            large.open().wire.send(b"\x82\xff" + (2**23).to_bytes(8, "big") + bytes(2**21))
            assert large.closing() == (1013, "too much is held")
            small.wire.send(message[50 * KIB :])
            assert small.message() == bytes(100 * KIB)


def test_many_sockets_leave_room_for_http_and_hold_no_thread(served_on):
    """In threads mode more sockets than the threads for websockets."""
    name, mode = served_on
    with contextlib.ExitStack() as running:
        origin = running.enter_context(WebSocketOrigin(echo))
        handler = ProxyHandler(origin.url)
        running.callback(handler.close)
        url = running.enter_context(
            serve(Gateway([handler]), server=name, mode=mode, threads=2)
        ).url
        clients = [running.enter_context(Client(url)).open() for _ in range(40)]
        rolo_threads = [t for t in threading.enumerate() if t.name.startswith("rolo-websocket")]
        assert len(rolo_threads) <= (2 if mode == "threads" else 0)
        for number, client in enumerate(clients):
            client.text(str(number))
        assert fetch(url).body == b"ok"
        for number, client in enumerate(clients):
            assert client.message() == str(number)


def open_files():
    return len(os.listdir("/proc/self/fd"))


def greenlets():
    gc.collect()
    return sum(isinstance(thing, greenlet.greenlet) for thing in gc.get_objects())


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
def test_dying_clients_and_origins_leave_nothing(served_on):
    """Eight at a time; on the native server a hundred of each kind."""
    name, mode = served_on
    deaths = 104 if name == "native" else 24

    def play(origin):
        origin.accept()
        if origin.seen.target == "/origin":
            origin.message()
            origin.reset()
        else:
            origin.rest()

    def die(url, target):
        with contextlib.suppress(OSError), Client(url, target) as client:
            client.open()
            client.text("x")
            if target == "/origin":
                client.closing()
            else:
                client.reset()

    with contextlib.ExitStack() as running:
        origin = running.enter_context(WebSocketOrigin(play))
        settings = WebSocketSettings(close_timeout=0.3)
        handler = ProxyHandler(origin.url, websockets=settings)
        running.callback(handler.close)
        url = running.enter_context(serve(Gateway([handler]), server=name, mode=mode)).url
        die(url, "/origin")
        before = settled()
        for target in ("/origin", "/client"):
            for _ in range(deaths // 8):
                threads = [threading.Thread(target=die, args=(url, target)) for _ in range(8)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
        # Idle greenlets are kept for the next handlers, one for each that ran at once.
        allowed = {"files": before["files"], "tasks": before["tasks"]}
        allowed["greenlets"] = before["greenlets"] + 8
        after = settled(allowed)
        assert all(after[key] <= allowed[key] for key in allowed), (before, after)


def measured():

    tasks = 0
    for thing in gc.get_objects():
        if isinstance(thing, asyncio.Task) and not thing.done():
            tasks += 1
    return {"files": open_files(), "tasks": tasks, "greenlets": greenlets()}


def settled(goal=None):
    """Measure, waiting a while for what is still on its way out."""
    deadline = time.monotonic() + 5
    now = measured()
    while time.monotonic() < deadline:
        if goal is not None and all(now[key] <= goal[key] for key in goal):
            break
        time.sleep(0.1)
        later = measured()
        if goal is None and later == now:
            break
        now = later
    return now
