"""A body that the loop pipes and a thread takes: order, pace, and how it ends."""

import asyncio
import threading

import pytest

from rolo.errors import ClientDisconnected, NoPortalError
from rolo.portal import workers
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
    loop_scope.abandon(5)
    taking.join(5)
    assert results == ["the event loop stopped while a handler waited for it"]
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    with pytest.raises(NoPortalError, match="closed"):
        ThreadReader(pipe, Portal(loop_scope)).take()


def test_a_thread_that_waits_for_a_piece_lends_its_place(monkeypatch):
    monkeypatch.setattr(workers, "_PATIENCE", 0.01)
    lent = threading.Event()

    async def pipe(sink):
        await asyncio.to_thread(lent.wait, 5)
        sink.write(b"a")

    async def main():
        portal = Portal(LoopScope(asyncio.get_running_loop(), threading.get_ident()))
        pool = workers.WorkerPool(1, "lender", lent=1)
        taking = pool.submit(take_all, ThreadReader(pipe, portal))
        pool.submit(lent.set)
        assert await asyncio.wait_for(asyncio.wrap_future(taking), 5) == [b"a"]
        pool.shutdown(timeout=5)

    asyncio.run(main())


def test_nobody_is_told_of_room_who_does_not_wait_for_it():
    """Each would be a turn of the loop, for every piece."""
    full, over = threading.Event(), threading.Event()

    class Posts(Portal):
        count = 0

        def post(self, callback, *args):
            self.count += 1
            super().post(callback, *args)

    async def pipe(sink):
        for _ in range(4):
            if not sink.write(PIECE):
                full.set()
                await sink.drained()
        for _ in range(2):
            sink.write(b"a")
        over.set()

    def thread(feed, portal):
        feed.take()
        assert full.wait(5)
        feed.take()
        assert over.wait(5)
        portal.count = 0
        take_all(feed)
        return portal.count

    async def main():
        portal = Posts(LoopScope(asyncio.get_running_loop(), threading.get_ident()))
        return await asyncio.to_thread(thread, ThreadReader(pipe, portal), portal)

    assert asyncio.run(main()) == 0


def test_who_stops_waits_for_the_end_of_the_piping():
    """What is piped while it ends belongs to what is left over."""

    async def pipe(sink):
        sink.write(b"a")
        sink.write(b"b")
        try:
            await never()
        finally:
            await asyncio.sleep(0)
            sink.write(b"c")

    async def main():
        portal = Portal(LoopScope(asyncio.get_running_loop(), threading.get_ident()))
        feed = ThreadReader(pipe, portal)
        assert await asyncio.to_thread(feed.take) == b"a"
        assert await feed.stop() == [b"b", b"c"]

    asyncio.run(main())


def test_a_body_that_nobody_wants_any_more_is_not_begun():
    piped = []

    async def pipe(sink):
        piped.append(True)

    def thread(feed, _):
        feed.cancel()
        with pytest.raises(NoPortalError):
            feed.take()

    with_reader(pipe, thread)
    assert piped == []


def test_the_loop_may_be_ahead_by_exactly_its_bound():
    rooms = []

    async def pipe(sink):
        rooms.append(sink.write(2 * PIECE))
        rooms.append(sink.write(b"x"))

    def thread(feed, portal):
        portal.post(feed._begin)
        while len(rooms) < 2:
            threading.Event().wait(0.001)

    with_reader(pipe, thread)
    assert rooms == [True, False]
