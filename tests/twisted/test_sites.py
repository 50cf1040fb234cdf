"""The parts for sites of a program's own, as rolo 0.8 had them."""

import queue
import threading
import time

import pytest
from h2.events import StreamEnded
from h2wire import H2Client
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.web.http_headers import Headers
from twisted.web.resource import Resource
from twisted.web.server import Site
from websocket_origin import BINARY, KEY, PING, PONG, TEXT, Client, frame, masked
from wire import Wire, fetch
from wsproto.connection import ConnectionState
from wsproto.events import AcceptConnection, CloseConnection, Request, TextMessage

from rolo import Response
from rolo.gateway import Gateway
from rolo.serving.twisted import (
    GatewayResource,
    HeaderPreservingHTTPChannel,
    HeaderPreservingWSGIResource,
    TwistedGateway,
    TwistedHeaderAdapter,
    TwistedRequestAdapter,
    TwistedRequestHeaderAdapter,
    TwistedWebSocketAdapter,
    WebSocketChannel,
    WebsocketResourceDecorator,
    to_flat_header_list,
    to_websocket_environment,
    update_wsgi_environment,
)
from rolo.websocket import WebSocketDisconnectedError, WebSocketProtocolError, WebSocketRequest
from rolo.websocket.adapter import BytesMessage, CreateConnection

DEADLINE = 5.0
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"

# --- fields -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "wins"), [(TwistedHeaderAdapter, b"x-foo"), (TwistedRequestHeaderAdapter, b"X-fOO")]
)
def test_of_several_spellings_the_first_wins_in_a_request_and_the_last_in_an_answer(kind, wins):
    headers = kind()
    for name, value in [(b"X-fOO", b"1"), (b"ETAG", b"e"), (b"x-foo", b"2")]:
        headers.rememberHeaderCasing(name)
        headers.addRawHeader(name, value)
    expected = [(wins, b"1"), (wins, b"2"), (b"ETAG", b"e")]
    assert to_flat_header_list(headers) == expected
    assert headers.getRawHeaders("x-FOO") == ["1", "2"]
    assert to_flat_header_list(headers.copy()) == expected


def test_fields_of_a_request_are_spelled_as_they_are_set_and_forgotten_when_removed():
    headers = TwistedRequestHeaderAdapter({b"a-B": [b"1"]})
    headers.setRawHeaders("x-New-One", ["2", b"3"])
    assert to_flat_header_list(headers) == [
        (b"a-B", b"1"),
        (b"x-New-One", b"2"),
        (b"x-New-One", b"3"),
    ]
    headers.removeHeader("A-b")
    headers.setRawHeaders(b"A-B", [b"4"])
    assert to_flat_header_list(headers)[-1] == (b"A-B", b"4")


def test_fields_that_nobody_spelled_are_as_twisted_writes_them():
    assert to_flat_header_list(Headers({b"x-a": [b"1", b"2"]})) == [(b"X-A", b"1"), (b"X-A", b"2")]
    assert to_flat_header_list(TwistedHeaderAdapter({b"x-a": [b"1"]})) == [(b"X-A", b"1")]


# --- connections ------------------------------------------------------------------------


class Seeing(Resource):
    """Notes what ``look`` makes of each request."""

    isLeaf = True

    def __init__(self, look):
        super().__init__()
        self.look = look
        self.seen = []

    def render(self, request):
        self.seen.append(self.look(request))
        return b"ok"


def connected(look=lambda request: None):
    """A connection of a site without a network: ``(protocol, transport, what was seen)``."""
    resource, clock = Seeing(look), Clock()
    site = Site(resource, requestFactory=TwistedRequestAdapter, reactor=clock)
    site.protocol = HeaderPreservingHTTPChannel.protocol_factory
    protocol, transport = site.buildProtocol(None), StringTransport()
    protocol.makeConnection(transport)
    return protocol, transport, resource.seen


def test_field_names_keep_their_case_both_ways():
    def look(request):
        request.responseHeaders.rememberHeaderCasing("x-ANSWER")
        request.setHeader("X-Answer", "1")
        return to_flat_header_list(request.requestHeaders), request.isSecure()

    protocol, transport, seen = connected(look)
    protocol.dataReceived(b"GET / HTTP/1.1\r\nhOST: a\r\nX-a: 1\r\nx-A: 2\r\n\r\n")
    assert seen == [([(b"hOST", b"a"), (b"X-a", b"1"), (b"X-a", b"2")], False)]
    assert b"\r\nx-ANSWER: 1\r\n" in transport.value()


def test_heads_are_written_from_pairs_as_well():
    channel = HeaderPreservingHTTPChannel()
    channel.transport = StringTransport()
    channel.writeHeaders(b"HTTP/1.1", b"200", b"OK", [(b"x-A", b"1"), (b"x-A", b"2\r\nX: 3")])
    assert channel.transport.value() == b"HTTP/1.1 200 OK\r\nx-A: 1\r\nx-A: 2 X: 3\r\n\r\n"


@pytest.mark.parametrize("sizes", [[len(PREFACE)], [1] * len(PREFACE), [8, 10, 5, 10]])
def test_http_2_begins_by_prior_knowledge_however_its_preface_comes(sizes):
    pytest.importorskip("priority")
    protocol, transport, _ = connected()
    former, rest = protocol._channel, PREFACE
    for size in sizes:
        protocol.dataReceived(rest[:size])
        rest = rest[size:]
    assert protocol._channel is not former
    assert transport.value().endswith(b"\x00\x00\x00\x04\x01\x00\x00\x00\x00")  # acknowledged


def test_what_begins_like_http_2_and_is_not_is_read_as_http_1():
    protocol, _, seen = connected(lambda request: request.method)
    protocol.dataReceived(b"P")
    protocol.dataReceived(b"RINT / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert seen == [b"PRINT"]


def test_environments_tell_what_was_on_the_wire():
    def look(request):
        environ = {}
        update_wsgi_environment(environ, request)
        return environ, to_websocket_environment(request)

    protocol, _, seen = connected(look)
    protocol.dataReceived(
        b"GET http://h.test/a%2Fb?q=1 HTTP/1.1\r\nhOst: h.test:80\r\nX_a: 1\r\n\r\n"
    )
    ((environ, handshake),) = seen
    assert environ == {
        "RAW_URI": "http://h.test/a%2Fb?q=1",
        "REQUEST_URI": "http://h.test/a%2Fb?q=1",
        "PATH_INFO": "/a/b",
        "wsgi.input_terminated": True,
        "rolo.headers": [(b"hOst", b"h.test:80"), (b"X_a", b"1")],
        "asgi.headers": [(b"hOst", b"h.test:80"), (b"X_a", b"1")],
        "REMOTE_ADDR": "192.168.1.1",
        "REMOTE_PORT": "54321",
    }
    assert handshake.items() >= environ.items()
    assert handshake["REQUEST_METHOD"] == "WEBSOCKET"
    assert (handshake["HTTP_HOST"], handshake["QUERY_STRING"]) == ("h.test:80", "q=1")
    assert (handshake["SERVER_NAME"], handshake["SERVER_PORT"]) == ("h.test", "12345")


def test_a_gateway_builds_protocols_as_sites_do(twisted_reactor):
    site = TwistedGateway(Gateway(), reactor=twisted_reactor)
    protocol = site.buildProtocol(None)
    assert protocol._channel.callLater == twisted_reactor.callLater
    assert (protocol.site, protocol.timeOut) == (site, site.timeOut)
    site.stop()


# --- websockets without a network -------------------------------------------------------


@pytest.fixture
def channel():
    """A websocket channel that has read its handshake, with a clock for a reactor."""
    made = []

    def look(request):
        request.notifyFinish().addErrback(lambda _: None)
        made.append(WebSocketChannel(request, reactor=Clock()))
        made[0].initiateUpgrade()

    class Upgrading(Seeing):
        def render(self, request):
            self.look(request)
            return 1  # NOT_DONE_YET

    site = Site(Upgrading(look), requestFactory=TwistedRequestAdapter, reactor=Clock())
    site.protocol = HeaderPreservingHTTPChannel.protocol_factory
    protocol = site.buildProtocol(None)
    protocol.makeConnection(StringTransport())
    protocol.dataReceived(
        b"GET /a?b HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: %b\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Protocol: a, b\r\n\r\n" % KEY.encode()
    )
    (channel,) = made
    return channel


def sent(channel):
    transport = channel.request.transport
    value = transport.value()
    transport.clear()
    return value


def opened(channel):
    assert isinstance(channel.eventQueue.get_nowait(), Request)
    channel.wsSend(AcceptConnection(subprotocol="b"))
    assert b"101" in sent(channel)
    return channel


def test_a_channel_reads_the_handshake_and_is_answered(channel):
    request = channel.eventQueue.get_nowait()
    assert (request.host, request.target, request.subprotocols) == ("h", "/a?b", ["a", "b"])
    assert channel.wsproto.state is ConnectionState.CONNECTING
    channel.wsSend(AcceptConnection(subprotocol="b"))
    assert b"Sec-WebSocket-Protocol: b\r\n" in sent(channel)
    assert channel.wsproto.state is ConnectionState.OPEN
    assert channel.upgraded
    assert not channel.closed


def test_a_channel_puts_messages_together_and_answers_pings(channel):
    opened(channel)
    for data in (
        frame(TEXT, b"hel", key=b"mask", final=False),
        frame(PING, b"p", key=b"mask"),
        frame(0, b"lo", key=b"mask") + frame(BINARY, b"x", key=b"mask"),
    ):
        channel.dataReceived(data)
    assert channel.eventQueue.get_nowait() == TextMessage("hello")
    assert bytes(channel.eventQueue.get_nowait().data) == b"x"
    assert sent(channel) == frame(PONG, b"p")


def test_a_close_of_the_client_is_answered_and_told(channel):
    opened(channel)
    channel.dataReceived(b"\x88\x85mask" + masked(b"\x0f\xa0bye", b"mask"))
    assert channel.eventQueue.get_nowait() == CloseConnection(4000, "bye")
    assert sent(channel) == b"\x88\x05\x0f\xa0bye"
    assert channel.wsproto.state is ConnectionState.CLOSED
    assert channel.closed
    assert channel.request.transport.disconnecting


def test_a_client_that_does_not_answer_a_close_is_given_up_and_then_dropped(channel):
    opened(channel)
    channel.wsClose(4001, "ours")
    assert sent(channel) == b"\x88\x06\x0f\xa1ours"
    assert not channel.closed
    clock, transport = channel.reactor, channel.request.transport
    clock.advance(channel.closeTimeout)
    assert channel.eventQueue.get_nowait() == CloseConnection(1006, "")
    assert transport.disconnecting
    transport.abortConnection = lambda: transport.write(b"aborted")
    clock.advance(channel.closeAbortTimeout)
    assert sent(channel) == b"aborted"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x81\x01x", 1002),
        (b"\xc1\x80mask", 1002),
        (b"\x82\xff" + (2**24 + 1).to_bytes(8, "big") + b"mask" + bytes(2**24 + 1), 1009),
    ],
    ids=["unmasked", "a reserved bit", "too large"],
)
def test_what_breaks_the_protocol_is_closed(channel, data, code):
    opened(channel)
    channel.dataReceived(data)
    assert channel.eventQueue.get_nowait().code == code
    assert sent(channel)[:1] == b"\x88"
    assert channel.closed


def test_a_lost_connection_is_told_as_1006(channel):
    opened(channel)
    channel.connectionLost(None)
    adapter = TwistedWebSocketAdapter(channel)
    for _ in range(2):
        with pytest.raises(WebSocketDisconnectedError) as caught:
            adapter.receive()
        assert (caught.value.code, caught.value.reason) == (1006, "")
    with pytest.raises(WebSocketDisconnectedError):
        adapter.send(BytesMessage(b"x"))
    adapter.close()


def test_a_handler_that_lags_behind_stops_the_reading(channel):
    opened(channel)
    transport = channel.request.transport
    channel.dataReceived(frame(TEXT, b"x", key=b"mask") * 64)
    assert transport.producerState == "paused"
    channel.eventQueue.get_nowait()
    channel.chooseReading()
    assert transport.producerState == "producing"


def test_an_adapter_waits_as_long_as_it_is_told(channel):
    channel.reactor.callFromThread = lambda function: function()
    adapter = TwistedWebSocketAdapter(channel)
    assert adapter.channel is channel
    assert isinstance(adapter.receive(), CreateConnection)
    assert adapter.last_received_at <= time.monotonic()
    with pytest.raises(TimeoutError):
        adapter.receive(timeout=0.01)
    channel.pauseProducing()
    with pytest.raises(TimeoutError):
        adapter.send(BytesMessage(b"x"), timeout=0.01)


# --- sites on a reactor -----------------------------------------------------------------


def test_a_listener_is_served(serve_twisted_websocket_listener):
    seen = queue.Queue()

    @WebSocketRequest.listener
    def listener(request):
        if request.path == "/no":
            request.reject(Response("not here", 451))
            return
        if request.path == "/unanswered":
            return
        with request.accept(subprotocol="b") as websocket:
            seen.put(websocket.socket.channel)
            for message in websocket:
                if message == "fail":
                    raise ZeroDivisionError
                with pytest.raises(WebSocketProtocolError):
                    websocket.socket.accept()
                websocket.send(message)
        seen.put((websocket.close_code, websocket.close_reason))

    server = serve_twisted_websocket_listener(listener)
    with Client(server.url, headers=[("Sec-WebSocket-Protocol", "a, b")]) as client:
        client.open().text("hello")
        assert client.message() == "hello"
        large = bytes(range(256)) * 8192
        client.send(BINARY, large)
        assert client.message() == large
        client.close(4000, "theirs")
        assert client.frame().close == (4000, "theirs")
    assert isinstance(seen.get(timeout=DEADLINE), WebSocketChannel)
    assert seen.get(timeout=DEADLINE) == (4000, "theirs")
    for path, status in [("/no", 451), ("/unanswered", 403)]:
        with Client(server.url, path) as client:
            assert client.wire.answer().status == status
    assert fetch(server.url).status == 404


def test_an_error_of_a_listener_is_1011_and_in_the_log(serve_twisted_websocket_listener, caplog):
    def listener(environ):
        WebSocketRequest(environ).accept()
        raise ZeroDivisionError

    with Client(serve_twisted_websocket_listener(listener).url, "/a") as client:
        assert client.open().closing() == (1011, "")
    assert [r.message for r in caplog.records] == ["error in the websocket listener of /a"]


def test_a_broken_handshake_is_a_400(serve_twisted_websocket_listener):
    with Wire(serve_twisted_websocket_listener(lambda environ: None).url) as wire:
        wire.request("GET", "/", [("Upgrade", "websocket"), ("Connection", "Upgrade")])
        assert wire.answer().status == 400


def test_a_client_that_does_not_read_stops_the_sender(serve_twisted_websocket_listener):
    stopped = threading.Event()

    @WebSocketRequest.listener
    def listener(request):
        websocket = request.accept()
        try:
            while True:
                websocket.send(bytes(65536), timeout=0.2)
        except TimeoutError:
            stopped.set()
        assert websocket.receive() == "go on"
        websocket.send("gone on")
        websocket.close()

    with Client(serve_twisted_websocket_listener(listener).url) as client:
        client.open()
        assert stopped.wait(DEADLINE)
        client.text("go on")
        while (message := client.message()) != "gone on":
            assert message == bytes(65536)


def test_a_gateway_is_a_resource_among_others(serve_twisted_tcp_server, twisted_reactor):
    def handler(chain, context, response):
        request = context.request
        response.headers["x-LOWER"] = "1"
        chain.respond(200, f"{request.path} {request.environ['SERVER_PROTOCOL']}".encode())

    gateway = Gateway([handler])
    gateway.accept = lambda request: request.accept().close(4000)
    pool = twisted_reactor.getThreadPool()
    root = Resource()
    root.putChild(b"in", GatewayResource(gateway, twisted_reactor, pool))
    site = Site(root, requestFactory=TwistedRequestAdapter, reactor=twisted_reactor)
    site.protocol = HeaderPreservingHTTPChannel.protocol_factory
    server = serve_twisted_tcp_server(site)
    answer = fetch(server.url, "/in/a%2Fb")
    assert answer.body == b"/in/a/b HTTP/1.1"
    assert ("x-LOWER", "1") in answer.headers
    with Client(server.url, "/in/a") as client:
        assert client.open().closing() == (4000, "")
    pytest.importorskip("priority")
    with H2Client(server.port) as client:
        stream = client.request("/in/a")
        client.until(StreamEnded, stream)
        assert client.body(stream) == b"/in/a HTTP/2"


def test_parts_take_their_arguments_by_the_names_of_0_8(twisted_reactor):
    original = HeaderPreservingWSGIResource(
        reactor=twisted_reactor, threadpool=twisted_reactor.getThreadPool(), application=None
    )
    decorated = WebsocketResourceDecorator(original=original, websocketListener=None)
    assert decorated.original is original
    assert decorated.isLeaf
