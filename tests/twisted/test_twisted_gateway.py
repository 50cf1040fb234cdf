"""A gateway on the ports of a reactor that a program runs."""

import contextlib
import queue
import socket
import ssl
import subprocess
import sys
import threading

import pytest
import trustme
from h2.events import StreamEnded
from h2wire import H2Client
from threaded_origin import ThreadedOrigin
from twisted.internet.threads import blockingCallFromThread
from twisted.protocols.policies import ProtocolWrapper
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory
from websocket_origin import BINARY, PING, PONG, TEXT, Client, WebSocketOrigin, echo
from werkzeug.datastructures import Headers
from wire import Wire, fetch

from rolo import Response
from rolo.errors import ClientDisconnected
from rolo.gateway import Gateway
from rolo.observing import Observer
from rolo.proxy import ProxyHandler
from rolo.serving import Limits, ServerTls
from rolo.serving.twisted import TwistedGateway
from rolo.serving.twisted.tls import connections
from rolo.testing.twisted import listen

DEADLINE = 5.0


def gateway(handler=None, accept=None):
    made = Gateway([handler] if handler else [])
    if accept is not None:
        made.accept = accept
    return made


def seeing(seen):
    def handler(chain, context, response):
        seen.put(context.request)
        chain.respond(200, context.request.get_data())

    return handler


# --- requests and answers ---------------------------------------------------------------


def test_heads_pass_as_they_are_written(serve_twisted_gateway):
    """Names in their case and, wherever one repeats, in that of the first; values apart."""
    seen = queue.Queue()

    def handler(chain, context, response):
        seen.put(context.request)
        response.headers.add("x-LOWER", "1")
        response.headers.add("X-lower", "2")
        chain.respond(200, "ok")

    url = serve_twisted_gateway(gateway(handler)).url
    with Wire(url) as wire:
        wire.send(
            b"GET http://a.test/b%2Fc?d HTTP/1.1\r\nhOST: a.test\r\nX-a: 1\r\nY: 2\r\nx-A: 3\r\n\r\n"
        )
        answer = wire.answer()
    environ = seen.get(timeout=DEADLINE).environ
    assert environ["rolo.headers"] == [
        (b"hOST", b"a.test"),
        (b"X-a", b"1"),
        (b"Y", b"2"),
        (b"X-a", b"3"),
    ]
    assert environ["asgi.headers"] == environ["rolo.headers"]
    assert environ["RAW_URI"] == "http://a.test/b%2Fc?d"
    assert (environ["PATH_INFO"], environ["QUERY_STRING"]) == ("/b/c", "d")
    assert environ["SERVER_PROTOCOL"] == "HTTP/1.1"
    assert [field for field in answer.headers if field[0].lower() == "x-lower"] == [
        ("x-LOWER", "1"),
        ("X-lower", "2"),
    ]


def test_bodies_stream_both_ways(serve_twisted_gateway):
    """Each piece is answered before the next is sent."""

    def handler(chain, context, response):
        def pieces(stream):
            while piece := stream.read(4):
                yield piece.upper()

        response.response = pieces(context.request.stream)
        chain.stop()

    with Wire(serve_twisted_gateway(gateway(handler)).url) as wire:
        wire.request("POST", "/", [("Transfer-Encoding", "chunked")])
        wire.send(b"4\r\nabcd\r\n")
        assert wire.head().status == 200
        assert wire.chunk() == b"ABCD"
        wire.send(b"4\r\nefgh\r\n0\r\n\r\n")
        assert wire.chunk() == b"EFGH"
        assert wire.chunk() == b""


def test_a_client_that_does_not_read_stops_the_generator_and_leaving_closes_it_once(
    serve_twisted_gateway,
):
    class Endless:
        def __init__(self):
            self.made = 0
            self.closed = queue.Queue()

        def __iter__(self):
            return self

        def __next__(self):
            self.made += 1
            return bytes(65536)

        def close(self):
            self.closed.put(self.made)

    endless = Endless()

    def handler(chain, context, response):
        response.response = endless
        chain.stop()

    with Wire(serve_twisted_gateway(gateway(handler)).url) as wire:
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        wire.request("GET", "/")
        assert wire.head().status == 200
        made = -1
        while made != endless.made:  # until it stands still
            made = endless.made
            assert made < 500
            threading.Event().wait(0.1)
        wire.reset()
    assert endless.closed.get(timeout=DEADLINE) >= made
    with pytest.raises(queue.Empty):
        endless.closed.get(timeout=0.05)


def test_a_client_that_leaves_within_its_body_is_told_of(serve_twisted_gateway):
    seen = queue.Queue()

    def handler(chain, context, response):
        seen.put("begun")
        try:
            context.request.get_data()
        except ClientDisconnected as exc:
            seen.put(exc)
            raise

    with Wire(serve_twisted_gateway(gateway(handler)).url) as wire:
        wire.request("POST", "/", [("Content-Length", "100000")])
        assert seen.get(timeout=DEADLINE) == "begun"
    assert isinstance(seen.get(timeout=DEADLINE), ClientDisconnected)


def test_limits_and_observers_hold(twisted_reactor, serve_twisted_tcp_server):
    seen = queue.Queue()

    class Noting(Observer):
        def on_end(self, event):
            seen.put(event.outcome)

    site = TwistedGateway(
        gateway(seeing(queue.Queue())),
        limits=Limits(max_fields=5, max_body=10),
        proxy_status="edge",
        observers=[Noting()],
    )
    url = serve_twisted_tcp_server(site).url
    assert fetch(url, headers=[("X", "1")] * 9).status == 431
    assert seen.get(timeout=DEADLINE) == "refused"
    assert fetch(url, method="POST", body=b"x" * 11).status == 413
    with pytest.raises(ValueError, match="'threads' or 'loop'"):
        TwistedGateway(gateway(), mode="greenlets")


# --- where handlers run -----------------------------------------------------------------


def where(chain, context, response):
    chain.respond(200, threading.current_thread().name)


@pytest.mark.parametrize(
    ("options", "name"),
    [({}, b"PoolThread-"), ({"threads": 2}, b"rolo-worker-"), ({"mode": "loop"}, b"rolo-twisted")],
)
def test_handlers_run_on_the_threads_of_the_reactor_or_where_they_are_told(
    serve_twisted_tcp_server, options, name
):
    site = TwistedGateway(gateway(where), **options)
    assert fetch(serve_twisted_tcp_server(site).url).body.startswith(name)


def test_a_handler_on_the_reactors_threads_forwards_through_the_loop(serve_twisted_gateway):
    """The portal: sync code waits for the loop, which is not the reactor's."""
    with ThreadedOrigin() as origin, contextlib.closing(ProxyHandler(origin.url)) as handler:
        url = serve_twisted_gateway(Gateway([handler])).url
        assert fetch(url, "/a", "POST", body=bytes(1_000_000)).body == b"ok"
        assert origin.last.target == "/a"


# --- websockets -------------------------------------------------------------------------


def test_websockets(serve_twisted_gateway):
    """Fragments come whole, pings are answered, code and reason pass both ways."""
    seen = queue.Queue()

    def accept(request):
        if request.path == "/no":
            request.reject(Response("not here", 451, headers={"X-Why": "law"}))
            return
        with request.accept(subprotocol="b", headers=Headers({"X-Yes": "1"})) as websocket:
            for message in websocket:
                if message == "close":
                    websocket.close(4001, "ours")
                websocket.send(message)
        seen.put((websocket.close_code, websocket.close_reason))

    url = serve_twisted_gateway(gateway(accept=accept)).url
    with Client(url, headers=[("Sec-WebSocket-Protocol", "a, b")]) as client:
        client.open()
        client.send(TEXT, "hel", final=False)
        client.send(PING, b"now")
        client.send(0, "lo")
        got = client.frame()
        assert (got.opcode, got.payload) == (PONG, b"now")
        assert client.message() == "hello"
        large = bytes(range(256)) * 8192
        client.send(BINARY, large)
        assert client.message() == large
        client.close(4000, "theirs")
        assert client.frame().close == (4000, "theirs")
    assert seen.get(timeout=DEADLINE) == (4000, "theirs")
    with Client(url) as client:
        client.open().text("close")
        assert client.closing() == (4001, "ours")
    with Client(url, "/no") as client:
        answer = client.wire.answer()
        assert (answer.status, answer.get("x-why"), answer.body) == (451, "law", b"not here")


def test_a_websocket_is_handed_over_to_the_relay(serve_twisted_gateway):
    with (
        WebSocketOrigin(echo) as origin,
        contextlib.closing(ProxyHandler(origin.url)) as handler,
        Client(serve_twisted_gateway(Gateway([handler])).url) as client,
    ):
        client.open().text("through")
        assert client.message() == "through"
        client.close(4000, "bye")
        assert client.frame().close == (4000, "bye")


# --- HTTP/2 and TLS ---------------------------------------------------------------------


class Multiplexer(ProtocolWrapper):
    """TLS and clear text on one port, told apart by the first byte, as programs do it."""

    decided = False

    def makeConnection(self, transport):
        self.connected = 1
        self.transport = transport
        self.factory.registerProtocol(self)

    def dataReceived(self, data):
        if not self.decided:
            self.decided = True
            if data[0] == 22:
                self.wrappedProtocol = BufferingTLSTransport(self.factory, self.wrappedProtocol)
            super().makeConnection(self.transport)
        super().dataReceived(data)


class MultiplexerFactory(TLSMemoryBIOFactory):
    protocol = Multiplexer


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def trusting(authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def port(serve_twisted_tcp_server, authority, tmp_path):
    """Where a gateway that tells its scheme and version is behind a multiplexer."""

    def handler(chain, context, response):
        environ = context.request.environ
        chain.respond(200, f"{environ['wsgi.url_scheme']} {environ['SERVER_PROTOCOL']}")

    issued = authority.issue_cert("localhost", "127.0.0.1")
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    context = connections(ServerTls(tmp_path / "cert.pem", tmp_path / "key.pem"))
    site = TwistedGateway(gateway(handler))
    return serve_twisted_tcp_server(MultiplexerFactory(context, False, site)).port


def test_one_port_for_tls_and_clear_text_for_http_1_and_http_2(port, trusting):
    assert fetch(f"http://127.0.0.1:{port}").body == b"http HTTP/1.1"
    without_alpn = ssl.create_default_context(cadata=None)
    without_alpn.check_hostname, without_alpn.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), DEADLINE) as plain,
        trusting.wrap_socket(plain, server_hostname="localhost") as tls,
    ):
        tls.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        received = b""
        while data := tls.recv(1000):
            received += data
        assert received.endswith(b"https HTTP/1.1")
    for context, alpn, said in [
        (None, False, b"http HTTP/2"),
        (trusting, True, b"https HTTP/2"),
        (without_alpn, False, b"https HTTP/2"),
    ]:
        with H2Client(port, context, alpn=alpn) as client:
            stream = client.request()
            client.until(StreamEnded, stream)
            assert client.body(stream) == said


# --- beginnings and ends ----------------------------------------------------------------


def test_the_last_port_ends_what_is_idle_and_lets_finish_what_runs(twisted_reactor):
    begun, go_on = threading.Event(), threading.Event()

    def handler(chain, context, response):
        if context.request.path == "/slow":
            begun.set()
            go_on.wait(DEADLINE)
        chain.respond(200, "done")

    site = TwistedGateway(gateway(handler))
    port, close = listen(twisted_reactor, site)
    url = f"http://127.0.0.1:{port}"
    with Wire(url) as idle, Wire(url) as slow:
        assert idle.get("/").body == b"done"
        slow.request("GET", "/slow")
        assert begun.wait(DEADLINE)
        closing = threading.Thread(target=close)
        closing.start()
        assert idle.read_rest() == b""
        go_on.set()
        answer = slow.answer()
        assert (answer.body, answer.get("connection")) == (b"done", "close")
        closing.join()
    # Another port begins anew.
    port, close = listen(twisted_reactor, site)
    assert fetch(f"http://127.0.0.1:{port}").body == b"done"
    close()


def test_a_connection_that_comes_when_the_gateway_has_ended_is_closed(twisted_reactor):
    site = TwistedGateway(gateway(where))
    port, close = listen(twisted_reactor, site)
    fetch(f"http://127.0.0.1:{port}")
    blockingCallFromThread(twisted_reactor, site.stop)
    with Wire(f"http://127.0.0.1:{port}") as wire:
        assert wire.read_rest() == b""
    close()


PROGRAM = """
import sys, threading
from twisted.internet import {reactor}
{reactor}.install()
from twisted.internet import reactor
from rolo.gateway import Gateway
from rolo.serving.twisted import TwistedGateway

begun = threading.Event()
go_on = threading.Event()

def handler(chain, context, response):
    if context.request.path == "/stop":
        reactor.callFromThread(reactor.stop)
    chain.respond(200, threading.current_thread().name)

port = reactor.listenTCP(0, TwistedGateway(Gateway([handler])), interface="127.0.0.1")
print(port.getHost().port, flush=True)
reactor.run(installSignalHandlers=False)
print([thread.name for thread in threading.enumerate()], flush=True)
"""


@pytest.mark.parametrize("reactor", ["selectreactor", "asyncioreactor"])
def test_a_program_with_another_reactor(reactor):
    """Whatever reactor it runs: what has begun is answered, and no thread is left."""
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PROGRAM.format(reactor=reactor)],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        url = f"http://127.0.0.1:{int(process.stdout.readline())}"
        with Wire(url) as wire:
            assert wire.get("/").body.startswith(b"PoolThread-")
            assert wire.get("/stop").status == 200
            wire.read_rest()
        assert process.stdout.readline() == "['MainThread']\n"
        assert process.wait(DEADLINE) == 0
