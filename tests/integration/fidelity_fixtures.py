"""Fixtures of the fidelity tests: proxies that live as long as a module of tests."""

import contextlib
import threading

import pytest
from fidelity import DEADLINE, PROXIES, Farm


@pytest.fixture(scope="module")
def farm():
    before = set(threading.enumerate())
    with contextlib.ExitStack() as running:
        yield Farm(running)
    for thread in set(threading.enumerate()) - before:
        thread.join(DEADLINE)
        assert not thread.is_alive(), f"left behind: {thread}"


@pytest.fixture(params=PROXIES)
def proxied(request, farm):
    """A proxy on each server and in each mode, as the command builds it, in front of an
    origin that is as good as new."""
    farm.origin.reset()
    return farm.proxy(request.param)
