"""The bounded pool of threads on which handlers of ``threads`` mode run."""

from __future__ import annotations

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


@dataclasses.dataclass(frozen=True, slots=True)
class WorkerStats:
    """A snapshot of a pool. Waits are in seconds and count from ``submit`` to start."""

    size: int
    threads: int
    busy: int
    queued: int
    done: int
    last_wait: float
    longest_wait: float
    total_wait: float


class Workers(t.Protocol):
    """Where handlers run: a :class:`WorkerPool`, or an executor that a user brings."""

    def run(self, job: t.Callable[[], t.Any]) -> None: ...

    def shutdown(self, wait: bool = True, *, timeout: float | None = None) -> None: ...


class ExecutorWorkers:
    """An executor of the user's as :class:`Workers`; it stays the user's to shut down."""

    def __init__(self, executor: concurrent.futures.Executor) -> None:
        self._executor = executor

    def run(self, job: t.Callable[[], t.Any]) -> None:
        self._executor.submit(job)

    def shutdown(self, wait: bool = True, *, timeout: float | None = None) -> None:
        """Leave the executor alone."""


class WorkerPool(concurrent.futures.Executor):
    """At most ``size`` named daemon threads, started as they are needed.

    Daemon threads, because a handler that never returns must not keep the process from
    ending; :meth:`shutdown` waits for them within a deadline all the same.
    """

    def __init__(self, size: int, name: str = "rolo-worker") -> None:
        if size < 1:
            raise ValueError(f"a pool needs at least one thread, not {size}")
        self.size = size
        self.name = name
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
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
            if self._unfinished > len(self._threads) < self.size:
                self._start_thread()
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

    def stats(self) -> WorkerStats:
        """Return how busy the pool is and how long jobs wait for a thread."""
        with self._lock:
            return WorkerStats(
                size=self.size,
                threads=len(self._threads),
                busy=self._busy,
                queued=max(0, self._unfinished - self._busy),
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

    def _start_thread(self) -> None:
        thread = threading.Thread(
            target=self._work, name=f"{self.name}-{len(self._threads)}", daemon=True
        )
        self._threads.append(thread)
        thread.start()

    def _work(self) -> None:
        while (item := self._jobs.get()) is not None:
            queued_at, job, _ = item
            self._note_start(time.monotonic() - queued_at)
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

    def _note_start(self, waited: float) -> None:
        with self._lock:
            self._busy += 1
            self._last_wait = waited
            self._total_wait += waited
            self._longest_wait = max(self._longest_wait, waited)
