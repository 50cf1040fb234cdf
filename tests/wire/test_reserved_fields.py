"""Framing belongs to who writes the message: no head says twice, or wrongly, where it ends."""

import pytest

from rolo.errors import ReservedField, UnsendableRequest
from rolo.upstream.request import UpstreamRequest
from rolo.wire.fields import RESERVED, HeaderFields
from rolo.wire.reserved_fields import answer_fields
from rolo.wire.target import parse_upstream

ORIGIN = parse_upstream("http://origin").origin
HOST = (b"Host", b"origin")
SETTERS = {
    "item": lambda fields, name: fields.__setitem__(name, "2"),
    "add": lambda fields, name: fields.add(name, "2"),
    "setdefault": lambda fields, name: fields.setdefault(name, "2"),
    "setlist": lambda fields, name: fields.setlist(name, ["2"]),
}
NAMES = sorted(name.decode().title() for name in RESERVED)


@pytest.mark.parametrize("setter", SETTERS)
@pytest.mark.parametrize("name", NAMES)
def test_no_call_of_a_view_sets_what_only_the_writer_sets(setter, name):
    fields = HeaderFields([(b"X", b"1")])
    with pytest.raises(ReservedField, match=name):
        SETTERS[setter](fields, name)
    assert fields.pairs == [(b"X", b"1")]


def test_what_came_can_be_read_and_removed_but_not_replaced():
    fields = HeaderFields([(b"Content-Length", b"5")])
    with pytest.raises(ReservedField):
        fields.replace("Content-Length", lambda value: "2")
    with pytest.raises(ReservedField):
        fields["content-length"] = "2"
    assert fields["Content-Length"] == "5"
    fields.replace("Content-Length", lambda value: None)
    assert fields.pairs == []


@pytest.mark.parametrize("name", [name for name in NAMES if name != "Te"])
def test_a_request_that_got_such_a_field_some_other_way_is_not_written(name):
    request = UpstreamRequest(ORIGIN, "GET", b"/", [HOST, (name.encode(), b"2")])
    with pytest.raises(UnsendableRequest, match=name.lower()):
        request.framed_headers()


@pytest.mark.parametrize("hosts", [0, 2])
def test_a_request_has_one_host(hosts):
    with pytest.raises(UnsendableRequest, match="Host"):
        UpstreamRequest(ORIGIN, "GET", b"/", [HOST] * hosts).framed_headers()


def test_te_is_named_by_connection_and_only_while_it_is_there():
    request = UpstreamRequest(ORIGIN, "GET", b"/", [HOST, (b"TE", b"trailers")])
    assert request.framed_headers() == [HOST, (b"TE", b"trailers"), (b"Connection", b"TE")]
    HeaderFields(request.headers).remove("TE")
    assert request.framed_headers() == [HOST]


LENGTH = b"Content-Length"
CODING = (b"Transfer-Encoding", b"chunked")
ANSWERS = {
    "a right length": ([(LENGTH, b"5")], 5, [(LENGTH, b"5")]),
    "a wrong one": ([(b"A", b"1"), (LENGTH, b"2"), (b"B", b"1")], 5,
                    [(b"A", b"1"), (LENGTH, b"5"), (b"B", b"1")]),
    "two": ([(LENGTH, b"5"), (b"content-length", b"2")], 5, [(LENGTH, b"5")]),
    "a word": ([(LENGTH, b"five")], 5, [(LENGTH, b"5")]),
    "a length of what is not here yet": ([(LENGTH, b"5")], None, [(LENGTH, b"5")]),
    "both": ([(LENGTH, b"5"), CODING], 5, [CODING]),
    "both, not here yet": ([CODING, (LENGTH, b"x")], None, [CODING]),
    "advice for the connection": ([(b"Keep-Alive", b"timeout=5"), (b"Connection", b"keep-alive"),
                                   (b"Upgrade", b"h2c"), (b"Proxy-Connection", b"close")], 5, []),
    "the end of the connection": ([(b"Connection", b"Close, X-A"), (b"X-A", b"1"), (b"X-B", b"1")],
                                  5, [(b"X-B", b"1"), (b"Connection", b"close")]),
    "a length that Connection names": ([(b"Connection", b"content-length"), (LENGTH, b"5")], None,
                                       [(LENGTH, b"5")]),
}  # fmt: skip


@pytest.mark.parametrize(("fields", "length", "written"), ANSWERS.values(), ids=ANSWERS)
def test_an_answer_says_once_and_rightly_where_it_ends(fields, length, written):
    assert answer_fields(fields, length, bodiless=False) == written


def test_an_answer_without_a_body_is_in_no_coding():
    assert answer_fields([CODING, (LENGTH, b"5")], None, bodiless=True) == [(LENGTH, b"5")]


@pytest.mark.parametrize(
    "fields",
    [
        [(LENGTH, b"5"), (LENGTH, b"5")],
        [(LENGTH, b"5, 5")],
        [(LENGTH, b"-1")],
        [(b"Transfer-Encoding", b"gzip, chunked")],
        [CODING, CODING],
    ],
)
def test_an_answer_of_which_nobody_knows_the_end_is_not_written(fields):
    with pytest.raises(ValueError, match=r"Content-Length|Transfer-Encoding"):
        answer_fields(fields, None, bodiless=False)


def test_a_length_is_right_if_it_is_that_of_the_body_or_a_number_at_least():
    for headers, length, kept in [
        ([(b"Content-Length", b"3")], 3, True),
        ([(b"Content-Length", b"3")], None, True),
        ([(b"content-length", b"3")], 4, False),
        ([(b"Content-Length", b"+3")], 3, False),
    ]:
        fields = answer_fields(headers, length, bodiless=False)
        assert (fields == headers) == kept
    with pytest.raises(ValueError, match=r"Content-Length b'\+3'"):
        answer_fields([(b"Content-Length", b"+3")], None, bodiless=False)
