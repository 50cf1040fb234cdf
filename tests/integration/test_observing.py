"""What observers are told of what a server serves, judged against what clients see."""

import contextlib
import io
import logging
import pathlib
import re
import threading

import pytest
from looking_on import Seen, joined, kinds
from raw_origin import RawOrigin
from websocket_origin import TEXT, Client, WebSocketOrigin
from wire import Truncated, Wire, fetch

from rolo import Request, Response
from rolo.gateway import Gateway
from rolo.gateway.wsgi import WsgiGateway
from rolo.observing import (
    Answer,
    AnswerBody,
    Ended,
    Interim,
    Message,
    Observer,
    RequestBody,
    WebSocketClosed,
)
from rolo.proxy import ProxyHandler
from rolo.serving import Limits, serve

MODES = ["threads", "loop"]


@pytest.fixture
def seen():
    return Seen()


@pytest.fixture(params=MODES)
def native(request, seen):
    """Serve handlers on the native server with an observer; returns the running server."""
    with contextlib.ExitStack() as running:

        def native(*handlers, **options):
            for each in handlers:
                if isinstance(each, ProxyHandler):
                    running.callback(each.close)
            gateway = Gateway(list(handlers))
            options.setdefault("observers", [seen])
            return running.enter_context(
                serve(gateway, server="native", mode=request.param, **options)
            )

        yield native


def hello(chain, context, response):
    chain.respond(200, b"hello")


def reading(chain, context, response):
    chain.respond(200, b"%d" % len(context.request.get_data()))


def served_websocket(chain, context, response):
    if context.request.method == "WEBSOCKET":
        with context.request.accept() as ws:
            for message in ws:
                if message == "close":
                    ws.close(4000, "asked")
                    return
                ws.send(message)
    else:
        hello(chain, context, response)


# --- on every server


def test_every_server_shows_an_exchange_a_refusal_and_a_websocket(start, seen):
    server = start(served_websocket, observers=[seen], limits=Limits(max_target=200))
    assert fetch(server.url, "/x?y=1").body == b"hello"
    events = seen.exchange()
    assert kinds(events) == ["RequestStarted", "Answer", "AnswerBody", "Ended"]
    exchange, end = events[0].exchange, events[-1]
    assert (exchange.kind, exchange.head.method, exchange.line) == (
        "http",
        "GET",
        b"GET /x?y=1 HTTP/1.1",
    )
    assert exchange.client[0] == "127.0.0.1"
    assert (end.outcome, end.status, end.upstream_status, end.received, end.sent) == (
        "complete",
        200,
        None,
        0,
        5,
    )
    assert exchange.started <= end.answered <= end.at

    assert fetch(server.url, "/" + "x" * 300).status == 414
    end = seen.end()
    assert (end.outcome, end.error, end.status) == ("refused", "TargetTooLong", 414)

    with Client(server.url) as client:
        client.open()
        client.text("one")
        assert client.message() == "one"
        client.close(1000)
        client.closing()
    events = seen.exchange()
    assert kinds(events) == ["RequestStarted", "Answer", "Message", "WebSocketClosed", "Ended"]
    assert [(e.by, e.data, e.size) for e in events if isinstance(e, Message)] == [
        ("client", "one", 3),
        ("server", "one", 3),
    ]
    end = events[-1]
    assert (end.outcome, end.status, end.received, end.sent) == ("complete", 101, 3, 3)


def test_who_has_an_answer_waits_without_sleeping_for_observers_to_know_it(start, seen):
    server = start(served_websocket, observers=[seen])
    for number in range(1, 6):
        assert fetch(server.url, "/").body == b"hello"
        assert server.wait_observed()
        assert [type(event) for event in seen.queue.queue].count(Ended) == number
    with Client(server.url) as client:
        client.open()
        assert server.wait_observed()
        assert [e.status for e in seen.queue.queue if isinstance(e, Answer)][-1] == 101
        client.text("one")
        assert client.message() == "one"
        assert server.wait_observed()
        assert [e.by for e in seen.queue.queue if isinstance(e, Message)] == ["client", "server"]


def test_werkzeug_tells_when_its_observers_know(seen):
    with serve(Gateway([reading]), server="werkzeug", observers=[seen]) as server:
        assert fetch(server.url, "/up", "POST", body=b"12345").body == b"5"
        assert server.wait_observed()
        assert isinstance(seen.queue.queue[-1], Ended)
    assert server.wait_observed(timeout=0)


def test_a_server_without_observers_has_nothing_to_wait_for():
    with serve(Gateway([hello])) as server:
        assert server.wait_observed(timeout=0)


def test_werkzeug_shows_what_wsgi_does(seen):
    with serve(Gateway([reading]), server="werkzeug", observers=[seen]) as server:
        assert fetch(server.url, "/up", "POST", body=b"12345").body == b"5"
    events = seen.exchange()
    assert kinds(events) == ["RequestStarted", "RequestBody", "Answer", "AnswerBody", "Ended"]
    assert joined(events, RequestBody) == b"12345"
    assert events[0].exchange.line == b"POST /up HTTP/1.1"
    end = events[-1]
    assert (end.outcome, end.status, end.received, end.sent) == ("complete", 200, 5, 1)
    assert seen.closed


def test_wsgi_shows_refusals_failures_and_bodies_that_end_early(seen):
    def stream(chain, context, response):
        if context.request.path == "/fail":
            raise ValueError("no")
        response.response = (piece for piece in (b"a", b"b"))

    app = WsgiGateway(Gateway([stream]), observers=[seen])

    def call(method, path):
        environ = Request(method, path, body=io.BytesIO()).environ
        return app(environ, lambda status, headers: None)

    call("CONNECT", "/").close()
    b"".join(body := call("GET", "/fail"))
    body.close()
    next(body := call("GET", "/"))
    body.close()
    ends = [seen.end() for _ in range(3)]
    assert [(end.outcome, end.error) for end in ends[1:]] == [
        ("failed", "ValueError"),
        ("client_left", None),
    ]
    app.close()


# --- on the native server, point by point


def test_all_of_a_proxied_exchange_is_seen(native, seen):
    def script(origin, connection, number):
        origin.head(connection)
        connection.sendall(
            b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
            b"HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
            b"3\r\nabc\r\n3\r\ndef\r\n0\r\nX-Sum: 6\r\n\r\n"
        )
        while connection.recv(65536):
            pass

    with RawOrigin(script) as origin, Wire(native(ProxyHandler(origin.url)).url) as wire:
        wire.send(
            b"POST /up HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nConnection: TE\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Up: 1\r\n\r\n"
        )
        assert wire.head().status == 103
        assert wire.answer().body == b"abcdef"
        events = seen.exchange()
    assert {"RequestStarted", "RequestBody", "RequestTrailers"} < set(kinds(events))
    assert kinds(e for e in events if not type(e).__name__.startswith("Request")) == [
        "Interim",
        "Answer",
        "AnswerBody",
        "AnswerTrailers",
        "Ended",
    ]
    assert joined(events, RequestBody) == b"hello"
    assert joined(events, AnswerBody) == b"abcdef"
    trailers = [e.headers for e in events if type(e).__name__.endswith("Trailers")]
    assert sorted(trailers) == [[(b"X-Sum", b"6")], [(b"X-Up", b"1")]]
    assert [e.status for e in events if isinstance(e, Interim)] == [103]
    end = events[-1]
    assert (end.outcome, end.status, end.upstream_status) == ("complete", 200, 200)
    assert (end.received, end.sent) == (5, 6)


def test_large_bodies_are_seen_whole_where_they_pass(native, seen):
    size = 3_000_000

    def script(origin, connection, number):
        head = origin.head(connection)
        left = size - (len(head) - head.index(b"\r\n\r\n") - 4)
        while left:
            left -= len(connection.recv(min(left, 65536)))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"d" * size)

    seen.max_bytes = 10 * size
    with RawOrigin(script) as origin:
        answer = fetch(native(ProxyHandler(origin.url)).url, "/", "POST", body=b"u" * size)
        assert answer.body == b"d" * size
        events = seen.exchange()
    assert joined(events, RequestBody) == b"u" * size
    assert joined(events, AnswerBody) == b"d" * size
    assert (events[-1].received, events[-1].sent) == (size, size)


REFUSED = [
    (b"GET / HTTP/1.1\r\n\r\n", 400, "BadRequest", b"GET / HTTP/1.1"),
    (b"\x16\x03\x01", 400, "BadRequest", b"\x16\x03\x01"),
    (b"GET /" + b"x" * 300 + b" HTTP/1.1\r\n", 414, "TargetTooLong", b"GET /xx"),
    (b"GET / HTTP/1.1\r\nHost: h\r\nA: " + b"a" * 70_000, 431, "HeadTooLarge", b"GET / HTTP/1.1"),
    (b"GET / HTTP/2.0\r\nHost: h\r\n", 505, "HttpVersionNotSupported", b"GET / HTTP/2.0"),
    (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n", 501, "UnusableMethod", b"CONNECT a:1 HTTP/1.1"),
    (
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n",
        501,
        "UnknownTransferCoding",
        b"POST / HTTP/1.1",
    ),
    (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9999\r\n", 413, "ContentTooLarge", b"POST /"),
    (
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n" + b"x" * 2000,
        413,
        "ContentTooLarge",
        b"POST /",
    ),
    (b"GET / HTTP/1.1\r\n", 408, "RequestTimeout", b"GET / HTTP/1.1"),
    (
        b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: x\r\n",
        426,
        "UpgradeRequired",
        b"GET / HTTP/1.1",
    ),
]


def test_whatever_is_refused_is_seen(native, seen):
    limits = Limits(max_target=200, max_body=1000)
    server = native(reading, limits=limits, head_timeout=0.2)
    for request, status, error, line in REFUSED:
        with Wire(server.url) as wire:
            wire.send(request if status == 408 or b"\r\n\r\n" in request else request + b"\r\n")
            answer = wire.head()
            end = seen.end()
        assert (answer.status, end.status, end.outcome) == (status, status, "refused"), request[:99]
        assert end.error == error, request[:99]
        assert end.exchange.line.startswith(line)
        assert end.exchange.client[0] == "127.0.0.1"


def test_what_is_too_much_is_seen(native, seen):
    server = native(hello, max_connections=1)
    with Wire(server.url) as first:
        assert first.get("/").status == 200
        assert fetch(server.url).status == 503
    seen.end()
    end = seen.end()
    assert (end.outcome, end.error, end.status) == ("refused", "TooManyExchanges", 503)
    assert end.exchange.line == b""


def test_errors_have_their_names(native, seen):
    def failing(chain, context, response):
        if context.request.path == "/own":
            raise ValueError("no")

    server = native(failing, ProxyHandler("http://127.0.0.1:1"))
    assert fetch(server.url, "/own").status == 500
    end = seen.end()
    assert (end.outcome, end.error, end.status) == ("failed", "ValueError", 500)
    assert fetch(server.url).status == 502
    end = seen.end()
    assert (end.outcome, end.error, end.status) == ("failed", "ConnectError", 502)
    assert "127.0.0.1:1" in end.detail
    with Client(server.url) as client:
        assert client.answer().status == 502
    end = seen.end()
    assert (end.exchange.kind, end.outcome, end.error) == ("websocket", "failed", "ConnectError")


def test_an_answer_that_breaks_is_told_from_a_client_that_leaves(native, seen):
    def script(origin, connection, number):
        origin.head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        if number == 2:
            assert connection.recv(1) == b""

    with RawOrigin(script) as origin:
        server = native(ProxyHandler(origin.url))
        with pytest.raises(Truncated):
            fetch(server.url)
        end = seen.end()
        assert (end.outcome, end.error, end.status) == ("aborted", "BodyInterrupted", 200)
        with Wire(server.url) as wire:
            wire.request("GET", "/")
            wire.read_until(b"abc")
        end = seen.end()
        assert (end.outcome, end.error, end.status, end.sent) == ("client_left", None, 200, 3)


def test_relayed_messages_and_closes_are_seen(native, seen):
    def play(origin):
        origin.accept(("Sec-WebSocket-Protocol", "chat"))
        for _ in range(3):
            origin.text(origin.message().upper())
        origin.close(4001, "enough")
        origin.frame()

    with WebSocketOrigin(play) as origin:
        server = native(ProxyHandler(origin.url))
        with Client(server.url, headers=[("Sec-WebSocket-Protocol", "chat")]) as client:
            client.open()
            for text in ("a", "é", "c" * 1000):
                client.text(text)
                assert client.message() == text.upper()
            assert client.closing() == (4001, "enough")
        events = seen.exchange()
    answer = events[1]
    assert (answer.status, answer.headers[0]) == (101, (b"Sec-WebSocket-Protocol", b"chat"))
    messages = [(e.by, e.data, e.size) for e in events if isinstance(e, Message)]
    assert [each for each in messages if each[0] == "client"] == [
        ("client", "a", 1),
        ("client", "é", 2),
        ("client", "c" * 1000, 1000),
    ]
    assert [data for by, data, _ in messages if by == "server"] == ["A", "É", "C" * 1000]
    (closed,) = [e for e in events if isinstance(e, WebSocketClosed)]
    assert (closed.by, closed.code, closed.reason) == ("server", 4001, "enough")
    end = events[-1]
    assert (end.outcome, end.status, end.upstream_status) == ("complete", 101, 101)
    assert (end.received, end.sent) == (1003, 1003)


@pytest.mark.parametrize(
    ("act", "by", "code", "outcome"),
    [
        (lambda client: client.close(4321, "bye"), "client", 4321, "complete"),
        (lambda client: client.text("close"), "server", 4000, "complete"),
        (lambda client: client.send(TEXT, b"\xff"), "server", 1007, "complete"),
        (lambda client: client.wire.reset(), "client", 1006, "client_left"),
    ],
)
def test_who_closed_a_websocket_is_seen(native, seen, act, by, code, outcome):
    server = native(served_websocket)
    with Client(server.url) as client:
        client.open()
        act(client)
        events = seen.exchange()
    (closed,) = [e for e in events if isinstance(e, WebSocketClosed)]
    assert (closed.by, closed.code, events[-1].outcome) == (by, code, outcome)


def test_a_refused_handshake_is_an_answer(native, seen):
    def refuse(chain, context, response):
        context.request.reject(Response(b"go away", status=403))

    server = native(refuse)
    with Client(server.url) as client:
        assert client.answer().status == 403
    events = seen.exchange()
    assert kinds(events) == ["RequestStarted", "Answer", "AnswerBody", "Ended"]
    assert (events[-1].outcome, events[-1].status, events[-1].sent) == ("complete", 403, 7)


def test_the_stop_of_the_server_is_seen(native, seen):
    server = native(served_websocket)
    with Client(server.url) as client:
        client.open()
        stopping = threading.Thread(target=server.shutdown)
        stopping.start()
        assert client.closing()[0] == 1001
    stopping.join()
    events = seen.exchange()
    (closed,) = [e for e in events if isinstance(e, WebSocketClosed)]
    assert (closed.by, closed.code) == ("server", 1001)
    assert seen.closed


def test_slow_and_raising_observers_hold_nothing_up(native, seen, caplog):
    go = threading.Event()

    class Slow(Observer):
        max_events = 3

        def on_request(self, event):
            go.wait(10)

    class Raising(Observer):
        def on_request(self, event):
            raise SystemExit("no")

    server = native(hello, observers=[Slow(), Raising(), seen])
    with caplog.at_level(logging.ERROR):
        for _ in range(20):
            assert fetch(server.url).body == b"hello"
            assert seen.end().outcome == "complete"
    go.set()
    assert [r.getMessage() for r in caplog.records if "observer" in r.getMessage()] == [
        "observer Raising failed in on_request (the like is not logged again)"
    ]


def test_the_access_log_has_a_line_for_everything_at_its_end(native, caplog):
    server = native(served_websocket, observers=[], access_log=True)
    with caplog.at_level(logging.INFO, logger="rolo.access"):
        fetch(server.url, '/"\x1b')
        with Wire(server.url) as wire:
            wire.send(b'GET /"\xe9\x1b HTTP/1.1\r\n\r\n')
            assert wire.head().status == 400
        with Client(server.url) as client:
            client.open()
            client.text("12")
            client.message()
            client.close(1000)
            client.closing()
        server.shutdown()
    lines = [r.getMessage() for r in caplog.records if r.name == "rolo.access"]
    assert len(lines) == 3
    assert '"GET /\\x22\\x1b HTTP/1.1" 400 0.0' in lines[0]
    assert '"GET /\\x22\\xe9\\x1b HTTP/1.1" 400 0.0' in lines[1]
    assert lines[1].endswith(" - 16 BadRequest")
    assert lines[2].startswith("127.0.0.1 - - [")
    assert '"GET / HTTP/1.1" 101 0.' in lines[2]
    assert lines[2].endswith(" - 2 complete")


def test_the_example_of_the_docs(native):
    text = (pathlib.Path(__file__).parents[2] / "docs" / "observing.md").read_text()
    scope = {}
    exec(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1], scope)
    tally = scope["Tally"]()
    server = native(hello, observers=[tally])
    fetch(server.url)
    with Wire(server.url) as wire:
        wire.send(b"GET / HTTP/1.1\r\n\r\n")
        wire.head()
    server.shutdown()
    assert tally.outcomes == {"complete": 1, "BadRequest": 1}
    assert tally.sent == 5 + len(b"400 Bad Request\n")


def test_observers_are_for_gateways():
    with pytest.raises(TypeError, match="observers are for gateways"):
        serve(lambda environ, start: [], server="werkzeug", observers=[Observer()])
