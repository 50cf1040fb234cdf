"""Servers whose answers fail, seen on a raw socket."""

import contextlib
import threading

import pytest
from looking_on import Seen
from threaded_origin import ThreadedOrigin

from rolo.gateway import Gateway
from rolo.serving import SERVERS, serve


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive(), f"left behind: {thread}"


@pytest.fixture
def seen():
    return Seen()


@pytest.fixture
def start(seen):
    """Serve handlers; returns the URL. Whoever looks on is ``seen``."""
    with contextlib.ExitStack() as running:

        def start(*handlers, server="native", mode="threads", **options):
            if reason := SERVERS[server].available():
                pytest.skip(reason)
            gateway = Gateway(list(handlers))
            options.setdefault("observers", [seen])
            return running.enter_context(serve(gateway, server=server, mode=mode, **options)).url

        yield start


@pytest.fixture
def origin():
    with ThreadedOrigin() as origin:
        yield origin
