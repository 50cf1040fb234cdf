"""What rolo mends in hypercorn, and what it adds."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import subprocess
import sys
import typing as t

import pytest
from h2.events import InformationalResponseReceived, StreamEnded, StreamReset, TrailersReceived
from serving_support import (
    App,
    Client,
    H2Client,
    WebSocketClient,
    answer,
    fetch,
    hello,
    read_body,
)
from wsproto.events import BytesMessage, CloseConnection, TextMessage

from rolo.serving import ServerTls, serve


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="hypercorn.error")


async def broken(app: App, scope: t.Any, receive: t.Any, send: t.Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})
    raise RuntimeError("on purpose")


@pytest.mark.parametrize("loop", ["auto", "asyncio"])
def test_half_an_answer_to_an_http_1_0_client_ends_with_a_reset(loop: str) -> None:
    with (
        serve(App(http=broken), server="hypercorn", loop=loop) as server,
        Client(server.port) as client,
    ):
        client.get("/", version="1.0")
        client.all()
    assert client.end == "reset"


def test_a_whole_answer_to_an_http_1_0_client_ends_cleanly() -> None:
    async def whole(app: App, scope: t.Any, receive: t.Any, send: t.Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"whole"})

    with (
        serve(App(http=whole), server="hypercorn") as server,
        Client(server.port) as client,
    ):
        client.get("/", version="1.0")
        assert client.all().endswith(b"\r\n\r\nwhole")
    assert client.end == "fin"


def test_the_reason_phrase_is_the_one_given() -> None:
    async def odd(app: App, scope: t.Any, receive: t.Any, send: t.Any) -> None:
        start = {"type": "http.response.start", "status": 299, "headers": [], "reason": b"So So"}
        await send(start)
        await send({"type": "http.response.body"})

    with serve(App(http=odd), server="hypercorn") as server:
        assert fetch(server.port).startswith(b"HTTP/1.1 299 So So\r\n")


def test_the_reason_phrase_is_the_usual_one_if_none_is_given() -> None:
    with serve(App(http=hello), server="hypercorn") as server:
        assert fetch(server.port).startswith(b"HTTP/1.1 200 OK\r\n")


async def with_interim(app: App, scope: t.Any, receive: t.Any, send: t.Any) -> None:
    assert "rolo.http.response.interim" in scope["extensions"]
    hints = {"status": 103, "headers": [(b"link", b"</a.css>; rel=preload")]}
    await send({"type": "rolo.http.response.interim", **hints})
    await answer(send, b"final")


def test_interim_answers_reach_http_1_1_clients() -> None:
    with serve(App(http=with_interim), server="hypercorn") as server:
        received = fetch(server.port)
        older = fetch(server.port, version="1.0")
    interim = b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n"
    assert received.startswith(interim + b"HTTP/1.1 200 OK\r\n")
    assert b"103" not in older


def test_interim_answers_reach_http_2_clients(tls: ServerTls, trusting: ssl.SSLContext) -> None:
    with (
        serve(App(http=with_interim), server="hypercorn", tls=tls) as server,
        H2Client(server.port, trusting) as client,
    ):
        stream = client.request()
        assert (b":status", b"103") in client.until(InformationalResponseReceived, stream).headers
        client.until(StreamEnded, stream)


async def with_trailers(app: App, scope: t.Any, receive: t.Any, send: t.Any) -> None:
    assert "http.response.trailers" in scope["extensions"]
    await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": True})
    await send({"type": "http.response.body", "body": b"body"})
    await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"1")]})


def test_trailers_reach_http_1_1_clients_that_want_them() -> None:
    with (
        serve(App(http=with_trailers), server="hypercorn") as server,
        Client(server.port) as client,
    ):
        client.get("/", "TE: trailers")
        client.until(b"4\r\nbody\r\n0\r\nx-sum: 1\r\n\r\n")
        client.received = b""
        client.get("/")
        client.until(b"4\r\nbody\r\n0\r\n\r\n")


def test_trailers_reach_http_2_clients(tls: ServerTls, trusting: ssl.SSLContext) -> None:
    with (
        serve(App(http=with_trailers), server="hypercorn", tls=tls) as server,
        H2Client(server.port, trusting) as client,
    ):
        stream = client.request("/", (b"te", b"trailers"))
        assert client.until(TrailersReceived, stream).headers == [(b"x-sum", b"1")]


def test_http2_an_early_answer_ends_the_upload(tls: ServerTls, trusting: ssl.SSLContext) -> None:
    with (
        serve(App(http=hello), server="hypercorn", tls=tls) as server,
        H2Client(server.port, trusting) as client,
    ):
        stream = client.request(body=None)
        client.until(StreamEnded, stream)
        assert client.body(stream) == b"hello"
        assert client.until(StreamReset, stream).error_code == 0  # NO_ERROR


def test_sending_to_a_client_that_left_raises_os_error() -> None:
    async def late(app: App, scope: t.Any, receive: t.Any, send: t.Any) -> None:
        await read_body(receive)
        app.seen.put("waiting")
        await receive()
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        except OSError as error:
            app.seen.put(error)

    app = App(http=late)
    with serve(app, server="hypercorn") as server:
        with Client(server.port) as client:
            client.get("/")
            assert app.next() == "waiting"
        assert isinstance(app.next(), OSError)


def test_a_thousand_requests_pass_over_one_connection() -> None:
    async def echo(app: App, scope: t.Any, receive: t.Any, send: t.Any) -> None:
        await answer(send, await read_body(receive))

    with serve(App(http=echo), server="hypercorn") as server, Client(server.port) as client:
        for number in range(1100):
            body = f"<{number}>"
            client.get("/", f"Content-Length: {len(body)}", "Expect: 100-continue", method="PUT")
            client.send(body.encode())
            client.until(body.encode())
            client.received = b""


async def receive_until_closed(app: App, scope: t.Any, receive: t.Any, send: t.Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    event: dict[str, t.Any] = {"type": ""}
    while event["type"] != "websocket.disconnect":
        event = await receive()
        if event.get("text") == "close":
            await send({"type": "websocket.close", "code": None})
    app.seen.put((event["code"], event["reason"]))


@pytest.fixture(params=["hypercorn", "uvicorn"])
def mended(request: pytest.FixtureRequest) -> str:
    if request.param == "uvicorn":
        pytest.importorskip("uvicorn")
    return str(request.param)


def test_code_and_reason_of_the_client_reach_the_application(mended: str) -> None:
    app = App(websocket=receive_until_closed)
    with serve(app, server=mended) as server, WebSocketClient(server.port) as client:
        client.send(CloseConnection(4321, "gründlich"))
        assert app.next() == (4321, "gründlich")
        assert client.closed().code == 4321


def test_a_lost_connection_is_1006(mended: str) -> None:
    app = App(websocket=receive_until_closed)
    with serve(app, server=mended) as server:
        with WebSocketClient(server.port):
            pass
        assert app.next() == (1006, "")


def test_the_application_can_close_without_a_code(mended: str) -> None:
    app = App(websocket=receive_until_closed)
    with serve(app, server=mended) as server, WebSocketClient(server.port) as client:
        client.send(TextMessage("close"))
        assert client.closed().code == 1005
        client.send(CloseConnection(1000))


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        pytest.param(b"\x81\x82\0\0\0\0\xff\xff", 1007, id="invalid UTF-8"),
        pytest.param(b"\x83\x80\0\0\0\0", 1002, id="reserved opcode"),
        pytest.param(b"\x81\x00", 1002, id="unmasked"),
    ],
)
def test_broken_frames_are_answered_with_a_close(mended: str, frame: bytes, code: int) -> None:
    app = App(websocket=receive_until_closed)
    with serve(app, server=mended) as server, WebSocketClient(server.port) as client:
        client.sock.sendall(frame)
        assert client.closed().code == code
        assert app.next()[0] == code


def test_a_message_over_the_limit_is_1009_on_both_sides(mended: str) -> None:
    limit = {"hypercorn": "websocket_max_message_size", "uvicorn": "ws_max_size"}[mended]
    app = App(websocket=receive_until_closed)
    with (
        serve(app, server=mended, **{limit: 1000}) as server,
        WebSocketClient(server.port) as client,
    ):
        client.send(BytesMessage(b"x" * 1001))
        assert client.closed().code == 1009
        assert app.next()[0] == 1009


def test_websockets_are_closed_with_1001_at_shutdown(mended: str) -> None:
    app = App(websocket=receive_until_closed)
    server = serve(app, server=mended)
    with WebSocketClient(server.port) as client:
        server.shutdown()
        assert client.closed().code == 1001
    assert app.next()[0] == 1001


def test_hypercorn_itself_is_left_alone() -> None:
    program = """
import hypercorn.protocol.h11 as h11, hypercorn.protocol.h2 as h2
import hypercorn.asyncio.tcp_server as tcp, hypercorn.asyncio.task_group as group
modules = (h11, h2, tcp, group)
before = [dict(vars(module)) for module in modules]
import rolo.serving._hypercorn
after = [dict(vars(module)) for module in modules]
assert before == after
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)


def test_an_unread_body_is_not_collected() -> None:
    taken = asyncio.Event()

    async def unread(app: App, scope: t.Any, receive: t.Any, send: t.Any) -> None:
        await taken.wait()

    sent = 0
    with (
        serve(App(http=unread), server="hypercorn", shutdown_timeout=0.1) as server,
        Client(server.port) as client,
    ):
        client.get("/", f"Content-Length: {1 << 30}", method="POST")
        client.sock.settimeout(0.3)
        with contextlib.suppress(TimeoutError):
            while sent < 1 << 30:
                sent += client.sock.send(b"x" * 65536)
    # What we hold is small; the rest is what the kernel buffers on both sides.
    assert sent < 32 << 20
