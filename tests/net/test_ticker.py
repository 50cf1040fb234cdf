"""One timer for many things, on a loop whose clock the test sets."""

import asyncio

import pytest

from rolo.net.ticker import Ticker
from tests.origins import run


class Timer:
    def __init__(self, seconds, action):
        self.seconds, self.action = seconds, action
        self.cancelled = False

    def cancel(self):
        self.cancelled = True


class Loop:
    def __init__(self):
        self.timers = []
        self.now = 0.0

    def time(self):
        return self.now

    def call_later(self, seconds, action):
        self.timers.append(Timer(seconds, action))
        return self.timers[-1]

    @property
    def armed(self):
        return [timer.seconds for timer in self.timers if not timer.cancelled]

    def fire(self):
        timer = next(timer for timer in self.timers if not timer.cancelled)
        self.timers.remove(timer)
        self.now += timer.seconds
        timer.action()


class Watched:
    def __init__(self, action=None):
        self.seen = []
        self.action = action

    def look(self, now):
        self.seen.append(now)
        if self.action is not None:
            self.action()


def test_all_are_looked_at_as_often_as_the_most_impatient_asks():
    loop = Loop()
    ticker = Ticker(loop)
    patient, impatient = Watched(), Watched()
    ticker.add(patient, 1.0)
    ticker.add(impatient, 0.5)
    ticker.add(Watched(), 2.0)
    assert loop.armed == [0.5]
    loop.fire()
    assert patient.seen == impatient.seen == [0.5]
    ticker.discard(impatient)
    loop.fire()
    assert loop.armed == [1.0]


def test_there_is_no_timer_while_nothing_is_registered():
    loop = Loop()
    ticker = Ticker(loop)
    once = Watched(lambda: ticker.discard(once))
    for _ in range(2):
        assert loop.armed == []
        ticker.add(once, 1.0)
        loop.fire()
    assert loop.armed == []
    ticker.discard(once)


def test_the_ticking_outlives_an_error():
    def fail():
        raise LookupError

    loop = Loop()
    ticker = Ticker(loop)
    ticker.add(Watched(fail), 1.0)
    with pytest.raises(LookupError):
        loop.fire()
    assert loop.armed == [1.0]


def test_a_closed_ticker_holds_nothing():
    async def test():
        ticker = Ticker(asyncio.get_running_loop())
        ticker.add(Watched(), 0.001)
        await ticker.close()
        assert not ticker._watched
        assert ticker._timer is None

    run(test)
