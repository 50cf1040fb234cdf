"""Fields as they were received: what is found in them once stays true."""

import pytest

from rolo.wire.http1 import parse_request_head
from rolo.wire.received import FieldsAtRest, ReceivedFields, received


def fields_of(*lines):
    block = b"GET / HTTP/1.1\r\nHost: h\r\n" + b"".join(b"%b\r\n" % line for line in lines)
    return parse_request_head(block + b"\r\n").headers


def test_what_rules_ask_for_is_found_by_names_in_lower_case():
    fields = fields_of(b"X-A: 1", b"TE: trailers", b"X-Forwarded-FOR: 1", b"x-forwarded-for: 2")
    assert fields.special == {b"host": b"h", b"te": b"trailers", b"x-forwarded-for": b"1, 2"}
    assert fields.underscored == set()


def test_names_with_underscores_are_found_apart():
    fields = fields_of(b"X_A: 1", b"Content_Length: 1", b"x_a: 2")
    assert fields.underscored == {b"x_a", b"content_length"}
    assert fields.special == {b"host": b"h"}


def test_found_or_not_does_not_depend_on_what_was_seen_before():
    for _ in range(2):
        assert set(fields_of(b"X-New: 1", b"Expect: x", b"a_b: 1").special) == {b"host", b"expect"}


@pytest.mark.parametrize(
    "line", [b"X:1", b"X:  1", b"X: 1 ", b"X:\t1", b"X: 1\t", b"X:", b"X: "], ids=repr
)
def test_lines_are_kept_only_if_we_would_write_them_so(line):
    assert fields_of(b"A: 1").lines == b"Host: h\r\nA: 1\r\n"
    assert fields_of(b"A: 1", line).lines is None


def test_what_is_left_of_lines_is_the_lines_that_are_left():
    fields = fields_of(b"A: 1", b"connection: x", b"B: 2", b"CONNECTION: y")
    left = fields.without({b"connection"})
    assert list(left) == [(b"Host", b"h"), (b"A", b"1"), (b"B", b"2")]
    assert left.lines == b"Host: h\r\nA: 1\r\nB: 2\r\n"
    assert left.special == {b"host": b"h"}
    assert ReceivedFields([(b"A", b"1"), (b"B", b"2")]).without({b"a"}).lines is None


@pytest.mark.parametrize(
    "edit",
    [
        lambda fields: fields.append((b"A", b"1")),
        lambda fields: fields.extend([]),
        lambda fields: fields.insert(0, (b"A", b"1")),
        lambda fields: fields.remove((b"Host", b"h")),
        lambda fields: fields.pop(),
        lambda fields: fields.clear(),
        lambda fields: fields.sort(),
        lambda fields: fields.reverse(),
        lambda fields: fields.__setitem__(0, (b"A", b"1")),
        lambda fields: fields.__delitem__(0),
        lambda fields: fields.__iadd__([]),
        lambda fields: fields.__imul__(2),
    ],
)
def test_nobody_edits_them(edit):
    fields = fields_of()
    with pytest.raises(TypeError, match="make a list"):
        edit(fields)
    assert list(fields) == [(b"Host", b"h")]


def test_what_is_received_already_is_not_looked_at_again():
    fields = fields_of(b"A: 1")
    assert received(fields) is fields
    assert received([(b"Host", b"h")]).lines is None


def test_fields_that_are_kept_for_long_say_the_same_as_before():
    fields = ReceivedFields([(b"Host", b"a"), (b"TE", b"x"), (b"te", b"y"), (b"x_y", b"z")], b"...")
    at_rest = FieldsAtRest(fields)
    assert at_rest == fields
    assert (at_rest.special, at_rest.underscored) == (fields.special, fields.underscored)
    assert at_rest.lines is None
    assert received(at_rest) is at_rest
