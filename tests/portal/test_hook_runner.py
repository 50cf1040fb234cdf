"""Sync code that the loop has run beside the handler of an exchange."""

import asyncio
import contextvars
import threading

import greenlet
import pytest

from rolo.portal.hook_runner import HookRunner, may_wait
from rolo.portal.portal import HandlerGreenlet, LoopScope, Portal, current_portal

both = pytest.mark.parametrize("threads", [False, True], ids=["loop", "threads"])


def running(main, threads):
    """Run ``main(portal, runner)`` on a loop, and close what it made there."""

    async def run():
        scope = LoopScope(asyncio.get_running_loop(), threading.get_ident())
        portal = Portal(scope)
        if threads:
            portal.context = contextvars.Context()
        runner = HookRunner.of(portal)
        try:
            return await asyncio.wait_for(main(portal, runner), 5)
        finally:
            await scope.close()
            if runner.pool is not None:
                runner.pool.shutdown(timeout=5)

    return asyncio.run(run())


async def double(value):
    await asyncio.sleep(0)
    return 2 * value


@both
def test_what_it_runs_may_wait_and_knows_its_exchange(threads):
    variable = contextvars.ContextVar("variable")

    def hook(portal, *args):
        assert current_portal() is portal
        assert may_wait(portal)
        where = isinstance(greenlet.getcurrent(), HandlerGreenlet), portal.on_loop
        return args, portal.call(double(21)), variable.get(), where

    async def main(portal, runner):
        variable.set("of the exchange")
        assert not may_wait(portal)
        return await runner.run(portal, hook, portal, 1, 2)

    where = (False, False) if threads else (True, True)
    assert running(main, threads) == ((1, 2), 42, "of the exchange", where)


@both
def test_there_is_one_for_each_loop_and_mode(threads):
    async def main(portal, runner):
        assert (runner.pool is not None) == threads
        assert HookRunner.of(Portal(portal.loop_scope), threads=threads) is runner
        other = HookRunner.of(portal, threads=not threads)
        assert (other.pool is not None) == (not threads)
        assert HookRunner.of(portal) is runner

    running(main, threads)


@both
def test_closing_waits_for_what_was_started_and_ends_the_threads(threads):
    gate = asyncio.Event()
    done = []

    def hook(portal):
        portal.call(gate.wait())
        done.append(True)

    async def main(portal, runner):
        for _ in range(2):
            runner.start(portal, hook, portal)
        await asyncio.sleep(0)
        closing = asyncio.create_task(portal.loop_scope.close())
        await asyncio.sleep(0.01)
        assert (closing.done(), done) == (False, [])
        gate.set()
        await closing
        assert done == [True, True]
        if runner.pool is not None:
            with pytest.raises(RuntimeError, match="shut down"):
                runner.pool.submit(print)

    running(main, threads)


@both
def test_closing_waits_for_nothing_else(threads):
    async def main(portal, runner):
        await runner.run(portal, print)
        runner.start(portal, print)
        await asyncio.wait(runner._tasks)
        await asyncio.sleep(0)
        assert runner._tasks == set()  # or each would be kept for good
        await runner.close()

    running(main, threads)


def test_what_is_begun_after_the_close_leaves_no_thread_when_the_loop_has_stopped():
    """A relay that is cut when the loop ends calls its hooks at the very last."""
    ran = threading.Event()

    async def run():
        scope = LoopScope(asyncio.get_running_loop(), threading.get_ident())
        portal = Portal(scope)
        HookRunner.of(portal, threads=True).start(portal, lambda: None)
        await scope.close()
        HookRunner.of(portal, threads=True).start(portal, ran.set)
        await asyncio.to_thread(ran.wait, 5)
        return scope

    scope = asyncio.run(run())
    assert any(thread.name.startswith("rolo-hook") for thread in threading.enumerate())
    scope.abandon(5)
    assert not any(thread.name.startswith("rolo-hook") for thread in threading.enumerate())
