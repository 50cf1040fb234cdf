"""Bodies that hooks cannot rewrite: nothing passes them unseen, and the status says whose
fault it is."""

import asyncio
import gzip
import socket
import threading

import pytest
from werkzeug.exceptions import UnprocessableEntity
from wire import Truncated, Wire, chunked, fetch

from rolo.errors import BodyTooLarge, PartOfBody
from rolo.proxy import Event, Hooks, takes_parts
from rolo.proxy.helpers import TransformBodies
from rolo.wire.content_codings import encode


@pytest.fixture(params=["native-loop", "native-threads"])
def served_on(request):
    """Below the hooks nothing depends on the server."""
    return tuple(request.param.split("-"))


def answered(body, *lines, status="200 OK"):
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *lines])
    return f"{head}\r\n\r\n".encode() + body


# --- parts

PART = answered(
    b"secret",
    "Content-Type: text/event-stream",
    "Content-Range: bytes 0-5/9",
    status="206 Partial Content",
)
PARTS = answered(
    b"--x\r\n\r\nsecret\r\n--x--",
    "Content-Type: multipart/byteranges; boundary=x",
    status="206 Partial Content",
)


def changed(*args):
    return "public"


def transforming(name, function=None):
    function = function or changed

    def on_response(context, response):
        getattr(response, name)(function)

    return on_response


WHOLE_ONLY = {
    "on_response_chunk": {"on_response_chunk": lambda context, chunk: b"public"},
    "on_event": {"on_event": lambda context, event: Event("public")},
    "transform": {"on_response": transforming("transform", lambda piece: b"public")},
    "transform_lines": {"on_response": transforming("transform_lines")},
    "transform_events": {"on_response": transforming("transform_events")},
    "transform_json": {"on_response": transforming("transform_json")},
    "transform_text": {"on_response": transforming("transform_text")},
    "set_data": {"on_response": lambda context, response: response.set_data(b"public")},
    "set_json": {"on_response": lambda context, response: response.set_json("public")},
    "TransformBodies": {"hooks": TransformBodies("text/html", lines=changed)},
}


@pytest.mark.parametrize("hooks", WHOLE_ONLY.values(), ids=WHOLE_ONLY)
def test_a_part_does_not_pass_a_hook_that_changes_whole_bodies(rewriting, origin, hooks):
    errors = []
    functions = dict(hooks)
    url = rewriting(
        *([functions.pop("hooks")] if "hooks" in functions else []),
        on_error=lambda context, error: errors.append(error),
        **functions,
    )
    for part in (PART, PARTS):
        origin.answer(part)
        answer = fetch(url)
        assert answer.status == 502
        assert b"secret" not in answer.body
    assert [type(error) for error in errors] == [PartOfBody, PartOfBody]


def test_a_hook_cannot_make_a_part_whole_by_calling_it_so(rewriting, origin):
    def on_response(context, response):
        response.status = 200

    origin.answer(PART)
    url = rewriting(on_response=on_response, on_response_chunk=lambda context, chunk: b"public")
    assert fetch(url).status == 502


class Counts(Hooks):
    def __init__(self):
        self.counted = 0

    @takes_parts
    def on_response_chunk(self, context, chunk):
        self.counted += len(chunk)


def test_a_hook_that_takes_parts_gets_them_and_ranges_are_asked_for(rewriting, origin):
    counts = Counts()
    origin.answer(PART)
    answer = fetch(rewriting(counts), headers=[("Range", "bytes=0-5"), ("If-Range", '"a"')])
    assert (answer.status, answer.body, counts.counted) == (206, b"secret", 6)
    assert (origin.last.get("range"), origin.last.get("if-range")) == ("bytes=0-5", '"a"')


@pytest.mark.parametrize(
    "hooks",
    [
        [TransformBodies("text/html", lines=changed)],
        [Counts(), TransformBodies(lines=changed)],
        [type("Redacts", (Hooks,), {"on_response_chunk": changed})()],
    ],
    ids=["helper", "beside one that takes parts", "method"],
)
def test_parts_are_not_asked_for_where_bodies_are_changed(rewriting, origin, hooks):
    assert fetch(
        rewriting(*hooks, on_response=lambda context, response: None),
        headers=[("Range", "bytes=0-5"), ("If-Range", '"a"')],
        method="HEAD",
    )
    assert (origin.last.get("range"), origin.last.get("if-range")) == (None, None)


def test_another_body_may_stand_for_a_part_under_another_status(rewriting, origin):
    def on_response(context, response):
        response.status = 200
        response.set_data(b"public")

    origin.answer(PART)
    answer = fetch(rewriting(on_response=on_response))
    assert (answer.status, answer.body, answer.get("content-range")) == (200, b"public", None)


# --- whose fault

BOMB = b"".join(encode((bytes(1024 * 1024) for _ in range(64)), ["gzip"]))
TEXT = "Content-Type: text/plain; charset="
GZIP = "Content-Encoding: gzip"
FAULTS = {
    "broken coding": ([GZIP], b"nonsense", "read", 400),
    "cut short": ([GZIP], gzip.compress(b"x" * 100)[:-9], "read", 400),
    "bomb": ([GZIP], BOMB, "read all", 413),
    "unknown coding": (["Content-Encoding: exi"], b"x", "read", 415),
    "too many codings": ([GZIP + ", gzip", GZIP + ", gzip"], b"x", "read", 415),
    "a coding over two lines": ([GZIP, "Content-Encoding: exi"], b"x", "read", 415),
    "codec of Python's": ([TEXT + "punycode"], b"x-" * 100, "text", 415),
    "unknown charset": ([TEXT + "martian"], b"x", "transform_text", 415),
    "lines in one": ([TEXT + "unicode_escape"], b"x", "transform_lines", 415),
    "two media types": ([TEXT + "x", TEXT + "utf-8"], b"x", "transform_text", 400),
    "half a character": ([TEXT + "utf-16"], b"abc", "transform_text", 400),
    "over the limit": ([], b"x" * 1000, "read", 413),
    "no JSON": ([], b"{", "json", 400),
    "JSON without a text": ([], b"\xff\xff", "json", 400),
    "JSON too deep": ([], b"[" * 900, "json", 400),
    "a number without end": ([], b"9" * 800 + b".", "json", 400),
    "a number out of range": ([], b"1e400", "transform_json", 400),
}


def test_an_event_stream_that_names_a_second_type_does_not_pass_the_hooks_of_events(
    rewriting, origin
):
    types = ("Content-Type: text/plain", "Content-Type: text/event-stream")
    url = rewriting(on_event=lambda context, event: [])
    for lines in (types, types[::-1], [types[0] + ", text/event-stream"]):
        origin.answer(answered(b"data: secret\n\n", *lines))
        answer = fetch(url)
        assert (answer.status, b"secret" in answer.body) == (502, False)


def doing(method):
    def hook(context, message):
        if method == "read all":
            message.read(None)
        elif method.startswith("transform"):
            getattr(message, method)(lambda value: value)
        else:
            getattr(message, method)(limit=900)

    return hook


@pytest.mark.parametrize(("lines", "body", "method", "status"), FAULTS.values(), ids=FAULTS)
def test_who_sent_a_body_that_cannot_be_read_is_to_blame(
    rewriting, origin, lines, body, method, status
):
    fields = [tuple(line.split(": ")) for line in lines]
    url = rewriting(on_outgoing=doing(method))
    assert fetch(url, method="POST", headers=fields, body=body).status == status
    assert not origin.requests
    origin.answer(answered(body, *lines))
    assert fetch(rewriting(on_response=doing(method))).status == 502


def drain(connection):
    while connection.recv(65536):
        pass


@pytest.mark.parametrize(("size", "kind"), [(1, "whole"), (1, "chunked"), (60, "chunked")])
def test_a_bad_body_that_streams_through_a_hook_is_the_clients_fault(rewriting, origin, size, kind):
    coded = gzip.compress(bytes(size * 1000))[:-9]
    origin.script(drain)
    url = rewriting(on_request_chunk=lambda context, chunk: chunk)
    with Wire(url) as wire:
        framing = (
            "Transfer-Encoding: chunked" if kind == "chunked" else f"Content-Length: {len(coded)}"
        )
        wire.send(f"POST / HTTP/1.1\r\nHost: a\r\n{GZIP}\r\n{framing}\r\n\r\n".encode())
        wire.send(chunked(coded[:5], coded[5:]) if kind == "chunked" else coded)
        assert wire.answer().status == 400


# --- nothing is lost after an error


def too_large(message):
    with pytest.raises(BodyTooLarge):
        message.read(limit=1000)


@pytest.mark.parametrize("kind", ["chunked", "length"])
def test_a_body_that_was_too_large_to_read_is_sent_whole(rewriting, origin, kind):
    body = bytes(range(256)) * 4000
    refused = rewriting(
        on_outgoing=lambda context, outbound: too_large(outbound),
        on_response=lambda context, response: too_large(response),
    )
    if kind == "length":
        origin.answer(answered(body))
    else:
        origin.answer(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(body, body)
        )
    with Wire(refused) as wire:
        if kind == "length":
            wire.request("POST", "/", [], body)
        else:
            wire.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            wire.send(chunked(body, body))
        answer = wire.answer()
    expected = body if kind == "length" else body * 2
    assert answer.body == expected
    assert origin.last.body == expected


def test_a_body_that_was_too_large_to_read_may_be_read_again_and_transformed(rewriting, origin):
    body = b"line\n" * 100_000

    def twice(context, message):
        too_large(message)
        assert message.read(None) == body
        too_large(message)
        message.transform(bytes.upper)

    def outgoing(context, outbound):
        twice(context, outbound)

    url = rewriting(on_outgoing=outgoing, on_response=twice)
    origin.answer(answered(body))
    answer = fetch(url, method="POST", body=body)
    assert answer.body == origin.last.body == body.upper()


def test_an_origin_that_breaks_off_while_a_hook_reads_does_not_pass_for_whole(rewriting, origin):
    def on_response(context, response):
        with pytest.raises(Exception, match="connection"):
            response.read()

    origin.script(
        lambda connection: connection.sendall(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n"
        )
    )
    url = rewriting(on_response=on_response)
    with pytest.raises(Truncated):
        fetch(url)


# --- without a body


DOCUMENT = "Content-Type: application/json"
BODILESS = {
    "HEAD": ("HEAD", answered(b"", DOCUMENT, 'ETag: "1"').replace(b"h: 0", b"h: 9")),
    "204": ("GET", f'HTTP/1.1 204 No Content\r\n{DOCUMENT}\r\nETag: "1"\r\n\r\n'.encode()),
    "304": ("GET", f'HTTP/1.1 304 Not Modified\r\n{DOCUMENT}\r\nETag: "1"\r\n\r\n'.encode()),
}


@pytest.mark.parametrize("name", ["transform_json", "transform_text", "TransformBodies"])
@pytest.mark.parametrize(("method", "raw"), BODILESS.values(), ids=BODILESS)
def test_an_answer_without_a_body_has_the_validators_of_one(rewriting, origin, name, method, raw):
    def never(document):
        raise AssertionError

    if name == "TransformBodies":
        url = rewriting(TransformBodies("application/json", json=never))
    else:
        url = rewriting(on_response=transforming(name, never))
    origin.answer(raw)
    answer = fetch(url, method=method)
    assert (answer.get("etag"), answer.get("content-length")) == ('W/"1"', None)


def test_a_document_that_is_not_there_is_not_transformed(rewriting, origin):
    def never(document):
        raise AssertionError

    def both(context, message):
        message.transform_json(never)

    url = rewriting(on_outgoing=both, on_response=both)
    for method, body in (("GET", None), ("POST", b"")):
        origin.answer(answered(b"", DOCUMENT))
        answer = fetch(url, method=method, headers=[tuple(DOCUMENT.split(": "))], body=body)
        assert (answer.status, answer.body) == (200, b"")


def test_head_says_the_length_of_a_body_that_is_set(rewriting, origin):
    url = rewriting(on_response=lambda context, response: response.set_data(b"12345"))
    for method in ("GET", "HEAD"):
        assert fetch(url, method=method).get("content-length") == "5"


# --- abort


def aborts(*args):
    raise UnprocessableEntity("no")


ABORTING = {
    "on_request": {"on_request": aborts},
    "on_outgoing": {"on_outgoing": aborts},
    "on_request_chunk": {"on_request_chunk": aborts},
    "transform of a request": {"on_outgoing": lambda c, outbound: outbound.transform(aborts)},
    "on_response": {"on_response": aborts},
    "on_response_chunk": {"on_response_chunk": aborts},
    "transform_json": {"on_response": transforming("transform_json", aborts)},
    "transform_lines": {"on_response": transforming("transform_lines", aborts)},
}


@pytest.mark.parametrize("hooks", ABORTING.values(), ids=ABORTING)
def test_abort_means_the_same_in_every_phase_before_the_head(rewriting, origin, hooks):
    origin.answer(answered(b"{}"))
    answer = fetch(rewriting(**hooks), method="POST", body=b"x" * 10)
    assert (answer.status, b"no" in answer.body) == (422, True)


def test_abort_within_an_answer_breaks_it_off(rewriting, origin, caplog):
    done = threading.Event()

    def slowly(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        done.wait(5)
        connection.sendall(b"1\r\nb\r\n0\r\n\r\n")

    def hook(context, chunk):
        if chunk == b"b":
            aborts()

    origin.script(slowly)
    with Wire(rewriting(on_response_chunk=hook)) as wire:
        wire.request("GET", "/")
        assert wire.head().status == 200
        assert wire.chunk() == b"a"
        done.set()
        with pytest.raises(Truncated):
            wire.chunk()


# --- cancelled


@pytest.fixture
def dead():
    """The URL of nobody."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    return f"http://127.0.0.1:{port}"


class Told(Hooks):
    def __init__(self):
        self.told = threading.Event()

    def on_finished(self, context):
        self.outcome = context.outcome
        self.told.set()


def cancels(*args):
    raise asyncio.CancelledError


PHASES = [
    "on_request",
    "on_outgoing",
    "on_request_chunk",
    "on_connect_failed",
    "on_interim",
    "on_response",
    "on_response_chunk",
    "on_event",
    "on_trailers",
    "on_error",
    "on_finished",
]


@pytest.mark.parametrize("phase", PHASES)
def test_the_end_is_told_whatever_phase_is_cancelled(rewriting, origin, dead, phase):
    told = Told()
    hooks = {phase: cancels}
    if phase == "on_connect_failed":
        hooks["on_request"] = lambda context: setattr(context, "upstream", dead)
    if phase == "on_error":
        origin.answer(b"nonsense")
    elif phase == "on_event":
        origin.answer(answered(b"data: x\n\n", "Content-Type: text/event-stream"))
    elif phase == "on_interim":
        origin.answer(b"HTTP/1.1 103 Early Hints\r\n\r\n" + answered(b"ok"))
    url = rewriting(type("Other", (Hooks,), {})(), told, **hooks)
    with Wire(url) as wire:
        wire.request("POST", "/", [], b"x" * 100)
        assert told.told.wait(3), "on_finished was not called"
