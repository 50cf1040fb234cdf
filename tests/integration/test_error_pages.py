"""Whoever refuses a request, and in whichever room: the client reads the same form."""

import http

import pytest
from commanded import LOOP_SERVERS, installed
from threaded_origin import ThreadedOrigin
from wire import Wire

from rolo.gateway import Gateway
from rolo.proxy import ProxyHandler
from rolo.proxy.helpers import StripPrefix
from rolo.serving import serve

REFUSING_THEMSELVES = ("hypercorn", "granian")
"""They answer to heads that are none without asking anybody, and without a body."""

REFUSED = [
    pytest.param("/in/dead", "", 502, id="an upstream"),
    pytest.param("/in/raised", "", 500, id="a hook that raises"),
    pytest.param("/out", "", 404, id="a hook's refusal"),
    pytest.param("/in/chain", "", 500, id="a handler that raises"),
    pytest.param("/in/x", "Transfer-Encoding: gzip, chunked\r\n", 501, id="framing"),
    pytest.param("/in/x", "no field\r\n", 400, id="no head"),
]


@pytest.fixture(scope="module", params=[*LOOP_SERVERS, "werkzeug"])
def served(request):
    def decide(context):
        if context.path == "/raised":
            raise ValueError

    def handle(chain, context, response):
        if context.request.path == "/in/chain":
            raise ValueError

    with ThreadedOrigin() as dead:
        pass
    handler = ProxyHandler(dead.url, hooks=[StripPrefix("/in")], on_request=decide)
    name = installed(request.param)
    with serve(Gateway([handle, handler]), server=name) as server:
        yield name, server.url
    handler.close()


@pytest.fixture(autouse=True)
def no_thread_is_left():
    """The server's stay for the module."""


@pytest.mark.parametrize(("path", "field", "status"), REFUSED)
def test_an_error_is_one_line_of_plain_text(served, path, field, status):
    name, url = served
    with Wire(url) as wire:
        wire.send(f"GET {path} HTTP/1.1\r\nHost: h\r\n{field}\r\n".encode())
        answer = wire.answer()
    assert answer.status == status
    if field and name in REFUSING_THEMSELVES:
        return
    assert answer.all("content-type") == ["text/plain; charset=utf-8"]
    assert answer.body == f"{status} {http.HTTPStatus(status).phrase}\n".encode()
