"""The first complete path of forwarding, through every server and in both modes."""

import json
import threading

import pytest
from threaded_origin import ThreadedOrigin
from wire import Truncated, Wire, chunked, fetch

from rolo.gateway import Gateway
from rolo.proxy import Proxy, ProxyHandler, Timeouts, forward
from rolo.routing import Router
from rolo.serving import serve


@pytest.fixture
def origin():
    with ThreadedOrigin() as origin:
        yield origin


@pytest.fixture
def proxied(start, origin):
    """Serve a proxy in front of ``origin``; returns its URL."""
    handlers = []

    def proxied(base="", **options):
        handler = ProxyHandler(origin.url + base, **options)
        handlers.append(handler)
        return start(handler).url

    yield proxied
    for handler in handlers:
        handler.close()


def test_status_reason_fields_and_body_come_through(proxied, origin):
    origin.answer(
        b"HTTP/1.1 404 Not Here\r\nX-One: 1\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n"
        b"Content-Length: 4\r\n\r\nnope"
    )
    answer = fetch(proxied(), "/missing")
    assert (answer.status, answer.body) == (404, b"nope")
    assert answer.all("set-cookie") == ["a=1", "b=2"]
    assert answer.get("x-one") == "1"
    assert answer.all("content-length") == ["4"]
    assert answer.all("transfer-encoding") == []


@pytest.mark.parametrize(
    "target",
    ["/", "/a%2Fb", "/a//b/", "/a?x=1&x=2", "/%7Euser/%e4", "/a;p=1?q=%20+", "/a/b?u=http://x/y"],
)
def test_the_target_goes_upstream_byte_for_byte(proxied, origin, target):
    fetch(proxied(), target)
    assert origin.last.target == target


def test_the_base_path_of_the_upstream_comes_first(proxied, origin):
    fetch(proxied("/base"), "/some/path?q=1")
    assert origin.last.target == "/base/some/path?q=1"


def test_end_to_end_fields_pass_and_hop_by_hop_fields_do_not(proxied, origin):
    fetch(
        proxied(),
        headers=[
            ("X-Twice", "1"),
            ("Connection", "close, X-Private"),
            ("X-Private", "secret"),
            ("X-Twice", "2"),
            ("Keep-Alive", "timeout=5"),
            ("X_Under", "dropped"),
        ],
    )
    assert origin.last.all("x-twice") == ["1", "2"]
    assert origin.last.all("x-private") == []
    assert origin.last.all("keep-alive") == []
    assert origin.last.all("x_under") == []
    assert origin.last.all("accept-encoding") == []
    assert origin.last.all("user-agent") == []


def test_the_client_is_named_in_the_forwarded_fields(proxied, origin):
    url = proxied()
    fetch(url, headers=[("X-Forwarded-For", "203.0.113.7")])
    assert origin.last.all("x-forwarded-for") == ["203.0.113.7, 127.0.0.1"]
    assert origin.last.all("x-forwarded-proto") == ["http"]
    assert origin.last.all("x-forwarded-host") == [url.removeprefix("http://")]


@pytest.mark.parametrize("preserve", [True, False], ids=["client's host", "upstream's host"])
def test_host_is_the_clients_or_the_upstreams_by_choice(proxied, origin, preserve):
    url = proxied(preserve_host=preserve)
    fetch(url)
    wanted = url if preserve else origin.url
    assert origin.last.all("host") == [wanted.removeprefix("http://")]


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"])
def test_bodies_with_a_length_keep_it(proxied, origin, method):
    fetch(proxied(), method=method, body=b"some body")
    assert origin.last.method == method
    assert origin.last.all("content-length") == ["9"]
    assert origin.last.all("transfer-encoding") == []
    assert origin.last.body == b"some body"


def test_chunked_bodies_stay_chunked(proxied, origin):
    with Wire(proxied()) as wire:
        wire.request("POST", "/", [("Transfer-Encoding", "chunked")])
        wire.send(chunked(b"one", b"two" * 1000))
        assert wire.answer().status == 200
    assert origin.last.all("transfer-encoding") == ["chunked"]
    assert origin.last.all("content-length") == []
    assert origin.last.body == b"one" + b"two" * 1000


def test_a_request_without_a_body_gets_no_framing(proxied, origin):
    fetch(proxied())
    assert origin.last.all("content-length") == []
    assert origin.last.all("transfer-encoding") == []


def test_an_upload_streams(proxied, origin):
    """The origin has the first bytes before the client sends the last."""
    with Wire(proxied()) as wire:
        wire.request("POST", "/", [("Content-Length", "200005")])
        wire.send(b"first")
        assert origin.body_started.wait(5)
        wire.send(b"x" * 200_000)
        assert wire.answer().status == 200
    assert len(origin.last.body) == 200_005


def test_a_download_streams_and_its_head_is_flushed_before_any_body(proxied, origin):
    go_on = threading.Event()

    def slow(connection):
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        assert go_on.wait(5)
        go_on.clear()
        connection.sendall(b"8\r\ndata: 1\n\r\n")
        assert go_on.wait(5)
        connection.sendall(b"8\r\ndata: 2\n\r\n0\r\n\r\n")

    origin.script(slow)
    with Wire(proxied()) as wire:
        wire.request("GET", "/")
        head = wire.head()
        assert head.get("content-type") == "text/event-stream"
        go_on.set()
        assert wire.piece(head) == b"data: 1\n"
        go_on.set()
        assert wire.body(head) == b"data: 2\n"


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_a_large_download_is_whole(proxied, origin, framing):
    body = bytes(range(256)) * 20_000

    def large(connection):
        if framing == "length":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        elif framing == "chunked":
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                + chunked(body[:10], body[10:])
            )
        else:
            connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + body)
            connection.close()

    origin.script(large)
    assert fetch(proxied()).body == body


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_an_origin_dying_within_its_body_breaks_the_answer_off(proxied, origin, framing):
    def dying(connection):
        if framing == "length":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart")
        else:
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n"
            )
        connection.close()

    origin.script(dying)
    with pytest.raises(Truncated):
        fetch(proxied())


def test_head_keeps_the_length_and_sends_no_body(proxied, origin):
    origin.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n", times=2)
    with Wire(proxied()) as wire:
        for _ in range(2):
            wire.request("HEAD", "/")
            assert wire.answer("HEAD").get("content-length") == "1234"


def test_redirects_are_passed_on_not_followed(proxied, origin):
    origin.answer(b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n")
    answer = fetch(proxied())
    assert (answer.status, answer.get("location")) == (302, "/elsewhere")
    assert len(origin.requests) == 1


def test_codings_are_left_alone(proxied, origin):
    origin.answer(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\0\1"
    )
    answer = fetch(proxied())
    assert answer.body == b"\x1f\x8b\0\1"
    assert answer.get("content-encoding") == "gzip"


def test_upstream_connections_are_reused(proxied, origin):
    url = proxied()
    for n in range(5):
        assert fetch(url, f"/{n}").status == 200
    assert origin.connections == 1


def test_a_refused_connection_is_a_502_that_tells_nothing(start, origin):
    port = origin.url.rpartition(":")[2]
    origin.close()
    handler = ProxyHandler(origin.url)
    answer = fetch(start(handler).url)
    handler.close()
    assert answer.status == 502
    assert port.encode() not in answer.body


def test_a_silent_origin_is_a_504(proxied, origin):
    over = threading.Event()
    origin.script(lambda connection: over.wait(5))
    assert fetch(proxied(timeouts=Timeouts(response=0.1))).status == 504
    over.set()


def test_nonsense_from_the_origin_is_a_502(proxied, origin):
    origin.answer(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    assert fetch(proxied()).status == 502


def test_a_leaving_client_cancels_the_upstream_exchange(proxied, origin):
    left = threading.Event()
    waiting = threading.Event()

    def silent(connection):
        waiting.set()
        if connection.recv(1) == b"":
            left.set()

    origin.script(silent)
    wire = Wire(proxied())
    wire.request("GET", "/")
    assert waiting.wait(5)
    wire.close()
    assert left.wait(2)


def test_fifty_streams_and_a_plain_request_on_a_pool_of_two(start, origin):
    """Upstream streams are pumped by the loop: they hold no thread."""
    done = threading.Event()

    def stream(connection):
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n8\r\ndata: 1\n\r\n"
        )
        done.wait(10)

    origin.script(stream, only="/events")
    handler = ProxyHandler(origin.url)
    server = start(handler, threads=2)
    wires = [Wire(server.url) for _ in range(50)]
    try:
        heads = []
        for wire in wires:
            wire.request("GET", "/events")
        for wire in wires:
            heads.append(wire.head())
            assert wire.piece(heads[-1]) == b"data: 1\n"
        assert fetch(server.url, "/plain").status == 200
    finally:
        done.set()
        for wire in wires:
            wire.close()
        handler.close()


def test_a_route_forwards_what_it_captured_as_it_was_written(start, origin):
    from rolo.gateway.handlers import RouterHandler

    handler = ProxyHandler(origin.url + "/base")
    router = Router()
    router.add("/api/<path:path>", handler)
    server = start(RouterHandler(router, respond_not_found=True))
    assert fetch(server.url, "/api/x%20y/z?q=1").status == 200
    assert origin.last.target == "/base/x%20y/z?q=1"
    assert fetch(server.url, "/other").status == 404
    handler.close()


def test_a_handler_may_read_the_body_before_it_is_forwarded(start, origin):
    handler = ProxyHandler(origin.url)
    form = b"b=2&a=1&c=%7E"

    def look(chain, context, response):
        assert context.request.form["a"] == "1"

    headers = [("Content-Type", "application/x-www-form-urlencoded")]
    fetch(start(look, handler).url, method="POST", headers=headers, body=form)
    assert origin.last.body == form
    handler.close()


def test_a_handler_edits_request_and_response(start, origin):
    class Branded(ProxyHandler):
        def forward(self, request, path=None):
            request.headers["X-Tenant"] = "acme"
            response = super().forward(request, path)
            response.headers["X-Edge"] = "yes"
            return response

    handler = Branded(origin.url)
    answer = fetch(start(handler).url)
    assert origin.last.all("x-tenant") == ["acme"]
    assert answer.get("x-edge") == "yes"
    assert answer.body == b"ok"
    handler.close()


def test_what_a_handler_has_not_taken_of_a_body_is_sent(start, origin):
    go_on = threading.Event()

    class First(ProxyHandler):
        def forward(self, request, path=None):
            response = super().forward(request, path)
            self.taken = next(iter(response.response))
            go_on.set()
            return response

    def parts(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nfirst")
        assert go_on.wait(5)
        connection.sendall(b"second")

    origin.script(parts)
    handler = First(origin.url)
    assert fetch(start(handler).url).body == b"second"
    assert handler.taken == b"first"
    handler.close()


def test_a_handler_replaces_the_body(start, origin):
    class Shouting(ProxyHandler):
        def forward(self, request, path=None):
            response = super().forward(request, path)
            response.data = response.data.upper() + b"!"
            return response

    handler = Shouting(origin.url)
    with Wire(start(handler).url) as wire:
        for _ in range(2):
            answer = wire.get("/")
            assert (answer.body, answer.all("content-length")) == (b"OK!", ["3"])
    assert origin.connections == 1
    handler.close()


def test_a_custom_client_is_given_the_request_and_the_upstream(start):
    from rolo import Response
    from rolo.http_client import HttpClient

    seen = []

    class Client(HttpClient):
        def request(self, request, server=None):
            seen.append((request.method, request.path, request.get_data(), server))
            return Response("from the client", status=201)

        def close(self):
            seen.append("closed")

    handler = ProxyHandler("http://upstream.example:81/base", Client())
    answer = fetch(start(handler).url, "/x", "POST", body=b"abc")
    assert (answer.status, answer.body) == (201, b"from the client")
    assert seen == [("POST", "/base/x", b"abc", "http://upstream.example:81")]


def test_forward_and_proxy_work_in_scripts(origin):
    """Without a bridge, over the blocking client."""
    from rolo import Request

    origin.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", times=3)
    request = Request("POST", "/x", headers={"Host": "h"}, body=b"abc")
    with forward(request, origin.url, "/y", {"X-New": "1"}) as response:
        assert response.data == b"ok"
    assert (origin.last.target, origin.last.body) == ("/y", b"abc")
    assert origin.last.all("x-new") == ["1"]
    with Proxy(origin.url) as proxy, proxy.request(Request("GET", "/z?q=1")) as response:
        assert response.status_code == 200


def test_forwarding_works_under_wsgi(origin):
    handler = ProxyHandler(origin.url)
    with serve(Gateway([handler]), server="werkzeug") as server:
        answer = fetch(server.url, "/a%2Fb?c", "POST", headers=[("X-One", "1")], body=b"abc")
    assert answer.body == b"ok"
    assert (origin.last.target, origin.last.body) == ("/a%2Fb?c", b"abc")
    assert origin.last.all("x-one") == ["1"]
    handler.close()


def test_an_error_with_an_upstream_is_logged_with_side_phase_and_target(start, origin, caplog):
    origin.answer(b"nonsense\r\n\r\n")
    handler = ProxyHandler(origin.url)
    fetch(start(handler).url)
    handler.close()
    record = next(r for r in caplog.records if r.name == "rolo.proxy.handler")
    assert "upstream" in record.message
    assert "response head" in record.message
    assert origin.url in record.message


def test_json_answers_of_local_endpoints_stand_beside_proxied_ones(start, origin):
    from rolo.gateway.handlers import RouterHandler

    router = Router()
    router.add("/local", lambda request, args: __import__("rolo").Response.for_json({"local": 1}))
    handler = ProxyHandler(origin.url)
    url = start(RouterHandler(router), handler).url
    assert json.loads(fetch(url, "/local").body) == {"local": 1}
    assert fetch(url, "/remote").body == b"ok"
    handler.close()
