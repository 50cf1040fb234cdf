"""Hooks on relayed websockets, in both modes."""

import asyncio
import contextlib
import functools
import gzip
import threading

import pytest
from websocket_origin import BINARY, TEXT, Client, WebSocketOrigin, echo
from wire import fetch

from rolo import Response
from rolo.proxy import Event, Hooks, ProxyHandler
from rolo.proxy.helpers import Mirror, SetHeaders, TransformBodies


@pytest.fixture(params=["native-loop", "native-threads", "uvicorn-loop", "hypercorn-threads"])
def served_on(request):
    """Two servers and more stand for all: below the hooks nothing depends on them."""
    return tuple(request.param.split("-"))


@pytest.fixture
def relayed(start):
    """Serve a proxy with hooks in front of an origin that plays ``play``: ``(url, origin)``."""
    running = []

    def relayed(*hooks, play=echo, **functions):
        origin = WebSocketOrigin(play)
        handler = ProxyHandler(origin.url, hooks=hooks, **functions)
        running.extend([origin, handler])
        return start(handler).url, origin

    yield relayed
    for each in running:
        each.close()


class Told(Hooks):
    def __init__(self):
        self.closed = []
        self.told = threading.Event()

    def on_closed(self, context, closed):
        self.closed.append((closed.by, closed.code, closed.reason))

    def on_finished(self, context):
        self.context = context
        self.told.set()

    def last(self):
        assert self.told.wait(5)
        return self.context


def test_messages_are_changed_in_either_direction(relayed):
    def shout(context, message):
        return message.upper()

    def mark(context, message):
        return message + ("!" if isinstance(message, str) else b"!")

    url, _ = relayed(on_client_message=shout, on_upstream_message=mark)
    with Client(url) as client:
        client.open()
        client.text("hello")
        assert client.message() == "HELLO!"
        client.send(BINARY, b"bytes")
        assert client.message() == b"BYTES!"


def test_messages_are_seen_dropped_doubled_and_answered(relayed):
    seen = []

    def edit(context, message):
        seen.append(message)
        if message == "drop":
            return []
        if message == "twice":
            return [message, message]
        if message == "me":
            context.websocket.send_to_client("mine")
            return []
        return None

    url, _ = relayed(on_client_message=edit)
    with Client(url) as client:
        client.open()
        for message in ("drop", "twice", "me", "left"):
            client.text(message)
        got = [client.message() for _ in range(4)]
    assert sorted(got) == ["left", "mine", "twice", "twice"]
    assert [message for message in got if message != "mine"] == ["twice", "twice", "left"]
    assert seen == ["drop", "twice", "me", "left"]


def test_hooks_see_client_messages_downwards_and_upstream_messages_upwards(relayed):
    class Adds(Hooks):
        def __init__(self, letter):
            self.letter = letter

        def on_client_message(self, context, message):
            return message + self.letter

        on_upstream_message = on_client_message

    url, _ = relayed(Adds("a"), Adds("b"))
    with Client(url) as client:
        client.open()
        client.text("")
        assert client.message() == "abba"


def test_a_message_may_be_delayed(relayed):
    url, _ = relayed(on_client_message=lambda context, message: context.sleep(0.01))
    with Client(url) as client:
        client.open()
        client.text("late")
        assert client.message() == "late"


def test_messages_are_injected_from_any_thread(relayed):
    sockets = []
    accepted = threading.Event()

    def keep(context, websocket):
        websocket.send_to_client("welcome")
        sockets.append(websocket)
        accepted.set()

    def play(origin):
        origin.accept()
        origin.note(origin.message())
        origin.note(origin.closing())

    url, origin = relayed(on_accepted=keep, play=play)
    with Client(url) as client:
        client.open()
        assert client.message() == "welcome"
        assert accepted.wait(5)
        (websocket,) = sockets
        websocket.send_to_client(b"now")
        assert client.message() == b"now"
        websocket.send_to_upstream("up")
        assert origin.note() == "up"
        websocket.close(4001, "enough")
        assert client.closing() == (4001, "enough")
        assert origin.note() == (4001, "enough")


def test_the_handshake_is_edited_on_its_way_out_and_back(relayed):
    def out(context, handshake):
        assert context.request.headers["X-Client"] == "1"
        handshake.headers["Authorization"] = "Bearer t"
        handshake.headers.remove("X-Client")
        handshake.target = "/other"
        handshake.subprotocols = ["inner"]

    def back(context, websocket):
        assert websocket.subprotocol == "inner"
        websocket.subprotocol = "outer"
        websocket.headers["X-Edge"] = "yes"

    def play(origin):
        origin.accept(("Sec-WebSocket-Protocol", "inner"))
        origin.closing()

    url, origin = relayed(on_handshake=out, on_accepted=back, play=play)
    headers = [("X-Client", "1"), ("Sec-WebSocket-Protocol", "outer")]
    with Client(url, "/", headers) as client:
        client.open()
        assert client.handshake.all("sec-websocket-protocol") == ["outer"]
        assert client.handshake.all("x-edge") == ["yes"]
        client.close(1000)
        client.closing()
    assert (origin.last.target, origin.last.get("authorization")) == ("/other", "Bearer t")
    assert origin.last.all("x-client") == []


@pytest.mark.parametrize("phase", ["on_request", "on_handshake", "on_accepted"])
def test_a_websocket_may_be_refused(relayed, phase):
    told = Told()
    url, _ = relayed(told, **{phase: lambda *args: Response("no", status=401)})
    with Client(url) as client:
        answer = client.answer()
    assert (answer.status, answer.body) == (401, b"no")
    assert told.last().outcome == "answered"


def test_a_refusal_of_the_upstream_may_be_edited(relayed):
    def refuse(origin):
        origin.wire.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")

    def edit(context, response):
        response.headers["X-Edge"] = "yes"
        response.set_data(response.text() + "!")

    url, _ = relayed(on_response=edit, play=refuse)
    with Client(url) as client:
        answer = client.answer()
    assert (answer.status, answer.body, answer.get("x-edge")) == (403, b"no!", "yes")


def redact(context, subject):
    """As any phase that sees bodies, or has them transformed."""
    if isinstance(subject, bytes):
        return subject.replace(b"secret", b"xxxxxx")
    if isinstance(subject, Event):
        subject.data = subject.data.replace("secret", "xxxxxx")
        return subject
    phase = context.request.path.strip("/")
    getattr(subject, phase)(functools.partial(redact, context))
    return None


def redact_text(context, text):
    return text.replace("secret", "xxxxxx")


@pytest.mark.parametrize(
    "phase", ["on_response_chunk", "on_event", "transform", "transform_events", "transform_text"]
)
def test_the_body_of_a_refusal_is_seen_by_every_hook_that_sees_bodies(relayed, phase):
    def refuse(origin):
        status = 206 if origin.seen.target.endswith("?part") else 403
        body = gzip.compress(b"data: secret\n\n")
        origin.wire.send(
            b"HTTP/1.1 %d No\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (status, len(body), body)
        )

    if phase.startswith("on_"):
        hooks = {phase: redact}
    elif phase == "transform_text":
        hooks = {"on_response": lambda c, r: r.transform_text(functools.partial(redact_text, c))}
    else:
        hooks = {"on_response": redact}
    told = Told()
    url, origin = relayed(told, play=refuse, **hooks)
    fields = [("Accept-Encoding", "gzip, odd"), ("Range", "bytes=0-1")]
    with Client(url, f"/{phase}", fields) as client:
        answer = client.answer()
    assert answer.status == 403
    assert gzip.decompress(answer.body) == b"data: xxxxxx\n\n"
    assert told.last().outcome == "complete"
    assert told.context.bytes_sent == len(answer.body)
    if phase.startswith("on_"):
        assert origin.last.get("accept-encoding") == "gzip"
        assert origin.last.get("range") is None
    with Client(url, f"/{phase}?part") as client:
        answer = client.answer()
    assert (answer.status, b"secret" in answer.body) == (502, False)


def test_a_hook_that_fails_on_the_body_of_a_refusal_is_a_500(relayed):
    def refuse(origin):
        origin.wire.send(b"HTTP/1.1 403 No\r\nContent-Length: 6\r\n\r\nsecret")

    def fail(context, piece):
        raise KeyError("on purpose")

    told = Told()
    url, _ = relayed(told, play=refuse, on_response_chunk=fail)
    with Client(url) as client:
        answer = client.answer()
    assert (answer.status, b"secret" in answer.body) == (500, False)
    assert told.last().outcome == "refused"


def test_a_websocket_is_stubbed_without_an_upstream(relayed):
    def stub(context):
        with context.request.accept() as websocket:
            for message in websocket:
                websocket.send(message[::-1])

    told = Told()
    url, origin = relayed(told, on_request=stub)
    with Client(url) as client:
        client.open()
        client.text("abc")
        assert client.message() == "cba"
        client.close(1000)
        client.closing()
    assert origin.requests == []
    assert told.last().outcome == "answered"


def test_another_upstream_takes_over(relayed):
    with WebSocketOrigin() as dead:
        pass

    def start(context):
        context.first = context.upstream
        context.upstream = dead.url

    def again(context, error):
        context.upstream = context.first

    url, _ = relayed(on_request=start, on_connect_failed=again)
    with Client(url) as client:
        client.open()
        client.text("here")
        assert client.message() == "here"


@pytest.mark.parametrize("direction", ["on_client_message", "on_upstream_message"])
def test_a_hook_that_raises_closes_with_1011(relayed, direction, caplog):
    def fail(context, message):
        raise ZeroDivisionError

    told = Told()
    url, _ = relayed(told, **{direction: fail})
    with Client(url) as client:
        client.open()
        client.text("x")
        assert client.closing()[0] == 1011
    assert told.last().outcome == "aborted"
    assert any(f"{direction} of test_a_hook" in record.message for record in caplog.records)


@pytest.mark.parametrize(
    "phase", ["on_handshake", "on_accepted", "on_upstream_message", "on_closed", "on_finished"]
)
def test_the_end_is_told_whatever_phase_is_cancelled(relayed, phase):
    def cancels(*args):
        raise asyncio.CancelledError

    told = Told()
    url, _ = relayed(told, **{phase: cancels})
    with Client(url) as client, contextlib.suppress(OSError, AssertionError, EOFError):
        client.open()
        client.text("abc")
        client.close(4000, "bye")
        client.closing()
    assert told.last().outcome


def test_the_end_is_told(relayed):
    told = Told()
    url, _ = relayed(told)
    with Client(url) as client:
        client.open()
        client.text("abc")
        client.message()
        client.close(4000, "bye")
        client.closing()
    context = told.last()
    assert (context.outcome, context.bytes_received, context.bytes_sent) == ("complete", 3, 3)
    ((by, code, _),) = told.closed
    assert (by, code) == ("client", 4000)


def test_a_lost_upstream_is_told(relayed):
    def drop(origin):
        origin.accept()
        origin.frame()

    told = Told()
    url, _ = relayed(told, play=drop)
    with Client(url) as client:
        client.open()
        client.send(TEXT, "x")
        assert client.closing()[0] == 1011
    assert told.last().outcome == "aborted"
    assert told.closed == [("upstream", 1006, "")]


def test_plain_requests_pass_beside(relayed):
    url, _ = relayed(on_client_message=lambda context, message: [])
    assert fetch(url).body == b"ok"


def test_one_phase_edits_the_heads_of_requests_and_of_handshakes(relayed):
    def say_who(context, outbound):
        outbound.headers["X-User"] = "bob"
        outbound.target += f"?{outbound.method}"

    url, origin = relayed(SetHeaders(response={"X-Edge": "rolo"}), on_outgoing=say_who)
    with Client(url, "/chat", headers=[("X-User", "ada")]) as client:
        assert client.open().handshake.get("x-edge") == "rolo"
        assert origin.last.all("x-user") == ["bob"]
        assert origin.last.target == "/chat?GET"


def test_hooks_on_bodies_of_requests_let_websockets_pass(relayed):
    def edit(context, outbound):
        outbound.tap(len)
        outbound.transform(bytes.upper)

    mirror = Mirror("http://127.0.0.1:9", lambda *_: None)
    url, _ = relayed(mirror, TransformBodies("text/html", text=str.upper), on_outgoing=edit)
    with Client(url) as client:
        client.open()
        client.text("hello")
        assert client.message() == "hello"
