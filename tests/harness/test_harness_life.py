"""From the first moment of a harness to its last: nothing is waited for, nothing is left."""

import gc
import os
import socket
import subprocess
import sys
import threading
import unittest

import pytest
from websocket_origin import Client
from wire import Wire, fetch

from rolo.harness import Harness, ground, stay
from rolo.harness.ground import GroundBlocked


def test_several_harnesses_do_not_see_each_others_stubs():
    with Harness() as one, Harness() as two:
        one.get("/x").returns("one")
        two.get("/x").returns("two")
        assert (fetch(one.url, "/x").body, fetch(two.url, "/x").body) == (b"one", b"two")
        assert len(one.records) == len(two.records) == 1


def test_after_the_end_nobody_listens_and_closing_again_does_nothing():
    with Harness() as api:
        pass
    api.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((api.host, api.port), timeout=1)


def test_the_last_to_release_the_ground_takes_its_thread_along():
    code = (
        "import threading; from rolo.harness import Harness\n"
        "with Harness(): assert 'rolo-harness' in [t.name for t in threading.enumerate()]\n"
        "assert [t.name for t in threading.enumerate()] == ['MainThread']\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_open_streams_and_hung_functions_do_not_hold_up_the_end():
    go, inside, ended = threading.Event(), threading.Event(), threading.Event()

    def hung(request):
        inside.set()
        go.wait(30)
        ended.set()

    api = Harness(strict=False)
    api.get("/stream").streams("a", stay())
    api.get("/hung").calls(hung)
    api.websocket("/chat").plays(stay())
    wires = [Wire(api.url) for _ in range(20)]
    clients = [Client(api.url, "/chat").open() for _ in range(5)]
    try:
        for wire in wires:
            wire.request("GET", "/stream")
            assert wire.head().status == 200
        stuck = Wire(api.url)
        wires.append(stuck)
        stuck.request("GET", "/hung")
        assert inside.wait(5)
        api.close()
        assert not ended.is_set()
        ended = [(r.websocket, r.outcome, r.closed) for r in api._journal.records()]
        assert set(ended) == {
            (False, "aborted", None),
            (True, "complete", ("server", 1001, "")),
        }
    finally:
        go.set()
        for each in [*wires, *(client.wire for client in clients)]:
            each.close()


def test_who_waits_through_rolo_in_a_function_is_let_go_at_the_end():
    ended = threading.Event()

    def waiting(request):
        try:
            request.stream.read()
        finally:
            ended.set()

    api = Harness(strict=False)
    api.post("/x").calls(waiting)
    with Wire(api.url) as wire:
        wire.send(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf.")
        api.wait_for("POST", "/x", whole=False)
        api.wait_until(lambda: api._journal.records()[0].pieces)
        api.close()
        assert ended.wait(5)


def test_a_blocked_loop_is_told_and_left_behind():
    go, inside = threading.Event(), threading.Event()
    held = ground.Ground()

    def blocks():
        inside.set()
        assert go.wait(10)

    held._loop.call_soon_threadsafe(blocks)
    assert inside.wait(5)

    async def nothing():
        pass

    patience, ground.PATIENCE = ground.PATIENCE, 0.01
    try:
        with pytest.raises(GroundBlocked, match="blocked"):
            held.run(nothing())
        assert not held.usable
        held.stop()  # does not wait for it
    finally:
        ground.PATIENCE = patience
        go.set()
        held.blocked = False
        held.stop()
    gc.collect()


def test_an_environment_variable_holds_the_url_until_the_end(monkeypatch):
    monkeypatch.setenv("ORDERS_URL", "before")
    monkeypatch.delenv("PAYMENTS_URL", raising=False)
    with Harness() as api:
        assert api.env("PAYMENTS_URL") == api.url == os.environ["PAYMENTS_URL"]
        assert api.env("ORDERS_URL", "/v1") == api.url + "/v1" == os.environ["ORDERS_URL"]
        api.env("ORDERS_URL")
    assert os.environ["ORDERS_URL"] == "before"
    assert "PAYMENTS_URL" not in os.environ


class InUnittest(unittest.TestCase):
    def test_a_harness_is_a_context_manager(self):
        api = self.enterContext(Harness())
        api.get("/x").returns("x")
        assert fetch(api.url, "/x").body == b"x"


def test_the_port_and_the_options_of_the_server_may_be_chosen():
    with Harness() as api:
        pass
    with Harness(port=api.port, keep_alive_timeout=1.0) as again:
        assert again.port == api.port
    with pytest.raises(TypeError, match="unknown option 'nonsense'"):
        Harness(nonsense=1)
    with Harness() as api, pytest.raises(OSError, match="in use"):
        Harness(port=api.port)


@pytest.mark.parametrize("server", ["hypercorn", "uvicorn"])
def test_another_server_may_be_chosen(server):
    with Harness(server=server) as api:
        api.get("/users/<int:id>").calls(lambda request, id: {"id": id})
        api.websocket("/chat").plays()
        assert fetch(api.url, "/users/3").body == b'{"id": 3}'
        with Client(api.url, "/chat") as client:
            client.open()
            assert client.closing()[0] == 1000
        assert api.received("GET").once().status == 200
