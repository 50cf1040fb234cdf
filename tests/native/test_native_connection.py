"""The native server's connections, without sockets: deadlines, limits exactly at their bounds,
and how a connection ends."""

import asyncio
import dataclasses

import pytest
from in_memory import GET, HANDSHAKE, Client, passes, serving, turns
from native_support import answer, read_all
from wire import chunked

from rolo.errors import ClientDisconnected, ContentTooLarge
from rolo.native.connection import NativeSettings, _tick
from rolo.wire.http1 import HeadLimits

# --- deadlines --------------------------------------------------------------------------

TIMES = {"head_timeout": 10.0, "keep_alive_timeout": 20.0, "linger_timeout": 5.0}


@serving(**TIMES)
async def test_a_client_that_says_nothing_is_closed_when_the_time_for_a_head_is_over(
    state, handler, clock
):
    client = Client(state)
    passes(state, clock, 9.75)
    assert client.done == []
    passes(state, clock, 0.25)
    assert (client.done, client.sent) == (["close"], b"")


@serving(**TIMES)
async def test_a_head_has_its_time_from_its_first_byte_on(state, handler, clock):
    client = Client(state)
    passes(state, clock, 3)
    client.send(b"GET / HTTP/1.1\r\n")
    passes(state, clock, 8)
    client.send(b"X: y")  # gives it no more time
    passes(state, clock, 1.75)
    assert client.sent == b""
    passes(state, clock, 0.25)
    assert client.status == 408
    assert client.done == ["eof"]
    # The client may read the answer for a while, then it is closed, then cut off.
    passes(state, clock, 4.75)
    assert client.done == ["eof"]
    passes(state, clock, 0.25)
    assert client.done == ["eof", "close"]
    passes(state, clock, 4.75)
    assert client.done == ["eof", "close"]
    passes(state, clock, 0.25)
    assert client.done == ["eof", "close", "abort"]


@serving(**TIMES)
async def test_an_exchange_has_no_deadline_and_the_next_request_has_one(state, handler, clock):
    go_on = asyncio.Event()

    async def slow(d):
        await go_on.wait()
        await answer(d, b"late")

    handler.http = slow
    client = Client(state)
    client.send(GET)
    passes(state, clock, 10_000)
    assert client.done == []
    go_on.set()
    await turns()
    assert client.status == 200
    passes(state, clock, 19.75)
    assert client.done == []
    passes(state, clock, 0.25)
    assert client.done == ["close"]


@serving(**TIMES)
async def test_the_next_head_has_its_time_however_long_the_connection_idled(state, handler, clock):
    client = Client(state)
    client.send(GET)
    await turns()
    client.take()
    passes(state, clock, 19)
    client.send(GET[:5])
    passes(state, clock, 9.75)
    assert client.sent == b""
    passes(state, clock, 0.25)
    assert client.status == 408


@serving(head_timeout=None, keep_alive_timeout=None)
async def test_without_a_limit_clients_may_wait_for_ever(state, handler, clock):
    client = Client(state)
    passes(state, clock, 1e6)
    client.send(GET[:9])
    passes(state, clock, 1e6)
    client.send(GET[9:])
    await turns()
    passes(state, clock, 1e6)
    assert (client.status, client.done) == (200, [])


@serving(**TIMES)
async def test_a_body_that_nobody_reads_has_the_time_to_linger(state, handler, clock):
    client = Client(state)
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1234")
    await turns()
    assert client.status == 200
    passes(state, clock, 4.75)
    assert client.done == []
    passes(state, clock, 0.25)
    assert client.done == ["abort"]


@serving(**TIMES)
async def test_a_body_that_nobody_reads_is_swallowed_and_the_next_request_answered(
    state, handler, clock
):
    client = Client(state)
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1234")
    await turns()
    assert client.take().startswith(b"HTTP/1.1 200")
    client.send(b"56789" + GET)
    await turns()
    assert client.status == 200
    assert len(handler.seen) == 2
    passes(state, clock, 19.75)
    assert client.done == []
    passes(state, clock, 0.25)
    assert client.done == ["close"]


@serving(**TIMES)
async def test_a_client_that_half_closes_has_left_and_has_time_to_close(state, handler, clock):
    client = Client(state)
    client.send(GET[:9])
    assert client.connection.eof_received() is False
    passes(state, clock, 4.75)
    assert client.done == []
    passes(state, clock, 0.25)
    assert client.status == 408


@pytest.mark.parametrize(
    ("settings", "seconds"),
    [
        ({}, 1.0),
        ({"head_timeout": None, "keep_alive_timeout": None, "websocket_ping_interval": None}, 1.0),
        ({"head_timeout": 0.4}, 0.1),
        ({"keep_alive_timeout": 0.4}, 0.1),
        ({"linger_timeout": 0.4}, 0.1),
        ({"websocket_close_timeout": 0.4}, 0.1),
        ({"websocket_ping_interval": 0.4}, 0.1),
        ({"websocket_ping_timeout": 0.4}, 0.1),
        ({"linger_timeout": 2.0, "head_timeout": 3.0}, 0.5),
        ({"linger_timeout": 0.001}, 0.01),
    ],
    ids=repr,
)
def test_no_wait_lasts_a_quarter_longer_than_it_should_nor_a_second(settings, seconds):
    long = {
        field.name: 100.0
        for field in dataclasses.fields(NativeSettings)
        if field.name.endswith(("_timeout", "_interval"))
    }
    assert _tick(NativeSettings(**{**long, **settings})) == pytest.approx(seconds)


# --- bounds -----------------------------------------------------------------------------


@serving(max_connections=2)
async def test_as_many_connections_as_allowed_are_served_and_one_more_is_not(state, handler, clock):
    clients = [Client(state) for _ in range(2)]
    for client in clients:
        client.send(GET)
    await turns()
    assert [client.status for client in clients] == [200, 200]
    third = Client(state)
    assert (third.status, third.done) == (503, ["eof"])
    third.leave()
    clients[0].leave()
    fourth = Client(state)
    fourth.send(GET)
    await turns()
    assert fourth.status == 200


@serving(limits=HeadLimits(max_head=100))
async def test_a_head_without_an_end_is_refused_once_it_is_over_the_limit(state, handler, clock):
    client = Client(state)
    client.send(b"GET / HTTP/1.1\r\nX: ".ljust(100, b"a"))
    assert client.status is None
    client.send(b"a")
    assert (client.status, client.done) == (431, ["eof"])


@pytest.mark.parametrize("coded", [False, True], ids=["length", "chunked"])
def test_a_body_may_be_as_long_as_allowed_and_not_a_byte_longer(coded):
    @serving(max_body=100)
    async def test(state, handler, clock):
        async def reading(d):
            await answer(d, b"%d" % len(await read_all(d)))

        handler.http = reading
        for size in (100, 101):
            client = Client(state)
            framing = b"Transfer-Encoding: chunked" if coded else b"Content-Length: %d" % size
            head = b"POST / HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n\r\n"
            client.send(head + (chunked(bytes(50), bytes(size - 50)) if coded else bytes(size)))
            await turns()
            if size == 100:
                assert client.sent.endswith(b"100")
            elif coded:  # told to who reads
                assert client.status == 500
                with pytest.raises(ContentTooLarge):
                    await handler.seen[-1].receive_body()
            else:
                assert (client.status, len(handler.seen)) == (413, 1)

    test()


@serving(buffer=1000)
async def test_what_is_pipelined_is_read_up_to_the_bound_and_then_left_in_the_socket(
    state, handler, clock
):
    handler.http = lambda d: state.loop.create_future()
    client = Client(state)
    client.send(GET)
    client.send(bytes(500))
    client.send(bytes(500))
    assert client.reading
    client.send(b"x")
    assert not client.reading
    assert client.connection._buffer == bytes(1000) + b"x"


@serving(buffer=1000)
async def test_a_body_is_read_up_to_the_bound_and_on_once_it_was_taken(state, handler, clock):
    go_on = asyncio.Event()

    async def reading(d):
        await go_on.wait()
        await answer(d, b"%d" % len(await read_all(d)))

    handler.http = reading
    client = Client(state)
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2001\r\n\r\n")
    client.send(bytes(1000))
    assert client.reading
    client.send(b"x")
    assert not client.reading
    go_on.set()
    await turns()
    assert client.reading
    client.send(bytes(1000))
    await turns()
    assert client.sent.endswith(b"2001")


@pytest.mark.parametrize("over", [0, 1])
def test_a_body_that_nobody_reads_is_swallowed_up_to_the_bound(over):
    @serving(drain_limit=1000)
    async def test(state, handler, clock):
        # Known in advance: the client is told.
        client = Client(state)
        length = 1000 + over
        client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % length)
        await turns()
        assert (b"\r\nConnection: close\r\n" in client.take()) == bool(over)
        client.send(bytes(length) + GET)
        await turns()
        assert client.status == (None if over else 200)
        # What has come already is over.
        client = Client(state)
        client.send(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (length + 7) + bytes(7)
        )
        await turns()
        assert (b"\r\nConnection: close\r\n" in client.take()) == bool(over)
        # In chunks it is known when it comes.
        client = Client(state)
        client.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        await turns()
        assert b"\r\nConnection: close\r\n" not in client.take()
        client.send(chunked(bytes(500), bytes(500 + over)) + GET)
        await turns()
        assert client.status == (None if over else 200)
        assert client.done == (["eof"] if over else [])

    test()


@serving(drain_limit=100)
async def test_who_goes_on_sending_after_a_refusal_is_cut_off_at_the_bound(state, handler, clock):
    client = Client(state)
    client.send(b"nonsense\r\n\r\n")
    assert client.status == 400
    client.send(bytes(800))
    client.send(bytes(800))
    assert client.done == ["eof"]
    client.send(b"x")
    assert client.done == ["eof", "abort"]


@serving(buffer=100)
async def test_frames_that_come_before_the_answer_are_read_up_to_the_bound(state, handler, clock):
    accepting = asyncio.Event()

    async def accept(d):
        await accepting.wait()
        await d.accept(None, [])
        assert await d.receive() == "a" * 95

    handler.websocket = accept
    client = Client(state)
    frame = b"\x81\xdf" + bytes(4) + b"a" * 95
    client.send(HANDSHAKE + frame[:100])
    assert client.reading
    client.send(frame[100:])
    assert not client.reading
    accepting.set()
    await turns()
    assert client.reading
    assert client.status == 101
    assert client.sent.endswith(b"\r\n\r\n\x88\x02\x03\xe8")  # the handler has returned


# --- ends -------------------------------------------------------------------------------


@serving()
async def test_a_server_that_stops_closes_what_idles_and_lets_the_rest_finish(
    state, handler, clock
):
    go_on = asyncio.Event()

    async def slow(d):
        await go_on.wait()
        await answer(d, b"late")

    idle, busy = Client(state), Client(state)
    handler.http = slow
    busy.send(GET)
    await turns()
    stopping = asyncio.create_task(state.shutdown(None))
    await turns()
    assert (idle.done, busy.done) == (["close"], [])
    late = Client(state)
    assert late.status == 503
    for client in (idle, late):
        client.leave()
    go_on.set()
    await turns()
    assert b"\r\nConnection: close\r\n" in busy.sent
    assert busy.done == ["close"]
    assert not stopping.done()
    busy.leave()
    await stopping
    assert state.connections == set()


@serving()
async def test_what_was_written_before_a_bad_end_is_not_taken_for_all_of_it(state, handler, clock):
    async def breaks(d):
        framing = [(b"Content-Length", b"9")] if d.head.path == "/length" else []
        await d.send_head(200, b"OK", framing)
        await d.send_body(b"part")
        raise ValueError("on purpose")

    handler.http = breaks
    for version, path, done in [
        (b"1.1", b"/", ["close"]),  # its last chunk is missing
        (b"1.1", b"/length", ["close"]),
        (b"1.0", b"/", ["abort"]),
    ]:
        client = Client(state)
        client.send(b"GET " + path + b" HTTP/" + version + b"\r\nHost: x\r\n\r\n")
        await turns()
        assert (client.done, b"part" in client.sent) == (done, True)


@serving()
async def test_an_answer_that_is_too_short_or_too_long_is_an_error_and_no_answer(
    state, handler, clock
):
    errors = []

    async def wrong(d):
        try:
            await d.send_complete(200, b"OK", [(b"Content-Length", b"3")], d.head.query)
        except RuntimeError as exc:
            errors.append(str(exc))

    handler.http = wrong
    for body, status in [(b"abc", 200), (b"ab", 500), (b"", 500)]:
        client = Client(state)
        client.send(b"GET /?" + body + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        await turns()
        assert client.status == status
    assert errors == [f"the answer lacks {n} bytes of its Content-Length" for n in (1, 3)]
    client = Client(state)
    client.send(b"GET /?abcd HTTP/1.1\r\nHost: x\r\n\r\n")
    await turns()
    assert errors[2:] == ["the answer is 1 bytes over its Content-Length"]
    assert b"abcd" not in client.sent
    assert client.done == ["close"]


@serving()
async def test_nothing_is_sent_to_who_has_left_and_the_handler_is_told(state, handler, clock):
    gone = []
    errors = []

    async def told(d):
        d.watch_gone(lambda: gone.append("at once"))
        left.set()
        await go_on.wait()
        d.watch_gone(lambda: gone.append("afterwards"))
        for send in (
            lambda: d.send_head(200, b"OK", []),
            lambda: d.send_body(b"x"),
            lambda: d.send_complete(200, b"OK", [], b""),
            lambda: d.end(),
        ):
            with pytest.raises(ClientDisconnected, match="the client left") as caught:
                await send()
            errors.append(caught.value)
        await d.send_interim(103, [])

    left, go_on = asyncio.Event(), asyncio.Event()
    handler.http = told
    client = Client(state)
    client.send(GET)
    await left.wait()
    client.leave()
    assert gone == ["at once"]
    go_on.set()
    await turns()
    assert gone == ["at once", "afterwards"]
    assert (client.sent, len(errors)) == (b"", 4)


@serving()
async def test_a_stream_is_written_at_once_and_the_next_answer_is_not(state, handler, clock):
    """The high-water mark is 1 for as long as a body of unknown length is sent."""
    marks = []

    async def streams(d):
        marks.append(client.high)
        fields = [(b"Content-Length", b"1")] if d.head.path == "/length" else []
        await d.send_head(200, b"OK", fields)
        marks.append(client.high)
        await d.send_body(b"x")
        await d.end()

    handler.http = streams
    client = Client(state)
    for path in (b"/", b"/length", b"/"):
        client.send(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        await turns()
    buffer = state.settings.buffer
    assert marks == [buffer, 1, buffer, buffer, buffer, 1]
    assert client.high == buffer


@serving()
async def test_how_much_the_client_has_not_taken_is_told_as_far_as_it_is_known(
    state, handler, clock
):
    handler.http = lambda d: state.loop.create_future()
    client = Client(state)
    client.send(GET)
    await turns()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rolo.net.connection.unacknowledged", lambda transport: 7)
        assert handler.seen[0].unacknowledged == 7


@serving()
async def test_a_transport_without_a_socket_is_not_taken_for_one_whose_client_left(
    state, handler, clock
):
    handler.http = lambda d: state.loop.create_future()
    client = Client(state)
    client.send(GET)
    client.connection.pause_reading()
    state.look(clock.now)
    assert client.done == []


# --- who is there -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("peer", "local", "client", "server"),
    [
        (("1.2.3.4", 5), ("6.7.8.9", 80), ("1.2.3.4", 5), ("6.7.8.9", 80)),
        (("::1", 5, 0, 0), ("::2", 80, 0, 0), ("::1", 5), ("::2", 80)),
        ("", "/run/socket", None, ("/run/socket", None)),
        (None, None, None, None),
        ("", "", None, None),
    ],
    ids=["IPv4", "IPv6", "a unix socket", "unknown", "no name"],
)
def test_the_addresses_of_both_sides_are_told(peer, local, client, server):
    @serving()
    async def test(state, handler, clock):
        Client(state, peer, local).send(GET)
        await turns()
        head = handler.seen[0].head
        assert (head.client, head.server) == (client, server)

    test()


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/a%2Fb?c?d", "/a/b", b"c?d"),
        (b"/%ff", "/\ufffd", b""),
        (b"http://h:1/a%20b?c", "/a b", b"c"),
        (b"http://h", "/", b""),
    ],
    ids=repr,
)
def test_the_target_is_taken_apart(target, path, query):
    @serving()
    async def test(state, handler, clock):
        whole = b"GET " + target + b" HTTP/1.1\r\nHost: h\r\n\r\n"
        Client(state).send(whole + GET)
        await turns()
        head = handler.seen[0].head
        assert (head.target, head.path, head.query, head.root_path) == (target, path, query, "")
        assert (head.scheme, head.size) == ("http", len(whole))

    test()


# --- stopping ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_what_outlives_its_client_is_waited_for_when_the_server_stops(kind):
    @serving()
    async def test(state, handler, clock):
        cleaning, go_on, done = asyncio.Event(), asyncio.Event(), []

        async def serve(d):
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                cleaning.set()
                await go_on.wait()
                done.append(kind)

        handler.http = handler.websocket = serve
        client = Client(state)
        client.send(GET if kind == "http" else HANDSHAKE)
        await turns()
        task = client.connection.task
        client.leave()
        stopping = asyncio.ensure_future(state.shutdown(None))
        await turns()
        assert not stopping.done()
        task.cancel()  # as the bridge does when it hears of the client
        await cleaning.wait()
        go_on.set()
        await stopping
        assert done == [kind]

    test()
