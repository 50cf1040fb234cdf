"""Websockets as programs written for 0.8.9 use them."""

import asyncio
import threading
import time

import pytest
import websocket

from rolo.asgi import ASGIAdapter, ASGIWebSocketAdapter
from rolo.gateway import Gateway
from rolo.gateway.asgi import AsgiGateway
from rolo.serving import SERVERS, serve
from rolo.testing.hypercorn import run_hypercorn
from rolo.websocket.adapter import CreateConnection, TextMessage


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


SCOPE = {
    "type": "websocket",
    "asgi": {"version": "3.0"},
    "http_version": "1.1",
    "scheme": "ws",
    "path": "/",
    "raw_path": b"/",
    "query_string": b"",
    "root_path": "",
    "headers": [(b"host", b"h")],
    "client": ("127.0.0.1", 1),
    "server": ("127.0.0.1", 80),
    "subprotocols": [],
}


class Call:
    """An ASGI websocket call of one message."""

    def __init__(self):
        self.sent = []
        self.left = [
            {"type": "websocket.connect"},
            {"type": "websocket.receive", "text": "hi"},
            {"type": "websocket.disconnect", "code": 1000},
        ]

    async def receive(self):
        return self.left.pop(0)

    async def send(self, event):
        self.sent.append(event["type"])


def by_a_gateway(call, listener):
    class Listening(Gateway):
        def accept(self, request):
            listener(request.environ)

    app = AsgiGateway(Listening())
    return app, app(SCOPE, call.receive, call.send)


def by_an_adapter(call, listener):
    app = ASGIAdapter(None, websocket_listener=listener)
    return app, app(SCOPE, call.receive, call.send)


def by_an_adapter_of_ones_own(call, listener):
    async def run():
        loop = asyncio.get_running_loop()
        socket = ASGIWebSocketAdapter(SCOPE, call.receive, call.send, loop)
        await asyncio.to_thread(listener, {"asgi.websocket": socket})

    return None, run()


def with_events(socket):
    return [socket.receive(1), socket.accept(), socket.receive(1), socket.send(TextMessage("out"))]


def with_raw_events(socket):
    first = socket.asgi_receive(timeout=1)["type"]
    socket.asgi_send({"type": "websocket.accept"})
    text = socket.asgi_receive(timeout=1)["text"]
    socket.asgi_send({"type": "websocket.send", "text": "out"})
    return [first, None, text, None]


@pytest.mark.parametrize("serve_it", [by_a_gateway, by_an_adapter, by_an_adapter_of_ones_own])
@pytest.mark.parametrize(
    ("talk", "told"),
    [
        (with_events, [CreateConnection(), None, TextMessage("hi"), None]),
        (with_raw_events, ["websocket.connect", None, "hi", None]),
    ],
    ids=["events", "ASGI's events"],
)
def test_a_listener_may_talk_to_the_servers_side_itself(serve_it, talk, told):
    said, call = [], Call()

    def listener(environ):
        socket = environ["asgi.websocket"]
        assert isinstance(socket, ASGIWebSocketAdapter)
        said.extend(talk(socket))

    async def main():
        app, running = serve_it(call, listener)
        async with asyncio.timeout(5):
            await running
        if app is not None:
            await app.bridge.aclose()
            app.close()

    asyncio.run(main())
    assert said == told
    assert call.sent == ["websocket.accept", "websocket.send"]
