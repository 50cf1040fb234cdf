"""Hooks on HTTP exchanges, through servers and in both modes."""

import gzip
import json
import threading
import zlib

import pytest
from threaded_origin import ThreadedOrigin
from werkzeug.exceptions import Forbidden
from wire import Truncated, Wire, chunked, fetch

from rolo import Request, Response
from rolo.gateway import Gateway
from rolo.gateway.handlers import RouterHandler
from rolo.proxy import Hooks, Proxy, ProxyContext, ProxyHandler, event_stream
from rolo.routing import Router
from rolo.serving import serve


@pytest.fixture(params=["native-loop", "native-threads", "hypercorn-loop", "uvicorn-threads"])
def served_on(request):
    """Two servers stand for all: below the hooks nothing depends on them."""
    return tuple(request.param.split("-"))


@pytest.fixture
def origin():
    with ThreadedOrigin() as origin:
        yield origin


class Told(Hooks):
    """Notes the end of each exchange."""

    def __init__(self):
        self.contexts = []
        self.told = threading.Event()

    def on_finished(self, context):
        self.contexts.append(context)
        self.told.set()

    def last(self):
        assert self.told.wait(5)
        self.told.clear()
        return self.contexts[-1]


def body_answer(body, *fields):
    lines = b"".join(b"%b: %b\r\n" % field for field in fields)
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%b\r\n%b" % (len(body), lines, body)


# --- the head


def test_three_lines_edit_a_response(rewriting, origin):
    def brand(context, response):
        response.headers["X-Edge"] = "rolo"

    answer = fetch(rewriting(on_response=brand))
    assert (answer.status, answer.body, answer.get("x-edge")) == (200, b"ok", "rolo")
    assert answer.all("content-length") == ["2"]


def test_the_request_may_be_answered_without_an_upstream(rewriting, origin):
    told = Told()
    url = rewriting(told, on_request=lambda context: Response("mine", status=418))
    answer = fetch(url)
    assert (answer.status, answer.body) == (418, b"mine")
    assert origin.requests == []
    context = told.last()
    assert (context.outcome, context.bytes_sent, context.seconds_to_head) == ("answered", 4, None)


def test_the_request_may_choose_its_upstream_and_path(rewriting, origin):
    with ThreadedOrigin() as other:

        def choose(context):
            assert context.path == "/a%20b"
            context.upstream = other.url + "/base"
            context.path = "/c%2Fd"

        url = rewriting(on_request=choose)
        assert fetch(url, "/a%20b?q=1").status == 200
        assert other.last.target == "/base/c%2Fd?q=1"
    assert origin.requests == []


def test_inbound_is_read_and_outbound_is_edited(rewriting, origin):
    def edit(context, outbound):
        assert context.request.headers["Connection"] == "X-Private"
        assert "X-Private" not in outbound.headers
        assert outbound.headers["X-Forwarded-For"] == "127.0.0.1"
        outbound.headers["Authorization"] = "Bearer t"
        outbound.headers.remove("X-Old")
        outbound.method = "PUT"
        outbound.target = "/other?x=y"

    headers = [("Connection", "X-Private"), ("X-Private", "1"), ("X-Old", "1"), ("X-Old", "2")]
    fetch(rewriting(on_outgoing=edit), "/", headers=headers)
    assert (origin.last.method, origin.last.target) == ("PUT", "/other?x=y")
    assert origin.last.all("authorization") == ["Bearer t"]
    assert origin.last.all("x-old") == []
    assert origin.last.all("x-private") == []


def test_a_response_may_be_replaced(rewriting, origin):
    origin.answer(b"HTTP/1.1 500 Oops\r\nContent-Length: 5\r\n\r\nstack")

    def hide(context, response):
        return Response("sorry", status=503) if response.status == 500 else None

    url = rewriting(on_response=hide)
    assert (fetch(url).status, fetch(url).status) == (503, 200)


def test_a_werkzeug_exception_is_its_own_answer(rewriting, origin):
    def forbid(context):
        raise Forbidden

    told = Told()
    assert fetch(rewriting(told, on_request=forbid)).status == 403
    assert told.last().outcome == "answered"


# --- several


def test_requests_go_down_the_list_and_answers_up(rewriting, origin):
    order = []

    class Noting(Hooks):
        def __init__(self, name):
            self.name = name

        def on_request(self, context):
            order.append(f"request {self.name}")

        def on_outgoing(self, context, outbound):
            order.append(f"outgoing {self.name}")

        def on_response(self, context, response):
            order.append(f"response {self.name}")

    class Handler(Noting, ProxyHandler):
        def __init__(self, url, **options):
            Noting.__init__(self, "handler")
            ProxyHandler.__init__(self, url, **options)

    fetch(rewriting(Noting("a"), Noting("b"), on_response=lambda *_: order.append("function")))
    assert order == [
        *("request a", "request b", "outgoing a", "outgoing b"),
        *("function", "response b", "response a"),
    ]
    order.clear()
    handler = Handler(origin.url, hooks=[Noting("a")])
    with serve(Gateway([handler]), server="native") as server:
        fetch(server.url)
    handler.close()
    assert order == [
        *("request handler", "request a", "outgoing handler", "outgoing a"),
        *("response a", "response handler"),
    ]


def test_no_hook_is_called_after_one_has_answered(rewriting, origin):
    class Never(Hooks):
        def on_request(self, context):
            raise AssertionError

    class Answers(Hooks):
        def on_request(self, context):
            return Response("first")

    assert fetch(rewriting(Answers(), Never())).body == b"first"


# --- the context


@pytest.mark.parametrize("context_class", [None, ProxyContext], ids=["plain", "own"])
def test_the_context_is_the_chains(start, origin, context_class):
    seen = []

    def before(chain, context, response):
        context.tenant = "acme"

    def after(chain, context, response):
        seen.append((context.get("verdict"), context.request is not None))

    def look(context, response):
        context.verdict = f"{context.tenant} {context.outbound.method} {response.status}"

    handler = ProxyHandler(origin.url, on_response=look)
    gateway = Gateway([before, handler], [after], context_class=context_class)
    fetch(start(gateway).url)
    handler.close()
    assert seen == [("acme GET 200", True)]


def test_the_context_reaches_endpoints_of_routes(start, origin):
    def before(chain, context, response):
        context.tenant = "acme"

    def tag(context, outbound):
        outbound.headers["X-Tenant"] = context.tenant

    handler = ProxyHandler(origin.url + "/base", on_outgoing=tag)
    router = Router()
    router.add("/api/<path:path>", handler)
    router.add("/local", lambda request, args: Response("local"))
    url = start(before, RouterHandler(router)).url
    assert fetch(url, "/local").body == b"local"
    assert fetch(url, "/api/x%20y").status == 200
    handler.close()
    assert (origin.last.target, origin.last.get("x-tenant")) == ("/base/x%20y", "acme")


def test_what_is_settled_cannot_be_changed(rewriting, origin):
    def late(context, outbound):
        context.upstream = "http://elsewhere.example"

    assert fetch(rewriting(on_outgoing=late)).status == 500
    assert origin.requests == []


# --- an upstream that cannot be reached


@pytest.fixture
def dead():
    with ThreadedOrigin() as origin:
        pass
    return origin.url


def test_a_second_upstream_gets_the_whole_request(start, origin, dead):
    told = Told()

    def fall_back(context, error):
        assert error.status == 502
        context.upstream = origin.url

    handler = ProxyHandler(dead, hooks=[told], on_connect_failed=fall_back)
    body = b"x" * 300_000
    assert fetch(start(handler).url, "/p", "POST", body=body).body == b"ok"
    handler.close()
    assert (origin.last.target, origin.last.body) == ("/p", body)
    context = told.last()
    assert (context.outcome, context.error) == ("complete", None)
    assert (context.bytes_received, context.bytes_sent) == (300_000, 2)


def test_a_failed_connection_may_be_answered_or_shown(start, dead):
    answering = ProxyHandler(dead, on_connect_failed=lambda context, error: Response("later"))
    assert fetch(start(answering).url).body == b"later"
    answering.close()


def test_upstreams_are_not_tried_for_ever(start, dead):
    tried = []

    def again(context, error):
        tried.append(error)
        context.path = f"/{len(tried)}"

    handler = ProxyHandler(dead, on_connect_failed=again)
    assert fetch(start(handler).url).status == 502
    handler.close()
    assert len(tried) == 10


def test_the_client_sees_what_on_error_makes_of_it(start, dead):
    told = Told()

    def show(context, error):
        assert context.error is error
        return Response.for_json({"error": error.phase}, status=error.status)

    handler = ProxyHandler(dead, hooks=[told], on_error=show)
    answer = fetch(start(handler).url)
    handler.close()
    assert (answer.status, json.loads(answer.body)) == (502, {"error": "connect"})
    context = told.last()
    assert (context.outcome, context.error.status) == ("refused", 502)


# --- bodies of answers

CODINGS = ["identity", "gzip", "deflate", "br", "zstd"]


def compressed(coding, data):
    if coding == "gzip":
        return gzip.compress(data)
    if coding == "deflate":
        return zlib.compress(data)
    if coding == "br":
        return pytest.importorskip("brotli").compress(data)
    if coding == "zstd":
        return pytest.importorskip("zstandard").compress(data)
    return data


def decompressed(coding, data):
    if coding == "gzip":
        return gzip.decompress(data)
    if coding == "deflate":
        return zlib.decompress(data)
    if coding == "br":
        return pytest.importorskip("brotli").decompress(data)
    if coding == "zstd":
        return pytest.importorskip("zstandard").ZstdDecompressor().decompressobj().decompress(data)
    return data


@pytest.mark.parametrize("size", [1, 60_000], ids=["small", "large"])
@pytest.mark.parametrize("coding", CODINGS)
def test_chunks_are_seen_decoded_and_sent_encoded(rewriting, origin, coding, size):
    text = b"<b>secret</b>\n" * size
    fields = [(b"ETag", b'"1"'), (b"Content-Digest", b"sha-256=:x:"), (b"Accept-Ranges", b"bytes")]
    if coding != "identity":
        fields.append((b"Content-Encoding", coding.encode()))
    origin.answer(body_answer(compressed(coding, text), *fields))
    url = rewriting(on_response_chunk=lambda context, chunk: chunk.upper())
    answer = fetch(url, headers=[("Accept-Encoding", f"{coding}, exotic"), ("Range", "bytes=0-1")])
    assert decompressed(coding, answer.body) == text.upper()
    assert answer.get("etag") == 'W/"1"'
    assert answer.all("content-digest") == []
    assert answer.all("accept-ranges") == []
    assert answer.all("content-encoding") == ([] if coding == "identity" else [coding])
    assert origin.last.all("range") == []
    assert origin.last.all("accept-encoding") == [coding]


def test_a_small_body_keeps_an_exact_length(rewriting, origin):
    answer = fetch(rewriting(on_response_chunk=lambda context, chunk: chunk * 3))
    assert (answer.body, answer.all("content-length")) == (b"okokok", ["6"])


def test_a_generator_transforms_the_whole_stream(rewriting, origin):
    origin.answer(body_answer(b"one\ntwo\nthree"))

    def numbered(lines):
        yield "# begin\n"
        for number, line in enumerate(lines):
            yield f"{number} {line}"
        yield "\n# end"

    url = rewriting(on_response=lambda context, response: response.transform_lines(numbered))
    assert fetch(url).body == b"# begin\n0 one\n1 two\n2 three\n# end"


def test_a_json_document_is_changed_whole(rewriting, origin):
    body = gzip.compress(b'{"a": 1}')
    origin.answer(
        body_answer(body, (b"Content-Type", b"application/json"), (b"Content-Encoding", b"gzip"))
    )

    def add(document):
        document["b"] = "ü"

    answer = fetch(rewriting(on_response=lambda context, response: response.transform_json(add)))
    assert json.loads(gzip.decompress(answer.body)) == {"a": 1, "b": "ü"}
    assert answer.get("content-length") == str(len(answer.body))


def test_reading_a_body_leaves_it_as_it_came(rewriting, origin):
    body = gzip.compress(b"text")
    origin.answer(body_answer(body, (b"Content-Encoding", b"gzip"), (b"ETag", b'"1"')))
    seen = []
    url = rewriting(on_response=lambda context, response: seen.append(response.text()))
    answer = fetch(url)
    assert (seen, answer.body, answer.get("etag")) == (["text"], body, '"1"')


def test_a_body_too_large_to_read_whole_is_a_502(rewriting, origin):
    origin.answer(body_answer(b"x" * 100_000))
    told = Told()

    def read(context, response):
        response.read(limit=1000)

    assert fetch(rewriting(told, on_response=read)).status == 502
    assert told.last().outcome == "refused"


def test_hooks_share_one_body(rewriting, origin):
    """The one nearer to the upstream comes first, whether it reads or streams."""

    class Streams(Hooks):
        def on_response(self, context, response):
            response.transform(bytes.upper)

    class Reads(Hooks):
        def on_response(self, context, response):
            response.set_data(response.text() + "!")

    assert fetch(rewriting(Reads(), Streams())).body == b"OK!"
    assert fetch(rewriting(Streams(), Reads())).body == b"OK!"


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_an_answer_without_a_body_has_its_head_fixed(rewriting, origin, method):
    answer = b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\n\r\n'
    if method == "HEAD":
        answer = b'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: 1234\r\n\r\n'
    origin.answer(answer)
    told = Told()
    url = rewriting(told, on_response_chunk=lambda context, chunk: chunk * 2)
    seen = fetch(url, method=method)
    assert (seen.get("etag"), seen.body) == ('W/"1"', b"")
    assert "1234" not in seen.all("content-length")
    assert told.last().outcome == "complete"


def test_transformed_downloads_stream(rewriting, origin):
    go_on = threading.Event()

    def slow(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        assert go_on.wait(5)
        connection.sendall(b"3\r\ntwo\r\n0\r\n\r\n")

    origin.script(slow)
    with Wire(rewriting(on_response_chunk=lambda context, chunk: chunk.upper())) as wire:
        wire.request("GET", "/")
        head = wire.head()
        assert wire.piece(head) == b"ONE"
        go_on.set()
        assert wire.body(head) == b"TWO"


def test_a_slow_client_slows_the_origin_through_a_transform(rewriting, origin):
    sent = []
    stopped = threading.Event()

    def endless(connection):
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
        connection.settimeout(1.0)
        try:
            while len(sent) < 2000:
                connection.sendall(b"x" * 65536)
                sent.append(1)
        except OSError:
            pass
        stopped.set()

    origin.script(endless)
    with Wire(rewriting(on_response_chunk=lambda context, chunk: chunk)) as wire:
        wire.request("GET", "/")
        wire.head()
        assert stopped.wait(10)
    assert len(sent) < 1000  # 64 MB; socket buffers take some


def test_a_chunk_hook_that_raises_breaks_the_answer_off(rewriting, origin, caplog):
    origin.answer(body_answer(b"x" * 500_000))
    told = Told()

    def fail(context, chunk):
        raise ZeroDivisionError("no")

    url = rewriting(told, on_response_chunk=fail)
    with pytest.raises(Truncated):
        fetch(url)
    context = told.last()
    assert (context.outcome, type(context.error.__cause__)) == ("aborted", ZeroDivisionError)
    assert any("on_response_chunk of test_a_chunk_hook" in r.message for r in caplog.records)


@pytest.mark.parametrize("phase", ["on_request", "on_outgoing", "on_response"])
def test_a_hook_that_raises_before_the_head_is_a_500(rewriting, origin, phase, caplog):
    told = Told()

    def fail(*args):
        raise ZeroDivisionError("secret")

    answer = fetch(rewriting(told, **{phase: fail}))
    assert answer.status == 500
    assert b"secret" not in answer.body
    assert told.last().outcome == "refused"
    assert any(f"{phase} of test_a_hook" in r.message for r in caplog.records)


def test_a_bomb_is_not_inflated_to_its_end(rewriting, origin):
    bomb = gzip.compress(bytes(1_000_000), 9) * 200
    origin.answer(body_answer(bomb, (b"Content-Encoding", b"gzip")))
    told = Told()
    url = rewriting(told, on_response_chunk=lambda context, chunk: b"")
    with pytest.raises(Truncated):
        fetch(url)
    assert told.last().error.phase == "content coding"


def test_a_coding_that_nobody_knows_is_a_502_with_a_hook_and_passes_without(rewriting, origin):
    fields = [(b"Content-Encoding", b"exotic")]
    origin.answer(body_answer(b"x", *fields), times=2)
    assert fetch(rewriting(on_response=lambda context, response: None)).body == b"x"
    assert fetch(rewriting(on_response_chunk=lambda context, chunk: chunk)).status == 502
    assert origin.connections == 2


@pytest.mark.parametrize("hooked", ["body too", "trailers only"])
def test_trailers_are_edited(served_on, rewriting, origin, hooked):
    if served_on[0] == "uvicorn":
        pytest.skip("sends no trailers")
    origin.answer(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2\r\nok\r\n0\r\nX-Sum: 1\r\nX-Old: 2\r\n\r\n"
    )

    def edit(context, trailers):
        trailers["X-Sum"] += "!"
        trailers.remove("X-Old")

    functions = {"on_trailers": edit}
    if hooked == "body too":
        functions["on_response_chunk"] = lambda context, chunk: iter([chunk])
    with Wire(rewriting(**functions)) as wire:
        wire.request("GET", "/", [("TE", "trailers"), ("Connection", "TE, close")])
        rest = wire.read_rest().lower()
    assert b"x-sum: 1!" in rest
    assert b"x-old" not in rest


# --- bodies of requests


@pytest.mark.parametrize("size", [10, 300_000], ids=["small", "large"])
def test_request_chunks_are_changed(rewriting, origin, size):
    told = Told()
    url = rewriting(told, on_request_chunk=lambda context, chunk: chunk.upper() + b"!")
    fetch(url, method="POST", headers=[("Content-Digest", "x")], body=b"a" * size)
    assert origin.last.body.replace(b"!", b"") == b"A" * size
    assert origin.last.body.endswith(b"!")
    assert origin.last.all("content-digest") == []
    assert told.last().bytes_received == len(origin.last.body)


@pytest.mark.parametrize("pieces", [[b"abc", b"de"], []], ids=["some", "none"])
def test_taps_of_both_bodies_see_the_pieces_and_no_empty_one(rewriting, origin, pieces):
    sent, received = [], []

    def tap_request(context, outbound):
        outbound.tap(sent.append)

    def tap_answer(context, response):
        response.tap(received.append)

    origin.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(*pieces))
    url = rewriting(on_outgoing=tap_request, on_response=tap_answer)
    with Wire(url) as wire:
        wire.send(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        wire.send(chunked(*pieces))
        assert wire.answer().body == b"".join(pieces)
    for seen in (sent, received):
        assert b"".join(seen) == b"".join(pieces)
        assert b"" not in seen


def test_chunked_requests_are_changed_as_they_come(rewriting, origin):
    with Wire(rewriting(on_request_chunk=lambda context, chunk: [chunk, b"-"])) as wire:
        wire.request("POST", "/", [("Transfer-Encoding", "chunked")])
        wire.send(b"3\r\none\r\n")
        assert origin.body_started.wait(5)
        wire.send(chunked(b"two"))
        assert wire.answer().status == 200
    assert origin.last.body == b"one-two-"


def test_compressed_requests_are_changed(rewriting, origin):
    body = gzip.compress(b"a" * 300_000)
    url = rewriting(on_request_chunk=lambda context, chunk: chunk.upper())
    fetch(url, method="PUT", headers=[("Content-Encoding", "gzip")], body=body)
    assert gzip.decompress(origin.last.body) == b"A" * 300_000


@pytest.mark.parametrize("size", [10, 300_000], ids=["small", "large"])
def test_a_request_document_is_changed_whole(rewriting, origin, size):
    def add(context, outbound):
        outbound.transform_json(lambda document: {**document, "model": "small"})

    body = json.dumps({"prompt": "x" * size}).encode()
    headers = [("Content-Type", "application/json")]
    fetch(rewriting(on_outgoing=add), method="POST", headers=headers, body=body)
    assert json.loads(origin.last.body) == {"prompt": "x" * size, "model": "small"}
    assert origin.last.all("content-length") == [str(len(origin.last.body))]


def test_a_request_hook_that_raises_within_the_body_is_a_500(rewriting, origin):
    def fail(context, chunk):
        raise ZeroDivisionError

    def until_the_end(connection):
        while connection.recv(65536):
            pass

    origin.script(until_the_end)
    url = rewriting(on_request_chunk=fail)
    assert fetch(url, method="POST", body=b"x" * 300_000).status == 500


def test_an_early_answer_arrives_while_the_upload_waits(rewriting, origin):
    """Nobody waits for a client that waits for its answer."""
    origin.script(
        lambda connection: connection.sendall(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
    )
    with Wire(rewriting(on_request_chunk=lambda context, chunk: chunk)) as wire:
        wire.request("POST", "/", [("Transfer-Encoding", "chunked")])
        wire.send(b"3\r\none\r\n")
        assert wire.head().status == 403


# --- events

EVENTS = b": hello\n\nevent: tick\ndata: 1\n\ndata: two\r\ndata: lines\r\n\r\nid:7\ndata:3\n\n"


def stream_answer(*pieces):
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        + chunked(*pieces)
    )


def test_events_are_changed_dropped_and_added(rewriting, origin):
    def edit(context, event):
        if event.event == "tick":
            return []
        if event.id == "7":
            return [event, type(event)("added")]
        event.data = event.data.upper()
        return None

    origin.answer(stream_answer(EVENTS[:20], EVENTS[20:]))
    answer = fetch(rewriting(on_event=edit))
    assert answer.body == b": hello\n\ndata: TWO\ndata: LINES\n\nid:7\ndata:3\n\ndata: added\n\n"


def test_streams_whose_events_are_only_seen_stay_as_they_are(rewriting, origin):
    seen = []
    origin.answer(stream_answer(*(EVENTS[i : i + 1] for i in range(len(EVENTS)))))
    answer = fetch(rewriting(on_event=lambda context, event: seen.append(event.data)))
    assert answer.body == EVENTS
    assert seen == ["1", "two\nlines", "3"]


def test_other_answers_have_no_events(rewriting, origin):
    origin.answer(body_answer(b"data: 1\n\n", (b"Content-Type", b"text/plain")))
    assert fetch(rewriting(on_event=lambda context, event: [])).body == b"data: 1\n\n"


def test_an_event_may_be_delayed(rewriting, origin):
    origin.answer(stream_answer(b"data: 1\n\n"))

    def delay(context, event):
        context.sleep(0.01)

    assert fetch(rewriting(on_event=delay)).body == b"data: 1\n\n"


def test_a_stream_may_be_stubbed(rewriting, origin):
    closed = threading.Event()

    def tokens():
        try:
            yield "a"
            yield "b"
        finally:
            closed.set()

    url = rewriting(on_request=lambda context: event_stream(tokens()))
    assert fetch(url).body == b"data: a\n\ndata: b\n\n"
    assert closed.wait(5)


# --- the end


def test_the_end_is_told_with_sizes_and_times(rewriting, origin):
    told = Told()
    origin.answer(body_answer(b"x" * 300_000))
    fetch(rewriting(told), method="POST", body=b"abc")
    context = told.last()
    assert (context.outcome, context.error, context.phase) == ("complete", None, "on_finished")
    assert (context.bytes_received, context.bytes_sent) == (3, 300_000)
    assert 0 < context.seconds_to_head <= context.seconds


def test_the_end_knows_the_status_of_every_exchange(start, origin, dead):
    told = Told()

    def answer(context):
        if context.path == "/answered":
            return Response(status=418)
        if context.path == "/aborted":
            raise Forbidden
        if context.path == "/failed":
            raise ValueError
        if context.path in ("/dead", "/replaced"):
            context.upstream = dead
        return None

    def edit(context, response):
        response.status = 201

    def page(context, error):
        return Response(status=599) if context.path == "/replaced" else None

    functions = {"on_request": answer, "on_response": edit, "on_error": page}
    handler = ProxyHandler(origin.url, hooks=[told], **functions)
    url = start(handler).url
    ends = {}
    for path in ("/", "/answered", "/aborted", "/failed", "/dead", "/replaced"):
        status = fetch(url, path).status
        context = told.last()
        assert context.status == status
        ends[path] = status, context.outcome
    assert ends == {
        "/": (201, "complete"),
        "/answered": (418, "answered"),
        "/aborted": (403, "answered"),
        "/failed": (500, "refused"),
        "/dead": (502, "refused"),
        "/replaced": (599, "refused"),
    }
    handler.close()


def test_an_origin_that_breaks_off_is_told(rewriting, origin):
    told = Told()
    origin.answer(b"HTTP/1.0 200 OK\r\nContent-Length: 10\r\n\r\npart")
    origin.script(lambda c: c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npart"))
    with pytest.raises(Truncated):
        fetch(rewriting(told))
    context = told.last()
    assert (context.outcome, context.error.phase, context.bytes_sent) == (
        *("aborted", "response body"),
        4,
    )


def test_a_client_that_leaves_is_told(rewriting, origin):
    told = Told()
    over = threading.Event()

    def slow(connection):
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\npart")
        over.wait(5)

    origin.script(slow)
    with Wire(rewriting(told)) as wire:
        wire.request("GET", "/")
        wire.head()
    assert told.last().outcome == "client gone"
    over.set()


def test_a_client_that_leaves_frees_a_hook_that_waits_for_more(rewriting, origin):
    left = threading.Event()

    def silent(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nfirst")
        if connection.recv(1) == b"":
            left.set()

    origin.script(silent)
    with Wire(rewriting(on_response_chunk=lambda context, chunk: chunk)) as wire:
        wire.request("GET", "/")
        wire.head()
    assert left.wait(5)


def test_an_interim_answer_is_seen(rewriting, origin):
    told = Told()
    seen = []

    def note(context, interim):
        seen.append((interim.status, interim.headers.get("Link")))

    origin.answer(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + body_answer(b"ok"))
    assert fetch(rewriting(told, on_interim=note)).body == b"ok"
    assert seen == [(103, "</a>")]


def test_interim_answers_that_queue_behind_a_waiting_hook_come_first_and_in_order(start, origin):
    first, all_sent = threading.Event(), threading.Event()

    def script(connection):
        hint = b"HTTP/1.1 103 Early Hints\r\nLink: </%d>\r\n\r\n"
        connection.sendall(hint % 0)
        assert first.wait(5)
        connection.sendall(hint % 1 + hint % 2)
        connection.sendall(body_answer(b"ok"))
        all_sent.set()

    def wait(context, interim):
        first.set()
        while not all_sent.is_set():
            context.sleep(0.005)

    origin.script(script)
    handler = ProxyHandler(origin.url, on_interim=wait)
    server = start(handler)
    with Wire(server.url) as wire:
        wire.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        if server.name == "uvicorn":  # which sends no interim answers
            assert wire.head().status == 200
        else:
            heads = [wire.head() for _ in range(4)]
            assert [head.get("link") for head in heads] == ["</0>", "</1>", "</2>", None]
    handler.close()


# --- elsewhere


def test_hooks_work_in_scripts_and_with_other_clients(origin):
    def brand(context, response):
        response.headers["X-Edge"] = "yes"

    def shout(context, chunk):
        return chunk.upper()

    functions = {"on_response": brand, "on_request_chunk": shout, "on_response_chunk": shout}
    with Proxy(origin.url, **functions) as proxy:
        response = proxy.forward(Request("POST", "/", headers={"Host": "h"}, body=b"abc"))
        assert (response.headers["X-Edge"], response.data) == ("yes", b"OK")
        assert origin.last.body == b"ABC"
        with Proxy(origin.url, proxy, **functions) as outer:
            assert outer.forward(Request("POST", "/", body=b"abc")).data == b"OK"


def test_hooks_work_under_wsgi(origin):
    told = Told()
    handler = ProxyHandler(origin.url, hooks=[told], on_response_chunk=lambda c, chunk: chunk * 2)
    with serve(Gateway([handler]), server="werkzeug") as server:
        assert fetch(server.url, method="POST", body=b"abc").body == b"okok"
    handler.close()
    assert told.last().outcome == "complete"


def test_a_phase_that_does_not_exist_is_refused():
    with pytest.raises(TypeError, match="no phase on_respose, did you mean on_response"):
        ProxyHandler("http://h", on_respose=print)
