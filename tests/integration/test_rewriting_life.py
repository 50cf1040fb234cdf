"""The life of hooks on servers: from the first exchange to the last."""

import asyncio
import threading

import pytest
from test_rewriting_script import no_trace_of_scripts, scripted  # noqa: F401 - fixtures
from threaded_origin import ThreadedOrigin
from websocket_origin import Client, WebSocketOrigin
from wire import Wire, fetch

from rolo.gateway import Gateway
from rolo.portal import current_portal
from rolo.proxy import Hooks, ProxyHandler
from rolo.serving import serve


@pytest.fixture(params=["native-loop", "native-threads"])
def served_on(request):
    """Below the hooks nothing depends on the server."""
    return tuple(request.param.split("-"))


@pytest.fixture
def origin():
    with ThreadedOrigin() as origin:
        yield origin


class Living(Hooks):
    """Notes what it does, and whether that may wait for a loop. Its start goes on when it may."""

    def __init__(self, *, held=False):
        self.log = []
        self.starting, self.go_on, self.closed = (threading.Event() for _ in range(3))
        if not held:
            self.go_on.set()

    def start(self):
        self.starting.set()
        while not self.go_on.is_set():
            current_portal().call(asyncio.sleep(0.005))
        self.note("start")

    def close(self):
        self.note("close")
        self.closed.set()

    def note(self, what):
        portal = current_portal()
        if portal is not None:
            portal.call(asyncio.sleep(0))
        self.log.append((what, portal is not None))


def test_exchanges_wait_for_the_start_which_no_client_that_leaves_cuts(start, origin):
    hooks = Living(held=True)
    handler = ProxyHandler(
        origin.url, hooks=[hooks], on_request=lambda context: hooks.note("request")
    )
    url = start(handler).url
    leaving, staying = Wire(url), Wire(url)
    leaving.request("GET", "/")
    assert hooks.starting.wait(5)
    staying.request("GET", "/")
    leaving.close()
    hooks.go_on.set()
    assert staying.answer().body == b"ok"
    staying.close()
    handler.close()
    assert hooks.closed.wait(5)  # the one that has left may be over only now
    whats = [what for what, _ in hooks.log]
    assert (whats[0], whats[-1]) == ("start", "close")
    assert whats.count("start") == whats.count("close") == 1


def test_hooks_are_closed_on_the_loop_while_it_runs(start, origin):
    hooks = Living()
    handler = ProxyHandler(origin.url, hooks=[hooks])
    url = start(handler).url
    assert fetch(url).body == fetch(url).body == b"ok"
    handler.close()
    assert hooks.closed.wait(5)  # the last exchange may not be over yet
    assert hooks.log == [("start", True), ("close", True)]


def test_hooks_are_closed_where_the_proxy_is_when_the_loop_has_stopped(served_on, origin):
    hooks = Living()
    handler = ProxyHandler(origin.url, hooks=[hooks])
    with serve(Gateway([handler]), server=served_on[0], mode=served_on[1]) as server:
        assert fetch(server.url).body == b"ok"
    handler.close()
    assert hooks.log == [("start", True), ("close", False)]


def test_a_start_that_fails_is_a_500_and_tried_again(start, origin, caplog):
    failures = [ValueError("no database"), SystemExit()]

    class Failing(Hooks):
        def start(self):
            if failures:
                raise failures.pop()

    handler = ProxyHandler(origin.url, hooks=[Failing()])
    url = start(handler).url
    assert [fetch(url).status for _ in range(3)] == [500, 500, 200]
    assert "Failing raised ValueError: no database" in caplog.text
    assert len(origin.requests) == 1
    handler.close()


def test_hooks_that_are_replaced_live_as_long_as_their_websockets(start):
    hooks = Living()
    with WebSocketOrigin() as origin:
        handler = ProxyHandler(origin.url, hooks=[hooks])
        with Client(start(handler).url) as client:
            client.open()
            handler.proxy.use()
            client.text("hello")
            assert client.message() == "hello"
            assert not hooks.closed.is_set()
        assert hooks.closed.wait(5)
        handler.close()


def test_hooks_live_under_wsgi_too(origin):
    hooks = Living()
    handler = ProxyHandler(origin.url, hooks=[hooks])
    with serve(Gateway([handler]), server="werkzeug") as server:
        assert fetch(server.url).body == fetch(server.url).body == b"ok"
    handler.close()
    assert hooks.log == [("start", False), ("close", False)]


SCRIPT = """
from rolo.proxy import Hooks, ProxyHandler

class Mine(ProxyHandler):
    def start(self):
        print("handler starts one", flush=True)

    def close(self):
        super().close()
        print("handler closes one", flush=True)

class Edge(Hooks):
    def start(self):
        print("hooks start one", flush=True)

    def close(self):
        print("hooks close one", flush=True)

    def on_response(self, context, response):
        response.headers["X-Edge"] = "one"
"""


def test_a_script_is_closed_when_it_is_replaced_and_at_the_end(scripted, origin):  # noqa: F811
    url, command, path = scripted(SCRIPT, "--reload")
    with Wire(url) as under_way:
        origin.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok")
        under_way.request("GET", "/")
        assert under_way.head().get("x-edge") == "one"
        path.write_text(SCRIPT.replace("one", "two"))
        command.expect("loaded again")
        assert fetch(url).get("x-edge") == "two"
        command.expect("hooks start two")
        assert not any("close one" in line for line in command.lines)
    command.expect("handler closes one")
    assert command.stop() == 0
    assert [line for line in command.lines if line.startswith(("hooks", "handler"))] == [
        "handler starts one",
        "hooks start one",
        "handler starts two",
        "hooks start two",
        "hooks close one",
        "handler closes one",
        "hooks close two",
        "handler closes two",
    ]
