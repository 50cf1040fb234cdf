"""The origin's side of a websocket: dial, shake hands, then exchange messages."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import hashlib
import os
import typing as t

from rolo.bridge.readbuffer import read_buffer
from rolo.bridge.websocket_end import WebSocketEnd
from rolo.errors import (
    BadRequest,
    BadResponse,
    BodyInterrupted,
    ClientDisconnected,
    ConnectTimeout,
    IdleTimeout,
    ResponseHeadTimeout,
    UpstreamClosed,
    UpstreamError,
)
from rolo.proxy.dial import Dialer
from rolo.proxy.headers import response_headers
from rolo.proxy.http1 import (
    BodyDecoder,
    HeadLimits,
    ParsedResponse,
    body_decoder,
    encode_request_head,
    find_head_end,
    parse_response_head,
)
from rolo.proxy.messages import PoolLimits, RawHeaders, Timeouts
from rolo.proxy.target import Origin
from rolo.websocket.codes import GOING_AWAY
from rolo.websocket.deflate import OFFER, Deflate, accepted_by_server
from rolo.websocket.errors import WebSocketError

# RFC 6455 section 1.3
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_LINGER = 5.0
READ_SIZE = 256 * 1024
"""Bytes read at once, at most: a message of 64 KiB, headers and all, should come at once."""
# Made anew on each leg (RFC 6455 section 4), or of one leg only.
_HANDSHAKE_FIELDS = frozenset(
    b"sec-websocket-key sec-websocket-accept sec-websocket-version sec-websocket-extensions "
    b"sec-websocket-protocol content-length".split()
)


@dataclasses.dataclass(frozen=True, slots=True)
class WebSocketSettings:
    """How websockets are relayed. Times are in seconds; ``None`` is no limit."""

    idle_timeout: float | None = None
    """Without a message in either direction; both legs are then closed with 1001."""
    ping_interval: float | None = None
    """Of silence, after which the origin is sent a ping; ``None`` sends none. Clients are
    pinged by the server, see :class:`~rolo.bridge.limits.Limits`."""
    ping_timeout: float = 20.0
    """From a ping of ours until something must come, else the origin counts as lost."""
    close_timeout: float = 10.0
    """For the answer to a close frame."""
    max_message: int | None = 100 * 1024 * 1024
    """Bytes of one message from the origin, inflated. Messages from clients are limited by
    the server that takes them."""
    compression: bool = False
    """Offer permessage-deflate to origins. What clients get is the server's choice."""
    buffer: int = 64 * 1024
    """Bytes held unread, and unsent, before the origin is made to wait."""
    max_refusal: int = 1024 * 1024
    """Bytes of the body of an origin's answer that is no websocket."""


DEFAULT_SETTINGS = WebSocketSettings()


@dataclasses.dataclass(slots=True)
class Handshake:
    """An opening handshake as it goes to ``origin``. ``headers`` hold Host and all
    end-to-end fields; those of the handshake itself are added when it is sent."""

    origin: Origin
    target: bytes
    headers: RawHeaders
    subprotocols: list[str] = dataclasses.field(default_factory=list)


class HandshakeRefused(WebSocketError):
    """The origin answered the handshake with an ordinary response.

    :param headers: its end-to-end fields
    :param body: all of it
    """

    def __init__(self, status: int, reason: bytes, headers: RawHeaders, body: bytes) -> None:
        super().__init__(f"the origin refused the websocket with status {status}")
        self.status = status
        self.reason = reason
        self.headers = headers
        self.body = body


class UpstreamWebSocket:
    """An open websocket to an origin. The loop's thread only.

    ``receive``, ``send`` and ``close`` are those of a
    :class:`~rolo.bridge.downstream.WebSocketDownstream`.

    :ivar subprotocol: what the origin chose, ``None`` for none
    :ivar headers: the end-to-end fields of its 101
    """

    __slots__ = ("close", "end", "headers", "receive", "send", "subprotocol")

    def __init__(self, end: WebSocketEnd, subprotocol: str | None, headers: RawHeaders) -> None:
        self.end = end
        self.subprotocol = subprotocol
        self.headers = headers
        self.receive = end.receive
        self.send = end.send
        self.close = end.close

    def abort(self) -> None:
        """Drop the connection."""
        self.end.abort()


class Place:
    """What the websockets of one loop share."""

    def __init__(self) -> None:
        self.live: set[UpstreamConnection] = set()
        """All connections that exist."""
        self.read_buffer = read_buffer(READ_SIZE)


async def open_websocket(
    dialer: Dialer,
    handshake: Handshake,
    place: Place,
    *,
    timeouts: Timeouts,
    limits: PoolLimits,
    settings: WebSocketSettings = DEFAULT_SETTINGS,
) -> UpstreamWebSocket:
    """Dial and shake hands. To cancel this call closes the connection.

    :raises HandshakeRefused: the origin answered with something else than 101
    :raises BadRequest: the handshake cannot be written as one well-formed head
    :raises ConnectError: and its kin: no connection
    :raises UpstreamClosed: the connection ended before a complete head
    :raises BadResponse: malformed, or a 101 that does not fit what was asked
    :raises ResponseHeadTimeout: no answer in time
    """
    key = base64.b64encode(os.urandom(16))
    head = _encode(handshake, key, settings)
    connection = await _dial(dialer, handshake.origin, timeouts.connect, settings.buffer, place)
    try:
        connection.write(head)
        parsed = await _answer(connection, timeouts.response, limits)
        if parsed.status != 101:
            raise await _refusal(connection, parsed, timeouts, settings.max_refusal)
        subprotocol, deflate = _agreed(parsed, key, handshake, settings)
        end = connection.open(settings, deflate)
    except BaseException as exc:
        connection.abort()
        if isinstance(exc, UpstreamError):
            exc.target = str(handshake.origin)
        raise
    fields = [f for f in response_headers(parsed.headers) if f[0].lower() not in _HANDSHAKE_FIELDS]
    return UpstreamWebSocket(end, subprotocol, fields)


def without_handshake_fields(headers: RawHeaders) -> RawHeaders:
    """Return ``headers`` without those that each leg's handshake makes for itself."""
    return [field for field in headers if field[0].lower() not in _HANDSHAKE_FIELDS]


def _encode(handshake: Handshake, key: bytes, settings: WebSocketSettings) -> bytes:
    fields = [
        *without_handshake_fields(handshake.headers),
        (b"Upgrade", b"websocket"),
        (b"Connection", b"Upgrade"),
        (b"Sec-WebSocket-Version", b"13"),
        (b"Sec-WebSocket-Key", key),
    ]
    if handshake.subprotocols:
        offered = ", ".join(handshake.subprotocols).encode("latin-1")
        fields.append((b"Sec-WebSocket-Protocol", offered))
    if settings.compression:
        fields.append((b"Sec-WebSocket-Extensions", OFFER.encode("ascii")))
    try:
        return encode_request_head("GET", handshake.target, fields)
    except ValueError as exc:
        raise BadRequest(f"cannot be forwarded: {exc}") from exc


async def _dial(
    dialer: Dialer,
    origin: Origin,
    limit: float | None,
    buffer: int,
    place: Place,
) -> UpstreamConnection:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(limit):
            return await dialer.dial(origin, lambda: UpstreamConnection(loop, buffer, place))
    except TimeoutError as exc:
        raise ConnectTimeout(f"no connection within {limit:g} s", target=str(origin)) from exc


async def _answer(
    connection: UpstreamConnection, limit: float | None, limits: PoolLimits
) -> ParsedResponse:
    """Return the final head; interim ones are skipped."""
    bounds = HeadLimits(max_head=limits.max_head, max_fields=limits.max_fields)
    try:
        async with asyncio.timeout(limit):
            while True:
                block = await connection.read_head(limits.max_head)
                parsed = parse_response_head(block, "GET", bounds)
                if parsed.status >= 200 or parsed.status == 101:
                    return parsed
    except TimeoutError as exc:
        raise ResponseHeadTimeout(f"no answer to the handshake within {limit:g} s") from exc


async def _refusal(
    connection: UpstreamConnection, parsed: ParsedResponse, timeouts: Timeouts, limit: int
) -> HandshakeRefused:
    body = await _body(connection, body_decoder(parsed.framing, parsed.length), timeouts, limit)
    return HandshakeRefused(parsed.status, parsed.reason, response_headers(parsed.headers), body)


async def _body(
    connection: UpstreamConnection, decoder: BodyDecoder, timeouts: Timeouts, limit: int
) -> bytes:
    pieces: list[bytes] = []
    size = 0
    # All of it within the time that an answer may take: nobody asked for a stream.
    seconds = timeouts.response
    try:
        async with asyncio.timeout(seconds):
            while not decoder.done:
                data = await connection.read()
                if not data:
                    decoder.eof()
                    break
                for piece in decoder.feed(data):
                    pieces.append(piece)
                    size += len(piece)
                if size > limit:
                    raise BodyInterrupted(f"refusal of the handshake with over {limit} bytes")
    except TimeoutError as exc:
        raise IdleTimeout(f"refusal of the handshake not over within {seconds:g} s") from exc
    return b"".join(pieces)


def _agreed(
    parsed: ParsedResponse, key: bytes, handshake: Handshake, settings: WebSocketSettings
) -> tuple[str | None, Deflate | None]:
    """Check a 101 (RFC 6455 section 4.1); return the subprotocol and the compression.

    :raises BadResponse: it is not the answer to what we asked
    """
    found: dict[bytes, list[bytes]] = {}
    for name, value in parsed.headers:
        found.setdefault(name.lower(), []).append(value)

    def options(name: bytes) -> list[bytes]:
        return [o.strip().lower() for o in b",".join(found.get(name, ())).split(b",")]

    if b"websocket" not in options(b"upgrade") or b"upgrade" not in options(b"connection"):
        raise BadResponse("101 to something else than a websocket")
    digest = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
    if found.get(b"sec-websocket-accept") != [digest]:
        raise BadResponse("101 without the right Sec-WebSocket-Accept")
    chosen = b",".join(found.get(b"sec-websocket-protocol", ())).decode("latin-1").strip()
    if chosen and chosen not in handshake.subprotocols:
        raise BadResponse(f"101 with the subprotocol {chosen!r}, which was not offered")
    extensions = b",".join(found.get(b"sec-websocket-extensions", ())).decode("latin-1").strip()
    if extensions and not settings.compression:
        raise BadResponse("101 with an extension that was not offered")
    try:
        parameters = accepted_by_server(extensions)
    except ValueError as exc:
        raise BadResponse(f"101 with an {exc}") from exc
    deflate = Deflate(parameters, client=True) if parameters is not None else None
    return chosen or None, deflate


class UpstreamConnection(asyncio.BufferedProtocol):
    """The socket below: read by hand during the handshake, by a websocket's end after it."""

    __slots__ = (
        "_buffer",
        "_drained",
        "_early",
        "_end",
        "_ended",
        "_high",
        "_live",
        "_loop",
        "_reading_paused",
        "_timer",
        "_transport",
        "_view",
        "_waiter",
        "writing_paused",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, high: int, place: Place) -> None:
        self._loop = loop
        self._high = high
        self._view = place.read_buffer
        self._live = place.live
        self._transport: asyncio.Transport | None = None
        self._early = b""
        self._ended = False
        self._waiter: asyncio.Future[None] | None = None
        self._drained: list[asyncio.Future[None]] = []
        self._end: WebSocketEnd | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._reading_paused = False
        self.writing_paused = False

    # --- the handshake --------------------------------------------------------------------

    async def read(self) -> bytes:
        """Return what has come, ``b""`` at the end of the connection."""
        while not self._early and not self._ended:
            self.resume_reading()
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        early, self._early = self._early, b""
        return early

    async def read_head(self, limit: int) -> bytes:
        """Return one head; what follows it is kept.

        :raises UpstreamClosed: the connection ended
        :raises BadResponse: it is larger than ``limit``
        """
        head, seen = b"", 0
        while (end := find_head_end(head, seen)) < 0:
            seen = len(head)
            if seen > limit:
                raise BadResponse(f"response head over {limit} bytes")
            data = await self.read()
            if not data:
                raise UpstreamClosed("the origin closed before it answered the handshake")
            head += data
        self._early = head[end:]
        return head[:end]

    def open(self, settings: WebSocketSettings, deflate: Deflate | None) -> WebSocketEnd:
        """From here on there are frames.

        :raises UpstreamClosed: the connection is lost already, with nothing more to read
        """
        if self._ended and not self._early:
            raise UpstreamClosed("the origin closed right after the handshake")
        end = WebSocketEnd(
            self,
            client=True,
            max_message=settings.max_message,
            buffer=settings.buffer,
            close_timeout=settings.close_timeout,
            deflate=deflate,
        )
        self._end = end
        early, self._early = self._early, b""
        self.resume_reading()
        if early:
            end.feed(early)
        if self._ended:
            end.lost()
        return end

    # --- asyncio's side -------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = t.cast(asyncio.Transport, transport)
        self._live.add(self)
        self._transport.set_write_buffer_limits(high=self._high)

    def get_buffer(self, sizehint: int) -> memoryview:
        # One for all: what is read is copied out before the next read begins.
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        data = self._view[:nbytes]
        if self._end is not None:
            self._end.feed(data)
            return
        self._early += data
        if len(self._early) > self._high:
            self.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        self._lose()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose()
        self._live.discard(self)
        self._transport = None
        self._set_timer(None)
        self.resume_writing()

    def pause_writing(self) -> None:
        self.writing_paused = True

    def resume_writing(self) -> None:
        self.writing_paused = False
        drained, self._drained = self._drained, []
        for waiter in drained:
            if not waiter.done():
                waiter.set_result(None)

    def _lose(self) -> None:
        self._ended = True
        if self._end is not None:
            self._end.lost()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- the channel of a WebSocketEnd ----------------------------------------------------

    def write(self, *data: bytes) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if len(data) == 1:
            transport.write(data[0])
        else:
            transport.writelines(data)

    async def drained(self) -> None:
        if self.writing_paused and self._transport is not None:
            waiter = self._loop.create_future()
            self._drained.append(waiter)
            await waiter
        if self._transport is None:
            raise ClientDisconnected("the origin left")

    @property
    def unsent(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def pause_reading(self) -> None:
        transport = self._transport
        if not self._reading_paused and transport is not None and not transport.is_closing():
            self._reading_paused = True
            transport.pause_reading()

    def resume_reading(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            if self._transport is not None and not self._transport.is_closing():
                self._transport.resume_reading()

    def set_deadline(self, seconds: float | None) -> None:
        self._set_timer(None if self._transport is None else seconds, self._expired)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._set_timer(_LINGER, self.abort)

    def linger(self) -> None:
        transport = self._transport
        if transport is None:
            return
        self.resume_reading()
        if transport.can_write_eof() and not transport.is_closing():
            transport.write_eof()
            self._set_timer(_LINGER, self.abort)
        else:
            self.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def leave(self) -> None:
        """Say that we go away, and do not wait for an answer."""
        if self._end is not None:
            self._end.close_nowait(GOING_AWAY, "")
        if self._transport is not None:
            self._transport.close()

    def _expired(self) -> None:
        if self._end is not None:
            self._end.expired()

    def _set_timer(self, seconds: float | None, action: t.Callable[[], None] | None = None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is not None and action is not None:
            self._timer = self._loop.call_later(seconds, action)
