"""What passes between a proxy and its transports: plain values, no I/O."""

from __future__ import annotations

import typing as t

from rolo.errors import BadRequest, UnsendableRequest
from rolo.net.body import Upload
from rolo.wire.fields import RawHeaders
from rolo.wire.http1 import encode_request_head, field_lines, request_line
from rolo.wire.received import ReceivedFields
from rolo.wire.reserved_fields import NOT_PLAIN_IN_REQUESTS, request_fields

OnInterim = t.Callable[[int, RawHeaders], t.Awaitable[None]]
"""Told of every 1xx answer (100 and 103 included, 101 never) in the order of arrival."""

MAX_INTERIMS = 200
"""1xx answers of an origin before its final one; with more it has no answer."""


# Of what came, only where there is none of these the lines go out as they are.
_ODD = NOT_PLAIN_IN_REQUESTS - {b"host"}
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

    async def flushed(self) -> None:
        """Wait until all that was written is on its way, be it that a reset follows.

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


class UpstreamRequest:
    """A request as it goes on the wire to ``origin``.

    ``body`` is ``None`` (no body, no framing field), bytes, or something to pull from.
    ``length`` is the body's length in bytes; with a pulled body ``None`` means chunked.

    :param headers: complete but for framing: they hold Host and all end-to-end fields in
        their order, never what frames the message or belongs to the connection, but for TE
    :param added: fields that go behind ``headers``
    """

    __slots__ = (
        "_added",
        "_fields",
        "_headers",
        "body",
        "expect_continue",
        "length",
        "method",
        "origin",
        "request_trailers",
        "target",
        "upgrade",
        "writer",
    )

    def __init__(
        self,
        origin: t.Any,  # rolo.wire.target.Origin
        method: str,
        target: bytes,
        headers: RawHeaders,
        body: bytes | Upload | None = None,
        length: int | None = None,
        expect_continue: bool = False,
        request_trailers: t.Callable[[], RawHeaders] | None = None,
        *,
        added: RawHeaders | None = None,
        writer: RequestWriter | None = None,
        upgrade: bytes | None = None,
    ) -> None:
        self.origin = origin
        self.method = method
        self.target = target
        self.body = body
        self.length = length
        self.expect_continue = expect_continue
        """The client waits for 100 (Continue): the body is pulled only when the origin sends
        it, or when it does not answer within a second (RFC 9110 section 10.1.1)."""
        self.request_trailers = request_trailers
        """Asked after the end of a chunked body for the trailers to send."""
        self.writer = writer
        """Writes the request in the place of the exchange, for the worse."""
        self.upgrade = upgrade
        """The protocol to switch to (RFC 9110 section 7.8). A 101 is the final answer then, and
        the connection its body. Without it nobody asks for one, and a 101 breaks the exchange."""
        self._fields = headers
        self._added = added
        # Once somebody has asked for a list, what is in it counts.
        self._headers: RawHeaders | None = None
        if added is None and not isinstance(headers, ReceivedFields):
            self._headers = headers

    @property
    def headers(self) -> RawHeaders:
        """The fields, ``added`` included: a list to edit."""
        if self._headers is None:
            self._headers = [*self._fields, *(self._added or ())]
        return self._headers

    @headers.setter
    def headers(self, headers: RawHeaders) -> None:
        self._headers = headers

    @property
    def idempotent(self) -> bool:
        """To do it twice is the same as to do it once."""
        return self.method in _IDEMPOTENT

    def encoded_head(self) -> bytes:
        """Return the head as it goes on the wire, the field that frames the body last.

        :raises BadRequest: it cannot be written as one well-formed head
        :raises UnsendableRequest: there are fields in it that nobody else may write
        """
        fields = self._fields
        try:
            if self._headers is None and isinstance(fields, ReceivedFields) and fields.lines:
                found = fields.special
                if b"host" in found and _ODD.isdisjoint(found):
                    ours = [*(self._added or ()), *self._ours(b"expect" in found)]
                    return b"%b%b%b\r\n" % (
                        request_line(self.method, self.target),
                        fields.lines,
                        field_lines(ours),
                    )
            return encode_request_head(self.method, self.target, self.framed_headers())
        except ValueError as exc:
            raise BadRequest(f"cannot be forwarded: {exc}") from exc

    def framed_headers(self) -> RawHeaders:
        """Return a new list: the fields, and behind them those that say how the body comes.

        :raises UnsendableRequest: there are fields among them that nobody else may write
        """
        chunked = self.body is not None and self._body_length() is None
        try:
            fields = request_fields(self.headers, chunked=chunked)
        except ValueError as exc:
            raise UnsendableRequest(str(exc), target=str(self.origin)) from None
        said = self.expect_continue and any(name.lower() == b"expect" for name, _ in fields)
        return [*fields, *self._ours(said)]

    def _ours(self, expects: bool) -> RawHeaders:
        """Return the fields that only we write.

        :param expects: that somebody waits for 100 is said already
        """
        ours: RawHeaders = []
        if self.body is not None:
            length = self._body_length()
            if length is None:
                ours.append((b"Transfer-Encoding", b"chunked"))
            else:
                ours.append((b"Content-Length", b"%d" % length))
            if self.expect_continue and not expects:
                ours.append((b"Expect", b"100-continue"))
        if self.upgrade is not None:
            ours += [(b"Upgrade", self.upgrade), (b"Connection", b"Upgrade")]
        return ours

    def _body_length(self) -> int | None:
        body = self.body
        return len(body) if isinstance(body, bytes | bytearray) else self.length
