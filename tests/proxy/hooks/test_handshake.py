"""A handshake on its way is, to hooks, a request without a body."""

import pytest

from rolo.errors import NoBodyInHandshake
from rolo.proxy.hooks.editable import OutboundHandshake
from rolo.upstream.websocket import Handshake
from rolo.wire.target import Origin


@pytest.fixture
def handshake():
    head = Handshake(Origin("http", "h", 80), b"/", [(b"Host", b"h"), (b"Range", b"bytes=0-1")])
    return OutboundHandshake(head)


def test_there_is_nothing_to_read(handshake):
    assert (handshake.read(), handshake.text(), handshake.has_body) == (b"", "", False)


@pytest.mark.parametrize(
    "change",
    [
        "transform",
        "transform_lines",
        "transform_json",
        "transform_text",
        "tap",
    ],
)
def test_functions_over_bodies_are_not_called(handshake, change):
    def never(piece):
        raise AssertionError

    getattr(handshake, change)(never)
    assert handshake.read() == b""
    assert not handshake.is_rewritten


def test_a_generator_over_bodies_does_not_make_one(handshake):
    def generator(pieces):
        yield b"x"

    handshake.transform(generator)
    assert handshake.read() == b""


@pytest.mark.parametrize("put", [lambda h: h.set_data(b"x"), lambda h: h.set_json({})])
def test_no_body_can_be_put_there(handshake, put):
    with pytest.raises(NoBodyInHandshake):
        put(handshake)


def test_fields_about_the_answer_are_edited_as_those_of_requests(handshake):
    handshake.refuse_ranges()
    handshake.headers["Accept-Encoding"] = "gzip, unheard-of"
    handshake.accept_known_codings()
    assert handshake.headers.items() == [("Host", "h"), ("Accept-Encoding", "gzip")]
