"""What comes before an answer (100, 103 and their kin), and answers that come early."""

import contextlib
import queue
import threading
import time

import pytest
from fidelity import DEADLINE, OK, request
from wire import chunked

from rolo.serving import SERVERS

pytest_plugins = ["fidelity_fixtures"]

EXPECT = "Expect: 100-continue"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.fixture(autouse=True)
def no_thread_is_left():
    """The threads of the module's proxies are looked after by their farm."""


@pytest.fixture
def origin(farm):
    """The one behind all proxies of this module, as good as new."""
    farm.origin.reset()
    return farm.origin


# --- Expect: 100-continue ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "body"),
    [
        pytest.param("Content-Length: 5", b"hello", id="a length"),
        pytest.param("Transfer-Encoding: chunked", chunked(b"hello"), id="chunks"),
    ],
)
def test_the_body_is_asked_for_when_the_origin_asks_for_it(proxied, origin, field, body):
    asked, may_ask = threading.Event(), threading.Event()

    def script(exchange):
        asked.set()
        assert may_ask.wait(DEADLINE)
        exchange.send(CONTINUE)
        exchange.read_body()
        exchange.send(OK)

    origin.script = script
    with proxied.wire() as wire:
        wire.send(request("PUT /", field, EXPECT))
        assert asked.wait(DEADLINE)
        assert origin.last.get("expect") == "100-continue"
        wire.socket.settimeout(0.1)
        with pytest.raises(TimeoutError):
            wire.read_more()  # nobody has said that the body is wanted
        wire.socket.settimeout(DEADLINE)
        may_ask.set()
        assert wire.head().status == 100
        wire.send(body)
        answer = wire.head()
        assert (answer.status, wire.body(answer)) == (200, b"ok")
    assert origin.last.body == b"hello"


@pytest.mark.all_variations_on("werkzeug")
@pytest.mark.parametrize("status", [401, 413, 417])
@pytest.mark.parametrize("ending", ["keeps the connection", "closes"])
def test_an_origin_that_refuses_is_heard_before_the_body_is_sent(proxied, origin, status, ending):
    heard = queue.Queue()

    def script(exchange):
        exchange.send(b"HTTP/1.1 %d No\r\nContent-Length: 2\r\n\r\nno" % status)
        heard.put(b"" if ending == "closes" else exchange.until_gone())
        return False

    origin.script = script
    with proxied.wire() as wire:
        wire.send(request("POST /", "Content-Length: 1000000", EXPECT))
        answer = wire.head()
        assert (answer.status, wire.body(answer)) == (status, b"no")
        # The client may now send the body or another request: nobody could tell which.
        assert answer.get("connection") == "close"
        assert wire.read_rest() == b""
    assert heard.get(timeout=5) == b""
    origin.answer(OK)
    assert proxied.exchange("GET /").status == 200


def test_an_origin_that_knows_nothing_of_expect_gets_the_body_after_a_while(proxied, origin):
    began = time.monotonic()
    with proxied.wire() as wire:
        wire.send(request("POST /", "Content-Length: 5", EXPECT))
        assert wire.head().status == 100
        wire.send(b"hello")
        assert wire.answer().body == b"ok"
    assert origin.last.body == b"hello"
    assert 0.5 < time.monotonic() - began < DEADLINE


def test_a_client_need_not_wait(proxied, origin):
    def script(exchange):
        exchange.send(CONTINUE)
        exchange.read_body()
        exchange.send(OK)

    origin.script = script
    with proxied.wire() as wire:
        wire.send(request("POST /", "Content-Length: 5", EXPECT) + b"hello")
        assert wire.answer().body == b"ok"
    assert origin.last.body == b"hello"


def test_expect_of_an_old_client_is_ignored(proxied, origin):
    with proxied.wire() as wire:
        wire.send(f"POST / HTTP/1.0\r\nHost: x\r\nContent-Length: 5\r\n{EXPECT}\r\n\r\n".encode())
        wire.send(b"hello")
        assert wire.head().status == 200
    assert origin.last.get("expect") is None
    assert origin.last.body == b"hello"


def test_expect_without_a_body_asks_for_nothing(proxied, origin):
    with proxied.wire() as wire:
        wire.send(request("GET /", EXPECT))
        assert wire.head().status == 200


# --- 1xx --------------------------------------------------------------------------------

HINTS = (
    b"HTTP/1.1 102 Processing\r\n\r\n"
    b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nLink: </b.js>\r\n"
    b"Connection: X-Hop\r\nX-Hop: 1\r\nX-Stays: 1\r\n\r\n"
    b"HTTP/1.1 103 Early Hints\r\nLink: </c.png>\r\n\r\n"
)


@pytest.mark.all_variations_on(*SERVERS)
@pytest.mark.parametrize("early", [True, False], ids=["ahead of the answer", "with the answer"])
def test_interim_answers_pass_or_are_dropped_and_are_never_the_answer(proxied, origin, early):
    go_on = threading.Event()

    def script(exchange):
        exchange.send(HINTS if early else HINTS + OK)
        if early:
            assert go_on.wait(DEADLINE)
            exchange.send(OK)

    origin.script = script
    with proxied.wire() as wire:
        try:
            wire.send(request("GET /"))
            if not proxied.cannot("interim answers"):
                hints = [wire.head() for _ in range(3)]
                assert [hint.status for hint in hints] == [102, 103, 103]
                assert hints[1].all("link") == ["</a.css>; rel=preload", "</b.js>"]
                assert hints[1].get("x-stays") == "1"
                assert hints[1].get("x-hop") is None
        finally:
            go_on.set()
        answer = wire.head()
        assert (answer.status, wire.body(answer)) == (200, b"ok")
        assert answer.get("link") is None
        if not proxied.cannot("keep-alive"):
            wire.send(request("GET /"))
            assert wire.answer().body == b"ok"


def test_an_old_client_gets_no_interim_answers(proxied, origin):
    origin.answer(HINTS + OK)
    with proxied.wire() as wire:
        wire.send(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")
        assert wire.head().status == 200


def test_an_unasked_100_is_passed_over(proxied, origin):
    origin.answer(CONTINUE + CONTINUE + OK)
    with proxied.wire() as wire:
        wire.send(request("GET /"))
        assert wire.head().status == 200


def test_interim_answers_without_end_are_cut(proxied, origin):
    def script(exchange):
        with contextlib.suppress(OSError):
            while True:
                exchange.send(b"HTTP/1.1 103 Early Hints\r\nX-Long: %b\r\n\r\n" % (b"x" * 1000))
        return False

    origin.script = script
    with proxied.wire() as wire:
        wire.send(request("GET /"))
        status = 103
        while status == 103:
            status = wire.head().status
        assert status == 502


# --- early answers ----------------------------------------------------------------------


@pytest.mark.all_variations_on("werkzeug")
@pytest.mark.parametrize("ending", ["keeps the connection", "closes"])
@pytest.mark.parametrize("field", ["Content-Length: 100000000", "Transfer-Encoding: chunked"])
def test_an_early_answer_reaches_the_client_in_the_middle_of_its_upload(
    proxied, origin, field, ending
):
    answered, done = threading.Event(), threading.Event()

    def script(exchange):
        exchange.read_exactly(1)
        exchange.send(b"HTTP/1.1 413 Too Much\r\nContent-Length: 5\r\n\r\nstop!")
        answered.set()
        if ending == "keeps the connection":
            done.wait(DEADLINE)
        return False

    origin.script = script
    with proxied.wire() as wire:
        try:
            wire.send(request("POST /", field))
            piece = b"1000\r\n" + b"x" * 4096 + b"\r\n" if "chunked" in field else b"x" * 4096
            wire.send(piece)
            if proxied.cannot("answers between two pieces of an upload"):
                assert answered.wait(DEADLINE)
                wire.send(piece)
            answer = wire.head()
            assert (answer.status, wire.body(answer)) == (413, b"stop!")
        finally:
            done.set()
    origin.answer(OK)
    assert proxied.exchange("GET /").body == b"ok"


def test_an_early_answer_does_not_end_an_upload_that_goes_on(proxied, origin):
    """A 200 may begin before the request has ended: an echo."""
    answered = threading.Event()

    def script(exchange):
        exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while piece := exchange.chunk():
            exchange.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            exchange.body += piece
        exchange.read_until(b"\r\n")
        exchange.send(b"0\r\n\r\n")
        answered.set()

    origin.script = script
    with proxied.wire() as wire:
        wire.send(request("POST /", "Transfer-Encoding: chunked"))
        if proxied.cannot("both directions at once"):
            # The answer waits for the request, and is whole.
            wire.send(chunked(b"one", b"two"))
            assert wire.answer().body == b"onetwo"
            return
        wire.send(b"3\r\none\r\n")
        answer = wire.head()
        assert wire.piece(answer) == b"one"
        wire.send(b"3\r\ntwo\r\n")
        assert wire.piece(answer) == b"two"
        wire.send(b"0\r\n\r\n")
        assert wire.chunk() == b""
        assert answered.wait(DEADLINE)
