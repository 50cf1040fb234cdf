"""Opening a websocket to an origin: a request that asks for another protocol, and its 101."""

from __future__ import annotations

import base64
import dataclasses
import os

from rolo.bridge.lazy_response import LazyResponse, UpstreamAnswer
from rolo.bridge.observed import Progress
from rolo.errors import BadResponse, BodyInterrupted, UpstreamError
from rolo.net.websocket import WebSocketPeer
from rolo.response import Response
from rolo.upstream.observed import send_observed
from rolo.upstream.request import RequestWriter, UpstreamRequest
from rolo.upstream.settings import DEFAULT_WEBSOCKET_SETTINGS, WebSocketSettings
from rolo.upstream.switched import SwitchedConnection
from rolo.upstream.transport import LoopTransport
from rolo.websocket.errors import WebSocketError
from rolo.wire.fields import RawHeaders
from rolo.wire.handshake import accept_value, extensions
from rolo.wire.hop_by_hop import response_headers
from rolo.wire.http1 import list_items
from rolo.wire.permessage_deflate import OFFER, Deflate, accepted_by_server
from rolo.wire.received import received
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
    writer: RequestWriter | None = None
    """As of an :class:`UpstreamRequest`."""


class HandshakeRefused(WebSocketError):
    """The origin answered the handshake with an ordinary response.

    :ivar answer: the response, hop-by-hop fields apart; its body may still be on its way.
        Whoever catches this closes the body, or hands it on as :attr:`response`.
    """

    def __init__(self, answer: UpstreamAnswer) -> None:
        super().__init__(f"the origin refused the websocket with status {answer.status}")
        self.answer = answer

    @property
    def status(self) -> int:
        """The status of the response."""
        return self.answer.status

    @property
    def headers(self) -> RawHeaders:
        """The end-to-end fields of the response."""
        return self.answer.headers

    @property
    def response(self) -> Response:
        """A new response with the answer in it, for the client or to be read."""
        return LazyResponse(self.answer)


class Refusal:
    """The body of a refusal, read whole for somebody who looks at it, at most.

    :param limit: bytes
    """

    def __init__(self, answer: UpstreamAnswer, limit: int) -> None:
        self._answer = answer
        self._limit = limit
        self._pieces: list[bytes] = []
        self._size = 0

    def add(self, piece: bytes) -> None:
        """:raises BodyInterrupted: it is too long"""
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size > self._limit:
            raise BodyInterrupted(f"refusal of the handshake with over {self._limit} bytes")

    def whole(self) -> UpstreamAnswer:
        """Return the answer, with all of it."""
        answer = self._answer
        answer.headers = response_headers(answer.headers)
        answer.body = [b"".join(self._pieces)]
        return answer


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
    transport: LoopTransport,
    handshake: Handshake,
    settings: WebSocketSettings = DEFAULT_WEBSOCKET_SETTINGS,
    progress: Progress | None = None,
) -> UpstreamWebSocket | UpstreamAnswer:
    """Shake hands. To cancel this call closes the connection.

    :param progress: of the exchange for which it is opened, if somebody looks on

    :return: the answer of the origin if it is none that opens a websocket, as of any request
    :raises BadResponse: a 101 that does not fit what was asked
    :raises UpstreamError: and others, as :meth:`LoopTransport.send`
    """
    request, key = handshake_request(handshake, settings)
    answer = await send_observed(transport, request, progress)
    if answer.status != 101:
        return answer
    switched: SwitchedConnection = answer.body
    try:
        subprotocol, deflate = agreed(answer.headers, key, handshake, settings)
        end = transport.websockets.begin(switched, settings, deflate)
    except UpstreamError as exc:
        switched.close()
        exc.target = str(handshake.origin)
        raise
    return UpstreamWebSocket(end, subprotocol, passed_on_fields(answer.headers))


def without_handshake_fields(headers: RawHeaders) -> RawHeaders:
    """Return ``headers`` without those that each leg's handshake makes for itself."""
    return [field for field in headers if field[0].lower() not in _HANDSHAKE_FIELDS]


def passed_on_fields(headers: RawHeaders) -> RawHeaders:
    """Return the fields of a 101 that go on to who asked for the websocket."""
    return without_handshake_fields(response_headers(headers))


def handshake_request(
    handshake: Handshake, settings: WebSocketSettings
) -> tuple[UpstreamRequest, bytes]:
    """Return what goes on the wire for ``handshake``, and the key in it, which is a new one."""
    key = base64.b64encode(os.urandom(16))
    fields = [
        *without_handshake_fields(handshake.headers),
        (b"Sec-WebSocket-Version", b"13"),
        (b"Sec-WebSocket-Key", key),
    ]
    if handshake.subprotocols:
        offered = ", ".join(handshake.subprotocols).encode("latin-1")
        fields.append((b"Sec-WebSocket-Protocol", offered))
    if settings.compression:
        fields.append((b"Sec-WebSocket-Extensions", OFFER.encode("ascii")))
    origin, target = handshake.origin, handshake.target
    request = UpstreamRequest(
        origin, "GET", target, fields, upgrade=b"websocket", writer=handshake.writer
    )
    return request, key


def agreed(
    headers: RawHeaders, key: bytes, handshake: Handshake, settings: WebSocketSettings
) -> tuple[str | None, Deflate | None]:
    """Check the fields of a 101 (RFC 6455 section 4.1); return the subprotocol and the
    compression.

    :param key: what we sent
    :raises BadResponse: it is not the answer to what we asked
    """
    headers = received(headers)
    fields = headers.special
    for name, option in (b"upgrade", b"websocket"), (b"connection", b"upgrade"):
        if option not in list_items(fields.get(name, b"")):
            raise BadResponse("101 to something else than a websocket")
    if fields.get(b"sec-websocket-accept") != accept_value(key):
        raise BadResponse("101 without the right Sec-WebSocket-Accept")
    chosen = fields.get(b"sec-websocket-protocol", b"").decode("latin-1").strip()
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
