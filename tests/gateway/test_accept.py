import pytest
from scripted_websocket import ScriptedAdapter, environment
from werkzeug.exceptions import Forbidden

from rolo import Response, Router
from rolo.gateway import Gateway
from rolo.gateway.handlers import RouterHandler, WerkzeugExceptionHandler
from rolo.websocket import WebSocketDisconnectedError, WebSocketRequest
from rolo.websocket.adapter import CreateConnection, TextMessage


def accept(*handlers, events=(), exception_handlers=None, path="/"):
    adapter = ScriptedAdapter(events)
    gateway = Gateway(list(handlers), exception_handlers=exception_handlers)
    gateway.accept(WebSocketRequest(environment(adapter, path=path)))
    return adapter.calls


def raising(error, before=None):
    def handler(chain, context, response):
        if before:
            before(context.request)
        raise error

    return handler


def test_handler_accepts():
    def echo(chain, context, response):
        assert context.request.method == "WEBSOCKET"
        with context.request.accept() as websocket:
            for message in websocket:
                websocket.send(message)

    calls = accept(
        echo, events=[CreateConnection(), TextMessage("a"), WebSocketDisconnectedError(1000)]
    )
    assert calls == [("accept", None), ("send", "a")]


def test_handler_rejects():
    calls = accept(lambda chain, context, response: context.request.reject(Response("no", 401)))
    assert calls == [("reject", 401, b"no")]


def test_undecided_handshake_gets_the_response_of_the_chain():
    assert accept(lambda chain, context, response: chain.respond(418, "tea")) == [
        ("reject", 418, b"tea")
    ]


def test_undecided_handshake_without_a_response_is_forbidden():
    assert accept() == [("reject", 403, b"")]


def test_websocket_left_open_stays_open():
    assert accept(lambda chain, context, response: context.request.accept()) == [("accept", None)]


@pytest.mark.parametrize(
    ("error", "handlers", "call"),
    [
        (ValueError("x"), [], ("reject", 500, b"500 Internal Server Error\n")),
        (
            Forbidden("no"),
            [WerkzeugExceptionHandler()],
            ("reject", 403, b'{"code": 403, "description": "no"}'),
        ),
    ],
)
def test_error_before_accepting_is_a_response(error, handlers, call):
    assert accept(raising(error), exception_handlers=handlers) == [call]


def test_error_after_accepting_closes_with_1011():
    calls = accept(raising(ValueError("x"), WebSocketRequest.accept))
    assert calls == [("accept", None), ("close", 1011, None)]


def test_client_that_left_is_not_an_error(caplog):
    def handler(chain, context, response):
        context.request.accept().receive()

    calls = accept(handler, events=[WebSocketDisconnectedError(1001, "gone")])
    assert calls == [("accept", None)]
    assert caplog.records == []


@pytest.mark.parametrize(
    ("before", "calls"),
    [
        (None, [("reject", 500, b"500 Internal Server Error\n")]),
        (WebSocketRequest.accept, [("accept", None), ("close", 1011, None)]),
    ],
)
def test_error_that_leaves_the_chain_ends_the_websocket(before, calls):
    adapter = ScriptedAdapter([])

    def handler(chain, context, response):
        if before:
            before(context.request)
        chain.throw(KeyError("x"))

    with pytest.raises(KeyError):
        Gateway([handler]).accept(WebSocketRequest(environment(adapter)))
    assert adapter.calls == calls


def test_router_has_routes_for_websockets():
    def endpoint(request, name):
        request.accept(subprotocol=name).close(4000, "bye")

    router = Router()
    router.add("/<name>", endpoint, methods=["WEBSOCKET"])
    router.add("/<name>", lambda request, args: Response("http"), methods=["GET"])
    handler = RouterHandler(router, respond_not_found=True)
    assert accept(handler, path="/sub") == [("accept", "sub"), ("close", 4000, "bye")]
    assert accept(handler, path="/a/b") == [("reject", 404, b"not found")]
