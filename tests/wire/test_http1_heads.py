"""Reading and writing HTTP/1.1 heads, and what has to be refused (RFC 9112)."""

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolo import errors
from rolo.wire import http1
from rolo.wire.http1 import (
    Framing,
    HeadLimits,
    encode_request_head,
    encode_response_head,
    find_head_end,
    parse_request_head,
    parse_response_head,
)


def request_block(*fields: bytes, line: bytes = b"GET / HTTP/1.1", host: bool = True) -> bytes:
    lines = [line, *([b"Host: a"] if host else []), *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def response_block(*fields: bytes, line: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"\r\n".join([line, *fields]) + b"\r\n\r\n"


REFUSED = [
    ("length beside chunked", (b"Content-Length: 3", b"Transfer-Encoding: chunked"), 400),
    ("chunked beside length", (b"Transfer-Encoding: chunked", b"Content-Length: 3"), 400),
    ("two lengths that differ", (b"Content-Length: 3", b"Content-Length: 4"), 400),
    ("two lengths that agree", (b"Content-Length: 3", b"Content-Length: 3"), 400),
    ("a list of equal lengths", (b"Content-Length: 3, 3",), 400),
    ("length with a plus", (b"Content-Length: +3",), 400),
    ("length with a minus", (b"Content-Length: -3",), 400),
    ("hexadecimal length", (b"Content-Length: 0x3",), 400),
    ("length with an underscore", (b"Content-Length: 1_0",), 400),
    ("empty length", (b"Content-Length:",), 400),
    ("length beyond 63 bits", (b"Content-Length: 9223372036854775808",), 400),
    ("length of a thousand digits", (b"Content-Length: " + b"1" * 1000,), 400),
    ("unknown coding", (b"Transfer-Encoding: xchunked",), 501),
    ("gzip before chunked", (b"Transfer-Encoding: gzip, chunked",), 501),
    ("identity", (b"Transfer-Encoding: identity",), 501),
    ("chunked before another", (b"Transfer-Encoding: chunked, gzip",), 400),
    ("chunked twice", (b"Transfer-Encoding: chunked, chunked",), 400),
    (
        "chunked on two lines",
        (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
        400,
    ),
    ("chunked with a parameter", (b"Transfer-Encoding: chunked;a=b",), 501),
    ("quoted chunked", (b'Transfer-Encoding: "chunked"',), 400),
    ("empty coding", (b"Transfer-Encoding:",), 400),
    ("chunked and an empty element", (b"Transfer-Encoding: chunked,",), 400),
    ("vertical tab before chunked", (b"Transfer-Encoding: \x0bchunked",), 400),
    ("space before the colon", (b"Transfer-Encoding : chunked",), 400),
    ("tab before the colon", (b"Content-Length\t: 3",), 400),
    ("folded line", (b"X: a", b" b"), 400),
    ("folded line with a tab", (b"Transfer-Encoding:", b"\tchunked"), 400),
    ("bare line feed as line end", (b"X: a\nTransfer-Encoding: chunked",), 400),
    ("bare carriage return in a value", (b"X: a\rTransfer-Encoding: chunked",), 400),
    ("carriage return before the line end", (b"X: a\r",), 400),
    ("NUL in a value", (b"X: a\0b",), 400),
    ("delete in a value", (b"X: a\x7fb",), 400),
    ("NUL in a name", (b"X\0: a",), 400),
    ("non-ASCII in a name", (b"X\xff: a",), 400),
    ("empty name", (b": a",), 400),
    ("no colon", (b"abc",), 400),
    ("space in a name", (b"X Y: a",), 400),
    ("leading space in front of the first field", (b" X: a",), 400),
    ("two Hosts", (b"Host: b",), 400),
]


@pytest.mark.parametrize(
    ("fields", "status"), [c[1:] for c in REFUSED], ids=[c[0] for c in REFUSED]
)
def test_ambiguous_or_malformed_fields_of_a_request_are_refused(fields, status):
    with pytest.raises(errors.DownstreamError) as caught:
        parse_request_head(request_block(*fields))
    assert caught.value.status == status


@pytest.mark.parametrize(
    "fields",
    [c[1] for c in REFUSED if c[0] != "two Hosts"],
    ids=[c[0] for c in REFUSED if c[0] != "two Hosts"],
)
def test_ambiguous_or_malformed_fields_of_an_answer_are_refused(fields):
    with pytest.raises(errors.BadResponse):
        parse_response_head(response_block(*fields), "GET")


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET  / HTTP/1.1", 400),
        (b"GET / HTTP/1.1 ", 400),
        (b" GET / HTTP/1.1", 400),
        (b"GET /", 400),
        (b"GET / a HTTP/1.1", 400),
        (b"GET /\t HTTP/1.1", 400),
        (b"GET /\0 HTTP/1.1", 400),
        (b"G(T / HTTP/1.1", 400),
        (b"GET / http/1.1", 400),
        (b"GET / HTTP/1.10", 400),
        (b"GET / HTTP/2.0", 505),
        (b"GET / HTTP/1.2", 505),
        (b"", 400),
    ],
)
def test_malformed_request_lines_are_refused(line, status):
    with pytest.raises(errors.DownstreamError) as caught:
        parse_request_head(request_block(line=line))
    assert caught.value.status == status


@pytest.mark.parametrize(
    "line",
    [b"HTTP/1.1 20 OK", b"HTTP/1.1 099 no", b"HTTP/2 200 OK", b"HTTP/1.1  200 OK", b"ICY 200 OK",
     b"HTTP/1.1 200 O\0K", b"HTTP/1.1 200OK", b"\r\nHTTP/1.1 200 OK"],
)  # fmt: skip
def test_malformed_status_lines_are_refused(line):
    with pytest.raises(errors.BadResponse):
        parse_response_head(response_block(line=line), "GET")


@pytest.mark.parametrize(
    "host", [b"a b", b"a/b", b"a@b", b"a:b", b"a:123456", b"[::1", b"a\\b", b"a?b"]
)
def test_a_host_that_cannot_be_believed_is_refused(host):
    with pytest.raises(errors.BadRequest):
        parse_request_head(request_block(b"Host: " + host, host=False))


@pytest.mark.parametrize("host", [b"a", b"a.b-c_d:80", b"[::1]:8080", b"127.0.0.1", b"", b"a:"])
def test_sane_hosts_pass(host):
    parsed = parse_request_head(request_block(b"hOST:  " + host + b" ", host=False))
    assert parsed.headers == [(b"hOST", host)]


def test_host_is_required_by_http_1_1_only():
    with pytest.raises(errors.BadRequest):
        parse_request_head(request_block(host=False))
    assert parse_request_head(b"GET / HTTP/1.0\r\n\r\n").version == "1.0"


def test_a_request_head_comes_out_as_it_was_written():
    block = (
        b"PuT /a%2Fb//../c;x?&q=+ HTTP/1.1\r\nhost: x\r\nX-A:1\r\nx-a:\t 2 \t\r\n"
        b"Empty:\r\nBlank:   \r\nNon-Ascii: \xe4\xff\r\nUnder_Score: a  b\r\n\r\n"
    )
    parsed = parse_request_head(block)
    assert parsed.method == "PuT"
    assert parsed.target == b"/a%2Fb//../c;x?&q=+"
    assert parsed.headers == [
        (b"host", b"x"),
        (b"X-A", b"1"),
        (b"x-a", b"2"),
        (b"Empty", b""),
        (b"Blank", b""),
        (b"Non-Ascii", b"\xe4\xff"),
        (b"Under_Score", b"a  b"),
    ]
    assert (parsed.framing, parsed.length, parsed.keep_alive) == (Framing.NONE, None, True)


def test_one_empty_line_in_front_of_a_request_is_forgiven_and_no_more():
    assert parse_request_head(b"\r\n" + request_block()).target == b"/"
    with pytest.raises(errors.BadRequest):
        parse_request_head(b"\r\n\r\n" + request_block())


@pytest.mark.parametrize(
    ("fields", "framing", "length"),
    [
        ((b"Content-Length: 0",), Framing.LENGTH, 0),
        ((b"content-LENGTH:007",), Framing.LENGTH, 7),
        ((b"Transfer-Encoding: ChunKed",), Framing.CHUNKED, None),
        ((b"Transfer-Encoding:chunked \t",), Framing.CHUNKED, None),
        ((b"X-Content-Length: 3",), Framing.NONE, None),
    ],
)
def test_framing_of_requests(fields, framing, length):
    parsed = parse_request_head(request_block(*fields))
    assert (parsed.framing, parsed.length) == (framing, length)


def test_transfer_encoding_in_http_1_0_is_refused():
    fields = (b"Transfer-Encoding: chunked",)
    with pytest.raises(errors.BadRequest):
        parse_request_head(request_block(*fields, line=b"POST / HTTP/1.0"))
    with pytest.raises(errors.BadResponse):
        parse_response_head(response_block(*fields, line=b"HTTP/1.0 200 OK"), "GET")


@pytest.mark.parametrize(
    ("version", "connection", "kept"),
    [
        (b"1.1", (), True),
        (b"1.1", (b"Connection: close",), False),
        (b"1.1", (b"Connection: x, CLOSE",), False),
        (b"1.1", (b"Connection: keep-alive", b"connection: close"), False),
        (b"1.0", (), False),
        (b"1.0", (b"Connection: Keep-Alive",), True),
        (b"1.0", (b"Connection: keep-alive, close",), False),
    ],
)
def test_connection_persistence(version, connection, kept):
    request = request_block(*connection, line=b"GET / HTTP/" + version)
    assert parse_request_head(request).keep_alive is kept
    answer = response_block(b"Content-Length: 0", *connection, line=b"HTTP/" + version + b" 200 OK")
    assert parse_response_head(answer, "GET").keep_alive is kept


def test_upgrade_counts_only_if_connection_names_it():
    upgrade = b"Upgrade: WebSocket"
    assert parse_request_head(request_block(upgrade)).upgrade is None
    named = parse_request_head(request_block(upgrade, b"Connection: keep-alive, UPGRADE"))
    assert named.upgrade == b"websocket"
    old = request_block(upgrade, b"Connection: upgrade", line=b"GET / HTTP/1.0")
    assert parse_request_head(old).upgrade is None


def test_expectation_of_100_continue():
    fields = (b"Expect: 100-Continue", b"Content-Length: 1")
    assert parse_request_head(request_block(*fields)).expect_continue
    assert not parse_request_head(request_block(*fields, line=b"PUT / HTTP/1.0")).expect_continue


def filled(block, size):
    """``block`` with one more field, so long that the whole has ``size`` bytes."""
    field = b"X: " + b"a" * (size - len(block) - 5) + b"\r\n"
    return block[:-2] + field + block[-2:]


@pytest.mark.parametrize(
    ("limit", "block", "error"),
    [
        ("max_head", lambda n: filled(request_block(), 200 + n), errors.HeadTooLarge),
        ("max_fields", lambda n: request_block(*[b"A:"] * (2 + n)), errors.HeadTooLarge),
        (
            "max_target",
            lambda n: request_block(line=b"GET /" + b"a" * (19 + n) + b" HTTP/1.1"),
            errors.TargetTooLong,
        ),
    ],
)
def test_a_request_head_may_be_as_large_as_the_limit_and_no_larger(limit, block, error):
    limits = HeadLimits(**{limit: {"max_head": 200, "max_fields": 3, "max_target": 20}[limit]})
    parse_request_head(block(0), limits)
    with pytest.raises(error):
        parse_request_head(block(1), limits)


@pytest.mark.parametrize(
    ("limit", "block"),
    [
        ("max_head", lambda n: filled(response_block(), 200 + n)),
        ("max_fields", lambda n: response_block(*[b"A:"] * (3 + n))),
    ],
)
def test_an_answer_may_be_as_large_as_the_limit_and_no_larger(limit, block):
    limits = HeadLimits(**{limit: {"max_head": 200, "max_fields": 3}[limit]})
    parse_response_head(block(0), "GET", limits)
    with pytest.raises(errors.BadResponse):
        parse_response_head(block(1), "GET", limits)


def test_a_length_may_have_63_bits():
    framed = parse_request_head(request_block(b"Content-Length: %d" % (2**63 - 1)))
    assert framed.length == 2**63 - 1
    for length in (b"%d" % 2**63, b"0" * 20):
        with pytest.raises(errors.BadRequest):
            parse_request_head(request_block(b"Content-Length: " + length))


@pytest.mark.parametrize(
    ("status", "method", "fields", "framing", "length", "kept"),
    [
        (200, "GET", (b"Content-Length: 3",), Framing.LENGTH, 3, True),
        (200, "GET", (b"Transfer-Encoding: chunked",), Framing.CHUNKED, None, True),
        (200, "GET", (), Framing.CLOSE, None, False),
        (200, "HEAD", (b"Content-Length: 3",), Framing.NONE, None, True),
        (200, "HEAD", (b"Transfer-Encoding: chunked",), Framing.NONE, None, True),
        (200, "HEAD", (), Framing.NONE, None, True),
        (304, "GET", (b"Content-Length: 3",), Framing.NONE, None, True),
        (204, "GET", (), Framing.NONE, None, True),
        (204, "GET", (b"Content-Length: 0",), Framing.NONE, None, True),
        (204, "GET", (b"Content-Length: 5",), Framing.NONE, None, False),
        (204, "GET", (b"Transfer-Encoding: chunked",), Framing.NONE, None, False),
        (100, "POST", (), Framing.NONE, None, True),
        (103, "GET", (b"Link: x",), Framing.NONE, None, True),
        (101, "GET", (b"Connection: upgrade",), Framing.NONE, None, False),
    ],
)
def test_framing_of_answers(status, method, fields, framing, length, kept):
    parsed = parse_response_head(response_block(*fields, line=b"HTTP/1.1 %d X" % status), method)
    assert parsed.status == status
    assert (parsed.framing, parsed.length, parsed.keep_alive) == (framing, length, kept)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"HTTP/1.1 200 ", b""),
        (b"HTTP/1.1 200", b""),
        (b"HTTP/1.1 200 Sehr sch\xf6n  ", b"Sehr sch\xf6n  "),
        (b"HTTP/1.1 299 \x4f\x4b", b"OK"),
    ],
)
def test_reason_phrases(line, reason):
    assert parse_response_head(response_block(line=line), "GET").reason == reason


@pytest.mark.parametrize("line_end", [b"\n\n", b"\n\r\n"])
def test_bare_line_feeds_end_a_head_so_that_it_can_be_refused_at_once(line_end):
    data = b"GET / HTTP/1.1\r\nHost: a" + line_end
    for size in range(len(data)):
        assert find_head_end(data[:size], max(0, size - 1)) == -1
    assert find_head_end(data, len(data) - 1) == len(data)
    with pytest.raises(errors.BadRequest):
        parse_request_head(data)


@pytest.mark.parametrize("prefix", [b"", b"\r\n"])
def test_the_end_of_a_head_is_found_byte_by_byte(prefix):
    block = prefix + request_block(b"X: y")
    data = bytearray()
    for number, byte in enumerate(block, 1):
        data.append(byte)
        assert find_head_end(data, number - 1) == (number if number == len(block) else -1)
    assert find_head_end(block + b"rest") == len(block)


# --- writing -----------------------------------------------------------------------------


def test_heads_are_written_as_given():
    assert encode_request_head("M-X", b"/a?", [(b"HOST", b"x"), (b"a", b"")]) == (
        b"M-X /a? HTTP/1.1\r\nHOST: x\r\na: \r\n\r\n"
    )
    assert encode_response_head(299, b"so \xfc", [(b"a", b"1"), (b"A", b"2")]) == (
        b"HTTP/1.1 299 so \xfc\r\na: 1\r\nA: 2\r\n\r\n"
    )


@pytest.mark.parametrize(
    "field",
    [
        (b"a", b"b\r\nEvil: 1"),
        (b"a", b"b\nEvil: 1"),
        (b"a", b"b\rEvil: 1"),
        (b"a", b"\r\n"),
        (b"a", b"b\0"),
        (b"a\r\nEvil", b"1"),
        (b"a: b", b"c"),
        (b"a ", b"c"),
        (b"", b"c"),
        (b"\xff", b"c"),
    ],
)
def test_nothing_can_be_injected_through_fields(field):
    with pytest.raises(ValueError, match=r"illegal|CR, LF or other control"):
        encode_request_head("GET", b"/", [(b"Host", b"x"), field])
    with pytest.raises(ValueError, match=r"illegal|CR, LF or other control"):
        encode_response_head(200, b"OK", [field])


@pytest.mark.parametrize(
    ("method", "target"),
    [("GE T", b"/"), ("GET\r\n", b"/"), ("", b"/"), ("G\xc4T", b"/"), ("GET", b"/ HTTP/1.1\r\nX: y"),
     ("GET", b""), ("GET", b"/\0"), ("GET", b"/a b")],
)  # fmt: skip
def test_nothing_can_be_injected_through_the_request_line(method, target):
    with pytest.raises(ValueError, match="illegal"):
        encode_request_head(method, target, [])


def test_nothing_can_be_injected_through_the_status_line():
    with pytest.raises(ValueError, match="reason"):
        encode_response_head(200, b"OK\r\nX: y", [])
    with pytest.raises(ValueError, match="illegal status"):
        encode_response_head(1000, b"OK", [])


# --- against h11 -------------------------------------------------------------------------

names = st.sampled_from(
    [b"Host", b"Content-Length", b"Transfer-Encoding", b"Connection", b"X", b"x-y", b"Expect", b" X",
     b"X ", b"Upgrade", b""]
)  # fmt: skip
values = st.one_of(
    st.sampled_from(
        [b"a", b"3", b"0", b"chunked", b"gzip, chunked", b"close", b"keep-alive", b"3, 3", b"",
         b" chunked\t", b"100-continue", b"a\rb", b"a\nb", b"\xff"]
    ),
    st.binary(max_size=8),
)  # fmt: skip
random_fields = st.lists(
    st.builds(lambda n, v, s: n + s + v, names, values, st.sampled_from([b": ", b":", b" :"])),
    max_size=5,
)
line_ends = st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n"])


@given(random_fields, line_ends, st.sampled_from([b"GET / HTTP/1.1", b"POST /a?b HTTP/1.0"]))
def test_requests_that_both_accept_mean_the_same_as_for_h11(fields, line_end, line):
    block = line_end.join([line, b"Host: a", *fields]) + b"\r\n\r\n"
    try:
        ours = parse_request_head(block)
    except errors.DownstreamError:
        return
    assert find_head_end(block) == len(block)
    theirs = h11.Connection(h11.SERVER)
    theirs.receive_data(block)
    try:
        event = theirs.next_event()
    except h11.RemoteProtocolError:
        return
    assert isinstance(event, h11.Request)
    assert event.target == ours.target
    assert event.method.decode() == ours.method
    assert [(n.lower(), v) for n, v in ours.headers] == list(event.headers)
    has_body = ours.framing is Framing.CHUNKED or bool(ours.length)
    assert isinstance(theirs.next_event(), h11.EndOfMessage) is not has_body
    if ours.expect_continue:
        # h11 says so even without a body, we too: it is the reader of the body who asks.
        assert theirs.they_are_waiting_for_100_continue or not has_body


@given(random_fields, st.sampled_from([b"GET", b"HEAD"]), st.sampled_from([200, 204, 304]))
def test_answers_that_both_accept_mean_the_same_as_for_h11(fields, method, status):
    block = b"\r\n".join([b"HTTP/1.1 %d X" % status, *fields]) + b"\r\n\r\n"
    try:
        ours = parse_response_head(block, method.decode())
    except errors.BadResponse:
        return
    theirs = h11.Connection(h11.CLIENT)
    theirs.send(h11.Request(method=method, target="/", headers=[("host", "a")]))
    theirs.send(h11.EndOfMessage())
    theirs.receive_data(block)
    try:
        event = theirs.next_event()
    except h11.RemoteProtocolError:
        return
    assert isinstance(event, h11.Response)
    assert [(n.lower(), v) for n, v in ours.headers] == list(event.headers)
    ends_now = ours.framing is Framing.NONE or ours.length == 0
    assert isinstance(theirs.next_event(), h11.EndOfMessage) is ends_now


@given(st.lists(st.tuples(st.binary(max_size=6), st.binary(max_size=12)), max_size=4))
def test_what_is_written_is_refused_or_read_back_as_it_was(fields):
    try:
        block = encode_request_head("GET", b"/", [(b"Host", b"a"), *fields])
    except ValueError:
        return
    assert find_head_end(block) == len(block)
    expected = [(b"Host", b"a"), *((n, v.strip(b" \t")) for n, v in fields)]
    try:
        assert parse_request_head(block).headers == expected
    except errors.BadRequest:
        # Written is what has one reading; a second Host, say, is refused for what it means.
        assert any(name.lower() == b"host" for name, _ in fields)


CHUNKED_AND_MORE = [
    pytest.param(b"1.1", b"Content-Length: 3\r\nTransfer-Encoding: chunked", id="beside a length"),
    pytest.param(b"1.1", b"transfer-encoding: CHUNKED\r\ncontent-length: 3, 4", id="two lengths"),
    pytest.param(b"1.0", b"Transfer-Encoding: chunked\r\nConnection: keep-alive", id="in 1.0"),
]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(("version", "fields"), CHUNKED_AND_MORE)
def test_chunks_win_where_leniency_is_asked_for(version, fields, method):
    block = b"HTTP/%b 200 OK\r\nX: y\r\n%b\r\n\r\n" % (version, fields)
    with pytest.raises(errors.BadResponse):
        parse_response_head(block, method)
    head = parse_response_head(block, method, lenient=True)
    assert head.framing is (Framing.CHUNKED if method == "GET" else Framing.NONE)
    assert head.length is None
    assert not head.keep_alive
    names = [name.lower() for name, _ in head.headers]
    assert names[0] == b"x"
    assert b"content-length" not in names


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 3\r\nContent-Length: 4",
        b"Content-Length: 3\r\nTransfer-Encoding: gzip, chunked",
        b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"Content-Length: 3\r\nTransfer-Encoding: identity",
    ],
)
def test_leniency_is_for_plain_chunks_only(fields):
    with pytest.raises(errors.BadResponse):
        parse_response_head(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % fields, "GET", lenient=True)


def test_each_byte_of_a_value_is_written_as_it_is_or_refused():
    """RFC 9110 section 5.5: all but controls, and tabs."""
    for byte in range(256):
        value = b"a%cb" % byte
        if byte == 9 or (byte >= 32 and byte != 127):
            assert b"\r\nX: %b\r\n" % value in http1.encode_response_head(200, b"", [(b"X", value)])
            http1.check_head(value, [(b"X", value)])
        else:
            for reason, headers in [(b"", [(b"X", value)]), (value, [])]:
                with pytest.raises(ValueError, match="control"):
                    http1.encode_response_head(200, reason, headers)
                with pytest.raises(ValueError, match="control"):
                    http1.check_head(reason, headers)
