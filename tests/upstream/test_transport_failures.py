"""Timeouts and cancellation of the loop transport."""

import asyncio

import pytest

from rolo.errors import ExchangeTimeout, IdleTimeout, RequestTimeout, ResponseHeadTimeout
from rolo.net.body import Upload
from rolo.upstream.request import UpstreamRequest
from rolo.upstream.settings import Timeouts
from rolo.upstream.transport import LoopTransport
from rolo.wire.target import Origin
from tests.origins import OK, eventually, run, scripted_origin, silent

HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"


def request(origin, body=None, **kwargs):
    target = Origin("http", origin.host, origin.port)
    method = "GET" if body is None else "PUT"
    return UpstreamRequest(target, method, b"/", [(b"Host", b"origin")], body=body, **kwargs)


def converse(script, test, **timeouts):
    async def guarded():
        transport = LoopTransport(timeouts=Timeouts(**timeouts))
        try:
            async with scripted_origin(script) as origin:
                await test(transport, origin)
                await eventually(lambda: transport.stats() == {})
                await origin.until(lambda: origin.open == 0)
        finally:
            await transport.close()

    run(guarded)


async def half(wire):
    await wire.head()
    await wire.send(HALF)
    await wire.gone()


class Stalled(Upload):
    """A client that sends one piece and then nothing."""

    def __init__(self):
        self.pulled = 0

    async def receive_body(self):
        self.pulled += 1
        if self.pulled > 1:
            await asyncio.Event().wait()
        return b"x"


async def first_answer_then_silence(wire):
    await wire.head()
    await wire.send(OK)
    await wire.gone()


def test_an_origin_that_does_not_answer():
    async def test(transport, origin):
        started = asyncio.get_running_loop().time()
        with pytest.raises(ResponseHeadTimeout, match=r"0\.1 s") as caught:
            await transport.send(request(origin))
        assert 0.09 < asyncio.get_running_loop().time() - started < 2
        assert caught.value.target == str(request(origin).origin)

    converse(silent, test, response=0.1)


def test_an_origin_that_does_not_answer_the_second_request():
    async def test(transport, origin):
        response = await transport.send(request(origin))
        response.body.close()
        await asyncio.sleep(0.05)
        started = asyncio.get_running_loop().time()
        with pytest.raises(ResponseHeadTimeout):
            await transport.send(request(origin))
        assert 0.09 < asyncio.get_running_loop().time() - started < 2
        assert origin.connections == 1

    converse(first_answer_then_silence, test, response=0.1)


def test_a_body_that_stalls():
    async def test(transport, origin):
        response = await transport.send(request(origin))
        assert await response.body.read() == b"half"
        with pytest.raises(IdleTimeout, match=r"0\.1 s"):
            await response.body.read()

    converse(half, test, idle=0.1)


def test_a_slow_but_steady_body_is_never_cut():
    async def script(wire):
        await wire.head()
        await wire.send(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(8):
            await asyncio.sleep(0.05)
            await wire.send(b".")

    async def test(transport, origin):
        response = await transport.send(request(origin))
        assert b"".join([piece async for piece in response.body]) == b"." * 8

    converse(script, test, idle=0.2, response=0.2)


def test_a_reader_that_takes_its_time_is_not_the_origins_fault():
    async def test(transport, origin):
        response = await transport.send(request(origin))
        await asyncio.sleep(0.3)
        assert await response.body.read() == b"half"
        response.body.close()

    converse(half, test, idle=0.1)


def test_an_upload_that_stalls():
    async def test(transport, origin):
        with pytest.raises(RequestTimeout) as caught:
            await transport.send(request(origin, Stalled()))
        assert caught.value.phase == "request body"

    converse(silent, test, idle=0.1)


def test_an_origin_that_does_not_read():
    async def script(wire):
        wire.writer.transport.pause_reading()
        await origin_over.wait()

    origin_over = asyncio.Event()

    async def test(transport, origin):
        with pytest.raises(IdleTimeout):
            await transport.send(request(origin, b"x" * 30_000_000))
        origin_over.set()

    converse(script, test, idle=0.2, response=0.1)


def test_the_response_time_counts_from_the_end_of_the_request():
    async def script(wire):
        await wire.head()
        await wire.chunked()
        await wire.send(OK)
        await wire.gone()

    class Slow(Upload):
        left = 6

        async def receive_body(self):
            await asyncio.sleep(0.05)
            self.left -= 1
            return b"x" if self.left > 0 else b""

    async def test(transport, origin):
        response = await transport.send(request(origin, Slow()))
        assert response.body.read_whole_nowait() == b"ok"
        response.body.close()
        await transport.close()

    converse(script, test, response=0.15)


@pytest.mark.parametrize("script", [silent, half], ids=["before the head", "within the body"])
def test_the_whole_exchange_has_its_time(script):
    async def test(transport, origin):
        async def fetch():
            response = await transport.send(request(origin))
            async for _ in response.body:
                pass

        with pytest.raises(ExchangeTimeout, match=r"0\.1 s"):
            await fetch()

    converse(script, test, total=0.1)


def test_no_limits_no_timer():
    async def test(transport, origin):
        response = await transport.send(request(origin))
        assert await response.body.read() == b"half"
        response.body.close()

    converse(half, test, connect=None, response=None, idle=None, total=None)


def test_cancelling_closes_the_connection_at_once():
    async def test(transport, origin):
        sending = asyncio.create_task(transport.send(request(origin)))
        await origin.until(lambda: len(origin.heads) == 1)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending

    async def script(wire):
        await wire.head()
        await wire.gone()

    converse(script, test)


def test_an_interim_answer_whose_report_fails_ends_the_exchange():
    async def script(wire):
        await wire.head()
        await wire.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await wire.gone()

    async def broken(status, headers):
        raise LookupError

    async def test(transport, origin):
        with pytest.raises(LookupError):
            await transport.send(request(origin), on_interim=broken)

    converse(script, test)
