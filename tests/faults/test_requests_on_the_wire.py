"""Each fault of a request on its way to the upstream, as the upstream sees it."""

import contextlib
import threading

import pytest
from raw_origin import RawOrigin
from threaded_origin import ThreadedOrigin
from wire import Wire, chunked, fetch

from rolo import faults
from rolo.errors import ConnectError
from rolo.faults import Faults
from rolo.gateway import Gateway
from rolo.proxy import Hooks, ProxyHandler
from rolo.serving import serve

BODY = b"0123456789" * 10
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Origin(RawOrigin):
    """Keeps what comes until it ends, or until as much came as ``answers`` says."""

    def __init__(self):
        super().__init__(Origin._keep)
        self.came = b""
        self.was_reset = False
        self.until = None
        self.answer = OK
        self.ended = threading.Event()

    def _keep(self, connection, number):
        self.came = b""
        try:
            while self.until is None or not self.came.endswith(self.until):
                piece = connection.recv(65536)
                if not piece:
                    return
                self.came += piece
            connection.sendall(self.answer)
            connection.recv(1)
        except ConnectionResetError:
            self.was_reset = True
        finally:
            self.ended.set()

    @property
    def body(self):
        return self.came.partition(b"\r\n\r\n")[2]


@pytest.fixture
def origin():
    with Origin() as origin:
        yield origin


@pytest.fixture
def failing(start, origin):
    """Serve a proxy whose requests fail; returns its URL."""
    with contextlib.ExitStack() as closing:

        def failing(*given, hooks=(), seed=1, mode="threads", **scope):
            rules = Faults(seed)
            rules.add(*given, direction="up", **scope)
            handler = ProxyHandler(origin.url, hooks=[rules.hooks, *hooks])
            closing.callback(handler.close)
            return start(handler, mode=mode)

        yield failing


def post(url, body=BODY):
    return fetch(url, "/", "POST", body=body)


def test_an_upstream_cannot_be_reached(failing, origin, seen):
    assert post(failing(faults.refuse())).status == 502
    assert origin.connections == 0
    assert seen.end().error == "ConnectError"


def test_hooks_may_try_again_what_a_fault_refused(failing, origin):
    class Again(Hooks):
        def on_connect_failed(self, context, error):
            assert isinstance(error, ConnectError)
            context.retry()

    origin.until = BODY
    assert post(failing(faults.refuse(), hooks=[Again()], first=2)).status == 200
    assert origin.connections == 1


@pytest.mark.parametrize(
    ("fault", "comes", "was_reset"),
    [
        (faults.reset(), None, True),
        (faults.reset(after=30), BODY[:30], True),
        (faults.empty(), None, False),
        (faults.cut(), b"", False),
        (faults.cut(after=30), BODY[:30], False),
    ],
    ids=repr,
)
@pytest.mark.parametrize("mode", ["loop", "threads"])
def test_a_request_is_broken_off(failing, origin, seen, fault, comes, was_reset, mode):
    assert post(failing(fault, mode=mode)).status == 502
    assert origin.ended.wait(5)
    assert origin.was_reset is was_reset
    assert origin.body == (comes or b"")
    assert bool(origin.came) is (comes is not None)
    end = seen.end()
    assert (end.status, end.error) == (502, "SendError")
    assert "by a fault" in end.detail


def test_a_head_is_cut(failing, origin):
    assert post(failing(faults.cut(after=7, within="head"))).status == 502
    assert origin.ended.wait(5)
    assert origin.came == b"POST / "


def test_a_request_hangs_until_its_client_leaves(failing, origin):
    with Wire(failing(faults.hang(after=30))) as wire:
        wire.request("POST", "/", body=BODY)
        while len(origin.body) < 30:
            assert not origin.ended.wait(0.01)
            assert origin.connections < 2
    assert origin.ended.wait(5)
    assert origin.body == BODY[:30]


def test_a_request_hangs_until_the_server_stops(origin):
    rules = Faults()
    rules.add(faults.hang(), direction="up")
    handler = ProxyHandler(origin.url, hooks=[rules.hooks])
    with serve(Gateway([handler]), shutdown_timeout=50) as server, Wire(server.url) as wire:
        wire.request("POST", "/", body=BODY)
        while not origin.connections:
            assert not origin.ended.wait(0.01)
        server.shutdown()
        assert wire.answer().status == 502
    handler.close()


def test_garbage_is_answered_by_the_upstream(failing, origin):
    origin.until = b"\x00\xff"
    origin.answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
    assert post(failing(faults.garbage(data=b"\x00\xff"))).status == 400
    assert origin.came == b"\x00\xff"


@pytest.mark.parametrize(
    ("kind", "there"),
    [
        ("first line", b"GET\r\n"),
        ("version", b"POST / HTTP/9.9\r\n"),
        ("no colon", b"\r\na line that is no field\r\n"),
        ("two lengths", b"\r\nContent-Length: 3\r\nContent-Length: 5\r\n"),
    ],
)
def test_a_head_breaks_the_grammar(failing, origin, kind, there):
    origin.until = BODY
    assert post(failing(faults.malformed_head(kind))).status == 200
    assert there in origin.came


def test_a_head_is_too_long(failing, origin):
    origin.until = BODY
    assert post(failing(faults.oversized_head(100_000))).status == 200
    assert 100_000 < len(origin.came) < 101_000


def test_a_chunk_is_broken(failing, origin):
    assert post(failing(faults.bad_chunk("size", after=20))).status == 502
    assert origin.ended.wait(5)
    assert origin.body.startswith(b"14\r\n" + BODY[:20] + b"\r\nzz\r\n")
    assert b"Content-Length" not in origin.came


def test_a_length_is_wrong(failing, origin):
    origin.until = BODY
    assert post(failing(faults.wrong_length(-10))).status == 200
    assert b"\r\nContent-Length: 90\r\n" in origin.came


def test_a_chunked_request_drips(failing, origin):
    origin.until = b"0\r\n\r\n"
    with Wire(failing(faults.drip(size=4, every=0.001), faults.late(0.001))) as wire:
        wire.request("POST", "/", [("Transfer-Encoding", "chunked")])
        wire.send(chunked(b"0123456789"))
        assert wire.answer().status == 200
    assert origin.body == b"4\r\n0123\r\n4\r\n4567\r\n2\r\n89\r\n0\r\n\r\n"


def test_a_connection_that_carried_a_fault_carries_nothing_else(start):
    rules = Faults()
    rules.add(faults.rate("1M/s"), direction="up", every=2)
    with ThreadedOrigin() as origin:
        handler = ProxyHandler(origin.url, hooks=[rules.hooks])
        url = start(handler)
        assert [post(url).status for _ in range(3)] == [200] * 3
        assert [seen.body for seen in origin.requests] == [BODY] * 3
        assert origin.connections == 2
        handler.close()


def test_answers_of_an_upstream_fail_on_their_way_down(start, origin):
    origin.until = b"\r\n\r\n"
    origin.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + BODY
    rules = Faults()
    rules.add(faults.cut(after=30), every=2)
    rules.add(faults.refuse(), when="/refused")
    handler = ProxyHandler(origin.url, hooks=[rules.hooks])
    url = start(handler)
    assert fetch(url).body == BODY
    with Wire(url) as wire:
        wire.request("GET", "/")
        assert wire.read_rest().partition(b"\r\n\r\n")[2] == BODY[:30]
    connections = origin.connections
    with Wire(url) as wire:
        wire.request("GET", "/refused")
        with pytest.raises(ConnectionResetError):
            wire.read_rest_strictly()
    assert origin.connections == connections
    handler.close()


def test_two_sets_of_rules_may_be_the_hooks_of_one_proxy(start, origin):
    origin.until = BODY
    first, second = Faults(), Faults()
    first.add(faults.oversized_head(2000), direction="up")
    second.add(faults.malformed_head("version"), direction="up")
    handler = ProxyHandler(origin.url, hooks=[first.hooks, second.hooks])
    assert post(start(handler)).status == 200
    assert b"\r\nX-Fault-0: x" in origin.came
    assert b"HTTP/9.9" in origin.came
    handler.close()


def test_without_a_loop_there_are_no_faults_upwards(origin):
    rules = Faults()
    rules.add(faults.cut(), direction="up")
    handler = ProxyHandler(origin.url, hooks=[rules.hooks])
    with serve(Gateway([handler]), server="werkzeug") as server:
        assert fetch(server.url).status == 500
    assert origin.connections == 0
    handler.close()
