"""Over TLS an answer that ends with the connection has to be ended, not merely cut.

RFC 9112 section 9.8: without close_notify such an answer is incomplete. Each driver of TLS
shows, or hides, the difference in a way of its own.
"""

import asyncio
import select
import socket
import ssl
import threading

import pytest
import trustme

from rolo.errors import BodyInterrupted, UpstreamClosed, UpstreamError
from rolo.upstream.blocking_transport import SyncTransport
from rolo.upstream.request import UpstreamRequest
from rolo.upstream.settings import PoolLimits, Tls
from rolo.upstream.transport import LoopTransport
from rolo.wire.target import Origin
from tests.origins import run

BODY = b"0123456789abcdef" * 20_000  # more than event loops decrypt at once
PATIENCE = 10
LOOPS = ["asyncio", "uvloop"]


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    ca = trustme.CA()
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    return context, Tls(ca_file=str(path))


class OneAnswer:
    """An origin that answers one request over TLS and closes; with close_notify if it is to
    be ``ended``. ``closed`` is set afterwards."""

    def __init__(self, context, answer, *, ended):
        self._context, self._answer, self._ended = context, answer, ended
        self.closed = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, name="origin")

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._thread.join(PATIENCE)
        self._listener.close()

    @property
    def request(self):
        port = self._listener.getsockname()[1]
        return UpstreamRequest(
            Origin("https", "127.0.0.1", port), "GET", b"/", [(b"Host", b"origin")]
        )

    def _serve(self):
        plain, _ = self._listener.accept()
        # So that all is sent, and the connection closed, whether or not somebody reads.
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * len(BODY))
        plain.settimeout(PATIENCE)
        with self._context.wrap_socket(plain, server_side=True) as sock:
            sock.recv(65536)
            sock.sendall(self._answer)
            if self._ended:
                sock.settimeout(0)
                say_goodbye(sock)
        self.closed.set()


def say_goodbye(sock):
    """Send close_notify, and do not wait for the other side's."""
    while True:
        try:
            sock.unwrap()
        except ssl.SSLWantWriteError:
            select.select([], [sock], [], PATIENCE)
        except OSError:  # which includes that we would have to read
            return
        else:
            return


def fetch_on(loop, origin, tls, *, late):
    """Return the body; with ``late`` it is read only when the origin has closed."""
    received = []

    async def test():
        transport = LoopTransport(tls=tls, limits=PoolLimits(max_buffer=1))
        try:
            response = await transport.send(origin.request)
            if late:
                await asyncio.to_thread(origin.closed.wait, PATIENCE)
            async for piece in response.body:
                received.append(piece)
            response.body.close()
        finally:
            await transport.close()

    run_on(loop, test)
    return b"".join(received)


def run_on(loop, test):
    factory = pytest.importorskip("uvloop").new_event_loop if loop == "uvloop" else None
    run(test, loop_factory=factory)


def fetch_blocking(origin, tls):
    with SyncTransport(tls=tls) as transport:
        return transport.send(origin.request).body.read()


def fetch(driver, origin, tls, *, late=False):
    if driver == "blocking":
        return fetch_blocking(origin, tls)
    return fetch_on(driver, origin, tls, late=late)


def until_the_end(body):
    return b"HTTP/1.1 200 OK\r\n\r\n" + body


@pytest.mark.parametrize("driver", [*LOOPS, "blocking"])
@pytest.mark.parametrize("late", [False, True], ids=["read at once", "read late"])
@pytest.mark.parametrize("body", [b"", b"short", BODY], ids=["empty", "short", "long"])
def test_an_answer_ended_by_the_connection_is_whole_with_close_notify_only(
    driver, late, body, authority
):
    context, tls = authority
    with OneAnswer(context, until_the_end(body), ended=True) as origin:
        assert fetch(driver, origin, tls, late=late) == body
    with (
        OneAnswer(context, until_the_end(body), ended=False) as origin,
        pytest.raises(BodyInterrupted) as caught,
    ):
        fetch(driver, origin, tls, late=late)
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize("driver", [*LOOPS, "blocking"])
@pytest.mark.parametrize(
    "framed",
    [
        pytest.param(b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY, id="length"),
        pytest.param(
            b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(BODY) + BODY + b"\r\n0\r\n\r\n",
            id="chunked",
        ),
    ],
)
def test_an_answer_that_says_itself_where_it_ends_needs_no_close_notify(driver, framed, authority):
    context, tls = authority
    answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + framed
    with OneAnswer(context, answer, ended=False) as origin:
        assert fetch(driver, origin, tls, late=True) == BODY


@pytest.mark.parametrize("driver", [*LOOPS, "blocking"])
@pytest.mark.parametrize("ended", [False, True], ids=["cut", "ended"])
def test_a_head_that_does_not_end_is_none(driver, ended, authority):
    context, tls = authority
    with (
        OneAnswer(context, b"HTTP/1.1 200 OK\r\n", ended=ended) as origin,
        pytest.raises(UpstreamError) as caught,
    ):
        fetch(driver, origin, tls)
    assert type(caught.value) is UpstreamClosed
