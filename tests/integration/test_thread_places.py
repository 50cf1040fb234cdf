"""In ``threads`` mode nobody is held up by who waits: stalled clients, sleeping hooks."""

import contextlib
import threading

import pytest
from threaded_origin import ThreadedOrigin
from wire import Wire, fetch

from rolo.gateway import Gateway
from rolo.gateway.asgi import AsgiGateway
from rolo.proxy import Hooks, ProxyHandler
from rolo.serving import Limits, serve


@pytest.fixture(params=["native-threads", "uvicorn-threads"])
def served_on(request):
    """Two servers stand for all: threads are the bridge's."""
    return tuple(request.param.split("-"))


class Sleeps(Hooks):
    """Waits where the request says."""

    def __init__(self, arrived):
        self.arrived = arrived

    def on_request(self, context):
        self.wait("/on_request", context)

    def on_request_chunk(self, context, chunk):
        self.wait("/on_request_chunk", context)

    def on_response_chunk(self, context, chunk):
        self.wait("/on_response_chunk", context)

    def wait(self, place, context):
        if context.request.path == place:
            self.arrived.release()
            context.sleep(60)


STALLED = {
    "an upload that is forwarded": b"POST /arrive HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx",
    "an upload that a handler reads": b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx",
    "a hook on the request": b"GET /on_request HTTP/1.1\r\nHost: x\r\n\r\n",
    "a hook on its body": b"POST /on_request_chunk HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx",
    "a hook on the answer": b"GET /on_response_chunk HTTP/1.1\r\nHost: x\r\n\r\n",
}


def test_who_waits_holds_up_nobody(start, monkeypatch):
    monkeypatch.setattr("rolo.portal.hook_runner.HOOK_THREADS", 2)
    monkeypatch.setattr("rolo.portal.workers._PATIENCE", 0.02)
    arrived = threading.Semaphore(0)

    def first(chain, context, response):
        if context.request.path in ("/arrive", "/read"):
            arrived.release()
        if context.request.path == "/read":
            context.request.get_data()

    with contextlib.ExitStack() as running:
        origin = running.enter_context(ThreadedOrigin())
        handler = ProxyHandler(origin.url, hooks=[Sleeps(arrived)])
        running.enter_context(contextlib.closing(handler))
        url = start(first, handler, threads=2, shutdown_timeout=0.5).url
        for request in STALLED.values():
            for _ in range(3):
                wire = running.enter_context(contextlib.closing(Wire(url)))
                wire.send(request)
                assert arrived.acquire(timeout=5)
            assert fetch(url, "/fine", "POST", body=b"whole").body == b"ok"


class Full:
    """A pool in which so many jobs wait."""

    queued = 3

    def run(self, job):
        raise AssertionError("there is no room")


def test_requests_wait_for_a_thread_in_a_bounded_queue(served_on):
    server, mode = served_on
    app = AsgiGateway(Gateway(), mode=mode, limits=Limits(max_queued=3))
    with contextlib.closing(app), serve(app, server=server) as running:
        workers, app.bridge.workers = app.bridge.workers, Full()
        answer = fetch(running.url)
        app.bridge.workers = workers
        assert (answer.status, answer.get("connection")) == (503, "close")
