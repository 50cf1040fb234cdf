"""Which connections carry a second exchange, and which requests are sent a second time."""

import asyncio
import contextlib
import threading

import pytest
from raw_origin import RawOrigin

from rolo.errors import ConnectTimeout, UpstreamClosed
from rolo.net.body import Upload
from rolo.upstream.request import UpstreamRequest
from rolo.upstream.settings import PoolLimits, Timeouts
from rolo.upstream.transport import LoopTransport
from rolo.wire.target import Origin, parse_upstream
from tests.origins import OK, answering, eventually, run, scripted_origin


def request(origin, method="GET", body=None, **kwargs):
    target = Origin("http", origin.host, origin.port)
    return UpstreamRequest(target, method, b"/", [(b"Host", b"origin")], body=body, **kwargs)


async def fetch(transport, origin, method="GET", body=None):
    response = await transport.send(request(origin, method, body))
    async for _ in response.body:
        pass
    response.body.close()
    return response


def converse(script, test, **kwargs):
    async def guarded():
        transport = LoopTransport(**kwargs)
        try:
            async with scripted_origin(script) as origin:
                await test(transport, origin)
        finally:
            await transport.close()

    run(guarded)


def idle(transport):
    return sum(stats.idle for stats in transport.stats().values())


def test_one_connection_serves_many_requests():
    async def test(transport, origin):
        for i in range(1000):
            assert (await fetch(transport, origin)).reused == (i > 0)
        assert origin.connections == 1
        assert repr(transport) == "<LoopTransport origins=1 open=1 idle=1 waiting=0>"

    converse(answering(OK), test)


def test_a_connection_on_which_something_came_that_the_loop_has_not_seen_is_not_reused():
    """Else each answer would be taken for that of the next request."""
    asked, came = threading.Event(), threading.Event()

    def play(origin, connection, number):
        while origin.head(connection):
            connection.sendall(OK)
            if number == 1:
                asked.wait(5)
                connection.sendall(OK.replace(b"\r\n\r\nok", b"\r\n\r\nno"))
                came.set()

    async def test():
        async with contextlib.AsyncExitStack() as running:
            origin = running.enter_context(RawOrigin(play))
            transport = LoopTransport()
            running.push_async_callback(transport.close)
            target = parse_upstream(origin.url).origin
            for reused, then in ((False, asked.set), (False, bool), (True, bool)):
                outgoing = UpstreamRequest(target, "GET", b"/", [(b"Host", b"origin")])
                answer = await transport.send(outgoing)
                assert [piece async for piece in answer.body] == [b"ok"]
                assert answer.reused == reused
                answer.body.close()
                then()
                assert came.wait(5)  # on the loop's thread: it sees nothing meanwhile

    run(test)


def test_idle_connections_end_in_time():
    async def test(transport, origin):
        await asyncio.gather(*[fetch(transport, origin) for _ in range(3)])
        assert idle(transport) == 3
        await eventually(lambda: transport.stats() == {})
        await origin.until(lambda: origin.open == 0)

    converse(answering(OK), test, limits=PoolLimits(idle_timeout=0.05))


def test_no_more_than_so_many_connections_are_kept_idle():
    async def test(transport, origin):
        await asyncio.gather(*[fetch(transport, origin) for _ in range(5)])
        assert idle(transport) == 2
        await origin.until(lambda: origin.open == 2)

    converse(answering(OK), test, limits=PoolLimits(max_idle=2))


def test_requests_over_the_limit_wait_for_their_turn():
    async def test(transport, origin):
        sending = [asyncio.create_task(fetch(transport, origin)) for _ in range(20)]
        await asyncio.sleep(0)
        [stats] = transport.stats().values()
        assert (stats.open, stats.waiting) == (2, 18)
        await asyncio.gather(*sending)
        assert origin.most_open == 2

    converse(answering(OK), test, limits=PoolLimits(max_connections=2))


def test_a_connection_that_ends_makes_room_for_those_who_wait():
    async def test(transport, origin):
        await asyncio.gather(*[fetch(transport, origin) for _ in range(10)])
        assert origin.connections == 10
        await eventually(lambda: transport.stats() == {})

    one_shot = answering(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok", then="close")
    converse(one_shot, test, limits=PoolLimits(max_connections=2))


def test_waiting_for_a_connection_counts_as_connecting():
    async def test(transport, origin):
        stream = await transport.send(request(origin))
        with pytest.raises(ConnectTimeout):
            await transport.send(request(origin))
        [stats] = transport.stats().values()
        assert (stats.open, stats.waiting) == (1, 0)
        stream.body.close()
        assert not (await transport.send(request(origin))).reused

    converse(
        answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
        test,
        limits=PoolLimits(max_connections=1),
        timeouts=Timeouts(connect=0.1),
    )


@pytest.mark.parametrize("late", [b"HTTP/1.1 408 Request Timeout\r\n\r\n", b"\r\n", b""])
def test_an_idle_connection_on_which_anything_happens_is_not_used_again(late):
    go_on = asyncio.Event()

    async def script(wire):
        await wire.head()
        await wire.send(OK)
        if wire.number == 1:
            await go_on.wait()
            await wire.send(late)
            if late:
                await wire.gone()
        else:
            await wire.gone()

    async def test(transport, origin):
        await fetch(transport, origin)
        assert idle(transport) == 1
        go_on.set()
        await eventually(lambda: transport.stats() == {})
        assert not (await fetch(transport, origin)).reused

    converse(script, test)


async def close_instead_of_second_answer(wire):
    """Take a second request only to close on it: the worst moment."""
    await wire.head()
    await wire.send(OK)
    await wire.head()


async def reset_instead_of_second_answer(wire):
    await close_instead_of_second_answer(wire)
    wire.reset()


WORST = [close_instead_of_second_answer, reset_instead_of_second_answer]


class Source(Upload):
    def __init__(self, *pieces):
        self.pieces = list(pieces)

    async def receive_body(self):
        return self.pieces.pop(0) if self.pieces else b""


@pytest.mark.parametrize("script", WORST, ids=["closed", "reset"])
@pytest.mark.parametrize(
    ("method", "body"),
    [("GET", None), ("HEAD", None), ("DELETE", None), ("PUT", b"again"), ("OPTIONS", None)],
)
def test_an_idempotent_request_is_sent_again_on_a_fresh_connection(script, method, body):
    async def test(transport, origin):
        await asyncio.gather(fetch(transport, origin), fetch(transport, origin))
        assert idle(transport) == 2
        response = await fetch(transport, origin, method, body)
        assert response.status == 200
        assert response.retried
        assert not response.reused
        assert origin.connections == 3
        assert len(origin.heads) == 4

    converse(script, test)


@pytest.mark.parametrize("script", WORST, ids=["closed", "reset"])
@pytest.mark.parametrize("method", ["POST", "PATCH", "X-UNKNOWN"])
def test_other_requests_are_never_sent_twice(script, method):
    async def test(transport, origin):
        await fetch(transport, origin)
        with pytest.raises(UpstreamClosed):
            await fetch(transport, origin, method, b"once")
        assert len(origin.heads) == 2

    converse(script, test)


def test_a_body_that_was_pulled_is_not_sent_again():
    async def test(transport, origin):
        await fetch(transport, origin)
        with pytest.raises(UpstreamClosed):
            await fetch(transport, origin, "PUT", Source(b"once"))
        assert len(origin.heads) == 2

    converse(close_instead_of_second_answer, test)


def test_a_body_that_was_not_yet_pulled_is():
    async def first_then_put(wire):
        if wire.number == 1:
            await close_instead_of_second_answer(wire)
        else:
            await wire.head()
            await wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            await wire.chunked()
            await wire.send(OK)
            await wire.gone()

    async def test(transport, origin):
        await fetch(transport, origin)
        response = await transport.send(
            request(origin, "PUT", Source(b"late"), expect_continue=True)
        )
        assert response.retried
        assert origin.bodies == [b"4\r\nlate\r\n0\r\n\r\n"]
        response.body.close()

    converse(first_then_put, test)


def test_it_is_sent_again_only_once():
    async def script(wire):
        await wire.head()
        if wire.number == 1:
            await wire.send(OK)
            await wire.head()

    async def test(transport, origin):
        await fetch(transport, origin)
        with pytest.raises(UpstreamClosed):
            await fetch(transport, origin)
        assert len(origin.heads) == 3

    converse(script, test)


def test_an_answer_that_has_begun_is_not_asked_for_again():
    async def script(wire):
        await wire.head()
        await wire.send(OK)
        await wire.head()
        await wire.send(b"H")

    async def test(transport, origin):
        await fetch(transport, origin)
        with pytest.raises(UpstreamClosed):
            await fetch(transport, origin)
        assert len(origin.heads) == 2

    converse(script, test)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_post_sees_that_the_origin_has_closed_behind_its_answer(loop):
    """An origin that closes after every answer, and does not say so."""
    factory = pytest.importorskip("uvloop").new_event_loop if loop == "uvloop" else None

    async def guarded():
        transport = LoopTransport()
        async with scripted_origin(answering(OK, then="close")) as origin:
            for _ in range(50):
                await fetch(transport, origin, "POST", b"once")
                await origin.until(lambda: origin.open == 0)
            assert len(origin.heads) == 50
        await transport.close()

    run(guarded, loop_factory=factory)


def test_close_ends_everything_at_once():
    endless = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"

    async def script(wire):
        await wire.head()
        await wire.send(endless)
        await wire.gone()

    async def test(transport, origin):
        first = await transport.send(request(origin))
        waiting = asyncio.create_task(transport.send(request(origin)))
        await asyncio.sleep(0)
        await transport.close()
        assert transport.stats() == {}
        assert repr(transport) == "<LoopTransport closed>"
        assert await first.body.read() == b"half"
        with pytest.raises(Exception, match=r"closed|broke"):
            await first.body.read()
        with pytest.raises(Exception, match="closed"):
            await waiting
        with pytest.raises(RuntimeError):
            await transport.send(request(origin))
        await origin.until(lambda: origin.open == 0)

    converse(script, test, limits=PoolLimits(max_connections=1))


def test_a_transport_stays_on_its_loop():
    transport = LoopTransport()

    async def test():
        async with scripted_origin(answering(OK)) as origin:
            await fetch(transport, origin)

    async def elsewhere():
        with pytest.raises(RuntimeError, match="another event loop"):
            await transport.send(request(type("O", (), {"host": "127.0.0.1", "port": 1})))

    async def both():
        await test()
        await asyncio.to_thread(asyncio.run, elsewhere())
        await transport.close()
        await asyncio.get_running_loop().shutdown_default_executor()

    run(both)


def test_leaving_in_every_phase_leaves_nothing_behind():
    """Cancelled while dialling, waiting, or reading, again and again."""

    async def script(wire):
        await wire.head()
        await asyncio.sleep(0)
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok")
        await wire.send(b"ok")
        await wire.gone()

    async def test(transport, origin):
        async def fetch_some():
            response = await transport.send(request(origin))
            try:
                async for _ in response.body:
                    pass
            finally:
                response.body.close()

        for turns in range(120):
            task = asyncio.create_task(fetch_some())
            for _ in range(turns % 24):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
        await eventually(lambda: all(s.open == s.idle for s in transport.stats().values()))
        await origin.until(lambda: origin.open == idle(transport))

    converse(script, test)
    converse(script, test, limits=PoolLimits(max_connections=1))
