import pytest
from werkzeug.exceptions import Forbidden, HTTPException, MethodNotAllowed, NotFound

from rolo import Request, Response, Router
from rolo.gateway import HandlerChain, RequestContext
from rolo.gateway.handlers import EmptyResponseHandler, RouterHandler, WerkzeugExceptionHandler


def handle(chain, request=None):
    response = Response()
    chain.handle(RequestContext(request or Request()), response)
    return response


def raising(error):
    def handler(chain, context, response):
        raise error

    return handler


@pytest.fixture
def router():
    def forbidden(request, args):
        raise Forbidden

    def missing(request, args):
        raise NotFound

    router = Router()
    router.add("/a", lambda request, args: Response("A", 201, {"X": "1"}))
    router.add("/named/<x>", lambda request, x: {"x": x})
    router.add("/nothing", lambda request, args: None)
    router.add("/forbidden", forbidden)
    router.add("/missing", missing)
    return router


def test_router_handler_answers_and_stops(router):
    chain = HandlerChain([RouterHandler(router), raising(AssertionError())])
    response = handle(chain, Request(path="/a"))
    assert (response.status_code, response.data, response.headers["X"]) == (201, b"A", "1")
    assert chain.stopped


def test_router_handler_with_named_arguments(router):
    assert handle(HandlerChain([RouterHandler(router)]), Request(path="/named/1")).json == {
        "x": "1"
    }


def test_endpoint_may_return_nothing(router):
    chain = HandlerChain([RouterHandler(router)])
    assert handle(chain, Request(path="/nothing")).status_code == 200
    assert chain.stopped


@pytest.mark.parametrize("path", ["/missing", "/nowhere"])
def test_router_handler_lets_the_next_handler_try(router, path):
    def following(chain, context, response):
        response.data = b"next"

    assert (
        handle(HandlerChain([RouterHandler(router), following]), Request(path=path)).data == b"next"
    )


@pytest.mark.parametrize("path", ["/missing", "/nowhere"])
def test_router_handler_answers_not_found(router, path):
    chain = HandlerChain([RouterHandler(router, respond_not_found=True)])
    response = handle(chain, Request(path=path))
    assert (response.status_code, response.data) == (404, b"not found")
    assert chain.stopped


def test_other_http_exceptions_go_to_exception_handlers(router):
    chain = HandlerChain([RouterHandler(router)], exception_handlers=[WerkzeugExceptionHandler()])
    assert handle(chain, Request(path="/forbidden")).status_code == 403


@pytest.mark.parametrize(
    ("output_format", "mimetype", "data"),
    [
        (None, "application/json", b'{"code": 405, "description": "no"}'),
        ("json", "application/json", b'{"code": 405, "description": "no"}'),
        ("html", "text/html", b"<h1>Method Not Allowed</h1>"),
    ],
)
def test_werkzeug_exception_handler(output_format, mimetype, data):
    chain = HandlerChain(
        [raising(MethodNotAllowed(["GET"], "no"))],
        exception_handlers=[WerkzeugExceptionHandler(output_format)],
    )
    response = handle(chain)
    assert (response.status_code, response.mimetype) == (405, mimetype)
    assert data in response.data
    assert response.headers["Allow"] == "GET"


def test_werkzeug_exception_handler_uses_the_response_of_the_exception():
    error = HTTPException(response=Response("own", 418, {"x": "1"}))
    response = handle(
        HandlerChain([raising(error)], exception_handlers=[WerkzeugExceptionHandler()])
    )
    assert (response.status_code, response.data, response.headers["x"]) == (418, b"own", "1")


def test_werkzeug_exception_handler_leaves_other_errors():
    chain = HandlerChain(
        [raising(ValueError("x"))], exception_handlers=[WerkzeugExceptionHandler()]
    )
    assert handle(chain).data == b"500 Internal Server Error\n"


def test_werkzeug_exception_handler_knows_two_formats():
    with pytest.raises(ValueError, match="xml"):
        WerkzeugExceptionHandler("xml")


def test_empty_response_is_filled():
    response = Response(status=0)
    EmptyResponseHandler(404, b"nf", {"A": "b"})(HandlerChain(), RequestContext(), response)
    assert (response.status_code, response.data, response.headers["A"]) == (404, b"nf", "b")


@pytest.mark.parametrize("response", [Response(), Response("x", 0), Response(status=404)])
def test_other_responses_are_not_empty(response):
    assert not EmptyResponseHandler().is_empty_response(response)
