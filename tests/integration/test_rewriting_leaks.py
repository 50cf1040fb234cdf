"""Hooks that fail, many times over: nothing of the exchanges stays."""

import contextlib
import logging

import pytest
from leaks import Nothing, needs_proc
from threaded_origin import ThreadedOrigin
from websocket_origin import Client, WebSocketOrigin, echo
from wire import Truncated, Wire

from rolo.proxy import ProxyHandler

PHASES = (
    "on_request",
    "on_outgoing",
    "on_request_chunk",
    "on_response",
    "on_response_chunk",
    "on_event",
    "on_trailers",
    "on_finished",
)
STREAM = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"9\r\ndata: 1\n\n\r\n9\r\ndata: 2\n\n\r\n0\r\nX-Sum: 1\r\n\r\n"
)


@pytest.fixture(params=["native-loop", "native-threads", "uvicorn-loop"])
def served_on(request):
    return tuple(request.param.split("-"))


def failing(*_):
    raise ZeroDivisionError


def nothing_stays(start, origin, phase, exchanges, warm_up, count, caplog):
    """Fail if ``exchanges(url, count)``, each with a hook that raises, leaves anything, or if
    asyncio complains of an error that nobody has looked at."""
    # A record would keep what it tells of; only ours are left out.
    caplog.set_level(logging.CRITICAL, logger="rolo")
    failures = []

    def failing(*_):
        failures.append(phase)
        raise ZeroDivisionError

    with contextlib.closing(ProxyHandler(origin.url, **{phase: failing})) as handler:
        url = start(handler).url
        exchanges(url, warm_up)
        failures.clear()
        with Nothing(slack=3):
            exchanges(url, count)
        assert len(failures) >= count
    assert [record for record in caplog.records if record.name == "asyncio"] == []


@needs_proc
@pytest.mark.parametrize("phase", PHASES)
def test_forty_failures_leave_nothing_behind(start, phase, caplog):
    with ThreadedOrigin() as origin:
        origin.answer(STREAM, times=44)
        nothing_stays(start, origin, phase, some, 4, 40, caplog)


def read_too_little(context, outbound):
    outbound.read(limit=10)


@needs_proc
@pytest.mark.parametrize(
    "hook",
    [{"on_request_chunk": failing}, {"on_outgoing": read_too_little}],
    ids=["a chunk", "the whole"],
)
def test_uploads_that_hooks_give_up_leave_nothing_behind(start, hook, caplog):
    caplog.set_level(logging.CRITICAL, logger="rolo")  # a record would keep what it tells of
    with ThreadedOrigin() as origin, contextlib.closing(ProxyHandler(origin.url, **hook)) as proxy:
        url = start(proxy).url
        big(url, 1)
        with Nothing(slack=2):
            big(url, 5)
    assert [record for record in caplog.records if record.name == "asyncio"] == []


def big(url, count):
    for _ in range(count):
        with Wire(url) as wire, contextlib.suppress(Truncated, ConnectionError):
            wire.request("POST", "/", body=bytes(2_000_000))
            wire.head()


def some(url, count):
    for _ in range(count):
        with Wire(url) as wire, contextlib.suppress(Truncated, ConnectionError):
            wire.request("POST", "/", [("Connection", "close")], body=b"hello")
            wire.body(wire.head())


@needs_proc
@pytest.mark.parametrize("phase", ["on_handshake", "on_accepted", "on_client_message", "on_closed"])
def test_twenty_failures_on_websockets_leave_nothing_behind(start, phase, caplog):
    with contextlib.closing(WebSocketOrigin(echo)) as origin:
        nothing_stays(start, origin, phase, sockets, 2, 20, caplog)


def sockets(url, count):
    for _ in range(count):
        with Client(url) as client:
            if client.answer().status != 101:
                continue
            client.text("hello")
            client.close(1000)
            client.closing()
