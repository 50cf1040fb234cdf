"""The bounded pool of threads on which handlers of ``threads`` mode run."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import logging
import queue
import threading
import time
import typing as t

LOG = logging.getLogger(__name__)

_Future = concurrent.futures.Future[t.Any]
_Job = tuple[float, t.Callable[[], t.Any], _Future | None]

LENT_THREADS = 1000
"""How many threads of a pool may wait through rolo's own calls beside those that run."""

_LINGER = 10.0
"""Seconds for which a thread beyond the size of its pool waits for another job."""

_PATIENCE = 0.2
"""Seconds that one job may wait, all its waits together, before it lends its place. Most are
over sooner, and more threads than needed would only be in each other's way."""

_here = threading.local()
"""Of a thread that may lend its place: its ``pool``, and the ``patience`` left to its job."""


@dataclasses.dataclass(frozen=True, slots=True)
class WorkerStats:
    """A snapshot of a pool. Waits are in seconds and count from ``submit`` to start."""

    size: int
    threads: int
    busy: int
    waiting: int
    """Of the busy ones, those that wait and have lent their place."""
    queued: int
    done: int
    last_wait: float
    longest_wait: float
    total_wait: float


class Workers(t.Protocol):
    """Where handlers run: a :class:`WorkerPool`, or an executor that a user brings."""

    @property
    def queued(self) -> int:
        """How many jobs wait for a thread."""

    def run(self, job: t.Callable[[], t.Any]) -> None: ...

    def shutdown(self, wait: bool = True, *, timeout: float | None = None) -> None: ...


class ExecutorWorkers:
    """An executor of the user's as :class:`Workers`; it stays the user's to shut down."""

    def __init__(self, executor: concurrent.futures.Executor) -> None:
        self._executor = executor
        self._lock = threading.Lock()
        self.queued = 0

    def run(self, job: t.Callable[[], t.Any]) -> None:
        def counted() -> None:
            self._count(-1)
            job()

        self._count(1)
        try:
            self._executor.submit(counted)
        except BaseException:
            self._count(-1)
            raise

    def _count(self, more: int) -> None:
        with self._lock:
            self.queued += more

    def shutdown(self, wait: bool = True, *, timeout: float | None = None) -> None:
        """Leave the executor alone."""


class WorkerPool(concurrent.futures.Executor):
    """Named daemon threads, started as they are needed, of which at most ``size`` run at once.

    A thread that has been waiting for a while, see :func:`wait`, gives its place to another,
    and goes on once it has a place again, before jobs that have not begun.

    :param lent: how many threads may be started beyond ``size`` for that

    Daemon threads, because a handler that never returns must not keep the process from
    ending; :meth:`shutdown` waits for them within a deadline all the same.
    """

    def __init__(self, size: int, name: str = "rolo-worker", lent: int = 0) -> None:
        if size < 1:
            raise ValueError(f"a pool needs at least one thread, not {size}")
        self.size = size
        self.name = name
        self._most = size + lent
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._started = 0
        self._places = size
        self._returning: collections.deque[threading.Lock] = collections.deque()
        self._starting: collections.deque[threading.Lock] = collections.deque()
        self._waiting = 0
        self._unfinished = 0
        self._busy = 0
        self._closed = False
        self._done = 0
        self._last_wait = self._longest_wait = self._total_wait = 0.0

    def run(self, job: t.Callable[[], t.Any], future: _Future | None = None) -> None:
        """Run ``job`` on a thread of the pool. What it raises is logged, but by a job that
        knows its exchange better. ``future`` is cancelled if the job is dropped before it started.

        :raises RuntimeError: the pool is shut down
        """
        with self._lock:
            if self._closed:
                raise RuntimeError("the worker pool is shut down")
            self._unfinished += 1
            self._add_thread()
        self._jobs.put((time.monotonic(), job, future))

    def submit(self, fn: t.Callable[..., t.Any], /, *args: t.Any, **kwargs: t.Any) -> _Future:
        future: _Future = concurrent.futures.Future()

        def job() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as exc:  # noqa: BLE001 - the future carries it
                future.set_exception(exc)

        self.run(job, future)
        return future

    @property
    def queued(self) -> int:
        """How many jobs wait for a thread; a look without the lock."""
        return max(0, self._unfinished - self._busy)

    def stats(self) -> WorkerStats:
        """Return how busy the pool is and how long jobs wait for a thread."""
        with self._lock:
            return WorkerStats(
                size=self.size,
                threads=len(self._threads),
                busy=self._busy,
                waiting=self._waiting,
                queued=self.queued,
                done=self._done,
                last_wait=self._last_wait,
                longest_wait=self._longest_wait,
                total_wait=self._total_wait,
            )

    def shutdown(
        self,
        wait: bool = True,
        *,
        cancel_futures: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Take no more jobs and let the threads end; with ``wait``, at most ``timeout``
        seconds (``None``: without limit) for all of them together.

        Jobs already queued still run, unless ``cancel_futures`` drops them.
        """
        with self._lock:
            self._closed = True
            threads = list(self._threads)
        if cancel_futures:
            self._drop_queued()
        for _ in threads:
            self._jobs.put(None)
        if not wait:
            return
        deadline = None if timeout is None else time.monotonic() + timeout
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(None if deadline is None else max(0.0, deadline - time.monotonic()))

    def _drop_queued(self) -> None:
        try:
            while True:
                item = self._jobs.get_nowait()
                if item is not None and item[2] is not None:
                    item[2].cancel()
        except queue.Empty:
            pass

    def _add_thread(self) -> None:
        """Start a thread if a job has none and a place may be free. With the lock."""
        count = len(self._threads)
        if not (self._unfinished > count < self._most and count - self._waiting < self.size):
            return
        thread = threading.Thread(
            target=self._work, name=f"{self.name}-{self._started}", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:
            # The system has no more of them: the jobs wait for those that there are.
            if not count:
                self._unfinished -= 1
                raise
            return
        self._started += 1
        self._threads.append(thread)
        if self._closed:
            self._jobs.put(None)

    def _work(self) -> None:
        if self._most > self.size:
            _here.pool = self
        while (item := self._next_job()) is not None:
            queued_at, job, _ = item
            self._begin(queued_at)
            try:
                job()
            except BaseException:
                # Whatever it is, it must not end the thread, which would still be counted.
                LOG.exception("a job raised on a thread of %s", self.name)
            # The job must not live on in this frame until the next one comes.
            del item, job, _
            with self._lock:
                self._busy -= 1
                self._unfinished -= 1
                self._done += 1
                self._give_place()

    def _next_job(self) -> _Job | None:
        """Wait for a job and return it; ``None`` if the thread is to end."""
        while True:
            surplus = len(self._threads) > self.size
            try:
                return self._jobs.get(timeout=_LINGER if surplus else None)
            except queue.Empty:
                with self._lock:
                    # A job that was counted on this thread may be on its way.
                    if self.size < len(self._threads) > self._unfinished:
                        self._threads.remove(threading.current_thread())
                        return None

    def _begin(self, queued_at: float) -> None:
        self._take_place(self._starting)
        waited = time.monotonic() - queued_at
        with self._lock:
            self._busy += 1
            _here.patience = _PATIENCE
            self._last_wait = waited
            self._total_wait += waited
            self._longest_wait = max(self._longest_wait, waited)

    # --- places

    def _take_place(self, turns: collections.deque[threading.Lock]) -> None:
        """Wait for a place, behind others in ``turns``."""
        with self._lock:
            if self._places:
                self._places -= 1
                return
            turn = threading.Lock()
            turn.acquire()
            turns.append(turn)
        turn.acquire()

    def _give_place(self) -> None:
        """Give a place to whoever waits for one. With the lock."""
        turns = self._returning or self._starting
        if turns:
            turns.popleft().release()
        else:
            self._places += 1

    def _lend(self) -> None:
        with self._lock:
            self._waiting += 1
            self._give_place()
            self._add_thread()

    def _take_back(self) -> None:
        self._take_place(self._returning)
        with self._lock:
            self._waiting -= 1


def wait(acquire: t.Callable[[bool, float], bool]) -> None:
    """Wait for something that takes as long as it takes, on a thread of a pool so that it holds
    up no other job for long. Elsewhere it just waits.

    :param acquire: as :meth:`threading.Lock.acquire`: waits for at most so many seconds, -1 for
        ever, and returns whether it has what it waited for
    """
    pool: WorkerPool | None = getattr(_here, "pool", None)
    if pool is None:
        acquire(True, -1)
        return
    patience: float = _here.patience
    if patience > 0:
        began = time.monotonic()
        if acquire(True, patience):
            _here.patience = patience - (time.monotonic() - began)
            return
        _here.patience = 0.0
    pool._lend()
    try:
        acquire(True, -1)
    finally:
        pool._take_back()
