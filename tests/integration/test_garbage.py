"""Exchanges leave no cycles behind: their memory is free as soon as they are over."""

import collections
import contextlib
import gc

import pytest
from leaks import KINDS
from threaded_origin import ThreadedOrigin
from wire import Wire

from rolo.gateway import Gateway
from rolo.proxy import ProxyHandler
from rolo.serving import serve

BIG = bytes(300_000)
HOOKS = {
    "no hooks": {},
    "a header hook": {"on_response": lambda context, response: None},
    "a chunk hook": {"on_response_chunk": lambda context, chunk: chunk},
    "a hook on request bodies": {"on_request_chunk": lambda context, chunk: chunk},
    "a hook at the end": {"on_finished": lambda context: None},
}


@pytest.mark.parametrize("mode", ["loop", "threads"])
@pytest.mark.parametrize("hooks", HOOKS.values(), ids=HOOKS)
def test_an_exchange_leaves_no_garbage(mode, hooks):
    with ThreadedOrigin() as origin, contextlib.ExitStack() as running:
        head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        origin.script(lambda connection: connection.sendall(head % len(BIG) + BIG), only="/big")
        handler = running.enter_context(contextlib.closing(ProxyHandler(origin.url, **hooks)))
        server = running.enter_context(serve(Gateway([handler]), server="native", mode=mode))
        wire = running.enter_context(Wire(server.url))
        exchanges(wire, 2)
        with garbage() as kinds:
            exchanges(wire, 10)
        assert kinds.keys().isdisjoint(
            {*(kind.__name__ for kind in KINDS), "Task", "coroutine", "RequestHead"}
        )


def exchanges(wire, count):
    for _ in range(count):
        assert wire.get("/").body == b"ok"
        wire.request("POST", "/", body=BIG)
        assert wire.answer().body == b"ok"
        assert wire.get("/big").body == BIG


@contextlib.contextmanager
def garbage():
    """Count by kind what only the search for cycles would have freed."""
    kinds = collections.Counter()
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield kinds
        gc.collect()
        kinds.update(type(thing).__name__ for thing in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
        gc.collect()
