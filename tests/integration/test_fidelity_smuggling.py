"""What different readers read differently: refused, or forwarded as exactly one request."""

import contextlib
import itertools
import re

import pytest
from fidelity import OK, answering, request

from rolo.serving import SERVERS

pytest_plugins = ["fidelity_fixtures"]

SMUGGLED = request("GET /smuggled", "X-Smuggled: yes")
marks = itertools.count()
BODY = b"3\r\nabc\r\n0\r\n\r\n"


@pytest.fixture(autouse=True)
def no_thread_is_left():
    """The threads of the module's proxies are looked after by their farm."""


@pytest.fixture
def origin(farm):
    """The one behind all proxies of this module, as good as new."""
    farm.origin.reset()
    return farm.origin


def post(*fields, body=b""):
    return request("POST /outer", *fields) + body


# What no server may let through in any reading: (bytes, statuses that refuse).
REFUSED = {
    "length and chunked": post("Content-Length: 5", "Transfer-Encoding: chunked", body=BODY),
    "chunked and length": post("Transfer-Encoding: chunked", "Content-Length: 5", body=BODY),
    "two different lengths": post("Content-Length: 3", "Content-Length: 10", body=b"abc"),
    "a length with a plus": post("Content-Length: +3", body=b"abc"),
    "a negative length": post("Content-Length: -3", body=b"abc"),
    "a hexadecimal length": post("Content-Length: 0x3", body=b"abc"),
    "a length with a blank": post("Content-Length: 3 3", body=b"abc"),
    "an empty length": post("Content-Length:", body=b"abc"),
    "an enormous length": post(f"Content-Length: {10**25}", body=b"abc"),
    "chunked with a prefix": post("Transfer-Encoding: xchunked", body=BODY),
    "gzip": post("Transfer-Encoding: gzip", body=b"abc"),
    "gzip, then chunked": post("Transfer-Encoding: gzip, chunked", body=BODY),
    "chunked, then gzip": post("Transfer-Encoding: chunked, gzip", body=BODY),
    "chunked, chunked": post("Transfer-Encoding: chunked, chunked", body=BODY),
    "chunked on two lines": post(*["Transfer-Encoding: chunked"] * 2, body=BODY),
    "chunked and identity": post(
        "Transfer-Encoding: chunked", "Transfer-Encoding: identity", body=BODY
    ),
    "identity": post("Transfer-Encoding: identity"),
    "quoted chunked": post('Transfer-Encoding: "chunked"', body=BODY),
    "chunked with a parameter": post("Transfer-Encoding: chunked;q=1", body=BODY),
    "vertical tab before chunked": post("Transfer-Encoding: \x0bchunked", body=BODY),
    "blank before the colon": post("Transfer-Encoding : chunked", body=BODY),
    "an empty coding": post("Transfer-Encoding:"),
    "chunked in HTTP/1.0": post("Transfer-Encoding: chunked", body=BODY).replace(b"/1.1", b"/1.0"),
    "NUL in a value": post("X-One: a\0b"),
    "NUL in a name": post("X-\0: a"),
    "no colon": post("X-One"),
    "an empty name": post(": a"),
    "a blank in a name": post("X One: a"),
    "two Hosts": post("Host: other.test"),
    "no Host": request("POST /outer", host=False),
    "Host with a blank": request("POST /outer", "Host: a b", host=False),
    "Host with a path": request("POST /outer", "Host: a@b/c", host=False),
    "a bad chunk size": post("Transfer-Encoding: chunked", body=b"zz\r\nabc\r\n0\r\n\r\n"),
    "a negative chunk size": post("Transfer-Encoding: chunked", body=b"-3\r\nabc\r\n0\r\n\r\n"),
    "a chunk size with 0x": post("Transfer-Encoding: chunked", body=b"0x3\r\nabc\r\n0\r\n\r\n"),
    "a chunk size with a plus": post("Transfer-Encoding: chunked", body=b"+3\r\nabc\r\n0\r\n\r\n"),
    "a chunk longer than its size": post(
        "Transfer-Encoding: chunked", body=b"3\r\nabcd\r\n0\r\n\r\n"
    ),
    "a bare LF after a chunk size": post("Transfer-Encoding: chunked", body=b"3\nabc\r\n0\r\n\r\n"),
    "a bare LF in an extension": post(
        "Transfer-Encoding: chunked", body=b"3;a\nb\r\nabc\r\n0\r\n\r\n"
    ),
    "a malformed trailer": post(
        "Transfer-Encoding: chunked", body=b"3\r\nabc\r\n0\r\nX One : 9\r\n\r\n"
    ),
    "an endless field": post("X-Long: " + "a" * 300_000),
    "very many fields": post(*(f"X-{i}: 1" for i in range(2000))),
    "HTTP/2.0": request("POST /outer").replace(b"/1.1", b"/2.0"),
    "HTTP/0.9": request("GET /outer").replace(b"/1.1", b"/0.9"),
}

# What some servers mend before anybody sees it.
MENDED = {
    ("length and chunked", "granian"),
    ("chunked and length", "granian"),
    ("no Host", "granian"),
}

# What may be read in one way only, once it is read at all.
ONE_READING = {
    "two equal lengths": post("Content-Length: 3", "Content-Length: 3", body=b"abc"),
    "a list of equal lengths": post("Content-Length: 3, 3", body=b"abc"),
    "a length with a zero in front": post("Content-Length: 03", body=b"abc"),
    "obs-fold": post("X-One: a", " b"),
    "a folded coding": post("Transfer-Encoding:", " chunked", body=BODY),
    "a blank before the first field": request("POST /outer", host=False)[:-2]
    + b" Host: proxied.test\r\n\r\n",
    "a bare LF": post(b"X-One: a\nX-Two: b"),
    "a bare CR": post(b"X-One: a\rX-Two: b"),
    "bare LFs at the end": post("X-One: a")[:-4] + b"\n\n",
    "a control in a value": post("X-One: a\x01b"),
    "a blank after a chunk size": post(
        "Transfer-Encoding: chunked", body=b"3 \r\nabc\r\n0\r\n\r\n"
    ),
    "an enormous chunk size": post(
        "Transfer-Encoding: chunked", body=b"f" * 17 + b"\r\nabc\r\n0\r\n\r\n"
    ),
    "a very long extension": post(
        "Transfer-Encoding: chunked", body=b"3;" + b"a" * 20_000 + b"\r\nabc\r\n0\r\n\r\n"
    ),
    "a length among the trailers": post(
        "Transfer-Encoding: chunked", body=b"3\r\nabc\r\n0\r\nContent-Length: 9\r\n\r\n"
    ),
    "an empty line in front": b"\r\n" + post(),
}


class Outcome:
    """What became of one vector, told from others by a mark in the targets.

    An exchange that another vector began may still arrive at the origin.
    """

    def __init__(self, proxied, data):
        self.mark = f"-{next(marks)}"
        self.proxied = proxied
        data = data.replace(b"/outer", b"/outer" + self.mark.encode())
        after = SMUGGLED.replace(b"/smuggled", b"/smuggled" + self.mark.encode())
        self.statuses, self.closed = send(proxied, data + after)
        # werkzeug reads on, however long, so that its answer is not lost.
        self.closed = self.closed or proxied.server == "werkzeug"

    @property
    def exchanges(self):
        found = self.proxied.origin.exchanges
        return [each for each in found if each.target.endswith(self.mark)]

    @property
    def completed(self):
        return [each for each in self.exchanges if each.whole.is_set()]


def send(proxied, data):
    """Send ``data``; return the statuses of the answers and whether the end followed."""
    received = b""
    with proxied.wire() as wire:
        wire.socket.settimeout(1.0)
        closed = False
        with contextlib.suppress(TimeoutError):
            try:
                wire.send(data)
                while received.count(b"HTTP/1.") < 2 and wire.read_more():
                    received, wire.buffer = received + wire.buffer, b""
                closed = received.count(b"HTTP/1.") < 2
            except (ConnectionResetError, BrokenPipeError):
                closed = True
    return [int(status) for status in re.findall(rb"HTTP/1\.\d (\d\d\d)", received)], closed


@pytest.mark.all_variations_on(*SERVERS)
@pytest.mark.parametrize("vector", REFUSED)
def test_what_is_ambiguous_is_refused_and_the_connection_closed(proxied, vector):
    outcome = Outcome(proxied, REFUSED[vector])
    if (vector, proxied.server) in MENDED:
        assert_one_reading(outcome)
        return
    assert outcome.completed == []
    assert outcome.closed
    assert len(outcome.statuses) <= 1  # what is no HTTP/1 may be answered without a head
    assert set(outcome.statuses) <= {400, 431, 501, 505}


@pytest.mark.all_variations_on(*SERVERS)
@pytest.mark.parametrize("vector", ONE_READING)
def test_what_servers_forgive_is_forwarded_as_one_well_formed_request(proxied, vector):
    assert_refused_or_one_reading(Outcome(proxied, ONE_READING[vector]))


def assert_refused_or_one_reading(outcome):
    if outcome.statuses[:1] == [200] or not outcome.closed:
        assert_one_reading(outcome)
        return
    assert set(outcome.statuses) <= {400, 431}
    assert outcome.completed == []


def assert_one_reading(outcome):
    """The origin got the outer request once, and the second one only as the second."""
    outer = [each for each in outcome.exchanges if each.target.startswith("/outer")]
    assert len(outer) == 1
    for exchange in outcome.exchanges:
        assert_well_formed(exchange)
    assert outer[0].get("x-smuggled") is None
    if outer[0].whole.is_set():
        assert b"smuggled" not in outer[0].body


def assert_well_formed(exchange):
    lines = exchange.raw_head[:-4].split(b"\r\n")
    assert re.fullmatch(rb"[!-~]+ [!-\xff]+ HTTP/1\.1", lines[0])
    for line in lines[1:]:
        assert re.fullmatch(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+: [\t -~\x80-\xff]*", line)
    lengths, codings = exchange.all("content-length"), exchange.all("transfer-encoding")
    assert len(exchange.all("host")) == 1
    assert len(lengths) + len(codings) <= 1
    assert codings in ([], ["chunked"])
    assert all(length.isdigit() for length in lengths)


def test_lone_line_feeds_and_blanks_around_a_request_line(proxied):
    for line in (
        b"GET /outer HTTP/1.1\n",
        b"GET  /outer  HTTP/1.1\r\n",
        b"GET\t/outer HTTP/1.1\r\n",
    ):
        assert_refused_or_one_reading(Outcome(proxied, line + b"Host: proxied.test\r\n\r\n"))


# --- the same for answers ---------------------------------------------------------------

BAD_ANSWERS = {
    "length and chunked": b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n" + BODY,
    "two different lengths": b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "two equal lengths": b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "a length with a plus": b"Content-Length: +3\r\n\r\nabc",
    "a negative length": b"Content-Length: -3\r\n\r\nabc",
    "unknown coding": b"Transfer-Encoding: gzip\r\n\r\nabc",
    "gzip, then chunked": b"Transfer-Encoding: gzip, chunked\r\n\r\n" + BODY,
    "chunked, chunked": b"Transfer-Encoding: chunked, chunked\r\n\r\n" + BODY,
    "blank before the colon": b"Content-Length : 3\r\n\r\nabc",
    "obs-fold": b"X-One: a\r\n b\r\nContent-Length: 3\r\n\r\nabc",
    "NUL": b"X-One: a\0\r\nContent-Length: 3\r\n\r\nabc",
    "bare CR": b"X-One: a\rX-Two: b\r\nContent-Length: 3\r\n\r\nabc",
    "bare LF": b"X-One: a\nContent-Length: 3\r\n\r\nabc",
    "no colon": b"X-One\r\nContent-Length: 3\r\n\r\nabc",
    "very many fields": b"".join(b"X-%d: 1\r\n" % i for i in range(2000)) + b"\r\n",
}


@pytest.mark.all_variations_on("werkzeug")
@pytest.mark.parametrize("vector", BAD_ANSWERS)
def test_an_ambiguous_answer_is_a_502(proxied, origin, vector):
    origin.answer(b"HTTP/1.1 200 OK\r\n" + BAD_ANSWERS[vector])
    assert proxied.exchange("GET /").status == 502
    origin.answer(OK)
    assert proxied.exchange("GET /").body == b"ok"


@pytest.mark.all_variations_on("werkzeug")
@pytest.mark.parametrize(
    "line",
    [b"HTTP/1.1 20 OK", b"HTTP/1.1 2000 OK", b"HTTP/2 200 OK", b"HTTP/1.1  200 OK", b"ICY 200 OK",
     b"HTTP/1.1 099 No", b"HTTP/1.1 200\tOK"],
)  # fmt: skip
def test_a_malformed_status_line_is_a_502(proxied, origin, line):
    origin.answer(line + b"\r\nContent-Length: 2\r\n\r\nok")
    assert proxied.exchange("GET /").status == 502


def test_bytes_after_an_answer_are_nobodys(proxied, origin):
    """An answer smuggled behind another must not reach the next client."""
    stolen = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen"
    origin.script = answering(OK + stolen)
    assert proxied.exchange("GET /").body == b"ok"
    origin.script = answering(OK)
    for _ in range(3):
        assert proxied.exchange("GET /").body == b"ok"


def test_what_an_origin_cannot_smuggle_through_chunks(proxied, origin):
    origin.answer(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;"
        + b"a" * 3000
        + b"\r\nabc\r\n0\r\nContent-Length: 9\r\nTransfer-Encoding: x\r\n\r\n"
    )
    answer = proxied.exchange("GET /", "TE: trailers", "Connection: TE")
    assert answer.body == b"abc"
    assert answer.all("content-length") == []


def test_a_pipelined_request_after_a_refusal_is_not_served(proxied):
    with proxied.wire() as wire:
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            wire.send(REFUSED["two Hosts"] + SMUGGLED.replace(b"/smuggled", b"/after") * 3)
        if proxied.server == "werkzeug":
            assert wire.head().status == 400
        else:
            assert wire.read_rest().count(b"HTTP/1.") <= 1
    assert [each for each in proxied.origin.exchanges if each.target == "/after"] == []
