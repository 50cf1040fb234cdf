"""The origin's side of a websocket: dial, shake hands, then exchange messages."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import os

from rolo.errors import (
    BadRequest,
    BadResponse,
    BodyInterrupted,
    ConnectTimeout,
    IdleTimeout,
    ResponseHeadTimeout,
    UnsendableRequest,
    UpstreamError,
)
from rolo.net.websocket import WebSocketPeer
from rolo.upstream.dial import Dialer
from rolo.upstream.request import MAX_INTERIMS
from rolo.upstream.settings import (
    DEFAULT_WEBSOCKET_SETTINGS,
    PoolLimits,
    Timeouts,
    WebSocketSettings,
)
from rolo.upstream.websocket_connection import Place, UpstreamConnection
from rolo.websocket.errors import WebSocketError
from rolo.wire.fields import RawHeaders, values_of
from rolo.wire.handshake import accept_value, extensions
from rolo.wire.hop_by_hop import response_headers
from rolo.wire.http1 import (
    BodyDecoder,
    HeadLimits,
    ParsedResponse,
    body_decoder,
    encode_request_head,
    list_items,
    parse_response_head,
)
from rolo.wire.permessage_deflate import OFFER, Deflate, accepted_by_server
from rolo.wire.reserved_fields import request_fields
from rolo.wire.target import Origin

# Made anew on each leg (RFC 6455 section 4), or of one leg only.
_HANDSHAKE_FIELDS = frozenset(
    b"sec-websocket-key sec-websocket-accept sec-websocket-version sec-websocket-extensions "
    b"sec-websocket-protocol te content-length".split()
)


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

    def __init__(self, end: WebSocketPeer, subprotocol: str | None, headers: RawHeaders) -> None:
        self.end = end
        self.subprotocol = subprotocol
        self.headers = headers
        self.receive = end.receive
        self.send = end.send
        self.close = end.close

    def abort(self) -> None:
        """Drop the connection."""
        self.end.abort()


async def open_websocket(
    dialer: Dialer,
    handshake: Handshake,
    place: Place,
    *,
    timeouts: Timeouts,
    limits: PoolLimits,
    settings: WebSocketSettings = DEFAULT_WEBSOCKET_SETTINGS,
) -> UpstreamWebSocket:
    """Dial and shake hands. To cancel this call closes the connection.

    :raises HandshakeRefused: the origin answered with something else than 101
    :raises BadRequest: the handshake cannot be written as one well-formed head
    :raises UnsendableRequest: it holds fields that only we write
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
            exc.retry_safe = not connection.heard  # a handshake is a GET
        raise
    fields = [f for f in response_headers(parsed.headers) if f[0].lower() not in _HANDSHAKE_FIELDS]
    return UpstreamWebSocket(end, subprotocol, fields)


def without_handshake_fields(headers: RawHeaders) -> RawHeaders:
    """Return ``headers`` without those that each leg's handshake makes for itself."""
    return [field for field in headers if field[0].lower() not in _HANDSHAKE_FIELDS]


def _encode(handshake: Handshake, key: bytes, settings: WebSocketSettings) -> bytes:
    try:
        passed = request_fields(without_handshake_fields(handshake.headers), chunked=False)
    except ValueError as exc:
        raise UnsendableRequest(str(exc), target=str(handshake.origin)) from None
    fields = [
        *passed,
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
    """Return the final head; so many interim ones are skipped.

    :raises BadResponse: there are more, or one is malformed
    """
    bounds = HeadLimits(max_head=limits.max_head, max_fields=limits.max_fields)
    try:
        async with asyncio.timeout(limit):
            for _ in range(MAX_INTERIMS + 1):
                block = await connection.read_head(limits.max_head)
                parsed = parse_response_head(block, "GET", bounds)
                if parsed.status >= 200 or parsed.status == 101:
                    return parsed
            raise BadResponse("too many interim answers")
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
    headers = parsed.headers
    for name, option in (b"upgrade", b"websocket"), (b"connection", b"upgrade"):
        if option not in list_items(b",".join(values_of(headers, name))):
            raise BadResponse("101 to something else than a websocket")
    if values_of(headers, b"sec-websocket-accept") != [accept_value(key)]:
        raise BadResponse("101 without the right Sec-WebSocket-Accept")
    chosen = b",".join(values_of(headers, b"sec-websocket-protocol")).decode("latin-1").strip()
    if chosen and chosen not in handshake.subprotocols:
        raise BadResponse(f"101 with the subprotocol {chosen!r}, which was not offered")
    extended = extensions(headers)
    if extended and not settings.compression:
        raise BadResponse("101 with an extension that was not offered")
    try:
        parameters = accepted_by_server(extended)
    except ValueError as exc:
        raise BadResponse(f"101 with an {exc}") from exc
    deflate = Deflate(parameters, client=True) if parameters is not None else None
    return chosen or None, deflate
