"""Websockets as programs written for 0.8.9 use them."""

import threading
import time

import pytest
import websocket

from rolo.gateway import Gateway
from rolo.gateway.asgi import AsgiGateway
from rolo.serving import SERVERS, serve
from rolo.testing.hypercorn import run_hypercorn


class Accepting(Gateway):
    """Hands each websocket to ``function`` and keeps what that returns, or raises."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.returned = None
        self.done = threading.Event()

    def accept(self, request):
        try:
            self.returned = self.function(request)
        except BaseException as exc:
            self.returned = exc
            raise
        finally:
            self.done.set()

    def outcome(self):
        assert self.done.wait(5)
        if isinstance(self.returned, BaseException):
            raise self.returned
        return self.returned


@pytest.fixture(params=["native", "twisted", "a hypercorn of the program's own"])
def opened(request):
    """Return a function that serves a function and returns its gateway and a client."""
    closing = []

    def open_websocket(function):
        gateway = Accepting(function)
        if request.param in SERVERS:
            if unavailable := SERVERS[request.param].available():
                pytest.skip(unavailable)
            server = serve(gateway, server=request.param)
            port, stop = server.port, server.shutdown
        else:
            app = AsgiGateway(gateway)
            port, stop = run_hypercorn(app, None, None)
            closing.append(app.close)
        client = websocket.WebSocket()
        closing.insert(0, stop)
        closing.insert(0, client.shutdown)
        client.connect(f"ws://127.0.0.1:{port}/", timeout=5)
        return gateway, client

    open_websocket.is_ours = request.param in SERVERS
    yield open_websocket
    for close in closing:
        close()


def test_last_received_at_is_never_none_and_moves(opened):
    """It is compared with ``time.monotonic()`` by programs that end silent websockets."""
    began, pinged = time.monotonic(), threading.Event()

    def handle(request):
        with request.accept() as ws:
            times = [began, ws.last_received_at, time.monotonic()]
            ws.receive()
            times.append(ws.last_received_at)
            ws.send("got it")
            assert pinged.wait(5)
            times.append(ws.last_received_at)
            assert ws.socket.last_received_at == ws.last_received_at
        return times

    gateway, client = opened(handle)
    client.send("a message")
    assert client.recv() == "got it"
    client.ping("sign of life")
    assert client.recv_data(control_frame=True) == (websocket.ABNF.OPCODE_PONG, b"sign of life")
    pinged.set()
    times = gateway.outcome()
    assert times == sorted(times)
    assert times[3] > times[2]
    assert (times[4] > times[3]) == opened.is_ours  # ASGI shows no pings


def test_nothing_but_text_and_bytes_is_sent(opened):
    def handle(request):
        with request.accept() as ws:
            try:
                ws.send({"a": "dict"})
            except Exception as exc:  # noqa: BLE001
                ws.send(str(exc))

    gateway, client = opened(handle)
    assert client.recv() == "Cannot send data type <class 'dict'> over websocket"
    gateway.outcome()


def test_the_client_closing_ends_the_iteration_and_tells_why(opened):
    def handle(request):
        ws = request.accept()
        messages = list(ws)
        return messages, ws.close_code, ws.close_reason

    gateway, client = opened(handle)
    client.send("text")
    client.send_binary(b"bytes")
    client.send_close(4321, b"had enough")
    messages, code, reason = gateway.outcome()
    assert messages == ["text", b"bytes"]
    if opened.is_ours:  # a hypercorn without our mends tells neither
        assert (code, reason) == (4321, "had enough")


def test_a_listener_of_environments_is_served_as_before(opened):
    """``WebSocketRequest.listener`` in the place of ``Gateway.accept``."""
    from rolo.websocket import WebSocketRequest

    @WebSocketRequest.listener
    def listen(request: WebSocketRequest):
        assert request.method == "WEBSOCKET"
        assert not request.is_upgraded()
        with request.accept() as ws:
            assert request.is_upgraded()
            ws.send(ws.receive())

    gateway, client = opened(lambda request: listen(request.environ))
    client.send("echo")
    assert client.recv() == "echo"
    gateway.outcome()
