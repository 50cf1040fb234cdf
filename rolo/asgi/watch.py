"""What both kinds of ASGI call share: events, and the watch for a client that leaves."""

from __future__ import annotations

import asyncio
import typing as t

from rolo.bridge.downstream import Capabilities, RequestHead
from rolo.net.ticker import Ticker
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


_INTERVAL = 0.25
"""Seconds between two looks at an exchange."""


class Watched:
    """What both kinds of ASGI exchange share: the watch for a client that leaves.

    A watch costs a task, and most exchanges end before anyone could leave: it starts at the
    second look of a ticker.
    """

    __slots__ = ("_looked_at", "_on_gone", "_ticker", "_watch", "gone")

    capabilities: Capabilities
    head: RequestHead

    def __init__(self) -> None:
        self.gone = False
        self._looked_at = False
        self._ticker: Ticker | None = None
        self._on_gone: t.Callable[[], None] | None = None
        self._watch: asyncio.Task[None] | None = None

    def look_from_now(self, ticker: Ticker) -> None:
        """Let ``ticker`` look at this, until :meth:`look_no_more`."""
        self._ticker = ticker
        ticker.add(self, _INTERVAL)

    def look(self, now: float) -> None:
        """Start the watch if it is time; called by the ticker."""
        if not self._looked_at:
            self._looked_at = True
        elif self.start_watch():
            self.look_no_more()

    def look_no_more(self) -> None:
        if self._ticker is not None:
            self._ticker.discard(self)

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
