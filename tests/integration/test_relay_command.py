"""``rolo proxy`` with websockets: its options reach both legs."""

import threading

import pytest
from choosing import OWN_HTTP
from websocket_origin import BINARY, CLOSE, PING, PONG, Client, WebSocketOrigin, echo

LARGEST = 16 * 1024 * 1024


def sends_itself_pings(origin):
    origin.accept()
    while (got := origin.frame()).opcode != CLOSE:
        if got.opcode == PING:
            origin.note("pinged")
            origin.send(PONG, got.payload)
    origin.note(got.close)


def test_a_message_of_sixteen_mebibytes_by_default_and_not_more(proxy, served_on):
    message = bytes(range(256)) * (LARGEST // 256)
    with WebSocketOrigin(echo) as origin, Client(proxy(origin.url).url, timeout=30) as client:
        client.open()
        sender = threading.Thread(target=client.send, args=(BINARY, message))
        sender.start()
        assert client.message() == message
        sender.join()
        if served_on[0] != "granian":  # its bound is its own
            client.wire.send(b"\x82\xff" + (LARGEST + 1).to_bytes(8, "big") + bytes(4))
            if served_on[0] not in OWN_HTTP:  # these know by the header
                client.wire.send(bytes(LARGEST + 1))
            assert client.closing()[0] == 1009


def test_the_options_of_websockets(proxy, served_on):
    options = ["--websocket-ping-interval", "0.1", "--websocket-idle-timeout", "0.5"]
    with WebSocketOrigin(sends_itself_pings) as origin:
        url = proxy(origin.url, *options, "--max-message", "1k").url
        with Client(url) as client:
            client.open()
            pings = 0
            while (got := client.frame()).opcode != CLOSE:
                assert got.opcode == PING
                client.send(PONG, got.payload)
                pings += 1
            assert got.close[0] == 1001
            assert pings >= (0 if served_on[0] == "granian" else 2)
        assert origin.note() == "pinged"


def test_a_client_that_answers_no_ping_is_lost(proxy, served_on):
    if served_on[0] in ("granian", "hypercorn"):
        pytest.skip("this server does not wait for pongs")
    options = ["--websocket-ping-interval", "0.2", "--websocket-ping-timeout", "0.3"]
    with WebSocketOrigin(sends_itself_pings) as origin:
        with Client(proxy(origin.url, *options).url) as client:
            client.open()
            assert client.frame().opcode == PING
            client.rest()
        notes = []
        while not notes or notes[-1] == "pinged":
            notes.append(origin.note())
        assert notes[-1] == (1001, "")


def test_the_size_of_a_message(proxy, served_on):
    if served_on[0] == "granian":
        pytest.skip("granian has no such setting")
    with (
        WebSocketOrigin(echo) as origin,
        Client(proxy(origin.url, "--max-message", "1k").url) as client,
    ):
        client.open()
        client.send(BINARY, b"x" * 1024)
        assert client.message() == b"x" * 1024
        client.send(BINARY, b"x" * 1025)
        assert client.closing()[0] == 1009
