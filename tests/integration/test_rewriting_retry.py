"""Another upstream gets the whole request, or nothing of it; hooks decide for it in a phase."""

import threading

import pytest
from threaded_origin import ThreadedOrigin
from websocket_origin import TEXT, Client, WebSocketOrigin, echo
from wire import Wire, chunked, fetch

from rolo.errors import BodyNotKept, RetryRefused
from rolo.proxy import Proxy, ProxyHandler

UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy"
LARGE = bytes(range(256)) * 1024


@pytest.fixture(params=["native-loop", "native-threads", "uvicorn-threads", "werkzeug-threads"])
def served_on(request):
    """Both ways to forward, an ASGI server and WSGI."""
    return tuple(request.param.split("-"))


@pytest.fixture
def second():
    with ThreadedOrigin() as second:
        yield second


def post(url, body, *, in_chunks=False):
    if not in_chunks:
        return fetch(url, "/a", "POST", body=body)
    with Wire(url) as wire:
        wire.request("POST", "/a", [("Transfer-Encoding", "chunked")])
        wire.send(chunked(body[:2], body[2:]))
        return wire.answer()


def read(context):
    context.request.get_data()


def keep(context):
    context.keep_body()


@pytest.mark.parametrize("in_chunks", [False, True], ids=["length", "chunks"])
@pytest.mark.parametrize(
    ("on_request", "body"),
    [(None, b"abcdef"), (read, b"abcdef"), (read, LARGE), (keep, LARGE)],
    ids=["small", "read", "large, read", "large, kept"],
)
def test_a_second_upstream_gets_the_whole_body(
    rewriting, origin, second, on_request, body, in_chunks
):
    proxy = Proxy(second.url)

    def on_response(context, response):
        return proxy.forward(context.request)

    functions = {} if on_request is None else {"on_request": on_request}
    url = rewriting(on_response=on_response, **functions)
    assert post(url, body, in_chunks=in_chunks).body == b"ok"
    assert origin.last.body == second.last.body == body
    proxy.close()


@pytest.mark.parametrize("in_chunks", [False, True], ids=["length", "chunks"])
def test_a_body_that_was_not_kept_is_told_before_a_byte_goes_out(
    rewriting, origin, second, in_chunks
):
    proxy, told = Proxy(second.url), []

    def on_response(context, response):
        for again in (proxy.forward, lambda request: request.get_data()):
            with pytest.raises(BodyNotKept) as caught:
                again(context.request)
            told.append(type(caught.value))
        assert not context.can_retry(unsafe=True)

    assert post(rewriting(on_response=on_response), LARGE, in_chunks=in_chunks).status == 200
    assert origin.last.body == LARGE
    assert (second.requests, told) == ([], [BodyNotKept] * 2)
    proxy.close()


def test_a_bad_answer_may_be_given_up_for_another_upstream(rewriting, origin, second):
    seen, ended = [], threading.Event()

    def on_outgoing(context, outbound):
        outbound.headers["X-Try"] = str(context.tries)

    def on_response(context, response):
        seen.append((str(context.upstream), response.status, context.tries))
        if response.status == 503:
            context.retry(second.url, "/b")

    def on_finished(context):
        seen.append((context.outcome, context.tries, context.bytes_received, context.error))
        ended.set()

    origin.answer(UNAVAILABLE)
    url = rewriting(on_outgoing=on_outgoing, on_response=on_response, on_finished=on_finished)
    answer = fetch(url, "/a", "PUT", body=b"abc")
    assert (answer.status, answer.body) == (200, b"ok")
    assert ended.wait(5)
    assert seen == [(origin.url, 503, 1), (second.url, 200, 2), ("complete", 2, 3, None)]
    assert [second.last.target, second.last.body, second.last.get("x-try")] == ["/b", b"abc", "2"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_after_an_error_only_what_is_safe_is_done_again(rewriting, origin, second, method):
    told = []

    def on_error(context, error):
        told.append((context.can_retry(), context.can_retry(unsafe=True)))
        try:
            context.retry(second.url)
        except RetryRefused:
            if context.request.headers.get("X-Insist"):
                context.retry(second.url, unsafe=True)

    origin.script(lambda connection: None)  # ends without an answer
    url = rewriting(on_error=on_error)
    safe = method == "GET"
    assert fetch(url, "/", method, body=b"abc").status == (200 if safe else 502)
    assert len(second.requests) == safe
    assert fetch(url, "/", method, [("X-Insist", "1")], b"abc").status == 200
    assert second.last.body == b"abc"
    assert told == [(safe, True)] * 2


def test_what_cannot_be_reached_is_tried_ten_times(rewriting, origin):
    origin.close()
    tries = []

    def on_connect_failed(context, error):
        tries.append(context.tries)
        if context.can_retry():
            context.retry()

    answer = fetch(rewriting(on_connect_failed=on_connect_failed), "/", "POST", body=b"abc")
    assert (answer.status, tries) == (502, list(range(1, 11)))


def test_a_retry_is_decided_before_the_answer_and_nowhere_else(rewriting, second):
    told = []

    def on_request(context):
        with pytest.raises(RuntimeError):
            context.retry(second.url)
        told.append(context.can_retry())

    assert fetch(rewriting(on_request=on_request)).status == 200
    assert told == [False]


def test_an_answer_of_the_hook_outranks_its_retry(rewriting, second):
    from rolo import Response

    def on_response(context, response):
        context.retry(second.url)
        return Response("mine")

    assert fetch(rewriting(on_response=on_response)).body == b"mine"
    assert second.requests == []


@pytest.mark.parametrize("chunk_hook", [False, True], ids=["plain", "hooked body"])
def test_an_upload_under_way_is_taken_from_an_upstream_that_answers_early(
    start, served_on, origin, second, chunk_hook
):
    if served_on[0] == "werkzeug":
        pytest.skip("there an answer is not looked at before the body is sent, unless it is bad")
    answered = threading.Event()

    def refuse(connection):
        connection.sendall(UNAVAILABLE)
        answered.wait(5)

    def on_response(context, response):
        if response.status == 503:
            context.retry(second.url, unsafe=True)
            answered.set()

    hooks = {"on_request_chunk": lambda context, chunk: None} if chunk_hook else {}
    handler = ProxyHandler(origin.url, on_request=keep, on_response=on_response, **hooks)
    origin.script(refuse)
    body = LARGE * 8
    assert post(start(handler).url, body).status == 200
    assert second.last.body == body
    handler.close()


def test_a_handshake_that_was_refused_goes_to_another_upstream(start, served_on, origin):
    if served_on[0] == "werkzeug":
        pytest.skip("no websockets there")
    seen = []

    def on_response(context, response):
        seen.append((response.status, context.tries))
        context.retry(echoing.url)

    origin.answer(UNAVAILABLE)
    echoing = WebSocketOrigin(echo)
    handler = ProxyHandler(origin.url, on_response=on_response)
    with Client(start(handler).url) as client:
        client.open()
        client.send(TEXT, b"hi")
        assert client.message() == "hi"
    assert seen == [(503, 1)]
    echoing.close()
    handler.close()
