"""HTTP/2 clients in front of an HTTP/1.1 origin: what differs from HTTP/1.1 clients."""

import contextlib

import pytest
from fidelity import DEADLINE, Farm
from h2.events import (
    InformationalResponseReceived,
    ResponseReceived,
    StreamEnded,
    TrailersReceived,
)
from h2wire import H2Client

SERVERS = [
    f"{server}-{mode}"
    for server in ("hypercorn", "granian", "twisted")
    for mode in ("loop", "threads")
]


@pytest.fixture(params=SERVERS)
def proxied(request, server_tls):
    """A proxy that speaks HTTP/2 over TLS, in front of a recording origin."""
    with contextlib.ExitStack() as running:
        yield Farm(running).proxy(request.param, tls=server_tls)


@pytest.fixture
def client(proxied, trusting):
    with H2Client(proxied.port, trusting) as client:
        yield client


def framing(message):
    return [message.all(name) for name in ("content-length", "transfer-encoding")]


def finish(client, stream):
    client.until(StreamEnded, stream)
    headers = client.until(ResponseReceived, stream).headers
    return dict(headers), client.body(stream)


def test_a_request_without_a_body_gets_no_framing(proxied, client):
    headers, body = finish(client, client.request("/a%2Fb?x"))
    assert (headers[b":status"], body) == (b"200", b"ok")
    last = proxied.origin.last
    assert last.line == "GET /a%2Fb?x HTTP/1.1"
    assert framing(last) == [[], []]
    assert last.all("host") == ["test"]
    assert last.get("x-forwarded-proto") == "https"


@pytest.mark.parametrize("declared", [True, False], ids=["with a length", "without"])
def test_a_body_is_framed_as_it_was_declared(proxied, client, declared):
    fields = [(b"content-length", b"5")] if declared else []
    finish(client, client.request("/", *fields, body=b"hello"))
    last = proxied.origin.last
    assert framing(last) == ([["5"], []] if declared else [[], ["chunked"]])
    assert last.body == b"hello"


def test_an_answer_in_chunks_has_no_field_that_http_2_forbids(proxied, client):
    proxied.origin.answer(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nKeep-Alive: x\r\n\r\n"
        b"2\r\nok\r\n0\r\n\r\n"
    )
    headers, body = finish(client, client.request())
    assert {b"transfer-encoding", b"connection", b"keep-alive"}.isdisjoint(headers)
    assert body == b"ok"


def test_trailers_and_early_hints_pass_where_the_server_can(proxied, client):
    proxied.origin.answer(
        b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n"
    )
    stream = client.request("/", (b"te", b"trailers"))
    headers, body = finish(client, stream)
    assert (headers[b":status"], body) == (b"200", b"ok")
    interim = [e.headers for e in client.events if isinstance(e, InformationalResponseReceived)]
    trailers = [e.headers for e in client.events if isinstance(e, TrailersReceived)]
    if proxied.server in ("hypercorn", "twisted"):
        assert (b"link", b"</a.css>") in interim[0]
        assert [tuple(field) for field in trailers[0]] == [(b"x-sum", b"1")]
    else:
        assert (interim, trailers) == ([], [])


def test_an_answer_without_trailers_ends_for_who_asked_for_them(proxied, client):
    proxied.origin.answer(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    )
    assert finish(client, client.request("/", (b"te", b"trailers")))[1] == b"ok"


def test_connect_makes_no_tunnel(proxied, client):
    stream = client.connection.get_next_available_stream_id()
    head = [(b":method", b"CONNECT"), (b":authority", b"origin.test:443")]
    client.connection.send_headers(stream, head, end_stream=False)
    client.flush()
    client.sock.settimeout(DEADLINE)
    status = dict(client.until(ResponseReceived, stream).headers)[b":status"]
    assert status == b"501"
    assert proxied.origin.exchanges == []
    # The others on the connection are none the worse for it.
    assert finish(client, client.request("/"))[1] == b"ok"
