"""A connection that the origin has switched to another protocol (RFC 9110 section 7.8)."""

from __future__ import annotations

import typing as t

from rolo.net.body import Body
from rolo.net.connection import BaseConnection
from rolo.upstream.connection import Connection

_NEVER = float("inf")


class SwitchedConnection(Body):
    """What a 101 leaves in the place of a body: whoever has the answer takes it over, or closes
    it. The loop's thread only.

    :param early: what came right behind the head
    """

    __slots__ = ("_connection", "_early", "over")

    def __init__(self, connection: Connection, early: bytes) -> None:
        self._connection: Connection | None = connection
        self._early = early
        self.over = False
        """No more bytes will come."""
        connection.receiver = self

    def take_over(self, successor: BaseConnection) -> bytes:
        """Put ``successor`` in the place of the connection, which its pool forgets. It has no
        socket if the connection is lost already.

        :return: what has come, for it to begin with
        """
        connection, self._connection = self._connection, None
        assert connection is not None
        connection.hand_over(successor)
        return self._early

    def close(self) -> None:
        """Drop the connection, unless it is taken over. May be called again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()

    def __iter__(self) -> t.Iterator[bytes]:
        return iter(())

    # --- told by the connection

    def received(self, data: bytes) -> None:
        self._early += data
        if self._connection is not None:
            self._connection.pause_reading()  # it will be taken over in a moment

    def ended(self, cause: Exception | None) -> None:
        self.over = True

    def deadline(self, now: float) -> float:
        return _NEVER

    def expired(self, now: float) -> None:
        """Never."""
