"""How sync code waits for the event loop.

A handler runs either on a worker thread or, in ``loop`` mode, inside a greenlet on the
event loop's own thread. Both call :meth:`Portal.call`: the thread parks until the loop
has the result, the greenlet switches to the loop and is switched back. The handler
cannot tell the difference, and that is the point.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import threading
import typing as t
import weakref
from threading import get_ident

import greenlet

from rolo.errors import ClientDisconnected, NoPortalError, RoloError
from rolo.portal.containment import contained
from rolo.portal.workers import WorkerPool, Workers, wait

T = t.TypeVar("T")

_MAX_IDLE_GREENLETS = 128
_LEVELS = 64
"""How many calls down the C stack greenlets begin, some 34 KiB. What the loop has below that
when one is switched to is copied away and back: 13 KiB for each message of a websocket, if
they began in a task."""

# Weakly: a portal holds the context, or the task, in which it is current. A cycle for each
# exchange would leave all that it was made of to the garbage collection.
_current: contextvars.ContextVar[weakref.ref[Portal] | None] = contextvars.ContextVar(
    "rolo_portal", default=None
)


def current_portal() -> Portal | None:
    """Return the portal of the exchange that the calling handler serves, or ``None``
    outside a handler that a bridge runs (a script, a WSGI server)."""
    reference = _current.get()
    return None if reference is None else reference()


class HandlerGreenlet(greenlet.greenlet):
    """Runs one handler of ``loop`` mode after the other; its parent is the loop's own
    greenlet. Making a greenlet costs ten times what switching to one does, so idle ones
    are kept."""

    __slots__ = ("busy", "failure", "value")

    def __init__(self) -> None:
        super().__init__()
        self.busy = False
        self.value: t.Any = None
        self.failure: BaseException | None = None

    def run(self) -> None:
        # Nothing is handed over at the start: greenlet would keep it as long as it lives.
        parent = self.parent
        assert parent is not None
        idle = parent.switch
        while True:
            function, args = idle()
            self.busy = True
            try:
                self.value = function(*args)
            except greenlet.GreenletExit:
                raise
            except BaseException as exc:  # noqa: BLE001 - raised again by whoever ran it
                self.failure = exc
            self.busy = False
            del function, args

    def raise_failure(self) -> t.NoReturn:
        """Raise what the handler raised, contained, and forget it."""
        failure, self.failure = self.failure, None
        assert failure is not None
        try:
            raise contained(failure, steered=_is_cancelled())
        finally:
            del failure  # its traceback leads back here


def _is_cancelled() -> bool:
    """Whether somebody has cancelled the task that runs."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _called_deep(function: t.Callable[[], t.Any], levels: int) -> t.Any:
    """Return ``function()``, called so many levels of the C stack further down."""
    if levels == 0:
        return function()
    return next(map(_called_deep, (function,), (levels - 1,)))


_scopes: weakref.WeakSet[LoopScope] = weakref.WeakSet()


def _forked() -> None:
    """In a child, no loop of its parent's runs: nobody may wait for one, nor for a thread."""
    _current.set(None)
    for scope in list(_scopes):
        scope.forked = True
        scope.thread_id = None


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forked)


class Waiting(t.Protocol):
    """A thread that waits for a loop."""

    def release(self) -> None:
        """Let it go on: the loop has stopped."""


class LoopScope:
    """The loop of a bridge, with what lives as long as the bridge does on that loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, thread_id: int | None) -> None:
        self.loop = loop
        self.thread_id = thread_id
        """The thread that runs the loop; ``None`` if no sync code of ours runs there."""
        self._resources: dict[t.Any, t.Any] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self.pools: list[WorkerPool] = []
        """Threads beside those of the handlers, for the bridge to end when the loop has
        stopped: what is closed here may start more until then."""
        self.idle: list[HandlerGreenlet] = []
        """Greenlets that wait for the next handler."""
        self.parked: set[Waiting] = set()
        """Threads that wait for this loop."""
        self.forked = False
        """This process is a copy of the one that runs the loop."""
        self.stopping = False
        """The server has begun to stop: what is under way is to end soon."""
        self._sleepers: set[asyncio.Future[None]] = set()
        _scopes.add(self)

    def begin_stop(self) -> None:
        """Note that the server stops, and wake whoever sleeps. The loop's thread only."""
        self.stopping = True
        for sleeper in self._sleepers:
            if not sleeper.done():
                sleeper.set_result(None)

    async def sleep(self, seconds: float | None) -> bool:
        """Wait so long (``None``: for ever), but not beyond the moment in which the server
        begins to stop. Return whether that has come."""
        if not self.stopping:
            sleeper: asyncio.Future[None] = self.loop.create_future()
            self._sleepers.add(sleeper)
            try:
                await asyncio.wait((sleeper,), timeout=seconds)
            finally:
                self._sleepers.discard(sleeper)
        return self.stopping

    def resource(self, key: t.Hashable, create: t.Callable[[], T]) -> T:
        """Return what ``create`` made for ``key`` on this loop, making it at first use.

        The thing needs an ``async close()``; it is closed with the bridge. The loop's
        thread only.
        """
        known: T | None = self._resources.get(key)
        if known is None:
            known = self._resources[key] = create()
        return known

    def release(self, key: t.Hashable) -> None:
        """Close the resource of ``key`` soon, if there is one. Any thread."""

        def release() -> None:
            resource = self._resources.pop(key, None)
            if resource is not None:
                closing = self.loop.create_task(resource.close())
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)

        try:
            self.loop.call_soon_threadsafe(release)
        except RuntimeError:
            if not self.loop.is_closed():
                raise

    async def close(self) -> None:
        """Close all resources."""
        self.stopping = False  # another server may run on this loop
        while self._resources:
            _, resource = self._resources.popitem()
            await resource.close()
        while self.idle:
            self.idle.pop().throw(greenlet.GreenletExit)

    def abandon(self, timeout: float | None) -> None:
        """Release the threads that still wait for the loop, which has stopped, and end those of
        :attr:`pools`, waiting ``timeout`` seconds for them. Any thread."""
        for parked in list(self.parked):
            parked.release()
        for pool in self.pools:
            pool.shutdown(timeout=timeout)

    def take_greenlet(self) -> HandlerGreenlet:
        """Return an idle greenlet, or a new one. The loop's thread only."""
        if self.idle:
            return self.idle.pop()
        handler = HandlerGreenlet()
        _called_deep(handler.switch, _LEVELS)
        return handler

    def give_greenlet(self, handler: HandlerGreenlet) -> None:
        """Take back a greenlet whose handler has returned."""
        if len(self.idle) < _MAX_IDLE_GREENLETS:
            handler.gr_context = None  # it knows the exchange
            self.idle.append(handler)
        else:
            handler.throw(greenlet.GreenletExit)


class Portal:
    """The way of one exchange's sync code to the event loop.

    It travels with the request as ``environ["rolo.portal"]`` and is the
    :func:`current_portal` of the handler's context.
    """

    __slots__ = (
        "__weakref__",
        "_interrupted",
        "_owed",
        "_pending",
        "context",
        "gone",
        "loop_scope",
        "observer",
        "owner",
        "task",
    )

    def __init__(self, loop_scope: LoopScope, owner: asyncio.Task[t.Any] | None = None) -> None:
        self.loop_scope = loop_scope
        self.owner = owner
        """The task that carries the exchange."""
        self.gone = False
        """True once the client is known to have left."""
        self.task: asyncio.Task[t.Any] | None = None
        """The task to cancel when the client leaves; ``None`` while nothing may be cut."""
        self.context: contextvars.Context | None = None
        """In which the exchange's sync code runs on worker threads; made at first use."""
        self.observer: t.Any = None
        """Who is to be told of what is done for the exchange through this portal; ``None`` if
        nobody looks on."""
        self._interrupted = False
        self._owed = False
        self._pending: set[asyncio.Task[t.Any]] | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self.loop_scope.loop

    @property
    def on_loop(self) -> bool:
        """The calling code runs on the loop's own thread."""
        return get_ident() == self.loop_scope.thread_id

    @property
    def threaded(self) -> bool:
        """The exchange's handlers run on threads, and may block."""
        return self.context is not None

    def call(self, coroutine: t.Coroutine[t.Any, t.Any, T]) -> T:
        """Run ``coroutine`` on the loop, wait for it, and return what it returns.

        :raises ClientDisconnected: the client left meanwhile, or since the last call; raised
            once, so that clean-up after it may wait again
        :raises NoPortalError: called on the loop's thread outside a handler, where
            waiting would stop the loop; or in a fork of the process that runs the loop
        """
        if self._owed:
            self._owed = False
            coroutine.close()
            raise self.why_cut()
        if not self.on_loop:
            return self._park(coroutine)
        current = greenlet.getcurrent()
        if isinstance(current, HandlerGreenlet) and current.parent is not None:
            result: T = current.parent.switch(coroutine)
            return result
        coroutine.close()
        raise NoPortalError("a blocking call on the event loop's thread, outside a handler")

    def post(self, callback: t.Callable[..., t.Any], *args: t.Any) -> None:
        """Call ``callback`` on the loop soon, from any thread, without waiting for it.

        On the loop's own thread it is called at once. After the loop is closed, and in a
        fork, it is not called at all.
        """
        if self.on_loop:
            callback(*args)
            return
        if self.loop_scope.forked:
            return
        try:
            self.loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:
            if not self.loop.is_closed():
                raise

    def _park(self, coroutine: t.Coroutine[t.Any, t.Any, T]) -> T:
        if self.loop_scope.forked or self.loop.is_closed():
            coroutine.close()
            where = "runs in another process" if self.loop_scope.forked else "is closed"
            raise NoPortalError(f"the event loop of this exchange {where}")
        parked = _Parked(self, coroutine, contextvars.copy_context())
        self.loop_scope.parked.add(parked)
        try:
            self.loop.call_soon_threadsafe(parked.start)
            wait(parked.event.acquire)
            return t.cast(T, parked.result())
        finally:
            self.loop_scope.parked.discard(parked)

    async def run_in_greenlet(self, function: t.Callable[..., T], *args: t.Any) -> T:
        """Run ``function`` in a greenlet on the loop, awaiting what it hands to
        :meth:`call`. Errors of what is awaited are raised inside ``function``."""
        return await self.begin_in_greenlet(function, *args)

    def begin_in_greenlet(
        self, function: t.Callable[..., T], *args: t.Any
    ) -> t.Coroutine[t.Any, t.Any, T]:
        """As :meth:`run_in_greenlet`, but begin at once, in the task that awaits what is
        returned."""
        handler = self.loop_scope.take_greenlet()
        # Share the context, as a plain call would, so that variables set by the handler
        # are seen by the coroutines it waits for.
        handler.gr_context = greenlet.getcurrent().gr_context
        return self._drive(handler, handler.switch(function, args))

    async def run_on_thread(
        self,
        workers: Workers,
        context: contextvars.Context,
        function: t.Callable[..., T],
        *args: t.Any,
    ) -> T:
        """Run ``function`` on a thread of ``workers``, in ``context``, and return what it
        returns. Cancelling does not stop it."""
        done: asyncio.Future[T] = self.loop.create_future()

        def settle(result: t.Any, error: Exception | None) -> None:
            if done.done():
                return
            if error is None:
                done.set_result(result)
            else:
                done.set_exception(error)

        def job() -> None:
            result: t.Any = None
            error: Exception | None = None
            try:
                result = context.run(function, *args)
            except BaseException as exc:  # noqa: BLE001 - raised again where it is awaited
                error = contained(exc, steered=False)
            self.post(settle, result, error)

        workers.run(job)
        return await done

    def start_in_greenlet(
        self, context: contextvars.Context, function: t.Callable[..., t.Any], *args: t.Any
    ) -> t.Any:
        """As :meth:`run_in_greenlet`, for callbacks of sockets, and functions that seldom
        wait and do not return coroutines: return what ``function`` returns, or a coroutine to
        await it with if it does wait. The loop's thread only.

        :param context: in which ``function`` runs
        """
        idle = self.loop_scope.idle
        handler = idle.pop() if idle else self.loop_scope.take_greenlet()
        handler.gr_context = context
        awaited = handler.switch(function, args)
        if handler.busy:
            return self._drive(handler, awaited)
        if handler.failure is not None:
            return self._end(handler)
        # As _end does, but for each message of a websocket every step counts.
        handler.gr_context = None
        idle.append(handler)
        value, handler.value = handler.value, None
        return value

    async def _drive(self, handler: HandlerGreenlet, awaited: t.Any) -> t.Any:
        while handler.busy:
            try:
                value = await awaited
            except asyncio.CancelledError as exc:
                awaited = handler.throw(self.translate_cancel(exc))
            except BaseException as exc:  # noqa: BLE001 - the handler is where it belongs
                awaited = handler.throw(exc)
            else:
                awaited = handler.switch(value)
        return self._end(handler)

    def _end(self, handler: HandlerGreenlet) -> t.Any:
        if not handler.dead:
            self.loop_scope.give_greenlet(handler)
        if handler.failure is not None:
            handler.raise_failure()
        value, handler.value = handler.value, None
        return value

    def interrupt(self) -> None:
        """Tell whoever waits in this exchange, or will wait next, that the client left.
        Loop thread only."""
        if self.gone:
            return
        self.gone = True
        if self.task is not None:
            # A task that has found out by itself raises by itself.
            if self.task is not asyncio.current_task(self.loop):
                self._interrupted = True
                self.task.cancel()
        else:
            self.let_go()

    def let_go(self) -> None:
        """Cancel what threads of this exchange wait for, or will wait for next.
        Loop thread only."""
        if self._pending:
            for pending in self._pending:
                pending.cancel()
        else:
            self._owed = True

    def settle(self) -> None:
        """Let the exchange's thread wait again, to clean up. That thread only."""
        self._owed = False

    def why_cut(self) -> RoloError:
        """Return what a thread is told whose wait was cancelled."""
        if self.gone:
            return ClientDisconnected("the client left")
        return NoPortalError("the exchange ended while a handler waited")

    def translate_cancel(self, exc: asyncio.CancelledError) -> BaseException:
        """Return what a cancelled wait means: :class:`ClientDisconnected` if the client's
        leaving caused it, else ``exc`` itself (the server is shutting down)."""
        if not self._interrupted:
            return exc
        self._interrupted = False
        if self.task is not None:
            self.task.uncancel()
        return ClientDisconnected("the client left")

    def run_in_context(self, function: t.Callable[..., T], *args: t.Any) -> T:
        """Call ``function`` in the one context that all sync code of this exchange on
        worker threads shares: a generator sees the variables that its handler set."""
        assert self.context is not None
        return self.context.run(function, *args)

    def enter(self) -> None:
        """Make this the :func:`current_portal` of the running context."""
        _current.set(weakref.ref(self))

    def track(self, task: asyncio.Task[t.Any]) -> None:
        """Cancel ``task`` when the client leaves. Loop thread only."""
        if self._owed:
            self._owed = False
            task.cancel()
        if self._pending is None:
            self._pending = set()
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)


class _Parked:
    """A thread's wait for one coroutine."""

    __slots__ = ("context", "coroutine", "event", "portal", "task")

    def __init__(
        self,
        portal: Portal,
        coroutine: t.Coroutine[t.Any, t.Any, t.Any],
        context: contextvars.Context,
    ) -> None:
        self.portal = portal
        self.coroutine = coroutine
        self.context = context
        # A bare lock is the cheapest thing to wait on; released once, by the loop.
        self.event = threading.Lock()
        self.event.acquire()
        self.task: asyncio.Task[t.Any] | None = None

    def start(self) -> None:
        self.task = self.portal.loop.create_task(_contained(self.coroutine), context=self.context)
        self.portal.track(self.task)
        self.task.add_done_callback(lambda _: self.release())

    def release(self) -> None:
        """Let the thread go on."""
        with contextlib.suppress(RuntimeError):  # it was released before
            self.event.release()

    def result(self) -> t.Any:
        if self.task is None or not self.task.done():
            self.coroutine.close()
            raise NoPortalError("the event loop stopped while a handler waited for it")
        try:
            return self.task.result()
        except asyncio.CancelledError:
            self.coroutine.close()  # it may not even have begun
            raise self.portal.why_cut() from None


async def _contained(coroutine: t.Coroutine[t.Any, t.Any, T]) -> T:
    try:
        return await coroutine
    except (SystemExit, KeyboardInterrupt) as exc:
        # A task that raises one of these takes its loop with it.
        raise contained(exc) from exc
