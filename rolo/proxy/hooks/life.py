"""The life of a proxy's hooks: started before their first exchange, closed after the last."""

from __future__ import annotations

import asyncio
import threading
import typing as t
from concurrent.futures import Future

from rolo.errors import HookError
from rolo.portal.containment import ERRORS
from rolo.portal.hook_runner import HookRunner
from rolo.portal.portal import Portal
from rolo.proxy.hooks.transform import failed

_PATIENCE = 5.0
"""Seconds for which :meth:`Life.close` waits for what hooks do in theirs."""


class Living(t.Protocol):
    """What has a life; see :class:`~rolo.proxy.Hooks`."""

    _closed_by_owner: bool

    def start(self) -> None: ...

    def close(self) -> None: ...


def has_life(hooks: Living) -> bool:
    """Whether there is anything to do at the start or the end of ``hooks``."""
    kind = type(hooks)
    # A handler's own close is its owner's to call, but one that overrides it has a life.
    base: t.Any = next(each for each in kind.__mro__ if "_closed_by_owner" in vars(each))
    return kind.start is not base.start or kind.close is not base.close


class Life:
    """Of the hooks of one proxy, from its client's side to its upstream's. Any thread.

    What they do runs as hooks do, on the loop of the exchange that came first; in the
    calling thread where there is no loop, or where it has stopped.
    """

    def __init__(self, hooks: t.Sequence[Living]) -> None:
        self._hooks = hooks
        self._lock = threading.Lock()
        self._under_way = 0
        self._retired = False
        self._starting: Future[None] | None = None
        self._started: list[Living] = []
        self._afterwards: list[t.Callable[[], t.Any]] = []
        self._portal: Portal | None = None
        self._threads = False

    def enter(self, portal: Portal | None) -> None:
        """Begin an exchange: start the hooks, or wait until they have started. What comes
        later is :meth:`leave`, once, unless this raises.

        :raises HookError: a start has failed; the next exchange tries again
        :raises ClientDisconnected: the client left meanwhile
        """
        with self._lock:
            self._under_way += 1
            starting = self._starting
            first = starting is None
            if starting is None:
                starting = self._starting = Future()
                # One of its own: it goes on when this exchange's client has left.
                self._portal = None if portal is None else Portal(portal.loop_scope)
                self._threads = portal is not None and portal.threaded
        try:
            if first:
                self._run(self._start, starting)
            if portal is not None and not starting.done():
                portal.call(_wait(starting))
            starting.result()
        except BaseException:
            self.leave()
            raise

    def hold(self) -> None:
        """Begin something that an exchange, which is not over yet, leaves behind."""
        with self._lock:
            self._under_way += 1

    def leave(self) -> None:
        """End what was begun."""
        with self._lock:
            self._under_way -= 1
            over = self._retired and not self._under_way
        if over:
            self._end()

    def retire(self, afterwards: t.Callable[[], t.Any] | None = None) -> None:
        """Close the hooks when the last exchange is over, be it now.

        :param afterwards: called then, as they are
        """
        self._retire(afterwards, at_once=False)

    def close(self) -> None:
        """The same, and wait for it if nothing is under way and no loop runs in this thread.
        Where no loop runs at all there is nobody to wait for: they are closed at once."""
        portal = self._portal
        done = self._retire(None, at_once=portal is None or not portal.loop.is_running())
        if done is not None and not _on_a_loop():
            done.result(_PATIENCE)

    def _retire(
        self, afterwards: t.Callable[[], t.Any] | None, *, at_once: bool
    ) -> Future[None] | None:
        with self._lock:
            self._retired = True
            if afterwards is not None:
                self._afterwards.append(afterwards)
            over = at_once or not self._under_way
        return self._end() if over else None

    def _end(self) -> Future[None]:
        done: Future[None] = Future()
        with self._lock:
            started, self._started = self._started, []
            afterwards, self._afterwards = self._afterwards, []
            self._starting = None
        self._run(_close_all, started, afterwards, done)
        return done

    def _run(self, function: t.Callable[..., None], *args: t.Any) -> None:
        portal, threads = self._portal, self._threads
        if portal is None or not portal.loop.is_running():
            function(*args)
            return

        def start() -> None:
            HookRunner.of(portal, threads=threads).start(portal, function, *args)

        portal.post(start)

    def _start(self, starting: Future[None]) -> None:
        started: list[Living] = []
        for hooks in self._hooks:
            error = _call("start", hooks, hooks.start)
            if error is not None:
                _close_all(started, [])
                with self._lock:
                    self._starting = None
                starting.set_exception(error)
                return
            started.append(hooks)
        with self._lock:
            self._started = started
        starting.set_result(None)


def _close_all(
    started: list[Living],
    afterwards: list[t.Callable[[], t.Any]],
    done: Future[None] | None = None,
) -> None:
    """Close those that were started, from the upstream's side to the client's."""
    for hooks in reversed(started):
        if not hooks._closed_by_owner:
            _call("close", hooks, hooks.close)
    for each in afterwards:
        _call("close", getattr(each, "__self__", each), each)
    if done is not None:
        done.set_result(None)


def _call(what: str, owner: t.Any, function: t.Callable[[], t.Any]) -> HookError | None:
    """Return what ``function`` raised, logged; ``None`` for nothing."""
    try:
        function()
    except (*ERRORS, asyncio.CancelledError) as exc:
        return failed(f"{what} of {type(owner).__qualname__}", exc, steered=False)
    return None


async def _wait(future: Future[None]) -> None:
    """Wait for it, whatever comes of it; whoever no longer waits does not cancel it."""
    waiting = asyncio.wrap_future(future)
    waiting.add_done_callback(lambda done: done.cancelled() or done.exception())
    await asyncio.wait([waiting])


def _on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
