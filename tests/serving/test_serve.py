"""What every ASGI server does the same, started by ``serve``."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import threading
import time
import typing as t

import pytest
from serving_support import DEADLINE, App, Client, WebSocketClient, answer, fetch, hello, read_body
from wsproto.events import BytesMessage, CloseConnection, RejectConnection, TextMessage

from rolo.bridge.downstream import Capabilities
from rolo.serving import SERVERS, LifespanError, serve


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Applications fail on purpose here; servers log that, rightly."""
    for name in ("uvicorn.error", "hypercorn.error", "_granian"):
        caplog.set_level(logging.CRITICAL, logger=name)


def test_an_answer_comes_from_the_first_moment(server_name: str) -> None:
    with serve(App(http=hello), server=server_name) as server:
        assert server.name == server_name
        assert server.url == f"http://127.0.0.1:{server.port}"
        assert fetch(server.port).endswith(b"\r\n\r\nhello")


def test_a_body_arrives_whole_and_goes_back_whole(server_name: str) -> None:
    async def echo(app: App, scope: t.Any, receive: t.Any, send: t.Any) -> None:
        await answer(send, await read_body(receive))

    body = bytes(range(256)) * 2000
    with serve(App(http=echo), server=server_name) as server, Client(server.port) as client:
        client.get("/", f"Content-Length: {len(body)}", "Connection: close", method="POST")
        client.send(body)
        assert client.all().endswith(b"\r\n\r\n" + body)


def test_target_and_query_reach_the_application_as_written(server_name: str) -> None:
    app = App(http=hello)
    with serve(app, server=server_name) as server:
        fetch(server.port, "/a%2Fb//c%20d?x=%2F&y=1+2")
    scope = app.next()
    assert scope["raw_path"] == b"/a%2Fb//c%20d"
    assert scope["path"] == "/a/b//c d"
    assert scope["query_string"] == b"x=%2F&y=1+2"


def test_the_scope_says_who_talks_to_whom_and_what_the_server_can_do(server_name: str) -> None:
    app = App(http=hello)
    with serve(app, server=server_name) as server:
        fetch(server.port)
        scope = app.next()
        assert scope["server"] == ("127.0.0.1", server.port)
    assert scope["client"][0] == "127.0.0.1"
    assert isinstance(scope["client"][1], int)
    assert scope["state"]["rolo.capabilities"] == SERVERS[server_name].capabilities


def test_field_case_is_what_the_capabilities_say(server_name: str) -> None:
    async def cased(app: App, scope: t.Any, receive: t.Any, send: t.Any) -> None:
        app.seen.put(scope["headers"])
        await answer(send, headers=[(b"X-Out", b"1")])

    app = App(http=cased)
    with serve(app, server=server_name) as server:
        out = fetch(server.port, "/", "X-In: 1")
    kept = SERVERS[server_name].capabilities.header_case
    assert ((b"X-In", b"1") in app.next()) is kept
    assert (b"X-Out: 1" in out) is kept


def test_repeated_fields_stay_apart_and_in_order(server_name: str) -> None:
    async def cookies(app: App, scope: t.Any, receive: t.Any, send: t.Any) -> None:
        app.seen.put([value for name, value in scope["headers"] if name.lower() == b"x-many"])
        await answer(send, headers=[(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")])

    app = App(http=cookies)
    with serve(app, server=server_name) as server:
        out = fetch(server.port, "/", "X-Many: 1", "X-Many: 2")
    assert app.next() == [b"1", b"2"]
    assert out.index(b"set-cookie: a=1") < out.index(b"set-cookie: b=2")


def test_nothing_is_volunteered_beside_what_the_application_sends(server_name: str) -> None:
    async def dated(app: App, scope: t.Any, receive: t.Any, send: t.Any) -> None:
        await answer(send, headers=[(b"date", b"today"), (b"server", b"origin")])

    with serve(App(http=dated), server=server_name) as server:
        out = fetch(server.port).lower()
    assert out.count(b"\r\ndate:") == 1
    assert out.count(b"\r\nserver:") == 1
    assert b"\r\nserver: origin" in out


def test_the_head_and_the_first_event_arrive_before_the_last_is_sent(server_name: str) -> None:
    go_on = threading.Event()

    async def events(app: App, scope: t.Any, receive: t.Any, send: t.Any) -> None:
        head = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        await asyncio.to_thread(go_on.wait, DEADLINE)
        go_on.clear()
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        await asyncio.to_thread(go_on.wait, DEADLINE)
        await send({"type": "http.response.body", "body": b"data: 2\n\n"})

    with serve(App(http=events), server=server_name) as server, Client(server.port) as client:
        client.get("/", "Connection: close")
        assert b"data" not in client.until(b"\r\n\r\n")
        go_on.set()
        assert b"data: 2" not in client.until(b"data: 1\n\n")
        go_on.set()
        assert client.all().endswith(b"data: 2\n\n\r\n0\r\n\r\n")


@pytest.mark.parametrize("length", [None, 100], ids=["chunked", "with a length"])
@pytest.mark.parametrize("raises", [True, False], ids=["raising", "returning"])
def test_an_answer_broken_off_after_the_head_cannot_be_taken_for_whole(
    server_name: str, length: int | None, raises: bool
) -> None:
    async def broken(app: App, scope: t.Any, receive: t.Any, send: t.Any) -> None:
        fields = [] if length is None else [(b"content-length", str(length).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        if raises:
            raise RuntimeError("on purpose")

    with serve(App(http=broken), server=server_name) as server, Client(server.port) as client:
        client.get("/")
        received = client.all()
    assert b"half" in received
    assert b"0\r\n\r\n" not in received.partition(b"\r\n\r\n")[2]


def test_failing_before_the_head_is_a_500(server_name: str) -> None:
    async def failing(app: App, scope: t.Any, receive: t.Any, send: t.Any) -> None:
        raise RuntimeError("secret")

    with serve(App(http=failing), server=server_name) as server:
        received = fetch(server.port)
    assert received.startswith(b"HTTP/1.1 500 ")
    assert b"secret" not in received


def test_a_client_that_leaves_is_a_disconnect(server_name: str) -> None:
    async def waiting(app: App, scope: t.Any, receive: t.Any, send: t.Any) -> None:
        await read_body(receive)
        app.seen.put("waiting")
        app.seen.put((await receive())["type"])

    app = App(http=waiting)
    with serve(app, server=server_name) as server:
        with Client(server.port) as client:
            client.get("/")
            assert app.next() == "waiting"
        assert app.next() == "http.disconnect"


def test_a_client_that_leaves_while_uploading_is_a_disconnect_not_an_end(
    server_name: str,
) -> None:
    async def reading(app: App, scope: t.Any, receive: t.Any, send: t.Any) -> None:
        while True:
            event = await receive()
            app.seen.put((event["type"], event.get("more_body")))
            if event["type"] == "http.disconnect":
                return

    app = App(http=reading)
    with serve(app, server=server_name) as server:
        with Client(server.port) as client:
            client.get("/", "Content-Length: 10", method="POST")
            client.send(b"abc")
            assert app.next() == ("http.request", True)
        event = app.next()
        while event == ("http.request", True):
            event = app.next()
        assert event[0] == "http.disconnect"


@pytest.mark.parametrize("asked", [True, False], ids=["asked for", "not asked for"])
def test_continue_is_sent_when_the_application_asks_for_the_body(
    server_name: str, asked: bool
) -> None:
    async def picky(app: App, scope: t.Any, receive: t.Any, send: t.Any) -> None:
        if asked:
            app.seen.put(await read_body(receive))
        await answer(send, b"done")

    app = App(http=picky)
    assert SERVERS[server_name].capabilities.expect
    with serve(app, server=server_name) as server, Client(server.port) as client:
        fields = ("Content-Length: 3", "Expect: 100-continue", "Connection: close")
        client.get("/", *fields, method="POST")
        if asked:
            assert client.until(b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
            client.send(b"abc")
            assert app.next() == b"abc"
        assert (b" 100 " in client.all()) is asked
        assert client.received.endswith(b"done")


def test_an_upgrade_to_h2c_is_not_accepted(server_name: str) -> None:
    with serve(App(http=hello), server=server_name) as server:
        received = fetch(
            server.port,
            "/",
            "Connection: Upgrade, HTTP2-Settings",
            "Upgrade: h2c",
            "HTTP2-Settings: AAMAAABkAAQAAP__",
        )
    assert b" 101 " not in received
    assert received.startswith(b"HTTP/1.1 200 ")


async def echo_messages(app: App, scope: t.Any, receive: t.Any, send: t.Any) -> None:
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    while True:
        event = await receive()
        if event["type"] == "websocket.disconnect":
            app.seen.put((event.get("code"), event.get("reason")))
            return
        if event.get("text") == "close":
            await send({"type": "websocket.close", "code": 4001, "reason": "bye"})
            continue
        kind = "text" if event.get("text") is not None else "bytes"
        await send({"type": "websocket.send", kind: event[kind]})


def test_a_websocket_echoes_text_and_bytes(server_name: str) -> None:
    app = App(websocket=echo_messages)
    with serve(app, server=server_name) as server, WebSocketClient(server.port) as client:
        client.send(TextMessage("hällo"))
        assert client.next().data == "hällo"
        client.send(BytesMessage(b"\x00\xff"))
        assert client.next().data == b"\x00\xff"
        client.send(CloseConnection(4000, "why"))
        code, reason = app.next()
        assert code == 4000
        if server_name != "granian":
            assert reason == "why"


def test_a_close_without_code_is_1005(server_name: str) -> None:
    app = App(websocket=echo_messages)
    with serve(app, server=server_name) as server, WebSocketClient(server.port) as client:
        client.sock.sendall(b"\x88\x80\x00\x00\x00\x00")
        assert app.next()[0] == 1005


def test_the_application_closes_with_code_and_reason(server_name: str) -> None:
    app = App(websocket=echo_messages)
    with serve(app, server=server_name) as server, WebSocketClient(server.port) as client:
        client.send(TextMessage("close"))
        closed = client.closed()
        assert (closed.code, closed.reason) == (4001, "bye")
        client.send(closed.response())
        app.next()


def test_a_handshake_can_be_refused(server_name: str) -> None:
    async def refusing(app: App, scope: t.Any, receive: t.Any, send: t.Any) -> None:
        await receive()
        await send(
            {
                "type": "websocket.http.response.start",
                "status": 401,
                "headers": [(b"x-why", b"because"), (b"content-length", b"2")],
            }
        )
        await send({"type": "websocket.http.response.body", "body": b"no"})

    assert SERVERS[server_name].capabilities.denial
    with (
        serve(App(websocket=refusing), server=server_name) as server,
        WebSocketClient(server.port) as client,
    ):
        assert isinstance(client.opening, RejectConnection)
        assert client.opening.status_code == 401
        assert (b"x-why", b"because") in client.opening.headers
        assert client.next().data == b"no"


def test_several_servers_run_at_once(server_name: str) -> None:
    with (
        serve(App(http=hello), server=server_name) as one,
        serve(App(http=hello), server=server_name) as two,
    ):
        assert one.port != two.port
        assert fetch(one.port).endswith(b"hello")
        one.shutdown()
        assert fetch(two.port).endswith(b"hello")


def test_it_starts_from_any_thread(server_name: str) -> None:
    results: list[bytes] = []

    def run() -> None:
        with serve(App(http=hello), server=server_name) as server:
            results.append(fetch(server.port))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(DEADLINE)
    assert results
    assert results[0].endswith(b"hello")


def test_a_port_in_use_is_named(server_name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}: address") as info:
            serve(App(http=hello), server=server_name, port=port)
    assert info.value.errno == errno.EADDRINUSE


def test_a_socket_of_the_caller_is_used_and_closed(server_name: str) -> None:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    with serve(App(http=hello), server=server_name, sock=sock) as server:
        assert server.port == port
        assert fetch(port).endswith(b"hello")
    assert sock.fileno() == -1


def test_it_serves_ipv6(server_name: str) -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        running = serve(App(http=hello), server=server_name, host="::1")
    except OSError as error:
        pytest.skip(str(error))
    with running as server:
        assert server.url == f"http://[::1]:{server.port}"
        with socket.create_connection(("::1", server.port), timeout=DEADLINE) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert sock.recv(100).startswith(b"HTTP/1.1 200 ")


def test_it_runs_on_plain_asyncio(server_name: str) -> None:
    async def loop_type(app: App, scope: t.Any, receive: t.Any, send: t.Any) -> None:
        await answer(send, type(asyncio.get_running_loop()).__module__.encode())

    with serve(App(http=loop_type), server=server_name, loop="asyncio") as server:
        assert b"asyncio" in fetch(server.port)


def test_running_exchanges_finish_at_shutdown(server_name: str) -> None:
    async def slow(app: App, scope: t.Any, receive: t.Any, send: t.Any) -> None:
        app.seen.put("running")
        await asyncio.sleep(0.2)
        await answer(send, b"finished")

    app = App(http=slow)
    with Client((server := serve(app, server=server_name)).port) as client:
        client.get("/")
        assert app.next() == "running"
        server.shutdown()
        assert client.all().endswith(b"finished")


def test_what_does_not_finish_is_cut_at_the_deadline(server_name: str) -> None:
    async def endless(app: App, scope: t.Any, receive: t.Any, send: t.Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        await asyncio.Event().wait()

    with Client((server := serve(App(http=endless), server=server_name)).port) as client:
        client.get("/")
        client.until(b"begun")
        started = time.monotonic()
        server.shutdown(timeout=0.2)
        assert time.monotonic() - started < 2.0
        assert not client.all().endswith(b"0\r\n\r\n")


def test_an_idle_connection_does_not_hold_up_the_shutdown(server_name: str) -> None:
    with Client((server := serve(App(http=hello), server=server_name)).port) as client:
        client.get("/")
        client.until(b"hello")
        started = time.monotonic()
        server.shutdown()
        assert time.monotonic() - started < 1.0


def test_shutdown_may_be_called_again(server_name: str) -> None:
    server = serve(App(http=hello), server=server_name)
    server.shutdown()
    server.shutdown()
    assert server.wait(0)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE)


async def lifespan(app: App, scope: t.Any, receive: t.Any, send: t.Any) -> None:
    scope["state"]["made"] = "at startup"
    for _ in range(2):
        event = await receive()
        app.seen.put(event["type"])
        await send({"type": event["type"] + ".complete"})


def test_the_application_is_started_and_stopped(server_name: str) -> None:
    app = App(http=hello, lifespan=lifespan)
    with serve(app, server=server_name) as server:
        assert app.next() == "lifespan.startup"
        fetch(server.port)
        assert app.next()["state"]["made"] == "at startup"
        assert app.seen.empty()
    assert app.next() == "lifespan.shutdown"


@pytest.mark.parametrize("says_so", [True, False], ids=["saying so", "raising"])
def test_an_application_that_fails_to_start_makes_serve_raise(
    server_name: str, says_so: bool
) -> None:
    async def failing(app: App, scope: t.Any, receive: t.Any, send: t.Any) -> None:
        await receive()
        if says_so:
            await send({"type": "lifespan.startup.failed", "message": "no database"})
        raise ValueError("no database")

    with pytest.raises(LifespanError, match="failed to start: no database") as info:
        serve(App(lifespan=failing), server=server_name)
    assert isinstance(info.value.__cause__, ValueError)


def test_an_unknown_option_is_refused(server_name: str) -> None:
    with pytest.raises(TypeError, match="no_such_option"):
        serve(App(http=hello), server=server_name, no_such_option=1)


def test_capabilities_are_of_the_common_kind(server_name: str) -> None:
    assert isinstance(SERVERS[server_name].capabilities, Capabilities)
