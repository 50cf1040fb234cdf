"""Websockets to anywhere, in sync code: for handlers that drive both legs by hand, and for
scripts and tests."""

from __future__ import annotations

import contextlib
import dataclasses
import time
import typing as t
import urllib.parse

from werkzeug.datastructures import Headers

from rolo.bridge.lazy_response import UpstreamAnswer
from rolo.bridge.websocket import PortalWebSocketAdapter
from rolo.errors import IdleTimeout
from rolo.portal.portal import Portal, current_portal
from rolo.upstream.blocking_transport import SyncTransport
from rolo.upstream.blocking_websocket import BlockingWebSocket, open_blocking_websocket
from rolo.upstream.settings import DEFAULT_WEBSOCKET_SETTINGS, Timeouts, Tls, WebSocketSettings
from rolo.upstream.websocket import Handshake, HandshakeRefused, Refusal, UpstreamWebSocket
from rolo.upstream.websocket_client import WebSocketOpener
from rolo.websocket.adapter import WebSocketAdapter
from rolo.websocket.request import WebSocket, WebSocketRequest
from rolo.wire.fields import RawHeaders
from rolo.wire.target import parse_upstream

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
    blocks the handler only; elsewhere it is a blocking socket, on which one thread may receive
    while another sends.

    :param url: of scheme ``ws``, ``wss``, ``http`` or ``https``
    :param subprotocols: to offer
    :param headers: fields to send; Host is the URL's unless given
    :param timeouts: ``connect`` and ``response`` bound the handshake
    :param settings: ``max_message``, ``close_timeout``, ``compression`` and ``max_refusal``
        matter here
    :raises HandshakeRefused: the server answered with an ordinary response; its body is all
        here
    :raises UpstreamError: there is no answer; the subclass says why
    :raises ValueError: not a URL to connect to; says why
    """
    fields = headers.items() if isinstance(headers, t.Mapping) else headers
    pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]
    handshake = _handshake(url, pairs, list(subprotocols))
    timeouts, tls = timeouts or Timeouts(), tls or Tls()
    portal = current_portal()
    if portal is None:
        blocking = _open_blocking(handshake, timeouts, tls, settings)
        return ClientWebSocket(blocking, blocking.subprotocol, blocking.headers)
    upstream = portal.call(_open(portal, handshake, timeouts, tls, settings))
    adapter = _Adapter(upstream, portal)
    return ClientWebSocket(adapter, upstream.subprotocol, upstream.headers)


class _Adapter(PortalWebSocketAdapter):
    """What an upstream websocket has in common with a client's is enough here."""

    def __init__(self, upstream: t.Any, portal: Portal) -> None:
        super().__init__(upstream, portal)


async def _open(
    portal: Portal,
    handshake: Handshake,
    timeouts: Timeouts,
    tls: Tls,
    settings: WebSocketSettings,
) -> UpstreamWebSocket:
    opener = portal.loop_scope.resource(WebSocketOpener, WebSocketOpener)
    return await opener.open(handshake, timeouts, tls, settings)


def _open_blocking(
    handshake: Handshake, timeouts: Timeouts, tls: Tls, settings: WebSocketSettings
) -> BlockingWebSocket:
    # A refusal that nobody has asked for to be streamed comes as fast as its head.
    timeouts = dataclasses.replace(timeouts, idle=timeouts.response)
    with SyncTransport(timeouts=timeouts, tls=tls) as transport:
        opened = open_blocking_websocket(transport, handshake, settings)
        if isinstance(opened, BlockingWebSocket):
            return opened
        raise HandshakeRefused(_read(opened, timeouts.response, settings.max_refusal))


def _read(answer: UpstreamAnswer, seconds: float | None, limit: int) -> UpstreamAnswer:
    refusal, began = Refusal(answer, limit), time.monotonic()
    with contextlib.closing(answer.body):
        for piece in answer.body:
            refusal.add(piece)
            if seconds is not None and time.monotonic() - began > seconds:
                raise IdleTimeout(f"refusal of the handshake not over within {seconds:g} s")
    return refusal.whole()


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
