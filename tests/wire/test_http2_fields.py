"""From the fields of HTTP/2 to those of HTTP/1, and back."""

import pytest

from rolo.wire.http2 import answer_fields, request_fields

PSEUDO = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"a"), (b":path", b"/")]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([], [(b"host", b"a")]),
        ([(b"x", b"1"), (b"x", b"2")], [(b"host", b"a"), (b"x", b"1"), (b"x", b"2")]),
        ([(b"host", b"b")], [(b"host", b"a")]),
        ([(b"cookie", b"c=1")], [(b"host", b"a"), (b"cookie", b"c=1")]),
        (
            [(b"cookie", b"c=1"), (b"x", b"1"), (b"cookie", b"d=2")],
            [(b"host", b"a"), (b"x", b"1"), (b"cookie", b"c=1; d=2")],
        ),
    ],
)
def test_the_authority_becomes_host_and_crumbs_one_cookie(fields, expected):
    pseudo, headers = request_fields([*PSEUDO, *fields])
    assert (pseudo, headers) == (dict(PSEUDO), expected)


def test_a_host_stays_where_there_is_no_authority():
    fields = [(b":method", b"GET"), (b":path", b"/"), (b"host", b"b")]
    assert request_fields(fields)[1] == [(b"host", b"b")]


def test_an_answer_has_a_status_names_in_lower_case_and_nothing_of_a_connection():
    headers = [
        (b"X-A", b"1"),
        (b"x-a", b"2"),
        (b"Connection", b"close"),
        (b"Keep-Alive", b"x"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Upgrade", b"h3"),
        (b"Proxy-Connection", b"x"),
    ]
    assert answer_fields(204, headers) == [(b":status", b"204"), (b"x-a", b"1"), (b"x-a", b"2")]
