"""The handshake of relayed websockets, on every server and in both modes, on raw sockets."""

import contextlib
import socket
import threading

import pytest
from choosing import OWN_HTTP
from commanded import LOOP_SERVERS
from websocket_origin import BINARY, KEY, TEXT, Client, WebSocketOrigin, accept_key, echo, frame
from wire import Truncated, Wire

from rolo.gateway import Gateway
from rolo.gateway.handlers import RouterHandler
from rolo.proxy import ProxyHandler, Timeouts
from rolo.routing import Router


def test_what_is_the_clients_passes_and_what_is_the_legs_is_made_anew(relaying):
    url, origin = relaying(base="/base")
    headers = [
        ("Origin", "https://example.org"),
        ("Cookie", "a=1; b=2"),
        ("Authorization", "Bearer x"),
        ("X-Forwarded-For", "203.0.113.7"),
        ("Sec-WebSocket-Extensions", "permessage-deflate, x-unknown"),
        ("X_Under", "dropped"),
    ]
    with Client(url, "/a%2Fb//c?q=%20&q=", headers) as client:
        answer = client.open().handshake
    seen = origin.last
    assert seen.method == "GET"
    assert seen.target == "/base/a%2Fb//c?q=%20&q="
    assert seen.all("host") == [url.removeprefix("http://")]
    assert seen.all("origin") == ["https://example.org"]
    assert seen.all("cookie") == ["a=1; b=2"]
    assert seen.all("authorization") == ["Bearer x"]
    assert seen.all("x_under") == []
    assert seen.all("x-forwarded-for") == ["203.0.113.7, 127.0.0.1"]
    assert seen.all("x-forwarded-proto") == ["http"]
    assert seen.all("x-forwarded-host") == [url.removeprefix("http://")]
    assert seen.all("sec-websocket-version") == ["13"]
    assert seen.all("sec-websocket-key") != [KEY]
    assert len(seen.all("sec-websocket-key")) == 1
    assert seen.all("upgrade") == ["websocket"]
    assert seen.all("connection") == ["Upgrade"]
    # Nothing that the client did not ask for, and no extension that we did not offer.
    for name in ("sec-websocket-extensions", "sec-websocket-protocol", "content-length"):
        assert seen.all(name) == []
    assert answer.all("sec-websocket-accept") == [accept_key(KEY)]
    assert answer.all("sec-websocket-protocol") == []


def test_host_is_the_upstreams_by_choice(relaying):
    url, origin = relaying(preserve_host=False)
    with Client(url) as client:
        client.open()
    assert origin.last.all("host") == [origin.url.removeprefix("http://")]


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ([("Sec-WebSocket-Protocol", "chat, super.chat")], "super.chat"),
        ([("Sec-WebSocket-Protocol", "one"), ("Sec-WebSocket-Protocol", "two")], "two"),
        ([("Sec-WebSocket-Protocol", "chat")], None),
        ([], None),
    ],
    ids=["one of two", "over two lines", "none of them", "none offered"],
)
def test_subprotocols_are_offered_upstream_and_the_origins_choice_goes_back(
    relaying, offered, chosen
):
    def play(origin):
        origin.accept(*([("Sec-WebSocket-Protocol", chosen)] if chosen else []))
        origin.closing()

    url, origin = relaying(play)
    with Client(url, headers=offered) as client:
        answer = client.open().handshake
        assert answer.all("sec-websocket-protocol") == ([chosen] if chosen else [])
        client.close(1000)
        client.rest()
    names = [name.strip() for _, value in offered for name in value.split(",")]
    assert origin.last.all("sec-websocket-protocol") == ([", ".join(names)] if names else [])


def test_fields_of_the_origins_101_reach_the_client(relaying, served_on):
    def play(origin):
        origin.accept(
            ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Origin", "yes"), ("Keep-Alive", "5")
        )
        origin.closing()

    url, _ = relaying(play)
    with Client(url) as client:
        answer = client.open().handshake
        passed = served_on[0] != "granian"  # which drops them
        assert answer.all("set-cookie") == (["a=1", "b=2"] if passed else [])
        assert answer.all("x-origin") == (["yes"] if passed else [])
        assert answer.all("keep-alive") == []
        assert answer.all("sec-websocket-accept") == [accept_key(KEY)]
        assert [v.lower() for v in answer.all("upgrade")] == ["websocket"]


@pytest.mark.parametrize(
    ("status", "fields", "body"),
    [
        (401, [("WWW-Authenticate", 'Basic realm="x"')], b"who are you"),
        (403, [("X-Why", "because")], b"no"),
        (404, [], b""),
        (302, [("Location", "https://elsewhere.example/")], b"over there"),
        (200, [("Content-Type", "text/plain")], b"a plain page"),
        (426, [("Sec-WebSocket-Version", "13")], b"x"),
        (503, [("Retry-After", "5"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")], b"busy" * 999),
    ],
)
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_refusal_reaches_the_client_as_the_origin_gave_it(
    relaying, served_on, status, fields, body, chunked
):
    def play(origin):
        framing = ("Transfer-Encoding", "chunked") if chunked else ("Content-Length", len(body))
        head = [f"HTTP/1.1 {status} Refused", *(f"{n}: {v}" for n, v in [framing, *fields])]
        wired = b"%x\r\n%b\r\n" % (len(body), body) if chunked and body else body
        tail = b"0\r\n\r\n" if chunked else b""
        origin.wire.send("\r\n".join(head).encode() + b"\r\n\r\n" + wired + tail)
        origin.wire.read_more()

    url, _ = relaying(play)
    with Client(url) as client:
        answer = client.answer()
    assert (answer.status, answer.body) == (status, body)
    if served_on[0] == "granian":
        # It shakes hands and refuses in one breath, and knows each field once.
        assert all(answer.all(name) == [dict(fields[::-1])[name]] for name, _ in fields)
        return
    for name, _ in fields:
        assert answer.all(name) == [v for n, v in fields if n == name]
    assert answer.all("sec-websocket-accept") == []


def test_a_refusal_is_sent_as_it_comes(relaying, served_on):
    if served_on[0] == "granian":
        pytest.skip("granian takes such an answer whole only")
    go_on = threading.Event()

    def play(origin):
        origin.wire.send(b"HTTP/1.1 401 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        assert go_on.wait(5)
        origin.wire.send(b"3\r\ntwo\r\n0\r\n\r\n")
        origin.wire.read_more()

    url, _ = relaying(play)
    with Client(url) as client:
        head = client.wire.head()
        assert (head.status, client.wire.piece(head)) == (401, b"one")
        go_on.set()
        assert client.wire.body(head) == b"two"


def test_a_refusal_that_breaks_off_does_not_look_whole(relaying, served_on):
    if served_on[0] == "granian":
        pytest.skip("granian takes such an answer whole only")

    def play(origin):
        origin.wire.send(b"HTTP/1.1 401 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")

    url, _ = relaying(play)
    with Client(url) as client, pytest.raises(Truncated):
        client.answer()


def test_an_origin_that_refuses_for_ever_lets_go_when_the_client_leaves(relaying, served_on):
    if served_on[0] == "granian":
        pytest.skip("granian does not tell of clients that leave before the acceptance")
    left = threading.Event()

    def play(origin):
        origin.wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        if not origin.wire.read_more():
            left.set()

    url, _ = relaying(play)
    with Client(url) as client:
        assert client.wire.piece(client.wire.head()) == b"data: 1\n\n"
    assert left.wait(5)


def test_refused_connections_are_502(start):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    handler = ProxyHandler(f"http://127.0.0.1:{port}")
    with contextlib.closing(handler), Client(start(handler).url) as client:
        assert client.answer().status == 502


def test_silence_is_504(relaying):
    url, _ = relaying(
        lambda origin: origin.wire.read_more(), timeouts=Timeouts(connect=5, response=0.2)
    )
    with Client(url) as client:
        assert client.answer().status == 504


ACCEPT = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "HTTP/1.1 101 Swi",
        "nonsense\r\n\r\n",
        "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        "HTTP/1.1 101 Switching\r\n" + ACCEPT.format("wrong") + "\r\n",
        "HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Accept: {0}\r\n\r\n",
        "HTTP/1.1 101 Switching\r\n" + ACCEPT + "Sec-WebSocket-Protocol: uninvited\r\n\r\n",
        "HTTP/1.1 101 Switching\r\n" + ACCEPT + "Sec-WebSocket-Extensions: x-own\r\n\r\n",
    ],
    ids=[
        "nothing",
        "half a head",
        "nonsense",
        "no accept",
        "wrong accept",
        "another protocol",
        "a subprotocol not offered",
        "an extension not offered",
    ],
)
def test_a_handshake_that_dies_or_lies_is_502(relaying, answer):
    def play(origin):
        key = accept_key(origin.seen.get("sec-websocket-key"))
        origin.wire.send(answer.format(key).encode())

    url, _ = relaying(play)
    with Client(url) as client:
        assert client.answer().status == 502


@pytest.mark.parametrize(("interims", "status"), [(200, 101), (201, 502)])
def test_two_hundred_interim_answers_are_skipped_and_no_more(relaying, interims, status):
    def play(origin):
        origin.wire.send(b"HTTP/1.1 102 Processing\r\n\r\n" * interims)
        echo(origin)

    url, _ = relaying(play)
    with Client(url) as client:
        assert client.answer().status == status


def test_interim_answers_are_no_refusals(relaying):
    def play(origin):
        origin.wire.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        echo(origin)

    url, _ = relaying(play)
    with Client(url) as client:
        client.open().text("x")
        assert client.message() == "x"


BROKEN = {
    "no key": [("Sec-WebSocket-Key", None)],
    "a bad key": [("Sec-WebSocket-Key", "short")],
    "no version": [("Sec-WebSocket-Version", None)],
    "an old version": [("Sec-WebSocket-Version", "8")],
}
# Who names the version that is meant (RFC 6455 section 4.4); all else is 400.
UPGRADE_REQUIRED = {
    *((server, broken) for server in OWN_HTTP for broken in ("no version", "an old version")),
    ("uvicorn", "an old version"),
}


@pytest.mark.all_variations_on(*set(LOOP_SERVERS) - {*OWN_HTTP})
@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_handshake_never_reaches_a_tunnel(relaying, served_on, broken):
    url, origin = relaying()
    expected = 426 if (served_on[0], broken) in UPGRADE_REQUIRED else 400
    replaced = dict(BROKEN[broken])
    fields = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": KEY,
        **replaced,
    }
    with Wire(url) as wire:
        wire.request("GET", "/", [(n, v) for n, v in fields.items() if v is not None])
        assert wire.head().status == expected
    assert origin.requests == []


@pytest.mark.all_variations_on(*set(LOOP_SERVERS) - {*OWN_HTTP})
@pytest.mark.parametrize(
    ("upgrade", "connection"),
    [
        ("WebSocket", "keep-alive, Upgrade"),
        ("WEBSOCKET", "UPGRADE"),
        ("websocket", "upgrade,Keep-Alive"),
    ],
)
@pytest.mark.parametrize("reused", [False, True], ids=["fresh", "reused"])
def test_spellings_of_the_handshake(relaying, upgrade, connection, reused):
    url, _ = relaying()
    headers = [("Upgrade", upgrade), ("Connection", connection)]
    with Client.__new__(Client) as client:
        client.client, client.wire = True, Wire(url)
        if reused:
            client.wire.request("GET", "/plain")
            assert client.wire.answer().status == 200
        fields = [*headers, ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", KEY)]
        client.wire.request("GET", "/", fields)
        client.open().text("x")
        assert client.message() == "x"


def test_frames_in_the_same_packet_as_the_101_are_not_lost(relaying):
    def play(origin):
        early = frame(TEXT, "one") + frame(BINARY, b"two") + frame(TEXT, "half")[:3]
        origin.accept(early=early)
        origin.wire.send(frame(TEXT, "half")[3:])
        origin.closing()

    url, _ = relaying(play)
    with Client(url) as client:
        client.open()
        assert [client.message() for _ in range(3)] == ["one", b"two", "half"]


def test_a_client_leaving_during_the_handshake_cancels_the_dial(relaying, served_on):
    if served_on[0] == "granian":
        pytest.skip("granian does not tell of clients that leave before the acceptance")
    gone = threading.Event()

    def play(origin):
        origin.note("dialled")
        if not origin.wire.read_more():
            gone.set()

    url, origin = relaying(play)
    with Client(url):
        assert origin.note() == "dialled"
    assert gone.wait(2)


def test_http_and_websockets_share_routes(start):
    with WebSocketOrigin() as origin:
        handler = ProxyHandler(origin.url)
        router = Router()
        router.add("/app/<path:path>", handler)
        with contextlib.closing(handler):
            url = start(Gateway([RouterHandler(router, respond_not_found=True)])).url
            with Client(url, "/app/some/%7Epath?q=1") as client:
                client.open().text("x")
                assert client.message() == "x"
            assert origin.last.target == "/some/%7Epath?q=1"
            with Wire(url) as wire:
                assert wire.get("/app/other").body == b"ok"
            with Client(url, "/elsewhere") as client:
                assert client.answer().status == 404
