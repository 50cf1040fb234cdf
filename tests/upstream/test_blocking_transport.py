"""The blocking client against origins that do what they are told, byte for byte."""

import contextlib
import queue
import socket
import ssl
import struct
import threading
import time

import pytest
import trustme

from rolo import errors
from rolo.upstream.blocking_transport import SyncTransport
from rolo.upstream.request import UpstreamRequest
from rolo.upstream.settings import PoolLimits, Timeouts, Tls
from rolo.wire.target import parse_upstream

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
DEADLINE = 10.0


class Peer:
    """The origin's end of one connection."""

    def __init__(self, sock):
        self.sock = sock
        self.buffer = b""

    def read_until(self, mark):
        while mark not in self.buffer:
            data = self.sock.recv(65536)
            if not data:
                raise EOFError(self.buffer)
            self.buffer += data
        end = self.buffer.index(mark) + len(mark)
        taken, self.buffer = self.buffer[:end], self.buffer[end:]
        return taken

    def read_head(self):
        return self.read_until(b"\r\n\r\n")

    def read_exactly(self, size):
        while len(self.buffer) < size:
            data = self.sock.recv(65536)
            if not data:
                raise EOFError(self.buffer)
            self.buffer += data
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def send(self, data):
        self.sock.sendall(data)

    def at_end(self):
        """Wait for the client's end; true if it came, by FIN or by reset."""
        try:
            return not self.buffer and not self.sock.recv(65536)
        except OSError:
            return True

    def answer(self, data=OK):
        head = self.read_head()
        self.send(data)
        return head


def answer_once(peer, number):
    return peer.answer()


class Origin:
    """Runs ``script(peer, number)`` for each connection, one after the other in threads."""

    def __init__(self, script, listener, url, tls=None):
        self.script = script
        self.listener = listener
        self.url = url
        self.tls = tls
        self._results = queue.Queue()
        self.connections = 0
        self._threads = [threading.Thread(target=self._accept, name="origin")]
        self._threads[0].start()

    def result(self):
        """What the script of the next connection that ended returned."""
        return self._results.get(timeout=DEADLINE)

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(
                target=self._serve, args=(sock, self.connections), name="origin-peer"
            )
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock, number):
        sock.settimeout(DEADLINE)
        with contextlib.suppress(OSError, EOFError):
            if self.tls:
                sock = self.tls.wrap_socket(sock, server_side=True)
            with sock:
                self._results.put(self.script(Peer(sock), number))
        sock.close()

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self._threads:
            thread.join(DEADLINE)
            assert not thread.is_alive()


@pytest.fixture
def origin():
    with contextlib.ExitStack() as stack:

        def start(script, *, tls=None, uds=None):
            if uds:
                listener = socket.socket(socket.AF_UNIX)
                listener.bind(str(uds))
                listener.listen()
                scheme = "https+unix" if tls else "http+unix"
                url = f"{scheme}://{str(uds).replace('/', '%2F')}"
            else:
                listener = socket.create_server(("127.0.0.1", 0))
                host = "localhost" if tls else "127.0.0.1"
                url = f"{'https' if tls else 'http'}://{host}:{listener.getsockname()[1]}"
            server = Origin(script, listener, url, tls)
            stack.callback(server.close)
            return server

        yield start


@pytest.fixture
def transport():
    with contextlib.ExitStack() as stack:

        def make(**options):
            limits = options.pop("limits", None)
            tls = options.pop("tls", None)
            return stack.enter_context(
                SyncTransport(timeouts=Timeouts(**options), limits=limits, tls=tls)
            )

        yield make


def outgoing(url, method="GET", target=b"/", headers=(), **options):
    return UpstreamRequest(
        origin=parse_upstream(url).origin,
        method=method,
        target=target,
        headers=[(b"Host", b"origin.test"), *headers],
        **options,
    )


# --- what goes out ----------------------------------------------------------------------


def test_head_goes_out_byte_for_byte_with_nothing_added(origin, transport):
    server = origin(answer_once)
    headers = [(b"x-A", b"1"), (b"X-b", b""), (b"x-A", b"2"), (b"Cookie", b"\xe9=1")]
    target = b"/a/../b%2f%2E//;x?q=%zz&&+"
    response = transport().send(outgoing(server.url, "PROPFIND", target, headers))
    assert response.body.read() == b"ok"
    assert server.result() == (
        b"PROPFIND /a/../b%2f%2E//;x?q=%zz&&+ HTTP/1.1\r\nHost: origin.test\r\n"
        b"x-A: 1\r\nX-b: \r\nx-A: 2\r\nCookie: \xe9=1\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("body", "length", "wire"),
    [
        pytest.param(b"", None, b"Content-Length: 0\r\n\r\n", id="empty bytes"),
        pytest.param(b"abc", None, b"Content-Length: 3\r\n\r\nabc", id="bytes"),
        pytest.param([b"ab", b"", b"c"], 3, b"Content-Length: 3\r\n\r\nabc", id="iterable, length"),
        pytest.param(
            [b"ab", b"", b"c"],
            None,
            b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
            id="iterable, chunked",
        ),
    ],
)
def test_bodies_are_framed_as_they_came(origin, transport, body, length, wire):
    def script(peer, number):
        rest = peer.read_head().split(b"origin.test\r\n")[1]
        rest += peer.read_exactly(len(wire) - len(rest))
        peer.send(OK)
        return rest + peer.buffer

    server = origin(script)
    response = transport().send(outgoing(server.url, "POST", body=body, length=length))
    assert response.body.read() == b"ok"
    assert server.result() == wire


def test_trailers_of_the_request_follow_a_chunked_body(origin, transport):
    def script(peer, number):
        peer.read_head()
        body = peer.read_until(b"sum: 1\r\n\r\n")
        peer.send(OK)
        return body

    server = origin(script)
    request = outgoing(
        server.url, "POST", body=iter([b"a"]), request_trailers=lambda: [(b"sum", b"1")]
    )
    transport().send(request).body.read()
    assert server.result() == b"1\r\na\r\n0\r\nsum: 1\r\n\r\n"


def test_upload_streams_piece_by_piece(origin, transport):
    arrived = threading.Event()

    def script(peer, number):
        peer.read_until(b"first")
        arrived.set()
        peer.read_until(b"last")
        peer.send(OK)

    def body():
        yield b"first"
        assert arrived.wait(DEADLINE)
        yield b"last"

    server = origin(script)
    assert transport().send(outgoing(server.url, "PUT", body=body())).body.read() == b"ok"


def test_error_of_the_body_source_is_raised_and_breaks_the_request_off(origin, transport):
    def script(peer, number):
        peer.read_until(b"half")
        return peer.at_end()

    def body():
        yield b"half"
        raise errors.ClientDisconnected("gone")

    server = origin(script)
    with pytest.raises(errors.ClientDisconnected):
        transport().send(outgoing(server.url, "PUT", body=body(), length=100))
    assert server.result() is True


@pytest.mark.parametrize("body", [[b"ab"], [b"abcd"]], ids=["too short", "too long"])
def test_body_that_differs_from_its_length_is_no_request(origin, transport, body):
    server = origin(lambda peer, number: peer.read_head() and peer.at_end())
    with pytest.raises(errors.BadRequest):
        transport().send(outgoing(server.url, "PUT", body=body, length=3))


def test_proxies_of_the_environment_are_ignored(origin, transport, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    server = origin(answer_once)
    assert transport().send(outgoing(server.url)).body.read() == b"ok"


# --- what comes back --------------------------------------------------------------------


def test_head_comes_back_as_received(origin, transport):
    head = b"HTTP/1.1 302 Elsewhere\r\nlocation: /x\r\nSet-Cookie: a\r\nset-cookie: b\r\n"
    server = origin(lambda peer, number: peer.answer(head + b"Content-Length: 0\r\n\r\n"))
    response = transport().send(outgoing(server.url))
    assert (response.status, response.reason, response.version) == (302, b"Elsewhere", "1.1")
    assert response.headers == [
        (b"location", b"/x"),
        (b"Set-Cookie", b"a"),
        (b"set-cookie", b"b"),
        (b"Content-Length", b"0"),
    ]
    assert response.body.length == 0


def test_hundreds_of_fields_pass_and_the_limit_is_settable(origin, transport):
    fields = b"".join(b"x-%d: %d\r\n" % (n, n) for n in range(300))
    answer = b"HTTP/1.1 204 No Content\r\n" + fields + b"\r\n"
    server = origin(lambda peer, number: peer.answer(answer))
    assert len(transport().send(outgoing(server.url)).headers) == 300
    with pytest.raises(errors.BadResponse):
        transport(limits=PoolLimits(max_fields=299)).send(outgoing(server.url))


def test_coded_bodies_are_left_alone(origin, transport):
    answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"
    server = origin(lambda peer, number: peer.answer(answer))
    assert transport().send(outgoing(server.url)).body.read() == b"abc"


def test_interim_answers_are_told_and_never_final(origin, transport):
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"

    def script(peer, number):
        for _ in range(2):
            peer.answer(interim + OK)

    server = origin(script)
    client = transport()
    seen = []
    for _ in range(2):
        response = client.send(outgoing(server.url), lambda *answer: seen.append(answer))
        assert response.status == 200
        assert response.body.read() == b"ok"
    assert seen == [(103, [(b"Link", b"</a>")]), (102, [])] * 2
    assert server.connections == 1


def test_each_piece_is_given_as_soon_as_it_arrives(origin, transport):
    goon = threading.Event()

    def script(peer, number):
        peer.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
        assert goon.wait(DEADLINE)
        peer.send(b"later")

    server = origin(script)
    body = transport().send(outgoing(server.url)).body
    assert next(body) == b"first"
    goon.set()
    assert list(body) == [b"later"]
    assert body.bytes_read == 10


def test_chunked_body_and_its_trailers(origin, transport):
    answer = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nSum: 5\r\n\r\n"
    )
    server = origin(lambda peer, number: [peer.answer(answer), peer.at_end()])
    with transport() as client:
        body = client.send(outgoing(server.url)).body
        assert body.length is None
        assert body.read(4) == b"abcd"
        assert body.read() == b"e"
        assert body.trailers == [(b"Sum", b"5")]


def test_answer_arriving_byte_by_byte(origin, transport):
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"

    def script(peer, number):
        peer.read_head()
        peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(answer)):
            peer.send(answer[at : at + 1])

    server = origin(script)
    assert transport().send(outgoing(server.url)).body.read() == b"abc"


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
def test_body_ended_by_the_connection(origin, transport, version):
    server = origin(
        lambda peer, number: peer.answer(b"HTTP/" + version + b" 200 OK\r\n\r\nall of it")
    )
    response = transport().send(outgoing(server.url))
    assert response.body.length is None
    assert response.body.read() == b"all of it"


def test_head_request_has_no_body_and_keeps_the_connection(origin, transport):
    def script(peer, number):
        return [peer.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n") for _ in "ab"]

    server = origin(script)
    client = transport()
    for _ in range(2):
        assert client.send(outgoing(server.url, "HEAD")).body.read() == b""
    assert server.connections == 1


# --- what is refused --------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"nonsense\r\n\r\n", id="no status line"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nGood: 1\r\nbroken line\r\nX: 2\r\n\r\n", id="malformed line"
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nA: 1\r\n folded\r\n\r\n", id="obsolete folding"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            id="length and chunked",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
            id="two lengths",
        ),
        pytest.param(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", id="unasked 101"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 20000, id="endless head"),
    ],
)
def test_ambiguous_or_malformed_heads_are_bad_responses(origin, transport, answer):
    server = origin(lambda peer, number: peer.answer(answer))
    with pytest.raises(errors.BadResponse) as caught:
        transport().send(outgoing(server.url))
    assert caught.value.target == server.url


@pytest.mark.parametrize(
    ("answer", "kind", "read"),
    [
        pytest.param(b"Content-Length: 9\r\n\r\nhalf", errors.BodyInterrupted, 4, id="length"),
        pytest.param(
            b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
            errors.BodyInterrupted,
            4,
            id="chunked",
        ),
        pytest.param(  # which condemns what came together with it
            b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n+1\r\n",
            errors.BadResponse,
            0,
            id="bad chunk size",
        ),
    ],
)
def test_body_that_breaks_off_is_an_error_after_what_came(origin, transport, answer, kind, read):
    server = origin(lambda peer, number: peer.answer(b"HTTP/1.1 200 OK\r\n" + answer))
    body = transport().send(outgoing(server.url)).body
    with pytest.raises(kind):
        list(body)
    assert body.bytes_read == read
    assert body.read() == b""


def test_connection_closed_before_the_head(origin, transport):
    server = origin(lambda peer, number: peer.read_head())
    with pytest.raises(errors.UpstreamClosed):
        transport().send(outgoing(server.url))
    assert server.connections == 1


# --- early answers and 100-continue ------------------------------------------------------


@pytest.mark.parametrize("closing", [True, False], ids=["closing", "staying"])
def test_early_refusal_during_an_upload_is_heard(origin, transport, closing):
    answer = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig"
    done = threading.Event()

    def script(peer, number):
        peer.answer(answer)
        if not closing:
            done.wait(DEADLINE)

    def endless():
        while True:
            yield b"x" * 65536

    server = origin(script)
    client = transport()
    response = client.send(outgoing(server.url, "POST", body=endless()))
    assert response.status == 413
    assert response.body.read() == b"big"
    done.set()


def test_early_success_does_not_cut_the_upload(origin, transport):
    head_sent = threading.Event()

    def script(peer, number):
        peer.read_head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
        head_sent.set()
        peer.send(peer.read_exactly(4))
        return peer.at_end()

    def body():
        assert head_sent.wait(DEADLINE)
        yield b"ec"
        yield b"ho"

    server = origin(script)
    response = transport().send(outgoing(server.url, "POST", body=body(), length=4))
    assert response.body.read() == b"echo"


def test_a_reset_heard_during_an_upload_does_not_end_the_answer(origin, transport):
    answered, heard, cut = threading.Event(), threading.Event(), threading.Event()

    def script(peer, number):
        peer.answer(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        answered.set()
        assert heard.wait(DEADLINE)
        reset = struct.pack("ii", 1, 0)
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        peer.sock.close()
        cut.set()

    def body():
        assert answered.wait(DEADLINE)
        yield b"heard after this"
        heard.set()
        assert cut.wait(DEADLINE)
        yield b"and here is the reset"

    server = origin(script)
    answer = transport().send(outgoing(server.url, "POST", body=body()))
    with pytest.raises(errors.BodyInterrupted):
        answer.body.read()


def test_body_waits_for_100_continue(origin, transport):
    def script(peer, number):
        peer.read_head()
        nothing_yet = not peer.buffer
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = peer.read_exactly(4)
        peer.send(OK)
        return nothing_yet, body

    server = origin(script)
    seen = []
    request = outgoing(
        server.url,
        "POST",
        body=[b"body"],
        length=4,
        expect_continue=True,
        headers=[(b"Expect", b"100-continue")],
    )
    response = transport().send(request, lambda status, _: seen.append(status))
    assert response.body.read() == b"ok"
    assert server.result() == (True, b"body")
    assert seen == [100]


def test_body_is_not_pulled_when_the_expectation_is_refused(origin, transport):
    def script(peer, number):
        peer.answer(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n")
        return peer.at_end()

    def body():
        pytest.fail("pulled")
        yield b""

    server = origin(script)
    request = outgoing(server.url, "POST", body=body(), length=4, expect_continue=True)
    response = transport().send(request)
    assert response.status == 417
    assert server.result() is True


def test_body_goes_out_when_nobody_says_continue(origin, transport, monkeypatch):
    monkeypatch.setattr("rolo.upstream.blocking_exchange.CONTINUE_WAIT", 0.05)

    def script(peer, number):
        peer.read_head()
        body = peer.read_exactly(4)
        peer.send(OK)
        return body

    server = origin(script)
    request = outgoing(server.url, "POST", body=b"body", expect_continue=True)
    assert transport().send(request).body.read() == b"ok"


# --- connections ------------------------------------------------------------------------


def test_connection_is_reused_after_a_whole_body_only(origin, transport):
    def script(peer, number):
        with contextlib.suppress(EOFError):
            while True:
                peer.answer()

    server = origin(script)
    client = transport()
    first = client.send(outgoing(server.url))
    assert first.body.read() == b"ok"
    second = client.send(outgoing(server.url))
    assert (first.reused, second.reused) == (False, True)
    second.body.close()
    third = client.send(outgoing(server.url))
    third.body.read()
    assert not third.reused
    assert server.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", id="close"
        ),
        pytest.param(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", id="1.0"),
        pytest.param(OK + b"extra", id="extra bytes"),
    ],
)
def test_connection_is_not_reused_after_a_doubtful_end(origin, transport, answer):
    server = origin(lambda peer, number: [peer.answer(answer), peer.at_end()])
    client = transport()
    for _ in range(2):
        response = client.send(outgoing(server.url))
        assert response.body.read() == b"ok"
        assert not response.reused
    assert server.connections == 2


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_connection_on_which_something_came_unasked_is_not_reused(
    origin, transport, authority, tls
):
    """Else each answer would be taken for that of the next request."""
    ca, path = authority
    asked, came = threading.Event(), threading.Event()

    def script(peer, number):
        peer.answer()
        assert asked.wait(DEADLINE)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nunasked")
        came.set()
        return peer.at_end()

    server = origin(script, tls=server_context(ca) if tls else None)
    client = transport(tls=Tls(ca_file=path))
    assert client.send(outgoing(server.url)).body.read() == b"ok"
    asked.set()
    assert came.wait(DEADLINE)
    second = client.send(outgoing(server.url))
    assert second.body.read() == b"ok"
    assert not second.reused


def test_origins_that_are_left_leave_nothing_behind(origin, transport):
    """Where requests go may be up to a client."""
    client = transport()
    with socket.create_server(("127.0.0.1", 0)) as refusing:
        port = refusing.getsockname()[1]
    for number in range(1000):
        with pytest.raises(errors.ConnectError):
            client.send(outgoing(f"http://127.0.{number // 250}.{number % 250 + 1}:{port}"))
    assert len(client._pools) < 500


def test_connection_idle_for_too_long_is_not_reused(origin, transport):
    server = origin(lambda peer, number: [peer.answer(), peer.at_end()])
    client = transport(limits=PoolLimits(idle_timeout=0.0))
    for _ in range(2):
        response = client.send(outgoing(server.url))
        response.body.read()
        assert not response.reused


def test_no_idle_connection_is_kept_if_none_may_be(origin, transport):
    server = origin(lambda peer, number: [peer.answer(), peer.at_end()][1])
    client = transport(limits=PoolLimits(max_idle=0))
    client.send(outgoing(server.url)).body.read()
    assert server.result() is True


def dies_on_second_request(peer, number):
    """Serve once, then take another request and close without a word.

    Its body of one byte, too: to close on unread bytes would reset the connection, and it is
    chance whether the client then fails while it sends or while it waits."""
    if number == 1:
        peer.answer()
        peer.read_head()
        peer.read_exactly(1)
        return "died"
    return peer.answer()


def test_stale_connection_is_replaced_once_for_an_idempotent_request(origin, transport):
    server = origin(dies_on_second_request)
    client = transport()
    client.send(outgoing(server.url)).body.read()
    response = client.send(outgoing(server.url, "PUT", body=b"x"))
    assert response.body.read() == b"ok"
    assert not response.reused
    assert response.retried is not None
    assert server.connections == 2


@pytest.mark.parametrize(
    ("method", "body"),
    [
        pytest.param("POST", b"x", id="not idempotent"),
        pytest.param("PUT", [b"x"], id="body already pulled"),
    ],
)
def test_request_that_may_have_been_heard_is_never_sent_twice(origin, transport, method, body):
    server = origin(dies_on_second_request)
    client = transport()
    client.send(outgoing(server.url)).body.read()
    with pytest.raises(errors.UpstreamClosed):
        client.send(outgoing(server.url, method, body=body, length=1))
    assert server.connections == 1


def test_a_bounded_pool_makes_the_next_one_wait(origin, transport):
    def script(peer, number):
        for _ in range(3):
            peer.answer()

    server = origin(script)
    client = transport(connect=0.05, limits=PoolLimits(max_connections=1))
    first = client.send(outgoing(server.url))
    with pytest.raises(errors.ConnectTimeout):
        client.send(outgoing(server.url))
    first.body.read()
    client.send(outgoing(server.url)).body.read()
    forgotten = client.send(outgoing(server.url))
    del forgotten
    client.send(outgoing(server.url)).body.read()


def test_unix_socket(origin, transport, tmp_path):
    server = origin(answer_once, uds=tmp_path / "s")
    assert transport().send(outgoing(server.url)).body.read() == b"ok"


# --- failure to connect, time -------------------------------------------------------------


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_refused_connection(transport):
    with pytest.raises(errors.ConnectError) as caught:
        transport().send(outgoing(f"http://127.0.0.1:{closed_port()}"))
    assert caught.value.status == 502


def test_missing_unix_socket(transport, tmp_path):
    url = f"http+unix://{str(tmp_path / 'none').replace('/', '%2F')}"
    with pytest.raises(errors.ConnectError):
        transport().send(outgoing(url))


def test_unknown_host(transport, monkeypatch):
    def resolve(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(errors.NameResolutionError):
        transport().send(outgoing("http://nowhere.invalid"))


def test_silent_origin(origin, transport):
    server = origin(lambda peer, number: peer.read_head() and peer.at_end())
    with pytest.raises(errors.ResponseHeadTimeout):
        transport(response=0.05).send(outgoing(server.url))


def test_stalled_body(origin, transport):
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"
    server = origin(lambda peer, number: [peer.answer(answer), peer.at_end()])
    body = transport(idle=0.05).send(outgoing(server.url)).body
    assert next(body) == b"half"
    with pytest.raises(errors.IdleTimeout):
        next(body)


def test_origin_that_takes_no_bytes(origin, transport):
    done = threading.Event()
    server = origin(lambda peer, number: done.wait(DEADLINE))
    with pytest.raises(errors.IdleTimeout):
        transport(idle=0.1).send(outgoing(server.url, "POST", body=b"x" * 30_000_000))
    done.set()


def test_whole_exchange_has_its_own_limit(origin, transport):
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"
    server = origin(lambda peer, number: [peer.answer(answer), peer.at_end()])
    started = time.monotonic()
    body = transport(total=0.1).send(outgoing(server.url)).body
    with pytest.raises(errors.ExchangeTimeout):
        body.read()
    assert time.monotonic() - started < DEADLINE


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"total": 0.05}, errors.ExchangeTimeout),
        ({"total": 0.05, "connect": 9}, errors.ExchangeTimeout),
        ({"total": 9, "connect": 0.05}, errors.ConnectTimeout),
        ({"connect": 0.05}, errors.ConnectTimeout),
    ],
    ids=repr,
)
def test_connecting_has_its_own_time_and_that_of_the_whole(transport, monkeypatch, options, kind):
    given = []

    def dial(origin, timeout):
        given.append(timeout)
        threading.Event().wait(timeout)
        raise errors.ConnectTimeout("no connection", target=str(origin))

    client = transport(**options)
    monkeypatch.setattr(client._dialer, "dial", dial)
    with pytest.raises(kind) as caught:
        client.send(outgoing("http://origin.test"))
    assert caught.value.target == "http://origin.test"
    assert 0 < given[0] <= 0.05
    if kind is errors.ExchangeTimeout:
        assert "not over within 0.05 s: still connecting" in str(caught.value)
        assert caught.value.retry_safe


# --- TLS --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    ca = trustme.CA()
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(path)
    return ca, str(path)


def server_context(ca, name="localhost", *, clients=False):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(name).configure_cert(context)
    if clients:
        context.verify_mode = ssl.CERT_REQUIRED
        ca.configure_trust(context)
    return context


def test_tls_is_verified_with_the_given_roots(origin, transport, authority):
    ca, path = authority
    server = origin(lambda peer, number: [peer.answer(), peer.answer()], tls=server_context(ca))
    client = transport(tls=Tls(ca_file=path))
    assert client.send(outgoing(server.url)).body.read() == b"ok"
    assert client.send(outgoing(server.url)).reused


def test_upload_over_tls_is_answered_early(origin, transport, authority):
    ca, path = authority
    answer = b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"
    done = threading.Event()
    server = origin(
        lambda peer, number: [peer.answer(answer), done.wait(DEADLINE)], tls=server_context(ca)
    )
    body = (b"x" * 65536 for _ in range(10_000))
    request = outgoing(server.url, "POST", body=body)
    assert transport(tls=Tls(ca_file=path)).send(request).status == 403
    done.set()


def test_untrusted_certificate_is_a_tls_error(origin, transport, authority):
    ca, _ = authority
    server = origin(answer_once, tls=server_context(ca))
    with pytest.raises(errors.TlsError):
        transport().send(outgoing(server.url))


def test_certificate_for_another_name_is_a_tls_error(origin, transport, authority):
    ca, path = authority
    server = origin(answer_once, tls=server_context(ca, "other.test"))
    with pytest.raises(errors.TlsError):
        transport(tls=Tls(ca_file=path)).send(outgoing(server.url))
    client = transport(tls=Tls(ca_file=path, server_hostname="other.test"))
    assert client.send(outgoing(server.url)).body.read() == b"ok"


def test_insecure_verifies_nothing_and_warns_of_nothing(origin, transport, authority):
    ca, _ = authority
    server = origin(answer_once, tls=server_context(ca, "other.test"))
    assert transport(tls=Tls(insecure=True)).send(outgoing(server.url)).body.read() == b"ok"


def test_client_certificate(origin, transport, authority, tmp_path):
    ca, path = authority
    identity = tmp_path / "client.pem"
    ca.issue_cert("client@origin.test").private_key_and_cert_chain_pem.write_to_path(identity)
    server = origin(answer_once, tls=server_context(ca, clients=True))
    client = transport(tls=Tls(ca_file=path, client_cert=str(identity)))
    assert client.send(outgoing(server.url)).body.read() == b"ok"


def test_tls_over_a_unix_socket(origin, transport, authority, tmp_path):
    ca, path = authority
    server = origin(answer_once, tls=server_context(ca), uds=tmp_path / "s")
    client = transport(tls=Tls(ca_file=path, server_hostname="localhost"))
    assert client.send(outgoing(server.url)).body.read() == b"ok"
