"""What the connections of both sides have in common, without a socket."""

import asyncio
import contextlib

import pytest

from rolo.errors import SendError
from rolo.net.connection import BaseConnection
from tests.origins import eventually, run


class Transport(asyncio.Transport):
    """Notes what is done to it."""

    def __init__(self):
        super().__init__()
        self.done = []
        self.resets = []
        self.closing = False

    def get_extra_info(self, name, default=None):
        return self if name == "socket" else default

    def setsockopt(self, *option):
        self.resets.append(option)

    def is_closing(self):
        return self.closing

    def write(self, data):
        self.done.append(data)

    def can_write_eof(self):
        return True

    def write_eof(self):
        self.done.append("eof")

    def close(self):
        self.closing = True
        self.done.append("close")

    def abort(self):
        self.closing = True
        self.done.append("abort")

    def pause_reading(self):
        self.done.append("pause")

    def resume_reading(self):
        self.done.append("resume")


class Connection(BaseConnection):
    linger_timeout = 0.01

    def lost_error(self):
        return SendError("lost")


def connected():
    transport = Transport()
    connection = Connection(asyncio.get_running_loop(), memoryview(bytearray(64)))
    connection.connection_made(transport)
    return connection, transport


def test_all_who_wait_are_woken_when_the_other_side_has_caught_up():
    async def test():
        connection, _ = connected()
        connection.pause_writing()
        waiting = [asyncio.create_task(connection.drained()) for _ in range(2)]
        await asyncio.sleep(0)
        connection.resume_writing()
        await asyncio.gather(*waiting)

    run(test)


def test_all_who_wait_are_told_when_the_connection_is_lost():
    async def test():
        connection, _ = connected()
        connection.pause_writing()
        waiting = [asyncio.create_task(connection.drained()) for _ in range(2)]
        await asyncio.sleep(0)
        connection.connection_lost(None)
        for task in [*waiting, connection.drained()]:
            with pytest.raises(SendError):
                await task

    run(test)


def test_waits_that_are_given_up_leave_nothing():
    async def test():
        connection, _ = connected()
        connection.pause_writing()
        for _ in range(10):
            waiting = asyncio.create_task(connection.drained())
            await asyncio.sleep(0)
            waiting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await waiting
        assert not connection._drains

    run(test)


def test_reading_is_paused_and_resumed_once():
    async def test():
        connection, transport = connected()
        for verb in "pause_reading", "pause_reading", "resume_reading", "resume_reading":
            getattr(connection, verb)()
        assert transport.done == ["pause", "resume"]

    run(test)


@pytest.mark.parametrize(("verb", "done"), [("close", "close"), ("linger", "eof")])
def test_nothing_is_sent_after_the_end(verb, done):
    async def test():
        connection, transport = connected()
        getattr(connection, verb)()
        connection.write(b"late")
        connection.write(b"later", b"still")
        assert transport.done == [done]
        connection.connection_lost(None)

    run(test)


def test_who_lingers_reads_on_and_is_cut_off_in_the_end():
    async def test():
        connection, transport = connected()
        connection.pause_reading()
        connection.linger()
        assert transport.done == ["pause", "resume", "eof"]
        await eventually(lambda: transport.closing)
        await eventually(lambda: "abort" in transport.done)
        assert transport.done == ["pause", "resume", "eof", "close", "abort"]

    run(test)


@pytest.mark.parametrize(
    ("stuck", "verb", "reset"),
    [(False, "abort", False), (True, "abort", True), (False, "reset", True)],
)
def test_the_kernel_forgets_what_nobody_takes(stuck, verb, reset):
    async def test():
        connection, transport = connected()
        if stuck:
            connection.pause_writing()
        getattr(connection, verb)()
        assert transport.done == ["abort"]
        assert bool(transport.resets) is reset

    run(test)


def test_every_verb_is_safe_on_what_is_lost():
    async def test():
        connection, transport = connected()
        connection.connection_lost(None)
        connection.write(b"late")
        connection.pause_reading()
        connection.resume_reading()
        connection.set_deadline(0.001)
        connection.linger()
        connection.close()
        connection.abort()
        connection.reset()
        assert connection.closed
        assert connection.closing
        assert connection.ending
        assert connection.unsent == connection.unacknowledged == 0
        assert connection._timer is None
        assert transport.done == []

    run(test)
