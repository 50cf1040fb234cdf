"""Bodies, both ways: framing, streaming, trailers, and answers that have none."""

import contextlib
import itertools
import threading

import pytest
from fidelity import DEADLINE, OK, request
from wire import chunked

from rolo.serving import SERVERS

pytest_plugins = ["fidelity_fixtures"]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    """The threads of the module's proxies are looked after by their farm."""


@pytest.fixture
def origin(farm):
    """The one behind all proxies of this module, as good as new."""
    farm.origin.reset()
    return farm.origin


def framing(message):
    return [message.all(name) for name in ("content-length", "transfer-encoding")]


# --- requests ---------------------------------------------------------------------------

REQUESTS = {
    "none": ("", b"", [[], []], b""),
    "a length": ("Content-Length: 3", b"abc", [["3"], []], b"abc"),
    "a length of nothing": ("Content-Length: 0", b"", [["0"], []], b""),
    "chunks": ("Transfer-Encoding: chunked", chunked(b"ab", b"c"), [[], ["chunked"]], b"abc"),
    "no chunks": ("Transfer-Encoding: chunked", chunked(), [[], ["chunked"]], b""),
    "chunks, oddly written": (
        "transfer-encoding:  Chunked ",
        b'01;x="y z"\r\na\r\n0002\r\nbc\r\n000\r\n\r\n',
        [[], ["chunked"]],
        b"abc",
    ),
    "more than a buffer": ("Content-Length: 300000", b"x" * 300_000, [["300000"], []], None),
    "many chunks": (
        "Transfer-Encoding: chunked",
        chunked(*[b"y" * 1000] * 300),
        [[], ["chunked"]],
        b"y" * 300_000,
    ),
}


@pytest.mark.all_variations_on(*SERVERS)
@pytest.mark.parametrize(
    ("kind", "method"),
    list(zip(REQUESTS, itertools.cycle(["GET", "POST", "DELETE", "OPTIONS", "PURGE"]))),
)
def test_framing_and_body_of_a_request_stay_as_they_are(proxied, method, kind):
    field, raw, expected, body = REQUESTS[kind]
    fields = [field] if field else []
    assert proxied.exchange(f"{method} /", *fields, body=raw).status == 200
    last = proxied.origin.last
    assert framing(last) == expected
    assert last.body == (raw if body is None else body)


@pytest.mark.parametrize("field", ["Content-Length: 2", "Transfer-Encoding: chunked"])
def test_the_first_bytes_of_an_upload_arrive_before_the_last_are_sent(proxied, origin, field):
    arrived, pieces = threading.Event(), []

    def script(exchange):
        is_chunked = exchange.get("transfer-encoding")
        for _ in range(2):
            pieces.append(exchange.chunk() if is_chunked else exchange.read_exactly(1))
            arrived.set()
        if is_chunked:
            assert exchange.chunk() == b""
            exchange.read_until(b"\r\n")
        exchange.send(OK)

    origin.script = script
    encode = (lambda data: b"1\r\n%b\r\n" % data) if "chunked" in field else bytes
    with proxied.wire() as wire:
        wire.send(request("POST /", field))
        wire.send(encode(b"a"))
        assert arrived.wait(DEADLINE)
        wire.send(encode(b"b") + (b"0\r\n\r\n" if "chunked" in field else b""))
        assert wire.answer().body == b"ok"
    assert pieces == [b"a", b"b"]


@pytest.mark.all_variations_on(*SERVERS)
@pytest.mark.parametrize(
    "data",
    [
        request("POST /x", "Content-Length: 5") + b"hello",
        request("POST /x", "Transfer-Encoding: chunked", "X-One: 1") + chunked(b"he", b"llo"),
    ],
    ids=["a length", "chunks"],
)
def test_a_client_that_sends_byte_by_byte_is_understood(proxied, data):
    with proxied.wire() as wire:
        for i in range(len(data)):
            wire.send(data[i : i + 1])
        assert wire.answer().body == b"ok"
    assert (proxied.origin.last.target, proxied.origin.last.body) == ("/x", b"hello")


def test_trailers_of_a_request_pass_or_are_dropped(proxied):
    body = b"3\r\nabc\r\n0\r\nX-Sum: 1\r\nX-Sum: 2\r\n\r\n"
    fields = ["Transfer-Encoding: chunked", "Trailer: X-Sum"]
    assert proxied.exchange("POST /", *fields, body=body).status == 200
    last = proxied.origin.last
    assert last.body == b"abc"
    passed = [] if proxied.cannot("request trailers") else [("X-Sum", "1"), ("X-Sum", "2")]
    assert last.trailers == passed


def test_a_body_after_a_body_is_the_next_ones(proxied):
    """What is left of one request must not be taken for the next, nor lost."""
    if proxied.cannot("keep-alive"):
        pytest.skip("one request per connection")
    with proxied.wire() as wire:
        wire.send(
            request("POST /1", "Content-Length: 3")
            + b"one"
            + request("PUT /2", "Transfer-Encoding: chunked")
            + chunked(b"two")
            + request("GET /3")
        )
        for _ in range(3):
            assert wire.answer().body == b"ok"
    seen = [(each.line, each.body) for each in proxied.origin.exchanges]
    assert seen == [
        ("POST /1 HTTP/1.1", b"one"),
        ("PUT /2 HTTP/1.1", b"two"),
        ("GET /3 HTTP/1.1", b""),
    ]


def test_a_client_of_http_1_0_is_served(proxied):
    with proxied.wire() as wire:
        wire.send(b"POST /x HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc")
        answer = wire.head()
        assert wire.body(answer) == b"ok"
        assert wire.read_rest() == b""
    last = proxied.origin.last
    assert (last.line, last.body) == ("POST /x HTTP/1.1", b"abc")
    assert last.get("host") == proxied.origin.host


# --- answers ----------------------------------------------------------------------------

ANSWERS = {
    "a length": (b"Content-Length: 5\r\n\r\nhello", [["5"], []], b"hello"),
    "a length of nothing": (b"Content-Length: 0\r\n\r\n", [["0"], []], b""),
    "chunks": (b"Transfer-Encoding: chunked\r\n\r\n" + chunked(b"he", b"llo"), None, b"hello"),
    "no chunks": (b"Transfer-Encoding: chunked\r\n\r\n" + chunked(), None, b""),
    "until the end": (b"\r\nhello", None, b"hello"),
    "more than a buffer": (
        b"Content-Length: 1000000\r\n\r\n" + b"x" * 1_000_000,
        [["1000000"], []],
        b"x" * 1_000_000,
    ),
    "many chunks": (
        b"Transfer-Encoding: chunked\r\n\r\n" + chunked(*[b"y" * 997] * 1000),
        None,
        b"y" * 997_000,
    ),
}


@pytest.mark.all_variations_on(*SERVERS)
@pytest.mark.parametrize("kind", ANSWERS)
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_framing_and_body_of_an_answer_stay_as_they_are(proxied, origin, kind, version):
    raw, expected, body = ANSWERS[kind]
    if version == "1.0" and b"Transfer-Encoding" in raw:
        raw, expected = b"\r\n" + body, None
    close = version == "1.0" or kind == "until the end"
    origin.answer(f"HTTP/{version} 200 OK\r\n".encode() + raw, close=close)
    answer = proxied.exchange("GET /")
    assert framing(answer) == (expected or [[], ["chunked"]])
    assert answer.body == body


@pytest.mark.all_variations_on(*SERVERS)
@pytest.mark.parametrize("kind", ANSWERS)
def test_a_client_of_http_1_0_gets_any_body(proxied, origin, kind):
    raw, _, body = ANSWERS[kind]
    origin.answer(b"HTTP/1.1 200 OK\r\n" + raw, close=kind == "until the end")
    with proxied.wire() as wire:
        wire.send(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")
        answer = wire.head()
        assert answer.all("transfer-encoding") == []
        assert wire.read_rest() == body


def test_an_origin_that_sends_byte_by_byte_is_understood(proxied, origin):
    data = b"HTTP/1.1 200 OK\r\nX-One: 1\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"hello")

    def script(exchange):
        for i in range(len(data)):
            exchange.send(data[i : i + 1])

    origin.script = script
    answer = proxied.exchange("GET /")
    assert (answer.get("x-one"), answer.body) == ("1", b"hello")


@pytest.mark.parametrize("coding", ["gzip", "br", "x-unknown"])
def test_codings_are_left_alone(proxied, origin, coding):
    origin.answer(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: 4\r\n\r\n\x1f\x8b\0\xff"
        % coding.encode()
    )
    answer = proxied.exchange("GET /", f"Accept-Encoding: {coding}")
    assert (answer.get("content-encoding"), answer.body) == (coding, b"\x1f\x8b\0\xff")
    assert proxied.origin.last.all("accept-encoding") == [coding]


STREAMS = {
    "a length": b"HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\n",
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "until the end": b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n",
}


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_stream_arrives_piece_by_piece_its_head_before_all(proxied, origin, kind, version):
    steps = [threading.Event() for _ in range(4)]

    def script(exchange):
        exchange.send(STREAMS[kind])
        for number, step in enumerate(steps):
            assert step.wait(DEADLINE)
            if number < 3:
                event = b"data: %d\n" % number
                exchange.send(b"8\r\n%b\r\n" % event if kind == "chunks" else event)
        if kind == "chunks":
            exchange.send(b"0\r\n\r\n")
        return kind != "until the end"

    origin.script = script
    with proxied.wire() as wire, release_at_the_end(steps):
        wire.send(request("GET /").replace(b"HTTP/1.1", f"HTTP/{version}".encode()))
        answer = wire.head()
        assert answer.status == 200
        for number in range(3):
            steps[number].set()
            assert read_piece(wire, answer, 8) == b"data: %d\n" % number
        steps[3].set()
        if answer.get("transfer-encoding"):
            assert wire.chunk() == b""


@contextlib.contextmanager
def release_at_the_end(events):
    try:
        yield
    finally:
        for event in events:
            event.set()


def read_piece(wire, answer, size):
    """Read ``size`` bytes of a body, however many chunks they come in."""
    if not answer.get("transfer-encoding"):
        return wire.read_exactly(size)
    data = b""
    while len(data) < size:
        piece = wire.chunk()
        assert piece
        data += piece
    return data


@pytest.mark.all_variations_on(*SERVERS)
@pytest.mark.parametrize("wanted", [True, False], ids=["TE: trailers", "not asked for"])
@pytest.mark.parametrize("slowly", [True, False], ids=["streamed", "at once"])
def test_trailers_of_an_answer_pass_or_are_dropped(proxied, origin, wanted, slowly):
    go_on = threading.Event()

    def script(exchange):
        exchange.send(
            b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"
        )
        if slowly:
            assert go_on.wait(DEADLINE)
        exchange.send(b"0\r\nX-Sum: 1\r\nSet-Cookie: evil=1\r\nX-Sum: 2\r\n\r\n")

    origin.script = script
    fields = ["TE: trailers", "Connection: TE"] if wanted else []
    with proxied.wire() as wire, release_at_the_end([go_on]):
        wire.send(request("GET /", *fields))
        answer = wire.head()
        assert read_piece(wire, answer, 2) == b"ok"
        go_on.set()
        assert wire.chunk() == b""
        trailers = []
        while (line := wire.read_until(b"\r\n")) != b"\r\n":
            trailers.append(line)
    if proxied.cannot("response trailers") or (proxied.server == "hypercorn" and not wanted):
        assert (answer.get("trailer"), trailers) == (None, [])
    else:
        assert answer.get("trailer") == "X-Sum"
        assert [line.lower() for line in trailers] == [b"x-sum: 1\r\n", b"x-sum: 2\r\n"]


# --- answers without a body -------------------------------------------------------------

BODILESS = {
    "HEAD, a length": ("HEAD", b"200 OK\r\nContent-Length: 5\r\nETag: x\r\n", ["5"]),
    "HEAD, chunked": ("HEAD", b"200 OK\r\nTransfer-Encoding: chunked\r\nETag: x\r\n", []),
    "HEAD, nothing said": ("HEAD", b"200 OK\r\nETag: x\r\n", []),
    "204": ("GET", b"204 No Content\r\nETag: x\r\n", []),
    "204 with a length": ("DELETE", b"204 No Content\r\nETag: x\r\nContent-Length: 0\r\n", []),
    "304": ("GET", b"304 Not Modified\r\nETag: x\r\nContent-Type: a/b\r\n", []),
    "304 with a length": ("GET", b"304 Not Modified\r\nETag: x\r\nContent-Length: 5\r\n", ["5"]),
}


@pytest.mark.all_variations_on(*SERVERS)
@pytest.mark.parametrize("kind", BODILESS)
def test_answers_without_a_body_end_with_their_head(proxied, origin, kind):
    method, head, length = BODILESS[kind]
    origin.answer(b"HTTP/1.1 " + head + b"\r\n")
    if proxied.cannot("Content-Length of a 304") and kind.startswith("304"):
        length = []
    with proxied.wire() as wire:
        wire.send(request(f"{method} /"))
        answer = wire.head()
        assert str(answer.status) in head.decode()
        assert answer.get("etag") == "x"
        assert answer.all("content-length") == length
        if not (proxied.cannot("HEAD without framing") and method == "HEAD"):
            assert answer.all("transfer-encoding") == []
        if kind == "304":
            assert answer.get("content-type") == "a/b"
        if proxied.cannot("keep-alive"):
            assert wire.read_rest() == b""
            return
        origin.answer(OK)
        wire.send(request("GET /next"))
        assert wire.answer().body == b"ok"


def test_206_is_a_body_like_any_other(proxied, origin):
    origin.answer(
        b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 1-2/9\r\nContent-Length: 2\r\n\r\nok"
    )
    answer = proxied.exchange("GET /", "Range: bytes=1-2")
    assert (answer.status, answer.body) == (206, b"ok")
    assert answer.get("content-range") == "bytes 1-2/9"
    assert proxied.origin.last.get("range") == "bytes=1-2"


def test_a_204_that_is_followed_by_a_body_does_not_poison_the_connection(proxied, origin):
    origin.answer(b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok")
    for _ in range(3):
        assert proxied.exchange("GET /").status == 204
