import concurrent.futures
import sys
import threading
import types

import pytest

from rolo.portal import workers
from rolo.portal.workers import ExecutorWorkers, WorkerPool


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
    names = sorted(thread.name for thread in threading.enumerate() if "test-worker" in thread.name)
    assert names == ["test-worker-0", "test-worker-1"]
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


def test_what_a_pool_says_of_itself_adds_up(pool):
    for _ in range(3):
        pool.submit(lambda: None).result(5)
    until(lambda: pool.stats().done == 3)
    stats = pool.stats()
    assert (stats.size, stats.busy, stats.waiting, stats.queued) == (2, 0, 0, 0)
    assert stats.total_wait >= stats.longest_wait >= stats.last_wait >= 0


def test_a_job_that_never_ends_does_not_keep_the_process(pool):
    assert pool.submit(lambda: threading.current_thread().daemon).result(5)


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


@pytest.fixture
def lender(monkeypatch):
    monkeypatch.setattr(workers, "_PATIENCE", 0)
    pool = WorkerPool(1, "lender", lent=2)
    yield pool
    pool.shutdown(timeout=5)


def waiter(wait, then=lambda: None):
    """Return (an event that is set inside, a job that waits for ``wait`` as portals wait)."""
    inside = threading.Event()

    def job():
        def acquire(block, timeout):
            inside.set()
            return wait.wait(5 if timeout < 0 else timeout)

        workers.wait(acquire)
        return then()

    return inside, job


def test_a_thread_that_waits_gives_its_place_to_another_job(lender):
    done = threading.Event()
    inside, job = waiter(done)
    waiting = lender.submit(job)
    assert inside.wait(5)
    lender.submit(done.set).result(5)
    waiting.result(5)
    stats = lender.stats()
    assert (stats.threads, stats.waiting) == (2, 0)


def test_a_job_that_waits_for_its_thread_runs_when_another_lends_its_place(lender):
    done, go_on = threading.Event(), threading.Event()
    inside, job = waiter(done)
    waiting = lender.submit(lambda: (go_on.wait(5), job()))
    setter = lender.submit(done.set)
    until(lambda: lender.queued == 1)
    go_on.set()
    setter.result(5)
    waiting.result(5)
    assert inside.is_set()


def test_no_more_than_the_size_run_at_once_and_who_comes_back_goes_first(lender):
    order = []
    done, started, release = threading.Event(), threading.Event(), threading.Event()
    inside, job = waiter(done, lambda: order.append("back"))
    back = lender.submit(job)
    assert inside.wait(5)
    running = lender.submit(lambda: (started.set(), release.wait(5), order.append("running")))
    assert started.wait(5)
    later = lender.submit(lambda: order.append("later"))
    done.set()
    until(lambda: lender._returning)
    release.set()
    for future in (back, running, later):
        future.result(5)
    assert order == ["running", "back", "later"]


def until(condition):
    # Nobody tells that a thread waits for its turn, hence the polling.
    for _ in range(500):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it never came about")


def test_threads_that_wait_are_bounded_too(lender):
    done = threading.Event()
    jobs = [waiter(done) for _ in range(4)]
    futures = [lender.submit(job) for _, job in jobs]
    for inside, _ in jobs[:3]:
        assert inside.wait(5)
    until(lambda: lender.stats().waiting == 3)
    stats = lender.stats()
    assert (stats.threads, stats.queued) == (3, 1)
    done.set()
    for future in futures:
        future.result(5)


def test_threads_beyond_the_size_end_when_they_have_nothing_to_do(lender, monkeypatch):
    monkeypatch.setattr(workers, "_LINGER", 0.01)
    done = threading.Event()
    jobs = [waiter(done) for _ in range(3)]
    futures = [lender.submit(job) for _, job in jobs]
    for inside, _ in jobs:
        assert inside.wait(5)
    done.set()
    for future in futures:
        future.result(5)
    until(lambda: lender.stats().threads == 1)
    assert lender.submit(lambda: "done").result(5) == "done"


def test_a_thread_that_lends_its_place_after_the_shutdown_leaves_none_behind(lender):
    done, go_on = threading.Event(), threading.Event()
    inside, job = waiter(done)
    first = lender.submit(lambda: (go_on.wait(5), job()))
    second = lender.submit(done.set)
    lender.shutdown(wait=False)
    go_on.set()
    first.result(5)
    second.result(5)
    assert inside.is_set()
    lender.shutdown(timeout=5)
    assert not [each for each in threading.enumerate() if each.name.startswith("lender")]


def test_a_thread_outside_a_pool_just_waits():
    done = threading.Event()
    done.set()
    inside, job = waiter(done)
    job()
    assert inside.is_set()


def test_a_wait_that_is_soon_over_keeps_its_place_but_not_many_of_them(lender, monkeypatch):
    monkeypatch.setattr(workers, "_PATIENCE", 1)
    lent = []
    monkeypatch.setattr(lender, "_lend", lambda: lent.append(True))
    monkeypatch.setattr(lender, "_take_back", lambda: None)
    clock = iter(range(100))
    ticking = types.SimpleNamespace(monotonic=lambda: next(clock) * 0.3)
    monkeypatch.setattr(workers, "time", ticking)

    def job():
        for _ in range(6):
            workers.wait(lambda block, timeout: True)

    lender.submit(job).result(5)
    assert len(lent) == 2


def test_jobs_that_wait_in_an_executor_of_the_users_are_counted():
    release, started = threading.Event(), threading.Event()
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        jobs = ExecutorWorkers(executor)
        jobs.run(lambda: (started.set(), release.wait(5)))
        assert started.wait(5)
        jobs.run(lambda: None)
        assert jobs.queued == 1
        release.set()
    assert jobs.queued == 0


def test_a_job_that_an_executor_does_not_take_is_not_counted():
    executor = concurrent.futures.ThreadPoolExecutor(1)
    executor.shutdown()
    jobs = ExecutorWorkers(executor)
    with pytest.raises(RuntimeError, match="shutdown"):
        jobs.run(pytest.fail)
    assert jobs.queued == 0


def test_an_executor_of_the_users_stays_the_users():
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        ExecutorWorkers(executor).shutdown()
        assert executor.submit(lambda: "still there").result(5) == "still there"
