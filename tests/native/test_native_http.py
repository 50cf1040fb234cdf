"""The native server judged from outside, on raw sockets."""

import asyncio
import contextlib
import socket
import ssl
import threading

import pytest
import trustme
from native_support import DEADLINE, answer, read_all, running, wait_until
from wire import Truncated, Wire, chunked

from rolo.errors import BadRequest, ClientDisconnected, ContentTooLarge


@pytest.fixture(autouse=True)
def no_thread_left():
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) == before


@pytest.fixture(params=["asyncio", "uvloop"])
def kind(request):
    return request.param


def test_a_request_and_its_answer(kind):
    async def handler(server, d):
        server.seen.put(d.head)
        server.seen.put(d.may_have_body)
        await d.send_complete(
            201,
            b"Sehr sch\xf6n",
            [(b"X-A", b"1"), (b"x-a", b"2"), (b"Content-Length", b"2")],
            b"ok",
        )

    with running(handler, kind=kind) as server, server.wire() as wire:
        wire.send(b"GET /a%2Fb%20c?q=%20 HTTP/1.1\r\nhOST: x\r\nX-B: 1\r\nx-b: 2\r\n\r\n")
        got = wire.answer()
        head = server.next()
        assert (head.method, head.target, head.http_version) == ("GET", b"/a%2Fb%20c?q=%20", "1.1")
        assert (head.path, head.query, head.scheme) == ("/a/b c", b"q=%20", "http")
        assert head.headers == [(b"hOST", b"x"), (b"X-B", b"1"), (b"x-b", b"2")]
        assert head.client == wire.socket.getsockname()
        assert head.server == ("127.0.0.1", server.port)
        assert server.next() is False
    assert (got.status, got.reason, got.body) == (201, "Sehr sch\xf6n", b"ok")
    names = [name for name, _ in got.headers]
    assert names == ["X-A", "x-a", "Content-Length", "Date"]


def test_requests_follow_each_other_on_one_connection(kind):
    with running(kind=kind) as server, server.wire() as wire:
        for _ in range(20):
            assert wire.get("/").body == b"hello"
        assert len(server.server_state.connections) == 1


def test_pipelined_requests_are_answered_in_order(kind):
    async def handler(server, d):
        body = await read_all(d)
        if d.head.path == "/0":
            await asyncio.sleep(0.02)
        await answer(d, d.head.path.encode() + body)

    with running(handler, kind=kind) as server, server.wire() as wire:
        requests = b"".join(
            b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n%d" % (i, i % 10)
            for i in range(50)
        )
        wire.send(requests)
        assert [wire.answer().body for _ in range(50)] == [
            b"/%d%d" % (i, i % 10) for i in range(50)
        ]


def test_heads_and_bodies_byte_by_byte():
    async def handler(server, d):
        await answer(d, await read_all(d))

    with running(handler) as server, server.wire() as wire:
        head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in (head + chunked(b"hello", b"world")) * 2:
            wire.send(bytes([byte]))
        assert wire.answer().body == b"helloworld"
        assert wire.answer().body == b"helloworld"


@pytest.mark.parametrize("framed", ["length", "chunked"])
def test_a_body_streams_both_ways(kind, framed):
    async def handler(server, d):
        headers = [(b"Content-Length", b"6")] if framed == "length" else []
        await d.send_head(200, b"OK", headers)
        while piece := await d.receive_body():
            await d.send_body(piece)
        await d.end()

    with running(handler, kind=kind) as server, server.wire() as wire:
        for _ in range(2):
            wire.request("POST", "/", [("Content-Length", "6")])
            got = wire.head()
            assert (got.get("transfer-encoding") == "chunked") is (framed == "chunked")
            wire.send(b"abc")
            assert wire.piece(got) == b"abc"
            wire.send(b"def")
            assert wire.piece(got) == b"def"
            if framed == "chunked":
                assert wire.body(got) == b""


def test_trailers_both_ways():
    async def handler(server, d):
        assert d.request_trailers == []
        await read_all(d)
        await d.send_head(200, b"OK", [(b"Transfer-Encoding", b"chunked")])
        await d.send_body(b"x" * 20000)
        await d.end([(b"X-Out", b"%d" % len(d.request_trailers)), *d.request_trailers])

    with running(handler) as server, server.wire() as wire:
        wire.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        wire.send(b"1\r\na\r\n0\r\nX-In: 1\r\n\r\n")
        assert wire.head().all("transfer-encoding") == ["chunked"]
        assert wire.chunk() == b"x" * 20000
        assert wire.read_until(b"\r\n\r\n") == b"0\r\nX-Out: 1\r\nX-In: 1\r\n\r\n"


@pytest.mark.parametrize(
    ("method", "status", "headers", "expected"),
    [
        ("HEAD", 200, [(b"Content-Length", b"5")], {"content-length": "5"}),
        ("HEAD", 200, [(b"Transfer-Encoding", b"chunked")], {"transfer-encoding": None}),
        ("GET", 304, [(b"Content-Length", b"5")], {"content-length": "5"}),
        ("GET", 204, [(b"Content-Length", b"0")], {"content-length": None}),
        ("GET", 204, [], {"transfer-encoding": None, "content-length": None}),
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_answers_without_a_body(method, status, headers, expected, whole):
    async def handler(server, d):
        if d.head.path == "/after":
            await answer(d, b"after")
        elif whole:
            await d.send_complete(status, b"OK", headers, b"")
        else:
            await d.send_head(status, b"OK", headers)
            await d.send_body(b"never")
            await d.end()

    with running(handler) as server, server.wire() as wire:
        wire.request(method, "/")
        got = wire.answer(method)
        assert got.status == status
        for name, value in expected.items():
            assert got.get(name) == value
        assert wire.get("/after").body == b"after"


def test_http_1_0_is_answered_without_chunks_and_closed():
    async def handler(server, d):
        await d.send_head(200, b"OK", [(b"Transfer-Encoding", b"chunked")])
        await d.send_body(b"abc")
        await d.end()

    with running(handler) as server, server.wire() as wire:
        wire.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        got = wire.head()
        assert got.get("transfer-encoding") is None
        assert got.get("connection") == "close"
        assert wire.read_rest() == b"abc"


def test_http_1_0_keeps_the_connection_on_request_only():
    with running() as server, server.wire() as wire:
        wire.send(b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
        assert wire.answer().get("connection") == "keep-alive"
        wire.send(b"GET / HTTP/1.0\r\n\r\n")
        assert wire.answer().get("connection") == "close"
        assert wire.read_rest() == b""


@pytest.mark.parametrize("by", ["client", "handler"])
def test_connection_close(by, kind):
    async def handler(server, d):
        await answer(d, b"hello", headers=[(b"Connection", b"close")] if by == "handler" else [])

    with running(handler, kind=kind) as server, server.wire() as wire:
        got = wire.get("/", [("Connection", "close")] if by == "client" else [])
        assert got.all("connection") == ["close"]
        assert wire.read_rest() == b""
        wait_until(lambda: not server.server_state.connections)


def test_date_is_added_only_where_absent_and_server_never():
    async def handler(server, d):
        await answer(d, b"", headers=[(b"date", b"then")] if d.head.path == "/dated" else [])

    with running(handler) as server, server.wire() as wire:
        assert wire.get("/dated").all("date") == ["then"]
        got = wire.get("/")
        assert len(got.all("date")) == 1
        assert got.get("server") is None


# --- expectations and interim answers ------------------------------------------------------


EXPECTING = b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"


def test_continue_is_sent_when_the_body_is_asked_for():
    async def handler(server, d):
        server.seen.put("started")
        await server.go.wait()
        await answer(d, await read_all(d))

    with running(handler) as server, server.wire() as wire:
        server.go = asyncio.Event()
        wire.send(EXPECTING)
        assert server.next() == "started"
        wire.socket.settimeout(0.05)
        with pytest.raises(TimeoutError):
            wire.read_more()
        wire.socket.settimeout(DEADLINE)
        server.loop.call_soon_threadsafe(server.go.set)
        assert wire.head().status == 100
        wire.send(b"abc")
        assert wire.answer().body == b"abc"
        assert wire.get("/", []).status == 200


def test_a_refused_expectation_is_answered_at_once_and_the_connection_closed():
    async def handler(server, d):
        await answer(d, b"no", 413)

    with running(handler) as server, server.wire() as wire:
        wire.send(EXPECTING)
        got = wire.head()
        assert (got.status, got.get("connection")) == (413, "close")
        assert wire.read_rest() == b"no"


def test_interim_answers():
    async def handler(server, d):
        await d.send_interim(103, [(b"Link", b"</a>")])
        await d.send_interim(100, [])
        await answer(d, b"")

    with running(handler) as server, server.wire() as wire:
        wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        early = wire.head()
        assert (early.status, early.get("link")) == (103, "</a>")
        assert wire.head().status == 200
        wire.send(b"GET / HTTP/1.0\r\n\r\n")
        assert wire.head().status == 200


# --- early answers -------------------------------------------------------------------------


def test_a_short_unread_body_is_swallowed():
    with running() as server, server.wire() as wire:
        wire.request("POST", "/", body=b"x" * 100_000)
        got = wire.answer()
        assert (got.body, got.get("connection")) == (b"hello", None)
        assert wire.get("/").body == b"hello"


def test_an_unread_chunked_body_is_swallowed_in_bounds():
    with running(drain_limit=1000) as server:
        with server.wire() as wire:
            wire.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            assert wire.answer().body == b"hello"
            wire.send(chunked(b"x" * 900))
            assert wire.get("/").body == b"hello"
        with server.wire() as wire:
            wire.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            assert wire.answer().body == b"hello"
            wire.send(chunked(b"x" * 1100))
            assert wire.read_rest() == b""


def test_an_early_answer_to_a_long_upload_reaches_the_client():
    with running() as server, server.wire() as wire:
        wire.request("POST", "/", [("Content-Length", "1000000000")])
        with contextlib.suppress(ConnectionError):
            wire.send(b"x" * 1_000_000)
        got = wire.head()
        assert (got.status, got.get("connection")) == (200, "close")
        assert wire.read_rest() == b"hello"


# --- failure and leaving -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\nX: 1\n\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 501),
        (b"GET a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\n\r\n", 501),
        (b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 70000, 431),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    ],
)
def test_what_is_no_request_is_refused_and_the_connection_closed(data, status):
    with running() as server, server.wire() as wire:
        wire.send(data)
        got = wire.head()
        assert (got.status, got.get("connection")) == (status, "close")
        assert wire.read_rest() == f"{status} {got.reason}\n".encode()


def test_a_client_that_sends_much_after_a_refusal_is_cut_off():
    with running(drain_limit=16, linger_timeout=60.0) as server, server.wire() as wire:
        wire.send(b"GARBAGE\r\n\r\n")
        assert wire.head().status == 400
        wire.send(bytes(257))
        wait_until(lambda: not server.server_state.connections)


def test_a_refused_request_behind_a_good_one_ends_the_connection_after_the_good_answer():
    with running() as server, server.wire() as wire:
        wire.send(
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGARBAGE\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"
        )
        assert wire.answer().body == b"hello"
        assert wire.head().status == 400
        assert wire.read_rest() == b"400 Bad Request\n"


def test_broken_chunks_are_an_error_to_the_reader_and_end_the_connection():
    async def handler(server, d):
        try:
            await read_all(d)
        except BadRequest as e:
            await answer(d, b"", e.status)

    with running(handler) as server, server.wire() as wire:
        wire.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        wire.send(b"3\r\nabcdef\r\nGET /evil HTTP/1.1\r\nHost: a\r\n\r\n")
        got = wire.head()
        assert (got.status, got.get("connection")) == (400, "close")
        assert wire.read_rest() == b""


def test_a_body_over_the_limit():
    async def handler(server, d):
        try:
            await answer(d, await read_all(d))
        except ContentTooLarge as e:
            await answer(d, b"", e.status)

    with running(handler, max_body=10) as server:
        with server.wire() as wire:
            wire.request("POST", "/", body=b"x" * 10)
            assert wire.answer().status == 200
            wire.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            wire.send(chunked(b"x" * 5, b"x" * 5))
            assert wire.answer().status == 200
            wire.request("POST", "/", body=b"x" * 11)
            assert wire.head().status == 413
        with server.wire() as wire:
            wire.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            wire.send(chunked(b"x" * 5, b"x" * 6))
            got = wire.head()
            assert (got.status, got.get("connection")) == (413, "close")


def test_leaving_is_known_at_once(kind):
    async def handler(server, d):
        gone = asyncio.Event()
        d.watch_gone(gone.set)
        server.seen.put("started")
        await gone.wait()
        assert d.gone
        d.watch_gone(lambda: server.seen.put("told again"))
        with pytest.raises(ClientDisconnected):
            await d.send_head(200, b"OK", [])
        server.seen.put("gone")

    with running(handler, kind=kind) as server:
        for leave in (Wire.close, Wire.reset):
            wire = server.wire()
            wire.request("GET", "/")
            assert server.next() == "started"
            leave(wire)
            assert server.next() == "told again"
            assert server.next() == "gone"
        wait_until(lambda: not server.server_state.connections)


def test_leaving_within_an_upload_is_an_error_to_the_reader(kind):
    async def handler(server, d):
        with pytest.raises(ClientDisconnected):
            await read_all(d)
        server.seen.put("known")

    with running(handler, kind=kind) as server:
        with server.wire() as wire:
            wire.request("POST", "/", [("Content-Length", "10")])
            wire.send(b"abc")
        assert server.next() == "known"


@pytest.mark.parametrize("leave", [Wire.close, Wire.reset])
def test_leaving_is_known_though_reading_is_paused(leave):
    async def handler(server, d):
        gone = asyncio.Event()
        d.watch_gone(gone.set)
        server.seen.put("started")
        await gone.wait()
        server.seen.put("gone")

    with running(handler, buffer=1000) as server:
        wire = server.wire()
        wire.request("POST", "/", [("Content-Length", "1000000")])
        assert server.next() == "started"
        wire.send(b"x" * 100_000)
        leave(wire)
        assert server.next() == "gone"


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("length", [True, False])
def test_an_aborted_answer_cannot_be_taken_for_complete(version, length, kind):
    async def handler(server, d):
        await d.send_head(200, b"OK", [(b"Content-Length", b"10")] if length else [])
        await d.send_body(b"abc")
        d.abort()
        await asyncio.sleep(0)

    with running(handler, kind=kind) as server, server.wire() as wire:
        wire.send(f"GET / HTTP/{version}\r\nHost: a\r\n\r\n".encode())
        if not length and version == "1.0":
            # The end alone would look complete: it has to be a reset.
            assert _ends_with_reset(wire)
        else:
            with pytest.raises(Truncated):
                wire.body(wire.head())
        wait_until(lambda: not server.server_state.connections)


def _ends_with_reset(wire):
    try:
        while wire.read_more():
            pass
    except ConnectionResetError:
        return True
    return False


@pytest.mark.parametrize(
    "case", ["raises", "returns", "raises after the head", "too little", "too much"]
)
def test_handlers_that_go_wrong(case, caplog):
    async def handler(server, d):
        if "head" in case or "too" in case:
            await d.send_head(200, b"OK", [(b"Content-Length", b"3")])
        if case.startswith("raises"):
            raise LookupError("internal")
        if case == "too little":
            await d.send_body(b"ab")
            await d.end()
        if case == "too much":
            await d.send_body(b"abcd")

    with running(handler) as server, server.wire() as wire:
        wire.request("GET", "/")
        if case in ("raises", "returns"):
            got = wire.answer()
            assert (got.status, got.body) == (500, b"500 Internal Server Error\n")
            assert wire.read_rest() == b""
        else:
            with pytest.raises(Truncated):
                wire.answer()


# --- limits --------------------------------------------------------------------------------


def test_a_slow_head_is_answered_408():
    with running(head_timeout=0.1) as server, server.wire() as wire:
        wire.send(b"GET / HTTP/1.1\r\nHo")
        assert wire.head().status == 408


def test_bytes_that_trickle_in_give_a_head_no_more_time():
    with running(head_timeout=0.2) as server, server.wire() as wire:
        wire.socket.settimeout(0.02)
        for byte in b"GET / HTTP/1.1\r\nX: " + b"a" * 200:
            wire.send(bytes([byte]))
            with contextlib.suppress(TimeoutError):
                wire.read_more()
                break
        else:
            pytest.fail("a head took four seconds")
        assert wire.head().status == 408


@pytest.mark.parametrize("size", [1, 20_000], ids=["many", "with bodies"])
def test_what_is_pipelined_behind_a_request_waits_in_the_socket(size):
    async def handler(server, d):
        server.seen.put("started")
        await server.go.wait()
        await answer(d, b"%d" % len(await read_all(d)))

    with running(handler) as server, server.wire() as wire:
        server.go = asyncio.Event()
        wire.request("GET", "/")
        assert server.next() == "started"
        one = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size
        sent, wired = 0, one * (16_000_000 // len(one))
        wire.socket.settimeout(0.3)
        with contextlib.suppress(TimeoutError):
            while sent < len(wired):
                sent += wire.socket.send(wired[sent : sent + 65536])
        assert sent < len(wired)
        (connection,) = server.server_state.connections
        # Some reads may come before the client is made to wait.
        assert len(connection._buffer) <= 2 * 64 * 1024


def test_idle_connections_are_closed_without_a_word():
    with running(keep_alive_timeout=0.1) as server, server.wire() as wire:
        assert wire.get("/").status == 200
        assert wire.read_rest() == b""
    with running(head_timeout=0.1) as server, server.wire() as wire:
        assert wire.read_rest() == b""


def test_a_time_limit_does_not_end_an_exchange():
    async def handler(server, d):
        await asyncio.sleep(0.3)
        await answer(d, b"late")

    limits = {"keep_alive_timeout": 0.1, "head_timeout": 0.1}
    with running(handler, **limits) as server, server.wire() as wire:
        assert wire.get("/").body == b"late"


def test_one_connection_too_many_is_refused():
    with running(max_connections=1) as server, server.wire() as first:
        assert first.get("/").status == 200
        with server.wire() as second:
            assert second.head().status == 503
        assert first.get("/").status == 200


def test_a_reader_that_does_not_read_holds_the_sender():
    async def handler(server, d):
        await d.send_head(200, b"OK", [])
        sent = 0
        try:
            while sent < 100_000_000:
                await asyncio.wait_for(d.send_body(b"x" * 65536), 0.3)
                sent += 65536
        except TimeoutError:
            server.seen.put(sent)
            d.abort()

    with running(handler) as server, server.wire() as wire:
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        wire.request("GET", "/")
        assert server.next() < 20_000_000


def test_a_handler_that_does_not_read_holds_the_client():
    async def handler(server, d):
        server.seen.put("started")
        await server.go.wait()
        await answer(d, b"%d" % len(await read_all(d)))

    with running(handler) as server, server.wire() as wire:
        server.go = asyncio.Event()
        size = 50_000_000
        wire.request("POST", "/", [("Content-Length", str(size))])
        assert server.next() == "started"
        wire.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            wire.send(b"x" * size)
        wire.socket.settimeout(DEADLINE)
        server.loop.call_soon_threadsafe(server.go.set)
        with pytest.raises(AssertionError):
            # How much went through is unknown by now; that it is less is what matters.
            wait_until(lambda: not server.server_state.connections, 0.1)


# --- stopping, TLS, UNIX sockets -----------------------------------------------------------


def test_stopping_finishes_what_runs_and_closes_what_idles():
    async def handler(server, d):
        server.seen.put("started")
        await server.go.wait()
        await answer(d, b"done")

    with running(handler) as server, server.wire() as idle, server.wire() as busy:
        server.go = asyncio.Event()
        busy.request("GET", "/")
        assert server.next() == "started"
        stopper = threading.Thread(target=server.stop, args=(DEADLINE,))
        stopper.start()
        assert idle.read_rest() == b""
        server.loop.call_soon_threadsafe(server.go.set)
        got = busy.answer()
        assert (got.body, got.get("connection")) == (b"done", "close")
        stopper.join(DEADLINE)
        assert server.next() == ("connections left", 0)


def test_stopping_breaks_off_what_takes_too_long():
    async def handler(server, d):
        server.seen.put("started")
        try:
            await asyncio.Event().wait()
        finally:
            server.seen.put("cancelled")

    with running(handler) as server, server.wire() as wire:
        wire.request("GET", "/")
        assert server.next() == "started"
        server.stop(0.05)
        assert server.next() == "cancelled"
        assert server.next() == ("connections left", 0)
        with pytest.raises(ConnectionResetError):
            wire.answer()


def both_sides_of_tls():
    """Return the contexts of a server and of a client that trusts it."""
    authority = trustme.CA()
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(serving)
    serving.set_alpn_protocols(["http/1.1"])
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    trusting.set_alpn_protocols(["h2", "http/1.1"])
    return serving, trusting


def test_tls(kind):
    context, trusting = both_sides_of_tls()

    async def handler(server, d):
        server.seen.put(d.head.scheme)
        await answer(d, await read_all(d))

    with running(handler, kind=kind, tls=context) as server, server.wire() as wire:
        wire.socket = trusting.wrap_socket(wire.socket, server_hostname="127.0.0.1")
        assert wire.socket.selected_alpn_protocol() == "http/1.1"
        wire.request("POST", "/", body=b"x" * 200_000)
        assert wire.answer().body == b"x" * 200_000
        assert server.next() == "https"
        wire.request("GET", "/", [("Connection", "close")])
        assert wire.answer().body == b""
        assert wire.read_rest() == b""


def test_a_stream_over_tls_goes_on_when_the_client_has_taken_what_came(kind):
    context, trusting = both_sides_of_tls()

    async def handler(server, d):
        taken = server.loop.create_future()
        server.seen.put(lambda: server.loop.call_soon_threadsafe(taken.set_result, None))
        await d.send_head(200, b"OK", [])
        d.write(b"one")
        await taken
        await d.drained()
        d.write(b"two")
        await d.end()

    with running(handler, kind=kind, tls=context) as server, server.wire() as wire:
        wire.socket = trusting.wrap_socket(wire.socket, server_hostname="127.0.0.1")
        wire.request("GET", "/")
        head = wire.head()
        assert wire.piece(head) == b"one"
        server.next()()
        assert wire.piece(head) == b"two"


def test_unix_socket(tmp_path, kind):
    async def handler(server, d):
        server.seen.put((d.head.client, d.head.server))
        await answer(d, b"hello")

    path = str(tmp_path / "s")
    with running(handler, kind=kind, uds=path) as server:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(DEADLINE)
            sock.connect(path)
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            data = b""
            while piece := sock.recv(1000):
                data += piece
        assert data.endswith(b"hello")
        assert server.next() == (None, (path, None))
