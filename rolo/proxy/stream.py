"""An upstream's response body, as handlers see it."""

from __future__ import annotations

import typing as t

from rolo.bridge.flow import Outlet
from rolo.bridge.portal import Portal
from rolo.proxy.body import UpstreamBody


class ForwardedBody:
    """The body of an answer that arrives on the event loop.

    Handlers iterate it like any iterable of bytes (each step waits through the portal);
    the bridge pulls it on the loop itself. ``close()`` may be called from any thread, more
    than once; it gives the connection back, or ends it if the body was not read to its end.
    """

    __slots__ = ("_portal", "upstream")

    def __init__(self, upstream: UpstreamBody, portal: Portal) -> None:
        self.upstream = upstream
        self._portal = portal

    def __aiter__(self) -> t.AsyncIterator[bytes]:
        return self.upstream

    async def pour(self, outlet: Outlet) -> None:
        """As :meth:`UpstreamBody.pour`."""
        await self.upstream.pour(outlet)

    def __iter__(self) -> t.Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        portal = self._portal
        # A handler on the loop need not leave it for what is here already.
        piece = self.upstream.read_nowait() if portal.on_loop else b""
        piece = piece or portal.call(self.upstream.read())
        if not piece:
            raise StopIteration
        return piece

    def read_whole_nowait(self) -> bytes | None:
        """Return the whole body if it is here already, else ``None``."""
        return self.upstream.read_whole_nowait()

    @property
    def trailers(self) -> list[tuple[bytes, bytes]]:
        """The trailer fields; empty before the end of the body."""
        return self.upstream.trailers

    def close(self) -> None:
        self._portal.post(self.upstream.close)
