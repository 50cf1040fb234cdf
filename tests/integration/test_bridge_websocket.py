"""What the bridge promises for websockets, on every server and in both modes."""

import threading

import pytest
import websocket

from rolo import Response
from rolo.gateway import Gateway
from rolo.serving import SERVERS
from rolo.websocket.errors import WebSocketDisconnectedError


class Handled:
    """A gateway whose websockets go to ``handler``; ``over`` is set when it has returned."""

    def __init__(self, handler):
        self.handler = handler
        self.over = threading.Event()
        self.seen = []
        self.gateway = Gateway([self.handle])

    def handle(self, chain, context, response):
        if context.request.method != "WEBSOCKET":
            response.data = b"http"
            return
        try:
            self.handler(self, context.request, response)
        finally:
            self.over.set()


@pytest.fixture
def connect():
    """Open websockets; whatever became of them, their sockets are closed at the end."""
    clients = []

    def connect(server, **options):
        client = websocket.WebSocket()
        clients.append(client)
        client.settimeout(5)
        client.connect(server.url.replace("http://", "ws://") + "/ws", **options)
        return client

    yield connect
    for client in clients:
        client.shutdown()


def echo(handled, request, response):
    with request.accept() as ws:
        for message in ws:
            ws.send(message)
    handled.seen.append((ws.close_code, ws.close_reason))


@pytest.fixture
def run(start):
    def run(handler, **options):
        handled = Handled(handler)
        return handled, start(handled.gateway, **options)

    return run


def supports(served_on, capability):
    return getattr(SERVERS[served_on[0]].capabilities, capability)


def test_text_and_binary_messages_are_echoed_as_what_they_are(run, connect):
    _, server = run(echo)
    client = connect(server)
    client.send("text ü")
    assert client.recv_data() == (websocket.ABNF.OPCODE_TEXT, "text ü".encode())
    client.send_binary(b"\0\1")
    assert client.recv_data() == (websocket.ABNF.OPCODE_BINARY, b"\0\1")
    client.send("")
    assert client.recv_data() == (websocket.ABNF.OPCODE_TEXT, b"")


def test_code_and_reason_of_the_clients_close_reach_the_handler(run, served_on, connect):
    handled, server = run(echo)
    client = connect(server)
    client.send("x")
    assert client.recv() == "x"
    client.close(4321, b"bye")
    assert handled.over.wait(5)
    code, reason = handled.seen[0]
    assert code == 4321
    if served_on[0] != "granian":  # docs/servers.md: the reason is lost there
        assert reason == "bye"


def test_code_and_reason_of_the_handlers_close_reach_the_client(run, connect):
    def handler(handled, request, response):
        request.accept().close(4001, "enough")

    _, server = run(handler)
    client = connect(server)
    opcode, data = client.recv_data()
    assert opcode == websocket.ABNF.OPCODE_CLOSE
    assert data == (4001).to_bytes(2, "big") + b"enough"


def test_a_handshake_is_refused_with_status_and_body(run, served_on, connect):
    def handler(handled, request, response):
        request.reject(Response("not you", status=401, headers={"X-Why": "because"}))

    _, server = run(handler)
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        connect(server)
    if supports(served_on, "denial"):
        assert refused.value.status_code == 401
        assert refused.value.resp_headers["x-why"] == "because"
        assert refused.value.resp_body == b"not you"
    else:
        assert refused.value.status_code == 403


def test_a_handler_that_does_neither_refuses_with_the_chains_response(run, served_on, connect):
    def handler(handled, request, response):
        response.status_code = 418

    _, server = run(handler)
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        connect(server)
    assert refused.value.status_code == (418 if supports(served_on, "denial") else 403)


def test_an_error_before_the_accept_refuses(run, served_on, connect):
    def handler(handled, request, response):
        raise RuntimeError("broken on purpose")

    _, server = run(handler)
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        connect(server)
    assert refused.value.status_code == (500 if supports(served_on, "denial") else 403)


def test_an_error_after_the_accept_closes_with_1011(run, connect):
    def handler(handled, request, response):
        request.accept()
        raise RuntimeError("broken on purpose")

    _, server = run(handler)
    client = connect(server)
    opcode, data = client.recv_data()
    assert (opcode, data[:2]) == (websocket.ABNF.OPCODE_CLOSE, (1011).to_bytes(2, "big"))


def test_the_subprotocol_of_the_handlers_choice_is_agreed_on(run, connect):
    def handler(handled, request, response):
        handled.seen.append(request.headers.get("Sec-WebSocket-Protocol"))
        request.accept(subprotocol="b").close()

    handled, server = run(handler)
    client = connect(server, subprotocols=["a", "b"])
    assert client.getsubprotocol() == "b"
    assert [offer.strip() for offer in handled.seen[0].split(",")] == ["a", "b"]


def test_a_receive_that_times_out_loses_no_message(run, connect):
    def handler(handled, request, response):
        ws = request.accept()
        try:
            ws.receive(timeout=0.01)
        except TimeoutError:
            ws.send("timed out")
        ws.send(ws.receive(timeout=5))
        ws.close()

    _, server = run(handler)
    client = connect(server)
    assert client.recv() == "timed out"
    client.send("late")
    assert client.recv() == "late"


def test_a_lost_connection_ends_the_handler(run, connect, served_on):
    def handler(handled, request, response):
        ws = request.accept()
        ws.send("hello")
        try:
            ws.receive()
        except WebSocketDisconnectedError as exc:
            handled.seen.append(exc.code)

    handled, server = run(handler)
    client = connect(server)
    assert client.recv() == "hello"
    client.shutdown()
    assert handled.over.wait(5)
    # granian calls that a close without a code.
    assert handled.seen == [1005 if served_on[0] == "granian" else 1006]


def test_messages_sent_before_the_handlers_close_arrive_before_it(run, connect):
    def handler(handled, request, response):
        ws = request.accept()
        for n in range(100):
            ws.send(str(n))
        ws.close()

    _, server = run(handler)
    client = connect(server)
    assert [client.recv() for _ in range(100)] == [str(n) for n in range(100)]
    assert client.recv_data()[0] == websocket.ABNF.OPCODE_CLOSE


def test_http_is_served_beside_websockets(run, connect):
    from wire import fetch

    _, server = run(echo)
    client = connect(server)
    assert fetch(server.url).body == b"http"
    client.send("x")
    assert client.recv() == "x"


def test_many_websockets_at_once(run, connect):
    _, server = run(echo)
    clients = [connect(server) for _ in range(40)]
    for n, client in enumerate(clients):
        client.send(str(n))
    assert [client.recv() for client in clients] == [str(n) for n in range(40)]
    for client in clients:
        client.close()


def test_a_spent_websocket_budget_is_a_clear_refusal_in_threads_mode(served_on, connect):
    from rolo.gateway.asgi import AsgiGateway
    from rolo.serving import serve

    name, mode = served_on
    if mode == "loop":
        pytest.skip("in loop mode websockets cost no thread, so there is no budget")
    handled = Handled(echo)
    app = AsgiGateway(handled.gateway, websocket_threads=2)
    try:
        with serve(app, server=name) as server:
            clients = [connect(server), connect(server)]
            for client in clients:
                client.send("in")
                assert client.recv() == "in"
            with pytest.raises(websocket.WebSocketBadStatusException) as refused:
                connect(server)
            assert refused.value.status_code == (503 if supports(served_on, "denial") else 403)
            clients[0].close()
            assert handled.over.wait(5)
            clients[1].send("still here")
            assert clients[1].recv() == "still here"
            clients[1].close()
    finally:
        app.close()
