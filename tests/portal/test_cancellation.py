"""What a cancelled wait hands over: to a greenlet on the loop, and to a thread beside it."""

import asyncio
import contextlib
import contextvars
import threading

import greenlet
import pytest

from rolo.errors import ClientDisconnected, NoPortalError
from rolo.portal.containment import ProgramExit
from rolo.portal.portal import _MAX_IDLE_GREENLETS, LoopScope, Portal
from rolo.portal.workers import WorkerPool


async def portal_here():
    return Portal(LoopScope(asyncio.get_running_loop(), threading.get_ident()))


async def never():
    await asyncio.get_running_loop().create_future()


async def double(value):
    await asyncio.sleep(0)
    return 2 * value


class Waited:
    """A coroutine that waits for ever, and knows whether it was ended."""

    def __init__(self):
        self.begun, self.over = asyncio.Event(), False

    async def __call__(self):
        try:
            self.begun.set()
            await never()
        finally:
            self.over = True


# --- greenlets --------------------------------------------------------------------------


def with_exchange(handler, beside):
    """Run ``handler(portal)`` in a greenlet as the task of an exchange, and
    ``beside(portal, task)`` once it waits; returns what the task then has: (value, error)."""

    async def main():
        portal = await portal_here()
        portal.task = task = asyncio.create_task(portal.run_in_greenlet(handler, portal))
        await asyncio.sleep(0)
        await beside(portal, task)
        try:
            return await asyncio.wait_for(task, 5), None
        except (ProgramExit, asyncio.CancelledError) as exc:
            return None, exc
        finally:
            await portal.loop_scope.close()

    return asyncio.run(main())


def test_a_leaving_client_is_raised_where_the_greenlet_waits_and_no_cancellation_is_left():
    def handler(portal):
        with pytest.raises(ClientDisconnected, match="the client left"):
            portal.call(never())
        return portal.task.cancelling(), portal.call(double(21))

    async def beside(portal, task):
        portal.interrupt()
        portal.interrupt()  # says nothing new
        assert portal.gone

    assert with_exchange(handler, beside) == ((0, 42), None)


def test_after_the_client_left_a_stop_of_the_server_is_still_a_cancellation():
    seen = []

    def handler(portal):
        for _ in range(2):
            try:
                portal.call(never())
            except BaseException as exc:
                seen.append(type(exc))
                if isinstance(exc, asyncio.CancelledError):
                    raise

    async def beside(portal, task):
        portal.interrupt()
        await until(lambda: seen)
        task.cancel()

    _, error = with_exchange(handler, beside)
    assert seen == [ClientDisconnected, asyncio.CancelledError]
    assert type(error) is asyncio.CancelledError


def test_a_task_that_finds_out_by_itself_is_not_cancelled():
    def handler(portal):
        portal.interrupt()
        return portal.gone, portal.task.cancelling(), portal.call(double(1))

    async def beside(portal, task):
        pass

    assert with_exchange(handler, beside) == ((True, 0, 2), None)


def test_what_a_cancelled_greenlet_waited_for_is_ended_before_it_goes_on():
    over = []

    def handler(portal):
        waited = Waited()
        with pytest.raises(ClientDisconnected):
            portal.call(waited())
        over.append(waited.over)

    async def beside(portal, task):
        portal.interrupt()

    assert with_exchange(handler, beside) == (None, None)
    assert over == [True]


def test_a_cancellation_that_nobody_asked_for_is_an_error_of_the_handler():
    def handler(portal):
        raise asyncio.CancelledError

    async def beside(portal, task):
        pass

    _, error = with_exchange(handler, beside)
    assert type(error) is ProgramExit


@pytest.mark.parametrize("raised", [None, ValueError, SystemExit])
def test_greenlets_are_used_again_however_their_handlers_ended(raised):
    def handler(portal=None):
        used.append(greenlet.getcurrent())
        if portal is not None:
            portal.call(double(1))
        if raised:
            raise raised
        return "returned"

    expected = {None: None, ValueError: ValueError, SystemExit: ProgramExit}[raised]
    raises = contextlib.nullcontext() if raised is None else pytest.raises(expected)
    used = []

    async def main():
        portal = await portal_here()
        context = contextvars.copy_context()
        for _ in range(2):
            with raises:
                assert await portal.run_in_greenlet(handler, portal) == "returned"
            with raises:
                assert portal.start_in_greenlet(context, handler) == "returned"
            with raises:
                assert await portal.start_in_greenlet(context, handler, portal) == "returned"
            (idle,) = portal.loop_scope.idle
            # It must keep nothing of the exchange alive.
            assert (idle.gr_context, idle.value, idle.failure) == (None, None, None)
        await portal.loop_scope.close()
        assert used == [idle] * 6
        assert idle.dead
        assert portal.loop_scope.idle == []

    asyncio.run(main())


def test_a_bounded_number_of_greenlets_is_kept():
    async def main():
        portal = await portal_here()
        gate = asyncio.Event()
        made = []

        def handler():
            made.append(greenlet.getcurrent())
            portal.call(gate.wait())

        async with asyncio.TaskGroup() as group:
            for _ in range(_MAX_IDLE_GREENLETS + 1):
                group.create_task(portal.run_in_greenlet(handler))
            await asyncio.sleep(0)
            gate.set()
        assert len(made) == _MAX_IDLE_GREENLETS + 1
        assert [each for each in made if each.dead] == made[-1:]
        assert portal.loop_scope.idle == made[:-1]
        await portal.loop_scope.close()

    asyncio.run(main())


def test_a_greenlet_that_is_thrown_away_within_a_handler_ends_it_and_is_not_kept():
    seen = []

    def handler(portal):
        seen.append(greenlet.getcurrent())
        try:
            portal.call(never())
        except greenlet.GreenletExit:
            seen.append("thrown away")
            raise

    async def main():
        portal = await portal_here()
        coroutine = portal.run_in_greenlet(handler, portal)
        coroutine.send(None)
        seen[0].throw(greenlet.GreenletExit)
        assert seen[0].dead
        coroutine.close()
        assert portal.loop_scope.idle == []

    asyncio.run(main())
    assert seen[1:] == ["thrown away"]


# --- threads ----------------------------------------------------------------------------


def on_thread(function, beside):
    """Run ``function(portal)`` on a thread while the loop runs ``beside(portal)``."""

    async def main():
        portal = await portal_here()
        taking = asyncio.create_task(asyncio.to_thread(function, portal))
        await asyncio.wait_for(beside(portal), 5)
        return await asyncio.wait_for(taking, 5)

    return asyncio.run(main())


async def until(condition):
    for _ in range(5000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it never came about")


@pytest.mark.parametrize("gone", [True, False])
def test_a_thread_is_told_why_its_wait_was_cut_once(gone):
    waited = []

    def thread(portal):
        waited.append(Waited())
        error = ClientDisconnected if gone else NoPortalError
        with pytest.raises(error, match="left" if gone else "the exchange ended"):
            portal.call(waited[0]())
        return waited[0].over, portal.call(double(21))

    async def beside(portal):
        await until(lambda: waited)
        await waited[0].begun.wait()
        portal.interrupt() if gone else portal.let_go()

    assert on_thread(thread, beside) == (True, 42)


@pytest.mark.parametrize("gone", [True, False])
def test_a_thread_that_does_not_wait_yet_is_told_at_its_next_wait_once(gone):
    told = threading.Event()

    def thread(portal):
        assert told.wait(5)
        begun = Waited()
        with pytest.raises(ClientDisconnected if gone else NoPortalError):
            portal.call(begun())
        return begun.begun.is_set(), portal.call(double(21))

    async def beside(portal):
        portal.interrupt() if gone else portal.let_go()
        told.set()

    assert on_thread(thread, beside) == (False, 42)


def test_a_thread_that_has_settled_is_not_told_any_more():
    told = threading.Event()

    def thread(portal):
        assert told.wait(5)
        portal.settle()
        return portal.call(double(21))

    async def beside(portal):
        portal.interrupt()
        told.set()

    assert on_thread(thread, beside) == 42


def test_all_threads_of_an_exchange_are_let_go():
    begun = []

    def thread(portal):
        def waiting():
            waited = Waited()
            begun.append(waited)
            with pytest.raises(ClientDisconnected):
                portal.call(waited())

        with WorkerPool(2) as pool:
            for job in [pool.submit(waiting), pool.submit(waiting)]:
                job.result(5)

    async def beside(portal):
        await until(lambda: len(begun) == 2)
        for waited in begun:
            await waited.begun.wait()
        portal.interrupt()

    on_thread(thread, beside)


def test_a_task_tracked_after_the_client_left_is_cancelled_and_the_next_is_not():
    async def main():
        portal = await portal_here()
        portal.interrupt()
        first, second = asyncio.create_task(never()), asyncio.create_task(double(1))
        portal.track(first)
        portal.track(second)
        await asyncio.wait([first, second])
        assert first.cancelled()
        assert second.result() == 2
        # What is over is forgotten: the next one to be let go is the thread itself.
        portal.let_go()
        third = asyncio.create_task(never())
        portal.track(third)
        await asyncio.wait([third])
        assert third.cancelled()

    asyncio.run(main())


def test_a_thread_that_waits_for_a_loop_that_stopped_is_released():
    """The coroutine is closed, however far it came."""
    told = []
    loop = asyncio.new_event_loop()
    scope = LoopScope(loop, None)
    portal = Portal(scope)

    def thread(coroutine):
        with pytest.raises(NoPortalError, match="stopped while a handler waited"):
            portal.call(coroutine)
        told.append(True)

    threads = [threading.Thread(target=thread, args=(double(1),)) for _ in range(2)]
    for each in threads:
        each.start()
    while len(scope.parked) < 2:
        threading.Event().wait(0.001)
    scope.abandon(5)
    scope.abandon(5)  # once more does no harm
    for each in threads:
        each.join(5)
    loop.close()
    assert told == [True, True]
    assert scope.parked == set()


def test_what_runs_on_a_thread_is_not_stopped_with_who_waits_for_it():
    done, go_on = threading.Event(), threading.Event()

    def function(*args):
        assert go_on.wait(5)
        done.set()
        return args

    async def main():
        portal = await portal_here()
        with WorkerPool(1) as pool:
            context = contextvars.copy_context()
            task = asyncio.create_task(portal.run_on_thread(pool, context, function, 1))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not done.is_set()
            go_on.set()
            # What it returns is late, and nobody's.
            assert await portal.run_on_thread(pool, context, function, 2, 3) == (2, 3)
        assert done.is_set()

    asyncio.run(main())


@pytest.mark.parametrize("raised", [ValueError, SystemExit, asyncio.CancelledError])
def test_what_is_raised_on_a_thread_is_raised_where_it_is_awaited(raised):
    def function():
        raise raised("on purpose")

    async def main():
        portal = await portal_here()
        with WorkerPool(1) as pool:
            with pytest.raises((ValueError, ProgramExit)) as caught:
                await portal.run_on_thread(pool, contextvars.copy_context(), function)
            error = caught.value
            if raised is not ValueError:
                assert type(error) is ProgramExit
                error = error.__cause__
            assert type(error) is raised

    asyncio.run(main())


def test_functions_on_threads_and_in_greenlets_see_the_context_that_is_given():
    variable = contextvars.ContextVar("variable", default="no context")

    async def main():
        portal = await portal_here()
        context = contextvars.Context()
        context.run(variable.set, "given")
        with WorkerPool(1) as pool:
            assert await portal.run_on_thread(pool, context, variable.get) == "given"
        assert portal.start_in_greenlet(context, variable.get) == "given"
        assert portal.start_in_greenlet(contextvars.Context(), variable.get) == "no context"
        await portal.loop_scope.close()

    asyncio.run(main())


# --- what is posted ---------------------------------------------------------------------


def test_what_is_posted_is_called_with_its_arguments_on_the_loops_thread():
    called = []

    def note(*args):
        called.append((threading.get_ident(), *args))

    async def main():
        portal = await portal_here()
        portal.post(note, 1, 2)
        assert called == [(threading.get_ident(), 1, 2)]  # at once
        await asyncio.to_thread(portal.post, note, 3)
        await until(lambda: len(called) == 2)
        assert called[1] == (threading.get_ident(), 3)

    asyncio.run(main())


def test_nothing_is_posted_to_a_closed_loop():
    loop = asyncio.new_event_loop()
    loop.close()
    Portal(LoopScope(loop, None)).post(pytest.fail)
    LoopScope(loop, None).release("key")


def test_other_errors_of_the_loop_are_not_taken_for_its_end():
    loop = asyncio.new_event_loop()

    def broken(*args):
        raise RuntimeError("broken")

    loop.call_soon_threadsafe = broken
    with pytest.raises(RuntimeError, match="broken"):
        Portal(LoopScope(loop, None)).post(print)
    with pytest.raises(RuntimeError, match="broken"):
        LoopScope(loop, None).release("key")
    loop.close()


def test_a_resource_that_is_released_is_closed_once_and_made_anew():
    class Resource:
        closed = 0

        async def close(self):
            await asyncio.sleep(0)
            self.closed += 1

    async def main():
        scope = LoopScope(asyncio.get_running_loop(), threading.get_ident())
        first, other = scope.resource("key", Resource), scope.resource("other", Resource)
        await asyncio.to_thread(scope.release, "key")
        scope.release("key")
        scope.release("never made")
        await until(lambda: first.closed)
        assert scope.resource("key", Resource) is not first
        assert other.closed == 0
        await scope.close()
        assert (first.closed, other.closed) == (1, 1)

    asyncio.run(main())


def test_code_of_the_loops_own_knows_that_it_is_there():
    async def main():
        portal = await portal_here()
        assert portal.on_loop
        assert not await asyncio.to_thread(lambda: portal.on_loop)
        assert not portal.threaded
        portal.context = contextvars.Context()
        assert portal.threaded

    asyncio.run(main())
