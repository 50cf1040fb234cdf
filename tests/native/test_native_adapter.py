"""The native server behind the common interface, with a real gateway."""

import contextlib
import threading

import pytest
from native_support import DEADLINE
from wire import Wire, fetch

from rolo.gateway import Gateway
from rolo.gateway.asgi import AsgiGateway
from rolo.serving import Limits, serve
from rolo.serving.base import Settings
from rolo.serving.native import NativeAdapter
from rolo.serving.sockets import listen


@pytest.fixture(autouse=True)
def no_thread_left():
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) == before


def launch(mode="threads", handlers=(), **options):
    adapter = NativeAdapter()
    assert adapter.available() is None
    fitted = adapter.fit_gateway(Gateway(request_handlers=list(handlers)), mode=mode, threads=2)
    sock = listen("127.0.0.1", 0)
    return adapter.launch(fitted, Settings(sock=sock, host="127.0.0.1", options=options))


@pytest.mark.parametrize("mode", ["threads", "loop"])
def test_a_gateway_is_served(mode):
    def handler(chain, context, response):
        response.status_code = 201
        response.headers["X-Path"] = context.request.path
        response.set_data(b"got " + context.request.get_data())

    with launch(mode, [handler]) as server, Wire(server.url, DEADLINE) as wire:
        for _ in range(3):
            wire.request("POST", "/a%20b", body=b"hello")
            answer = wire.answer()
            assert (answer.status, answer.body) == (201, b"got hello")
            assert answer.get("x-path") == "/a b"


@pytest.mark.parametrize("mode", ["threads", "loop"])
def test_a_generator_that_breaks_aborts_the_answer(mode):
    def broken():
        yield b"first"
        raise LookupError("internal")

    def handler(chain, context, response):
        response.response = broken()

    with launch(mode, [handler]) as server, Wire(server.url, DEADLINE) as wire:
        wire.request("GET", "/")
        assert wire.head().get("transfer-encoding") == "chunked"
        assert wire.chunk() == b"first"
        assert wire.read_rest() == b""


def test_an_unknown_option_is_named():
    with pytest.raises(TypeError, match="unknown option 'head_timout'"):
        launch(head_timout=1)


def test_options_are_settings():
    with launch(max_body=3) as server:
        assert fetch(server.url, method="POST", body=b"1234").status == 413


def test_limits_are_those_of_the_gateway_whatever_its_start_left_in_the_scopes():
    class Starting(AsgiGateway):
        async def __call__(self, scope, receive, send):
            scope["state"]["started"] = True
            await super().__call__(scope, receive, send)

    app = Starting(Gateway(), limits=Limits(max_fields=2), proxy_status="edge")
    with contextlib.closing(app), serve(app, server="native") as server:
        answer = fetch(server.url, headers=[("a", "1"), ("b", "2")])
        assert answer.status == 431
        assert answer.get("proxy-status").startswith("edge;")


def test_other_applications_are_refused():
    with pytest.raises(TypeError, match="gateways"):
        NativeAdapter().fit_app(lambda environ, start_response: [], threads=None)
