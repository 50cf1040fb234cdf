"""The body of a request as ``wsgi.input``, read from a blocking connection."""

from __future__ import annotations

import io
import typing as t

from rolo.wire.fields import RawHeaders
from rolo.wire.http1 import BodyDecoder

_READ_SIZE = 64 * 1024


class Readable(t.Protocol):
    """A buffered binary file: a connection's reading side."""

    def read1(self, size: int = ..., /) -> bytes: ...


class RequestInput(io.BufferedReader):
    """Ends where the body ends, whatever its framing; ``read1`` gives what has arrived.

    :param connection: the file that the head was read from
    :param go_on: called once, before the first wait for the body: a client that expects
        100 (Continue) is told then, and only then

    Reading raises :class:`~rolo.errors.BadRequest` for broken framing and
    :class:`~rolo.errors.ClientDisconnected` for a body that ends too early.
    """

    def __init__(
        self,
        connection: Readable,
        decoder: BodyDecoder,
        go_on: t.Callable[[], None] | None = None,
    ) -> None:
        self._decoder = decoder
        super().__init__(_Body(connection, decoder, go_on), _READ_SIZE)

    @property
    def trailers(self) -> RawHeaders:
        """Trailer fields; empty before the end of a chunked body."""
        return self._decoder.trailers


class _Body(io.RawIOBase):
    def __init__(
        self, connection: Readable, decoder: BodyDecoder, go_on: t.Callable[[], None] | None
    ) -> None:
        self._connection = connection
        self._decoder = decoder
        self._go_on = go_on
        self._pieces: list[bytes] = []

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: t.Any) -> int:
        while not self._pieces:
            if self._decoder.done:
                return 0
            self._pieces = self._receive()
        piece = self._pieces.pop(0)
        count = min(len(buffer), len(piece))
        buffer[:count] = piece[:count]
        if count < len(piece):
            self._pieces.insert(0, piece[count:])
        return count

    def _receive(self) -> list[bytes]:
        if self._go_on is not None:
            go_on, self._go_on = self._go_on, None
            go_on()
        data = self._connection.read1(_READ_SIZE)
        if not data:
            self._decoder.eof()
            return []
        return self._decoder.feed(data)
