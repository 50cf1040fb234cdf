"""Messages and control frames of relayed websockets, on raw sockets."""

import os
import random
import threading
import zlib

import pytest
from choosing import OWN_HTTP
from websocket_origin import BINARY, CLOSE, PING, PONG, TEXT, Client, close_payload, frame

from rolo.proxy import WebSocketSettings

MIB = 1024 * 1024


@pytest.mark.parametrize(
    "message",
    [
        *("", b"", "x", b"\x00", "h\xe9llo \U0001f600", bytes(range(256)) * 10),
        *("x" * 125, "x" * 126, b"x" * 65535, b"x" * 65536, "\xe9" * 100_000),
    ],
    ids=lambda message: f"{type(message).__name__} of {len(message)}",
)
def test_messages_pass_as_they_are(relayed, message):
    client, _ = relayed()
    client.send(TEXT if isinstance(message, str) else BINARY, message)
    assert client.message() == message


def test_a_message_of_many_megabytes(relayed, served_on):
    client, _ = relayed()
    message = os.urandom(MIB) * 14
    sender = threading.Thread(target=client.send, args=(BINARY, message))
    sender.start()
    assert client.message() == message
    sender.join()


def test_order_is_kept_both_ways_at_once(relayed):
    count = 500

    def play(origin):
        origin.accept()
        sender = threading.Thread(
            target=lambda: [origin.text(f"down {number}") for number in range(count)]
        )
        sender.start()
        got = [origin.message() for _ in range(count)]
        sender.join()
        origin.note(got == [f"up {number}" for number in range(count)])
        origin.closing()

    client, origin = relayed(play)
    sender = threading.Thread(
        target=lambda: [client.text(f"up {number}") for number in range(count)]
    )
    sender.start()
    assert [client.message() for _ in range(count)] == [f"down {n}" for n in range(count)]
    sender.join()
    assert origin.note() is True


@pytest.mark.parametrize("opcode", [TEXT, BINARY], ids=["text", "binary"])
def test_a_hundred_fragments_arrive_whole_with_control_frames_between(relayed, opcode):
    client, _ = relayed()
    parts = [f"part {number} \xe9 ".encode() for number in range(100)]
    for number, part in enumerate(parts):
        client.send(opcode if number == 0 else 0, part, final=number == 99)
        if number % 10 == 0 and number < 99:
            client.send(PING, str(number).encode())
    pongs, message = [], None
    while message is None:
        got = client.frame()
        if got.opcode == PONG:
            pongs.append(got.payload)
        else:
            assert (got.opcode, got.final) == (opcode, True)
            message = got.payload
    assert message == b"".join(parts)
    assert pongs == [str(number).encode() for number in range(0, 99, 10)]


def test_fragments_of_the_origin_arrive_whole(relayed):
    def play(origin):
        origin.accept()
        text = "split \xe9 inside".encode()
        origin.send(TEXT, text[:7], final=False)
        origin.send(PING, b"between")
        assert origin.frame().payload == b"between"
        origin.send(0, b"", final=False)
        origin.send(0, text[7:])
        origin.send(BINARY, b"", final=False)
        origin.send(0, b"")
        origin.closing()

    client, _ = relayed(play)
    assert client.message() == "split \xe9 inside"
    assert client.message() == b""


def test_bytes_one_by_one(relayed):
    client, _ = relayed()
    for byte in frame(TEXT, "slow", key=b"abcd") + frame(BINARY, b"ly", key=b"efgh"):
        client.wire.send(bytes([byte]))
    assert [client.message(), client.message()] == ["slow", b"ly"]


def test_frames_to_the_origin_are_masked_with_fresh_keys_and_none_to_the_client(relayed):
    def play(origin):
        origin.accept()
        keys = []
        for _ in range(50):
            got = origin.frame()
            keys.append(got.key)
            origin.send(got.opcode, got.payload)
        origin.note(keys)
        origin.closing()

    client, origin = relayed(play)
    for _ in range(50):
        client.send(BINARY, b"same", key=b"same")
        got = client.frame()
        assert (got.key, got.payload) == (None, b"same")
    keys = origin.note()
    assert None not in keys
    assert b"same" not in keys
    assert len(set(keys)) == 50


# --- limits and violations


def test_a_client_message_over_the_servers_limit_is_1009(relayed, served_on):
    option = {
        "native": {"websocket_max_message": 1000},
        "twisted": {"websocket_max_message": 1000},
        "uvicorn": {"ws_max_size": 1000},
        "hypercorn": {"websocket_max_message_size": 1000},
    }.get(served_on[0])
    if option is None:
        pytest.skip("granian has no such setting")

    def play(origin):
        origin.accept()
        origin.note(origin.message())
        origin.note(origin.closing())

    client, origin = relayed(play, serving=option)
    client.send(BINARY, b"x" * 1000)
    assert origin.note() == b"x" * 1000
    client.send(BINARY, b"x" * 1001)
    assert client.closing()[0] == 1009
    assert origin.note()[0] == 1009


@pytest.mark.parametrize("fragmented", [False, True], ids=["one frame", "fragments"])
def test_an_origin_message_over_the_limit_is_1009_for_it_and_1011_for_the_client(
    relayed, fragmented
):
    def play(origin):
        origin.accept()
        origin.send(BINARY, b"x" * 1000)
        if fragmented:
            origin.send(BINARY, b"x" * 600, final=False)
            origin.send(0, b"x" * 600)
        else:
            origin.send(BINARY, b"x" * 1001)
        origin.note(origin.closing())

    client, origin = relayed(play, websockets=WebSocketSettings(max_message=1000))
    assert client.message() == b"x" * 1000
    assert client.closing()[0] == 1011
    assert origin.note()[0] == 1009


VIOLATIONS = {
    "text that is not UTF-8": (1007, frame(TEXT, b"\xff\xfe")),
    "half a character at the end": (1007, frame(TEXT, b"\xc3")),
    "a reserved bit": (1002, frame(TEXT, b"x", reserved=2)),
    "an unknown opcode": (1002, frame(3, b"x")),
    "an unknown control opcode": (1002, frame(11, b"x")),
    "a fragmented ping": (1002, frame(PING, b"x", final=False)),
    "a continuation of nothing": (1002, frame(0, b"x")),
    "a message within another": (1002, frame(TEXT, b"x", final=False) + frame(TEXT, b"y")),
    "a close of one byte": (1002, frame(CLOSE, b"x")),
    "a close code that may not be sent": (1002, frame(CLOSE, close_payload(1005))),
    "a close reason that is not UTF-8": (1007, frame(CLOSE, close_payload(1000) + b"\xff")),
    "a masked frame": (1002, frame(TEXT, b"x", key=b"abcd")),
}


@pytest.mark.parametrize("violation", VIOLATIONS)
def test_an_origin_that_breaks_the_protocol_is_told_so_and_the_client_gets_1011(relayed, violation):
    code, wired = VIOLATIONS[violation]

    def play(origin):
        origin.accept()
        origin.text("before")
        origin.wire.send(wired)
        origin.note(origin.closing())

    client, origin = relayed(play)
    assert client.message() == "before"
    assert client.closing()[0] == 1011
    assert origin.note()[0] == code


CLIENT_VIOLATIONS = {
    "text that is not UTF-8": (1007, frame(TEXT, b"\xff\xfe", key=b"abcd")),
    "a reserved bit": (1002, frame(TEXT, b"x", key=b"abcd", reserved=2)),
    "an unknown opcode": (1002, frame(3, b"x", key=b"abcd")),
    "a continuation of nothing": (1002, frame(0, b"x", key=b"abcd")),
    "an unmasked frame": (1002, frame(TEXT, b"x")),
}


@pytest.mark.parametrize("violation", CLIENT_VIOLATIONS)
def test_a_client_that_breaks_the_protocol_is_told_so(relayed, served_on, violation):
    if served_on[0] == "granian":
        pytest.skip("granian drops such connections without a close frame")
    code, wired = CLIENT_VIOLATIONS[violation]

    def play(origin):
        origin.accept()
        origin.note(origin.message())
        origin.note(origin.closing())

    client, origin = relayed(play)
    client.text("before")
    client.wire.send(wired)
    assert client.closing()[0] == code
    assert origin.note() == "before"
    assert origin.note()[0] == code


# --- compression


def deflated(payload):
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def inflated(payload):
    return zlib.decompressobj(-15).decompress(payload + b"\x00\x00\xff\xff")


def test_compression_of_the_clients_leg_stays_there(relaying, served_on):
    if served_on[0] not in OWN_HTTP:
        pytest.skip("only our own HTTP takes permessage-deflate of clients")

    def play(origin):
        origin.accept()
        got = origin.frame()
        origin.note((got.reserved, got.payload))
        origin.send(TEXT, b"back " * 100)
        origin.closing()

    url, origin = relaying(play)
    offer = [("Sec-WebSocket-Extensions", "permessage-deflate; client_no_context_takeover")]
    with Client(url, headers=offer) as client:
        accepted = client.open().handshake.get("sec-websocket-extensions")
        assert accepted.startswith("permessage-deflate")
        client.send(TEXT, deflated(b"there " * 100), reserved=4)
        assert origin.note() == (0, b"there " * 100)
        got = client.frame()
        assert got.reserved == 4
        assert inflated(got.payload) == b"back " * 100
    assert origin.last.all("sec-websocket-extensions") == []


def test_compression_of_the_origins_leg_by_choice(relayed):
    def play(origin):
        origin.accept(("Sec-WebSocket-Extensions", "permessage-deflate"))
        got = origin.frame()
        origin.note((got.reserved, inflated(got.payload)))
        origin.send(TEXT, deflated(b"back " * 100), reserved=4)
        origin.send(TEXT, b"plain")
        origin.closing()

    client, origin = relayed(play, websockets=WebSocketSettings(compression=True))
    assert origin.last.get("sec-websocket-extensions").startswith("permessage-deflate")
    client.text("there " * 100)
    assert origin.note() == (4, b"there " * 100)
    assert client.message() == "back " * 100
    assert client.message() == "plain"


def test_an_origin_may_decline_compression(relayed):
    client, _ = relayed(websockets=WebSocketSettings(compression=True))
    client.text("x")
    assert client.message() == "x"


def test_inflated_size_counts(relayed):
    def play(origin):
        origin.accept(("Sec-WebSocket-Extensions", "permessage-deflate"))
        origin.send(BINARY, deflated(bytes(50 * MIB)), reserved=4)
        origin.note(origin.closing())

    settings = WebSocketSettings(compression=True, max_message=MIB)
    client, origin = relayed(play, websockets=settings)
    assert client.closing()[0] == 1011
    assert origin.note()[0] == 1009


# --- control frames


@pytest.mark.parametrize("payload", [b"", b"x" * 125], ids=["empty", "125 bytes"])
def test_pings_are_answered_on_each_leg(relayed, payload):
    def play(origin):
        origin.accept()
        origin.send(PING, payload)
        got = origin.frame()
        origin.note((got.opcode, got.payload))
        origin.closing()

    client, origin = relayed(play)
    client.send(PING, payload)
    got = client.frame()
    assert (got.opcode, got.payload) == (PONG, payload)
    assert origin.note() == (PONG, payload)


def test_unasked_pongs_are_ignored(relayed):
    client, _ = relayed()
    client.send(PONG, b"unasked")
    client.text("x")
    assert client.message() == "x"


def test_a_silent_origin_is_pinged_and_one_that_does_not_answer_is_lost(relayed):
    def play(origin):
        origin.accept()
        got = origin.frame()
        origin.note(got.opcode)
        origin.send(PONG, got.payload)
        got = origin.frame()
        origin.note(got.opcode)
        origin.wire.read_more()

    client, origin = relayed(
        play, websockets=WebSocketSettings(ping_interval=0.1, ping_timeout=0.3)
    )
    assert (origin.note(), origin.note()) == (PING, PING)
    while (got := client.frame()).opcode == PING:
        client.send(PONG, got.payload)
    assert got.close[0] == 1011


def test_an_idle_websocket_is_closed_on_both_legs(relayed):
    def play(origin):
        origin.accept()
        origin.note(origin.message())
        origin.note(origin.closing())

    client, origin = relayed(play, websockets=WebSocketSettings(idle_timeout=0.3))
    client.text("alive")
    assert client.closing()[0] == 1001
    assert origin.note() == "alive"
    assert origin.note()[0] == 1001


def test_random_traffic_comes_back_as_it_went(relayed):
    client, _ = relayed()
    chance = random.Random(4)
    for _ in range(60):
        size = int(10 ** chance.uniform(0, 5))
        text = chance.random() < 0.5
        payload = chance.choice("a\xe9\U0001f600") * size if text else chance.randbytes(size)
        raw = payload.encode() if text else payload
        cut = sorted(chance.randrange(len(raw) + 1) for _ in range(chance.randrange(4)))
        parts = [raw[a:b] for a, b in zip([0, *cut], [*cut, len(raw)], strict=True)]
        for number, part in enumerate(parts):
            opcode = 0 if number else (TEXT if text else BINARY)
            client.send(opcode, part, final=number == len(parts) - 1)
        assert client.message() == payload
