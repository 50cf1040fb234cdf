"""Request bodies: framing, early answers, Expect, and sources that break."""

import asyncio

import pytest

from rolo.errors import BadRequest, ClientDisconnected, SendError
from rolo.net.body import Upload
from rolo.upstream.connection import Connection
from rolo.upstream.request import UpstreamRequest
from rolo.upstream.transport import LoopTransport
from rolo.wire.target import Origin
from tests.origins import OK, answering, eventually, run, scripted_origin

TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno"


class Source(Upload):
    """A request body given out piece by piece; an exception among them is raised."""

    def __init__(self, *pieces, endless=None):
        self.pieces = list(pieces)
        self.endless = endless
        self.pulled = 0

    async def receive_body(self):
        self.pulled += 1
        await asyncio.sleep(0)
        if not self.pieces:
            return self.endless or b""
        piece = self.pieces.pop(0)
        if isinstance(piece, asyncio.Event):
            await piece.wait()
            return await self.receive_body()
        if isinstance(piece, Exception):
            raise piece
        return piece


def post(origin, body, method="POST", **kwargs):
    target = Origin("http", origin.host, origin.port)
    return UpstreamRequest(target, method, b"/", [(b"Host", b"origin")], body=body, **kwargs)


async def read_all(response):
    try:
        return b"".join([piece async for piece in response.body])
    finally:
        response.body.close()


def converse(script, test, **kwargs):
    async def guarded():
        transport = LoopTransport()
        try:
            async with scripted_origin(script) as origin:
                await test(transport, origin)
        finally:
            await transport.close()

    run(guarded, **kwargs)


async def take_length(wire):
    """Read bodies by Content-Length and answer, again and again."""
    while True:
        head = await wire.head()
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await wire.body(length)
        await wire.send(OK)


async def take_chunked(wire):
    while True:
        await wire.head()
        await wire.chunked()
        await wire.send(OK)


@pytest.mark.parametrize(
    ("body", "length", "sent"),
    [
        pytest.param(b"hello", None, b"hello", id="bytes"),
        pytest.param(b"", None, b"", id="empty bytes"),
        pytest.param(b"x" * 300_000, None, b"x" * 300_000, id="many bytes"),
        pytest.param(Source(b"hel", b"lo"), 5, b"hello", id="pulled"),
        pytest.param(Source(), 0, b"", id="pulled, empty"),
    ],
)
def test_a_body_of_known_length_goes_with_content_length(body, length, sent):
    async def test(transport, origin):
        response = await transport.send(post(origin, body, length=length))
        assert await read_all(response) == b"ok"
        assert b"\r\nContent-Length: %d\r\n" % len(sent) in origin.heads[0]
        assert b"Transfer-Encoding" not in origin.heads[0]
        assert origin.bodies == [sent]
        assert [s.idle for s in transport.stats().values()] == [1]

    converse(take_length, test)


def test_a_body_of_unknown_length_goes_chunked_with_trailers():
    async def test(transport, origin):
        request = post(origin, Source(b"hel", b"lo"), request_trailers=lambda: [(b"X-Sum", b"42")])
        assert await read_all(await transport.send(request)) == b"ok"
        assert b"\r\nTransfer-Encoding: chunked\r\n" in origin.heads[0]
        assert b"Content-Length" not in origin.heads[0]
        assert origin.bodies == [b"3\r\nhel\r\n2\r\nlo\r\n0\r\nX-Sum: 42\r\n\r\n"]
        assert [s.idle for s in transport.stats().values()] == [1]

    converse(take_chunked, test)


def test_no_body_has_no_framing_field():
    async def test(transport, origin):
        await read_all(await transport.send(post(origin, None)))
        assert origin.heads == [b"POST / HTTP/1.1\r\nHost: origin\r\n\r\n"]

    converse(answering(OK), test)


@pytest.mark.parametrize("pieces", [(b"abc",), (b"abcd", b"ef")], ids=["too short", "too long"])
def test_a_body_of_another_length_than_declared_breaks_the_exchange(pieces):
    async def test(transport, origin):
        with pytest.raises(BadRequest):
            await transport.send(post(origin, Source(*pieces), length=5))
        await origin.until(lambda: origin.connections == 1 and origin.open == 0)
        assert origin.bodies == []

    converse(take_length, test)


def test_a_head_that_cannot_be_written_is_refused_before_connecting():
    async def test(transport, origin):
        request = post(origin, None)
        request.headers.append((b"X", b"a\r\nEvil: 1"))
        with pytest.raises(BadRequest):
            await transport.send(request)
        await eventually(lambda: transport.stats() == {})

    converse(take_length, test)


def test_a_client_that_leaves_closes_the_upstream_connection():
    async def test(transport, origin):
        source = Source(b"abc", ClientDisconnected("gone"))
        with pytest.raises(ClientDisconnected):
            await transport.send(post(origin, source))
        await origin.until(lambda: origin.connections == 1 and origin.open == 0)
        assert origin.bodies == []

    converse(take_chunked, test)


def test_both_directions_flow_at_once():
    go_on = [asyncio.Event() for _ in range(3)]

    async def echo(wire):
        await wire.head()
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
        for _ in range(3):
            await wire.send(await wire.reader.readexactly(3))
        await wire.gone()

    async def test(transport, origin):
        source = Source(go_on[0], b"one", go_on[1], b"two", go_on[2], b"end")
        response = await transport.send(post(origin, source, length=9))
        for event, piece in zip(go_on, (b"one", b"two", b"end"), strict=True):
            event.set()
            assert await response.body.read() == piece
        assert await response.body.read() == b""
        response.body.close()
        assert [s.idle for s in transport.stats().values()] == [1]

    converse(echo, test)


def test_a_client_that_leaves_while_it_is_answered_breaks_the_answer():
    leave = asyncio.Event()

    async def script(wire):
        await wire.head()
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal")
        await wire.gone()

    async def test(transport, origin):
        source = Source(leave, ClientDisconnected("gone"))
        response = await transport.send(post(origin, source))
        assert await response.body.read() == b"hal"
        leave.set()
        with pytest.raises(ClientDisconnected):
            await response.body.read()
        await origin.until(lambda: origin.open == 0)

    converse(script, test)


@pytest.mark.parametrize("closes", [False, True], ids=["stays open", "closes"])
@pytest.mark.parametrize("body", ["pulled", "bytes"])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_an_early_answer_is_heard_while_the_request_is_still_sent(closes, body, loop):
    factory = pytest.importorskip("uvloop").new_event_loop if loop == "uvloop" else None

    async def script(wire):
        await wire.head()
        await wire.send(TOO_LARGE)
        if not closes:
            await wire.gone()

    async def test(transport, origin):
        endless = Source(endless=b"x" * 65536) if body == "pulled" else b"x" * 20_000_000
        for _ in range(5):
            response = await transport.send(post(origin, endless))
            assert response.status == 413
            assert not response.reused
            assert await read_all(response) == b"no"
            await origin.until(lambda: origin.open == 0)
            await eventually(lambda: transport.stats() == {})

    converse(script, test, loop_factory=factory)


def test_an_answer_that_ends_first_lets_the_request_be_sent_to_its_end():
    go_on = asyncio.Event()

    async def script(wire):
        await wire.head()
        await wire.send(OK)
        await wire.chunked()
        await wire.gone()

    async def test(transport, origin):
        response = await transport.send(post(origin, Source(b"early", go_on, b"late")))
        assert response.body.read_whole_nowait() == b"ok"
        go_on.set()
        await origin.until(lambda: origin.open == 0)
        assert origin.bodies == [b"5\r\nearly\r\n4\r\nlate\r\n0\r\n\r\n"]
        await eventually(lambda: transport.stats() == {})
        response.body.close()

    converse(script, test)


@pytest.mark.parametrize(("unsent", "kept"), [(0, 1), (1, 0)])
def test_a_connection_whose_request_was_not_sent_whole_is_not_used_again(monkeypatch, unsent, kept):
    """The origin has answered without reading it: what follows would be read as its rest."""
    monkeypatch.setattr(Connection, "unsent", property(lambda self: unsent))

    async def test(transport, origin):
        assert await read_all(await transport.send(post(origin, b"x"))) == b"ok"
        await origin.until(lambda: origin.open == kept)
        await eventually(lambda: len(transport.stats()) == kept)

    converse(take_length, test)


def test_an_origin_that_breaks_off_while_we_send():
    async def script(wire):
        await wire.head()
        wire.reset()

    async def test(transport, origin):
        with pytest.raises(SendError):
            await transport.send(post(origin, Source(endless=b"x" * 65536)))

    converse(script, test)


def test_a_slow_origin_makes_the_source_wait():
    go_on = asyncio.Event()

    async def script(wire):
        await wire.head()
        await go_on.wait()
        await wire.chunked()
        await wire.send(OK)

    async def test(transport, origin):
        source = Source(*[b"x" * 65536] * 600)
        sending = asyncio.create_task(transport.send(post(origin, source)))
        await origin.until(lambda: len(origin.heads) == 1)
        pulled = -1
        while pulled != source.pulled:
            pulled = source.pulled
            for _ in range(20):
                await asyncio.sleep(0)
        assert pulled < 500
        go_on.set()
        assert await read_all(await sending) == b"ok"

    converse(script, test)


@pytest.mark.parametrize("body", [b"hello", Source(b"hello")], ids=["bytes", "pulled"])
def test_the_body_waits_for_continue(body):
    seen = []

    async def script(wire):
        await wire.head()
        assert wire.reader._buffer == b""
        seen.append("head")
        await wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await wire.body(5)
        await wire.send(OK)
        await wire.gone()

    async def on_interim(status, headers):
        seen.append(status)

    async def test(transport, origin):
        request = post(origin, body, length=5, expect_continue=True)
        response = await transport.send(request, on_interim=on_interim)
        assert await read_all(response) == b"ok"
        assert b"\r\nExpect: 100-continue\r\n" in origin.heads[0]
        assert seen == ["head", 100]
        assert [s.idle for s in transport.stats().values()] == [1]

    converse(script, test)


def test_an_origin_that_refuses_the_expectation_gets_no_body():
    async def script(wire):
        await wire.head()
        await wire.send(TOO_LARGE)
        assert await wire.reader.read() == b""

    async def test(transport, origin):
        source = Source(b"hello")
        response = await transport.send(post(origin, source, length=5, expect_continue=True))
        assert response.status == 413
        assert await read_all(response) == b"no"
        assert source.pulled == 0
        await origin.until(lambda: origin.open == 0)
        await eventually(lambda: transport.stats() == {})

    converse(script, test)


def test_an_origin_that_ignores_the_expectation_gets_the_body_after_a_second():
    async def test(transport, origin):
        response = await transport.send(post(origin, b"hello", expect_continue=True))
        assert await read_all(response) == b"ok"
        assert origin.bodies == [b"hello"]

    converse(take_length, test)


def test_cancelling_while_sending_stops_the_source():
    async def script(wire):
        await wire.head()
        await wire.gone()

    async def test(transport, origin):
        never = asyncio.Event()
        sending = asyncio.create_task(transport.send(post(origin, Source(b"x", never))))
        await origin.until(lambda: len(origin.heads) == 1)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await origin.until(lambda: origin.open == 0)
        await eventually(lambda: transport.stats() == {})

    converse(script, test)
