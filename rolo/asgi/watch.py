"""What both kinds of ASGI call share: events, and the watch for a client that leaves."""

from __future__ import annotations

import asyncio
import typing as t

from rolo.bridge.downstream import Capabilities, RequestHead
from rolo.wire.fields import RawHeaders

Event = t.MutableMapping[str, t.Any]
Receive = t.Callable[[], t.Awaitable[Event]]
Send = t.Callable[[Event], t.Awaitable[None]]

_CONNECTION_FIELDS = (
    b"connection",
    b"keep-alive",
    b"proxy-connection",
    b"transfer-encoding",
    b"upgrade",
)


class Sweeper:
    """Starts the watch for a leaving client, but only on exchanges that live long enough.

    A watch costs a task; most exchanges end before anyone could leave. So each exchange
    is looked at by the second tick of one common timer at the latest.
    """

    interval = 0.25
    """Seconds between two ticks."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._fresh: set[Watched] = set()
        self._seen: set[Watched] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, watched: Watched) -> None:
        self._fresh.add(watched)
        if self._timer is None:
            self._timer = self._loop.call_later(self.interval, self._tick)

    def discard(self, watched: Watched) -> None:
        self._fresh.discard(watched)
        self._seen.discard(watched)

    def _tick(self) -> None:
        waiting = {watched for watched in self._seen if not watched.start_watch()}
        self._seen = self._fresh | waiting
        self._fresh = set()
        self._timer = self._loop.call_later(self.interval, self._tick) if self._seen else None

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._fresh.clear()
        self._seen.clear()


class Watched:
    """What both kinds of ASGI exchange share: the watch for a client that leaves."""

    __slots__ = ("_on_gone", "_watch", "gone")

    capabilities: Capabilities
    head: RequestHead

    def __init__(self) -> None:
        self.gone = False
        self._on_gone: t.Callable[[], None] | None = None
        self._watch: asyncio.Task[None] | None = None

    def watch_gone(self, callback: t.Callable[[], None]) -> None:
        self._on_gone = callback
        if self.gone:
            callback()

    def start_watch(self) -> bool:
        """Start watching; False if that cannot be done now and should be tried again."""
        raise NotImplementedError

    def _names_as_sent(self, headers: RawHeaders) -> RawHeaders:
        # The specification asks for lower-case names; servers on HTTP/2 insist.
        if self.capabilities.header_case:
            return headers
        lowered = [(name.lower(), value) for name, value in headers]
        if self.head.http_version[0] == "1":
            return lowered
        # RFC 9113 section 8.2.2: there is no such thing.
        return [field for field in lowered if field[0] not in _CONNECTION_FIELDS]

    def leave(self) -> None:
        """Note that the client has left."""
        if not self.gone:
            self.gone = True
            if self._on_gone is not None:
                self._on_gone()


async def end_task(task: asyncio.Task[t.Any]) -> None:
    """Cancel ``task`` and wait for its end."""
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        if not task.cancelled():
            raise  # it is us who are being cancelled
