"""The socket of an open websocket to an origin, and all of them on one loop."""

from __future__ import annotations

import asyncio
import contextlib
import typing as t

from rolo.errors import UpstreamClosed
from rolo.net.connection import BaseConnection
from rolo.net.ledger import Ledger
from rolo.net.read_buffer import read_buffer
from rolo.net.websocket import WebSocketPeer
from rolo.upstream.settings import WebSocketSettings
from rolo.upstream.switched import SwitchedConnection
from rolo.upstream.tls import rest_of
from rolo.wire.close_codes import GOING_AWAY
from rolo.wire.permessage_deflate import Deflate

READ_SIZE = 256 * 1024
"""Bytes read at once, at most: a message of 64 KiB, headers and all, should come at once."""
# Seconds for an origin to take what is unsent when we go away.
_LEAVE_TIMEOUT = 0.5


class OpenWebSockets:
    """The websockets to origins of one loop that are open, and what they share."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.read_buffer = read_buffer(READ_SIZE)
        self._connections: set[WebSocketConnection] = set()
        self._none = asyncio.Event()
        self._none.set()

    def __len__(self) -> int:
        return len(self._connections)

    def begin(
        self, switched: SwitchedConnection, settings: WebSocketSettings, deflate: Deflate | None
    ) -> WebSocketPeer:
        """From here on there are frames on ``switched``.

        :raises UpstreamClosed: it is lost already, with nothing more to read
        """
        connection = WebSocketConnection(self, settings)
        peer = connection.peer = WebSocketPeer(
            connection,
            client=True,
            max_message=settings.max_message,
            buffer=settings.buffer,
            close_timeout=settings.close_timeout,
            ledger=Ledger.of(self.loop),
            max_held=settings.max_memory,
            deflate=deflate,
        )
        early = switched.take_over(connection)
        if switched.over and not early:
            connection.abort()
            raise UpstreamClosed("the origin closed right after the handshake")
        connection.resume_reading()
        if early:
            peer.feed(early)
        if switched.over:
            peer.lost()
        return peer

    def add(self, connection: WebSocketConnection) -> None:
        """A socket is there."""
        self._connections.add(connection)
        self._none.clear()

    def discard(self, connection: WebSocketConnection) -> None:
        """It is gone."""
        self._connections.discard(connection)
        if not self._connections:
            self._none.set()

    async def close(self) -> None:
        """Close all with 1001, and drop those that do not take it."""
        for connection in list(self._connections):
            connection.leave()
        await self._wait_until_gone()
        for connection in list(self._connections):
            connection.abort()
        await self._wait_until_gone()

    async def _wait_until_gone(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LEAVE_TIMEOUT):
                await self._none.wait()


class WebSocketConnection(BaseConnection):
    """The connection below a :class:`~rolo.net.websocket.WebSocketPeer` that is our client."""

    __slots__ = ("_high", "_open", "peer")

    peer: WebSocketPeer

    def __init__(self, websockets: OpenWebSockets, settings: WebSocketSettings) -> None:
        super().__init__(websockets.loop, websockets.read_buffer)
        self._high = settings.buffer
        self._open = websockets

    # --- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        t.cast(asyncio.Transport, transport).set_write_buffer_limits(high=self._high)
        self._open.add(self)

    def buffer_updated(self, nbytes: int) -> None:
        self.peer.feed(self._view[:nbytes])

    def eof_received(self) -> bool:
        self._lose()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose()
        self._open.discard(self)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self.peer.paused()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.peer.resumed()

    def lost_error(self) -> UpstreamClosed:
        return UpstreamClosed("the origin left")

    def _lose(self) -> None:
        if self._transport is not None:
            pieces, _ = rest_of(self._transport, None)
            for piece in pieces:
                self.peer.feed(piece)
        self.peer.lost()

    # --- the end

    def leave(self) -> None:
        """Say that we go away, and do not wait for an answer."""
        self.peer.close_nowait(GOING_AWAY, "")
        self.close()

    def expired(self) -> None:
        if self.closing:
            super().expired()
        else:
            self.peer.expired()
