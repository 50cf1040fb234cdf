"""One end of a websocket on a channel without a network."""

import asyncio

import pytest
from websocket_origin import BINARY, CLOSE, PING, PONG, TEXT, close_payload, frame

from rolo.net.ledger import Ledger
from rolo.net.websocket import WebSocketPeer
from rolo.websocket.errors import WebSocketDisconnectedError

KEY = b"\0\0\0\0"


class Channel:
    """Notes what is done to it. ``writing_paused`` is the test's to set."""

    def __init__(self):
        self.written = b""
        self.writing_paused = False
        self.reading = True
        self.fate = None

    def write(self, *data):
        self.written += b"".join(data)

    @property
    def unsent(self):
        return len(self.written) if self.writing_paused else 0

    def pause_reading(self):
        self.reading = False

    def resume_reading(self):
        self.reading = True

    def set_deadline(self, seconds):
        pass

    def close(self):
        self.fate = "closed"

    def linger(self):
        self.fate = "lingering"

    def abort(self):
        self.fate = "aborted"


def opened(client=False, max_message=None, buffer=1000, ledger=None, max_held=None, deflate=None):
    channel = Channel()
    end = WebSocketPeer(
        channel,
        client=client,
        max_message=max_message,
        buffer=buffer,
        close_timeout=1,
        ledger=ledger or Ledger(),
        max_held=max_held,
        deflate=deflate,
    )
    return end, channel


@pytest.mark.parametrize("client", [False, True])
def test_of_pings_while_the_other_side_does_not_read_one_pong_is_owed(client):
    end, channel = opened(client)
    channel.writing_paused = True
    for number in range(1000):
        end.feed(frame(PING, b"%d" % number, key=None if client else KEY))
    assert channel.written == b""
    channel.writing_paused = False
    end.resumed()
    sent = channel.written
    assert len(sent) == (2 + 4 + 3 if client else 2 + 3)
    assert client or sent == frame(PONG, b"999")
    end.resumed()
    assert channel.written == sent


def test_no_pong_follows_a_close():
    end, channel = opened()
    channel.writing_paused = True
    end.feed(frame(PING, b"x", key=KEY) + frame(CLOSE, close_payload(1000), key=KEY))
    channel.writing_paused = False
    end.resumed()
    assert channel.written == frame(CLOSE, close_payload(1000))


async def rest_of(end):
    """What is still received, and the code at the end."""
    messages = []
    try:
        while True:
            messages.append(await end.receive())
    except WebSocketDisconnectedError as exc:
        return messages, exc.code


def test_messages_without_content_hold_back_the_other_side_too():
    end, channel = opened()
    end.feed(frame(TEXT, b"", key=KEY) * 10)
    assert channel.reading
    end.feed(frame(TEXT, b"", key=KEY) * 10)
    assert not channel.reading


MANY = 5000


@pytest.mark.parametrize("lost", [False, True])
def test_what_one_read_brings_is_read_as_it_is_received(lost):
    async def main():
        end, channel = opened()
        wired = frame(TEXT, b"x", key=KEY) * MANY + frame(CLOSE, close_payload(4001), key=KEY)
        end.feed(wired)
        assert not channel.reading
        assert end.held > len(wired) / 2
        if lost:
            end.lost()
            with pytest.raises(WebSocketDisconnectedError):
                end.send_nowait("x")
        assert await asyncio.wait_for(rest_of(end), 5) == (["x"] * MANY, 4001)
        assert end.held == 0

    asyncio.run(main())


def test_a_connection_lost_without_a_close_among_what_is_unread_is_1006():
    async def main():
        end, _ = opened()
        end.feed(frame(TEXT, b"x", key=KEY) * MANY)
        end.lost()
        assert await asyncio.wait_for(rest_of(end), 5) == (["x"] * MANY, 1006)

    asyncio.run(main())


def test_a_violation_among_what_is_unread_ends_the_receiving():
    async def main():
        end, channel = opened()
        end.feed(frame(TEXT, b"x", key=KEY) * MANY + frame(TEXT, b"unmasked"))
        assert await asyncio.wait_for(rest_of(end), 5) == (["x"] * MANY, 1002)
        assert channel.fate == "lingering"

    asyncio.run(main())


def test_our_close_does_not_wait_for_what_is_unread():
    async def main():
        end, channel = opened()
        end.feed(frame(TEXT, b"x", key=KEY) * MANY)
        end.close_nowait(1000, "")
        for _ in range(10):
            await asyncio.sleep(0)
        assert channel.reading
        end.feed(frame(CLOSE, close_payload(1000), key=KEY))
        assert channel.fate == "closed"

    asyncio.run(main())


def test_a_socket_that_passes_all_on_leaves_the_others_their_turns():
    async def main():
        end, channel = opened()
        taken = []
        end.tap = lambda message: taken.append(message) or True
        receiving = asyncio.ensure_future(end.receive())
        await asyncio.sleep(0)
        end.feed(frame(TEXT, b"x", key=KEY) * 20 * MANY)
        turns = 0
        while len(taken) < 20 * MANY:
            assert not channel.reading
            turns += 1
            await asyncio.sleep(0)
        assert turns > 10
        await asyncio.sleep(0)
        assert channel.reading
        receiving.cancel()

    asyncio.run(main())


# --- what all hold together


def ends_of(ledger, count, limit):
    return [opened(ledger=ledger, max_held=limit) for _ in range(count)]


def begun(size):
    """A message of which so much has come."""
    return b"\x82\xff" + (2**24).to_bytes(8, "big") + KEY + bytes(size)


def test_the_end_that_holds_most_is_closed_with_1013(caplog):
    ledger = Ledger()
    (small, one), (large, two), (other, three) = ends_of(ledger, 3, 100_000)
    small.feed(begun(20_000))
    large.feed(begun(60_000))
    assert one.written == two.written == b""
    other.feed(begun(30_000))
    assert two.written.startswith(frame(CLOSE, close_payload(1013, "too much is held")))
    assert two.fate == "lingering"
    assert (one.fate, three.fate) == (None, None)
    assert ledger.total == small.held + other.held
    assert 50_000 < ledger.total < 50_100
    assert [r.message for r in caplog.records] == [
        "websockets hold 110042 bytes, more than 100000: closing the one that holds most, 60014"
    ]
    large.feed(bytes(200_000))
    assert ledger.total < 50_100


def test_an_end_that_does_not_take_what_is_sent_is_cut_off():
    ledger = Ledger()
    ((end, channel),) = ends_of(ledger, 1, 100_000)
    end.send_nowait(bytes(80_000))
    channel.writing_paused = True
    end.paused()
    assert ledger.total > 80_000
    end.send_nowait(bytes(30_000))
    assert channel.fate == "aborted"
    assert ledger.total == 0
    with pytest.raises(WebSocketDisconnectedError):
        end.send_nowait("x")


def test_what_was_held_is_given_back():
    async def main():
        ledger = Ledger()
        (end, channel), (gone, _) = ends_of(ledger, 2, None)
        end.feed(frame(BINARY, bytes(9000), key=KEY))
        assert ledger.total > 9000
        await end.receive()
        assert ledger.total == 0
        end.send_nowait(bytes(9000))
        channel.writing_paused = True
        end.paused()
        assert ledger.total >= 9000
        channel.writing_paused = False
        end.resumed()
        assert ledger.total == 0
        gone.feed(frame(BINARY, bytes(9000), key=KEY) + begun(5000))
        assert ledger.total > 14_000
        gone.lost()
        assert 9000 < ledger.total < 10_000  # somebody may still receive it
        del gone, _
        assert ledger.total == 0

    asyncio.run(main())


def test_unread_messages_count_and_are_dropped():
    async def main():
        ledger = Ledger()
        (end, _), (other, _) = ends_of(ledger, 2, 100_000)
        end.feed(frame(BINARY, bytes(60_000), key=KEY))
        other.feed(frame(BINARY, bytes(50_000), key=KEY))
        assert await rest_of(end) == ([], 1013)
        assert len(await other.receive()) == 50_000

    asyncio.run(main())


def test_the_ends_of_a_loop_share_a_ledger():
    async def main():
        return Ledger.of(asyncio.get_running_loop()), Ledger.of(asyncio.get_running_loop())

    one, two = asyncio.run(main())
    assert one is two
    assert asyncio.run(main())[0] is not one
