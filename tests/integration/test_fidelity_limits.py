"""What clients may ask: each limit on every server, from outside."""

import contextlib
import logging
import threading

import pytest
from choosing import OWN_HTTP
from commanded import Commanded, installed
from h2.events import ResponseReceived, StreamEnded
from h2wire import H2Client
from wire import Wire, chunked, fetch

from rolo.bridge.limits import Limits


def test_a_head_with_too_many_fields_is_431(proxy, origin):
    url = proxy(origin.url, "--max-fields", "20").url
    fields = [(f"X-Field-{n}", "1") for n in range(15)]
    assert fetch(url, headers=fields).status == 200
    fields = [(f"X-Field-{n}", "1") for n in range(25)]
    assert fetch(url, headers=fields).status == 431
    assert len(origin.requests) == 1


def test_a_head_of_too_many_bytes_is_431(proxy, origin):
    url = proxy(origin.url, "--max-head", "4k").url
    assert fetch(url, headers=[("X-Long", "x" * 3500)]).status == 200
    assert fetch(url, headers=[("X-Long", "x" * 5000)]).status == 431
    assert len(origin.requests) == 1


def test_a_head_of_60_kib_and_300_fields_passes_by_default(proxy, origin):
    fields = [(f"X-Field-{n}", "x" * 185) for n in range(300)]
    answer = fetch(proxy(origin.url).url, headers=fields)
    if proxy.server == "granian":
        # Its parser stops at 100 fields and has no setting for it.
        assert answer.status == 431
        return
    assert answer.status == 200
    assert sum(name.lower().startswith("x-field") for name, _ in origin.last.headers) == 300


def test_a_larger_head_passes_where_the_limit_says_so(proxy, origin):
    if proxy.server == "granian":
        pytest.skip("its parser has limits of its own")
    url = proxy(origin.url, "--max-head", "200k").url
    assert fetch(url, headers=[("X-Long", "x" * 150_000)]).status == 200
    assert len(origin.last.get("x-long")) == 150_000


def test_a_refused_head_names_its_fault_in_proxy_status_and_the_log(origin, caplog):
    """On the native server, whose own parser finds it."""
    caplog.set_level(logging.INFO)
    with contextlib.ExitStack() as running:
        url = Commanded("native", "loop", running)(origin.url, "--proxy-status").url
        wire = running.enter_context(Wire(url))
        wire.send(b"GET / HTTP/1.1\r\nHost : x\r\n\r\n")
        answer = wire.head()
    assert answer.status == 400
    assert answer.all("proxy-status") == ["rolo; error=http_request_error; status-code=400"]
    (line,) = [record.message for record in caplog.records if "refused" in record.message]
    assert "downstream error in phase 'request head'" in line


def test_an_endless_head_is_cut_off(proxy, origin):
    """What it may cost is bounded, whoever reads it."""
    sent = 0
    with Wire(proxy(origin.url).url) as wire:
        wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n")
        with contextlib.suppress(OSError):
            while sent < 64 << 20:
                wire.send((b"X-More: " + b"x" * 990 + b"\r\n") * 64)
                sent += 64_000
    # What we take is far less; the rest is what the kernel buffers on both sides.
    assert sent < 32 << 20
    assert origin.requests == []


def test_a_target_that_is_too_long_is_414(proxy, origin):
    url = proxy(origin.url, "--max-target", "1000").url
    assert fetch(url, "/" + "x" * 900).status == 200
    assert fetch(url, "/" + "x" * 1100).status == 414
    assert len(origin.requests) == 1


def test_a_body_of_a_declared_length_over_the_limit_is_413_and_not_forwarded(proxy, origin):
    url = proxy(origin.url, "--max-body", "1000").url
    assert fetch(url, method="POST", body=b"x" * 1000).status == 200
    with Wire(url) as wire:
        wire.request("POST", "/", [("Content-Length", "1001")])
        answer = wire.answer()  # before any of the body is sent
        assert answer.status == 413
        assert answer.get("connection") == "close"
    assert len(origin.requests) == 1


def test_an_expecting_client_hears_413_before_it_sends_its_body(proxy, origin):
    with Wire(proxy(origin.url, "--max-body", "1000").url) as wire:
        wire.request("PUT", "/", [("Content-Length", "5000"), ("Expect", "100-continue")])
        assert wire.head().status == 413
    assert origin.requests == []


def test_a_chunked_body_over_the_limit_is_cut_off(proxy, origin):
    """The origin must not take what it got for the whole body."""
    ended = []
    over = threading.Event()

    def script(connection):
        received = b""
        try:
            while data := connection.recv(65536):
                received += data
        except OSError:
            pass
        ended.append(received)
        over.set()

    origin.script(script, only="/over")
    url = proxy(origin.url, "--max-body", "1000").url
    with Wire(url) as wire:
        wire.request("POST", "/", [("Transfer-Encoding", "chunked")])
        wire.send(chunked(b"x" * 400, b"x" * 600))
        assert wire.answer().status == 200
    with Wire(url) as wire:
        wire.request("POST", "/over", [("Transfer-Encoding", "chunked")])
        wire.send(b"190\r\n" + b"x" * 400 + b"\r\n")
        assert origin_has_begun(origin)
        wire.send(b"320\r\n" + b"x" * 800 + b"\r\n")
        assert wire.answer().status == 413
    assert over.wait(5)
    assert not ended[0].endswith(b"0\r\n\r\n")
    assert len(origin.last.body) <= 1000


def origin_has_begun(origin, deadline=5.0):
    pause = threading.Event()
    while not any(seen.target == "/over" for seen in origin.requests) and deadline > 0:
        pause.wait(0.01)
        deadline -= 0.01
    return deadline > 0


def test_one_exchange_too_many_is_503_and_a_place_that_is_free_again_is_used(proxy, origin):
    waiting = threading.Semaphore(0)
    go_on = threading.Event()

    def script(connection):
        waiting.release()
        go_on.wait(5)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    origin.script(script, only="/slow")
    url = proxy(origin.url, "--max-exchanges", "2", "--proxy-status").url
    with Wire(url) as one, Wire(url) as two:
        for wire in (one, two):
            wire.request("GET", "/slow")
            assert waiting.acquire(timeout=5)
        answer = fetch(url)
        assert answer.status == 503
        assert answer.all("proxy-status") == ["rolo; error=connection_limit_reached"]
        go_on.set()
        assert one.answer().status == two.answer().status == 200
    assert fetch(url).status == 200


def test_a_refused_request_is_logged_with_its_cause(proxy, origin, caplog):
    fetch(proxy(origin.url, "--max-target", "1000").url, "/" + "x" * 1100)
    if proxy.server in OWN_HTTP:
        return  # refused by the server itself, which says so at debug level
    (line,) = [r.message for r in caplog.records if r.name == "rolo.bridge.http_exchanges"]
    assert "downstream error in phase 'request head': request target of 1101 bytes" in line


@pytest.mark.parametrize("server", ["hypercorn", "granian"])
def test_limits_hold_on_http2(server_tls, trusting, origin, server):
    options = ("--max-body", "1000", "--max-fields", "20", "--max-target", "500")
    with contextlib.ExitStack() as running:
        proxy = Commanded(installed(server), "threads", running)
        port = proxy(origin.url, *options, tls=server_tls).port
        client = running.enter_context(H2Client(port, trusting))
        assert status(client, client.request("/", (b"content-length", b"5000"), body=None)) == 413
        many = [(b"x-%d" % n, b"1") for n in range(30)]
        assert status(client, client.request("/", *many)) == 431
        assert status(client, client.request("/" + "x" * 600)) == 414
        stream = client.request("/", body=None)
        client.upload(stream, b"x" * 1500)
        assert status(client, stream) == 413
        fine = client.request("/")
        client.until(StreamEnded, fine)
        assert client.body(fine) == b"ok"


def status(client, stream):
    event = client.until(ResponseReceived, stream)
    return int(dict(event.headers)[b":status"])


@pytest.mark.parametrize("name", ["max_head", "max_body", "send_timeout", "buffer"])
def test_a_limit_of_nothing_is_refused(name):
    with pytest.raises(ValueError, match=name):
        Limits(**{name: 0})
