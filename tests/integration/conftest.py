"""Servers under test: every conformance test runs on each of them, in both modes."""

import contextlib
import threading

import pytest

from rolo.gateway import Gateway
from rolo.serving import SERVERS, serve

LOOP_SERVERS = ["native", "uvicorn", "hypercorn", "granian"]
MODES = ["threads", "loop"]


def installed(name):
    reason = SERVERS[name].available()
    if reason:
        pytest.skip(reason)
    return name


@pytest.fixture(params=[f"{server}-{mode}" for server in LOOP_SERVERS for mode in MODES])
def served_on(request):
    """Return (server name, mode), for each pair."""
    name, mode = request.param.split("-")
    return installed(name), mode


@pytest.fixture
def start(served_on):
    """Serve handlers as a gateway on the server under test; returns the running server."""
    name, mode = served_on
    with contextlib.ExitStack() as running:

        def start(*handlers, **options):
            gateway = handlers[0] if isinstance(handlers[0], Gateway) else Gateway(list(handlers))
            return running.enter_context(serve(gateway, server=name, mode=mode, **options))

        yield start


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive(), f"left behind: {thread}"
