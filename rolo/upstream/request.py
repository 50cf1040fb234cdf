"""What passes between a proxy and its transports: plain values, no I/O."""

from __future__ import annotations

import dataclasses
import typing as t

from rolo.errors import UnsendableRequest
from rolo.net.body import Upload
from rolo.wire.fields import RawHeaders
from rolo.wire.reserved_fields import request_fields

OnInterim = t.Callable[[int, RawHeaders], t.Awaitable[None]]
"""Told of every 1xx answer (100 and 103 included, 101 never) in the order of arrival."""

MAX_INTERIMS = 200
"""1xx answers of an origin before its final one; with more it has no answer."""


# RFC 9110 section 9.2.2
_IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"})


class RequestWire(t.Protocol):
    """The connection to an origin, bare, while one request is written to it. What comes back is
    read as an answer, whatever was written. On the loop."""

    def write(self, *data: bytes) -> None:
        """Send bytes as they are."""

    async def drained(self) -> None:
        """Wait until the origin can take more.

        :raises SendError: the connection is lost
        """

    def close(self) -> None:
        """End the connection in order (FIN) once all that was written is sent."""

    def reset(self) -> None:
        """Break the connection (RST) at once."""


class RequestWriter(t.Protocol):
    """Writes a request badly."""

    async def __call__(self, wire: RequestWire, head: bytes, request: UpstreamRequest) -> None:
        """Write what there is to be written.

        :param head: as it would go on the wire, framing fields included
        :raises Exception: what then becomes of the exchange; whoever has closed the connection
            raises
        """


@dataclasses.dataclass(slots=True)
class UpstreamRequest:
    """A request as it goes on the wire to ``origin``.

    ``headers`` are complete but for framing: they hold Host and all end-to-end fields in
    their order, never what frames the message or belongs to the connection, but for TE.
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
    writer: RequestWriter | None = None
    """Writes the request in the place of the exchange, for the worse."""
    upgrade: bytes | None = None
    """The protocol to switch to (RFC 9110 section 7.8). A 101 is the final answer then, and the
    connection its body. Without it nobody asks for one, and a 101 breaks the exchange."""

    @property
    def idempotent(self) -> bool:
        """To do it twice is the same as to do it once."""
        return self.method in _IDEMPOTENT

    def framed_headers(self) -> RawHeaders:
        """Return a new list: the fields, and behind them the one that frames the body.

        :raises UnsendableRequest: there are fields among them that nobody else may write
        """
        body = self.body
        length = len(body) if isinstance(body, bytes | bytearray) else self.length
        chunked = body is not None and length is None
        try:
            fields = request_fields(self.headers, chunked=chunked)
        except ValueError as exc:
            raise UnsendableRequest(str(exc), target=str(self.origin)) from None
        if chunked:
            fields.append((b"Transfer-Encoding", b"chunked"))
        elif body is not None:
            fields.append((b"Content-Length", b"%d" % (length or 0)))
        if self.upgrade is not None:
            fields += [(b"Upgrade", self.upgrade), (b"Connection", b"Upgrade")]
        return fields
