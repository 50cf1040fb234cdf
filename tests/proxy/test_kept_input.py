"""The request body of a WSGI call, which a forwarder and a handler read in turns."""

import io

import pytest

from rolo.bridge import body_record
from rolo.errors import BodyNotKept, ClientDisconnected
from rolo.proxy.kept_input import KeptInput


class Socket(io.BytesIO):
    """Gives what has arrived, five bytes at a time, and counts what it is asked for."""

    trailers = [(b"X", b"1")]

    def __init__(self, data):
        super().__init__(data)
        self.asked = []

    def read1(self, size=-1):
        self.asked.append(size)
        return super().read1(min(size, 5))


@pytest.mark.parametrize("length", [12, None])
def test_each_reader_gets_all_of_it_and_the_stream_is_read_once(length):
    stream = Socket(b"twelve bytes")
    kept = KeptInput(stream, length)
    assert kept.readable()
    sent = iter(kept.sending())
    assert next(sent) == b"twelv"
    assert kept.read(3) == b"twe"
    assert b"".join(sent) == b"e bytes"
    assert kept.readall() == b"lve bytes"
    assert b"".join(kept.sending()) == b"twelve bytes"
    assert stream.tell() == 12
    assert kept.trailers == [(b"X", b"1")]


def test_no_more_is_asked_for_than_the_body_has():
    stream = Socket(b"twelve bytes and what is not of this request")
    kept = KeptInput(stream, 12)
    assert kept.readall() == b"twelve bytes"
    assert stream.tell() == 12
    assert stream.asked == [12, 7, 2]


def test_a_body_that_ends_before_its_length_is_a_client_that_left():
    kept = KeptInput(Socket(b"half"), 9)
    sent = iter(kept.sending())
    assert next(sent) == b"half"
    with pytest.raises(ClientDisconnected, match="before the end"):
        next(sent)
    assert list(KeptInput(Socket(b""), 0).sending()) == []


def test_what_has_gone_out_and_was_not_kept_is_not_sent_again(monkeypatch):
    monkeypatch.setattr(body_record, "ALWAYS_KEPT", 8)
    kept = KeptInput(Socket(b"twelve bytes"), 12)
    assert b"".join(kept.sending()) == b"twelve bytes"
    with pytest.raises(BodyNotKept):
        kept.sending()


def test_a_stream_without_trailers_has_none():
    plain = io.BytesIO(b"body")
    kept = KeptInput(plain, 4)
    assert (kept.readall(), kept.trailers) == (b"body", [])
