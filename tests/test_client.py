"""The clients for scripts, against a real origin."""

import gzip
import sys
import threading

import pytest
import requests
from werkzeug import Request as WerkzeugRequest
from werkzeug import Response as WerkzeugResponse

from rolo import Request
from rolo.client import make_request
from rolo.errors import ConnectError
from rolo.http_client import HttpClient, SimpleRequestsClient
from rolo.serving import serve
from rolo.testing.pytest import get_random_tcp_port


class Origin:
    """Answers with what it got; ``/redirect``, ``/gzip`` and ``/slow`` do more."""

    def __init__(self):
        self.requests = []
        self.goon = threading.Event()

    def __call__(self, environ, start_response):
        request = WerkzeugRequest(environ)
        self.requests.append((environ["RAW_URI"], list(request.headers), request.get_data()))
        return self.answer(request)(environ, start_response)

    def answer(self, request):
        if request.path == "/redirect":
            return WerkzeugResponse(status=302, headers={"Location": "/target"})
        if request.path == "/gzip":
            return WerkzeugResponse(gzip.compress(b"text"), headers={"Content-Encoding": "gzip"})
        if request.path == "/slow":
            return WerkzeugResponse(self.slowly(), headers={"Content-Length": "6"})
        answer = WerkzeugResponse(f"{request.method} {request.path}", status=201)
        answer.headers.add("Set-Cookie", "a=1")
        answer.headers.add("Set-Cookie", "b=2")
        del answer.headers["Content-Type"]
        return answer

    def slowly(self):
        yield b"one"
        assert self.goon.wait(10)
        yield b"two"


@pytest.fixture
def origin():
    app = Origin()
    with serve(app, server="werkzeug") as server:
        app.url = server.url
        app.address = (server.host, server.port)
        yield app


@pytest.fixture(params=[SimpleRequestsClient])
def client(request):
    with request.param() as client:
        yield client


def test_http_client_is_an_interface():
    assert HttpClient.__abstractmethods__ == {"request", "close"}


def test_answer_comes_back_with_its_fields(origin, client):
    response = client.request(Request("GET", "/x"), server=origin.url)
    assert response.status_code == 201
    assert response.headers.getlist("Set-Cookie") == ["a=1", "b=2"]
    assert "Content-Type" not in response.headers
    assert response.get_data() == b"GET /x"


def test_request_goes_out_as_it_is(origin, client):
    request = Request(
        "POST", "/a/b", {"X-Case": "1"}, b"body", query_string="q=%20&r", raw_path="/a%2Fb"
    )
    client.request(request, server=origin.url).close()
    ((target, headers, body),) = origin.requests
    assert target == "/a%2Fb?q=%20&r"
    assert body == b"body"
    assert ("X-Case", "1") in headers
    assert not [name for name, _ in headers if name == "Accept-Encoding"]


def test_repeated_fields_are_joined(origin, client):
    request = Request("GET", "/")
    for name, value in (("X-A", "1"), ("X-A", "2"), ("Cookie", "a"), ("Cookie", "b")):
        request.headers.add(name, value)
    client.request(request, server=origin.url).close()
    headers = origin.requests[0][1]
    assert ("X-A", "1, 2") in headers
    assert ("Cookie", "a; b") in headers


@pytest.mark.parametrize("form", ["url", "url with slash", "authority"])
def test_where_a_request_goes(origin, client, form):
    host, port = origin.address
    server = {"url": origin.url, "url with slash": origin.url + "/", "authority": f"{host}:{port}"}
    assert client.request(Request("GET", "/x"), server[form]).get_data() == b"GET /x"


def test_without_a_server_it_goes_where_the_request_says(origin, client):
    request = Request("GET", "/x", server=origin.address)
    assert client.request(request).get_data() == b"GET /x"


def test_redirects_are_followed_unless_told_otherwise(origin):
    with SimpleRequestsClient() as client:
        assert client.request(Request("GET", "/redirect"), origin.url).get_data() == b"GET /target"
    with SimpleRequestsClient(follow_redirects=False) as client:
        response = client.request(Request("GET", "/redirect"), origin.url)
        assert response.status_code == 302
        assert response.headers["Location"] == "/target"
        response.close()


def test_bodies_are_not_decoded(origin, client):
    response = client.request(Request("GET", "/gzip"), origin.url)
    assert gzip.decompress(response.get_data()) == b"text"


def test_body_streams(origin, client):
    response = client.request(Request("GET", "/slow"), origin.url)
    pieces = response.iter_encoded()
    assert next(pieces) == b"one"
    origin.goon.set()
    assert b"".join(pieces) == b"two"


def test_no_cookies_are_kept(origin, client):
    for _ in range(2):
        client.request(Request("GET", "/"), origin.url).get_data()
    assert not [name for name, _ in origin.requests[1][1] if name == "Cookie"]


def test_session_of_the_caller_is_used(origin):
    session = requests.Session()
    session.headers["X-Mine"] = "yes"
    with SimpleRequestsClient(session) as client:
        assert client.session is session
        client.request(Request("GET", "/"), origin.url).close()
    assert ("X-Mine", "yes") in origin.requests[0][1]


def test_a_urllib3_that_cannot_stream_is_refused(monkeypatch):
    monkeypatch.setattr("urllib3.HTTPResponse", object)
    with pytest.raises(ModuleNotFoundError, match=r"urllib3 2\.2"):
        SimpleRequestsClient()


def test_without_requests_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "requests", None)
    with pytest.raises(ModuleNotFoundError, match="pip install requests"):
        SimpleRequestsClient()


def test_make_request(origin):
    request = Request("PUT", "/x", body=b"body", server=origin.address)
    response = make_request(request)
    assert response.status_code == 201
    assert response.get_data() == b"PUT /x"
    response.close()
    assert origin.requests[0][2] == b"body"


def test_make_request_follows_no_redirect(origin):
    response = make_request(Request("GET", "/redirect", server=origin.address))
    assert response.status_code == 302
    response.close()


def test_make_request_to_nobody():
    request = Request("GET", "/", server=("127.0.0.1", get_random_tcp_port()))
    with pytest.raises(ConnectError):
        make_request(request)
