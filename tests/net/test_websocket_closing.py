"""How one end of a websocket closes, on a channel without a network; and bounds, exactly."""

import asyncio

import pytest
from test_websocket_peer import KEY, Channel
from websocket_origin import BINARY, CLOSE, PING, TEXT, close_payload, frame

from rolo.errors import ClientDisconnected
from rolo.net.ledger import Ledger
from rolo.net.websocket import _UNCOUNTED, Liveness, WebSocketPeer
from rolo.websocket.errors import WebSocketDisconnectedError, WebSocketProtocolError
from rolo.wire.websocket_frames import OVERHEAD


class Timed(Channel):
    """Notes its deadlines, too, and what waits for it to be drained."""

    def __init__(self):
        super().__init__()
        self.deadlines = []
        self.room = asyncio.Event()
        self.lost = None

    def set_deadline(self, seconds):
        self.deadlines.append(seconds)

    async def drained(self):
        await self.room.wait()
        if self.lost is not None:
            raise self.lost


def opened(*, client=False, buffer=1000, max_held=None, ledger=None):
    channel = Timed()
    end = WebSocketPeer(
        channel,
        client=client,
        max_message=None,
        buffer=buffer,
        close_timeout=7,
        ledger=ledger or Ledger(),
        max_held=max_held,
    )
    channel.ends = []
    end.on_end = lambda: channel.ends.append(end.ended_with.code)
    return end, channel


def from_peer(end_is_client, opcode, payload=b"", **options):
    """A frame as the other side sends it."""
    return frame(opcode, payload, key=None if end_is_client else KEY, **options)


def sent(channel, client=False):
    """What was written, unmasked, as (opcode, payload)."""
    data, found = channel.written, []
    channel.written = b""
    while data:
        length = data[1] & 127
        start = 6 if client else 2
        payload = data[start : start + length]
        if client:
            key = data[2:6]
            payload = bytes(byte ^ key[place % 4] for place, byte in enumerate(payload))
        found.append((data[0] & 15, payload))
        data = data[start + length :]
    return found


def code_of(end):
    """What receiving tells; with all messages read."""

    async def receive():
        with pytest.raises(WebSocketDisconnectedError) as caught:
            await end.receive()
        return caught.value.code, caught.value.reason

    return asyncio.run(receive())


both = pytest.mark.parametrize("client", [False, True], ids=["server", "client"])


@both
def test_our_close_is_sent_once_and_has_its_time_to_be_answered(client):
    end, channel = opened(client=client)
    assert end.ready
    asyncio.run(end.close(4000, "why"))
    end.close_nowait(4001, "again")
    assert sent(channel, client) == [(CLOSE, close_payload(4000, "why"))]
    assert (channel.deadlines, end.ready, end.closed) == ([7], False, False)
    with pytest.raises(WebSocketProtocolError, match="closed from our side"):
        end.send_nowait("late")
    assert not end.ping()
    # What still comes is discarded, the answer ends it.
    end.feed(from_peer(client, TEXT, b"late"))
    end.feed(from_peer(client, CLOSE, close_payload(4000)))
    assert sent(channel, client) == []
    assert (channel.ends, end.closed, end.ended_by_us) == ([4000], True, False)
    assert code_of(end) == (4000, "")
    assert channel.fate == (None if client else "closed")
    assert channel.deadlines == ([7, 7] if client else [7])


@both
def test_the_other_sides_close_is_answered_with_its_code_and_nothing_follows(client):
    end, channel = opened(client=client)
    end.feed(from_peer(client, TEXT, b"before"))
    end.feed(from_peer(client, CLOSE, close_payload(4002, "mine")))
    end.feed(from_peer(client, TEXT, b"behind"))
    assert sent(channel, client) == [(CLOSE, close_payload(4002, "mine"))]
    end.close_nowait(1000, "")
    assert sent(channel, client) == []
    assert asyncio.run(end.receive()) == "before"
    assert code_of(end) == (4002, "mine")
    assert (end.broken, end.ended_by_us) == (False, False)
    with pytest.raises(WebSocketDisconnectedError):
        end.send_nowait("late")
    # The server closes the connection; a client waits for that.
    assert channel.fate == (None if client else "closed")
    assert channel.deadlines == ([7] if client else [])


@both
def test_a_close_without_a_code_is_answered_by_one(client):
    end, channel = opened(client=client)
    end.feed(from_peer(client, CLOSE))
    assert sent(channel, client) == [(CLOSE, b"")]
    assert code_of(end) == (1005, "")


def test_a_lost_connection_is_1006_unless_a_close_was_read():
    end, channel = opened()
    end.lost()
    assert (channel.ends, code_of(end)) == ([1006], (1006, ""))
    assert sent(channel) == []
    end, channel = opened()
    end.feed(from_peer(False, CLOSE, close_payload(4003)))
    end.lost()
    assert code_of(end) == (4003, "")


def test_a_violation_is_told_and_the_connection_lingers():
    end, channel = opened()
    end.feed(from_peer(False, 3))
    ((opcode, payload),) = sent(channel)
    assert (opcode, payload[:2]) == (CLOSE, close_payload(1002))
    assert (end.broken, end.ended_by_us, channel.fate) == (True, True, "lingering")
    assert code_of(end)[0] == 1002
    end.feed(from_peer(False, TEXT, b"behind"))
    assert code_of(end)[0] == 1002


@both
def test_who_stops_says_so_once_and_waits_for_the_answer(client):
    end, channel = opened(client=client)
    end.going_away()
    end.going_away()
    assert sent(channel, client) == [(CLOSE, close_payload(1001))]
    assert (end.ended_by_us, channel.deadlines, channel.fate) == (True, [7], None)
    assert code_of(end) == (1001, "")


def test_who_stops_after_a_close_of_ours_sends_no_other():
    end, channel = opened()
    end.close_nowait(4000, "")
    sent(channel)
    end.going_away()
    assert (sent(channel), code_of(end)) == ([], (1001, ""))


def test_what_is_dropped_is_dropped_at_once():
    end, channel = opened()
    end.abort()
    assert (channel.fate, sent(channel), code_of(end)) == ("aborted", [], (1006, ""))
    end.feed(from_peer(False, TEXT, b"behind"))
    assert code_of(end) == (1006, "")


def test_a_deadline_that_is_over_drops_the_connection():
    end, channel = opened()
    end.close_nowait(4000, "")
    end.expired()
    assert channel.fate == "aborted"


# --- the pace ---------------------------------------------------------------------------


def test_reading_goes_on_up_to_the_bound_and_again_from_there():
    async def test():
        end, channel = opened(buffer=3 * (OVERHEAD + 1))
        for _ in range(3):
            end.feed(from_peer(False, TEXT, b"x"))
        assert channel.reading
        end.feed(from_peer(False, TEXT, b"x"))
        assert not channel.reading
        await end.receive()
        assert channel.reading

    asyncio.run(test())


def test_to_send_waits_for_a_slow_side_and_tells_of_a_lost_one():
    async def test():
        end, channel = opened()
        channel.writing_paused = True
        sending = asyncio.create_task(end.send("one"))
        await asyncio.sleep(0)
        assert not sending.done()
        assert sent(channel) == [(TEXT, b"one")]
        channel.room.set()
        await sending
        channel.lost = ClientDisconnected("gone")
        with pytest.raises(WebSocketDisconnectedError) as caught:
            await end.send(b"two")
        assert caught.value.code == 1006
        assert sent(channel) == [(BINARY, b"two")]
        channel.writing_paused = False
        await end.send("at once")

    asyncio.run(test())


@both
def test_pings_are_sent_and_answered_while_that_makes_sense(client):
    end, channel = opened(client=client)
    assert not end.heard
    end.feed(from_peer(client, PING, b"you"))
    assert end.heard
    assert end.ping()
    assert sent(channel, client) == [(10, b"you"), (PING, b"")]
    channel.writing_paused = True
    assert not end.ping()
    assert sent(channel, client) == []


def test_whoever_is_offered_a_message_may_take_it():
    offered = []

    async def test():
        end, _ = opened()
        end.tap = lambda message: offered.append(message) or message == "mine"
        end.feed(from_peer(False, TEXT, b"nobody waits"))
        assert offered == []
        assert await end.receive() == "nobody waits"
        receiving = asyncio.create_task(end.receive())
        await asyncio.sleep(0)
        end.feed(from_peer(False, TEXT, b"mine") + from_peer(False, TEXT, b"yours"))
        assert await receiving == "yours"
        assert offered == ["mine", "yours"]

    asyncio.run(test())


# --- what is held -----------------------------------------------------------------------


def test_what_little_waits_by_the_way_is_not_counted():
    ledger = Ledger()
    end, _ = opened(ledger=ledger, buffer=1 << 20)
    end.feed(from_peer(False, BINARY, bytes(_UNCOUNTED - OVERHEAD)))
    assert (ledger.total, end.held) == (0, 0)
    end, _ = opened(ledger=ledger, buffer=1 << 20)
    end.feed(from_peer(False, BINARY, bytes(_UNCOUNTED - OVERHEAD + 1)))
    assert (ledger.total, end.held) == (_UNCOUNTED + 1, _UNCOUNTED + 1)
    asyncio.run(end.receive())
    assert (ledger.total, end.held) == (0, 0)


@pytest.mark.parametrize("over", [0, 1])
def test_as_much_is_held_as_allowed(over):
    size = 10_000
    end, channel = opened(max_held=size + OVERHEAD - over, buffer=1 << 20)
    end.feed(from_peer(False, BINARY, bytes(size)))
    assert end.closed == bool(over)
    if over:
        assert sent(channel) == [(CLOSE, close_payload(1013, "too much is held"))]
        assert (end.held, end.broken, end.ended_by_us) == (0, False, True)


def test_what_is_held_is_given_back_with_the_end_itself():
    ledger = Ledger()
    end, _ = opened(ledger=ledger, buffer=1 << 20)
    end.feed(from_peer(False, BINARY, bytes(10_000)))
    assert ledger.total == 10_000 + OVERHEAD
    end.on_end = None
    del end
    assert ledger.total == 0


# --- whether it is alive ----------------------------------------------------------------


def test_a_silent_side_is_pinged_and_one_that_does_not_answer_is_dropped():
    end, channel = opened()
    alive = Liveness(end, 10.0, 4.0, now=100.0)
    alive.look(109.75)
    assert sent(channel) == []
    alive.look(110.0)
    assert sent(channel) == [(PING, b"")]
    alive.look(113.75)
    assert (channel.fate, sent(channel)) == (None, [])
    end.feed(from_peer(False, 10))
    alive.look(113.75)  # from here on it is silent again
    alive.look(123.5)
    assert sent(channel) == []
    alive.look(123.75)
    assert sent(channel) == [(PING, b"")]
    alive.look(127.75)
    assert channel.fate == "aborted"


def test_a_side_that_takes_nothing_is_not_pinged_and_not_dropped_for_that():
    end, channel = opened()
    channel.writing_paused = True
    alive = Liveness(end, 10.0, 4.0, now=100.0)
    for now in (110.0, 120.0, 130.0):
        alive.look(now)
    assert (channel.fate, sent(channel)) == (None, [])
