"""HTTP/2 on a connection of the native server: one connection, many exchanges (RFC 9113)."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
import typing as t
import urllib.parse

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
from hyperframe.frame import GoAwayFrame

from rolo.bridge.downstream import Capabilities, RequestHead
from rolo.errors import (
    BadRequest,
    ClientDisconnected,
    ContentTooLarge,
    DownstreamError,
    HeadTooLarge,
    RoloError,
    TargetTooLong,
)
from rolo.net.body_stream import BodyStream, Sink
from rolo.net.connection import BaseConnection
from rolo.wire.admission import BODILESS_METHODS, admit
from rolo.wire.error_page import CONTENT_TYPE, error_text
from rolo.wire.fields import RawHeaders
from rolo.wire.http1 import HeadLimits, check_head
from rolo.wire.http2 import answer_fields, request_fields

if t.TYPE_CHECKING:
    from rolo.native.connection import ServerState

LOG = logging.getLogger(__name__)

CAPABILITIES = Capabilities(
    interim=True, trailers=True, request_trailers=True, denial=True, expect=True, framing=True
)

_STREAMS = 100
"""Exchanges that a client may have open on one connection."""
_FREE_RESETS = 100
"""Streams that a client may reset at any rate, and beyond that half of all: resetting is cheaper
for the client than what it has begun is for us (CVE-2023-44487)."""
_CONTROL = 64 * 1024
"""Bytes of frames of our own, unsent, before we read no more that would make others."""
_FLUSH = 64 * 1024
"""Bytes of frames handed to the transport at once."""
_FRAMING = (b"content-length", b"transfer-encoding")
_NO_BODY = (204, 304)


class Http2Connection(BaseConnection):
    """One socket that speaks HTTP/2; takes over from the connection that has seen its preface."""

    __slots__ = (
        "_begun",
        "_client",
        "_exchanges",
        "_going",
        "_h2",
        "_resets",
        "_scheme",
        "_server",
        "deadline",
        "linger_timeout",
        "server_state",
        "settings",
    )

    def __init__(
        self,
        server_state: ServerState,
        scheme: str,
        client: tuple[str, int] | None,
        server: tuple[str, int | None] | None,
    ) -> None:
        super().__init__(server_state.loop, server_state.read_buffer)
        self.server_state = server_state
        self.settings = server_state.settings
        self.linger_timeout = self.settings.linger_timeout
        self.deadline: float | None = None
        """When the client has had time enough, in loop time; ``None`` while we are at it."""
        self._scheme = scheme
        self._client = client
        self._server = server
        self._exchanges: dict[int, Http2Exchange] = {}
        self._begun = self._resets = 0
        self._going = False
        self._h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding=None)
        )

    # --- asyncio's side -----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        codes = h2.settings.SettingCodes
        # Above our own limit, which answers for itself.
        head = self.settings.limits.max_head * 2
        self._h2.local_settings = h2.settings.Settings(
            client=False,
            initial_values={
                codes.MAX_CONCURRENT_STREAMS: _STREAMS,
                codes.MAX_HEADER_LIST_SIZE: head,
            },
        )
        self._h2.decoder.max_header_list_size = head
        self._h2.initiate_connection()
        # The windows of the streams bound what is held; that of the connection must not let one
        # slow upload starve the others.
        self._h2.increment_flow_control_window(_STREAMS * 65535)
        self.server_state.connections.add(self)
        self.set_deadline(self.settings.keep_alive_timeout)
        self._flush()

    def buffer_updated(self, nbytes: int) -> None:
        self.feed(bytes(self._view[:nbytes]))

    def feed(self, data: bytes) -> None:
        """Take bytes from the client."""
        if self.closing:
            return
        try:
            events = self._h2.receive_data(data)
        except h2.exceptions.ProtocolError as exc:
            LOG.info("HTTP/2 connection ended: %s", exc)
            self._flush()  # what h2 says to that
            self._lose()
            self.linger()
            return
        for event in events:
            self._take(event)
            if self.closing:
                return
        self._flush()

    def eof_received(self) -> bool:
        self._lose()
        self.set_deadline(self.settings.linger_timeout)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.server_state.remove(self)
        self._lose()
        super().connection_lost(exc)

    def resume_writing(self) -> None:
        super().resume_writing()
        self.resume_reading()
        self._pump_all()

    def lost_error(self) -> ClientDisconnected:
        return ClientDisconnected("the client left")

    # --- what comes ---------------------------------------------------------------------

    def _take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self._begin(event)
        elif isinstance(event, h2.events.DataReceived):
            exchange = self._exchanges.get(event.stream_id)
            if exchange is None:
                self.acknowledge(event.stream_id, event.flow_controlled_length)
            else:
                exchange.feed(event.data, event.flow_controlled_length)
        elif isinstance(event, h2.events.TrailersReceived):
            if (exchange := self._exchanges.get(event.stream_id)) is not None:
                exchange.trailers = [(bytes(n), bytes(v)) for n, v in event.headers]
        elif isinstance(event, h2.events.StreamEnded):
            if (exchange := self._exchanges.get(event.stream_id)) is not None:
                exchange.ended()
        elif isinstance(event, h2.events.StreamReset):
            self._reset_by_client(event.stream_id)
        elif isinstance(event, h2.events.WindowUpdated):
            self._pump_all(event.stream_id)
        elif isinstance(event, h2.events.RemoteSettingsChanged):
            self._pump_all()
        elif isinstance(event, h2.events.ConnectionTerminated):
            self._going = True
            self._close_if_idle()

    def _begin(self, event: h2.events.RequestReceived) -> None:
        self._begun += 1
        stream = event.stream_id
        if self._going:
            self.reset_stream(stream, h2.errors.ErrorCodes.REFUSED_STREAM)
            return
        head, fault = request_head(
            [(bytes(n), bytes(v)) for n, v in event.headers], self._scheme, self.settings.limits
        )
        head.client, head.server = self._client, self._server
        exchange = Http2Exchange(self, stream, head, fault, ended=event.stream_ended is not None)
        self._exchanges[stream] = exchange
        self.deadline = None
        exchange.task = self._loop.create_task(self._serve(exchange))

    def _reset_by_client(self, stream: int) -> None:
        self._resets += 1
        exchange = self._exchanges.get(stream)
        if exchange is not None:
            exchange.lost()
        if self._resets > max(_FREE_RESETS, self._begun // 2):
            LOG.info("HTTP/2 connection ended: its client has reset %d streams", self._resets)
            self._h2.close_connection(h2.errors.ErrorCodes.ENHANCE_YOUR_CALM)
            self._flush()
            self._lose()
            self.linger()

    async def _serve(self, exchange: Http2Exchange) -> None:
        try:
            await exchange.settle()
            await self.server_state.handler.handle_http(exchange)
        except asyncio.CancelledError:
            exchange.abort()
            raise
        except Exception:
            LOG.exception("error in exchange %s %r", exchange.head.method, exchange.head.target)
        finally:
            exchange.task = None
            exchange.over()
            self._forget(exchange)

    def _forget(self, exchange: Http2Exchange) -> None:
        self._exchanges.pop(exchange.stream, None)
        if not self._exchanges and not self.closing:
            self.set_deadline(self.settings.keep_alive_timeout)
            self._close_if_idle()

    def _close_if_idle(self) -> None:
        if self._going and not self._exchanges and not self.closing:
            self.close()

    # --- what exchanges use -------------------------------------------------------------

    def acknowledge(self, stream: int, size: int) -> None:
        """Open the client's windows for as many bytes as it has sent."""
        if size and not self.ending:
            self._h2.acknowledge_received_data(size, stream)
            self._flush()

    def send_headers(self, stream: int, fields: RawHeaders, *, end: bool = False) -> None:
        """Send a head, an interim one, or trailers.

        :raises ClientDisconnected: the stream is closed
        """
        with self._sending():
            self._h2.send_headers(stream, fields, end_stream=end)
        self._flush()

    def send_some(self, stream: int, data: memoryview) -> int:
        """Send of ``data`` what the client's windows and its connection take; return the size.

        :raises ClientDisconnected: the stream is closed
        """
        sent = flushed = 0
        with self._sending():
            while sent < len(data) and not self.writing_paused:
                room = self._h2.local_flow_control_window(stream)
                size = min(room, self._h2.max_outbound_frame_size, len(data) - sent)
                if size <= 0:
                    break
                self._h2.send_data(stream, bytes(data[sent : sent + size]))
                sent += size
                if sent - flushed >= _FLUSH:
                    self._flush()
                    flushed = sent
        self._flush()
        return sent

    def end_stream(self, stream: int) -> None:
        """Say that nothing more comes.

        :raises ClientDisconnected: the stream is closed
        """
        with self._sending():
            self._h2.end_stream(stream)
        self._flush()

    def reset_stream(self, stream: int, code: h2.errors.ErrorCodes) -> None:
        """Break a stream off, if it is open."""
        try:
            self._h2.reset_stream(stream, code)
        except h2.exceptions.ProtocolError:
            return  # the client was quicker
        self._flush()

    @contextlib.contextmanager
    def _sending(self) -> t.Iterator[None]:
        """Who closes a stream, or a connection, wants no more of it."""
        if self.ending:
            raise self.lost_error()
        try:
            yield
        except (h2.exceptions.StreamClosedError, h2.exceptions.NoSuchStreamError) as exc:
            raise self.lost_error() from exc

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data:
            self.write(data)
            if self.writing_paused and self.unsent > self.settings.buffer + _CONTROL:
                self.pause_reading()

    def _pump_all(self, stream: int = 0) -> None:
        if stream:
            exchange = self._exchanges.get(stream)
            if exchange is not None:
                exchange.pump()
            return
        for exchange in list(self._exchanges.values()):
            exchange.pump()

    # --- the end ------------------------------------------------------------------------

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """Those of the exchanges that are under way."""
        return [e.task for e in self._exchanges.values() if e.task is not None]

    def abort(self) -> None:
        self.reset()

    def drain_out(self) -> None:
        """The server stops: what has begun may finish (RFC 9113 section 6.8)."""
        if self._going or self.closing:
            return
        self._going = True
        # By hand: h2 sends nothing more after a GOAWAY of its own.
        last = self._h2.highest_inbound_stream_id
        self.write(GoAwayFrame(0, last_stream_id=last, error_code=0).serialize())
        self._close_if_idle()

    def look(self, now: float) -> None:
        """Called about once a second: end waits that took too long."""
        if self.deadline is not None and now >= self.deadline:
            self.deadline = None
            if self.closing:
                super().expired()
            elif not self._exchanges:
                self.drain_out()

    def set_deadline(self, seconds: float | None) -> None:
        # No timer: all deadlines of a server are looked at together.
        self.deadline = None if seconds is None else self._loop.time() + seconds

    def _lose(self) -> None:
        for exchange in list(self._exchanges.values()):
            exchange.lost()


class Http2Exchange(BodyStream):
    """An :class:`~rolo.bridge.downstream.HttpDownstream` on a stream of HTTP/2."""

    capabilities: Capabilities = CAPABILITIES
    task: asyncio.Task[None] | None = None
    gone = False
    wire = None
    _error: RoloError | None = None
    _on_gone: t.Callable[[], None] | None = None
    _received = 0
    _unacknowledged = 0
    _status = 0
    _complete = False

    def __init__(
        self,
        connection: Http2Connection,
        stream: int,
        head: RequestHead,
        fault: DownstreamError | None,
        *,
        ended: bool,
    ) -> None:
        super().__init__()
        self.stream = stream
        self.head = head
        self.fault = fault
        self.trailers: RawHeaders = []
        self.may_have_body = not ended
        self._ended = ended
        self._connection = connection
        self._expects = not ended and head.expects_continue
        self._unsent: collections.deque[memoryview] = collections.deque()
        self._room: asyncio.Future[None] | None = None

    # --- the request ----------------------------------------------------------------------

    @property
    def has_whole_body(self) -> bool:
        return self._ended and self._error is None

    @property
    def request_trailers(self) -> RawHeaders:
        return self.trailers if self._ended and not self._pieces else []

    async def receive_body(self) -> bytes:
        return await self._read()

    async def pipe_body(self, sink: Sink) -> None:
        await self._pipe(sink)

    def _at_end(self) -> bool:
        if self._error is not None:
            raise self._error
        return self._ended

    def _starving(self) -> None:
        if self._expects:
            self._expects = False
            if not self._status and not self.gone:
                self._connection.send_headers(self.stream, [(b":status", b"100")])

    def _emptied(self) -> None:
        self._acknowledge()

    def _acknowledge(self) -> None:
        """Let the client send as much as has been taken."""
        size, self._unacknowledged = self._unacknowledged, 0
        if size:
            self._connection.acknowledge(self.stream, size)

    def feed(self, data: bytes, size: int) -> None:
        """Take a piece of the body, which counts ``size`` bytes in the windows."""
        self._expects = False
        self._unacknowledged += size
        self._received += len(data)
        limit = self._connection.settings.max_body
        if limit is not None and self._received > limit and self._error is None:
            self._error = ContentTooLarge(f"request body of more than {limit} bytes")
            self._wake()
        if data and self._error is None and not self._complete:
            self._put([data])
        if not self.full(0):
            self._acknowledge()

    async def settle(self) -> None:
        """Find out whether a body follows, where only its end can tell: a request needs no
        fields to have one. Methods that usually come with one are not waited for."""
        declared = self.head.length is not None
        if self.head.method in BODILESS_METHODS and not (declared or self._expects):
            while not (self._received or self._ended or self._error):
                await self._wait()
        if self._ended and not self._received:
            self.may_have_body = False

    def ended(self) -> None:
        """The body is whole."""
        self._ended = True
        self._wake()

    # --- the client leaving ---------------------------------------------------------------

    def watch_gone(self, callback: t.Callable[[], None]) -> None:
        self._on_gone = callback
        if self.gone:
            callback()

    def lost(self) -> None:
        """The client has left, or wants no answer."""
        if self.gone or self._complete:
            return
        self.gone = True
        if not self._ended and self._error is None:
            self._error = ClientDisconnected("the client left within its request body")
        self._wake()
        self._give_room()
        if self._on_gone is not None:
            self._on_gone()

    # --- the answer -----------------------------------------------------------------------

    async def send_interim(self, status: int, headers: RawHeaders) -> None:
        if self._status or self.gone or status == 101:  # RFC 9113 section 8.6
            return
        if status == 100:
            if not self._expects:
                return
            self._expects = False
        self._connection.send_headers(self.stream, answer_fields(status, headers))

    async def send_head(self, status: int, reason: bytes, headers: RawHeaders) -> None:
        self._send_head(status, reason, headers)

    def _send_head(
        self, status: int, reason: bytes, headers: RawHeaders, *, end: bool = False
    ) -> None:
        self._check_open()
        check_head(reason, headers)
        fields = answer_fields(status, headers)
        if all(name != b"date" for name, _ in fields):
            fields.append((b"date", self._connection.server_state.date))
        self._connection.send_headers(self.stream, fields, end=end)
        self._status = status

    @property
    def _bodiless(self) -> bool:
        return self._status in _NO_BODY or self.head.method == "HEAD"

    @property
    def sink(self) -> Sink | None:
        return self

    @property
    def unacknowledged(self) -> int | None:
        return sum(map(len, self._unsent)) + self._connection.unacknowledged

    async def send_body(self, chunk: bytes) -> None:
        if not self.write(chunk):
            await self.drained()

    def write(self, piece: bytes) -> bool:
        """Send one piece of the body without waiting; see :class:`Sink`."""
        if self.gone:
            raise ClientDisconnected("the client left")
        if piece and not self._bodiless:
            self._unsent.append(memoryview(piece))
            self.pump()
        return not self._unsent

    def pump(self) -> None:
        """Send of what waits as much as the client takes."""
        unsent = self._unsent
        try:
            while unsent:
                piece = unsent[0]
                sent = self._connection.send_some(self.stream, piece)
                if sent < len(piece):
                    unsent[0] = piece[sent:]
                    return
                unsent.popleft()
        except ClientDisconnected:
            self.lost()
        self._give_room()

    async def drained(self) -> None:
        """Wait until the client's side can take more; see :class:`Sink`."""
        while self._unsent and not self.gone:
            self._room = asyncio.get_running_loop().create_future()
            try:
                await self._room
            finally:
                self._room = None
        if self.gone:
            raise ClientDisconnected("the client left")

    def _give_room(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    async def end(self, trailers: RawHeaders | None = None) -> None:
        await self.drained()
        if trailers and not self._bodiless:
            fields = [(name.lower(), value) for name, value in trailers]
            self._connection.send_headers(self.stream, fields, end=True)
        else:
            self._connection.end_stream(self.stream)
        self._complete = True

    async def send_complete(
        self, status: int, reason: bytes, headers: RawHeaders, body: bytes
    ) -> None:
        if self.head.method == "HEAD" or status in _NO_BODY:
            body = b""
        elif not any(name.lower() in _FRAMING for name, _ in headers):
            headers = [*headers, (b"content-length", b"%d" % len(body))]
        self._send_head(status, reason, headers, end=not body)
        if body:
            self.write(body)
            await self.end()
        self._complete = True

    def abort(self, error: BaseException | None = None) -> None:
        if not self._complete and not self.gone:
            self._complete = True
            self._connection.reset_stream(self.stream, h2.errors.ErrorCodes.INTERNAL_ERROR)

    def over(self) -> None:
        """The handler has returned: leave nothing open."""
        if self.gone or self._connection.ending:
            return
        if not self._complete:
            if self._status:
                self.abort()
                return
            body = error_text(500).encode()
            self._send_head(
                500,
                b"",
                [
                    (b"content-type", CONTENT_TYPE.encode()),
                    (b"content-length", b"%d" % len(body)),
                ],
            )
            self._connection.send_some(self.stream, memoryview(body))
            self._connection.end_stream(self.stream)
            self._complete = True
        self._acknowledge()
        if not self._ended:
            # RFC 9113 section 8.1: the rest of the request is not wanted.
            self._connection.reset_stream(self.stream, h2.errors.ErrorCodes.NO_ERROR)

    def _check_open(self) -> None:
        if self.gone:
            raise ClientDisconnected("the client left")
        if self._status:
            raise RuntimeError("the answer has begun already")


def request_head(
    fields: RawHeaders, scheme: str, limits: HeadLimits
) -> tuple[RequestHead, DownstreamError | None]:
    """Return the head of a request and why it must be refused, if it must.

    :param fields: as they came, pseudo-header fields first
    """
    pseudo, headers = request_fields(fields)
    target = pseudo.get(b":path", pseudo.get(b":authority", b""))
    raw_path, _, query = target.partition(b"?")
    plain = raw_path if b"%" not in raw_path else urllib.parse.unquote_to_bytes(raw_path)
    method = pseudo.get(b":method", b"").decode("latin-1")
    size = sum(len(name) + len(value) + 4 for name, value in fields)
    head = RequestHead(
        method, target, headers, "2", scheme, plain.decode("utf-8", "replace"), query, size=size
    )
    try:
        _check(head, limits)
    except DownstreamError as exc:
        return head, exc
    return head, None


def _check(head: RequestHead, limits: HeadLimits) -> None:
    if head.size > limits.max_head:
        raise HeadTooLarge(f"request head of {head.size} bytes")
    if len(head.headers) > limits.max_fields:
        raise HeadTooLarge(f"{len(head.headers)} header fields")
    if len(head.target) > limits.max_target:
        raise TargetTooLong(f"request target of {len(head.target)} bytes")
    admit(head.method, head.target, head.headers, "2")
    if head.target[:1] != b"/" and not (head.target == b"*" and head.method == "OPTIONS"):
        raise BadRequest(f"malformed request target: {head.target!a}")
