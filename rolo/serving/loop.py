"""A thread that runs one event loop for one server, from start to stop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
import time
import typing as t

LOG = logging.getLogger(__name__)

LoopFactory = t.Callable[[], asyncio.AbstractEventLoop]

#: seconds that cancelled tasks get to clean up before their loop is closed under them
CLEANUP_TIMEOUT = 1.0


def loop_factory(kind: str = "auto") -> LoopFactory:
    """Return what makes event loops of ``kind``: ``auto``, ``uvloop`` or ``asyncio``.

    :raises ModuleNotFoundError: uvloop was asked for and is not installed
    """
    if kind not in ("auto", "uvloop", "asyncio"):
        raise ValueError(f"unknown event loop {kind!r}: choose auto, uvloop or asyncio")
    if kind != "asyncio":
        try:
            import uvloop
        except ModuleNotFoundError:
            if kind == "uvloop":
                raise
        else:
            return t.cast(LoopFactory, uvloop.new_event_loop)
    return asyncio.new_event_loop


class Lifetime:
    """How a server on a loop learns when to stop, and tells that it is ready.

    Made on the loop; ``stop`` may be called from any thread, the rest on the loop only.
    """

    def __init__(self, on_ready: t.Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_ready = on_ready
        self._stop = asyncio.Event()
        self.on_stop: t.Callable[[], None] | None = None
        """Called on the loop when the server is told to stop."""
        self.refuse: t.Callable[[bool], None] | None = None
        """Lets the server be away, or back; ``None`` where it cannot."""
        self._grace: float | None = None
        self._deadline: float | None = None

    def ready(self) -> None:
        """Say that connections are accepted."""
        self._on_ready()

    async def stopping(self) -> float | None:
        """Wait until the server is told to stop; return the seconds that running
        exchanges get to finish, ``None`` for no limit."""
        await self._stop.wait()
        return self._grace

    def remaining(self, *, least: float = 0.0) -> float | None:
        """Seconds left of the grace, never less than ``least``; ``None`` for no limit."""
        if self._deadline is None:
            return None if self._stop.is_set() else least
        return max(least, self._deadline - time.monotonic())

    def stop(self, grace: float | None) -> None:
        """Tell the server to stop. Does nothing once its loop has closed."""
        self.call(self._begin_stop, grace)

    def call(self, function: t.Callable[..., t.Any], *args: t.Any) -> bool:
        """Call ``function`` on the loop soon; False once that has closed."""
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            return False
        return True

    def _begin_stop(self, grace: float | None) -> None:
        if not self._stop.is_set():
            self._grace = grace
            self._deadline = None if grace is None else time.monotonic() + grace
            self._stop.set()
            if self.on_stop is not None:
                self.on_stop()


class LoopThread:
    """Runs ``main`` on a new event loop in a thread named ``name``.

    Whatever ``main`` leaves behind when it returns (tasks, asynchronous generators) is
    cancelled and closed with the loop. The thread never touches signals.
    """

    def __init__(
        self,
        name: str,
        main: t.Callable[[Lifetime], t.Awaitable[None]],
        factory: LoopFactory = asyncio.new_event_loop,
    ) -> None:
        self._main = main
        self._factory = factory
        self._started: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._ended: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._lifetime: Lifetime | None = None
        # A forgotten server must not keep the interpreter from ending.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start, and return when ``main`` has called ``Lifetime.ready``.

        :raises BaseException: what ``main`` raised before it was ready
        """
        self._thread.start()
        try:
            self._started.result()
        except BaseException:
            self.stop(0)
            raise

    def stop(self, grace: float | None) -> None:
        """Stop ``main`` and wait for the thread.

        :param grace: seconds handed to ``main``; ``None`` for no limit
        :raises TimeoutError: a handler blocks the loop; the thread is left to itself
        """
        if self._lifetime is not None:
            self._lifetime.stop(grace)
        patience = None if grace is None else grace + 4 * CLEANUP_TIMEOUT
        self._thread.join(patience)
        if self._thread.is_alive():
            raise TimeoutError(f"{self._thread.name} did not stop: its event loop is blocked")

    def refuse(self, refusing: bool) -> bool:
        """Let the server be away, or back, see :attr:`Lifetime.refuse`; nothing if it has
        stopped. Return whether it can.

        :raises OSError: it could not
        """
        lifetime = self._lifetime
        if lifetime is None or lifetime.refuse is None:
            return False
        done: concurrent.futures.Future[None] = concurrent.futures.Future()
        refuse = lifetime.refuse

        def call() -> None:
            try:
                refuse(refusing)
            except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
                done.set_exception(error)
            else:
                done.set_result(None)

        if lifetime.call(call):
            while self._thread.is_alive() and not concurrent.futures.wait((done,), 0.5).done:
                pass  # a loop that stops in this moment runs it no more
            if done.done():
                done.result()
        return True

    def join(self, timeout: float | None) -> bool:
        """Wait until ``main`` has ended; False if ``timeout`` seconds passed before.

        :raises BaseException: what ``main`` raised after it was ready
        """
        try:
            self._ended.result(timeout)
        except concurrent.futures.TimeoutError:
            if not self._ended.done():
                return False
            raise
        self._thread.join(timeout)
        return True

    def _run(self) -> None:
        loop = self._factory()
        asyncio.set_event_loop(loop)
        # Ours, so that what an application ran on it can be waited for, within bounds.
        pool = concurrent.futures.ThreadPoolExecutor(thread_name_prefix=self._thread.name)
        loop.set_default_executor(pool)
        failure: BaseException | None = None
        try:
            loop.run_until_complete(self._supervise())
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits
            failure = error
        finally:
            _finish(loop)
            asyncio.set_event_loop(None)
            _drain(pool)
        self._report(failure)

    async def _supervise(self) -> None:
        self._lifetime = Lifetime(self._ready)
        await self._main(self._lifetime)

    def _ready(self) -> None:
        if not self._started.done():
            self._started.set_result(None)

    def _report(self, failure: BaseException | None) -> None:
        if not self._started.done():
            self._started.set_exception(failure or RuntimeError("the server ended at once"))
            failure = None
        if failure is None:
            self._ended.set_result(None)
        else:
            LOG.error("%s died", self._thread.name, exc_info=failure)
            self._ended.set_exception(failure)


def _drain(pool: concurrent.futures.ThreadPoolExecutor) -> None:
    """Wait for the threads of ``pool``, but not for one that is stuck."""
    pool.shutdown(wait=False, cancel_futures=True)
    waiter = threading.Thread(target=pool.shutdown, name="rolo-drain", daemon=True)
    waiter.start()
    waiter.join(CLEANUP_TIMEOUT)


def _finish(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what still runs on ``loop``, close its generators, close it."""
    try:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.wait(tasks, timeout=CLEANUP_TIMEOUT))
        loop.run_until_complete(loop.shutdown_asyncgens())
        # One more turn lets transports that were aborted close their sockets.
        loop.run_until_complete(asyncio.sleep(0))
    finally:
        loop.close()
