"""One socket on the loop, whoever is at its other end: flow control, a deadline, its end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import typing as t

from rolo.net.gather import write_pieces
from rolo.net.unacknowledged import unacknowledged

if t.TYPE_CHECKING:
    from rolo.errors import RoloError


class BaseConnection(asyncio.BufferedProtocol):
    """What the connections of both sides have in common.

    Its life: open; closing, after :meth:`close` or :meth:`linger`, when nothing more is
    written; closed. Every method may be called on one that is closed already.

    :param read_buffer: what is read into. All connections of a loop may share one, since a
        read is copied out of it before the next one begins.
    """

    __slots__ = (
        "_drains",
        "_loop",
        "_reading_paused",
        "_timer",
        "_transport",
        "_view",
        "closing",
        "writing_paused",
    )

    linger_timeout = 5.0
    """Seconds for the other side to take what is unsent, and to close, before it is cut off."""

    def __init__(self, loop: asyncio.AbstractEventLoop, read_buffer: memoryview) -> None:
        self._loop = loop
        self._view = read_buffer
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._drains: list[asyncio.Future[None]] | None = None  # most never need one
        self._reading_paused = False
        self.writing_paused = False
        """The other side does not take what was written as fast as it came."""
        self.closing = False
        """All that we had to say is written, or the connection is lost."""

    # --- what a side adds

    def lost_error(self) -> RoloError:
        """Return what :meth:`drained` raises once the connection is closed."""
        raise NotImplementedError

    def expired(self) -> None:
        """The deadline is over."""
        transport = self._transport
        if self.closing and transport is not None and not transport.is_closing():
            self.close()
        else:
            self.abort()

    # --- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = t.cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._view

    def connection_lost(self, exc: Exception | None) -> None:
        self.closing = True
        self._transport = None
        self.set_deadline(None)
        self.resume_writing()

    def pause_writing(self) -> None:
        self.writing_paused = True

    def resume_writing(self) -> None:
        self.writing_paused = False
        drains, self._drains = self._drains, None
        for drain in drains or ():
            if not drain.done():
                drain.set_result(None)

    # --- flow control

    def write(self, *data: bytes) -> None:
        """Send, as far as the connection still lives; see :meth:`drained` for the pace."""
        transport = self._transport
        if transport is None or self.closing or transport.is_closing():
            return
        if len(data) == 1:
            transport.write(data[0])
        else:
            write_pieces(transport, data)

    async def drained(self) -> None:
        """Wait until the other side can take more.

        :raises RoloError: it never will, the connection is lost; of the side whose it is
        """
        if self.writing_paused and self._transport is not None:
            drain = self._loop.create_future()
            drains = self._drains = self._drains or []
            drains.append(drain)
            try:
                await drain
            except asyncio.CancelledError:
                drains.remove(drain)
                raise
        if self._transport is None:
            raise self.lost_error()

    async def flushed(self) -> None:
        """Wait until the kernel has all that was written; for whoever resets the connection
        behind it.

        :raises RoloError: as :meth:`drained`
        """
        await self.drained()
        # No transport tells of the last byte in every case (with TLS, on Twisted).
        while self.unsent:  # noqa: ASYNC110
            await asyncio.sleep(0.002)

    @property
    def unsent(self) -> int:
        """Bytes written that the kernel has not taken yet."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    @property
    def unacknowledged(self) -> int:
        """Bytes written that the other side has not taken yet, as far as the kernel tells."""
        return 0 if self._transport is None else unacknowledged(self._transport)

    def pause_reading(self) -> None:
        transport = self._transport
        if not self._reading_paused and transport is not None and not transport.is_closing():
            self._reading_paused = True
            transport.pause_reading()

    def resume_reading(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            transport = self._transport
            if transport is not None and not transport.is_closing():
                transport.resume_reading()

    # --- another protocol

    def hand_over(self, successor: BaseConnection) -> None:
        """Leave the socket to ``successor``, which has none yet. For this connection it is as if
        it were lost."""
        transport, self._transport = self._transport, None
        self.closing = True
        self.set_deadline(None)
        if transport is not None:
            successor._reading_paused = self._reading_paused
            successor.writing_paused = self.writing_paused
            successor.connection_made(transport)
            transport.set_protocol(successor)
        self.resume_writing()

    # --- the end

    @property
    def closed(self) -> bool:
        """The socket is gone."""
        return self._transport is None

    @property
    def ending(self) -> bool:
        """Nothing can be written any more, by whosever decision."""
        return self.closing or self._transport is None or self._transport.is_closing()

    def set_deadline(self, seconds: float | None) -> None:
        """Call :meth:`expired` in so many seconds, instead of when was said before; ``None``
        for never."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is not None and self._transport is not None:
            self._timer = self._loop.call_later(seconds, self.expired)

    def close(self) -> None:
        """Close once everything written is sent. The other side has nothing more to say."""
        self.closing = True
        self.set_deadline(self.linger_timeout)
        if self._transport is not None:
            self._transport.close()

    def linger(self) -> None:
        """Close so that a side that is still sending can read what we wrote: a plain close
        would reset the connection, and what we wrote with it (RFC 9112 section 9.6)."""
        self.closing = True
        self.set_deadline(self.linger_timeout)
        self.resume_reading()
        transport = self._transport
        if transport is not None and not transport.is_closing() and transport.can_write_eof():
            transport.write_eof()

    def abort(self) -> None:
        """Drop the connection at once, unsent bytes and all."""
        if self.writing_paused:
            # The kernel, too, would go on offering what it holds, for a quarter of an hour.
            self.reset()
        elif self._transport is not None:
            self.closing = True
            # Not close(): with TLS it would wait for the other side's goodbye.
            self._transport.abort()

    def reset(self) -> None:
        """The same, so that the other side cannot take it for an end in order."""
        if self._transport is None:
            return
        self.closing = True
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            with contextlib.suppress(OSError):
                # l_onoff=1, l_linger=0: close() sends a reset.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self._transport.abort()
