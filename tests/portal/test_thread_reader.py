"""A body that the loop pipes and a thread takes: order, pace, and how it ends."""

import asyncio
import threading

import pytest

from rolo.errors import ClientDisconnected, NoPortalError
from rolo.portal.portal import LoopScope, Portal
from rolo.portal.thread_reader import ThreadReader

PIECE = bytes(64 * 1024)


def with_reader(pipe, thread, beside=None):
    """Run ``thread(feed, portal)`` on a thread and return its result; ``beside(feed, portal)``
    runs on the loop meanwhile."""

    async def main():
        portal = Portal(LoopScope(asyncio.get_running_loop(), threading.get_ident()))
        feed = ThreadReader(pipe, portal)
        taking = asyncio.create_task(asyncio.to_thread(thread, feed, portal))
        if beside is not None:
            await asyncio.wait_for(beside(feed, portal), 5)
        return await asyncio.wait_for(taking, 5)

    return asyncio.run(main())


def take_all(feed, _=None):
    return list(iter(feed.take, b""))


async def never():
    await asyncio.get_running_loop().create_future()


def test_pieces_come_in_order_and_the_end_stays():
    async def pipe(sink):
        for piece in (b"a", b"b", b"c"):
            assert sink.write(piece)

    def thread(feed, _):
        return take_all(feed), feed.take(), feed.take()

    assert with_reader(pipe, thread) == ([b"a", b"b", b"c"], b"", b"")


def test_what_came_before_an_error_is_taken_first_and_the_error_stays():
    async def pipe(sink):
        sink.write(b"a")
        raise KeyError("broken")

    def thread(feed, _):
        assert feed.take() == b"a"
        for _ in range(2):
            with pytest.raises(KeyError):
                feed.take()

    with_reader(pipe, thread)


def test_the_loop_runs_ahead_within_bounds():
    piped = []
    full = threading.Event()

    async def pipe(sink):
        for _ in range(20):
            piped.append(PIECE)
            if not sink.write(PIECE):
                full.set()
                await sink.drained()

    def thread(feed, _):
        feed.take()
        assert full.wait(5)
        ahead = len(piped)
        return ahead, 1 + len(take_all(feed))

    ahead, taken = with_reader(pipe, thread)
    assert (2 <= ahead <= 4, taken) == (True, 20)


@pytest.mark.parametrize("leaves", [True, False], ids=["the client left", "it ended otherwise"])
def test_a_thread_that_waits_is_let_go(leaves):
    async def pipe(sink):
        sink.write(b"a")
        await never()

    begun = threading.Event()

    def thread(feed, _):
        feed.take()
        begun.set()
        with pytest.raises(ClientDisconnected if leaves else NoPortalError):
            feed.take()

    async def beside(_, portal):
        await asyncio.to_thread(begun.wait, 5)
        (portal.interrupt if leaves else portal.let_go)()

    with_reader(pipe, thread, beside)


def test_a_thread_that_is_going_to_wait_is_let_go():
    def thread(feed, portal):
        portal.post(portal.let_go)
        with pytest.raises(NoPortalError):
            feed.take()

    async def pipe(sink):
        raise AssertionError("nobody wants it")

    with_reader(pipe, thread)


def test_what_a_thread_has_left_over_is_given_back():
    async def pipe(sink):
        sink.write(b"a")
        sink.write(b"b")
        sink.write(b"c")
        await never()

    async def main():
        portal = Portal(LoopScope(asyncio.get_running_loop(), threading.get_ident()))
        feed = ThreadReader(pipe, portal)
        assert await asyncio.to_thread(feed.take) == b"a"
        assert await feed.stop() == [b"b", b"c"]
        assert await feed.stop() == []

    asyncio.run(main())


def test_a_loop_that_stops_lets_its_threads_go():
    started = threading.Event()
    results = []

    async def pipe(sink):
        started.set()
        await never()

    loop = asyncio.new_event_loop()
    loop_scope = LoopScope(loop, None)
    running = threading.Thread(target=loop.run_forever)
    running.start()
    feed = ThreadReader(pipe, Portal(loop_scope))

    def take():
        try:
            feed.take()
        except NoPortalError as exc:
            results.append(str(exc))

    taking = threading.Thread(target=take)
    taking.start()
    assert started.wait(5)
    loop.call_soon_threadsafe(loop.stop)
    running.join(5)
    loop_scope.abandon()
    taking.join(5)
    assert results == ["the event loop stopped while a handler waited for it"]
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    with pytest.raises(NoPortalError, match="closed"):
        ThreadReader(pipe, Portal(loop_scope)).take()
