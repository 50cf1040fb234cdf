"""How relayed websockets end, on raw sockets."""

import contextlib
import threading
import time

import pytest
from choosing import OWN_HTTP
from websocket_origin import CLOSE, TEXT, Client, WebSocketOrigin, close_payload, echo, frame

from rolo.gateway import Gateway
from rolo.proxy import ProxyHandler, WebSocketSettings
from rolo.serving import serve

CODES = [1000, 1001, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4000, 4999]


def ends(origin):
    origin.accept()
    origin.note(origin.closing())


@pytest.mark.parametrize("code", CODES)
def test_the_clients_close_travels_with_code_and_reason(relayed, served_on, code):
    if code == 1014 and served_on[0] not in OWN_HTTP:
        pytest.skip("wsproto and granian do not know this code")
    client, origin = relayed(ends)
    client.close(code, "re\xe4son")
    assert client.frame().close[0] == code
    reason = "" if served_on[0] == "granian" else "re\xe4son"  # which hides it
    assert origin.note() == (code, reason)
    assert client.rest() == b""


@pytest.mark.parametrize("code", CODES)
def test_the_origins_close_travels_with_code_and_reason(relayed, code):
    def play(origin):
        origin.accept()
        origin.close(code, "re\xe4son")
        origin.note(origin.frame().close)

    client, origin = relayed(play)
    assert client.closing() == (code, "re\xe4son")
    assert origin.note()[0] == code


def test_a_close_without_a_code_stays_one(relayed, served_on):
    client, origin = relayed(ends)
    client.close()
    assert client.frame().opcode == CLOSE
    assert origin.note() == (None, "")


def test_the_origins_close_without_a_code_stays_one(relayed, served_on):
    def play(origin):
        origin.accept()
        origin.close()
        origin.note(origin.frame().close)

    client, origin = relayed(play)
    # granian cannot send a close frame without a code.
    assert client.closing() == ((1000, "") if served_on[0] == "granian" else (None, ""))
    assert origin.note() == (None, "")


def test_a_reason_of_the_greatest_length(relayed, served_on):
    client, origin = relayed(ends)
    client.close(4000, "\xe9" * 61 + "x")
    expected = "" if served_on[0] == "granian" else "\xe9" * 61 + "x"
    assert origin.note() == (4000, expected)


def test_messages_before_the_clients_close_arrive_before_it(relayed):
    def play(origin):
        origin.accept()
        got = []
        while (received := origin.frame()).opcode != CLOSE:
            got.append(received.payload)
        origin.note((got, received.close[0]))

    client, origin = relayed(play)
    frames = [frame(TEXT, f"{n}", key=b"abcd") for n in range(300)]
    client.wire.send(b"".join(frames) + frame(CLOSE, close_payload(4001), key=b"abcd"))
    assert origin.note() == ([b"%d" % n for n in range(300)], 4001)


def test_messages_before_the_origins_close_arrive_before_it(relayed):
    def play(origin):
        origin.accept()
        frames = [frame(TEXT, f"{n}") for n in range(300)]
        origin.wire.send(b"".join(frames) + frame(CLOSE, close_payload(4001)))
        origin.rest()

    client, _ = relayed(play)
    assert [client.message() for _ in range(300)] == [f"{n}" for n in range(300)]
    assert client.closing()[0] == 4001


def test_messages_before_an_origin_is_lost_arrive_before_the_close(relayed):
    def play(origin):
        origin.accept(early=b"".join(frame(TEXT, f"{n}") for n in range(100)))

    client, _ = relayed(play)
    assert [client.message() for _ in range(100)] == [f"{n}" for n in range(100)]
    assert client.closing()[0] == 1011


@pytest.mark.parametrize("how", ["drop", "reset"])
@pytest.mark.parametrize("within", [False, True], ids=["between messages", "within one"])
def test_a_lost_origin_is_1011_for_the_client(relayed, how, within):
    def play(origin):
        origin.accept()
        origin.text("x")
        origin.note("accepted")
        origin.message()
        if within:
            origin.wire.send(frame(TEXT, "y" * 1000)[:500])
        getattr(origin, how)()

    client, origin = relayed(play)
    assert origin.note() == "accepted"
    assert client.message() == "x"
    started = time.monotonic()
    client.text("go")
    assert client.closing()[0] == 1011
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("how", ["drop", "reset"])
@pytest.mark.parametrize("within", [False, True], ids=["between messages", "within one"])
def test_a_lost_client_is_1001_for_the_origin(relayed, served_on, how, within):
    client, origin = relayed(ends)
    if within:
        client.wire.send(frame(TEXT, "y" * 1000, key=b"abcd")[:500])
    started = time.monotonic()
    getattr(client, how)()
    # granian calls that a close without a code.
    assert origin.note()[0] == (None if served_on[0] == "granian" else 1001)
    assert time.monotonic() - started < 2


def test_an_origin_that_does_not_answer_a_close_is_given_up(relayed):
    def play(origin):
        origin.accept()
        origin.note(origin.frame().close[0])
        origin.note(origin.rest())

    client, origin = relayed(play, websockets=WebSocketSettings(close_timeout=0.3))
    client.close(1000)
    assert origin.note() == 1000
    assert origin.note(2) == b""


def test_a_close_that_crosses_the_clients_answers_it(relayed):
    def play(origin):
        origin.accept()
        origin.note(origin.message())
        origin.wire.wait()  # the client's has arrived, and nobody has read it
        origin.close(4001, "mine")
        origin.note(origin.frame().close[0])

    client, origin = relayed(play)
    client.wire.send(
        frame(TEXT, "go", key=b"abcd") + frame(CLOSE, close_payload(4002), key=b"abcd")
    )
    assert client.frame().close[0] == 4002
    assert client.rest() == b""
    assert origin.note() == "go"
    assert origin.note() == 4002


def test_a_close_that_crosses_the_origins_answers_it(relayed):
    def play(origin):
        origin.accept()
        origin.close(4001, "mine")
        origin.note(origin.frame().close[0])

    client, origin = relayed(play)
    client.wire.wait()  # the origin's has arrived, and nobody has read it
    client.close(4002)
    assert client.frame().close[0] == 4001
    assert client.rest() == b""
    assert origin.note() == 4001


def test_shutdown_closes_both_legs_with_1001(served_on):
    name, mode = served_on
    with contextlib.ExitStack() as running:
        origin = running.enter_context(WebSocketOrigin(ends))
        handler = ProxyHandler(origin.url)
        running.callback(handler.close)
        server = running.enter_context(
            serve(Gateway([handler]), server=name, mode=mode, shutdown_timeout=3)
        )
        client = running.enter_context(Client(server.url))
        client.open()
        stopping = threading.Thread(target=server.shutdown)
        started = time.monotonic()
        stopping.start()
        if name == "granian":  # which drops them
            client.rest()
        else:
            assert client.closing()[0] == 1001
        assert origin.note()[0] == 1001
        stopping.join(5)
        assert not stopping.is_alive()
        assert time.monotonic() - started < 4


def test_a_handlers_proxy_that_closes_drops_its_websockets(start):
    with WebSocketOrigin(echo) as origin:
        handler = ProxyHandler(origin.url)
        with Client(start(handler).url) as client:
            client.open()
            handler.close()
            assert client.closing()[0] == 1011
