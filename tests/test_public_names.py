"""Programs find out by attribute what an object is, so objects handed to their code have no
public names but those of werkzeug and the documented ones."""

import asyncio
import io

import pytest
import werkzeug
from werkzeug.sansio.request import Request as SansIORequest
from werkzeug.test import Client, EnvironBuilder

from rolo import Request, Response
from rolo.asgi import ASGIWebSocketAdapter
from rolo.gateway import Gateway, RequestContext
from rolo.gateway.asgi import AsgiGateway
from rolo.gateway.wsgi import WsgiGateway
from rolo.websocket import WebSocketRequest

RESPONSE = {"update_from", "set_json", "set_response", "to_readonly_response_dict"}
RESPONSE |= {"for_json", "for_resource"}
CHAIN = {"request_handlers", "response_handlers", "finalizers", "exception_handlers"}
CHAIN |= {"stop_on_error", "raise_on_error", "stopped", "terminated", "finalized", "error"}
CHAIN |= {"exception", "response", "context", "handle", "respond", "stop", "terminate", "throw"}
WEBSOCKET_REQUEST = {"environ", "socket", "is_upgraded", "is_rejected", "reject", "accept"}
WEBSOCKET_REQUEST |= {"close", "listener", "hand_over", "fail"}
WEBSOCKET = {"request", "socket", "close_code", "close_reason", "last_received_at"}
WEBSOCKET |= {"send", "receive", "close"}
SOCKET = {"accept", "reject", "receive", "send", "close", "last_received_at", "hand_over"}


def public(thing):
    return {name for name in dir(thing) if not name.startswith("_")}


WERKZEUG_REQUEST = public(werkzeug.Request(EnvironBuilder().get_environ()))
WERKZEUG_RESPONSE = public(werkzeug.Response())
SANSIO_REQUEST = public(
    SansIORequest("GET", "http", ("h", 80), "", "", b"", werkzeug.datastructures.Headers(), None)
)


def looked_at(chain, context, response, found):
    found["context"] = public(context)
    found["chain"] = public(chain)
    found["request"] = public(context.request) - WERKZEUG_REQUEST
    found["stream"] = public(context.request.stream)
    found["input"] = public(context.request.environ["wsgi.input"])
    found["response"] = public(response) - WERKZEUG_RESPONSE
    chain.respond(200, b"body")
    found["response"] |= public(response) - WERKZEUG_RESPONSE


def assert_documented(found):
    assert found["request"] <= {"from_environ"}  # a class method, beside werkzeug's from_values
    assert found["response"] == RESPONSE
    assert found["context"] == {"request", "get"}
    assert found["chain"] == CHAIN


SCOPE = {
    "type": "http",
    "asgi": {"version": "3.0"},
    "http_version": "1.1",
    "method": "POST",
    "scheme": "http",
    "path": "/",
    "raw_path": b"/",
    "query_string": b"",
    "root_path": "",
    "headers": [(b"host", b"h"), (b"content-length", b"3")],
    "client": ("127.0.0.1", 1),
    "server": ("127.0.0.1", 80),
}


def call(gateway, scope, *events, mode="threads"):
    app = AsgiGateway(gateway, mode=mode)
    left = list(events)

    async def receive():
        return left.pop(0)

    async def send(event):
        pass

    async def main():
        async with asyncio.timeout(5):
            await app(scope, receive, send)
            await app.bridge.aclose()

    try:
        asyncio.run(main())
    finally:
        app.close()


@pytest.mark.parametrize("mode", ["threads", "loop"])
def test_what_handlers_get_has_no_names_beyond_the_documented_ones(mode):
    found = {}
    gateway = Gateway([lambda *args: looked_at(*args, found)])
    call(gateway, SCOPE, {"type": "http.request", "body": b"abc"}, mode=mode)
    assert_documented(found)
    # What restore_payload asks for.
    assert found["stream"] | found["input"] <= public(io.BufferedReader) | {"readall", "replay"}


def test_nor_has_what_handlers_get_in_a_wsgi_application():
    found = {}
    gateway = Gateway([lambda *args: looked_at(*args, found)])
    Client(WsgiGateway(gateway)).post("/", data=b"abc")
    assert_documented(found)


def test_nor_have_requests_and_responses_made_by_hand():
    assert public(Request("POST", "/", body=b"abc")) - WERKZEUG_REQUEST <= {"from_environ"}
    assert public(Response(b"abc")) - WERKZEUG_RESPONSE == RESPONSE
    assert public(RequestContext(Request())) == {"request", "get"}


def test_nor_have_websockets():
    found = {}

    class Looking(Gateway):
        def accept(self, request):
            found["request"] = public(request) - SANSIO_REQUEST
            found["socket"] = public(request.socket)
            with request.accept() as websocket:
                found["websocket"] = public(websocket)

    scope = {**SCOPE, "type": "websocket", "headers": [(b"host", b"h")], "subprotocols": []}
    gone = {"type": "websocket.disconnect", "code": 1000}
    call(Looking(), scope, {"type": "websocket.connect"}, gone)
    assert found["request"] == WEBSOCKET_REQUEST
    assert found["socket"] - public(ASGIWebSocketAdapter) == set()
    assert found["websocket"] == WEBSOCKET
    assert public(WebSocketRequest) - public(SansIORequest) <= WEBSOCKET_REQUEST
    adapter = {"asgi_send", "asgi_receive", "asgi_send_async", "asgi_receive_async"}
    assert public(ASGIWebSocketAdapter) == SOCKET | adapter | {"close_timeout", "wait_closed"}
