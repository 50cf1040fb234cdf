"""An upstream's response body, as handlers see it."""

from __future__ import annotations

import typing as t

from rolo.net.body import LoopBody
from rolo.net.body_stream import Sink
from rolo.portal.portal import Portal
from rolo.portal.thread_reader import ThreadReader
from rolo.upstream.response_body import UpstreamBody


class ForwardedBody(LoopBody):
    """The body of an answer that arrives on the event loop.

    Handlers iterate it like any iterable of bytes (each step waits through the portal);
    the bridge pulls it on the loop itself. ``close()`` may be called from any thread, more
    than once; it gives the connection back, or ends it if the body was not read to its end.
    """

    __slots__ = ("_portal", "_thread_reader", "upstream")

    def __init__(self, upstream: UpstreamBody, portal: Portal) -> None:
        self.upstream = upstream
        self._portal = portal
        self._thread_reader: ThreadReader | None = None  # of a thread that iterates this

    def __aiter__(self) -> t.AsyncIterator[bytes]:
        return (
            self.upstream if self._thread_reader is None else self._left_over(self._thread_reader)
        )

    async def _left_over(self, reader: ThreadReader) -> t.AsyncIterator[bytes]:
        """What a thread has left over."""
        for piece in await reader.stop():
            yield piece
        async for piece in self.upstream:
            yield piece

    async def pipe(self, sink: Sink) -> None:
        if self._thread_reader is not None:
            for piece in await self._thread_reader.stop():
                if not sink.write(piece):
                    await sink.drained()
        await self.upstream.pipe(sink)

    def __iter__(self) -> t.Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        portal = self._portal
        if not portal.on_loop:
            if self._thread_reader is None:
                self._thread_reader = ThreadReader(self.upstream.pipe, portal)
            piece = self._thread_reader.take()
        else:
            # A handler on the loop need not leave it for what is here already.
            piece = self.upstream.read_nowait() or portal.call(self.upstream.read())
        if not piece:
            raise StopIteration
        return piece

    def read_whole_nowait(self) -> bytes | None:
        return self.upstream.read_whole_nowait() if self._thread_reader is None else None

    @property
    def trailers(self) -> list[tuple[bytes, bytes]]:
        return self.upstream.trailers

    @property
    def spent(self) -> bool:
        return self._thread_reader is None and self.upstream.spent

    def close(self) -> None:
        self._portal.post(self._close)

    def _close(self) -> None:
        if self._thread_reader is not None:
            self._thread_reader.cancel()
        self.upstream.close()
