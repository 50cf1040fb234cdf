"""Where the sync handlers of a bridge run: on threads, or in greenlets on the loop."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import typing as t

from rolo.portal.portal import LoopScope, Portal
from rolo.portal.watchdog import Watchdog
from rolo.portal.workers import Workers
from rolo.request import Request
from rolo.response import Response
from rolo.websocket.request import WebSocketRequest

Mode = t.Literal["threads", "loop"]


class Process(t.Protocol):
    """What a bridge serves: a :class:`rolo.gateway.Gateway`, or anything of its shape."""

    def process(self, request: Request, response: Response) -> t.Any: ...

    def accept(self, request: WebSocketRequest) -> t.Any: ...


class Handlers:
    """Runs the sync handlers of a gateway for the exchanges of any event loop.

    :param mode: ``threads`` runs them on ``workers``, they may block; ``loop`` runs them in
        greenlets on the event loop, they must wait only through rolo's own calls
    :param watchdog: seconds for which a handler may block the loop in ``loop`` mode before
        a warning names it; ``None`` watches nothing
    """

    def __init__(
        self, gateway: Process, mode: Mode, workers: Workers, watchdog: float | None
    ) -> None:
        if mode not in ("threads", "loop"):
            raise ValueError(f"mode is 'threads' or 'loop', not {mode!r}")
        self.gateway = gateway
        self.mode: Mode = mode
        self.workers = workers
        self._watchdog = watchdog
        self._recent: LoopScope | None = None
        self._loop_scopes: dict[asyncio.AbstractEventLoop, LoopScope] = {}

    def loop_scope(self) -> LoopScope:
        """Return the running loop's :class:`LoopScope`."""
        recent = self._recent
        if (
            recent is not None
            and recent.thread_id == threading.get_ident()
            and recent.loop.is_running()
        ):
            return recent  # which costs no system call, as to ask for the loop does
        loop = asyncio.get_running_loop()
        loop_scope = self._recent = self._loop_scopes.get(loop)
        if loop_scope is None:
            loop_scope = self._loop_scopes[loop] = LoopScope(loop, threading.get_ident())
            limit = self._watchdog
            if self.mode == "loop" and limit is not None:
                loop_scope.resource(Watchdog, lambda: Watchdog(loop, limit))
        return loop_scope

    async def close_loop_scope(self) -> None:
        """Close what is held on the running loop: upstream connections, timers."""
        loop_scope = self._loop_scopes.get(asyncio.get_running_loop())
        if loop_scope is not None:
            await loop_scope.close()

    def abandon_loop_scopes(self, timeout: float | None) -> None:
        """Let go the threads that wait for a loop, none of which runs any more, and end those
        that were its own, waiting ``timeout`` seconds for them."""
        loop_scopes, self._loop_scopes = self._loop_scopes, {}
        self._recent = None
        for loop_scope in loop_scopes.values():
            loop_scope.abandon(timeout)

    async def run(self, portal: Portal, function: t.Callable[..., t.Any], *args: t.Any) -> None:
        """Run ``function`` for the exchange of ``portal``; what it raises is raised."""
        if self.mode == "loop":
            await portal.run_in_greenlet(function, *args)
        else:
            await self.run_on(self.workers, portal, function, *args)

    async def run_on(
        self, workers: Workers, portal: Portal, function: t.Callable[..., t.Any], *args: t.Any
    ) -> None:
        """Run ``function`` on a thread of ``workers``. If the server gives up on the
        exchange meanwhile, what the handler waits for is cancelled."""
        portal.context = contextvars.copy_context()
        try:
            await portal.run_on_thread(workers, portal.context, function, *args)
        except asyncio.CancelledError:
            portal.interrupt()
            raise
