"""Speaking into event streams while the upstream is silent."""

import gzip
import threading

import pytest
from threaded_origin import ThreadedOrigin
from wire import Wire

from rolo import Response
from rolo.errors import EventStreamOver
from rolo.proxy import Event, Hooks, ProxyHandler

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n%b\r\n"


class Spoken(Hooks):
    """Hands the sender of the stream out, to be spoken into from the test's own thread."""

    def __init__(self):
        self.here = threading.Event()
        self.finished = threading.Event()

    def on_response(self, context, response):
        self.events = context.events
        self.here.set()

    def on_finished(self, context):
        self.outcome = context.outcome
        self.finished.set()


class Stream:
    """An origin that sends what it is told to."""

    def __init__(self, origin, fields=b""):
        self._connected, self._done = threading.Event(), threading.Event()

        def script(connection):
            connection.sendall(HEAD % fields)
            self.send = connection.sendall
            self._connected.set()
            self._done.wait(20)

        origin.script(script)
        self.end = self._done.set

    def wait(self):
        assert self._connected.wait(5)
        return self


@pytest.fixture
def origin():
    with ThreadedOrigin() as origin:
        yield origin


@pytest.fixture
def streamed(start, origin):
    """Return a client and the origin's end of a stream that has begun between them."""
    ends = []

    def streamed(hooks, fields=b"", **functions):
        stream = Stream(origin, fields)
        handler = ProxyHandler(origin.url, hooks=[hooks], **functions)
        wire = Wire(start(handler).url)
        ends.extend([wire.close, stream.end, handler.close])
        wire.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        stream.wait()
        assert hooks.here.wait(5)
        return wire, stream

    yield streamed
    for end in ends:
        end()


def test_a_silent_stream_is_spoken_into_until_it_ends(streamed):
    hooks = Spoken()
    client, stream = streamed(hooks)
    head = client.head()
    assert head.get("transfer-encoding") == "chunked"
    events = hooks.events
    events.comment("beat")
    client.read_until(b":beat\n\n")
    events.send(Event("two\nlines", event="news"))
    client.read_until(b"event: news\ndata: two\ndata: lines\n\n")
    stream.send(b"data: theirs\n\n")
    client.read_until(b"data: theirs\n\n")
    assert events.wait(0)
    stream.end()
    assert not events.wait(5)
    with pytest.raises(EventStreamOver):
        events.send("late")
    client.read_until(b"0\r\n\r\n")
    assert hooks.finished.wait(5)
    assert (hooks.outcome, events.is_over) == ("complete", True)


def test_what_is_spoken_waits_for_the_end_of_an_event(streamed):
    hooks = Spoken()
    client, stream = streamed(hooks)
    stream.send(b"data: be")
    client.read_until(b"data: be")
    sent = threading.Event()
    speaking = threading.Thread(target=lambda: (hooks.events.send("mine"), sent.set()))
    speaking.start()
    stream.send(b"gun\r\n\r\ndata: next\n\n")
    assert sent.wait(5)
    speaking.join()
    raw = client.read_until(b"data: mine\n\n")
    assert b"gun\r\n\r\n" in raw


@pytest.mark.parametrize("coded", [False, True], ids=["plain", "gzip"])
def test_what_hooks_do_to_the_stream_goes_on_beside(streamed, coded):
    seen = []

    def shout(context, event):
        seen.append(event.data)
        context.events.comment(f"before {event.data}")
        event.data = event.data.upper()

    hooks = Spoken()
    client, stream = streamed(
        hooks, b"Content-Encoding: gzip\r\n" if coded else b"", on_event=shout
    )
    hooks.events.send("mine")
    client.read_until(b"data: mine\n\n")
    data = b"data: theirs\n\n"
    stream.send(gzip.compress(data) if coded else data)
    raw = client.read_until(b"data: THEIRS\n\n")
    assert b":before theirs\n\n" in raw
    assert seen == ["theirs"]


def test_what_is_sent_before_the_stream_runs_goes_first_and_a_hook_may_beat_aside(streamed):
    over = threading.Event()

    class Beating(Spoken):
        def on_response(self, context, response):
            super().on_response(context, response)
            context.events.send("hello")

            def beat():
                try:
                    while context.events.wait(0.01):
                        context.events.comment("beat")
                finally:  # by either of the two
                    over.set()

            context.start_aside(beat)

    client, _ = streamed(Beating())
    assert client.head().status == 200
    assert b"beat" not in client.read_until(b"data: hello\n\n")
    client.read_until(b":beat\n\n")
    client.read_until(b":beat\n\n")
    client.close()
    assert over.wait(5)


def test_a_client_that_does_not_read_holds_back_who_speaks_and_frees_him_by_leaving(streamed):
    hooks = Spoken()
    client, _ = streamed(hooks)
    size, sent, errors = 256 * 1024, [], []

    def speak():
        try:
            for _ in range(1000):
                hooks.events.send("x" * size)
                sent.append(size)
        except EventStreamOver as exc:
            errors.append(exc)

    speaking = threading.Thread(target=speak)
    speaking.start()
    client.head()
    client.read_exactly(4 * size)
    client.reset()
    speaking.join(10)
    assert not speaking.is_alive()
    assert len(errors) == 1
    assert sum(sent) < 1000 * size
    assert hooks.finished.wait(5)
    assert hooks.outcome == "client gone"


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("on_request", "is to be asked for in on_response first"),
        ("on_finished", "is to be asked for in on_response first"),
        ("no stream", "the answer is no event stream"),
        ("late", "is to be asked for in on_response first"),
    ],
)
def test_it_is_told_where_nobody_can_be_spoken_to(start, origin, where, said):
    told = []

    def ask(context, *args):
        try:
            told.append(context.events)
        except RuntimeError as exc:
            told.append(str(exc))

    if where == "late":
        origin.answer(HEAD % b"Content-Length: 9\r\n" + b"data: x\n\n")
    phase = {"no stream": "on_response", "late": "on_event"}.get(where, where)
    done = threading.Event()
    functions = {phase: ask, "on_finished": lambda context: done.set()}
    if where == "on_finished":
        functions = {phase: lambda context: (ask(context), done.set())}
    handler = ProxyHandler(origin.url, **functions)
    with Wire(start(handler).url) as wire:
        assert wire.get("/").status == 200
    assert done.wait(5)
    handler.close()
    assert len(told) == 1
    assert said in told[0]


def test_an_answer_of_a_hook_in_its_place_ends_the_stream(start, origin):
    stream = Stream(origin)
    hooks = Spoken()

    class Answering(Hooks):
        def on_response(self, context, response):
            return Response("no")

    handler = ProxyHandler(origin.url, hooks=[Answering(), hooks])
    with Wire(start(handler).url) as wire:
        assert wire.get("/").body == b"no"
    assert not hooks.events.wait(5)
    stream.end()
    handler.close()
