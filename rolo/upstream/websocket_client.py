"""Opening websockets to origins, for whoever relays them and for handlers that drive them."""

from __future__ import annotations

import asyncio
import contextlib
import weakref

from rolo.portal.portal import LoopScope, Portal
from rolo.upstream.dial import Dialer, Resolver
from rolo.upstream.settings import (
    DEFAULT_WEBSOCKET_SETTINGS,
    PoolLimits,
    Timeouts,
    Tls,
    WebSocketSettings,
)
from rolo.upstream.websocket import Handshake, UpstreamWebSocket, open_websocket
from rolo.upstream.websocket_connection import Place, UpstreamConnection

# Seconds for an origin to take what is unsent when we go away.
_LEAVE_TIMEOUT = 0.5
# A TLS context holds some hundred KiB of trusted roots.
_MAX_DIALERS = 16


class WebSocketClient:
    """Opens websockets on the event loops of bridges.

    :param timeouts: ``connect`` and ``response`` bound the handshake; an open websocket is
        bounded by ``settings`` only
    :param limits: of the head that answers the handshake
    :param tls: how ``https`` and ``wss`` origins are verified
    """

    def __init__(
        self,
        *,
        timeouts: Timeouts | None = None,
        limits: PoolLimits | None = None,
        tls: Tls | None = None,
        settings: WebSocketSettings = DEFAULT_WEBSOCKET_SETTINGS,
    ) -> None:
        self.timeouts = timeouts or Timeouts()
        self.limits = limits or PoolLimits()
        self.tls = tls or Tls()
        self.settings = settings
        self._loop_scopes: weakref.WeakSet[LoopScope] = weakref.WeakSet()

    def open(
        self,
        handshake: Handshake,
        portal: Portal,
        *,
        timeouts: Timeouts | None = None,
        tls: Tls | None = None,
        settings: WebSocketSettings | None = None,
    ) -> UpstreamWebSocket:
        """Dial and shake hands; the websocket is the caller's to close.

        :param timeouts: for this one, as ``tls`` and ``settings``; ``None`` is the client's
        :raises HandshakeRefused: the origin answered with an ordinary response
        :raises UpstreamError: there is no answer; the subclass says why
        :raises BadRequest: the handshake cannot be written as one well-formed head
        :raises ClientDisconnected: the client left while we waited
        """
        opening = self._open(
            handshake,
            portal.loop_scope,
            timeouts or self.timeouts,
            tls or self.tls,
            settings or self.settings,
        )
        return portal.call(opening)

    def close(self) -> None:
        """Drop all websockets that are open."""
        for loop_scope in list(self._loop_scopes):
            loop_scope.release(self)

    async def _open(
        self,
        handshake: Handshake,
        loop_scope: LoopScope,
        timeouts: Timeouts,
        tls: Tls,
        settings: WebSocketSettings,
    ) -> UpstreamWebSocket:
        place = loop_scope.resource(self, lambda: self._new_place(loop_scope))
        return await open_websocket(
            place.dialer(tls),
            handshake,
            place,
            timeouts=timeouts,
            limits=self.limits,
            settings=settings,
        )

    def _new_place(self, loop_scope: LoopScope) -> _Place:
        self._loop_scopes.add(loop_scope)
        return _Place()


class _Place(Place):
    """What a client has on one loop."""

    def __init__(self) -> None:
        super().__init__()
        self._resolver = Resolver()
        self._dialers: dict[Tls, Dialer] = {}
        self.live: _Live = _Live()

    def dialer(self, tls: Tls) -> Dialer:
        """Return what dials with ``tls``. It has nothing to close, so the oldest may go."""
        dialer = self._dialers.get(tls)
        if dialer is None:
            if len(self._dialers) >= _MAX_DIALERS:
                del self._dialers[next(iter(self._dialers))]
            dialer = self._dialers[tls] = Dialer(tls, self._resolver)
        return dialer

    async def close(self) -> None:
        for connection in list(self.live):
            connection.leave()
        await self._wait_until_gone(_LEAVE_TIMEOUT)
        for connection in list(self.live):
            connection.abort()
        await self._wait_until_gone(_LEAVE_TIMEOUT)
        self._resolver.close()

    async def _wait_until_gone(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.live.empty.wait()


class _Live(set[UpstreamConnection]):
    """Open connections; ``empty`` is set while there are none."""

    def __init__(self) -> None:
        super().__init__()
        self.empty = asyncio.Event()
        self.empty.set()

    def add(self, connection: UpstreamConnection) -> None:
        super().add(connection)
        self.empty.clear()

    def discard(self, connection: object) -> None:
        super().discard(connection)
        if not self:
            self.empty.set()
