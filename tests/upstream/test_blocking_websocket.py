"""A websocket on a blocking socket: the rules of the one on the loop, with the waiting done by
threads."""

import contextlib
import socket
import threading

import pytest
from websocket_origin import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    OriginWire,
    Peer,
    close_payload,
    frame,
)

from rolo.errors import ConnectTimeout
from rolo.upstream.blocking_transport import SwitchedSocket, SyncTransport
from rolo.upstream.blocking_websocket import BlockingWebSocket
from rolo.upstream.request import UpstreamRequest
from rolo.upstream.settings import PoolLimits, Timeouts, WebSocketSettings
from rolo.websocket import WebSocketDisconnectedError, WebSocketProtocolError
from rolo.websocket.adapter import BytesMessage, TextMessage
from rolo.wire.permessage_deflate import Deflate, Parameters
from rolo.wire.target import Origin

PATIENCE = 10
LONG = "\xe4" * 1_000_000


@pytest.fixture
def pair():
    """Return what makes a websocket and its origin's side."""
    made = []

    def make(early=b"", deflate=None, **settings):
        ours, theirs = socket.socketpair()
        settings = WebSocketSettings(**{"close_timeout": 5, **settings})
        websocket = BlockingWebSocket(SwitchedSocket(ours, early), settings, deflate, None, [])
        origin = Peer(OriginWire(theirs, PATIENCE), client=False)
        made.extend((ours, theirs))
        return websocket, origin

    yield make
    for sock in made:
        sock.close()


def in_background(function):
    thread = threading.Thread(target=function)
    thread.start()
    return thread


def test_what_came_right_behind_the_101_is_the_first_to_be_received(pair):
    websocket, origin = pair(frame(TEXT, "one") + frame(TEXT, "two")[:3])
    origin.wire.send(frame(TEXT, "two")[3:])
    assert [websocket.receive().data, websocket.receive().data] == ["one", "two"]


def test_one_thread_receives_while_another_sends_more_than_there_is_room_for(pair):
    websocket, origin = pair()

    def talk():
        # It reads nothing before it has been heard, not even pings.
        origin.wire.send(frame(PING, b"?") + frame(BINARY, LONG.encode()))
        assert origin.frame().payload == LONG.encode()
        origin.wire.send(frame(TEXT, "heard"))

    sending = in_background(lambda: websocket.send(TextMessage(LONG)))
    talking = in_background(talk)
    assert websocket.receive(timeout=PATIENCE).data == LONG.encode()
    assert websocket.receive(timeout=PATIENCE).data == "heard"
    sending.join(PATIENCE)
    talking.join(PATIENCE)


def test_a_ping_is_answered_by_who_receives(pair):
    websocket, origin = pair()
    origin.wire.send(frame(PING, b"there?") + frame(TEXT, "x"))
    assert websocket.receive().data == "x"
    answer = origin.frame()
    assert (answer.opcode, answer.payload) == (PONG, b"there?")


def test_a_message_that_was_not_sent_in_time_goes_out_before_the_next(pair):
    websocket, origin = pair()
    with pytest.raises(TimeoutError):
        websocket.send(TextMessage(LONG * 4), timeout=0.01)
    sending = in_background(lambda: websocket.send(BytesMessage(b"next")))
    assert origin.frame().payload == (LONG * 4).encode()
    assert origin.frame().payload == b"next"
    sending.join(PATIENCE)


def test_compression(pair):
    websocket, origin = pair(deflate=Deflate(Parameters(), client=True))
    theirs = Deflate(Parameters(), client=False)
    websocket.send(BytesMessage(b"a" * 10_000))
    sent = origin.frame()
    assert len(sent.payload) < 100
    origin.wire.send(frame(BINARY, theirs.compress(b"b" * 10_000), reserved=4))
    assert websocket.receive().data == b"b" * 10_000


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(TEXT, b"x", reserved=4), 1002),
        (frame(TEXT, b"\xff"), 1007),
        (frame(BINARY, b"x" * 1001), 1009),
    ],
    ids=["a reserved bit", "no text", "too long"],
)
def test_who_breaks_the_rules_is_told_so(pair, sent, code):
    websocket, origin = pair(max_message=1000)
    origin.wire.send(frame(TEXT, "before") + sent)
    assert websocket.receive().data == "before"
    with pytest.raises(WebSocketDisconnectedError) as caught:
        websocket.receive()
    assert caught.value.code == code
    assert origin.frame().payload[:2] == code.to_bytes(2, "big")


def test_the_close_of_the_origin_is_answered_and_told_after_all_messages(pair):
    websocket, origin = pair()
    origin.wire.send(frame(TEXT, "last") + frame(CLOSE, close_payload(4001, "b\xfce")))
    assert websocket.receive().data == "last"
    for _ in range(2):
        with pytest.raises(WebSocketDisconnectedError) as caught:
            websocket.receive()
        assert (caught.value.code, caught.value.reason) == (4001, "b\xfce")
    with pytest.raises(WebSocketDisconnectedError):
        websocket.send(TextMessage("late"))
    assert origin.frame().payload == close_payload(4001, "b\xfce")
    assert not origin.wire.read_more()


def test_a_close_waits_for_its_answer_and_discards_what_comes_before(pair):
    websocket, origin = pair()

    def answer():
        sent = origin.frame()
        assert sent.payload == close_payload(4002, "enough")
        origin.wire.send(frame(TEXT, "late") + frame(CLOSE, sent.payload))
        ended.append(not origin.wire.read_more())

    ended = []
    answering = in_background(answer)
    websocket.close(4002, "enough")
    answering.join(PATIENCE)
    assert ended == [True]
    with pytest.raises(WebSocketDisconnectedError) as caught:
        websocket.receive()
    assert caught.value.code == 4002


def test_a_close_does_not_wait_for_ever(pair):
    websocket, origin = pair(close_timeout=0.01)
    websocket.close(1000)
    assert origin.frame().opcode == CLOSE
    assert not origin.wire.read_more()
    with pytest.raises(WebSocketDisconnectedError):
        websocket.send(TextMessage("late"))


def test_a_close_by_another_thread_wakes_who_receives(pair):
    websocket, _ = pair(close_timeout=0.01)
    codes = []

    def receive():
        waiting.set()
        try:
            websocket.receive()
        except WebSocketDisconnectedError as exc:
            codes.append(exc.code)

    waiting = threading.Event()
    receiving = in_background(receive)
    assert waiting.wait(PATIENCE)
    websocket.close(1000)
    receiving.join(PATIENCE)
    assert codes == [1006]


def test_nothing_is_sent_between_our_close_and_its_answer(pair):
    websocket, origin = pair()
    refused = []

    def late():
        assert origin.frame().opcode == CLOSE
        try:
            websocket.send(TextMessage("late"))
        except WebSocketProtocolError as exc:
            refused.append(exc)
        origin.wire.send(frame(CLOSE, close_payload(1000)))

    sending = in_background(late)
    websocket.close(1000)
    sending.join(PATIENCE)
    assert len(refused) == 1


def test_a_lost_origin(pair):
    websocket, origin = pair()
    origin.wire.close()
    with pytest.raises(WebSocketDisconnectedError) as caught:
        websocket.receive()
    assert caught.value.code == 1006


def test_the_socket_of_a_101_is_no_more_of_the_pools():
    request = UpstreamRequest(None, "GET", b"/", [(b"Host", b"a")], upgrade=b"other")

    def serve():
        for _ in range(2):
            connection, _ = listener.accept()
            connections.append(connection)
            connection.recv(65536)
            connection.sendall(
                b"HTTP/1.1 101 X\r\nUpgrade: other\r\nConnection: Upgrade\r\n\r\nxyz"
            )

    connections = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        request.origin = Origin("http", *listener.getsockname())
        serving = in_background(serve)
        limits = PoolLimits(max_connections=1)
        with SyncTransport(limits=limits, timeouts=Timeouts(connect=PATIENCE)) as transport:
            try:
                bodies = [transport.send(request).body for _ in range(2)]
            except ConnectTimeout:
                pytest.fail("the first keeps its place")
        serving.join(PATIENCE)
    sock, early = bodies[0].take_over()
    assert early == b"xyz"
    bodies[0].close()
    connections[0].sendall(b"more")
    assert sock.recv(10) == b"more"
    bodies[1].close()
    assert connections[1].recv(10) == b""
    for each in (sock, *connections):
        each.close()


def test_an_answer_to_a_ping_that_found_no_room_goes_out_while_we_receive(pair):
    websocket, origin = pair()
    filled, got = 0, []
    with contextlib.suppress(BlockingIOError):
        while True:
            filled += websocket._sock.send(bytes(65536))
    origin.send(PING, b"hi")
    receiving = in_background(lambda: got.append(websocket.receive(PATIENCE).data))
    for _ in range(1000):  # nobody tells that it waits for room
        if websocket._unsent:
            break
        threading.Event().wait(0.005)
    origin.wire.read_exactly(filled)
    pong = origin.frame()
    assert (pong.opcode, pong.payload) == (PONG, b"hi")
    origin.text("go on")
    receiving.join(PATIENCE)
    assert got == ["go on"]
