"""What no head can hold is refused in one place, whatever server would have sent it."""

import pytest

from rolo.bridge.answer import answer_of
from rolo.bridge.lazy_response import LazyResponse, UpstreamAnswer
from rolo.bridge.websocket import raw_headers
from rolo.errors import UnsendableAnswer
from rolo.response import Response


def with_field(name, value):
    response = Response()
    # What the setters of werkzeug refuse gets in by other ways.
    response.headers._list.append((name, value))
    return response


BAD = {
    "CR LF in the status": Response(status="200 OK\r\nSet-Cookie: evil=1"),
    "LF in the status": Response(status="200 OK\nX: y"),
    "NUL in the status": Response(status="200 O\0K"),
    "CR LF in a value": with_field("X", "a\r\nSet-Cookie: evil=1"),
    "NUL in a value": with_field("X", "a\0b"),
    "a control in a value": with_field("X", "a\x1bb"),
    "a value beyond Latin-1": with_field("X", "€"),
    "CR LF in a name": with_field("X\r\nY", "a"),
    "a blank in a name": with_field("X Y", "a"),
    "an empty name": with_field("", "a"),
    "a reason of a hook": LazyResponse(UpstreamAnswer(200, b"O\r\nX: K", [], [])),
    "a value of a hook": LazyResponse(UpstreamAnswer(200, b"", [(b"X", b"a\nb")], [])),
}


@pytest.mark.parametrize("what", BAD)
def test_an_answer_that_no_head_can_hold_is_refused(what):
    with pytest.raises(UnsendableAnswer):
        answer_of(BAD[what], dict, "GET")


def test_latin_1_tabs_and_an_empty_reason_can_be_sent():
    answer = UpstreamAnswer(200, b"", [(b"X", b"\xe9\tb")], [])
    assert answer_of(LazyResponse(answer), dict, "GET").headers == answer.headers


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\0", "€"])
def test_fields_for_a_websocket_are_checked_too(value):
    with pytest.raises(UnsendableAnswer):
        raw_headers(with_field("X", value).headers)
