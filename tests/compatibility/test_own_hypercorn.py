"""A program that starts hypercorn itself, with an ``AsgiGateway`` on it."""

import socket

import h2.connection
import h2.events
import pytest
from hypercorn.config import Config
from werkzeug.datastructures import Headers

from rolo.gateway import Gateway
from rolo.gateway.asgi import AsgiGateway
from rolo.testing.hypercorn import run_hypercorn
from rolo.websocket import WebSocketRequest


class Answering(Gateway):
    """Answers with the names of its own choice, requests and websockets alike."""

    def process(self, request, response):
        response.headers["X-Some-Thing"] = "1"
        response.headers["eTag"] = '"2"'
        response.headers.add("x-requested", "|".join(name for name, _ in request.headers))
        response.data = b"body"

    def accept(self, request: WebSocketRequest):
        with request.accept(headers=Headers([("X-Some-Thing", "1")])):
            pass


def lowering(app):
    """A middleware, which finds names in lower case as the ASGI specification has them."""

    async def middleware(scope, receive, send):
        async def send_on(event):
            assert all(name.islower() for name, _ in event.get("headers", ()))
            await send(event)

        await app(scope, receive, send_on if scope["type"] == "http" else send)

    return middleware


@pytest.fixture(params=[lambda app: app, lowering], ids=["bare", "with a middleware"])
def port(request):
    config = Config()
    config.h11_pass_raw_headers = True
    app = AsgiGateway(Answering())
    port, stop = run_hypercorn(request.param(app), config, None)
    yield port
    stop()
    app.close()


def head_of_the_answer(port, text):
    with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        sock.sendall(text.encode())
        received = b""
        while b"\r\n\r\n" not in received:
            piece = sock.recv(65536)
            assert piece, received
            received += piece
    return received.partition(b"\r\n\r\n")[0].split(b"\r\n")


def test_field_names_keep_their_case_over_http_1(port, request):
    head = head_of_the_answer(
        port, "GET / HTTP/1.1\r\nHost: x\r\nX-OnE: 1\r\nConnection: close\r\n\r\n"
    )
    if "bare" in request.node.name:
        assert b"X-Some-Thing: 1" in head
        assert b'eTag: "2"' in head
        assert b"Content-Length: 4" in head
    else:
        assert b"x-some-thing: 1" in head
    assert b"x-requested: Host|X-OnE|Connection" in head


def test_field_names_are_in_lower_case_over_http_2(port):
    connection = h2.connection.H2Connection()
    connection.initiate_connection()
    fields = [(":method", "GET"), (":scheme", "http"), (":authority", "x"), (":path", "/")]
    connection.send_headers(1, fields, end_stream=True)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        sock.sendall(connection.data_to_send())
        seen = []
        while not any(isinstance(event, h2.events.StreamEnded) for event in seen):
            seen += connection.receive_data(sock.recv(65536))
    (head,) = (event for event in seen if isinstance(event, h2.events.ResponseReceived))
    assert (b"x-some-thing", b"1") in head.headers
    assert all(name == name.lower() for name, _ in head.headers)


def test_field_names_of_a_websocket_handshake_keep_their_case(port):
    head = head_of_the_answer(
        port,
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )
    assert head[0].startswith(b"HTTP/1.1 101 ")
    assert b"X-Some-Thing: 1" in head
