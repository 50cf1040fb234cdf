"""HTTP over TLS, and HTTP/2, on the servers that speak it."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import typing as t

import pytest
from h2.events import DataReceived, ResponseReceived, StreamEnded, StreamReset
from serving_support import DEADLINE, App, Client, H2Client, answer, hello, read_body

from rolo.serving import SERVERS, ServerTls, serve

H2_SERVERS = ("hypercorn", "granian")


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    for name in ("hypercorn.error", "_granian"):
        caplog.set_level(logging.CRITICAL, logger=name)


@pytest.fixture(params=H2_SERVERS)
def h2_server(request: pytest.FixtureRequest) -> str:
    reason = SERVERS[request.param].available()
    if reason is not None:
        pytest.skip(reason)
    return str(request.param)


def test_https_is_served_and_the_scope_says_so(
    server_name: str, tls: ServerTls, trusting: ssl.SSLContext
) -> None:
    app = App(http=hello)
    with serve(app, server=server_name, tls=tls) as server:
        assert server.url == f"https://127.0.0.1:{server.port}"
        plain = socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE)
        with trusting.wrap_socket(plain, server_hostname="localhost") as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            received = b""
            while data := sock.recv(1000):
                received += data
    assert received.endswith(b"hello")
    assert app.next()["scheme"] == "https"


def test_http2_is_accepted_by_prior_knowledge_but_only_at_the_start(h2_server: str) -> None:
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    with serve(App(http=hello), server=h2_server) as server:
        with Client(server.port) as client:
            client.send(preface)
            client.until(b"\x00\x00\x00\x04\x01")  # SETTINGS acknowledged
        with Client(server.port) as client:
            client.get("/")
            client.until(b"hello")
            client.received = b""
            client.send(preface)
            assert b"\x00\x00\x00\x04\x01" not in client.all()


def test_http2_answers(h2_server: str, tls: ServerTls, trusting: ssl.SSLContext) -> None:
    app = App(http=hello)
    with serve(app, server=h2_server, tls=tls) as server, H2Client(server.port, trusting) as client:
        stream = client.request("/a%2Fb?c")
        client.until(StreamEnded, stream)
        assert client.body(stream) == b"hello"
    scope = app.next()
    assert scope["http_version"] == "2"
    assert (scope["raw_path"], scope["query_string"]) == (b"/a%2Fb", b"c")
    assert (b"host", b"test") in scope["headers"]


def test_http2_large_bodies_pass_both_ways(
    h2_server: str, tls: ServerTls, trusting: ssl.SSLContext
) -> None:
    async def echo(app: App, scope: t.Any, receive: t.Any, send: t.Any) -> None:
        await answer(send, await read_body(receive))

    body = bytes(range(256)) * 2000
    with (
        serve(App(http=echo), server=h2_server, tls=tls) as server,
        H2Client(server.port, trusting) as client,
    ):
        stream = client.request(body=body)
        client.until(StreamEnded, stream)
        assert client.body(stream) == body


def test_http2_failing_after_the_head_resets_the_stream_and_nothing_else(
    h2_server: str, tls: ServerTls, trusting: ssl.SSLContext
) -> None:
    async def broken(app: App, scope: t.Any, receive: t.Any, send: t.Any) -> None:
        if scope["path"] == "/whole":
            await answer(send, b"whole")
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise RuntimeError("on purpose")

    with (
        serve(App(http=broken), server=h2_server, tls=tls) as server,
        H2Client(server.port, trusting) as client,
    ):
        stream = client.request()
        ended = client.until((StreamEnded, StreamReset), stream)
        assert isinstance(ended, StreamReset)
        assert ended.error_code == 2  # INTERNAL_ERROR
        assert client.body(stream) == b"half"
        stream = client.request("/whole")
        client.until(StreamEnded, stream)


def test_http2_a_client_that_resets_its_stream_is_a_disconnect(
    h2_server: str, tls: ServerTls, trusting: ssl.SSLContext
) -> None:
    async def waiting(app: App, scope: t.Any, receive: t.Any, send: t.Any) -> None:
        await read_body(receive)
        app.seen.put("waiting")
        app.seen.put((await receive())["type"])

    app = App(http=waiting)
    with serve(app, server=h2_server, tls=tls) as server, H2Client(server.port, trusting) as client:
        stream = client.request()
        assert app.next() == "waiting"
        client.connection.reset_stream(stream)
        client.flush()
        assert app.next() == "http.disconnect"


def test_http2_an_early_answer_leaves_the_connection_usable(
    h2_server: str, tls: ServerTls, trusting: ssl.SSLContext
) -> None:
    with (
        serve(App(http=hello), server=h2_server, tls=tls) as server,
        H2Client(server.port, trusting) as client,
    ):
        early = client.request(body=None)
        client.connection.send_data(early, b"x" * 1000)
        client.flush()
        client.until(ResponseReceived, early)
        client.until(DataReceived, early)
        again = client.request()
        client.until(StreamEnded, again)
        assert client.body(again) == b"hello"


def test_http2_an_unread_upload_holds_up_no_other_stream(
    h2_server: str, tls: ServerTls, trusting: ssl.SSLContext
) -> None:
    async def unread(app: App, scope: t.Any, receive: t.Any, send: t.Any) -> None:
        if scope["path"] == "/quick":
            await answer(send, b"quick")
            return
        app.seen.put("unread")
        while (await receive())["type"] != "http.disconnect":
            await go_on.wait()

    go_on = asyncio.Event()
    app = App(http=unread)
    with (
        serve(app, server=h2_server, tls=tls, shutdown_timeout=0.1) as server,
        H2Client(server.port, trusting) as client,
    ):
        for _ in range(3):
            stream = client.request("/slow", body=None)
            client.upload(stream, b"x" * 60_000)
            assert app.next() == "unread"
        quick = client.request("/quick")
        client.until(StreamEnded, quick)
        assert client.body(quick) == b"quick"
