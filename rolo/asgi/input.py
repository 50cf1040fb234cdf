"""The request body of an ASGI call as a file, for code that brings its own environment."""

from __future__ import annotations

import asyncio
import io
import typing as t

from rolo.asgi.watch import Receive
from rolo.errors import ClientDisconnected
from rolo.portal.portal import LoopScope, Portal, current_portal


def portal_to(loop: asyncio.AbstractEventLoop | None) -> Portal:
    """Return a way to ``loop``: that of the exchange being served if it lives there, else
    one that parks the calling thread."""
    current = current_portal()
    if current is not None and loop in (None, current.loop):
        return current
    return Portal(LoopScope(loop or asyncio.get_event_loop(), thread_id=None))


class RawHTTPRequestEventStreamAdapter(io.RawIOBase):
    """Reads the body of an ASGI ``http`` call from another thread.

    A client that leaves before the end raises
    :class:`~rolo.errors.ClientDisconnected`; the end is never faked.
    """

    def __init__(
        self, receive: Receive, event_loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        self._receive = receive
        self._portal = portal_to(event_loop)
        self._rest = memoryview(b"")
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buf: t.Any) -> int:
        while not self._rest and not self._ended:
            event = self._portal.call(self._next_event())
            if event["type"] == "http.disconnect":
                raise ClientDisconnected("the client left before the end of its request body")
            self._rest = memoryview(bytes(event.get("body") or b""))
            self._ended = not event.get("more_body", False)
        count = min(len(buf), len(self._rest))
        buf[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    async def _next_event(self) -> t.Any:
        return await self._receive()


def create_wsgi_input(
    receive: Receive, event_loop: asyncio.AbstractEventLoop | None = None
) -> t.IO[bytes]:
    """Return a buffered file over :class:`RawHTTPRequestEventStreamAdapter`."""
    return t.cast(
        "t.IO[bytes]", io.BufferedReader(RawHTTPRequestEventStreamAdapter(receive, event_loop))
    )
