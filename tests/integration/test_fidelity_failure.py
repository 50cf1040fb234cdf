"""What the client sees of an origin that fails, and what the log says of it."""

import contextlib
import re
import socket
import sys
import threading
import time

import pytest
from commanded import Commanded, installed, lines_about_the_upstream
from h2.events import DataReceived, StreamEnded, StreamReset
from h2wire import H2Client
from wire import Truncated, Wire, fetch

TIMEOUT = "0.2"


def send_all(sock, data):
    with contextlib.suppress(OSError):
        sock.sendall(data)


@pytest.fixture
def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


def sending(data, *, end="close"):
    """Answer a head with ``data`` and end the connection so."""

    def script(connection):
        connection.sendall(data)
        if end == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    return script


BROKEN_HEADS = {
    "closed before the head": sending(b""),
    "reset before the head": sending(b"", end="reset"),
    "closed within the head": sending(b"HTTP/1.1 200 O"),
    "another protocol": sending(b"220 mail ready\r\n\r\n"),
    "malformed field": sending(b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n"),
    "length and chunked": sending(
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok"
    ),
    "two lengths": sending(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!"),
    "unknown coding": sending(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
    "101 unasked": sending(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"),
    "endless head": sending(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 70_000 + b"\r\n\r\n"),
}


def test_an_answer_that_is_none_is_a_502_and_one_line_in_the_log(any_proxy, origin, caplog):
    url = any_proxy(origin.url).url
    for name, script in BROKEN_HEADS.items():
        origin.script(script)
        caplog.clear()
        answer = fetch(url, "/some/path?q")
        assert answer.status == 502, name
        assert_tells_nothing(answer, origin.url)
        (line,) = lines_about_the_upstream(caplog)
        assert re.search(r"GET /some/path.*upstream error in phase 'response head': ", line), name
        assert origin.url in line, name


def assert_tells_nothing(answer, url):
    said = answer.body.decode() + str(answer.headers)
    assert url.rpartition(":")[2] not in said
    assert "proxy-status" not in said.lower()
    assert re.fullmatch(r"50\d [A-Za-z ]+\n", answer.body.decode())


def test_a_refused_connection_is_a_502(each_client, closed_port, caplog):
    answer = fetch(each_client(f"http://127.0.0.1:{closed_port}").url)
    assert answer.status == 502
    (line,) = lines_about_the_upstream(caplog)
    assert "upstream error in phase 'connect': " in line
    assert f"http://127.0.0.1:{closed_port}" in line
    assert "Connection refused" in line


def test_a_name_without_an_address_is_a_502(each_client, monkeypatch, caplog):
    def unknown(*args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    url = each_client("http://no-such-host.invalid").url
    with monkeypatch.context() as patched:
        wire = Wire(url)
        patched.setattr(socket, "getaddrinfo", unknown)
        answer = wire.get("/")
        wire.close()
    assert answer.status == 502
    (line,) = lines_about_the_upstream(caplog)
    assert "http://no-such-host.invalid" in line


def test_plain_text_where_tls_is_due_is_a_502(each_client, caplog):
    with plain_listener() as port:
        answer = fetch(each_client(f"https://127.0.0.1:{port}", "--insecure").url)
    assert answer.status == 502
    (line,) = lines_about_the_upstream(caplog)
    assert "upstream error in phase 'tls'" in line


@contextlib.contextmanager
def plain_listener():
    """Answers whatever comes as a web server without TLS does."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    thread = threading.Thread(target=serve)
    thread.start()
    with listener:
        yield listener.getsockname()[1]
        thread.join(5)


def test_a_silent_origin_is_a_504_in_time(any_proxy, origin, caplog):
    over = threading.Event()
    origin.script(lambda connection: over.wait(5))
    url = any_proxy(origin.url, "--response-timeout", TIMEOUT, "--proxy-status").url
    began = time.monotonic()
    answer = fetch(url)
    assert answer.status == 504
    assert answer.all("proxy-status") == ["rolo; error=http_response_timeout"]
    assert 0.15 < time.monotonic() - began < 1.5
    (line,) = lines_about_the_upstream(caplog)
    assert "upstream error in phase 'response head'" in line
    over.set()


def test_an_origin_that_does_not_take_connections_is_a_504(each_client):
    """Its backlog is full, so that connecting neither fails nor succeeds."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        queued = []
        for _ in range(4):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(address)
            queued.append(sock)
        url = each_client(f"http://127.0.0.1:{address[1]}", "--connect-timeout", TIMEOUT).url
        answer = fetch(url)
        for sock in queued:
            sock.close()
    assert answer.status == 504


def test_a_client_that_stalls_within_its_body_is_told_so(proxy, origin, caplog):
    over = threading.Event()

    def script(connection):
        while connection.recv(65536):
            pass
        over.set()

    origin.script(script)
    with Wire(proxy(origin.url, "--idle-timeout", TIMEOUT, "--proxy-status").url) as wire:
        wire.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\npart")
        answer = wire.head()
    assert answer.status == 408
    assert answer.all("proxy-status") == ["rolo; error=http_request_error; status-code=408"]
    assert over.wait(5)  # nobody waits for the rest there either
    (line,) = [record.message for record in caplog.records if "request body" in record.message]
    assert "downstream error in phase 'request body'" in line


def test_an_origin_that_takes_nothing_of_a_body_is_a_504(proxy, origin):
    over = threading.Event()
    origin.script(lambda connection: over.wait(10))
    with Wire(proxy(origin.url, "--idle-timeout", TIMEOUT).url) as wire:
        wire.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n")
        sender = threading.Thread(target=send_all, args=(wire.socket, bytes(100_000_000)))
        sender.start()
        answer = wire.head()
    sender.join(5)
    over.set()
    assert answer.status == 504


# --- within the body --------------------------------------------------------------------

LENGTH = b"Content-Length: 100\r\n\r\npart"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n"

BROKEN_BODIES = [
    (LENGTH, b"", "close"),
    (LENGTH, b"", "reset"),
    (CHUNKED, b"", "close"),
    (CHUNKED, b"", "reset"),
    (CHUNKED, b"4\r\npa", "close"),
    (CHUNKED, b"no size\r\n", "close"),
]


def test_an_origin_dying_within_the_body_breaks_the_answer_off(any_proxy, origin):
    url = any_proxy(origin.url).url
    for head, last, end in BROKEN_BODIES:
        go_on = threading.Event()

        def script(connection, head=head, last=last, end=end, go_on=go_on):
            connection.sendall(b"HTTP/1.1 200 OK\r\n" + head)
            go_on.wait(5)
            sending(last, end=end)(connection)

        origin.script(script)
        with Wire(url) as wire:
            wire.request("GET", "/")
            answer = wire.head()
            assert answer.status == 200
            assert wire.piece(answer) == b"part"
            go_on.set()
            with pytest.raises(Truncated):
                wire.body(answer)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_chunked_answer_that_dies_is_no_clean_end_for_an_old_client(proxy, origin, version):
    """HTTP/1.0 has no chunks: only a reset tells half an answer from a whole one."""
    go_on = threading.Event()

    def script(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n")
        go_on.wait(5)

    origin.script(script)
    with Wire(proxy(origin.url).url) as wire:
        wire.send(f"GET / HTTP/{version}\r\nHost: x\r\n\r\n".encode())
        wire.read_until(b"part")
        go_on.set()
        try:
            rest = wire.read_rest_strictly()
        except ConnectionResetError:
            clean = False
        else:
            # uvicorn sends chunks, which an old client takes for the body, to all.
            chunked = version == "1.1" or proxy.server == "uvicorn"
            clean = not chunked or b"0\r\n" in rest
    # granian has no way to say it: docs/servers.md.
    assert clean is (version == "1.0" and proxy.server == "granian")


def test_a_body_of_an_old_origin_that_is_reset_is_broken_off(any_proxy, origin):
    """A close would be its proper end; a reset is none."""
    go_on = threading.Event()

    def script(connection):
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\npart")
        go_on.wait(5)
        sending(b"", end="reset")(connection)

    origin.script(script)
    with Wire(any_proxy(origin.url).url) as wire:
        wire.request("GET", "/")
        answer = wire.head()
        assert wire.piece(answer) == b"part"
        go_on.set()
        if answer.get("transfer-encoding") is None:
            with pytest.raises(ConnectionResetError):
                wire.read_rest_strictly()
        else:
            with pytest.raises(Truncated):
                wire.body(answer)


def test_a_broken_answer_is_logged_with_side_phase_target_and_cause(proxy, origin, caplog):
    go_on = threading.Event()

    def script(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart")
        go_on.wait(5)
        sending(b"", end="reset")(connection)

    origin.script(script)
    with Wire(proxy(origin.url).url) as wire:
        wire.request("GET", "/x%0aFAKE%20LINE?q")
        answer = wire.head()
        wire.piece(answer)
        go_on.set()
        with pytest.raises(Truncated):
            wire.body(answer)
    line = next(line for line in lines_about_the_upstream(caplog) if "broken off" in line)
    assert "GET /x%0aFAKE" in line
    assert "upstream error in phase 'response body'" in line
    assert origin.url in line
    assert "ConnectionResetError" in line
    assert "\n" not in line


def test_others_are_served_while_one_origin_connection_dies(proxy, origin):
    origin.script(sending(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"), only="/broken")
    url = proxy(origin.url).url
    with Wire(url) as wire:
        for _ in range(5):
            with pytest.raises(Truncated):
                fetch(url, "/broken")
            assert wire.get("/fine").body == b"ok"


# --- stalled ----------------------------------------------------------------------------


def test_a_stalled_body_is_cut_and_a_slow_but_steady_one_never(any_proxy, origin):
    """The slow ones take longer than the idle timeout, and come within it piece by piece."""
    pause = threading.Event()
    over = threading.Event()
    options = ("--idle-timeout", "0.4", "--response-timeout", "0.4")

    def script(connection):
        target = origin.last.target
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n")
        for _ in range(6):
            pause.wait(0.1)
            connection.sendall(b"x")
            if target == "/stalled":
                over.wait(5)

    origin.script(script, unless="/up")
    url = any_proxy(origin.url, *options).url
    with Wire(url) as up, Wire(url) as down, Wire(url) as stalled:
        stalled.request("GET", "/stalled")
        answer = stalled.head()
        down.request("GET", "/down")
        up.request("POST", "/up", [("Content-Length", "6")])
        began = time.monotonic()
        for _ in range(6):
            pause.wait(0.1)
            up.send(b"x")
        with pytest.raises(Truncated):
            stalled.body(answer)
        assert time.monotonic() - began < 2.0
        assert up.answer().status == 200
        assert down.answer().body == b"x" * 6
    over.set()
    assert next(seen for seen in origin.requests if seen.target == "/up").body == b"x" * 6


def test_a_client_that_takes_nothing_of_its_answer_is_cut(proxy, origin, caplog):
    """The idle timeout holds for it as well: its exchange upstream ends."""
    left = threading.Event()

    def script(connection):
        with contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
            while True:
                connection.sendall(b"x" * 65536)
        left.set()

    origin.script(script)
    with Wire(proxy(origin.url, "--idle-timeout", TIMEOUT).url) as wire:
        wire.request("GET", "/")
        assert wire.head().status == 200
        assert left.wait(5)
        with pytest.raises(Truncated):
            wire.read_exactly(100_000_000)
    (line,) = lines_about_the_upstream(caplog)
    assert "downstream error in phase 'response body': the client took nothing for 0.2 s" in line


def read_slowly(sock, seconds):
    """Read 64 KiB twenty times a second: less than the buffers on the way hold in a while."""
    pause, received, end = threading.Event(), 0, time.monotonic() + seconds
    while time.monotonic() < end:
        pause.wait(0.05)
        data = sock.recv(64 * 1024)
        assert data, f"cut after {received} bytes"
        received += len(data)
    return received


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a peer has taken")
def test_a_client_that_takes_its_answer_slowly_but_steadily_is_never_cut(origin):
    """On the native server, which knows how far its client has got."""

    def script(connection):
        with contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 20000000\r\n\r\n")
            connection.sendall(bytes(20_000_000))

    origin.script(script)
    with contextlib.ExitStack() as running:
        proxy = Commanded("native", "loop", running)
        url = proxy(origin.url, "--idle-timeout", "0.8").url
        wire = running.enter_context(Wire(url))
        wire.request("GET", "/")
        answer = wire.head()
        received = len(wire.buffer) + read_slowly(wire.socket, 2.5)
        wire.buffer = b""
        assert len(wire.read_exactly(20_000_000 - received)) == 20_000_000 - received
    assert answer.status == 200


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a peer has taken")
def test_an_origin_that_takes_a_body_slowly_but_steadily_is_never_given_up(origin):
    def script(connection):
        read_slowly(connection, 2.5)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    origin.script(script)
    with contextlib.ExitStack() as running:
        proxy = Commanded("native", "loop", running)
        url = proxy(origin.url, "--idle-timeout", "0.8").url
        wire = running.enter_context(Wire(url))
        wire.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n")
        sender = threading.Thread(target=send_all, args=(wire.socket, bytes(100_000_000)))
        sender.start()
        assert wire.head().status == 200
        wire.close()
        sender.join(5)


# --- Proxy-Status -----------------------------------------------------------------------


def test_proxy_status_says_the_kind_of_error_when_asked_to(each_client, origin):
    url = each_client(origin.url, "--proxy-status").url
    for script, status, kind in (
        (sending(b""), 502, "http_response_incomplete"),
        (sending(b"nonsense\r\n\r\n"), 502, "http_protocol_error"),
    ):
        origin.script(script)
        answer = fetch(url)
        assert answer.status == status
        assert answer.all("proxy-status") == [f"rolo; error={kind}"]


def test_proxy_status_of_a_refused_connection(each_client, closed_port):
    answer = fetch(each_client(f"http://127.0.0.1:{closed_port}", "--proxy-status").url)
    assert answer.all("proxy-status") == ["rolo; error=connection_refused"]


def test_proxy_status_is_on_our_own_answers_only(proxy, origin):
    origin.answer(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
    answer = fetch(proxy(origin.url, "--proxy-status").url)
    assert answer.status == 502
    assert answer.all("proxy-status") == []


# --- HTTP/2 -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["threads", "loop"])
@pytest.mark.parametrize("server", ["hypercorn", "granian"])
@pytest.mark.parametrize("end", ["close", "reset"])
def test_an_origin_dying_within_the_body_resets_the_http2_stream(
    server_tls, trusting, origin, server, mode, end
):
    def script(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n")
        go_on.wait(5)
        sending(b"", end=end)(connection)

    go_on = threading.Event()
    origin.script(script, only="/broken")
    with contextlib.ExitStack() as running:
        proxy = Commanded(installed(server), mode, running)
        url = proxy(origin.url, tls=server_tls).port
        client = running.enter_context(H2Client(url, trusting))
        stream = client.request("/broken")
        client.until(DataReceived, stream)
        go_on.set()
        ended = client.until((StreamEnded, StreamReset), stream)
        assert isinstance(ended, StreamReset)
        assert client.body(stream) == b"part"
        fine = client.request("/fine")
        client.until(StreamEnded, fine)
        assert client.body(fine) == b"ok"
