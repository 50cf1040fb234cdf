"""Faults of websockets, frame by frame: own ones and relayed ones, both ways."""

import contextlib
import threading

import pytest
import websockets.exceptions
import websockets.sync.client
from websocket_origin import BINARY, CLOSE, PING, PONG, TEXT, Client, WebSocketOrigin
from wire import Truncated

from rolo import faults
from rolo.errors import FaultUnavailable
from rolo.faults import Faults
from rolo.gateway import Gateway
from rolo.observing import Message
from rolo.proxy import ProxyHandler
from rolo.serving import serve
from rolo.websocket import WebSocketDisconnectedError


class Stub:
    """A handler that sends ``messages``, then whatever comes, and keeps how it ended."""

    def __init__(self, messages=()):
        self.messages = messages
        self.ended = None
        self.over = threading.Event()

    def __call__(self, chain, context, response):
        try:
            with context.request.accept() as websocket:
                for message in self.messages:
                    websocket.send(message)
                while True:
                    websocket.send(websocket.receive())
        except WebSocketDisconnectedError as exc:
            self.ended = exc.code
        finally:
            self.over.set()


@pytest.fixture(params=["loop", "threads"])
def mode(request):
    return request.param


class Served:
    """What is served, behind a client's websocket: a stub of ours, or a proxy."""

    def __init__(self, url, stub):
        self.url = url
        self.stub = stub

    def client(self):
        return Client(self.url, timeout=5.0)


@pytest.fixture(params=["stub-threads", "relay-loop"])
def failing(request, start, monkeypatch):
    """Serve a websocket that sends messages and echoes others, with faults on its way down."""
    kind, mode = request.param.split("-")
    monkeypatch.setattr("rolo.faults.websocket.HOLD", 0.05)
    with contextlib.ExitStack() as closing:

        def failing(*given, messages=(), **scope):
            rules = Faults(seed=1)
            rules.add(*given, **scope)
            stub = Stub(messages)
            if kind == "stub":
                return Served(start(rules.handler, stub, mode=mode), stub)
            origin = closing.enter_context(serve(Gateway([stub])))
            proxy = ProxyHandler(origin.url, hooks=[rules.hooks])
            closing.callback(proxy.close)
            return Served(start(proxy, mode=mode), stub)

        yield failing


def messages(client, count):
    return [client.message() for _ in range(count)]


@pytest.mark.parametrize(
    ("fault", "comes"),
    [
        (faults.drop(every=2), "135"),
        (faults.duplicate(first=1), "112345"),
        (faults.reorder(), "13254"),
        (faults.reorder(every=None), "21435"),  # the last one is not held back for ever
        (faults.delay(0.001, 0.001), "12345"),
        (faults.silence(2, 0.001), "12345"),
        (faults.corrupt(every=5), "1234#"),
        (faults.rate("1k/s", jitter=0.5), "12345"),
    ],
    ids=repr,
)
def test_messages_are_changed(failing, fault, comes):
    with failing(fault, messages="12345").client().open() as client:
        assert messages(client, len(comes)) == list(comes)


def test_a_binary_message_is_corrupted(failing):
    with failing(faults.corrupt(), messages=[bytes(100)]).client().open() as client:
        message = client.message()
        assert sum(byte != 0 for byte in message) == 1


def test_a_websocket_ends_without_a_close_frame(failing, seen):
    served = failing(faults.lose(after=2), messages="12345")
    with served.client().open() as client:
        assert messages(client, 2) == ["1", "2"]
        assert client.wire.read_rest_strictly() == b""
    end = seen.end()
    assert (end.outcome, end.error, end.status) == ("aborted", "InjectedFault", 101)
    assert "lost by a fault after 2 messages" in end.detail
    assert served.stub.over.wait(5)


def test_a_websocket_is_closed_with_a_code(failing, seen):
    served = failing(faults.close_with(4001, "go", after=2), messages="12345")
    with served.client().open() as client:
        assert messages(client, 2) == ["1", "2"]
        assert client.closing() == (4001, "go")
    assert served.stub.over.wait(5)
    assert seen.end().outcome == "complete"


def test_a_close_of_ours_gets_another_code(start):
    rules = Faults()
    rules.add(faults.close_with(4002, after=1000))

    def leaves(chain, context, response):
        context.request.accept().close(1000)

    with Client(start(rules.handler, leaves)).open() as client:
        assert client.closing() == (4002, "")


def test_pings_are_not_answered(failing):
    with failing(faults.no_pong()).client().open() as client:
        client.send(PING, b"there?")
        client.text("x")
        assert client.frame().opcode == TEXT


def test_a_close_is_answered_by_the_end_of_the_connection(failing):
    served = failing(faults.no_close())
    with served.client().open() as client:
        client.close(1000)
        assert client.wire.read_rest_strictly() == b""
    assert served.stub.over.wait(5)


def test_a_close_of_ours_has_no_frame(start):
    rules = Faults()
    rules.add(faults.no_close())

    def leaves(chain, context, response):
        context.request.accept().close(1000)

    with Client(start(rules.handler, leaves)).open() as client:
        assert client.wire.read_rest_strictly() == b""


def test_messages_come_in_odd_fragments(failing):
    with failing(faults.fragment(1), messages=["ä1", b"", b"ab"]).client().open() as client:
        for whole, opcode in (("ä1".encode(), TEXT), (b"", BINARY), (b"ab", BINARY)):
            frames = [client.frame()]
            while not frames[-1].final or frames[-1].opcode == PING:
                frames.append(client.frame())
            data = [each for each in frames if each.opcode != PING]
            assert [each.opcode for each in data] == [opcode] + [0] * (len(data) - 1)
            assert b"".join(each.payload for each in data) == whole
            assert all(len(each.payload) <= 1 for each in data)
            assert (len(data) < len(frames)) is bool(whole)
            assert any(not each.payload for each in data)


@pytest.mark.parametrize(
    ("fault", "was_reset"),
    [
        (faults.cut(after=1, within="message"), False),
        (faults.reset(after=1, within="message"), True),
    ],
    ids=["cut", "reset"],
)
def test_a_websocket_breaks_within_a_message(failing, fault, was_reset):
    with failing(fault, messages=["first", "second"]).client().open() as client:
        assert client.message() == "first"
        assert client.wire.read_exactly(5) == b"\x81\x06sec"
        if was_reset:
            with pytest.raises(ConnectionResetError):
                client.wire.read_rest_strictly()
        else:
            assert client.wire.read_rest_strictly() == b""


def test_a_websocket_is_cut_after_so_many_bytes(failing):
    with failing(faults.cut(after=7), messages=["first", "second"]).client().open() as client:
        assert client.message() == "first"
        assert client.wire.read_rest_strictly() == b"\x81\x06se"


def test_observers_are_told_of_fragmented_messages(failing, seen):
    with failing(faults.fragment(2), messages=["whole", b"x" * 5000]).client().open() as client:
        parts = b""
        while len(parts) < 5005:
            got = client.frame()
            parts += got.payload
        client.close(1000)
    told = [each for each in seen.exchange() if isinstance(each, Message)]
    assert [(each.by, each.data) for each in told] == [("server", "whole"), ("server", b"x" * 5000)]


def test_a_websocket_hangs_and_its_connection_stays_open(failing, seen):
    served = failing(faults.hang(after=1, within="message"), messages="12")
    with served.client().open() as client:
        assert client.message() == "1"
        client.wire.read_exactly(2)
        client.wire.socket.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.wire.read_more()
    assert served.stub.over.wait(5)
    assert seen.end().outcome == "client_left"


def test_a_websocket_is_silent_until_the_server_stops(mode):
    rules = Faults()
    rules.add(faults.silence(after=1))
    stub = Stub("12")
    with serve(Gateway([rules.handler, stub]), mode=mode, shutdown_timeout=50) as server:
        client = Client(server.url).open()
        assert client.message() == "1"
        stopping = threading.Thread(target=server.shutdown)
        stopping.start()
        assert client.closing()[0] == 1001
        client.drop()
        stopping.join(10)
    assert stub.over.wait(5)


@pytest.mark.parametrize(
    ("fault", "was_reset"),
    [(faults.refuse(), True), (faults.reset(), True), (faults.empty(), False)],
    ids=["refuse", "reset", "empty"],
)
def test_a_handshake_fails(failing, seen, fault, was_reset):
    served = failing(fault)
    with served.client() as client:
        if was_reset:
            with pytest.raises(ConnectionResetError):
                client.wire.read_rest_strictly()
        else:
            assert client.wire.read_rest_strictly() == b""
    end = seen.end()
    assert (end.outcome, end.error, end.status) == ("aborted", "InjectedFault", None)


def test_a_handshake_gets_a_status(failing):
    with failing(faults.status(503)).client() as client:
        assert client.answer().status == 503


def test_a_handshake_is_answered_with_a_long_head(failing):
    with failing(faults.oversized_head(3000)).client().open() as client:
        assert len(client.handshake.all("X-Fault-0")) == 1


def test_a_handshake_is_late(failing):
    with failing(faults.late(0.001)).client().open() as client:
        client.text("x")
        assert client.message() == "x"


def test_a_handshake_hangs_until_the_server_stops(mode):
    rules = Faults()
    rules.add(faults.hang())
    server = serve(Gateway([rules.handler, Stub()]), mode=mode, shutdown_timeout=50)
    with server, Client(server.url) as client:
        client.wire.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.wire.read_more()
        client.wire.socket.settimeout(5)
        server.shutdown()
        assert client.wire.read_rest() == b""


def test_a_real_client_hears_that_the_websocket_is_lost(start):
    rules = Faults()
    rules.add(faults.lose(after=1))
    url = start(rules.handler, Stub("12")).replace("http", "ws")
    with websockets.sync.client.connect(url, proxy=None) as websocket:
        assert websocket.recv(5) == "1"
        with pytest.raises(websockets.exceptions.ConnectionClosedError) as caught:
            websocket.recv(5)
        assert caught.value.rcvd is None


# --- up: what the origin of a relay sees ------------------------------------------------


@pytest.fixture
def relayed(start):
    """Relay to an origin that is a script, with faults on the way up; returns the client."""
    with contextlib.ExitStack() as closing:

        def relayed(play, *given):
            rules = Faults(seed=1)
            rules.add(*given, direction="up")
            origin = closing.enter_context(WebSocketOrigin(play))
            proxy = ProxyHandler(origin.url, hooks=[rules.hooks])
            closing.callback(proxy.close)
            client = closing.enter_context(Client(start(proxy), timeout=5.0))
            return client, origin

        yield relayed


def noting(origin):
    """Note each frame, and at last how the connection ended."""
    origin.accept()
    try:
        while True:
            got = origin.frame()
            origin.note((got.opcode, got.payload))
    except Truncated:
        origin.note("end")
    except ConnectionResetError:
        origin.note("reset")


@pytest.mark.parametrize(
    ("fault", "comes"),
    [
        (faults.drop(every=2), "135"),
        (faults.duplicate(every=5), "123455"),
        (faults.reorder(), "13254"),
        (faults.delay(0.001), "12345"),
    ],
    ids=repr,
)
def test_messages_upwards_are_changed(relayed, fault, comes):
    client, origin = relayed(noting, fault)
    client.open()
    for each in "12345":
        client.text(each)
    assert [origin.note() for _ in comes] == [(TEXT, each.encode()) for each in comes]


def test_the_origin_loses_its_websocket(relayed):
    client, origin = relayed(noting, faults.lose(after=1))
    client.open()
    client.text("1")
    assert [origin.note(), origin.note()] == [(TEXT, b"1"), "end"]
    assert client.closing()[0] == 1011


@pytest.mark.parametrize(
    "fault", [faults.cut(after=3), faults.reset(after=3)], ids=["cut", "reset"]
)
def test_the_origin_loses_its_websocket_within_a_message(relayed, fault):
    client, origin = relayed(noting, fault)
    client.open()
    client.text("12")
    assert origin.note() == (TEXT, b"12")
    client.text("34")
    assert origin.note() == ("reset" if "Reset" in repr(fault) else "end")


def test_the_origin_is_closed_with_a_code(relayed):
    client, origin = relayed(noting, faults.close_with(4003, after=1))
    client.open()
    client.text("1")
    assert origin.note() == (TEXT, b"1")
    assert origin.note() == (CLOSE, b"\x0f\xa3")


def test_the_origin_gets_odd_fragments_and_no_pong(relayed):
    def play(origin):
        origin.accept()
        frames = [origin.frame()]
        origin.send(PING, b"there?")
        while not frames[-1].final or frames[-1].opcode == PING:
            frames.append(origin.frame())
        frames.append(origin.frame())  # the next message, which comes behind a pong
        assert all(each.key for each in frames)
        data = [each.payload for each in frames if each.opcode != PING]
        origin.note((b"".join(data), len(data) > 3, any(f.opcode == PONG for f in frames)))
        origin.frame()

    client, origin = relayed(play, faults.fragment(1), faults.no_pong())
    client.open()
    client.text("odd")
    client.text("!")
    assert origin.note() == (b"odd!", True, False)


def test_the_origin_gets_no_close_frame(relayed):
    client, origin = relayed(noting, faults.no_close())
    client.open()
    client.close(1000)
    assert origin.note() == "end"


def test_two_sets_of_rules_spoil_one_websocket(start):
    first, second = Faults(), Faults()
    first.add(faults.duplicate(), direction="up")
    second.add(faults.corrupt(), direction="up")
    with WebSocketOrigin(noting) as origin:
        proxy = ProxyHandler(origin.url, hooks=[first.hooks, second.hooks])
        with Client(start(proxy)).open() as client:
            client.text("x")
            assert [origin.note(), origin.note()] == [(TEXT, b"#")] * 2
        proxy.close()


@pytest.mark.parametrize("fault", [faults.refuse(), faults.reset(), faults.empty()], ids=repr)
def test_an_origin_gets_no_handshake(relayed, fault):
    client, origin = relayed(noting, fault)
    assert client.answer().status == 502
    assert origin.requests == []
    assert origin.connections == (0 if fault == faults.refuse() else 1)


def test_an_origin_gets_a_longer_handshake(relayed):
    client, origin = relayed(noting, faults.oversized_head(3000))
    client.open()
    client.text("x")
    assert origin.note() == (TEXT, b"x")
    assert len(origin.last.raw) > 3000


def test_a_late_handshake_goes_upwards_in_the_end(relayed):
    client, origin = relayed(noting, faults.late(0.001))
    client.open()
    client.text("x")
    assert origin.note() == (TEXT, b"x")


# --- other servers ----------------------------------------------------------------------


@pytest.mark.parametrize("server", ["uvicorn", "hypercorn", "granian"])
def test_messages_are_changed_on_every_server(start, server):
    rules = Faults()
    rules.add(faults.drop(every=2), faults.close_with(4001, after=2))
    with Client(start(rules.handler, Stub("1234"), server=server)).open() as client:
        assert messages(client, 2) == ["1", "3"]
        assert client.closing()[0] == 4001


def test_what_wants_the_connection_says_so_elsewhere(start, caplog):
    rules = Faults()
    rules.add(faults.no_pong())
    with Client(start(rules.handler, Stub(), server="uvicorn")) as client:
        assert client.answer().status in (403, 500)
    assert FaultUnavailable.__name__ in caplog.text
    assert "the native server gives it" in caplog.text
