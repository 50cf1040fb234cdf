"""Opening websockets from sync code: blocking ones in scripts, and through the portal."""

import threading

import pytest
from websocket_origin import BINARY, TEXT, Client, WebSocketOrigin, echo

from rolo.errors import ConnectError, ResponseHeadTimeout
from rolo.gateway import Gateway
from rolo.portal.portal import current_portal
from rolo.proxy import HandshakeRefused, Timeouts, Tls, connect_websocket
from rolo.serving import serve
from rolo.websocket import WebSocketDisconnectedError


@pytest.fixture(params=["blocking", "threads", "loop"])
def run(request):
    """Run a function as a script would, or as the handler of a websocket."""

    def run(function):
        if request.param == "blocking":
            return function()
        outcome = []

        def handler(chain, context, response):
            with context.request.accept() as client:
                try:
                    outcome.append(function())
                except BaseException as exc:  # noqa: BLE001 - raised by the test below
                    outcome.append(exc)
                client.send("done")
            chain.stop()

        gateway = Gateway([handler])
        with (
            serve(gateway, server="native", mode=request.param) as server,
            Client(server.url) as client,
        ):
            client.open()
            assert client.message() == "done"
        if isinstance(outcome[0], BaseException):
            raise outcome[0]
        return outcome[0]

    return run


def ws(origin):
    return origin.url.replace("http://", "ws://")


def test_messages_both_ways(run):
    def talk():
        with connect_websocket(ws(origin) + "/a%20b/?q=1#no", headers={"X-One": "1"}) as socket:
            socket.send("h\xe9llo")
            socket.send(b"\x00\x01")
            return [socket.receive(), socket.receive(timeout=5)]

    with WebSocketOrigin() as origin:
        assert run(talk) == ["h\xe9llo", b"\x00\x01"]
        assert origin.last.target == "/a%20b/?q=1"
        assert origin.last.all("x-one") == ["1"]
        assert origin.last.all("host") == [origin.url.removeprefix("http://")]
        assert origin.last.all("origin") == []


def test_the_subprotocol_and_the_fields_of_the_acceptance(run):
    def play(origin):
        origin.accept(("Sec-WebSocket-Protocol", "two"), ("Set-Cookie", "a=b"))
        origin.closing()

    def talk():
        with connect_websocket(ws(origin), subprotocols=["one", "two"]) as socket:
            return socket.subprotocol, socket.headers["Set-Cookie"]

    with WebSocketOrigin(play) as origin:
        assert run(talk) == ("two", "a=b")
        assert [p.strip() for p in origin.last.get("sec-websocket-protocol").split(",")] == [
            "one",
            "two",
        ]


def test_the_close_of_the_server(run):
    def play(origin):
        origin.accept()
        origin.text("last")
        origin.close(4001, "b\xfce")
        origin.rest()

    def talk():
        socket = connect_websocket(ws(origin))
        messages = list(socket)
        return messages, socket.close_code, socket.close_reason

    with WebSocketOrigin(play) as origin:
        assert run(talk) == (["last"], 4001, "b\xfce")


def test_our_close(run):
    def play(origin):
        origin.accept()
        origin.note(origin.closing())

    with WebSocketOrigin(play) as origin:
        run(lambda: connect_websocket(ws(origin)).close(4002, "enough"))
        assert origin.note() == (4002, "enough")


def test_a_lost_server(run):
    def talk():
        with pytest.raises(WebSocketDisconnectedError) as caught:
            connect_websocket(ws(origin)).receive()
        return caught.value.code

    with WebSocketOrigin(lambda origin: origin.accept()) as origin:
        assert run(talk) == 1006


def test_a_timeout_loses_no_message(run):
    go = threading.Event()

    def play(origin):
        origin.accept()
        go.wait(5)
        origin.text("late")
        origin.closing()

    def talk():
        with connect_websocket(ws(origin)) as socket:
            with pytest.raises(TimeoutError):
                socket.receive(timeout=0.05)
            go.set()
            return socket.receive(timeout=5)

    with WebSocketOrigin(play) as origin:
        assert run(talk) == "late"


@pytest.mark.parametrize("status", [200, 302, 401])
def test_a_refusal(run, status):
    def play(origin):
        origin.wire.send(
            b"HTTP/1.1 %d No\r\nContent-Length: 2\r\nX-Why: x\r\nLocation: /\r\n\r\nno" % status
        )
        origin.wire.read_more()

    def talk():
        with pytest.raises(HandshakeRefused) as caught:
            connect_websocket(ws(origin))
        return caught.value.status, dict(caught.value.headers).get(b"X-Why".lower())

    with WebSocketOrigin(play) as origin:
        assert run(talk)[0] == status


def test_no_connection_and_no_answer(run):
    def refused():
        with pytest.raises(ConnectError):
            connect_websocket("ws://127.0.0.1:1/")
        with pytest.raises(ResponseHeadTimeout):
            connect_websocket(ws(origin), timeouts=Timeouts(response=0.2))

    with WebSocketOrigin(lambda origin: origin.wire.read_more()) as origin:
        run(refused)


@pytest.mark.parametrize("url", ["nonsense", "ftp://x", "ws://", "ws://u:p@h/"])
def test_urls_that_are_none(url):
    with pytest.raises(ValueError, match="upstream"):
        connect_websocket(url)


def test_a_handler_drives_both_legs_by_hand():
    def handler(chain, context, response):
        with context.request.accept() as client, connect_websocket(ws(origin)) as upstream:
            for message in client:
                upstream.send(message.upper())
                client.send(upstream.receive())
        chain.stop()

    with WebSocketOrigin(echo) as origin:
        for mode in ("threads", "loop"):
            with (
                serve(Gateway([handler]), server="native", mode=mode) as server,
                Client(server.url) as client,
            ):
                client.open()
                client.send(TEXT, "shout")
                client.send(BINARY, b"bytes")
                assert [client.message(), client.message()] == ["SHOUT", b"BYTES"]


def test_websockets_with_settings_of_their_own_leave_nothing_behind():
    held = []

    def handler(chain, context, response):
        loop_scope = current_portal().loop_scope
        with context.request.accept() as client:
            for number in range(20):
                timeouts, tls = Timeouts(connect=5 + number), Tls(server_hostname=f"h{number}")
                with connect_websocket(ws(origin), timeouts=timeouts, tls=tls) as upstream:
                    upstream.send("x")
                    upstream.receive()
                held.append(len(loop_scope._resources))
            client.send("done")
        chain.stop()

    with (
        WebSocketOrigin(echo) as origin,
        serve(Gateway([handler]), server="native") as server,
        Client(server.url) as client,
    ):
        client.open()
        assert client.message() == "done"
    assert held[0] == held[-1]
