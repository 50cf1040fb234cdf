import io

import pytest
from werkzeug.test import Client, EnvironBuilder, run_wsgi_app

from rolo import Request, Response
from rolo.gateway import Gateway, RequestContext
from rolo.gateway.wsgi import WsgiGateway


class Stream:
    def __init__(self, pieces=(b"a", b"b")):
        self.pieces = pieces
        self.closed = 0

    def __iter__(self):
        return iter(self.pieces)

    def close(self):
        self.closed += 1


def serving(*handlers, **kwargs):
    return WsgiGateway(Gateway(list(handlers), **kwargs))


def responding(*args):
    return lambda chain, context, response: chain.respond(*args)


def test_gateway_takes_its_handlers_by_position():
    lists = [[], [], [], []]
    gateway = Gateway(*lists)
    chain = gateway.new_chain()
    names = ("request_handlers", "response_handlers", "finalizers", "exception_handlers")
    for name, handlers in zip(names, lists, strict=True):
        assert getattr(gateway, name) is handlers
        assert getattr(chain, name) is handlers


def test_process_makes_a_context_of_the_class_given():
    class Context(RequestContext):
        def __init__(self, request):
            super().__init__(request)
            self.user = "me"

    seen = []
    gateway = Gateway(
        [lambda chain, context, response: seen.append(context)], context_class=Context
    )
    request = Request()
    gateway.process(request, Response())
    assert (seen[0].request, seen[0].user) == (request, "me")


def test_process_touches_nothing_of_the_request():
    class Untouchable:
        def __getattribute__(self, name):
            raise AssertionError(name)

    Gateway([lambda chain, context, response: None]).process(Untouchable(), Response())


def test_handler_gets_a_request_of_ours_with_raw_headers():
    seen = []
    app = serving(lambda chain, context, response: seen.append(context.request))
    environ = EnvironBuilder("/x").get_environ()
    environ["asgi.headers"] = [(b"a-B", b"1")]
    run_wsgi_app(app, environ)
    assert isinstance(seen[0], Request)
    assert list(seen[0].headers) == [("a-B", "1")]


@pytest.mark.parametrize(
    ("method", "status", "data"),
    [("GET", 200, b"hi"), ("HEAD", 200, b""), ("GET", 204, b""), ("GET", 304, b"")],
)
def test_answers_without_a_body(method, status, data):
    answer = Client(serving(responding(status, "hi"))).open("/", method=method)
    assert (answer.status_code, answer.data) == (status, data)


@pytest.mark.parametrize("passthrough", [False, True])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("read", ["all", "some", "nothing"])
def test_stream_is_closed_once(method, read, passthrough):
    stream, called = Stream(), []

    def handler(chain, context, response):
        chain.respond(200, stream)
        response.direct_passthrough = passthrough
        response.call_on_close(lambda: called.append(1))

    environ = EnvironBuilder("/", method=method).get_environ()
    body = serving(handler)(environ, lambda status, headers: None)
    if read == "all":
        assert b"".join(body) == (b"ab" if method == "GET" else b"")
    elif read == "some" and method == "GET":
        assert next(iter(body)) == b"a"
    body.close()
    assert (stream.closed, called) == (1, [1])


def test_stream_is_pulled_piece_by_piece():
    pulled = []

    def pieces():
        for piece in (b"a", b"b"):
            pulled.append(piece)
            yield piece

    environ = EnvironBuilder("/").get_environ()
    body = iter(serving(responding(200, pieces()))(environ, lambda status, headers: None))
    assert next(body) == b"a"
    assert pulled == [b"a"]
    body.close()


def test_stream_is_closed_if_the_server_cannot_start():
    stream = Stream()

    def start_response(status, headers):
        raise OSError

    with pytest.raises(OSError):  # noqa: PT011 - the very one
        serving(responding(200, stream))(EnvironBuilder("/").get_environ(), start_response)
    assert stream.closed == 1


def test_error_that_leaves_the_chain_reaches_the_server():
    app = serving(lambda chain, context, response: chain.throw(KeyError("x")))
    with pytest.raises(KeyError):
        Client(app).get("/")


def test_body_without_a_length_is_read_where_the_server_ends_it():
    seen = []
    app = serving(lambda chain, context, response: seen.append(context.request.data))
    environ = EnvironBuilder("/", method="POST").get_environ()
    environ.update({"wsgi.input": io.BytesIO(b"abc"), "wsgi.input_terminated": True})
    environ.pop("CONTENT_LENGTH", None)
    run_wsgi_app(app, environ)
    assert seen == [b"abc"]
