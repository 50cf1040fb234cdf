"""One end of a websocket on a channel without a network."""

import pytest
from websocket_origin import CLOSE, PING, PONG, close_payload, frame

from rolo.net.websocket import WebSocketPeer

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


def opened(client=False, max_message=None, buffer=1000, **options):
    channel = Channel()
    end = WebSocketPeer(
        channel, client=client, max_message=max_message, buffer=buffer, close_timeout=1, **options
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
