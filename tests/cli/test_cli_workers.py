"""The process that looks after the workers, with processes that are only said to run."""

import os
import signal
import socket
import subprocess
import sys
import types

import pytest

from rolo.cli import workers
from rolo.cli.errors import CommandError
from rolo.cli.stop import StopNow
from rolo.cli.workers import DEATHS_PERIOD, MAX_DEATHS, Supervisor


class Worker:
    """A process that ends when it is waited for, after ``lasts`` seconds on the clock."""

    def __init__(self, world, pid, words, options):
        self.world, self.pid, self.words, self.options = world, pid, words, options
        self.returncode = None
        self.done = []
        self.waits = []
        self.lasts = world.lasts

    def poll(self):
        return self.returncode

    def send_signal(self, number):
        self.done.append(number)

    def kill(self):
        self.done.append("kill")
        self.returncode = -9

    def wait(self, timeout=None):
        self.waits.append(timeout)
        if self.returncode is None:
            if timeout is not None and self.lasts > timeout:
                self.world.now += timeout
                raise subprocess.TimeoutExpired("rolo", timeout)
            self.world.now += self.lasts
            self.returncode = 0


class World:
    """A clock, the processes, and the signals that the supervisor waits for."""

    def __init__(self):
        self.now = 1000.0
        self.lasts = 0.0
        self.workers = []
        self.script = []

    def start(self, words, **options):
        worker = Worker(self, 100 + len(self.workers), words, options)
        self.workers.append(worker)
        return worker

    def wait(self, timeout):
        """Do the next thing of the script; a true value is the signal."""
        assert timeout > 0
        return self.script.pop(0)() if self.script else True

    def dies(self, *places, code=3, after=0.0):
        """The workers started as number ``places`` die, so many seconds later."""

        def dies():
            self.now += after
            for place in places:
                self.workers[place].returncode = code

        self.script.append(dies)


@pytest.fixture
def world(monkeypatch):
    world = World()
    monkeypatch.setattr(workers.subprocess, "Popen", world.start)
    monkeypatch.setattr(workers, "time", types.SimpleNamespace(monotonic=lambda: world.now))
    return world


@pytest.fixture
def sock():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


def test_each_worker_is_the_command_again_with_the_socket_and_a_pipe_to_its_parent(world, sock):
    fd = sock.fileno()
    assert Supervisor(("proxy", "http://x", "--workers", "2"), sock, 2, 1.0).run(world) == 0
    assert len(world.workers) == 2
    for worker in world.workers:
        *words, pipe = worker.words
        assert words == [
            *(sys.executable, "-m", "rolo", "proxy", "http://x", "--workers", "2"),
            *("--workers", "1", "--fd", str(fd), "--parent-fd"),
        ]
        assert worker.options == {
            "pass_fds": (fd, int(pipe)),
            "stdin": subprocess.DEVNULL,
            "process_group": 0,
        }
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(int(pipe))


def test_who_has_died_is_replaced_and_told_of(world, sock, caplog):
    world.script.append(lambda: False)
    world.dies(0, 2)
    assert Supervisor((), sock, 3, 1.0).run(world) == 0
    assert len(world.workers) == 5
    assert caplog.messages == ["worker 100 ended with code 3", "worker 102 ended with code 3"]
    stopped = [worker for worker in world.workers if signal.SIGTERM in worker.done]
    assert [worker.pid for worker in stopped] == [101, 103, 104]


def test_many_deaths_in_a_short_time_are_no_accident(world, sock):
    for place in range(MAX_DEATHS):
        world.dies(place)
    world.dies(MAX_DEATHS, code=7, after=DEATHS_PERIOD - 0.5)
    with pytest.raises(CommandError, match="keep dying, the last one with code 7") as caught:
        Supervisor((), sock, 1, 1.0).run(world)
    assert caught.value.code == 1


def test_as_many_deaths_as_allowed_or_in_a_longer_time_are(world, sock):
    for place in range(MAX_DEATHS):
        world.dies(place)
    world.dies(MAX_DEATHS, after=DEATHS_PERIOD)
    assert Supervisor((), sock, 1, 1.0).run(world) == 0
    assert len(world.workers) == MAX_DEATHS + 2


def test_whoever_is_left_when_workers_keep_dying_is_killed(world, sock):
    for place in range(1, MAX_DEATHS + 2):
        world.dies(place)
    with pytest.raises(CommandError):
        Supervisor((), sock, 2, 1.0).run(world)
    assert (world.workers[0].done, world.workers[0].waits) == (["kill"], [None])


def test_the_socket_is_closed_before_workers_are_waited_for(world, sock):
    seen = []

    def stopping():
        for worker in world.workers:
            worker.wait = lambda timeout=None: seen.append(sock.fileno())
            worker.kill = lambda: None
        return True

    world.script.append(stopping)
    assert Supervisor((), sock, 2, 1.0).run(world) == 0
    assert set(seen) == {-1}


@pytest.mark.parametrize(
    ("timeout", "lasts", "waits", "code"),
    [
        (1.0, 2.0, [6.0, 4.0, 2.0], 0),
        (1.0, 3.0, [6.0, 3.0, 0.0], 1),  # together, not each
        (1.0, 6.0, [6.0, 0.0], 1),
        (1.0, 6.5, [6.0], 1),
        (None, 1000.0, [None, None, None], 0),
    ],
)
def test_all_workers_together_have_the_time_of_their_exchanges_and_a_little_more(
    world, sock, caplog, timeout, lasts, waits, code
):
    world.lasts = lasts
    assert Supervisor((), sock, 3, timeout).run(world) == code
    assert [worker.waits[0] for worker in world.workers][: len(waits)] == waits
    assert all(worker.done[0] == signal.SIGTERM for worker in world.workers)
    late = [worker for worker in world.workers if "kill" in worker.done]
    assert bool(late) == bool(code)
    assert caplog.messages == (["workers did not stop in time"] if code else [])
    assert all(worker.returncode is not None for worker in world.workers)


def test_the_second_signal_kills_all_at_once(world, sock):
    def second():
        raise StopNow

    world.script.append(second)
    assert Supervisor((), sock, 2, None).run(world) == 1
    assert [(worker.done, worker.waits) for worker in world.workers] == [(["kill"], [None])] * 2


def test_workers_need_a_posix_system(world, sock, monkeypatch):
    monkeypatch.setattr(workers.os, "name", "nt")
    with pytest.raises(CommandError, match="needs a POSIX system") as caught:
        Supervisor((), sock, 2, None).run(world)
    assert (caught.value.code, world.workers) == (2, [])
