"""Answers as the loop transport gives them, for every way an origin may send them."""

import asyncio

import pytest

from rolo.errors import BadResponse, BodyInterrupted, ExchangeTimeout, UpstreamClosed
from rolo.upstream.exchange import Exchange
from rolo.upstream.request import UpstreamRequest
from rolo.upstream.settings import PoolLimits, Timeouts
from rolo.upstream.transport import LoopTransport
from rolo.wire.target import Origin
from tests.origins import OK, answering, eventually, reset_before_head, run, scripted_origin

CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
)


def get(origin, method="GET", **kwargs):
    target = Origin("http", origin.host, origin.port)
    return UpstreamRequest(target, method, b"/", [(b"Host", b"origin")], **kwargs)


async def read_all(response):
    try:
        return b"".join([piece async for piece in response.body])
    finally:
        response.body.close()


def exchange(script, check, *, method="GET", limits=None):
    """Send one bodiless request to ``script`` and hand the answer to ``check``."""

    async def test():
        transport = LoopTransport(limits=limits)
        try:
            async with scripted_origin(script) as origin:
                response = await transport.send(get(origin, method))
                await check(response, origin, transport)
                response.body.close()
        finally:
            await transport.close()

    run(test)


LENGTH_2 = (b"Content-Length", b"2")


@pytest.mark.parametrize(
    ("raw", "then", "body", "reusable"),
    [
        pytest.param(OK, "wait", b"ok", True, id="length"),
        pytest.param(CHUNKED, "wait", b"hello world", True, id="chunked"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "wait", b"", True, id="empty"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\n\r\nto the end", "close", b"to the end", False, id="close"
        ),
        pytest.param(
            b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "wait", b"ok", False, id="HTTP/1.0"
        ),
        pytest.param(
            b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
            "wait",
            b"ok",
            True,
            id="HTTP/1.0 with keep-alive",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
            "wait",
            b"ok",
            False,
            id="Connection: close",
        ),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", "wait", b"", True, id="204"),
        pytest.param(
            b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", "wait", b"", True, id="304"
        ),
        pytest.param(OK + b"HTTP/1.1 200", "wait", b"ok", False, id="extra bytes after the body"),
        pytest.param(CHUNKED + b"!", "wait", b"hello world", False, id="extra bytes after chunks"),
    ],
)
@pytest.mark.parametrize("pace", ["whole", "byte by byte"])
def test_every_framing_gives_the_body_and_the_right_fate(raw, then, body, reusable, pace):
    async def script(wire):
        await wire.head()
        await (wire.send(raw) if pace == "whole" else wire.dribble(raw))
        if then == "wait":
            await wire.gone()

    async def check(response, origin, transport):
        assert response.version == raw[5:8].decode()
        assert await read_all(response) == body
        if reusable:
            # The last byte may still be under way to the pool's half of the world.
            assert [s.idle for s in transport.stats().values()] == [1]
        else:
            await origin.until(lambda: origin.open == 0)
            await eventually(lambda: transport.stats() == {})

    exchange(script, check)


def test_the_head_is_given_as_it_came():
    fields = [
        (b"X-Mixed-CASE", b"1"),
        (b"set-cookie", b"a=1"),
        (b"Set-Cookie", b"b=2"),
        (b"X-Empty", b""),
        (b"X-Bytes", b"caf\xe9"),
        (b"Content-Length", b"0"),
    ]
    raw = b"HTTP/1.1 299 Almost \xfc\r\n" + b"".join(b"%b: %b\r\n" % f for f in fields) + b"\r\n"

    async def check(response, origin, transport):
        assert (response.status, response.reason) == (299, b"Almost \xfc")
        assert response.headers == fields
        assert response.body.length == 0
        assert not response.reused
        assert response.retried is None

    exchange(answering(raw), check)


def test_the_answer_to_head_has_a_length_but_no_body():
    async def check(response, origin, transport):
        assert response.body.read_whole_nowait() == b""
        assert (b"Content-Length", b"500") in response.headers

    exchange(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"), check, method="HEAD")


def test_two_hundred_fields_pass():
    fields = b"".join(b"X-%d: %d\r\n" % (i, i) for i in range(200))

    async def check(response, origin, transport):
        assert len(response.headers) == 201

    exchange(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + fields + b"\r\n"), check)


def test_trailers_are_there_after_the_end():
    raw = CHUNKED[:-2] + b"X-Sum: 42\r\n\r\n"

    async def check(response, origin, transport):
        assert await read_all(response) == b"hello world"
        assert response.body.trailers == [(b"X-Sum", b"42")]

    exchange(answering(raw), check)


def test_a_body_that_came_with_the_head_is_there_without_waiting():
    async def check(response, origin, transport):
        assert response.body.read_whole_nowait() == b"ok"
        assert await response.body.read() == b""

    exchange(answering(OK), check)


def test_pieces_arrive_before_the_body_ends():
    step = asyncio.Event()

    async def script(wire):
        await wire.head()
        await wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(3):
            await step.wait()
            step.clear()
            await wire.send(b"4\r\ntick\r\n")
        await wire.gone()

    async def check(response, origin, transport):
        assert response.body.read_whole_nowait() is None
        for _ in range(3):
            step.set()
            assert await response.body.read() == b"tick"
        # Leaving an endless stream closes its connection, at once.
        response.body.close()
        await origin.until(lambda: origin.open == 0)

    exchange(script, check)


def test_interim_answers_are_reported_in_order_and_never_taken_for_the_answer():
    seen = []

    async def script(wire):
        await wire.head()
        await wire.send(
            b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        )
        await wire.send(OK)
        await wire.gone()

    async def on_interim(status, headers):
        seen.append((status, headers))

    async def test():
        transport = LoopTransport()
        async with scripted_origin(script) as origin:
            response = await transport.send(get(origin), on_interim=on_interim)
            assert response.status == 200
            assert await read_all(response) == b"ok"
            await transport.close()

    run(test)
    assert seen == [(102, []), (103, [(b"Link", b"</a>")])]


@pytest.mark.parametrize("end", [OK, b""], ids=["before the answer", "before a broken connection"])
def test_interim_answers_that_come_while_another_is_passed_on_are_not_lost(end, monkeypatch):
    seen, exchanges = [], []
    wake = Exchange._wake

    def woken(exchange):
        exchanges.append(exchange)
        wake(exchange)

    monkeypatch.setattr(Exchange, "_wake", woken)

    async def test():
        first, go_on = asyncio.Event(), asyncio.Event()

        async def script(wire):
            await wire.head()
            await wire.send(b"HTTP/1.1 102 Processing\r\n\r\n")
            await first.wait()
            for number in range(3):
                await wire.send(b"HTTP/1.1 103 Early Hints\r\nN: %d\r\n\r\n" % number)
            await wire.send(end)
            if end:
                await wire.gone()

        async def on_interim(status, headers):
            first.set()
            if status == 102:
                await go_on.wait()
            seen.append(dict(headers).get(b"N"))

        transport = LoopTransport()
        async with scripted_origin(script) as origin:
            sending = asyncio.ensure_future(transport.send(get(origin), on_interim=on_interim))
            await first.wait()
            exchange = exchanges[0]
            await eventually(lambda: exchange.head is not None or exchange._error is not None)
            go_on.set()
            if end:
                assert await read_all(await sending) == b"ok"
            else:
                with pytest.raises(UpstreamClosed):
                    await sending
            await transport.close()

    run(test)
    assert seen == [None, b"0", b"1", b"2"]


def test_a_final_head_waits_for_interim_answers_no_longer_than_the_exchange_may_take():
    async def script(wire):
        await wire.head()
        await wire.send(b"HTTP/1.1 102 Processing\r\n\r\n" + OK)
        await wire.gone()

    async def on_interim(status, headers):
        await asyncio.Event().wait()

    async def test():
        transport = LoopTransport(timeouts=Timeouts(total=0.05))
        async with scripted_origin(script) as origin:
            with pytest.raises(ExchangeTimeout):
                await transport.send(get(origin), on_interim=on_interim)
            await transport.close()

    run(test)


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n", id="another protocol"),
        pytest.param(b"HTTP/1.1 200 OK\r\nBroken\r\n\r\n", id="broken field"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA : 1\r\n\r\n", id="space before the colon"),
        pytest.param(b"HTTP/1.1 200 OK\nA: 1\n\n", id="bare line feeds"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n", id="two lengths"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
            id="length and chunked",
        ),
        pytest.param(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n", id="unasked 101"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA: " + b"a" * 70_000, id="endless head"),
        pytest.param(b"HTTP/1.1 102 P\r\n\r\n" * 500, id="endless interim answers"),
    ],
)
def test_a_malformed_answer_is_refused_and_the_connection_closed(raw):
    async def script(wire):
        await wire.head()
        await wire.send(raw)
        await wire.gone()

    async def test():
        transport = LoopTransport()
        async with scripted_origin(script) as origin:
            with pytest.raises(BadResponse) as caught:
                await transport.send(get(origin))
            assert caught.value.target == str(get(origin).origin)
            await origin.until(lambda: origin.open == 0)
            await eventually(lambda: transport.stats() == {})
        await transport.close()

    run(test)


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(reset_before_head, id="reset"),
        pytest.param(answering(b"", then="close"), id="closed without a byte"),
        pytest.param(
            answering(b"HTTP/1.1 200 OK\r\nA: ", then="close"), id="closed within the head"
        ),
    ],
)
def test_an_origin_that_ends_before_a_complete_head(script):
    async def test():
        transport = LoopTransport()
        async with scripted_origin(script) as origin:
            with pytest.raises(UpstreamClosed):
                await transport.send(get(origin))
            assert origin.connections == 1
        await transport.close()

    run(test)


@pytest.mark.parametrize(
    ("raw", "then"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "close", id="length"),
        pytest.param(CHUNKED[:-20], "close", id="chunked"),
        pytest.param(CHUNKED[:-5], "close", id="chunked, last chunk missing"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\nhalf", "reset", id="until close, reset"),
    ],
)
def test_a_body_cut_short_gives_what_came_and_then_the_error(raw, then):
    step = asyncio.Event()

    async def script(wire):
        await wire.head()
        await wire.send(raw)
        await step.wait()
        if then == "reset":
            wire.reset()

    async def check(response, origin, transport):
        assert await response.body.read() != b""
        step.set()
        for _ in range(2):
            with pytest.raises(BodyInterrupted):
                await response.body.read()
        assert response.body.read_whole_nowait() is None
        assert not response.body.complete

    exchange(script, check)


def test_a_broken_chunk_is_an_error_of_the_origin():
    async def check(response, origin, transport):
        with pytest.raises(BadResponse):
            await read_all(response)

    exchange(answering(CHUNKED[:-5] + b"zz\r\n"), check)


def test_a_slow_reader_makes_the_origin_wait():
    sent = 0

    async def script(wire):
        nonlocal sent
        await wire.head()
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n")
        for _ in range(500):
            await wire.send(b"x" * 100_000)
            sent += 100_000

    async def check(response, origin, transport):
        await response.body.read()
        await eventually(lambda: response.body.buffered > 100_000)
        held = response.body.buffered
        for _ in range(50):
            await asyncio.sleep(0)
        assert held == response.body.buffered <= 100_000 + 65536
        assert sent < 50_000_000
        rest = 0
        async for piece in response.body:
            assert len(piece) <= 100_000 + 65536
            rest += len(piece)

    exchange(script, check, limits=PoolLimits(max_buffer=100_000))


def test_the_body_has_one_reader_and_no_reading_after_close():
    async def script(wire):
        await wire.head()
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
        await wire.gone()

    async def check(response, origin, transport):
        reading = asyncio.create_task(response.body.read())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError):
            await response.body.read()
        response.body.close()
        response.body.close()
        with pytest.raises(RuntimeError):
            await reading

    exchange(script, check)


def test_uvloop_does_the_same():
    uvloop = pytest.importorskip("uvloop")

    async def test():
        transport = LoopTransport()
        async with scripted_origin(answering(CHUNKED)) as origin:
            for i in range(3):
                response = await transport.send(get(origin))
                assert response.reused == (i > 0)
                assert await read_all(response) == b"hello world"
            assert origin.connections == 1
        async with scripted_origin(reset_before_head) as origin:
            with pytest.raises(UpstreamClosed):
                await transport.send(get(origin))
        await transport.close()

    run(test, loop_factory=uvloop.new_event_loop)
