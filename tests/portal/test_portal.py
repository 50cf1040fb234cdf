import asyncio
import contextvars
import threading

import greenlet
import pytest

from rolo.errors import ClientDisconnected, NoPortalError
from rolo.portal.portal import LoopScope, Portal, current_portal

VARIABLE = contextvars.ContextVar("test_variable", default="unset")


async def double(value):
    await asyncio.sleep(0)
    return 2 * value


async def fail():
    await asyncio.sleep(0)
    raise KeyError("from the loop")


async def interrupted_while_waiting(portal):
    asyncio.get_running_loop().call_soon(portal.interrupt)
    await never()


async def never():
    await asyncio.get_running_loop().create_future()


def in_thread(function):
    """Run ``function(portal)`` on a thread, with the loop's portal, and give its result."""

    async def main():
        loop = asyncio.get_running_loop()
        portal = Portal(LoopScope(loop, threading.get_ident()))
        done = loop.create_future()

        def work():
            try:
                result, error = function(portal), None
            except BaseException as exc:  # noqa: BLE001
                result, error = None, exc
            loop.call_soon_threadsafe(lambda: done.set_result((result, error)))

        thread = threading.Thread(target=work)
        thread.start()
        result, error = await asyncio.wait_for(done, 5)
        thread.join(5)
        if error:
            raise error
        return result

    return asyncio.run(main())


async def stack_copied(levels):
    """Return the bytes of the loop's stack that a handler has to be made room for, if it is
    switched to from so many calls down."""
    portal = Portal(LoopScope(asyncio.get_running_loop(), threading.get_ident()))
    context = contextvars.copy_context()

    def down(level):
        if level == 0:
            return portal.start_in_greenlet(context, copied)
        return next(map(down, (level - 1,)))

    def copied():
        return greenlet.getcurrent().parent._stack_saved

    assert await portal.run_in_greenlet(copied) == 0  # made here
    return down(levels)


def in_greenlet(function):
    """Run ``function(portal)`` in a greenlet on the loop and give its result."""

    async def main():
        portal = Portal(LoopScope(asyncio.get_running_loop(), threading.get_ident()))
        portal.task = asyncio.current_task()
        async with asyncio.timeout(5):
            return await portal.run_in_greenlet(function, portal)

    return asyncio.run(main())


both = pytest.mark.parametrize(
    "run", [in_thread, in_greenlet], ids=["from a thread", "from a greenlet"]
)


@both
def test_a_call_waits_for_the_loop_and_returns_what_the_coroutine_returns(run):
    assert run(lambda portal: [portal.call(double(n)) for n in range(3)]) == [0, 2, 4]


@both
def test_errors_of_the_coroutine_are_raised_where_it_was_called(run):
    def handler(portal):
        try:
            portal.call(fail())
        except KeyError as exc:
            return f"caught {exc.args[0]}"

    assert run(handler) == "caught from the loop"


@both
def test_errors_of_the_handler_are_raised_to_whoever_ran_it(run):
    with pytest.raises(ZeroDivisionError):
        run(lambda portal: 1 / 0)


@both
def test_a_leaving_client_interrupts_what_a_handler_waits_for(run):
    def handler(portal):
        try:
            portal.call(interrupted_while_waiting(portal))
        except ClientDisconnected:
            return portal.call(double(21))

    assert run(handler) == 42


def test_a_client_that_left_between_two_waits_interrupts_the_next_once():
    def handler(portal):
        left = threading.Event()
        portal.loop.call_soon_threadsafe(lambda: (portal.interrupt(), left.set()))
        assert left.wait(5)
        with pytest.raises(ClientDisconnected):
            portal.call(never())
        return portal.call(double(21))

    assert in_thread(handler) == 42


@both
def test_context_variables_of_the_handler_are_seen_by_what_it_awaits(run):
    async def look():
        return VARIABLE.get()

    def handler(portal):
        VARIABLE.set("set by the handler")
        return portal.call(look())

    assert run(handler) == "set by the handler"


def test_the_current_portal_is_the_one_that_was_entered():
    def handler(portal):
        portal.enter()
        return current_portal() is portal

    assert current_portal() is None
    assert in_greenlet(handler)


def test_a_blocking_call_on_the_loop_outside_a_handler_is_refused():
    async def main():
        portal = Portal(LoopScope(asyncio.get_running_loop(), threading.get_ident()))
        with pytest.raises(NoPortalError, match="outside a handler"):
            portal.call(double(1))

    asyncio.run(main())


def test_a_call_to_a_closed_loop_is_refused():
    loop = asyncio.new_event_loop()
    loop.close()
    with pytest.raises(NoPortalError, match="closed"):
        Portal(LoopScope(loop, None)).call(double(1))


def test_cancellation_by_the_server_goes_through_the_handler_as_it_is():
    seen = []

    def handler(portal):
        try:
            portal.call(never())
        except BaseException as exc:
            seen.append(type(exc))
            raise

    async def main():
        portal = Portal(LoopScope(asyncio.get_running_loop(), threading.get_ident()))
        task = asyncio.create_task(portal.run_in_greenlet(handler, portal))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert seen == [asyncio.CancelledError]


def test_resources_are_made_once_per_loop_and_closed_with_it():
    class Resource:
        closed = 0

        async def close(self):
            self.closed += 1

    async def main():
        loop_scope = LoopScope(asyncio.get_running_loop(), threading.get_ident())
        resource = loop_scope.resource("key", Resource)
        assert loop_scope.resource("key", Resource) is resource
        await loop_scope.close()
        assert resource.closed == 1
        assert loop_scope.resource("key", Resource) is not resource

    asyncio.run(main())


def test_many_handlers_wait_at_once_on_one_thread():
    async def main():
        portal = Portal(LoopScope(asyncio.get_running_loop(), threading.get_ident()))
        gate = asyncio.Event()

        async def wait():
            await gate.wait()

        tasks = [
            asyncio.create_task(portal.run_in_greenlet(portal.call, wait())) for _ in range(1000)
        ]
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(*tasks)

    asyncio.run(main())


def test_callbacks_of_sockets_run_handlers_without_copying_their_stack():
    assert asyncio.run(stack_copied(levels=20)) == 0
    assert asyncio.run(stack_copied(levels=200)) > 0  # so this would be seen


def test_who_sleeps_is_woken_when_the_server_begins_to_stop_and_nobody_sleeps_after_that():
    async def main():
        scope = LoopScope(asyncio.get_running_loop(), threading.get_ident())
        assert not await scope.sleep(0)
        sleepers = [asyncio.create_task(scope.sleep(None)) for _ in range(2)]
        given_up = asyncio.create_task(scope.sleep(60))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.wait([given_up])
        assert len(scope._sleepers) == 2
        scope.begin_stop()
        scope.begin_stop()
        assert await asyncio.wait_for(asyncio.gather(*sleepers), 5) == [True, True]
        assert await asyncio.wait_for(scope.sleep(None), 5)
        assert (scope.stopping, scope._sleepers) == (True, set())

    asyncio.run(main())
