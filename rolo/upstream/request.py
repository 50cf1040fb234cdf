"""What passes between a proxy and its transports: plain values, no I/O."""

from __future__ import annotations

import dataclasses
import typing as t

from rolo.net.body import Upload
from rolo.wire.fields import RawHeaders
from rolo.wire.trailers import without_trailer_field

OnInterim = t.Callable[[int, RawHeaders], t.Awaitable[None]]
"""Told of every 1xx answer (100 and 103 included, 101 never) in the order of arrival."""

MAX_INTERIMS = 200
"""1xx answers of an origin before its final one; with more it has no answer."""


# RFC 9110 section 9.2.2
_IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"})


@dataclasses.dataclass(slots=True)
class UpstreamRequest:
    """A request as it goes on the wire to ``origin``.

    ``headers`` are complete but for framing: they hold Host and all end-to-end fields in
    their order, never Content-Length, Transfer-Encoding or Connection.
    ``body`` is ``None`` (no body, no framing field), bytes, or something to pull from.
    ``length`` is the body's length in bytes; with a pulled body ``None`` means chunked.
    """

    origin: t.Any  # rolo.wire.target.Origin
    method: str
    target: bytes
    headers: RawHeaders
    body: bytes | Upload | None = None
    length: int | None = None
    expect_continue: bool = False
    """The client waits for 100 (Continue): the body is pulled only when the origin sends
    it, or when it does not answer within a second (RFC 9110 section 10.1.1)."""
    request_trailers: t.Callable[[], RawHeaders] | None = None
    """Asked after the end of a chunked body for the trailers to send."""

    @property
    def idempotent(self) -> bool:
        """To do it twice is the same as to do it once."""
        return self.method in _IDEMPOTENT

    def framed_headers(self) -> RawHeaders:
        """Return a new list: the fields, and behind them the one that frames the body."""
        body = self.body
        if body is not None:
            length = len(body) if isinstance(body, bytes | bytearray) else self.length
            if length is None:
                return [*self.headers, (b"Transfer-Encoding", b"chunked")]
            return [*without_trailer_field(self.headers), (b"Content-Length", b"%d" % length)]
        return without_trailer_field(self.headers)
