import sys
import threading

import pytest

from rolo.portal.workers import WorkerPool


@pytest.fixture
def pool():
    pool = WorkerPool(2, "test-worker")
    yield pool
    pool.shutdown()


def test_jobs_run_on_named_threads_that_are_reused(pool):
    names = {pool.submit(lambda: threading.current_thread().name).result(5) for _ in range(5)}
    assert names <= {"test-worker-0", "test-worker-1"}


def test_no_more_threads_than_the_size_are_started_and_the_rest_waits(pool):
    release = threading.Event()
    started = threading.Barrier(3)

    def block():
        started.wait(5)
        release.wait(5)

    blocked = [pool.submit(block), pool.submit(block)]
    started.wait(5)
    third = pool.submit(lambda: "done")
    stats = pool.stats()
    assert (stats.threads, stats.busy, stats.queued) == (2, 2, 1)
    release.set()
    assert third.result(5) == "done"
    for future in blocked:
        future.result(5)


def test_the_wait_for_a_thread_is_visible(pool):
    release = threading.Event()
    blocked = [pool.submit(release.wait, 5) for _ in range(2)]
    waiting = pool.submit(lambda: None)
    threading.Timer(0.05, release.set).start()
    waiting.result(5)
    for future in blocked:
        future.result(5)
    stats = pool.stats()
    assert stats.longest_wait > 0
    assert stats.total_wait >= stats.longest_wait


def test_errors_of_a_job_reach_whoever_submitted_it(pool):
    with pytest.raises(ZeroDivisionError):
        pool.submit(lambda: 1 / 0).result(5)


def test_a_pool_that_is_shut_down_takes_no_jobs_and_leaves_no_thread():
    pool = WorkerPool(3, "gone-worker")
    pool.submit(lambda: None).result(5)
    pool.shutdown(timeout=5)
    with pytest.raises(RuntimeError, match="shut down"):
        pool.submit(lambda: None)
    assert not [t for t in threading.enumerate() if t.name.startswith("gone-worker")]


def test_shutdown_gives_up_on_a_stuck_job_at_its_deadline():
    pool = WorkerPool(1, "stuck-worker")
    release, inside = threading.Event(), threading.Event()

    def stuck():
        inside.set()
        release.wait(10)

    future = pool.submit(stuck)
    assert inside.wait(5)
    pool.shutdown(timeout=0.01)
    assert not future.done()
    release.set()
    pool.shutdown(timeout=5)
    assert future.result(5) is None


def test_dropped_jobs_are_cancelled():
    pool = WorkerPool(1)
    release, started = threading.Event(), threading.Event()
    running = pool.submit(lambda: (started.set(), release.wait(5)))
    assert started.wait(5)
    queued = pool.submit(lambda: None)
    pool.shutdown(wait=False, cancel_futures=True)
    release.set()
    assert queued.cancelled()
    running.result(5)
    pool.shutdown(timeout=5)


def test_a_pool_without_threads_is_refused():
    with pytest.raises(ValueError, match="at least one thread"):
        WorkerPool(0)


@pytest.mark.parametrize("raised", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_no_job_ends_its_thread_whatever_it_raises(pool, raised, caplog):
    def job():
        raise raised("on purpose")

    for _ in range(3):
        pool.run(job)
    assert pool.submit(lambda: "done").result(5) == "done"
    assert pool.stats().threads <= 2
    pool.shutdown(timeout=5)
    assert caplog.text.count(f"{raised.__name__}: on purpose") == 3


def test_what_a_job_raises_reaches_whoever_submitted_it_whatever_it_is(pool):
    with pytest.raises(SystemExit):
        pool.submit(sys.exit, 3).result(5)
