"""What an exchange is made of, counted: to see that none of it stays."""

import asyncio
import gc
import os
import time

import pytest

from rolo.asgi.http import AsgiHttpDownstream
from rolo.bridge.request_body import RequestBody
from rolo.native.http import NativeExchange
from rolo.native.websocket import NativeWebSocket
from rolo.portal.portal import Portal
from rolo.upstream.exchange import Exchange
from rolo.upstream.relay import Relay
from rolo.upstream.response_body import UpstreamBody

KINDS = (
    AsgiHttpDownstream,
    NativeExchange,
    NativeWebSocket,
    RequestBody,
    Portal,
    UpstreamBody,
    Exchange,
    Relay,
)

needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")


def alive():
    """Count what an exchange is made of, and tasks that are not done."""
    gc.collect()
    counts = dict.fromkeys(["task", *(kind.__name__ for kind in KINDS)], 0)
    for thing in gc.get_objects():
        kind = type(thing)
        if kind in KINDS:
            counts[kind.__name__] += 1
        elif issubclass(kind, asyncio.Task) and not thing.done():
            counts["task"] += 1
    return counts


class Nothing:
    """``with Nothing(): ...`` fails if what ran inside has left something behind.

    :param slack: how many of each kind may have been added: an idle connection, or what an
        idle greenlet ran last
    """

    def __init__(self, slack=0):
        self._slack = slack

    def __enter__(self):
        self._before = self._count()
        return self

    def __exit__(self, kind, *exc):
        if kind is not None:
            return
        # Nobody tells when the last descriptor is closed, hence the polling.
        deadline = time.monotonic() + 5
        while (added := self._added()) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not added, f"left behind: {added}"

    @staticmethod
    def _count():
        return {**alive(), "descriptor": len(os.listdir("/proc/self/fd"))}

    def _added(self):
        added = {name: count - self._before[name] for name, count in self._count().items()}
        return {name: count for name, count in added.items() if count > self._slack}
