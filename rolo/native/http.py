"""One HTTP exchange on a connection of the native server."""

from __future__ import annotations

import http
import typing as t

from rolo.bridge.downstream import Capabilities, RequestHead
from rolo.errors import ClientDisconnected, ContentTooLarge, DownstreamError, RoloError
from rolo.net.body_stream import BodyStream, Sink
from rolo.wire.error_page import CONTENT_TYPE, error_text
from rolo.wire.fields import RawHeaders
from rolo.wire.http1 import (
    LAST_CHUNK,
    BodyDecoder,
    Framing,
    ParsedRequest,
    encode_chunk,
    encode_last_chunk,
    encode_response_head,
    field_lines,
    status_line,
)
from rolo.wire.received import received

if t.TYPE_CHECKING:
    from rolo.native.connection import Connection

REASONS = {status.value: status.phrase.encode("ascii") for status in http.HTTPStatus}

CAPABILITIES = Capabilities(
    interim=True,
    trailers=True,
    request_trailers=True,
    header_case=True,
    reason=True,
    denial=True,
    expect=True,
    framing=True,
    wire=True,
)

# Fields of an answer that we write ourselves.
_OURS = frozenset(
    b"transfer-encoding connection keep-alive proxy-connection upgrade trailer".split()
)
_LENGTH = frozenset((b"content-length",))
_NO_BODY = (204, 304)
# Below this, one copy is cheaper than a write of several pieces.
_JOIN_BELOW = 8192
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def answer_head(
    status: int, date: bytes, headers: t.Iterable[tuple[bytes, bytes]] = ()
) -> tuple[bytes, bytes]:
    """Return head and body of a short answer of the server's own, after which it closes."""
    reason = REASONS.get(status, b"")
    body = error_text(status).encode()
    fields = [
        *headers,
        (b"Content-Type", CONTENT_TYPE.encode()),
        (b"Content-Length", b"%d" % len(body)),
        (b"Date", date),
        (b"Connection", b"close"),
    ]
    return encode_response_head(status, reason, fields), body


class NativeExchange(BodyStream):
    """An :class:`~rolo.bridge.downstream.HttpDownstream` on a native connection."""

    capabilities: Capabilities = CAPABILITIES
    fault: DownstreamError | None = None  # heads are checked before there is an exchange
    gone = False
    # Most exchanges need few of these: what an instance does not set costs it nothing.
    _received = 0
    _error: RoloError | None = None
    _on_gone: t.Callable[[], None] | None = None
    _discarding: int | None = None
    _status = 0
    _framing = Framing.NONE
    _left = 0
    _complete = False
    _promptly = False

    def __init__(
        self,
        connection: Connection,
        head: RequestHead,
        parsed: ParsedRequest,
        decoder: BodyDecoder | None,
    ) -> None:
        super().__init__()
        self.head = head
        self._connection = connection
        self._decoder = decoder
        self._keep_alive = parsed.keep_alive
        self._expects = parsed.expect_continue and decoder is not None

    # --- the request ----------------------------------------------------------------------

    @property
    def may_have_body(self) -> bool:
        return self._decoder is not None

    @property
    def has_whole_body(self) -> bool:
        return self._decoder is not None and self._decoder.done and self._error is None

    @property
    def request_trailers(self) -> RawHeaders:
        return [] if self._decoder is None or self._pieces else self._decoder.trailers

    async def receive_body(self) -> bytes:
        return await self._read()

    async def pipe_body(self, sink: Sink) -> None:
        await self._pipe(sink)

    def _at_end(self) -> bool:
        if self._error is not None:
            raise self._error
        return self._decoder is None or self._decoder.done

    def _starving(self) -> None:
        if self._expects:
            self._expects = False
            if not self._status:
                self._connection.write(_CONTINUE)

    def _emptied(self) -> None:
        self._connection.resume_reading()

    def feed(self, data: bytes) -> None:
        """Take bytes from the connection."""
        decoder = self._decoder
        if self._error is not None:
            return  # nothing after broken framing can be believed
        if decoder is None or decoder.done:
            self._connection.keep(data)
            return
        self._expects = False
        try:
            pieces = decoder.feed(data)
        except RoloError as e:
            self._break(e)
            return
        if pieces:
            self._add(pieces)
        if decoder.done and self._error is None:
            if decoder.leftover:
                self._connection.keep(decoder.leftover)
            if self._discarding is not None:
                self._connection.next_request()
                return
        self._wake()

    def _add(self, pieces: list[bytes]) -> None:
        size = sum(map(len, pieces))
        self._received += size
        settings = self._connection.settings
        if self._discarding is not None:
            self._discarding -= size
            if self._discarding < 0:
                self._break(ContentTooLarge("unread request body too long to wait for its end"))
            return
        if settings.max_body is not None and self._received > settings.max_body:
            self._break(ContentTooLarge(f"request body of more than {settings.max_body} bytes"))
            return
        self._put(pieces)
        if self.full(settings.buffer):
            self._connection.pause_reading()

    def _break(self, error: RoloError) -> None:
        """The body cannot be read on; nor can anything that follows it."""
        self._error = error
        self._keep_alive = False
        if self._discarding is not None:
            self._connection.linger()
        else:
            self._connection.pause_reading()
            self._wake()

    # --- the client leaving ---------------------------------------------------------------

    def watch_gone(self, callback: t.Callable[[], None]) -> None:
        self._on_gone = callback
        if self.gone:
            callback()

    def lost(self) -> None:
        """The client has left."""
        if self.gone or self._complete:
            return
        self.gone = True
        if self._decoder is not None and not self._decoder.done and self._error is None:
            self._error = ClientDisconnected("the client left within its request body")
        self._wake()
        if self._on_gone is not None:
            self._on_gone()

    # --- the answer -----------------------------------------------------------------------

    async def send_interim(self, status: int, headers: RawHeaders) -> None:
        # RFC 9110 section 15.2: HTTP/1.0 clients know no interim answers.
        if self._status or self.gone or self.head.http_version == "1.0" or status == 101:
            return
        if status == 100:
            if not self._expects:
                return
            self._expects = False
        self._connection.write(encode_response_head(status, REASONS.get(status, b""), headers))
        await self._connection.drained()

    async def send_head(self, status: int, reason: bytes, headers: RawHeaders) -> None:
        self._check_open()
        self._connection.write(self._write_head(status, reason, headers, None))
        if self._connection.writing_paused:
            await self._connection.drained()

    async def send_body(self, chunk: bytes) -> None:
        if not self.write(chunk):
            await self._connection.drained()

    def write(self, chunk: bytes) -> bool:
        """Send one piece of the body without waiting; see :class:`Sink`."""
        if self.gone:
            raise ClientDisconnected("the client left")
        size = len(chunk)
        framing = self._framing
        if not size or framing is Framing.NONE:
            return True
        connection = self._connection
        if framing is Framing.CHUNKED:
            if size < _JOIN_BELOW:
                connection.write(encode_chunk(chunk))
            else:
                connection.write(b"%x\r\n" % size, chunk, b"\r\n")
        else:
            if framing is Framing.LENGTH:
                self._count(size)
            connection.write(chunk)
        return not connection.writing_paused

    @property
    def sink(self) -> Sink | None:
        return self

    @property
    def unacknowledged(self) -> int | None:
        return self._connection.unacknowledged

    async def drained(self) -> None:
        """Wait until the client's side can take more; see :class:`Sink`."""
        await self._connection.drained()

    @property
    def wire(self) -> BareConnection:
        return BareConnection(self)

    async def end(self, trailers: RawHeaders | None = None) -> None:
        if self.gone:
            raise ClientDisconnected("the client left")
        if self._framing is Framing.CHUNKED:
            self._connection.write(encode_last_chunk(trailers))
        elif self._framing is Framing.LENGTH and self._left:
            raise RuntimeError(f"the answer lacks {self._left} bytes of its Content-Length")
        self._complete = True

    async def send_complete(
        self, status: int, reason: bytes, headers: RawHeaders, body: bytes
    ) -> None:
        if self.gone or self._status:
            self._check_open()
        connection = self._connection
        head = self._write_head(status, reason, headers, len(body))
        framing = self._framing
        if framing is Framing.NONE:
            body = b""
        elif framing is Framing.CHUNKED:
            body = encode_chunk(body) + LAST_CHUNK
        elif framing is Framing.LENGTH and len(body) != self._left:
            self._count(len(body))
            self._status = 0
            raise RuntimeError(f"the answer lacks {self._left} bytes of its Content-Length")
        if len(body) < _JOIN_BELOW:
            connection.write(head + body)
        else:
            connection.write(head, body)
        self._complete = True
        if connection.writing_paused:
            await connection.drained()

    def abort(self, error: BaseException | None = None) -> None:
        if self._complete or self._connection.closed:
            return
        self._complete = True
        self._keep_alive = False
        # Short of its length, or without a last chunk, an answer is visibly incomplete
        # and what was sent may arrive. Otherwise only a reset says that it is.
        if self._framing in (Framing.CLOSE, Framing.NONE):
            self._connection.reset()
        else:
            self._connection.cut_short()

    def over(self, *, failed: bool) -> None:
        """The handler has returned: see what becomes of the connection."""
        connection = self._connection
        if self.gone or connection.ending:
            return
        if not self._complete:
            if self._status:
                self.abort()
                return
            self._keep_alive = False
            self._complete = True
            head, body = answer_head(500, connection.server_state.date)
            connection.write(head + body)
        self._leave()

    def _leave(self) -> None:
        connection, decoder = self._connection, self._decoder
        if self._promptly:
            connection.send_promptly(False)
        if decoder is None or decoder.done:
            if self._keep_alive:
                connection.next_request()
            else:
                connection.close()
        elif self._keep_alive and not self._expects and self._error is None:
            self._pieces.clear()
            self._discarding = connection.settings.drain_limit
            connection.set_deadline(connection.settings.linger_timeout)
            connection.resume_reading()
        else:
            connection.linger()

    # --- framing --------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self.gone:
            raise ClientDisconnected("the client left")
        if self._status:
            raise RuntimeError("the answer has begun already")

    def _count(self, size: int) -> None:
        if size > self._left:
            raise RuntimeError(f"the answer is {size - self._left} bytes over its Content-Length")
        self._left -= size

    def _write_head(
        self, status: int, reason: bytes, headers: RawHeaders, whole: int | None
    ) -> bytes:
        """Decide on framing and persistence, and write the head.

        :param whole: length of the body if it is known already
        """
        fields = received(headers)
        found = fields.special
        bodiless = status in _NO_BODY or self.head.method == "HEAD"
        chunked = False
        announced: RawHeaders = []
        if not _OURS.isdisjoint(found):
            chunked = b"transfer-encoding" in found
            if b"close" in found.get(b"connection", b"").lower():
                self._keep_alive = False
            if b"trailer" in found:
                announced = [field for field in fields if field[0].lower() == b"trailer"]
            fields = fields.without(_OURS)
        length: int | None = None
        if b"content-length" in found:
            if status != 204 and found[b"content-length"].isdigit():
                length = int(found[b"content-length"])
            if length is None or (chunked and not bodiless):
                # RFC 9112 section 6.2: never both.
                length, fields = None, fields.without(_LENGTH)
        ours: RawHeaders = []
        if b"date" not in found:
            ours.append((b"Date", self._connection.server_state.date))
        if bodiless:
            self._framing = Framing.NONE
        elif length is not None:
            self._framing, self._left = Framing.LENGTH, length
        else:
            self._frame(ours, chunked, whole)
        if announced and self._framing is Framing.CHUNKED:
            ours += announced  # RFC 9110 section 6.6.2: without chunks there are no trailers
        connection = self._connection
        if (
            self._decoder is not None
            or not self._keep_alive
            or connection.server_state.draining
            or self.head.http_version == "1.0"
        ):
            self._settle_persistence(ours)
        # What our codec has read can be written again.
        lines = field_lines(fields) if fields.lines is None else fields.lines
        if ours:
            lines += field_lines(ours)
        block = b"%b%b\r\n" % (status_line(status, reason), lines)
        self._status = status
        return block

    def _frame(self, ours: RawHeaders, chunked: bool, whole: int | None) -> None:
        """Frame a body whose length nobody has said: by its length if it is here, else in
        chunks, else (HTTP/1.0) by the connection's end (RFC 9112 section 6)."""
        if whole is not None and not chunked:
            self._framing, self._left = Framing.LENGTH, whole
            ours.append((b"Content-Length", b"%d" % whole))
            return
        if self.head.http_version == "1.0":
            self._framing, self._keep_alive = Framing.CLOSE, False
        else:
            self._framing = Framing.CHUNKED
            ours.append((b"Transfer-Encoding", b"chunked"))
        if whole is None:
            self._promptly = True
            self._connection.send_promptly(True)

    def _settle_persistence(self, ours: RawHeaders) -> None:
        decoder = self._decoder
        if self._connection.server_state.draining:
            self._keep_alive = False
        elif decoder is not None and not decoder.done:
            length, limit = self.head.length, self._connection.settings.drain_limit
            if self._expects or (length is not None and length - self._received > limit):
                # The client gets its answer before we have its body, which it may not even
                # send (RFC 9110 section 10.1.1): say that we shall not wait for it.
                self._keep_alive = False
        if not self._keep_alive:
            ours.append((b"Connection", b"close"))
        elif self.head.http_version == "1.0":
            ours.append((b"Connection", b"keep-alive"))


class BareConnection:
    """The :class:`~rolo.bridge.downstream.Wire` of an exchange."""

    __slots__ = ("_exchange", "drained", "flushed")

    def __init__(self, exchange: NativeExchange) -> None:
        self._exchange = exchange
        self.drained = exchange.drained
        self.flushed = exchange._connection.flushed

    def head(self, status: int, reason: bytes, headers: RawHeaders) -> bytes:
        self._exchange._check_open()
        return self._exchange._write_head(status, reason, headers, None)

    def write_head(self, block: bytes) -> None:
        self.write(block)

    def write(self, *data: bytes) -> bool:
        exchange = self._exchange
        if exchange.gone:
            raise ClientDisconnected("the client left")
        exchange._connection.write(*data)
        return not exchange._connection.writing_paused

    def close(self) -> None:
        self._over().cut_short()

    def reset(self) -> None:
        self._over().reset()

    def _over(self) -> Connection:
        exchange = self._exchange
        exchange._complete, exchange._keep_alive = True, False
        return exchange._connection
