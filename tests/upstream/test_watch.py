"""The clock of a relay: what is silent for too long, and what is busy. No sockets, no waiting."""

import asyncio

import pytest
from origins import run

from rolo.upstream.relay import Watch
from rolo.upstream.settings import WebSocketSettings

IDLE = (1001, "idle timeout")


class Relay:
    def __init__(self):
        self.moved = False
        self.closes = []

    async def close(self, code, reason):
        self.closes.append((code, reason))


class Peer:
    """An end that takes pings or not, and is heard when a test says so."""

    def __init__(self, *, takes_pings=True):
        self.heard = False
        self.takes_pings = takes_pings
        self.done = []

    def ping(self):
        self.done.append("ping")
        return self.takes_pings

    def abort(self):
        self.done.append("abort")


def test_a_busy_socket_is_not_idle_however_long_it_lives():
    async def test():
        relay = Relay()
        watch = Watch(relay, Peer(), WebSocketSettings(idle_timeout=10), now=0)
        for now in range(1, 100):
            relay.moved = now % 9 == 0
            watch.look(now)
            assert not relay.moved  # seen, and not counted twice
        await asyncio.sleep(0)
        assert relay.closes == []

    run(test)


@pytest.mark.parametrize(("now", "closes"), [(19.9, []), (20, [IDLE]), (99, [IDLE])])
def test_an_idle_socket_is_closed_once_so_long_after_it_last_moved(now, closes):
    async def test():
        relay = Relay()
        watch = Watch(relay, Peer(), WebSocketSettings(idle_timeout=10), now=0)
        relay.moved = True
        for at in (10, now, now):
            watch.look(at)
            await asyncio.sleep(0)
        assert relay.closes == closes

    run(test)


def test_no_idle_timeout_ends_nothing():
    async def test():
        relay = Relay()
        watch = Watch(relay, Peer(), WebSocketSettings(ping_interval=5), now=0)
        watch.look(10**9)
        await asyncio.sleep(0)
        assert relay.closes == []

    run(test)


@pytest.mark.parametrize(
    ("heard", "looks", "done"),
    [
        ((), (4.9,), []),
        ((), (5,), ["ping"]),
        ((), (5, 6, 6.9), ["ping"]),
        ((), (5, 7), ["ping", "abort"]),
        ((6,), (5, 6, 7, 10.9), ["ping"]),
        ((6,), (5, 6, 7, 11), ["ping", "ping"]),
        ((4,), (4, 5, 8.9), []),
        ((4, 8, 12), (4, 8, 12, 16), []),
    ],
)
def test_what_is_silent_is_pinged_and_dropped_unless_something_comes(heard, looks, done):
    peer = Peer()
    settings = WebSocketSettings(ping_interval=5, ping_timeout=2)
    watch = Watch(Relay(), peer, settings, now=0)
    for now in looks:
        peer.heard = now in heard
        watch.look(now)
    assert peer.done == done


def test_an_end_that_cannot_be_pinged_yet_is_not_waited_for():
    peer = Peer(takes_pings=False)
    watch = Watch(Relay(), peer, WebSocketSettings(ping_interval=5, ping_timeout=2), now=0)
    for now in (5, 7, 9):
        watch.look(now)
    assert peer.done == ["ping"] * 3


@pytest.mark.parametrize(
    ("settings", "tick"),
    [
        ({"idle_timeout": 5}, 0.5),
        ({"idle_timeout": 60}, 1),
        ({"idle_timeout": 0.05}, 0.01),
        ({"ping_interval": 5, "ping_timeout": 2}, 0.2),
        ({"ping_interval": 3, "ping_timeout": 20}, 0.3),
        ({"idle_timeout": 4, "ping_interval": 5, "ping_timeout": 6}, 0.4),
    ],
)
def test_no_timeout_is_late_by_more_than_a_tenth(settings, tick):
    watch = Watch(Relay(), Peer(), WebSocketSettings(**settings), now=0)
    assert watch.tick == pytest.approx(tick)
