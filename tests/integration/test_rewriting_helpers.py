"""The ready hooks, on real exchanges."""

import threading

import pytest
from threaded_origin import ThreadedOrigin
from wire import fetch

from rolo.proxy import ProxyHandler
from rolo.proxy.helpers import (
    AddPrefix,
    BasicAuth,
    Cors,
    Mirror,
    RequireBasicAuth,
    ReverseUrls,
    RewriteHost,
    RewritePath,
    SetHeaders,
    StripPrefix,
    TransformBodies,
    basic_auth,
)


@pytest.fixture(params=["native-loop", "native-threads"])
def served_on(request):
    return tuple(request.param.split("-"))


@pytest.fixture
def origin():
    with ThreadedOrigin() as origin:
        yield origin


@pytest.fixture
def proxied(start, origin):
    handlers = []

    def proxied(*hooks, base="", **options):
        handlers.append(ProxyHandler(origin.url + base, hooks=hooks, **options))
        return start(handlers[-1]).url

    yield proxied
    for handler in handlers:
        handler.close()


def answer(origin, *lines, status=b"200 OK", body=b"ok"):
    head = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *lines]
    origin.answer(b"\r\n".join(head) + b"\r\n\r\n" + body)


def test_paths(proxied, origin):
    url = proxied(StripPrefix("/api"), RewritePath(r"/v\d+", "/v2"), AddPrefix("/inner"))
    assert fetch(url, "/api/v1/a%2Fb?q=%20").status == 200
    assert origin.last.target == "/inner/v2/a%2Fb?q=%20"
    assert fetch(url, "/other").status == 404
    assert len(origin.requests) == 1


def test_headers(proxied, origin):
    url = proxied(
        SetHeaders({"X-In": "1", "Accept": None}, {"X-Out": "2", "Server": None}),
        RewriteHost("inner.example"),
    )
    answer(origin, b"X-Out: 1", b"X-Out: 3")
    got = fetch(url, headers=[("Accept", "*/*")])
    assert (origin.last.get("x-in"), origin.last.all("accept")) == ("1", [])
    assert origin.last.all("host") == ["inner.example"]
    assert got.all("x-out") == ["2"]


def test_urls_and_cookies_of_the_upstream_become_the_proxys(proxied, origin):
    url = proxied(ReverseUrls(), base="/base", preserve_host=False)
    answer(
        origin,
        b"Location: " + origin.url.encode() + b"/base/next?x",
        b"Content-Location: /base/here",
        b"Refresh: 1; url=/base/",
        b"Set-Cookie: a=1; Path=/base/x; Domain=127.0.0.1",
        b"Set-Cookie: b=2; Path=/",
        status=b"302 Found",
    )
    got = fetch(url)
    assert got.get("location") == f"{url}/next?x"
    assert got.get("content-location") == "/here"
    assert got.get("refresh") == "1; url=/"
    assert got.all("set-cookie") == ["a=1; Path=/x", "b=2; Path=/"]


@pytest.mark.parametrize(
    ("location", "seen"),
    [
        ("//elsewhere/x", "//elsewhere/x"),
        ("//{origin}/base/x", "//example.org/app/x"),
        ("//{origin}/other", "//{origin}/other"),
        ("/base", "/app"),
    ],
    ids=["another host", "the upstream", "beside its base path", "a path"],
)
def test_locations_without_a_scheme(proxied, origin, location, seen):
    url = proxied(ReverseUrls("https://example.org/app"), base="/base")
    host = origin.url.partition("//")[2]
    location, seen = location.format(origin=host), seen.format(origin=host)
    answer(origin, b"Location: " + location.encode(), status=b"302 Found")
    assert fetch(url).get("location") == seen


def test_a_public_path_alone_leaves_other_hosts_alone(proxied, origin):
    url = proxied(ReverseUrls("/app"))
    host = origin.url.partition("//")[2]
    answer(origin, b"Location: //elsewhere/x", b"Content-Location: //" + host.encode() + b"/y")
    got = fetch(url)
    assert got.get("location") == "//elsewhere/x"
    assert got.get("content-location") == "/app/y"


def test_a_public_url_below_which_the_upstream_lives(proxied, origin):
    url = proxied(ReverseUrls("https://example.org/api"))
    answer(origin, b"Location: /login", b"Set-Cookie: a=1; Path=/", status=b"302 Found")
    got = fetch(url)
    assert got.get("location") == "/api/login"
    assert got.get("set-cookie") == "a=1; Path=/api/"


def test_the_gate_and_the_login_at_the_upstream(proxied, origin):
    url = proxied(RequireBasicAuth({"ada": "x"}, 'a "realm"'), BasicAuth("proxy", "secret"))
    refused = fetch(url)
    assert refused.status == 401
    assert refused.get("www-authenticate") == 'Basic realm="a \\"realm\\"", charset="UTF-8"'
    for wrong in (basic_auth("ada", "y"), basic_auth("bob", "")):
        assert fetch(url, headers=[("Authorization", wrong)]).status == 401
    assert fetch(url, headers=[("Authorization", basic_auth("ada", "x"))]).status == 200
    assert origin.last.all("authorization") == [basic_auth("proxy", "secret")]


def test_cross_origin_requests(proxied, origin):
    url = proxied(
        Cors(["https://a.example"], headers=["X-Token"], expose=["X-Id"], credentials=True)
    )
    asking = [("Origin", "https://a.example")]
    wanted = [("Access-Control-Request-Method", "PUT")]
    preflight = fetch(url, method="OPTIONS", headers=asking + wanted)
    assert preflight.status == 204
    assert preflight.get("access-control-allow-origin") == "https://a.example"
    assert preflight.get("access-control-allow-methods") == "PUT, PATCH, DELETE"
    assert preflight.get("access-control-allow-headers") == "X-Token"
    assert preflight.get("access-control-allow-credentials") == "true"
    assert origin.requests == []
    answer(origin, b"Access-Control-Allow-Origin: *", b"Vary: Accept")
    got = fetch(url, headers=asking)
    assert got.all("access-control-allow-origin") == ["https://a.example"]
    assert got.get("access-control-expose-headers") == "X-Id"
    assert got.all("vary") == ["Accept", "Origin"]
    other = fetch(url, headers=[("Origin", "https://b.example")])
    assert (other.all("access-control-allow-origin"), other.all("vary")) == ([], ["Origin"])


def test_everybody_may_be_allowed(proxied, origin):
    url = proxied(Cors())
    wanted = [("Access-Control-Request-Method", "PUT"), ("Access-Control-Request-Headers", "x-a")]
    preflight = fetch(url, method="OPTIONS", headers=[("Origin", "http://o"), *wanted])
    assert preflight.get("access-control-allow-origin") == "*"
    assert preflight.get("access-control-allow-headers") == "x-a"
    fetch(url, method="OPTIONS")
    assert origin.last.method == "OPTIONS"


def test_bodies_of_some_types_only(proxied, origin):
    url = proxied(TransformBodies("text/", chunks=bytes.upper))
    answer(origin, b"Content-Type: text/plain; charset=utf-8")
    answer(origin, b"Content-Type: image/png")
    got = [fetch(url, headers=[("Range", "bytes=0-1")]).body for _ in range(2)]
    assert got == [b"OK", b"ok"]
    assert origin.last.all("range") == []


@pytest.fixture
def second():
    with ThreadedOrigin() as second:
        yield second


@pytest.mark.parametrize("size", [3, 300_000], ids=["small", "large"])
def test_a_copy_goes_to_a_second_upstream(proxied, origin, second, size):
    compared = []
    done = threading.Event()

    def compare(context, ours, theirs):
        compared.append((ours.status, ours.body, theirs.status, theirs.body))
        done.set()

    mirror = Mirror(second.url + "/copy", compare)
    second.answer(b"HTTP/1.1 500 No\r\nContent-Length: 3\r\n\r\nbad")
    url = proxied(mirror, base="/base")
    assert fetch(url, "/x?y", "POST", [("X-A", "1")], b"z" * size).body == b"ok"
    assert done.wait(5)
    assert (second.last.target, second.last.get("x-a")) == ("/copy/x?y", "1")
    assert second.last.body == origin.last.body == b"z" * size
    assert origin.last.target == "/base/x?y"
    assert compared == [(200, b"ok", 500, b"bad")]


def test_a_mirror_is_closed_with_its_proxy(start, origin, second):
    done = threading.Event()
    handler = ProxyHandler(origin.url, hooks=[Mirror(second.url, lambda *_: done.set())])
    assert fetch(start(handler).url).body == b"ok"
    assert done.wait(5)
    (connection,) = (thread for thread in second._threads[1:])
    assert connection.is_alive()  # it is kept for the next copy
    handler.close()
    connection.join(5)
    assert not connection.is_alive()


def test_the_client_waits_for_no_copy(proxied, origin, second):
    go_on = threading.Event()
    arrived = threading.Event()

    def slow(connection):
        arrived.set()
        go_on.wait(5)

    second.script(slow)
    mirror = Mirror(second.url)
    url = proxied(mirror)
    for _ in range(3):
        assert fetch(url).body == b"ok"
    assert arrived.wait(5)
    go_on.set()


def test_what_is_too_large_is_not_mirrored(proxied, origin, second):
    done = threading.Event()
    mirror = Mirror(second.url, lambda *_: done.set(), max_body=10)
    url = proxied(mirror)
    assert fetch(url, method="POST", body=b"x" * 11).body == b"ok"
    assert fetch(url, method="POST", body=b"x" * 10).body == b"ok"
    assert done.wait(5)
    assert [len(request.body) for request in second.requests] == [10]
