"""Websockets of handlers that drive both legs: each with trust and timeouts of its own."""

from __future__ import annotations

import asyncio

from rolo.bridge.lazy_response import UpstreamAnswer
from rolo.errors import IdleTimeout
from rolo.upstream.dial import Dialer, Resolver
from rolo.upstream.settings import Timeouts, Tls, WebSocketSettings
from rolo.upstream.transport import LoopTransport
from rolo.upstream.websocket import (
    Handshake,
    HandshakeRefused,
    Refusal,
    UpstreamWebSocket,
    open_websocket,
)
from rolo.upstream.websocket_connection import OpenWebSockets

# A TLS context holds some hundred KiB of trusted roots.
_MAX_DIALERS = 16


class WebSocketOpener:
    """Opens websockets on one loop. Nothing of the way to one origin is kept for the next."""

    def __init__(self) -> None:
        self._resolver = Resolver()
        self._dialers: dict[Tls, Dialer] = {}
        self._websockets = OpenWebSockets()

    async def open(
        self, handshake: Handshake, timeouts: Timeouts, tls: Tls, settings: WebSocketSettings
    ) -> UpstreamWebSocket:
        """Dial and shake hands; the websocket is the caller's to close.

        :raises HandshakeRefused: the origin answered with an ordinary response, whose body is
            all here
        :raises UpstreamError: as :meth:`LoopTransport.send`
        :raises BodyInterrupted: the body of a refusal is longer than ``max_refusal``
        """
        transport = LoopTransport(
            timeouts=timeouts, dialer=self._dialer(tls), websockets=self._websockets
        )
        try:
            opened = await open_websocket(transport, handshake, settings)
            if isinstance(opened, UpstreamWebSocket):
                return opened
            raise HandshakeRefused(await _read(opened, timeouts.response, settings.max_refusal))
        finally:
            await transport.close()

    async def close(self) -> None:
        """Close all with 1001."""
        await self._websockets.close()
        self._resolver.close()

    def _dialer(self, tls: Tls) -> Dialer:
        """Return what dials with ``tls``. It has nothing to close, so the oldest may go."""
        dialer = self._dialers.get(tls)
        if dialer is None:
            if len(self._dialers) >= _MAX_DIALERS:
                del self._dialers[next(iter(self._dialers))]
            dialer = self._dialers[tls] = Dialer(tls, self._resolver)
        return dialer


async def _read(answer: UpstreamAnswer, seconds: float | None, limit: int) -> UpstreamAnswer:
    """Wait for the body of a refusal, which nobody has asked for to be streamed."""
    refusal = Refusal(answer, limit)
    try:
        async with asyncio.timeout(seconds):
            async for piece in answer.body:
                refusal.add(piece)
    except TimeoutError as exc:
        raise IdleTimeout(f"refusal of the handshake not over within {seconds:g} s") from exc
    return refusal.whole()
