"""Websockets to anywhere, in sync code: for handlers that drive both legs by hand, and for
scripts and tests."""

from __future__ import annotations

import time
import typing as t
import urllib.parse

from werkzeug.datastructures import Headers

from rolo.bridge.websocket import PortalWebSocketAdapter
from rolo.errors import BadResponse, ResponseHeadTimeout, UpstreamClosed
from rolo.portal.portal import Portal, current_portal
from rolo.upstream.blocking_dial import BlockingDialer
from rolo.upstream.settings import DEFAULT_WEBSOCKET_SETTINGS, Timeouts, Tls, WebSocketSettings
from rolo.upstream.websocket import Handshake, HandshakeRefused, without_handshake_fields
from rolo.upstream.websocket_client import WebSocketClient
from rolo.websocket.adapter import BytesMessage, Message, TextMessage, WebSocketAdapter
from rolo.websocket.errors import WebSocketDisconnectedError
from rolo.websocket.request import WebSocket, WebSocketRequest
from rolo.wire.close_codes import LOST, NO_CODE
from rolo.wire.fields import RawHeaders
from rolo.wire.hop_by_hop import response_headers
from rolo.wire.target import parse_upstream

if t.TYPE_CHECKING:
    import websocket

_PATH_SAFE = "/:@!$&'()*+,;=~%"


class ClientWebSocket(WebSocket):
    """A websocket of which we are the client. Otherwise like any
    :class:`~rolo.websocket.WebSocket`, but that ``request`` is ``None``.

    :ivar subprotocol: what the server chose, ``None`` for none
    :ivar headers: the end-to-end fields of its acceptance
    """

    def __init__(
        self, socket: WebSocketAdapter, subprotocol: str | None, headers: RawHeaders
    ) -> None:
        super().__init__(t.cast(WebSocketRequest, None), socket)
        self.subprotocol = subprotocol
        self.headers = Headers([(n.decode("latin-1"), v.decode("latin-1")) for n, v in headers])


def connect_websocket(
    url: str,
    *,
    subprotocols: t.Sequence[str] = (),
    headers: t.Mapping[str, str] | t.Iterable[tuple[str, str]] = (),
    timeouts: Timeouts | None = None,
    tls: Tls | None = None,
    settings: WebSocketSettings = DEFAULT_WEBSOCKET_SETTINGS,
) -> ClientWebSocket:
    """Open a websocket. It is the caller's to close; it is a context manager, too.

    In a handler that a bridge runs it lives on the bridge's event loop, and waiting for it
    blocks the handler only; elsewhere it is a blocking socket.

    :param url: of scheme ``ws``, ``wss``, ``http`` or ``https``
    :param subprotocols: to offer
    :param headers: fields to send; Host is the URL's unless given
    :param timeouts: ``connect`` and ``response`` bound the handshake
    :param settings: ``max_message`` (not for blocking sockets), ``close_timeout`` and
        ``compression`` matter here
    :raises HandshakeRefused: the server answered with an ordinary response
    :raises UpstreamError: there is no answer; the subclass says why
    :raises ValueError: not a URL to connect to; says why
    """
    fields = headers.items() if isinstance(headers, t.Mapping) else headers
    pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]
    handshake = _handshake(url, pairs, list(subprotocols))
    timeouts, tls = timeouts or Timeouts(), tls or Tls()
    portal = current_portal()
    if portal is None:
        return _connect_blocking(handshake, timeouts, tls, settings)
    upstream = _CLIENT.open(handshake, portal, timeouts=timeouts, tls=tls, settings=settings)
    adapter = _Adapter(upstream, portal)
    return ClientWebSocket(adapter, upstream.subprotocol, upstream.headers)


class _Adapter(PortalWebSocketAdapter):
    """What an upstream websocket has in common with a client's is enough here."""

    def __init__(self, upstream: t.Any, portal: Portal) -> None:
        super().__init__(upstream, portal)


# Of every websocket opened here on a loop, each with settings of its own.
_CLIENT = WebSocketClient()


def _handshake(url: str, headers: RawHeaders, subprotocols: list[str]) -> Handshake:
    scheme, separator, rest = url.partition("://")
    authority = rest
    for mark in "/?#":
        authority = authority.partition(mark)[0]
    origin = parse_upstream(f"{scheme}{separator}{authority}").origin
    parts = urllib.parse.urlsplit(rest.removeprefix(authority))
    path = urllib.parse.quote(parts.path or "/", safe=_PATH_SAFE)
    target = f"{path}?{parts.query}" if parts.query else path
    if all(name.lower() != b"host" for name, _ in headers):
        headers = [(b"Host", origin.authority_bytes), *headers]
    return Handshake(origin, target.encode("ascii", "replace"), headers, subprotocols)


# --- outside a bridge -------------------------------------------------------------------


def _connect_blocking(
    handshake: Handshake, timeouts: Timeouts, tls: Tls, settings: WebSocketSettings
) -> ClientWebSocket:
    import websocket

    origin = handshake.origin
    opened: t.Any = websocket.WebSocket(
        enable_multithread=True, skip_utf8_validation=False, fire_cont_frame=False
    )
    sock = BlockingDialer(tls).dial(origin, timeouts.connect)
    try:
        sock.settimeout(timeouts.response)
        opened.connect(
            f"{'wss' if origin.tls else 'ws'}://{origin.authority}{handshake.target.decode()}",
            socket=sock,
            header=[
                f"{name.decode('latin-1')}: {value.decode('latin-1')}"
                for name, value in without_handshake_fields(handshake.headers)
                if name.lower() != b"host"
            ],
            host=_host(handshake.headers),
            subprotocols=handshake.subprotocols or None,
            suppress_origin=True,
            redirect_limit=0,
        )
        if opened.handshake_response.status != 101:
            # websocket-client 1.9.0 takes it for an acceptance, later versions raise.
            raise websocket.WebSocketException("a redirect")
        fields = without_handshake_fields(_fields(opened.handshake_response.headers))
    except websocket.WebSocketBadStatusException as exc:
        sock.close()
        raise _refused(exc) from exc
    except (websocket.WebSocketException, OSError) as exc:
        sock.close()
        if opened.handshake_response is not None:
            # A redirect, which we do not follow.
            answer = opened.handshake_response
            raise HandshakeRefused(answer.status, b"", _fields(answer.headers), b"") from None
        if isinstance(exc, websocket.WebSocketTimeoutException):
            message = f"no answer to the handshake within {timeouts.response:g} s"
            raise ResponseHeadTimeout(message, target=str(origin)) from exc
        if isinstance(exc, websocket.WebSocketConnectionClosedException | OSError):
            message = "the server closed before it answered the handshake"
            raise UpstreamClosed(message, target=str(origin)) from exc
        raise BadResponse(f"no websocket: {exc}", target=str(origin)) from exc
    return ClientWebSocket(_Blocking(opened, settings.close_timeout), opened.subprotocol, fields)


def _host(headers: RawHeaders) -> str:
    return next(value for name, value in headers if name.lower() == b"host").decode("latin-1")


def _refused(exc: websocket.WebSocketBadStatusException) -> HandshakeRefused:
    body = bytes(exc.resp_body or b"")
    return HandshakeRefused(exc.status_code, b"", _fields(exc.resp_headers or {}), body)


def _fields(headers: t.Mapping[str, t.Any]) -> RawHeaders:
    """Return the end-to-end fields of an answer."""
    return response_headers(
        [(n.encode("latin-1"), str(v).encode("latin-1")) for n, v in headers.items()]
    )


class _Blocking(WebSocketAdapter):
    """websocket-client's websocket. One thread may receive while another sends."""

    def __init__(self, opened: t.Any, close_timeout: float) -> None:
        self._websocket = opened
        self._close_timeout = close_timeout
        self._last_received_at: float | None = None

    @property
    def last_received_at(self) -> float | None:
        return self._last_received_at

    def receive(self, timeout: float | None = None) -> Message:
        import websocket

        self._websocket.settimeout(timeout)
        try:
            opcode, data = self._websocket.recv_data()
        except websocket.WebSocketTimeoutException:
            raise TimeoutError("no websocket message in time") from None
        except (websocket.WebSocketException, OSError) as exc:
            self._websocket.shutdown()
            raise WebSocketDisconnectedError(LOST, "") from exc
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            self._websocket.shutdown()
            code = int.from_bytes(data[:2], "big") if data else NO_CODE
            raise WebSocketDisconnectedError(code, data[2:].decode("utf-8", "replace"))
        self._last_received_at = time.time()
        if opcode == websocket.ABNF.OPCODE_TEXT:
            return TextMessage(data.decode("utf-8"))
        return BytesMessage(bytes(data))

    def send(self, event: Message, timeout: float | None = None) -> None:
        import websocket

        self._websocket.settimeout(timeout)
        try:
            if isinstance(event.data, str):
                self._websocket.send(event.data)
            else:
                self._websocket.send_binary(event.data)
        except websocket.WebSocketTimeoutException:
            raise TimeoutError("not sent in time") from None
        except (websocket.WebSocketException, OSError) as exc:
            raise WebSocketDisconnectedError(LOST, "") from exc

    def close(
        self, code: int = 1001, reason: str | None = None, timeout: float | None = None
    ) -> None:
        seconds = self._close_timeout if timeout is None else timeout
        self._websocket.close(code, (reason or "").encode(), timeout=int(seconds) or 1)
