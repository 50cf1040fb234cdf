"""What different readers read differently: refused, or forwarded as exactly one request."""

import contextlib
import pathlib
import re
import selectors
import socket

import pytest
from choosing import OWN_HTTP
from fidelity import DEADLINE, OK, answering, request
from malformed import MALFORMED, ODD

pytest_plugins = ["fidelity_fixtures"]

DOCS = pathlib.Path(__file__).parents[2] / "docs"
BODY = b"3\r\nabc\r\n0\r\n\r\n"


@pytest.fixture(autouse=True)
def no_thread_is_left():
    """The threads of the module's proxies are looked after by their farm."""


@pytest.fixture
def origin(farm):
    """The one behind all proxies of this module, as good as new."""
    farm.origin.reset()
    return farm.origin


class Outcome:
    """What became of one request, and of the one that was sent right behind it."""

    def __init__(self, number):
        # An exchange that another request began may still arrive at the origin.
        self.mark = b"-%d-" % number
        self.received = b""
        self.ended = False
        self.exchanges = []

    @property
    def statuses(self):
        return [int(status) for status in re.findall(rb"HTTP/1\.\d (\d\d\d)", self.received)]

    @property
    def refused(self):
        """What is no HTTP/1 may be answered without a head."""
        return (
            self.ended
            and len(self.statuses) <= 1
            and set(self.statuses) <= {400, 431, 501, 505}
            and not any(exchange.whole.is_set() for exchange in self.exchanges)
        )


def outcomes(proxied, requests):
    """Send all ``requests`` at once, each on a connection of its own, and wait for their ends."""
    found = {name: Outcome(number) for number, name in enumerate(requests)}
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as waiting:
        for name, outcome in found.items():
            wire = stack.enter_context(proxied.wire())
            after = request("GET /smuggledMARK", "X-Smuggled: yes", "Connection: close")
            with contextlib.suppress(ConnectionError):
                wire.send((requests[name] + after).replace(b"MARK", outcome.mark))
                if proxied.server == "werkzeug":
                    # It reads on, however long, so that its answer is not lost.
                    wire.socket.shutdown(socket.SHUT_WR)
            waiting.register(wire.socket, selectors.EVENT_READ, outcome)
        while waiting.get_map() and (ready := waiting.select(DEADLINE)):
            for key, _ in ready:
                data = b""
                with contextlib.suppress(ConnectionError):
                    data = key.fileobj.recv(65536)
                key.data.received += data
                if not data:
                    key.data.ended = True
                    waiting.unregister(key.fileobj)
    for outcome in found.values():
        outcome.exchanges = [e for e in proxied.origin.exchanges if outcome.mark in e.raw_head]
    return found


def test_what_is_malformed_is_refused_or_forwarded_as_the_one_request_that_the_docs_say(proxied):
    found = outcomes(proxied, {**MALFORMED, **ODD})
    forgiven = {name for name, outcome in found.items() if not outcome.refused}
    assert forgiven - set(ODD) == forgiven_in_the_docs(proxied.server)
    for name in forgiven:
        assert_one_reading(name, found[name])


def forgiven_in_the_docs(server):
    text = (DOCS / "http-support.md").read_text()
    section = text.partition("\n## What the servers forgive\n")[2].partition("\n## ")[0]
    assert section.strip().startswith(f"Of {len(MALFORMED)} malformed or ambiguous requests")
    lines = [line for line in section.splitlines() if line.startswith("|")]
    head, _, *rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]
    assert {row[0] for row in rows} <= set(MALFORMED)
    if server in OWN_HTTP:
        return set()
    return {row[0] for row in rows if row[head.index(server)] == "forgiven"}


def assert_one_reading(name, outcome):
    """The origin got the outer request once, and the second one only as the second."""
    outer = [each for each in outcome.exchanges if each.target.startswith("/outer")]
    assert len(outer) == 1, name
    assert len(outcome.exchanges) <= 2, name
    for exchange in outcome.exchanges:
        assert_well_formed(name, exchange)
    assert outer[0].get("x-smuggled") is None, name
    assert outer[0].body == (b"abc" if b"abc" in {**MALFORMED, **ODD}[name] else b""), name


def assert_well_formed(name, exchange):
    lines = exchange.raw_head[:-4].split(b"\r\n")
    assert re.fullmatch(rb"[!-~]+ [!-\xff]+ HTTP/1\.1", lines[0]), name
    for line in lines[1:]:
        assert re.fullmatch(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+: [\t -~\x80-\xff]*", line), name
    lengths, codings = exchange.all("content-length"), exchange.all("transfer-encoding")
    assert len(exchange.all("host")) == 1, name
    assert len(lengths) + len(codings) <= 1, name
    assert set(codings) <= {"chunked"}, name
    assert all(length.isdigit() for length in lengths), name


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
            wire.send(MALFORMED["two Hosts"] + request("GET /after") * 3)
        if proxied.server == "werkzeug":
            assert wire.head().status == 400
        else:
            assert wire.read_rest().count(b"HTTP/1.") == 1
    assert [each for each in proxied.origin.exchanges if each.target == "/after"] == []
