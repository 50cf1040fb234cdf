"""One end of an open websocket, on the loop: frames on a connection become messages.

Both kinds of connection use it: the native server's to a client, and ours to an origin.
"""

from __future__ import annotations

import asyncio
import collections
import time
import typing as t

from rolo.errors import ClientDisconnected, UpstreamClosed
from rolo.net.connection import BaseConnection
from rolo.net.ledger import Ledger
from rolo.websocket.errors import WebSocketDisconnectedError, WebSocketProtocolError
from rolo.wire.close_codes import GOING_AWAY, LOST, TRY_AGAIN_LATER
from rolo.wire.permessage_deflate import Deflate
from rolo.wire.websocket_frames import (
    OVERHEAD,
    Close,
    FrameReader,
    Ping,
    encode_close,
    encode_message,
    encode_ping,
    encode_pong,
)

# Bytes that wait at an end without being counted: most messages are gone in the next moment.
_UNCOUNTED = 4096
# What is withheld on purpose, as bits.
_PONGS, _CLOSES = 1, 2


class WebSocketPeer:
    """An open websocket. The loop's thread only.

    :param channel: the connection below. It hands over what comes (:meth:`feed`) and tells
        when it has to pause writing, may resume, is lost, and when its deadline is over
    :param client: we are the client of this connection
    :param max_message: bytes of one message, inflated; a larger one closes with 1009
    :param buffer: bytes of messages held unread before the other side is made to wait;
        each counts a little more than its payload
    :param close_timeout: seconds for the other side to answer a close frame of ours,
        counted from when it last took some of what we have to send
    :param ledger: of the loop
    :param max_held: bytes that all in ``ledger`` may hold together; ``None`` is no limit
    """

    __slots__ = (
        "__weakref__",
        "_buffer",
        "_buffered",
        "_channel",
        "_client",
        "_close_sent",
        "_close_timeout",
        "_closed",
        "_deaf",
        "_deflate",
        "_ledger",
        "_listed",
        "_max_held",
        "_messages",
        "_owed_pong",
        "_reader",
        "_reading_on",
        "_stuck_at",
        "_waiter",
        "_withheld",
        "broken",
        "ended_by_us",
        "heard",
        "held",
        "on_end",
        "pinged_at",
        "tap",
    )

    def __init__(
        self,
        channel: BaseConnection,
        *,
        client: bool,
        max_message: int | None,
        buffer: int,
        close_timeout: float,
        ledger: Ledger,
        max_held: int | None,
        deflate: Deflate | None = None,
    ) -> None:
        self._channel = channel
        self._client = client
        self._reader = FrameReader(client=client, max_message=max_message, deflate=deflate)
        self._deflate = deflate
        self._buffer = buffer
        self._close_timeout = close_timeout
        self._messages: collections.deque[str | bytes] = collections.deque()
        self._buffered = 0
        self._waiter: asyncio.Future[None] | None = None
        self._closed: WebSocketDisconnectedError | None = None
        self._close_sent = False
        self._deaf = False
        self._owed_pong: bytes | None = None
        self._stuck_at = -1
        self._reading_on = False
        self._withheld = 0
        self._ledger = ledger
        self._max_held = max_held
        self._listed = False
        self.held = 0
        """Bytes counted in the ledger."""
        self.heard = False
        """Set whenever bytes come; for whoever watches over this end to reset."""
        self.pinged_at = 0.0
        """When the last ping came (``time.monotonic()``); 0 before the first."""
        self.tap: t.Callable[[str | bytes], bool] | None = None
        """Offered each message for which somebody waits in :meth:`receive`, before it is
        woken; if this returns true it is not. Saves the turn of the loop that waking costs."""
        self.broken = False
        """It ended because the other side broke the protocol."""
        self.on_end: t.Callable[[], None] | None = None
        """Called whenever :attr:`ended_with` is set."""
        self.ended_by_us = False
        """It ended since we would not or could not go on, not by the other side's close."""

    def __del__(self) -> None:
        # Messages that nobody has read are held until then, whatever became of the socket.
        self._ledger.total -= self.held

    @property
    def closed(self) -> bool:
        """The other side has closed or is gone."""
        return self._closed is not None

    @property
    def ended_with(self) -> WebSocketDisconnectedError | None:
        """How it ended, whether or not :meth:`receive` has told; ``None`` before."""
        return self._closed

    # --- messages -------------------------------------------------------------------------

    async def receive(self) -> str | bytes:
        """Return the next message.

        :raises WebSocketDisconnectedError: closed or lost (1006), all messages read
        """
        messages = self._messages
        while not messages:
            if self._closed is not None and not self._unread:
                raise WebSocketDisconnectedError(self._closed.code, self._closed.reason)
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        message = messages.popleft()
        self._buffered -= len(message) + OVERHEAD
        if self._buffered <= self._buffer:
            self._go_on()
        if self.held:
            self._count()
        return message

    @property
    def ready(self) -> bool:
        """Whether :meth:`send` would not have to wait."""
        return self._closed is None and not self._close_sent and not self._channel.writing_paused

    async def send(self, message: str | bytes) -> None:
        """Send a message; return when the other side can take more.

        :raises WebSocketDisconnectedError: closed or lost
        :raises WebSocketProtocolError: closed from our side
        """
        self.send_nowait(message)
        if self._channel.writing_paused:
            try:
                await self._channel.drained()
            except (ClientDisconnected, UpstreamClosed):
                raise WebSocketDisconnectedError(LOST, "") from None

    def send_nowait(self, message: str | bytes) -> None:
        """As :meth:`send`, without waiting."""
        if self._closed is not None:
            raise WebSocketDisconnectedError(self._closed.code, self._closed.reason)
        if self._close_sent:
            raise WebSocketProtocolError("the websocket is closed from our side")
        self._channel.write(*encode_message(message, client=self._client, deflate=self._deflate))
        if self.held:
            self._count()

    def ping(self) -> bool:
        """Send an empty ping; False if it makes no sense now: the websocket is closing, or
        the other side does not even take messages, which is no sign of death."""
        if not self.ready:
            return False
        self._channel.write(encode_ping(b"", client=self._client))
        return True

    async def close(self, code: int | None, reason: str) -> None:
        """Send a close frame (``None``: without a code), unless one was sent or received.
        The other side gets a while to answer; what it still sends is discarded."""
        self.close_nowait(code, reason)

    def close_nowait(self, code: int | None, reason: str) -> None:
        """As :meth:`close`; there is nothing to wait for."""
        if self._close_sent or self._closed is not None:
            return
        self._send_close(code, reason)
        self._channel.set_deadline(self._close_timeout)
        # The answer has to be read, even if messages are not.
        self._go_on()

    def _send_close(self, code: int | None, reason: str) -> None:
        self._close_sent = self._reader.discarding = True
        if self._withheld & _CLOSES:
            self.lose()
        else:
            self._channel.write(encode_close(code, reason, client=self._client))

    # --- frames coming in -----------------------------------------------------------------

    def feed(self, data: bytes | memoryview) -> None:
        """Take bytes from the connection; of a memoryview nothing is kept."""
        self.heard = True
        if self._deaf:
            return
        reader = self._reader
        for event in reader.feed(data):
            kind = type(event)
            if kind is str or kind is bytes:
                if not self._close_sent:
                    self._deliver(t.cast("str | bytes", event))
            elif kind is Ping:
                self.pinged_at = time.monotonic()
                self._answer_ping(t.cast(Ping, event).payload)
            elif kind is Close:
                self._take_close(t.cast(Close, event))
        if reader.failure is not None and not self._deaf:
            self.fail(reader.failure.code, reader.failure.reason)
        if reader.more:
            self._channel.pause_reading()
            if self._buffered <= self._buffer or self._close_sent:
                self._go_on()
        elif self._buffered > self._buffer:
            self._channel.pause_reading()
        if self.held or reader.held + self._buffered > _UNCOUNTED:
            self._count()

    def _go_on(self) -> None:
        """Read what follows: what has come already in the next turn of the loop, so that
        others have theirs, then from the connection."""
        if not self._unread:
            self._channel.resume_reading()
        elif not self._reading_on:
            self._reading_on = True
            asyncio.get_running_loop().call_soon(self._read_on)

    def _read_on(self) -> None:
        self._reading_on = False
        if self._unread:
            self.feed(b"")
        if not self._unread:
            if self._closed is not None:
                self._wake()
            if self._buffered <= self._buffer or self._close_sent:
                self._channel.resume_reading()

    @property
    def _unread(self) -> bool:
        """Frames have come that are not read yet."""
        return self._reader.more and not self._deaf

    def _deliver(self, message: str | bytes) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done() and self.tap is not None and self.tap(message):
            return
        self._messages.append(message)
        self._buffered += len(message) + OVERHEAD
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # --- what is held ---------------------------------------------------------------------

    def _count(self) -> None:
        """Tell the ledger what is held here now."""
        channel, ledger, limit = self._channel, self._ledger, self._max_held
        held = self._reader.held + self._buffered
        if channel.writing_paused:
            held += channel.unsent
        if not self._listed:
            self._listed = True
            ledger.holders.add(self)
        ledger.total += held - self.held
        self.held = held
        if limit is not None and ledger.total > limit:
            ledger.evict(limit)

    def evict(self) -> None:
        """Let go of what is held here, and close: with 1013 (try again later), or at once if
        the other side does not even take what was sent before."""
        self._messages.clear()
        self._buffered = 0
        self._reader.drop()
        if self._channel.writing_paused:
            self._close_sent = True
            self.abort()
        else:
            self.fail(TRY_AGAIN_LATER, "too much is held")
            self.broken = False
        self._ledger.total -= self.held
        self.held = 0

    def paused(self) -> None:
        """The other side does not take what is written."""
        self._count()

    def _answer_ping(self, payload: bytes) -> None:
        if self._close_sent or self._withheld & _PONGS:
            return
        if self._channel.writing_paused:
            # RFC 6455 section 5.5.3: the last ping is answer enough. More than one pong for
            # somebody who does not read would be memory that he decides about.
            self._owed_pong = payload
        else:
            self._channel.write(encode_pong(payload, client=self._client))

    def resumed(self) -> None:
        """The other side takes again what is written."""
        self._count()
        owed, self._owed_pong = self._owed_pong, None
        if owed is not None:
            self._answer_ping(owed)

    def _take_close(self, close: Close) -> None:
        if not self._close_sent:
            # RFC 6455 section 5.5.1: answer with the same code.
            self._send_close(close.code, close.reason)
        self._deaf = True
        self._end(close.code, close.reason)
        if self._client:
            # RFC 6455 section 7.1.1: the server closes the connection first.
            self._channel.set_deadline(self._close_timeout)
        else:
            self._channel.close()

    def fail(self, code: int, reason: str) -> None:
        """Fail the connection (RFC 6455 section 7.1.7): close without waiting for an answer."""
        if not self._close_sent:
            self._send_close(code, reason)
        self.broken = self._deaf = self.ended_by_us = True
        self._end(code, reason)
        self._channel.linger()

    def _end(self, code: int, reason: str) -> None:
        # A close frame may be read after the connection is lost; it counts.
        if self._closed is None or self._closed.code == LOST:
            self._closed = WebSocketDisconnectedError(code, reason)
        self._owed_pong = None
        self._wake()
        if self.on_end is not None:
            self.on_end()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # --- the end --------------------------------------------------------------------------

    def lost(self) -> None:
        """The connection has ended, with or without a close frame before."""
        self._deaf = self._deaf or not self._reader.more
        if self._deaf:
            self._reader.drop()
        self._end(LOST, "")
        if self.held:
            self._count()

    def going_away(self) -> None:
        """We stop: close with 1001, and let whoever receives know."""
        if self._closed is None:
            if not self._close_sent:
                self._send_close(GOING_AWAY, "")
            self.ended_by_us = True
            self._end(GOING_AWAY, "")
            self._channel.set_deadline(self._close_timeout)

    def abort(self) -> None:
        """Drop the connection."""
        self._deaf = True
        self._end(LOST, "")
        self._channel.abort()

    # --- breaking the protocol on purpose

    def write(self, *data: bytes) -> None:
        """Send bytes as they are, unless closed or lost."""
        if not self._close_sent and self._closed is None:
            self._channel.write(*data)

    async def drained(self) -> None:
        """Wait until the other side can take more.

        :raises RoloError: the connection is lost
        """
        await self._channel.drained()

    async def flushed(self) -> None:
        """Wait until all that was sent is on its way.

        :raises RoloError: the connection is lost
        """
        await self._channel.flushed()

    def withhold(self, *, pongs: bool = False, closes: bool = False) -> None:
        """Answer no ping from now on; send no close frame, but end the connection instead."""
        self._withheld |= _PONGS * pongs | _CLOSES * closes

    def lose(self, *, reset: bool = False) -> None:
        """End the connection without a close frame: in order, or with ``reset`` at once."""
        self._close_sent = self._deaf = self.ended_by_us = True
        self._end(LOST, "")
        if reset:
            self._channel.reset()
        else:
            self._channel.close()

    def expired(self) -> None:
        """The deadline is over: drop the connection, unless it still takes what we send."""
        unsent = self._channel.unsent
        if unsent and unsent != self._stuck_at:
            self._stuck_at = unsent
            self._channel.set_deadline(self._close_timeout)
        else:
            self.abort()


class Liveness:
    """Keeps one end alive, and knows whether it is: to be looked at every now and then.

    :param interval: seconds of silence after which a ping is sent
    :param timeout: seconds from a ping until something must come, else the end is dropped
    """

    __slots__ = ("_end", "_heard_at", "_interval", "_pinged_at", "_timeout")

    def __init__(self, end: WebSocketPeer, interval: float, timeout: float, now: float) -> None:
        self._end = end
        self._interval = interval
        self._timeout = timeout
        self._heard_at = now
        self._pinged_at: float | None = None

    def look(self, now: float) -> None:
        end = self._end
        if end.heard:
            end.heard = False
            self._heard_at = now
            self._pinged_at = None
        elif self._pinged_at is not None:
            if now - self._pinged_at >= self._timeout:
                end.abort()
        elif now - self._heard_at >= self._interval and end.ping():
            self._pinged_at = now
