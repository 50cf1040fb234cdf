"""Each fault of an answer, as it is on the wire of the native server, and what is told of it."""

import logging
import ssl
import threading

import pytest
import trustme
from faults_support import BODY, answering, whole
from wire import Truncated, Wire, fetch

from rolo import faults
from rolo.faults import Faults, faulty, raw, spoil
from rolo.faults.malformed import CHUNKS, HEADS
from rolo.gateway import Gateway
from rolo.observing import Ended
from rolo.response import Response
from rolo.serving import ServerTls, serve


def streamed():
    return Response(iter([BODY[:50], BODY[50:]]))


@pytest.fixture
def failing(start, caplog):
    """Serve BODY with a fault in it; returns the URL. What goes wrong on purpose is nothing to
    warn of."""

    def failing(*given, make=lambda: Response(BODY), **options):
        rules = Faults(seed=1)
        rules.add(*given)
        return start(rules.handler, answering(make), **options)

    yield failing
    logged = [each for each in caplog.get_records("call") if each.levelno > logging.INFO]
    assert [each for each in logged if "ValueError" not in each.getMessage()] == []


def rest_of(url, method="GET", version="1.1"):
    """Send one request; return all that comes, and whether it ended by a reset."""
    with Wire(url) as wire:
        wire.send(f"{method} / HTTP/{version}\r\nHost: x\r\n\r\n".encode())
        try:
            return wire.read_rest_strictly(), False
        except ConnectionResetError:
            return wire.buffer, True


def head_and_rest(url):
    data, was_reset = rest_of(url)
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest, was_reset


def told(seen):
    end = seen.end()
    return end.outcome, end.error


BROKEN = ("aborted", "InjectedFault")


@pytest.mark.parametrize("fault", [faults.refuse(), faults.reset()], ids=["refuse", "reset"])
def test_a_connection_is_reset_before_a_byte(failing, seen, fault):
    assert rest_of(failing(fault)) == (b"", True)
    assert told(seen) == BROKEN


def test_who_refuses_asks_nobody_for_an_answer(start):
    asked = []
    rules = Faults()
    rules.add(faults.refuse())
    url = start(rules.handler, lambda chain, context, response: asked.append(context))
    assert rest_of(url) == (b"", True)
    assert asked == []


def test_an_answer_that_is_lost_was_made_and_closed(failing):
    closed = threading.Event()

    def make():
        response = streamed()
        response.call_on_close(closed.set)
        return response

    assert rest_of(failing(faults.reset(), make=make)) == (b"", True)
    assert closed.wait(5)


def test_a_connection_is_closed_without_a_byte(failing, seen):
    assert rest_of(failing(faults.empty())) == (b"", False)
    assert told(seen) == BROKEN


@pytest.mark.parametrize("make", [lambda: Response(BODY), streamed], ids=["whole", "streamed"])
@pytest.mark.parametrize("mode", ["loop", "threads"])
def test_a_body_is_cut_and_its_framing_left_open(failing, seen, mode, make):
    head, rest, was_reset = head_and_rest(failing(faults.cut(after=30), make=make, mode=mode))
    if b"Content-Length: 100" in head:
        assert rest == BODY[:30]
    else:
        assert rest == b"1e\r\n" + BODY[:30] + b"\r\n"
    assert not was_reset
    assert told(seen) == BROKEN


def test_a_body_that_is_shorter_is_not_cut(failing, seen):
    assert fetch(failing(faults.cut(after=1000))).body == BODY
    assert told(seen) == ("complete", None)


def test_a_body_is_reset_behind_a_point(failing):
    head, rest, was_reset = head_and_rest(failing(faults.reset(after=30)))
    assert head.startswith(b"HTTP/1.1 200")
    assert (rest, was_reset) == (BODY[:30], True)


def test_a_head_is_cut(failing, seen):
    assert rest_of(failing(faults.cut(after=12, within="head"))) == (b"HTTP/1.1 200", False)
    assert told(seen) == BROKEN


@pytest.mark.parametrize(
    ("fault", "comes"),
    [
        (faults.hang(), b""),
        (faults.hang(after=12, within="head"), b"HTTP/1.1 200"),
        (faults.hang(after=5), b"\r\n\r\n01234"),
    ],
    ids=["before", "within the head", "within the body"],
)
def test_an_answer_hangs_until_the_server_stops(start, seen, fault, comes):
    rules = Faults()
    rules.add(fault)
    gateway = Gateway([rules.handler, whole])
    server = serve(gateway, server="native", observers=[seen], shutdown_timeout=30)
    with server, Wire(server.url) as wire:
        wire.request("GET", "/")
        seen.before.append(seen.next())
        data = wire.read_until(comes) if comes else b""
        server.shutdown()  # the test has less time than the server gives to exchanges
        assert wire.read_rest() == b""
    assert data.endswith(comes)
    assert told(seen) == BROKEN


def test_a_client_that_leaves_a_hanging_answer_is_one_that_left(failing, seen):
    with Wire(failing(faults.hang())) as wire:
        wire.request("GET", "/")
        seen.next()
    assert told(seen) == ("client_left", None)


def test_garbage_comes_in_the_place_of_an_answer(failing, seen):
    assert rest_of(failing(faults.garbage(data=b"\x16\x03\x01"))) == (b"\x16\x03\x01", False)
    assert told(seen) == BROKEN


def test_garbage_is_drawn_by_the_seed(failing):
    url = failing(faults.garbage(64))
    first, second = rest_of(url)[0], rest_of(url)[0]
    assert len(first) == len(second) == 64
    assert first != second
    again = failing(faults.garbage(64))
    assert [rest_of(again)[0], rest_of(again)[0]] == [first, second]


@pytest.mark.parametrize("data", [b"HTTP/1.1 200 OK\r\n\r\nhi", iter([b"HTTP", b"/9"])])
def test_raw_bytes_are_sent_as_they_are(start, seen, data):
    given = [data] if isinstance(data, bytes) else list(data)
    url = start(answering(lambda: raw(data if isinstance(data, bytes) else iter(given))))
    assert rest_of(url) == (b"".join(given), False)
    assert told(seen) == BROKEN


def test_raw_bytes_answer_a_head_too(start):
    assert rest_of(start(answering(lambda: raw(b"x"))), "HEAD") == (b"x", False)


@pytest.mark.parametrize(
    ("kind", "there"),
    [
        ("first line", b"HTTP/1.1 OK\r\n"),
        ("version", b"HTTP/9.9 200 OK\r\n"),
        ("no colon", b"\r\na line that is no field\r\n"),
        ("space before colon", b"\r\nContent-Type : text/plain"),
        ("control", b"\r\nX-Fault: a\x00b\r\n"),
        ("folded", b"\r\nX-Fault: a\r\n  b\r\n"),
        ("bare LF", b"HTTP/1.1 200 OK\nContent-Type"),
        ("bad length", b"\r\nContent-Length: many\r\n"),
        ("two lengths", b"\r\nContent-Length: 3\r\nContent-Length: 5\r\n"),
        ("length and chunks", b"\r\nTransfer-Encoding: chunked\r\n"),
    ],
)
def test_a_head_breaks_the_grammar(failing, seen, kind, there):
    with Wire(failing(faults.malformed_head(kind))) as wire:
        wire.request("GET", "/")
        assert there in wire.read_until(BODY)
    assert told(seen) == BROKEN


def test_each_kind_of_malformed_head_and_chunk_has_a_test():
    marks = [
        mark
        for test in (test_a_head_breaks_the_grammar, test_a_chunk_is_broken)
        for mark in test.pytestmark
    ]
    tried = {case[0] for mark in marks for case in mark.args[1]}
    assert tried == {*HEADS, *CHUNKS}


def test_a_head_is_too_long(failing, seen):
    answer = fetch(failing(faults.oversized_head(100_000)))
    size = sum(len(name) + len(value) + 4 for name, value in answer.headers)
    assert 100_000 < size < 100_300
    assert answer.body == BODY
    assert told(seen) == ("complete", None)


@pytest.mark.parametrize(
    ("kind", "comes"),
    [
        ("size", b"zz\r\n"),
        ("negative", b"-1\r\n"),
        ("huge", b"fffffffffffffffff\r\n"),
        ("no end", b"6\r\nbrokenXX"),
        ("short", b"ff\r\nbroken"),
        ("no last", b""),
    ],
)
def test_a_chunk_is_broken(failing, seen, kind, comes):
    after = 100 if kind == "no last" else 20
    head, rest, was_reset = head_and_rest(failing(faults.bad_chunk(kind, after=20)))
    assert b"Transfer-Encoding: chunked" in head
    assert b"Content-Length" not in head
    assert rest.startswith(b"%x\r\n%b\r\n%b" % (after, BODY[:after], comes))
    assert not rest.endswith(b"0\r\n\r\n")
    assert not was_reset
    assert told(seen) == BROKEN


@pytest.mark.parametrize("make", [lambda: Response(BODY), streamed], ids=["whole", "streamed"])
def test_a_length_is_more_than_there_is(failing, seen, make):
    with Wire(failing(faults.wrong_length(7), make=make)) as wire:
        wire.request("GET", "/")
        head = wire.head()
        assert head.get("content-length") == "107"
        assert wire.read_exactly(100) == BODY
        assert told(seen) == BROKEN
        wire.request("GET", "/")  # the server believes that all is said
        assert wire.head().status == 200


def test_a_length_is_less_than_there_is(failing):
    with Wire(failing(faults.wrong_length(-10))) as wire:
        assert wire.get("/").body == BODY[:90]
        assert wire.read_exactly(10) == BODY[90:]


def test_a_status_comes_instead(failing, seen):
    answer = fetch(failing(faults.status(503, headers={"Retry-After": "1"})))
    assert (answer.status, answer.get("retry-after")) == (503, "1")
    assert told(seen) == ("complete", None)


def test_of_several_statuses_one_is_drawn(failing):
    url = failing(faults.status(500, 502, 503))
    assert {fetch(url).status for _ in range(20)} == {500, 502, 503}


def test_what_a_handler_returns_may_be_faulty(start, seen):
    response = [faulty(Response(BODY), faults.cut(after=3))]
    assert head_and_rest(start(answering(lambda: response[0])))[1] == BODY[:3]
    assert told(seen) == BROKEN


def test_what_is_spoilt_twice_fails_both_ways(start):
    rules = Faults()
    rules.add(faults.oversized_head(2000))
    url = start(rules.handler, answering(lambda: faulty(Response(BODY), faults.cut(after=3))))
    head, rest, _ = head_and_rest(url)
    assert len(head) > 2000
    assert rest == BODY[:3]


def test_a_head_has_no_body_to_be_spoilt(failing):
    with Wire(failing(faults.wrong_length(7))) as wire:
        wire.request("HEAD", "/")
        assert wire.answer("HEAD").get("content-length") == "107"
        wire.request("HEAD", "/")
        assert wire.answer("HEAD").status == 200


def test_a_body_that_fails_by_itself_is_an_error_and_no_fault(failing, seen):
    def make():
        def pieces():
            yield BODY
            raise ValueError("its own")

        return Response(pieces())

    url = failing(faults.rate("10M/s"), make=make)
    with Wire(url) as wire:
        wire.request("GET", "/")
        with pytest.raises(Truncated):
            wire.answer()
    assert told(seen) == ("aborted", "ValueError")


@pytest.mark.parametrize(
    ("fault", "status", "sent"),
    [
        (faults.cut(after=12, within="head"), 200, 0),
        (faults.malformed_head(), 200, 100),
        (faults.wrong_length(-3), 200, 100),
        (faults.garbage(64), None, 64),
        (faults.reset(after=7), 200, 7),
        (faults.refuse(), None, 0),
    ],
    ids=repr,
)
def test_observers_are_told_how_much_was_sent(failing, seen, fault, status, sent):
    with Wire(failing(fault)) as wire:
        wire.request("GET", "/")
        end = seen.end()
    assert (end.status, end.sent) == (status, sent)


def test_observers_are_told_what_was_sent(failing, seen):
    rest_of(failing(faults.cut(after=30)))
    end = seen.end()
    assert isinstance(end, Ended)
    assert (end.status, end.sent, end.detail) == (
        200,
        30,
        "injected error in phase 'fault': cut by a fault after 30 bytes of the body",
    )


def test_connections_with_tls_break_as_others_do(start, tmp_path):
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    rules = Faults()
    rules.add(faults.reset(after=30), when="/reset")
    rules.add(faults.cut(after=30), when="/cut")
    tls = ServerTls(tmp_path / "cert.pem", tmp_path / "key.pem")
    url = start(rules.handler, whole, tls=tls)
    with Wire(url) as wire:
        wire.socket = trusting.wrap_socket(wire.socket, server_hostname="localhost")
        wire.request("GET", "/cut")
        assert wire.read_rest_strictly().endswith(b"\r\n" + BODY[:30])
    assert until_reset(trusting, url, "/reset").endswith(b"\r\n" + BODY[:30])


def until_reset(context, url, target):
    """Return what comes until TCP is reset, which ssl takes for an end like another."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with Wire(url) as wire:

        def shake_hands():
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                wire.send(outgoing.read())
                incoming.write(wire.socket.recv(65536))
                return False
            return True

        while not shake_hands():
            pass
        tls.write(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        wire.send(outgoing.read())
        with pytest.raises(ConnectionResetError):
            wire.read_rest_strictly()
        incoming.write(wire.buffer)
    return tls.read(65536) + tls.read(65536)


def test_a_handler_may_spoil_one_request(start):
    def handler(chain, context, response):
        if context.request.path == "/":
            assert spoil(context.request, faults.cut(after=3), seed=1) is None
            spoil(context.request, faults.oversized_head(2000))
        elif context.request.path == "/status":
            response.update_from(spoil(context.request, faults.status(418)))
            chain.stop()

    url = start(handler, whole)
    head, rest, _ = head_and_rest(url)
    assert len(head) > 2000
    assert rest == BODY[:3]
    assert fetch(url, "/status").status == 418
    assert fetch(url, "/other").body == BODY
