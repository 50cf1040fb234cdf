"""The socket of a websocket to an origin: bytes, flow control, and its end."""

from __future__ import annotations

import asyncio
import typing as t

from rolo.errors import BadResponse, BodyInterrupted, UpstreamClosed
from rolo.net.connection import BaseConnection
from rolo.net.ledger import Ledger
from rolo.net.read_buffer import read_buffer
from rolo.net.websocket import WebSocketPeer
from rolo.upstream.settings import WebSocketSettings
from rolo.upstream.tls import rest_of
from rolo.wire.close_codes import GOING_AWAY
from rolo.wire.http1 import find_head_end
from rolo.wire.permessage_deflate import Deflate

_NO_ANSWER = "the origin closed before it answered the handshake"
READ_SIZE = 256 * 1024
"""Bytes read at once, at most: a message of 64 KiB, headers and all, should come at once."""


class Place:
    """What the websockets of one loop share."""

    def __init__(self) -> None:
        self.live: set[UpstreamConnection] = set()
        """All connections that exist."""
        self.read_buffer = read_buffer(READ_SIZE)


class UpstreamConnection(BaseConnection):
    """The socket below: read by hand during the handshake, by a websocket's end after it."""

    __slots__ = ("_broken", "_early", "_end", "_ended", "_high", "_live", "_waiter", "heard")

    def __init__(self, loop: asyncio.AbstractEventLoop, high: int, place: Place) -> None:
        super().__init__(loop, place.read_buffer)
        self._high = high
        self._live = place.live
        self._early = b""
        self._ended = False
        self._broken: Exception | None = None
        self.heard = False
        """A byte of an answer to the handshake has come."""
        self._waiter: asyncio.Future[None] | None = None
        self._end: WebSocketPeer | None = None

    # --- the handshake --------------------------------------------------------------------

    async def read(self) -> bytes:
        """Return what has come, ``b""`` at the end of the connection.

        :raises BodyInterrupted: it broke, after what came
        """
        while not self._early and not self._ended:
            self.resume_reading()
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        early, self._early = self._early, b""
        if not early and self._broken is not None:
            raise BodyInterrupted("the connection broke") from self._broken
        return early

    async def read_head(self, limit: int) -> bytes:
        """Return one head; what follows it is kept.

        :raises UpstreamClosed: the connection ended
        :raises BadResponse: it is larger than ``limit``
        """
        head, seen = bytearray(), 0
        while (end := find_head_end(head, seen)) < 0:
            seen = len(head)
            if seen > limit:
                raise BadResponse(f"response head over {limit} bytes")
            try:
                data = await self.read()
            except BodyInterrupted as exc:
                raise UpstreamClosed(_NO_ANSWER) from exc.__cause__
            if not data:
                raise UpstreamClosed(_NO_ANSWER)
            head += data
        self._early = bytes(head[end:])
        return bytes(head[:end])

    def open(self, settings: WebSocketSettings, deflate: Deflate | None) -> WebSocketPeer:
        """From here on there are frames.

        :raises UpstreamClosed: the connection is lost already, with nothing more to read
        """
        if self._ended and not self._early:
            raise UpstreamClosed("the origin closed right after the handshake")
        end = WebSocketPeer(
            self,
            client=True,
            max_message=settings.max_message,
            buffer=settings.buffer,
            close_timeout=settings.close_timeout,
            ledger=Ledger.of(self._loop),
            max_held=settings.max_memory,
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
        super().connection_made(transport)
        t.cast(asyncio.Transport, transport).set_write_buffer_limits(high=self._high)
        self._live.add(self)

    def buffer_updated(self, nbytes: int) -> None:
        self._take(self._view[:nbytes])

    def _take(self, data: bytes | memoryview) -> None:
        if self._end is not None:
            self._end.feed(data)
            return
        self.heard = True
        self._early += data
        if len(self._early) > self._high:
            self.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        self._lose(None)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose(exc)
        self._live.discard(self)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._end is not None:
            self._end.paused()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._end is not None:
            self._end.resumed()

    def lost_error(self) -> UpstreamClosed:
        return UpstreamClosed("the origin left")

    def _lose(self, cause: Exception | None) -> None:
        if not self._ended and self._transport is not None:
            pieces, cause = rest_of(self._transport, cause)
            for piece in pieces:
                self._take(piece)
            self._broken = cause
        self._ended = True
        if self._end is not None:
            self._end.lost()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- the end --------------------------------------------------------------------------

    def leave(self) -> None:
        """Say that we go away, and do not wait for an answer."""
        if self._end is not None:
            self._end.close_nowait(GOING_AWAY, "")
        self.close()

    def expired(self) -> None:
        if self._end is None or self.closing:
            super().expired()
        else:
            self._end.expired()
