"""The pool alone, with connections that are only said to exist."""

import asyncio

import pytest

from rolo.errors import ConnectError
from rolo.upstream.connection import Connection
from rolo.upstream.pool import OriginStats, Pool
from rolo.upstream.settings import PoolLimits
from rolo.wire.target import Origin
from tests.origins import eventually, run

ORIGIN = Origin("http", "origin", 80)
OTHER = Origin("http", "other", 80)


class FakeTransport:
    def __init__(self, connection):
        self.connection = connection

    def get_extra_info(self, name):
        return None

    def abort(self):
        asyncio.get_running_loop().call_soon(self.connection.connection_lost, None)


class Dials:
    """Opens connections when told to."""

    def __init__(self, *, at_once=True):
        self.made = []
        self.failures = []
        self.allowed = asyncio.Event()
        if at_once:
            self.allowed.set()

    async def __call__(self, origin):
        await self.allowed.wait()
        if self.failures:
            raise self.failures.pop(0)
        connection = Connection(asyncio.get_running_loop(), bytearray(64), None)
        connection.connection_made(FakeTransport(connection))
        self.made.append(connection)
        return connection


def pool_of(dials, **limits):
    return Pool(dials, PoolLimits(**limits))


async def turns(count=3):
    for _ in range(count):
        await asyncio.sleep(0)


def test_origins_do_not_share():
    async def test():
        dials = Dials()
        pool = pool_of(dials)
        connection = await pool.acquire(ORIGIN)
        connection.release()
        assert pool.take(OTHER) is None
        assert pool.stats() == {ORIGIN: OriginStats(open=1, idle=1, waiting=0)}
        assert pool.take(ORIGIN) is connection
        assert pool.take(ORIGIN) is None
        await pool.close()
        assert pool.stats() == {}

    run(test)


def test_the_connection_used_last_is_used_next_and_those_unused_grow_old():
    async def test():
        pool = pool_of(Dials())
        first, second, third = [await pool.acquire(ORIGIN) for _ in range(3)]
        for connection in (second, first, third):
            connection.release()
        assert [pool.take(ORIGIN) for _ in range(4)] == [third, first, second, None]
        await pool.close()

    run(test)


def test_as_many_are_kept_idle_as_the_limit_says_and_those_used_last():
    async def test():
        pool = pool_of(Dials(), max_idle=2)
        first, second, third = [await pool.acquire(ORIGIN) for _ in range(3)]
        first.release()
        second.release()
        assert not first.closing
        third.release()
        await turns()
        assert pool.stats() == {ORIGIN: OriginStats(open=2, idle=2, waiting=0)}
        assert [pool.take(ORIGIN) for _ in range(3)] == [third, second, None]
        await pool.close()

    run(test)


def test_as_many_are_open_as_the_limit_says_and_the_next_one_waits():
    async def test():
        pool = pool_of(Dials(), max_connections=2)
        first, _ = [await pool.acquire(ORIGIN) for _ in range(2)]
        waiting = asyncio.create_task(pool.acquire(ORIGIN))
        await turns()
        assert pool.stats() == {ORIGIN: OriginStats(open=2, idle=0, waiting=1)}
        first.release()
        assert await waiting is first
        await pool.close()

    run(test)


def test_those_who_wait_are_served_in_order_of_arrival():
    async def test():
        pool = pool_of(Dials(), max_connections=1)
        first = await pool.acquire(ORIGIN)
        order = []

        async def wait(name):
            connection = await pool.acquire(ORIGIN)
            order.append(name)
            connection.release()

        waiting = [asyncio.create_task(wait(i)) for i in range(5)]
        await turns()
        waiting.pop(2).cancel()
        first.release()
        await asyncio.gather(*waiting)
        assert order == [0, 1, 3, 4]
        await pool.close()

    run(test)


@pytest.mark.parametrize("given", ["a connection", "a place"])
def test_what_is_given_to_one_who_leaves_goes_to_the_next(given):
    async def test():
        dials = Dials()
        pool = pool_of(dials, max_connections=1)
        first = await pool.acquire(ORIGIN)
        leaving = asyncio.create_task(pool.acquire(ORIGIN))
        staying = asyncio.create_task(pool.acquire(ORIGIN))
        await turns()
        if given == "a connection":
            first.release()
        else:
            first.abort()
            first.connection_lost(None)
        # Both in one turn: it has been given, but not yet taken.
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert (await staying is first) == (given == "a connection")
        assert pool.stats() == {ORIGIN: OriginStats(open=1, idle=0, waiting=0)}
        await pool.close()

    run(test)


def test_a_connection_that_dies_on_the_way_to_a_waiter_is_not_handed_out():
    async def test():
        pool = pool_of(Dials(), max_connections=1)
        first = await pool.acquire(ORIGIN)
        waiting = asyncio.create_task(pool.acquire(ORIGIN))
        await turns()
        first.release()
        first.buffer_updated(0)
        second = await waiting
        assert second is not first
        assert not second.closing
        await pool.close()

    run(test)


def test_a_dial_that_fails_or_is_cancelled_gives_its_place_to_the_next():
    async def test():
        dials = Dials(at_once=False)
        pool = pool_of(dials, max_connections=1)
        cancelled = asyncio.create_task(pool.acquire(ORIGIN))
        failing = asyncio.create_task(pool.acquire(ORIGIN))
        lucky = asyncio.create_task(pool.acquire(ORIGIN))
        await turns()
        assert pool.stats() == {ORIGIN: OriginStats(open=1, idle=0, waiting=2)}
        cancelled.cancel()
        await turns()
        dials.failures.append(ConnectError("refused"))
        dials.allowed.set()
        with pytest.raises(ConnectError):
            await failing
        assert await lucky is dials.made[0]
        await pool.close()

    run(test)


def test_nothing_is_kept_of_an_origin_without_connections():
    async def test():
        dials = Dials()
        dials.failures.append(ConnectError("refused"))
        pool = pool_of(dials)
        with pytest.raises(ConnectError):
            await pool.acquire(ORIGIN)
        assert pool.stats() == {}
        await pool.close()

    run(test)


def test_a_fresh_connection_is_new_even_if_others_are_idle_or_released():
    async def test():
        dials = Dials()
        pool = pool_of(dials, max_connections=1)
        first = await pool.acquire(ORIGIN)
        first.release()
        second = await pool.acquire(ORIGIN, fresh=True)
        assert second is not first
        waiting = asyncio.create_task(pool.acquire(ORIGIN, fresh=True))
        await turns()
        second.release()
        third = await waiting
        assert len({id(c) for c in (first, second, third)}) == 3
        assert pool.stats() == {ORIGIN: OriginStats(open=1, idle=0, waiting=0)}
        await pool.close()

    run(test)


def test_one_timer_ends_what_is_idle_for_too_long():
    async def test():
        pool = pool_of(Dials(), idle_timeout=0.05)
        for origin in (ORIGIN, OTHER):
            connection = await pool.acquire(origin)
            connection.touch()
            connection.release()
        await eventually(lambda: pool.stats() == {})
        assert pool.sweeper is None
        await pool.close()

    run(test)


def test_the_timer_ends_what_has_been_idle_so_long_and_comes_again_for_the_rest():
    async def test():
        pool = pool_of(Dials(), idle_timeout=5)
        old, due, young = [await pool.acquire(ORIGIN) for _ in range(3)]
        other = await pool.acquire(OTHER)
        now = asyncio.get_running_loop().time()
        for connection, age in ((old, 9), (due, 5), (young, 2), (other, 3)):
            connection.release()
            connection.idle_since = now - age
        pool.sweeper.cancel()
        pool._sweep()
        assert [c.closing for c in (old, due, young, other)] == [True, True, False, False]
        assert pool.sweeper.when() == pytest.approx(now - 3 + 5)  # for the oldest that is left
        await pool.close()

    run(test)


def test_a_pool_that_bounds_no_time_has_no_timer():
    async def test():
        pool = pool_of(Dials(), idle_timeout=None)
        (await pool.acquire(ORIGIN)).release()
        assert pool.sweeper is None
        await pool.close()

    run(test)


def test_closing_fails_those_who_wait_and_those_who_dial():
    async def test():
        dials = Dials(at_once=False)
        pool = pool_of(dials, max_connections=1)
        dialling = asyncio.create_task(pool.acquire(ORIGIN))
        waiting = asyncio.create_task(pool.acquire(ORIGIN))
        await turns()
        closing = asyncio.create_task(pool.close())
        await turns()
        dials.allowed.set()
        for task in (dialling, waiting):
            with pytest.raises(ConnectError):
                await task
        await closing
        assert pool.stats() == {}
        with pytest.raises(RuntimeError):
            await pool.acquire(ORIGIN)

    run(test)
