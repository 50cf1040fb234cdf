"""HTTP/2 of our own, judged from outside, in clear text by prior knowledge."""

import asyncio
import contextlib
import threading

import h2.errors
import pytest
from h2.events import (
    ConnectionTerminated,
    InformationalResponseReceived,
    PingAckReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2wire import H2Client
from in_memory import Client, passes, serving
from native_support import answer, read_all, wait_until
from native_support import running as running_native

from rolo.errors import ClientDisconnected, ContentTooLarge
from rolo.wire.http1 import HeadLimits
from rolo.wire.http2 import PREFACE

SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
ACKNOWLEDGED = b"\x00\x00\x00\x04\x01\x00\x00\x00\x00"
PING = b"\x00\x00\x08\x06\x00\x00\x00\x00\x00" + bytes(8)


@pytest.fixture(autouse=True)
def no_thread_left():
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) == before


@contextlib.contextmanager
def talking(handler=None, **settings):
    """A server, and a client that speaks HTTP/2 with it."""
    with (
        running_native(handler, http2=True, **settings) as server,
        H2Client(server.port) as client,
    ):
        yield server, client


def finish(client, stream):
    client.until(StreamEnded, stream)
    headers = client.until(ResponseReceived, stream).headers
    return {bytes(name): bytes(value) for name, value in headers}, client.body(stream)


def status(client, stream):
    return finish(client, stream)[0][b":status"]


async def echo(server, d):
    await answer(d, await read_all(d))


def test_a_request_and_its_answer():
    async def handler(server, d):
        server.seen.put(d.head)
        server.seen.put(d.may_have_body)
        headers = [(b"X-A", b"1"), (b"x-a", b"2"), (b"Content-Length", b"2")]
        await d.send_complete(201, b"no such thing", headers, b"ok")

    with talking(handler) as (server, client):
        stream = client.request("/a%2Fb%20c?q=%20", (b"x-b", b"1"), (b"x-b", b"2"))
        headers, body = finish(client, stream)
        head = server.next()
        assert server.next() is False
        fields = client.until(ResponseReceived, stream).headers
        assert client.sock.getsockname() == head.client
    assert (head.method, head.target, head.http_version) == ("GET", b"/a%2Fb%20c?q=%20", "2")
    assert (head.path, head.query, head.scheme) == ("/a/b c", b"q=%20", "http")
    assert head.headers == [(b"host", b"test"), (b"x-b", b"1"), (b"x-b", b"2")]
    assert (headers[b":status"], body) == (b"201", b"ok")
    assert [name for name, _ in fields] == [b":status", b"x-a", b"x-a", b"content-length", b"date"]


@serving(http2=True)
async def test_the_preface_may_come_in_any_parts(state, handler, clock):
    parts = [[PREFACE[:cut], PREFACE[cut:]] for cut in range(1, len(PREFACE))]
    for whole in [*parts, [bytes([byte]) for byte in PREFACE]]:
        client = Client(state)
        for part in whole:
            client.send(part)
        client.send(SETTINGS)
        assert client.sent.endswith(ACKNOWLEDGED), whole


@pytest.mark.parametrize(
    "begun",
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\nX", b"PRI * HTTP/2.0\r\nHost: a\r\n\r\n", b"PRI *\r\n\r\n"],
)
def test_half_a_preface_is_no_request(begun):
    with running_native(http2=True) as server, server.wire() as wire:
        wire.send(begun)
        assert wire.answer().status in (400, 505)


def test_it_begins_a_connection_or_never():
    """Behind a request, it would be a way to smuggle another past a proxy in front."""
    with running_native(http2=True) as server, server.wire() as wire:
        assert wire.get("/").body == b"hello"
        wire.send(PREFACE + SETTINGS)
        assert wire.answer().status == 505


def test_who_does_not_ask_for_it_does_without():
    with running_native() as server, server.wire() as wire:
        wire.send(PREFACE + SETTINGS)
        assert wire.answer().status == 505


def test_bodies_larger_than_any_window_pass_both_ways_on_several_streams():
    body = bytes(range(256)) * 2000
    with talking(echo) as (_, client):
        streams = [client.request(body=body) for _ in range(3)]
        assert [finish(client, stream)[1] for stream in streams] == [body] * 3


def test_an_unread_upload_holds_up_no_other_stream():
    go_on = asyncio.Event()

    async def handler(server, d):
        if d.head.path == "/slow":
            server.seen.put("slow")
            await go_on.wait()
        await answer(d, await read_all(d))

    with talking(handler) as (server, client):
        slow = []
        for _ in range(3):
            stream = client.request("/slow", body=None)
            client.upload(stream, b"x" * 60_000)
            assert server.next() == "slow"
            slow.append(stream)
        assert finish(client, client.request(body=b"quick"))[1] == b"quick"
        server.loop.call_soon_threadsafe(go_on.set)
        for stream in slow:
            client.connection.end_stream(stream)
            client.flush()
            assert len(finish(client, stream)[1]) == 60_000


def test_a_client_that_opens_no_window_stops_the_sender():
    async def handler(server, d):
        await d.send_head(200, b"", [])
        sent = 0
        while d.write(b"x" * 10_000):
            sent += 10_000
        server.seen.put((sent, d.unacknowledged > 0))
        await d.drained()
        await d.end()

    with talking(handler) as (server, client):
        client.acknowledges = False
        stream = client.request()
        sent, waiting = server.next()
        assert (sent, waiting) == (60_000, True)
        while len(client.body(stream)) < 65535:
            client.read()
        client.connection.increment_flow_control_window(100_000)
        client.connection.increment_flow_control_window(100_000, stream)
        client.flush()
        assert len(finish(client, stream)[1]) == 70_000


def test_what_breaks_after_the_head_resets_its_stream_and_nothing_else():
    async def handler(server, d):
        if d.head.path == "/whole":
            await answer(d, b"whole")
            return
        await d.send_head(200, b"", [])
        await d.send_body(b"half")
        raise RuntimeError("on purpose")

    with talking(handler) as (_, client):
        stream = client.request()
        ended = client.until((StreamEnded, StreamReset), stream)
        assert isinstance(ended, StreamReset)
        assert ended.error_code == h2.errors.ErrorCodes.INTERNAL_ERROR
        assert client.body(stream) == b"half"
        assert finish(client, client.request("/whole"))[1] == b"whole"


def test_who_fails_before_the_head_is_answered_for():
    async def handler(server, d):
        raise RuntimeError("on purpose")

    with talking(handler) as (_, client):
        assert status(client, client.request()) == b"500"


@pytest.mark.parametrize("leaves", ["stream", "connection"])
def test_a_client_that_leaves_is_told_of(leaves):
    async def handler(server, d):
        left = asyncio.Event()
        d.watch_gone(left.set)
        server.seen.put("begun")
        await left.wait()
        try:
            await d.receive_body()
        except ClientDisconnected:
            server.seen.put(d.gone)

    with talking(handler) as (server, client):
        stream = client.request(body=None)
        assert server.next() == "begun"
        if leaves == "stream":
            client.connection.reset_stream(stream)
            client.flush()
        else:
            client.sock.close()
        assert server.next() is True


def test_an_early_answer_ends_the_upload_and_leaves_the_connection():
    with talking() as (_, client):
        early = client.request(body=None)
        client.connection.send_data(early, b"x" * 1000)
        client.flush()
        assert finish(client, early)[1] == b"hello"
        reset = client.until(StreamReset, early)
        assert reset.error_code == h2.errors.ErrorCodes.NO_ERROR
        assert finish(client, client.request())[1] == b"hello"


def test_a_client_that_resets_stream_after_stream_is_sent_away():
    served = []

    async def handler(server, d):
        served.append(d.head.path)
        await answer(d, b"")

    with talking(handler) as (_, client):
        for _ in range(200):
            client.connection.reset_stream(client.request(flush=False))
        client.flush()
        ended = client.until(ConnectionTerminated)
        assert ended.error_code == h2.errors.ErrorCodes.ENHANCE_YOUR_CALM
    assert len(served) <= 101


def test_a_client_may_reset_what_it_no_longer_wants():
    with talking() as (_, client):
        for _ in range(90):
            client.connection.reset_stream(client.request(body=None))
            client.flush()
        assert status(client, client.request()) == b"200"


@pytest.mark.parametrize(
    ("path", "fields", "fault"),
    [
        ("/" + "x" * 300, [], 414),
        ("/", [(b"x-%d" % n, b"") for n in range(9)], 431),
        ("/", [(b"x", b"x" * 1100)], 431),
        ("nowhere", [], 400),
    ],
    ids=["a long target", "many fields", "a large head", "no path"],
)
def test_what_must_be_refused_says_why(path, fields, fault):
    async def handler(server, d):
        await d.send_complete(d.fault.status, b"", [], b"")

    limits = HeadLimits(max_head=1000, max_fields=8, max_target=256)
    with talking(handler, limits=limits) as (_, client):
        assert status(client, client.request(path, *fields)) == b"%d" % fault


def test_a_body_over_the_bound_is_a_413():
    async def handler(server, d):
        try:
            await read_all(d)
        except ContentTooLarge as exc:
            await d.send_complete(exc.status, b"", [], b"")

    with talking(handler, max_body=1000) as (_, client):
        assert status(client, client.request(body=b"x" * 1001)) == b"413"


def test_trailers_pass_both_ways_and_interim_answers_to_the_client():
    async def handler(server, d):
        await d.send_interim(103, [(b"Link", b"</a.css>")])
        await read_all(d)
        server.seen.put(d.request_trailers)
        await d.send_head(200, b"", [])
        await d.send_body(b"body")
        await d.end([(b"X-Sum", b"2")])

    with talking(handler) as (server, client):
        stream = client.request(body=None)
        client.connection.send_data(stream, b"body")
        client.connection.send_headers(stream, [(b"x-sum", b"1")], end_stream=True)
        client.flush()
        assert finish(client, stream)[1] == b"body"
        assert server.next() == [(b"x-sum", b"1")]
        interim = client.until(InformationalResponseReceived, stream).headers
        trailers = client.until(TrailersReceived, stream).headers
    assert [tuple(f) for f in interim] == [(b":status", b"103"), (b"link", b"</a.css>")]
    assert [tuple(f) for f in trailers] == [(b"x-sum", b"2")]


def test_100_continue_is_sent_when_the_body_is_asked_for():
    async def handler(server, d):
        if d.head.path == "/unread":
            await answer(d, b"")
        else:
            await echo(server, d)

    expect = (b"expect", b"100-continue")
    with talking(handler) as (_, client):
        unread = client.request("/unread", expect, (b"content-length", b"4"), body=None)
        assert status(client, unread) == b"200"
        read = client.request("/", expect, (b"content-length", b"4"), body=None)
        client.until(InformationalResponseReceived, read)
        client.upload(read, b"body")
        client.connection.end_stream(read)
        client.flush()
        assert finish(client, read)[1] == b"body"
    told = [e.stream_id for e in client.events if isinstance(e, InformationalResponseReceived)]
    assert told == [read]


@pytest.mark.parametrize("together", [True, False])
def test_a_get_whose_end_comes_behind_its_head_has_no_body(together):
    async def handler(server, d):
        server.seen.put(d.may_have_body)
        await answer(d, b"")

    with talking(handler) as (server, client):
        stream = client.connection.get_next_available_stream_id()
        head = [
            (b":method", b"GET"),
            (b":scheme", b"http"),
            (b":authority", b"a"),
            (b":path", b"/"),
        ]
        client.connection.send_headers(stream, head)
        if not together:
            client.flush()
        client.connection.end_stream(stream)
        client.flush()
        assert server.next() is False
        assert status(client, stream) == b"200"


@pytest.mark.parametrize(("method", "code"), [(b"HEAD", 200), (b"GET", 204), (b"GET", 304)])
def test_an_answer_without_a_body_ends_with_its_head(method, code):
    async def handler(server, d):
        if d.head.path == "/piece by piece":
            await d.send_head(code, b"", [])
            await d.send_body(b"unasked")
            await d.end()
        else:
            await d.send_complete(code, b"", [], b"unasked")

    with talking(handler) as (_, client):
        for path in (b"/whole", b"/piece%20by%20piece"):
            stream = client.connection.get_next_available_stream_id()
            pseudo = [(b":method", method), (b":scheme", b"http"), (b":authority", b"a")]
            client.connection.send_headers(stream, [*pseudo, (b":path", path)], end_stream=True)
            client.flush()
            assert finish(client, stream)[1] == b""


def test_connect_makes_no_tunnel():
    async def handler(server, d):
        await d.send_complete(d.fault.status, b"", [], b"")

    with talking(handler) as (_, client):
        stream = client.connection.get_next_available_stream_id()
        head = [(b":method", b"CONNECT"), (b":authority", b"origin.test:443")]
        client.connection.send_headers(stream, head)
        client.flush()
        assert status(client, stream) == b"501"


def test_a_stop_lets_what_has_begun_finish_and_takes_nothing_new():
    go_on = asyncio.Event()

    async def handler(server, d):
        server.seen.put("begun")
        await go_on.wait()
        await answer(d, b"done")

    with talking(handler) as (server, client):
        stream = client.request()
        assert server.next() == "begun"
        stopping = threading.Thread(target=server.stop, args=(5,))
        stopping.start()
        assert client.until(ConnectionTerminated).last_stream_id == stream
        client.connection.state_machine.state = h2.connection.ConnectionState.CLIENT_OPEN
        late = client.request()
        refused = client.until(StreamReset, late)
        assert refused.error_code == h2.errors.ErrorCodes.REFUSED_STREAM
        server.loop.call_soon_threadsafe(go_on.set)
        assert finish(client, stream)[1] == b"done"
        stopping.join()
        assert server.next() == ("connections left", 0)


def test_an_idle_connection_is_ended_in_order():
    with talking(keep_alive_timeout=0.05) as (_, client):
        assert status(client, client.request()) == b"200"
        assert client.until(ConnectionTerminated).error_code == 0


def test_what_breaks_the_protocol_ends_the_connection():
    async def handler(server, d):
        left = asyncio.Event()
        d.watch_gone(left.set)
        server.seen.put("begun")
        await left.wait()
        server.seen.put("left")

    with talking(handler) as (server, client):
        client.request(body=None)
        assert server.next() == "begun"
        client.sock.sendall(b"\x00\x00\x00\x00\x00\x00\x00\x00\x00")  # DATA on stream 0
        ended = client.until(ConnectionTerminated)
        assert ended.error_code == h2.errors.ErrorCodes.PROTOCOL_ERROR
        assert server.next() == "left"
        client.sock.close()
        wait_until(lambda: not server.server_state.connections)


@serving(http2=True, buffer=1000)
async def test_who_asks_and_does_not_read_is_not_read_either(state, handler, clock):
    """Each ping makes an answer that waits."""
    client = Client(state)
    client.send(PREFACE + SETTINGS)
    client.unsent = 1000 + 64 * 1024
    client.connection.pause_writing()
    client.send(PING)
    assert client.reading
    client.unsent += 1
    client.send(PING)
    assert not client.reading
    client.unsent = 0
    client.connection.resume_writing()
    assert client.reading


@serving(http2=True, head_timeout=10.0, keep_alive_timeout=20.0, linger_timeout=5.0)
async def test_an_idle_connection_has_its_time_and_then_its_time_to_close(state, handler, clock):
    client = Client(state)
    client.send(PREFACE + SETTINGS)
    client.take()
    passes(state, clock, 19.75)
    assert (client.done, client.sent) == ([], b"")
    passes(state, clock, 0.25)
    assert client.take()[3:4] == b"\x07"  # GOAWAY
    assert client.done == ["close"]
    passes(state, clock, 5)
    assert client.done == ["close", "abort"]


@serving(http2=True, head_timeout=10.0)
async def test_half_a_preface_has_the_time_of_a_head(state, handler, clock):
    client = Client(state)
    client.send(PREFACE[:20])
    passes(state, clock, 9.75)
    assert client.sent == b""
    passes(state, clock, 0.25)
    assert client.status == 408


def test_what_is_not_read_fills_the_window_of_its_stream():
    go_on = asyncio.Event()

    async def handler(server, d):
        await go_on.wait()
        await answer(d, await read_all(d))

    with talking(handler) as (server, client):
        stream = client.request(body=None)
        client.upload(stream, bytes(65535))
        client.connection.ping(b"are you?")
        client.flush()
        client.until(PingAckReceived)
        assert client.connection.local_flow_control_window(stream) == 0
        server.loop.call_soon_threadsafe(go_on.set)
        client.upload(stream, b"x")
        client.connection.end_stream(stream)
        client.flush()
        assert len(finish(client, stream)[1]) == 65536
