"""Connections: kept and pipelined on the client's side, reused and retried upstream."""

import contextlib
import socket
import threading

import pytest
from raw_origin import RawOrigin
from threaded_origin import OK
from wire import Wire, fetch

LINGER = b"\1\0\0\0\0\0\0\0"


def keeping(origin, connection, number):
    """An origin that behaves."""
    while origin.head(connection):
        connection.sendall(OK)


# --- the client's side ------------------------------------------------------------------


def test_pipelined_requests_are_answered_in_order(proxy, origin):
    """The first is the slowest."""
    go_on = threading.Event()
    pause = threading.Event()

    def script(connection):
        go_on.wait(5)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-N: slow\r\n\r\nslow")

    origin.script(script, only="/slow")
    with Wire(proxy(origin.url).url) as wire:
        heads = [f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n" for target in ("/slow", "/1", "/2")]
        wire.send("".join(heads).encode())
        pause.wait(0.05)
        go_on.set()
        assert [wire.answer().body for _ in range(3)] == [b"slow", b"ok", b"ok"]
    assert [seen.target for seen in origin.requests] == ["/slow", "/1", "/2"]


def test_pipelined_requests_with_bodies_keep_to_themselves(proxy, origin):
    with Wire(proxy(origin.url).url) as wire:
        parts = []
        for n in range(5):
            body = f"body {n}" * n
            parts.append(
                f"POST /{n} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}"
            )
        wire.send("".join(parts).encode())
        for _ in range(5):
            assert wire.answer().status == 200
    assert [seen.body.decode() for seen in origin.requests] == [f"body {n}" * n for n in range(5)]


def test_a_connection_is_kept_after_an_error_of_the_origin(proxy):
    def script(origin, connection, number):
        head = origin.head(connection)
        if b"/bad" not in head:
            connection.sendall(OK)

    with RawOrigin(script) as origin, Wire(proxy(origin.url).url) as wire:
        for n in range(3):
            assert wire.get(f"/{n}").status == 200
            assert wire.get("/bad").status == 502


def test_a_client_that_wants_to_close_is_let_go(proxy, origin):
    with Wire(proxy(origin.url).url) as wire:
        wire.request("GET", "/", [("Connection", "close")])
        answer = wire.answer()
        assert answer.status == 200
        assert wire.read_rest() == b""
    assert origin.last.all("connection") == []


# --- upstream connections ---------------------------------------------------------------


def test_one_upstream_connection_serves_many_clients(any_proxy):
    with RawOrigin(keeping) as origin:
        url = any_proxy(origin.url).url
        for n in range(10):
            assert fetch(url, f"/{n}").status == 200
        assert origin.connections == 1


DOUBTFUL = {
    "Connection: close": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "bytes after the body": OK + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
    "bytes after no body": b"HTTP/1.1 204 No Content\r\n\r\npoison",
    "a length with 204": b"HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\n",
}


def test_connections_are_not_reused_after_a_doubtful_end(any_proxy):
    """The origin would go on on the same connection; we must not."""
    answers = list(DOUBTFUL.values())

    def script(origin, connection, number):
        while origin.head(connection):
            connection.sendall(answers[number - 1] if number <= len(answers) else OK)

    with RawOrigin(script) as origin:
        url = any_proxy(origin.url).url
        for number, name in enumerate(DOUBTFUL, 1):
            answer = fetch(url, f"/{number}")
            assert b"poison" not in answer.body, name
            assert origin.connections == number, name
        assert fetch(url, "/last").body == b"ok"


def test_bytes_that_come_while_a_connection_is_idle_poison_nobody(any_proxy):
    sent = threading.Event()
    go_on = threading.Event()

    def script(origin, connection, number):
        assert origin.head(connection)
        connection.sendall(OK)
        if number == 1:
            go_on.wait(5)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
            sent.set()
        while origin.head(connection):
            connection.sendall(OK)

    with RawOrigin(script) as origin:
        url = any_proxy(origin.url).url
        assert fetch(url, "/1").body == b"ok"
        go_on.set()
        assert sent.wait(5)
        for n in range(2, 5):
            assert fetch(url, f"/{n}").body == b"ok"


def test_an_early_answer_ends_the_upstream_connection(proxy):
    """What is left of the upload must not be taken for the next request."""

    def script(origin, connection, number):
        origin.head(connection)
        if number == 1:
            connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
            while connection.recv(65536):
                pass
        else:
            connection.sendall(OK)

    with RawOrigin(script) as origin:
        url = proxy(origin.url).url
        with Wire(url) as wire:
            wire.request("POST", "/early", [("Content-Length", "1000000")])
            wire.send(b"x" * 1000)
            head = wire.head()
            assert head.status == 403
            assert wire.read_exactly(2) == b"no"
        assert fetch(url, "/next").body == b"ok"
        assert origin.connections == 2


def test_connections_are_bounded_in_number(proxy):
    """The rest wait for their turn."""
    busy, most = set(), []
    lock = threading.Lock()
    pause = threading.Event()

    def script(origin, connection, number):
        while origin.head(connection):
            with lock:
                busy.add(number)
                most.append(len(busy))
            pause.wait(0.02)
            with lock:
                busy.discard(number)
            connection.sendall(OK)

    with RawOrigin(script) as origin:
        url = proxy(origin.url, "--max-connections", "2").url
        wires = [Wire(url) for _ in range(6)]
        for n, wire in enumerate(wires):
            wire.request("GET", f"/{n}")
        for wire in wires:
            assert wire.answer().status == 200
            wire.close()
        assert origin.connections == max(most) == 2


# --- the retry rule ---------------------------------------------------------------------


def dying_second(*, after_head, reset=False):
    """Answer once per connection; the first connection dies when, or just before, it would
    have to answer again."""

    def script(origin, connection, number):
        origin.head(connection)
        connection.sendall(OK)
        if number > 1:
            keeping(origin, connection, number)
        elif after_head:
            origin.head(connection)
            if reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)

    return script


@pytest.mark.all_variations_on("werkzeug")
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_idempotent_requests_on_a_stale_connection_are_retried_once(each_client, method, reset):
    with RawOrigin(dying_second(after_head=True, reset=reset)) as origin:
        url = each_client(origin.url).url
        assert fetch(url, "/first").status == 200
        assert fetch(url, "/second", method).status == 200
        assert origin.lines == ["GET /first", f"{method} /second", f"{method} /second"]


@pytest.mark.all_variations_on("werkzeug")
@pytest.mark.parametrize("body", [None, b"some body"], ids=["no body", "body"])
@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_a_post_is_never_sent_twice(each_client, body, reset):
    with RawOrigin(dying_second(after_head=True, reset=reset)) as origin:
        url = each_client(origin.url).url
        assert fetch(url, "/first").status == 200
        assert fetch(url, "/second", "POST", body=body).status == 502
        assert origin.lines == ["GET /first", "POST /second"]


def test_a_post_gets_a_fresh_connection_where_the_old_one_is_known_to_be_dead(each_client):
    closed = threading.Event()

    def script(origin, connection, number):
        origin.head(connection)
        connection.sendall(OK)
        if number == 1:
            connection.close()
            closed.set()
        else:
            keeping(origin, connection, number)

    with RawOrigin(script) as origin:
        url = each_client(origin.url).url
        assert fetch(url, "/first").status == 200
        assert closed.wait(5)
        assert fetch(url, "/second", "POST", body=b"x").status == 200
        assert origin.lines == ["GET /first", "POST /second"]


def test_nothing_is_retried_once_a_byte_of_the_answer_came(each_client):
    def script(origin, connection, number):
        origin.head(connection)
        connection.sendall(OK)
        origin.head(connection)
        connection.sendall(b"HTTP/1.1 2")

    with RawOrigin(script) as origin:
        url = each_client(origin.url).url
        assert fetch(url, "/first").status == 200
        assert fetch(url, "/second").status == 502
        assert origin.lines == ["GET /first", "GET /second"]


def test_nothing_is_retried_on_a_fresh_connection(each_client):
    def script(origin, connection, number):
        origin.head(connection)

    with RawOrigin(script) as origin:
        assert fetch(each_client(origin.url).url).status == 502
        assert origin.lines == ["GET /"]


def test_no_request_is_retried_twice(each_client):
    def script(origin, connection, number):
        origin.head(connection)
        if number == 1:
            connection.sendall(OK)
            origin.head(connection)

    with RawOrigin(script) as origin:
        url = each_client(origin.url).url
        assert fetch(url, "/first").status == 200
        assert fetch(url, "/second").status == 502
        assert origin.lines == ["GET /first", "GET /second", "GET /second"]


def test_a_streamed_upload_is_not_retried_once_it_has_begun(each_client):
    """What was pulled from the client is gone."""

    def script(origin, connection, number):
        origin.head(connection)
        if number > 1:
            connection.sendall(OK)
            return
        connection.sendall(OK)
        head = origin.head(connection)
        received = len(head.partition(b"\r\n\r\n")[2])
        while received < 100_000:
            received += len(connection.recv(65536))

    with RawOrigin(script) as origin:
        url = each_client(origin.url).url
        assert fetch(url, "/first").status == 200
        with Wire(url) as wire:
            wire.request("PUT", "/second", [("Content-Length", "20000000")])
            with contextlib.suppress(OSError):
                wire.send(b"x" * 20_000_000)
            assert wire.head().status == 502
        assert origin.lines == ["GET /first", "PUT /second"]
