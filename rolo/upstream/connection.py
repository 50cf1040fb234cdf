"""One connection to an origin: bytes, flow control, and a clock. No HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import typing as t

from rolo.errors import SendError
from rolo.net.unacknowledged import unacknowledged
from rolo.net.unread import has_unread
from rolo.upstream.tls import rest_of

READ_SIZE = 112 * 1024
"""Bytes read from a socket at once, at most."""
_LINGER = 5.0


class Receiver(t.Protocol):
    """What a connection works for at the moment: an exchange."""

    def received(self, data: bytes) -> None:
        """Bytes have come."""

    def ended(self, cause: Exception | None) -> None:
        """No more bytes will come. ``cause`` is ``None`` if the origin ended in order."""

    def deadline(self, now: float) -> float:
        """When, in loop time, this will have taken too long as things stand."""

    def expired(self, now: float) -> None:
        """The deadline is reached."""


class Owner(t.Protocol):
    """Where a connection goes back to."""

    def release(self, connection: Connection) -> None:
        """The connection can carry another exchange."""

    def forget(self, connection: Connection) -> None:
        """The connection's socket is gone; called once."""


class Connection(asyncio.BufferedProtocol):
    """A connection, in the hands of one receiver or idle.

    :param read_buffer: what sockets are read into. All connections of a loop may share
        one, since a read is copied out of it before the next one begins.
    :param patrol: seconds, the shortest of all timeouts of an exchange; ``None`` if it has
        none. A timer looks at the receiver's deadline that often, so that exchanges which
        come and go need not arm one of their own.
    """

    __slots__ = (
        "_drain_waiter",
        "_fd",
        "_loop",
        "_now",
        "_patrol",
        "_reading_paused",
        "_timer",
        "_timer_at",
        "_transport",
        "_unacknowledged",
        "_view",
        "closing",
        "drained_at",
        "exchanges",
        "idle_since",
        "moved",
        "owner",
        "receiver",
        "write_paused",
    )

    def __init__(
        self, loop: asyncio.AbstractEventLoop, read_buffer: memoryview, patrol: float | None
    ) -> None:
        self._loop = loop
        self._now = loop.time
        self._view = read_buffer
        self._patrol = patrol
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._drain_waiter: asyncio.Future[None] | None = None
        self._fd = -1
        self._unacknowledged = 0
        self._reading_paused = False
        self.owner: Owner | None = None
        self.receiver: Receiver | None = None
        self.closing = False
        """No exchange may begin here any more."""
        self.exchanges = 0
        """How many exchanges have begun here."""
        self.idle_since = 0.0
        self.moved = 0.0
        """When bytes last moved, in either direction."""
        self.write_paused = False
        """The origin does not read as fast as we write."""
        self.drained_at = 0.0
        """When it last caught up."""

    # --- for the receiver

    def begin(self, receiver: Receiver, data: bytes, end: float | None) -> None:
        """Hand the connection to ``receiver``, and send ``data``, its first bytes.

        :param end: loop time at which its whole exchange must be over
        """
        self.receiver = receiver
        self.exchanges += 1
        self.write(data)
        if self._timer is None and self._patrol is not None:
            self._arm(self.moved + self._patrol)
        if end is not None and end < self._timer_at:
            self._arm(end)

    def quiet(self) -> bool:
        """Whether another exchange may begin: the connection is open, and nothing has come
        since the last answer. What has, nobody asked for: it would be taken for the next
        answer, and that for the one after it. The loop may not have seen it yet."""
        return not self.closing and not has_unread(self._fd)

    def write(self, data: bytes) -> None:
        """Send ``data``, or what the origin's slowness permits; the rest follows."""
        transport = self._transport
        if transport is not None and not self.closing:
            self.moved = self._now()
            transport.write(data)

    @property
    def unsent(self) -> int:
        """Bytes written that the kernel has not taken yet."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    async def drain(self) -> None:
        """Wait until the origin has caught up.

        :raises SendError: it never will, the connection is lost
        """
        if self.write_paused and self._transport is not None:
            self._drain_waiter = self._loop.create_future()
            try:
                await self._drain_waiter
            finally:
                self._drain_waiter = None
        if self._transport is None:
            raise SendError("the connection is lost")

    def touch(self) -> None:
        """Let the idle time count from now."""
        self.moved = self._now()

    def pause_reading(self) -> None:
        if not self._reading_paused and self._transport is not None and not self.closing:
            self._reading_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._reading_paused and self._transport is not None:
            self._reading_paused = False
            if not self.closing:
                self._transport.resume_reading()

    def release(self) -> None:
        """The receiver is done and the connection is as good as new."""
        self.receiver = None
        if self._reading_paused:
            self.resume_reading()
        if self.owner is not None and not self.closing:
            self.owner.release(self)

    def close(self) -> None:
        """Close as soon as the origin has taken what was written, or after a while."""
        self.receiver = None
        if not self.closing:
            self.closing = True
            if self._transport is not None:
                self._arm(self._now() + _LINGER, self._transport.abort)
                self._transport.close()

    def abort(self) -> None:
        """Close at once; the receiver is not told. May be called again."""
        self.receiver = None
        if not self.closing:
            self.closing = True
            if self._transport is not None:
                if self.write_paused:
                    _reset_on_close(self._transport)
                # Not close(): with TLS it would wait for the origin's goodbye.
                self._transport.abort()

    # --- for the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = t.cast(asyncio.Transport, transport)
        sock = transport.get_extra_info("socket")
        self._fd = -1 if sock is None else sock.fileno()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        receiver = self.receiver
        if receiver is None:
            # Nobody asked: whatever it is, it would be taken for the next answer.
            self.abort()
            return
        self.moved = self._now()
        receiver.received(bytes(self._view[:nbytes]))

    def eof_received(self) -> None:
        self._finish(None)
        self.abort()

    def pause_writing(self) -> None:
        self.write_paused = True
        self._note_progress()

    def resume_writing(self) -> None:
        self.write_paused = False
        self.moved = self.drained_at = self._now()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.closing = True
        if self.receiver is not None and exc is not None:
            self._salvage()
        self._finish(exc)
        self._transport = None
        self._wake()
        if self.owner is not None:
            self.owner.forget(self)

    def _wake(self) -> None:
        if self._drain_waiter is not None and not self._drain_waiter.done():
            self._drain_waiter.set_result(None)

    def _finish(self, cause: Exception | None) -> None:
        """Tell the receiver, after all that came, that no more will."""
        if self.receiver is None or self._transport is None:
            return
        pieces, cause = rest_of(self._transport, cause)
        for piece in pieces:
            # Which may be the end of what the receiver was waiting for.
            if self.receiver is not None:
                self.receiver.received(piece)
        receiver, self.receiver = self.receiver, None
        if receiver is not None:
            receiver.ended(cause)

    def _salvage(self) -> None:
        """Read what the origin sent before our write failed.

        An origin that answers early and closes makes our next write fail. The loop then
        drops the connection, with the answer still unread in the kernel.
        """
        transport = self._transport
        if transport is None or transport.get_extra_info("ssl_object") is not None:
            return
        try:
            with transport.get_extra_info("socket").dup() as sock:
                sock.setblocking(False)
                while self.receiver is not None and (data := sock.recv(READ_SIZE)):
                    self.receiver.received(data)
        except OSError:
            return

    # --- the clock

    def _note_progress(self) -> bool:
        """Return whether the origin, which is slow, has taken something since last asked."""
        before = self._unacknowledged
        self._unacknowledged = 0 if self._transport is None else unacknowledged(self._transport)
        return self._unacknowledged != before

    def _arm(self, at: float, action: t.Callable[[], None] | None = None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_at(at, action or self._look)

    def _look(self) -> None:
        self._timer = None
        receiver = self.receiver
        if receiver is None:
            return
        now = self._now()
        if self.write_paused and self._note_progress():
            self.moved = now
        deadline = receiver.deadline(now)
        if deadline <= now:
            receiver.expired(now)
        elif self._patrol is not None:
            # No sooner deadline can arise before this one: each is at least a patrol away.
            self._arm(min(deadline, now + self._patrol))


def _reset_on_close(transport: asyncio.Transport) -> None:
    """Let the kernel drop what it holds for an origin that does not read: it would go on
    offering it for a quarter of an hour."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            # l_onoff=1, l_linger=0
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
