"""ASGI calls without a server: what is sent for what is received."""

import asyncio
import threading

import pytest
from calls import Call, body, http_scope, websocket_scope

from rolo.asgi import ASGIAdapter, ASGILifespanListener, create_wsgi_input
from rolo.asgi.application import ResponseAborted
from rolo.bridge.limits import Limits
from rolo.errors import ClientDisconnected
from rolo.gateway import Gateway
from rolo.gateway.asgi import AsgiGateway

POST = {"method": "POST", "headers": [(b"host", b"h"), (b"transfer-encoding", b"chunked")]}


def serve(handler, call, scope=None, mode="threads", **options):
    """Run one call of a gateway with ``handler`` to its end."""
    app = AsgiGateway(Gateway([handler]), mode=mode, **options)

    async def main():
        try:
            async with asyncio.timeout(5):
                await app(scope or http_scope(), call.receive, call.send)
        finally:
            await app.bridge.aclose()

    try:
        asyncio.run(main())
    finally:
        app.close()
    return call


def echo_body(chain, context, response):
    response.data = context.request.get_data()


modes = pytest.mark.parametrize("mode", ["threads", "loop"])


@modes
@pytest.mark.parametrize(
    "events",
    [
        body(b"abc"),
        body(b"a", b"bc"),
        body(b"", b"a", b"", b"bc"),
        body(b"abc", b""),
        [{"type": "http.request", "body": b"abc"}],
        [{"type": "http.request", "more_body": True}, *body(b"abc")],
    ],
    ids=[
        "one event",
        "two events, the last with data",
        "empty events between",
        "an empty last event",
        "more_body left out",
        "body left out",
    ],
)
def test_a_body_arrives_whole_however_it_is_cut(mode, events):
    call = serve(echo_body, Call(*events), http_scope(**POST), mode)
    assert call.body == b"abc"


@modes
def test_a_disconnect_within_the_body_is_an_error_to_the_reader(mode):
    seen = []

    def handler(chain, context, response):
        with pytest.raises(ClientDisconnected):
            seen.append(context.request.stream.read())
        seen.append("raised")
        raise ClientDisconnected("left")

    events = [*body(b"part", more=True), {"type": "http.disconnect"}]
    call = serve(handler, Call(*events), http_scope(**POST), mode)
    assert seen == ["raised"]
    assert call.sent == []


@modes
def test_a_small_answer_takes_two_events(mode):
    def handler(chain, context, response):
        response.data = b"small"

    call = serve(handler, Call(), mode=mode)
    assert [event["type"] for event in call.sent] == ["http.response.start", "http.response.body"]
    assert call.sent[1] == {"type": "http.response.body", "body": b"small", "more_body": False}


@modes
def test_an_answer_that_breaks_after_its_head_is_raised_to_the_server(mode):
    def handler(chain, context, response):
        def generate():
            yield b"a"
            raise RuntimeError("broken on purpose")

        response.response = generate()

    call = Call()
    with pytest.raises(ResponseAborted):
        serve(handler, call, mode=mode)
    assert call.body == b"a"
    assert all(event.get("more_body", True) for event in call.sent[1:])


def test_a_request_without_a_body_does_not_wait_for_one():
    """Nothing is ever received: the head says that nothing will come."""
    call = serve(echo_body, Call())
    assert call.head["status"] == 200


def test_a_small_body_is_there_before_a_thread_is_taken():
    """The handler reads it without another trip to the loop."""

    def handler(chain, context, response):
        response.data = b"%d" % context.request._body.record.size + context.request.get_data()

    scope = http_scope(method="POST", headers=[(b"host", b"x"), (b"content-length", b"3")])
    assert serve(handler, Call(*body(b"abc")), scope).body == b"3abc"
    # Not all of it, for which the client may want to hear something first.
    assert serve(handler, Call(*body(b"ab", b"c")), scope).body == b"2abc"


READS = {
    "read": (lambda stream: [stream.read(3), stream.read(3), stream.read()], "abc|def|gh"),
    "read1": (lambda stream: [stream.read1(3), stream.read1(), stream.read1(9)], "ab|c|d"),
    "readinto": (lambda stream: [into(stream, 5), into(stream, 5)], "abcde|fgh"),
    "readline": (lambda stream: [stream.readline(4), stream.readline()], "abcd|efgh"),
    "nothing": (lambda stream: [stream.read(0), stream.read1(0), stream.read(1)], "||a"),
}


def into(stream, size):
    buffer = bytearray(size)
    return bytes(buffer[: stream.readinto(buffer)])


@modes
@pytest.mark.parametrize(("read", "pieces"), READS.values(), ids=READS)
def test_the_stream_waits_for_what_it_is_asked_for_as_buffered_files_do(mode, read, pieces):
    def handler(chain, context, response):
        response.data = b"|".join(read(context.request.stream))

    call = serve(handler, Call(*body(b"ab", b"c", b"d", b"efgh")), http_scope(**POST), mode)
    assert call.body.decode() == pieces


class Listener(ASGILifespanListener):
    def __init__(self, fail=False):
        self.seen = []
        self.fail = fail

    def on_startup(self):
        if self.fail:
            raise RuntimeError("not today")
        self.seen.append(("startup", threading.current_thread() is threading.main_thread()))

    def on_shutdown(self):
        self.seen.append(("shutdown", threading.current_thread() is threading.main_thread()))


LIFESPAN = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]


@modes
def test_the_lifespan_listener_is_told_of_start_and_stop(mode):
    listener = Listener()
    call = serve(echo_body, Call(*LIFESPAN), {"type": "lifespan"}, mode, lifespan_listener=listener)
    on_loop = mode == "loop"
    assert listener.seen == [("startup", on_loop), ("shutdown", on_loop)]
    kinds = [event["type"] for event in call.sent]
    assert kinds == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_a_listener_that_fails_fails_the_start():
    listener = Listener(fail=True)
    call = serve(echo_body, Call(*LIFESPAN), {"type": "lifespan"}, lifespan_listener=listener)
    assert call.sent[0]["type"] == "lifespan.startup.failed"
    assert "not today" in call.sent[0]["message"]


def test_unknown_scopes_are_refused():
    with pytest.raises(NotImplementedError, match="smoke"):
        serve(echo_body, Call(), {"type": "smoke"})


def test_close_leaves_no_thread():
    before = set(threading.enumerate())
    app = AsgiGateway(Gateway([echo_body]), threads=3)

    async def main():
        await asyncio.gather(*(app(http_scope(), (c := Call()).receive, c.send) for _ in range(9)))

    asyncio.run(main())
    started = set(threading.enumerate()) - before
    assert {thread.name for thread in started} <= {f"rolo-worker-{n}" for n in range(3)}
    app.close()
    assert not [thread for thread in started if thread.is_alive()]


def test_the_pool_is_bounded_and_its_queue_visible():
    release, both_busy = threading.Event(), threading.Barrier(2)

    async def main():
        loop = asyncio.get_running_loop()
        busy = asyncio.Event()

        def block(chain, context, response):
            if context.request.path == "/first" and both_busy.wait(5) == 0:
                loop.call_soon_threadsafe(busy.set)  # one of the two says so
            release.wait(5)

        app.gateway.request_handlers.append(block)
        paths = ["/first", "/first", "/queued", "/queued", "/queued"]
        calls = [
            asyncio.ensure_future(app(http_scope(path=path), (c := Call()).receive, c.send))
            for path in paths
        ]
        async with asyncio.timeout(5):
            await busy.wait()
        stats = app.bridge.workers.stats()
        release.set()
        await asyncio.gather(*calls)
        return stats

    app = AsgiGateway(Gateway([]), threads=2)
    stats = asyncio.run(main())
    assert (stats.threads, stats.busy, stats.queued) == (2, 2, 3)
    assert app.bridge.workers.stats().longest_wait > 0
    app.close()


def test_a_websocket_listener_takes_the_place_of_the_gateway():
    seen = []

    def listener(environ):
        seen.append(environ["REQUEST_METHOD"])
        environ["rolo.websocket"].accept(subprotocol="x")

    call = serve(
        echo_body,
        Call({"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1000}),
        websocket_scope(),
        websocket_listener=listener,
    )
    assert seen == ["WEBSOCKET"]
    assert call.sent[0]["type"] == "websocket.accept"
    assert call.sent[0]["subprotocol"] == "x"


def test_a_client_that_does_not_answer_a_close_is_waited_for_as_long_as_the_limits_say():
    def listener(environ):
        environ["rolo.websocket"].accept()
        environ["rolo.websocket"].close(1000)

    call = serve(
        echo_body,
        Call({"type": "websocket.connect"}),  # and no more, while the test has five seconds
        websocket_scope(),
        websocket_listener=listener,
        limits=Limits(close_timeout=0.01),
    )
    assert [event["type"] for event in call.sent] == ["websocket.accept", "websocket.close"]


def test_the_adapter_serves_wsgi_applications():
    def app(environ, start_response):
        start_response("201 Created", [("X-Body", environ["wsgi.input"].read().decode())])
        return [environ["REQUEST_METHOD"].encode()]

    adapter = ASGIAdapter(app)
    call = Call(*body(b"abc"))
    asyncio.run(adapter(http_scope(**POST), call.receive, call.send))
    adapter.close()
    assert call.head["status"] == 201
    assert (b"x-body", b"abc") in call.head["headers"]
    assert call.body == b"POST"


def test_the_adapter_refuses_websockets_without_a_listener():
    adapter = ASGIAdapter(lambda environ, start_response: [])
    call = Call({"type": "websocket.connect"})
    scope = websocket_scope(extensions={"websocket.http.response": {}})
    asyncio.run(adapter(scope, call.receive, call.send))
    adapter.close()
    assert call.sent[0]["type"] == "websocket.http.response.start"
    assert call.sent[0]["status"] == 404


def test_a_wsgi_input_of_its_own_reads_across_threads():
    call = Call(*body(b"first ", b"second"))

    async def main():
        stream = create_wsgi_input(call.receive, asyncio.get_running_loop())
        with stream:
            return await asyncio.to_thread(stream.read)

    assert asyncio.run(main()) == b"first second"


def test_nothing_runs_on_the_default_executor(monkeypatch):
    """Streaming, bodies, websockets and lifespan included: see the fixture of the
    integration tests, which looks for its threads after each of them."""
    seen = []
    monkeypatch.setattr(asyncio.BaseEventLoop, "run_in_executor", lambda *args: seen.append(args))
    serve(echo_body, Call(*body(b"abc")), http_scope(**POST))
    serve(echo_body, Call(*LIFESPAN), {"type": "lifespan"})
    assert seen == []
