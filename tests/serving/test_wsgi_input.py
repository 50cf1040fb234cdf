"""Request bodies as ``wsgi.input``, read from a connection that is still being filled."""

import io

import pytest

from rolo.errors import BadRequest, ClientDisconnected
from rolo.serving.wsgi_input import RequestInput
from rolo.wire.http1 import Framing, body_decoder


class Arriving:
    """A connection's file that has one packet at a time."""

    def __init__(self, *packets):
        self.packets = list(packets)

    def read1(self, size=-1):
        return self.packets.pop(0) if self.packets else b""


def chunked(*packets, **options):
    decoder = body_decoder(Framing.CHUNKED, None, side="request")
    return RequestInput(Arriving(*packets), decoder, **options)


def with_length(length, *packets):
    return RequestInput(Arriving(*packets), body_decoder(Framing.LENGTH, length, side="request"))


def test_read1_gives_what_has_arrived():
    body = chunked(b"2\r\nab\r\n", b"1\r\nc\r\n1\r\nd\r\n", b"0\r\n\r\n")
    assert [body.read1(), body.read1(), body.read1(), body.read1()] == [b"ab", b"c", b"d", b""]


def test_it_is_a_file_that_ends_with_the_body():
    body = with_length(9, b"one\ntw", b"o\nxGET /next")
    assert body.readlines() == [b"one\n", b"two\n", b"x"]
    assert body.read() == b""


def test_trailers_are_there_after_the_end():
    body = chunked(b"1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n")
    assert body.trailers == []
    assert body.read() == b"a"
    assert body.trailers == [(b"X-Sum", b"1")]


def test_no_body_is_empty_and_nothing_is_read():
    connection = Arriving(b"next")
    body = RequestInput(connection, body_decoder(Framing.NONE, None))
    assert body.read() == b""
    assert connection.packets == [b"next"]


@pytest.mark.parametrize(
    "body", [chunked(b"2\r\na"), with_length(2, b"a")], ids=["chunks", "length"]
)
def test_a_body_that_ends_too_early_is_an_error(body):
    with pytest.raises(ClientDisconnected):
        body.read()


def test_broken_framing_is_an_error():
    with pytest.raises(BadRequest):
        chunked(b"zz\r\n").read()


def test_the_client_is_told_to_go_on_once_and_not_before_it_is_waited_for():
    told = []
    body = chunked(b"1\r\na\r\n", b"0\r\n\r\n", go_on=lambda: told.append("go on"))
    assert told == []
    assert body.read() == b"a"
    assert told == ["go on"]


def test_it_is_what_pep_3333_asks_for():
    assert isinstance(chunked(), io.BufferedIOBase)
