"""Between a connection on a loop and a transport on a reactor, without either of them."""

import asyncio

import pytest
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from rolo.serving.twisted.transport import _HIGH, _UNHANDLED, TOGETHER, Meeting, ReactorTransport


class Connection(asyncio.BufferedProtocol):
    """Notes what it is told."""

    def __init__(self):
        self.window = bytearray(8)
        self.told = []
        self.got = b""

    def connection_made(self, transport):
        self.told.append("made")

    def get_buffer(self, sizehint):
        return memoryview(self.window)

    def buffer_updated(self, nbytes):
        self.got += self.window[:nbytes]

    def eof_received(self):
        self.told.append("eof")
        return False

    def connection_lost(self, exc):
        self.told.append(exc)

    def pause_writing(self):
        self.told.append("pause")

    def resume_writing(self):
        self.told.append("resume")


class Below(StringTransport):
    """A transport that notes what is asked of it."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def unregisterProducer(self):
        super().unregisterProducer()
        self.asked.append("unregister")

    def loseConnection(self):
        super().loseConnection()
        self.asked.append("lose")

    def loseWriteConnection(self):
        self.asked.append("half")

    def abortConnection(self):
        self.asked.append("abort")


class Apart:
    """A meeting of two threads, each of which runs when the test says so."""

    def __init__(self):
        self.loop, self.reactor = [], []
        self.meeting = Meeting(
            lambda *call: self.loop.append(call), lambda *call: self.reactor.append(call)
        )

    @staticmethod
    def run(calls):
        while calls:
            function, *args = calls.pop(0)
            function(*args)


@pytest.fixture
def below():
    return Below()


def linked(below, meeting=TOGETHER, kind=ReactorTransport):
    link, connection = kind(below, meeting), Connection()
    below.registerProducer(link, True)

    async def begin():
        link.begin(connection)

    asyncio.run(begin())
    return link, connection


def test_what_comes_is_handed_on_in_windows(below):
    link, connection = linked(below)
    link.dataReceived(b"0123456789" * 3)
    assert connection.got == b"0123456789" * 3


def test_what_comes_while_nobody_reads_waits_and_the_end_behind_it(below):
    async def scenario():
        link, connection = ReactorTransport(below, TOGETHER), Connection()
        below.registerProducer(link, True)
        link.begin(connection)
        link.pause_reading()
        assert below.producerState == "paused"
        link.dataReceived(b"late")
        link.readConnectionLost()
        assert (connection.got, connection.told) == (b"", ["made"])
        link.resume_reading()
        assert connection.got == b""  # not within the call, whoever makes it
        await asyncio.sleep(0)
        assert (connection.got, connection.told) == (b"late", ["made", "eof"])
        # To read on behind the end would bring the end again.
        assert below.producerState == "paused"

    asyncio.run(scenario())
    assert below.asked == ["unregister", "lose"]


def test_a_full_buffer_below_pauses_the_connection(below):
    link, connection = linked(below)
    link.pauseProducing()
    link.pauseProducing()
    link.resumeProducing()
    assert connection.told == ["made", "pause", "resume"]


def test_pieces_and_a_close_keep_their_order_between_threads(below):
    apart = Apart()
    link, _ = linked(below, apart.meeting)
    link.write(b"a")
    link.writelines([b"b", b"c"])
    link.close()
    link.write(b"after")
    assert len(apart.reactor) == 1  # one call takes all of it
    apart.run(apart.reactor)
    assert below.value() == b"abc"
    assert below.asked == ["unregister", "lose"]  # a paused producer would keep it open


def test_a_reactor_that_lags_behind_pauses_the_connection(below):
    apart = Apart()
    link, connection = linked(below, apart.meeting)
    link.write(bytes(_HIGH))
    assert connection.told == ["made"]
    link.write(b"more")
    assert connection.told == ["made", "pause"]
    assert link.get_write_buffer_size() == _HIGH + 4
    apart.run(apart.reactor)
    apart.run(apart.loop)
    assert connection.told == ["made", "pause", "resume"]
    assert link.get_write_buffer_size() == 0


def test_a_reactor_that_catches_up_while_the_connection_pauses_does_not_leave_it_paused(below):
    """It has looked whether somebody waits before anybody did."""
    apart = Apart()

    class Overtaken(ReactorTransport):
        @property
        def _paused(self):
            return self.flag

        @_paused.setter
        def _paused(self, paused):
            if paused:
                apart.run(apart.reactor)
            self.flag = paused

    link, connection = linked(below, apart.meeting, Overtaken)
    link.write(bytes(_HIGH + 1))
    assert connection.told == ["made", "pause", "resume"]
    assert apart.loop == []


def test_a_loop_that_lags_behind_stops_the_reading(below):
    apart = Apart()
    link, connection = linked(below, apart.meeting)
    connection.window = bytearray(65536)
    for _ in range(_UNHANDLED // 65536):
        link.dataReceived(bytes(65536))
    assert below.producerState == "producing"
    link.dataReceived(b"x")
    assert below.producerState == "paused"
    apart.run(apart.loop)
    apart.run(apart.reactor)
    assert below.producerState == "producing"
    assert len(connection.got) == _UNHANDLED + 1


def test_a_half_close_comes_behind_what_is_written_and_wakes_who_waits(below):
    link, connection = linked(below)
    link.pauseProducing()
    assert link.can_write_eof()
    link.write(b"last")
    link.write_eof()
    assert below.value() == b"last"
    assert below.asked == ["unregister", "half"]
    assert connection.told == ["made", "pause", "resume"]
    assert not link.is_closing()


def test_an_abort_drops_what_is_unsent(below):
    apart = Apart()
    link, _ = linked(below, apart.meeting)
    link.write(b"unsent")
    link.abort()
    apart.run(apart.reactor)
    assert below.value() == b""
    assert below.asked == ["unregister", "abort"]


@pytest.mark.parametrize(
    ("reason", "told"), [(ConnectionDone(), type(None)), (ConnectionLost(), ConnectionLost)]
)
def test_a_lost_connection_is_told_and_asked_nothing_more(below, reason, told):
    apart = Apart()
    link, connection = linked(below, apart.meeting)
    link.connectionLost(Failure(reason))
    link.write(b"late")
    link.resume_reading()
    link.close()
    apart.run(apart.reactor)
    apart.run(apart.loop)
    assert isinstance(connection.told[-1], told)
    assert (below.value(), below.asked) == (b"", [])
