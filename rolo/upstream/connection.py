"""One connection to an origin, lent to one exchange after the other, and its clock. No HTTP."""

from __future__ import annotations

import asyncio
import itertools
import typing as t

from rolo.errors import SendError
from rolo.net.connection import BaseConnection
from rolo.net.unread import has_unread
from rolo.upstream.tls import rest_of

READ_SIZE = 112 * 1024
"""Bytes read from a socket at once, at most."""


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
        """The connection's socket is gone, or another's; called once."""


_numbers = itertools.count(1)


class Connection(BaseConnection):
    """A connection, in the hands of one receiver or idle.

    :param patrol: seconds, the shortest of all timeouts of an exchange; ``None`` if it has
        none. A timer looks at the receiver's deadline that often, so that exchanges which
        come and go need not arm one of their own.
    """

    __slots__ = (
        "_fd",
        "_now",
        "_patrol",
        "_unacknowledged",
        "connect_seconds",
        "drained_at",
        "exchanges",
        "idle_since",
        "moved",
        "number",
        "owner",
        "receiver",
        "tls_seconds",
    )

    def __init__(
        self, loop: asyncio.AbstractEventLoop, read_buffer: memoryview, patrol: float | None
    ) -> None:
        super().__init__(loop, read_buffer)
        self._now = loop.time
        self._patrol = patrol
        self._fd = -1
        self._unacknowledged = 0
        self.owner: Owner | None = None
        self.receiver: Receiver | None = None
        self.connect_seconds: float | None = None
        """How long it took to connect, names included; ``None`` if nobody knows."""
        self.tls_seconds: float | None = None
        """The same of the TLS handshake."""
        self.number = next(_numbers)
        """Tells connections apart for who looks on."""
        self.exchanges = 0
        """How many exchanges have begun here."""
        self.idle_since = 0.0
        self.moved = 0.0
        """When bytes last moved, in either direction."""
        self.drained_at = 0.0
        """When the origin last caught up with what we wrote."""

    # --- for the receiver

    def begin(self, receiver: Receiver, data: bytes, end: float | None) -> None:
        """Hand the connection to ``receiver``, and send ``data``, its first bytes.

        :param end: loop time at which its whole exchange must be over
        """
        self.receiver = receiver
        self.exchanges += 1
        self.moved = self._now()
        BaseConnection.write(self, data)  # faster than super()
        if self._timer is None and self._patrol is not None:
            self.set_deadline(self._patrol)
        if end is not None and self._timer is not None and end < self._timer.when():
            self.set_deadline(end - self.moved)

    def quiet(self) -> bool:
        """Whether another exchange may begin: the connection is open, and nothing has come
        since the last answer. What has, nobody asked for: it would be taken for the next
        answer, and that for the one after it. The loop may not have seen it yet."""
        return not self.closing and not has_unread(self._fd)

    def write(self, *data: bytes) -> None:
        self.moved = self._now()
        BaseConnection.write(self, *data)

    def touch(self) -> None:
        """Let the idle time count from now."""
        self.moved = self._now()

    def release(self) -> None:
        """The receiver is done and the connection is as good as new."""
        self.receiver = None
        if self._reading_paused:
            self.resume_reading()
        if self.owner is not None and not self.closing:
            self.owner.release(self)

    def hand_over(self, successor: BaseConnection) -> None:
        self.receiver = None
        super().hand_over(successor)
        owner, self.owner = self.owner, None
        if owner is not None:
            owner.forget(self)

    def close(self) -> None:
        self.receiver = None
        if not self.closing:
            super().close()

    def abort(self) -> None:
        """Close at once; the receiver is not told. May be called again."""
        self.receiver = None
        if not self.closing:
            super().abort()

    def reset(self) -> None:
        self.receiver = None
        super().reset()

    # --- for the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        sock = transport.get_extra_info("socket")
        self._fd = -1 if sock is None else sock.fileno()

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
        super().pause_writing()
        self._unacknowledged = self.unacknowledged

    def resume_writing(self) -> None:
        super().resume_writing()
        self.moved = self.drained_at = self._now()

    def lost_error(self) -> SendError:
        return SendError("the connection is lost")

    def connection_lost(self, exc: Exception | None) -> None:
        self.set_deadline(None)
        self.closing = True
        if self.receiver is not None and exc is not None:
            self._salvage()
        self._finish(exc)
        super().connection_lost(exc)
        if self.owner is not None:
            self.owner.forget(self)

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

    def expired(self) -> None:
        self._timer = None
        receiver = self.receiver
        if receiver is None:
            if self.closing:
                super().abort()
            return
        now = self._now()
        if self.writing_paused and self._progresses():
            self.moved = now
        deadline = receiver.deadline(now)
        if deadline <= now:
            receiver.expired(now)
        elif self._patrol is not None:
            # No sooner deadline can arise before this one: each is at least a patrol away.
            self.set_deadline(min(deadline - now, self._patrol))

    def _progresses(self) -> bool:
        """Return whether the origin, which is slow, has taken something since last asked."""
        before, self._unacknowledged = self._unacknowledged, self.unacknowledged
        return self._unacknowledged != before
