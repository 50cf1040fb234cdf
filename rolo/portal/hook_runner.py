"""Sync code that the loop needs run beside the handler of an exchange.

While a handler waits for an upstream, hooks of the same exchange may have work to do: a
piece of the request body to change, an interim answer to look at. In ``loop`` mode they
run in greenlets like handlers. In ``threads`` mode they have a pool of their own, since a
full pool of handlers that wait for their hooks would wait for ever.
"""

from __future__ import annotations

import asyncio
import contextvars
import typing as t

import greenlet

from rolo.portal.portal import HandlerGreenlet, Portal
from rolo.portal.workers import LENT_THREADS, WorkerPool

T = t.TypeVar("T")

HOOK_THREADS = 64


def may_wait(portal: Portal) -> bool:
    """Whether the calling code may wait through ``portal``: it is not the loop's own."""
    return not portal.on_loop or isinstance(greenlet.getcurrent(), HandlerGreenlet)


class HookRunner:
    """Runs sync code of any exchange on behalf of one loop; lives as long as its bridge.

    The loop's thread only, but for what it runs.
    """

    def __init__(self, threads: bool) -> None:
        self.pool = WorkerPool(HOOK_THREADS, "rolo-hook", LENT_THREADS) if threads else None
        """The threads; ``None`` where hooks run in greenlets."""
        self._tasks: set[asyncio.Task[t.Any]] = set()

    @classmethod
    def of(cls, portal: Portal, *, threads: bool | None = None) -> HookRunner:
        """Return the one of the portal's loop.

        :param threads: may what runs block; ``None``: if the handlers of ``portal`` may
        """
        if threads is None:
            threads = portal.threaded
        loop_scope = portal.loop_scope

        def create() -> HookRunner:
            made = cls(threads)
            if made.pool is not None:
                loop_scope.pools.append(made.pool)
            return made

        return loop_scope.resource((cls, threads), create)

    async def run(self, portal: Portal, function: t.Callable[..., T], *args: t.Any) -> T:
        """Run ``function`` for the exchange of ``portal``, and return what it returns.

        Cancelling does not stop a function that runs on a thread.
        """
        if self.pool is None:
            return await portal.run_in_greenlet(_entered, portal, function, args)
        context = contextvars.copy_context()
        return await portal.run_on_thread(self.pool, context, _entered, portal, function, args)

    def start(self, portal: Portal, function: t.Callable[..., t.Any], *args: t.Any) -> None:
        """Run ``function``, which does not raise, without waiting for it."""
        task = asyncio.get_running_loop().create_task(self.run(portal, function, *args))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Wait for what was started, and let the threads end."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5.0)
        if self.pool is not None:
            self.pool.shutdown(wait=False)


def _entered(portal: Portal, function: t.Callable[..., T], args: tuple[t.Any, ...]) -> T:
    portal.enter()
    return function(*args)
