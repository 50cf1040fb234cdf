"""Handlers that change a request before it is forwarded, or read: by its fields, its environment
or its stream."""

import asyncio
import io

import pytest
from werkzeug.datastructures import Headers
from werkzeug.test import Client

from rolo import Request, Response
from rolo.client import HttpClient
from rolo.gateway import Gateway
from rolo.gateway.asgi import AsgiGateway
from rolo.gateway.wsgi import WsgiGateway
from rolo.proxy import Proxy


class Taking(HttpClient):
    """Keeps what it is asked to send."""

    def __init__(self):
        self.sent = []

    def request(self, request, server=None):
        self.sent.append(request)
        return Response("taken")

    def close(self):
        pass


def through_asgi(gateway, mode):
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/a/b",
        "raw_path": b"/a%2Fb",
        "query_string": b"q=%20",
        "root_path": "",
        "headers": [(b"host", b"h"), (b"content-length", b"4"), (b"X-One", b"1")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    app = AsgiGateway(gateway, mode=mode)

    async def receive():
        return {"type": "http.request", "body": b"came"}

    async def send(event):
        if event["type"] == "http.response.start":
            assert event["status"] == 200

    async def main():
        async with asyncio.timeout(5):
            await app(scope, receive, send)
            await app.bridge.aclose()

    try:
        asyncio.run(main())
    finally:
        app.close()


def through_wsgi(gateway, mode):
    environ = {
        "RAW_URI": "/a%2Fb?q=%20",
        "rolo.headers": [(b"Host", b"h"), (b"content-length", b"4"), (b"X-One", b"1")],
        "CONTENT_LENGTH": "4",
        "wsgi.input": Once(b"came"),
    }
    client = Client(WsgiGateway(gateway))
    assert client.post("/a%2Fb?q=%20", environ_overrides=environ).status_code == 200


class Once(io.RawIOBase):
    """A stream that gives its bytes once, as a server's."""

    def __init__(self, data):
        self._data = io.BytesIO(data)

    def readable(self):
        return True

    def readinto(self, buffer):
        return self._data.readinto(buffer)


servers = pytest.mark.parametrize(
    ("through", "mode"),
    [(through_asgi, "threads"), (through_asgi, "loop"), (through_wsgi, None)],
    ids=["asgi-threads", "asgi-loop", "wsgi"],
)


def forwarded(through, mode, change):
    client = Taking()
    proxy = Proxy("http://origin.example", client=client)

    def handler(chain, context, response):
        change(context.request)
        response.update_from(proxy.forward(context.request))

    through(Gateway([handler]), mode)
    (sent,) = client.sent
    target = sent.environ["RAW_URI"]
    return sent, (sent.method, target.partition("?")[0], sent.query_string, sent.get_data())


CAME = ("POST", "/a%2Fb", b"q=%20", b"came")


def read_a_bit(request):
    assert request.stream.read(2) == b"ca"


def read_whole(request):
    assert request.data == b"came"


def new_stream(request):
    request.environ["wsgi.input"] = io.BytesIO(b"another")
    request.environ["CONTENT_LENGTH"] = request.headers["Content-Length"] = "7"


def new_data(request):
    request.data = b"new data"


def new_target(request):
    request.environ["RAW_URI"] = "/c%2Fd"
    request.environ["QUERY_STRING"] = "new"


def new_query(request):
    request.environ["QUERY_STRING"] = ""


def new_method(request):
    request.environ["REQUEST_METHOD"] = "PUT"


CHANGES = {
    "nothing": (lambda request: None, CAME),
    "looking at it": (lambda request: [request.environ, request.headers, request.args], CAME),
    "reading a bit of the body": (read_a_bit, CAME),
    "reading the body": (read_whole, CAME),
    "another stream": (new_stream, (*CAME[:3], b"another")),
    "other data": (new_data, (*CAME[:3], b"new data")),
    "another target": (new_target, ("POST", "/c%2Fd", b"new", b"came")),
    "no query": (new_query, ("POST", "/a%2Fb", b"", b"came")),
    "another method": (new_method, ("PUT", *CAME[1:])),
}


@servers
@pytest.mark.parametrize(("change", "what"), CHANGES.values(), ids=CHANGES)
def test_what_handlers_leave_in_a_request_is_forwarded(through, mode, change, what):
    if change is read_a_bit and mode is None:
        pytest.skip("a stream of a WSGI server gives its bytes once")
    assert forwarded(through, mode, change)[1] == what


@servers
def test_fields_may_be_changed_or_replaced_as_a_whole(through, mode):
    def change(request):
        request.headers["X-One"] = "changed"
        request.headers.add("X-New", "n")

    def replace(request):
        request.headers = Headers([("Host", "other"), ("X-Only", "this")])

    sent, _ = forwarded(through, mode, change)
    assert (sent.headers["X-One"], sent.headers["X-New"]) == ("changed", "n")
    sent, _ = forwarded(through, mode, replace)
    assert (sent.headers["Host"], sent.headers["X-Only"]) == ("other", "this")
    assert "X-One" not in sent.headers


def test_a_request_made_by_hand_of_another_is_forwarded_as_it_is():
    client = Taking()
    old = Request("GET", "/x", {"Host": "h", "X-One": "1"}, query_string="a=%2F", raw_path="/%78")
    new = Request(old.method, old.path, old.headers, b"body", query_string=old.query_string)
    Proxy("http://origin.example/base", client=client).forward(new)
    (sent,) = client.sent
    assert sent.environ["RAW_URI"] == "/base/x?a=%2F"
    assert (sent.get_data(), sent.headers["X-One"]) == (b"body", "1")
