"""The request body of a WSGI call, of which a small one can be sent, or read, again."""

from __future__ import annotations

import io
import typing as t

from rolo.bridge.body_record import BodyRecord
from rolo.errors import ClientDisconnected
from rolo.wire.fields import RawHeaders

_PIECE = 64 * 1024


class KeptInput(io.RawIOBase):
    """Stands for ``wsgi.input`` once a request is forwarded; reads from the beginning.

    :param stream: what the server gave
    :param length: of the body, in bytes; ``None`` if the stream itself ends after it
    """

    def __init__(self, stream: t.Any, length: int | None) -> None:
        self.record = BodyRecord()
        self._stream = stream
        # PEP 3333 asks for read() only, which waits for all of a piece; most have read1().
        self._pull = getattr(stream, "read1", stream.read)
        self._length = length
        self._at = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: t.Any) -> int:
        piece = self.read_at(self._at, len(buffer))
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def read_at(self, at: int, size: int) -> bytes:
        """Return up to ``size`` bytes from ``at`` on, ``b""`` at the end.

        :raises BodyNotKept: they have gone out, and were not kept
        :raises ClientDisconnected: the body ended before its length
        """
        record = self.record
        if at < record.size:
            return record.read(at, size)
        if self._length is not None:
            size = min(size, self._length - record.size)
        piece: bytes = self._pull(size) if size else b""
        if not piece and self._length is not None and record.size < self._length:
            raise ClientDisconnected("the client left before the end of its request body")
        record.add(piece)
        return piece

    def sending(self) -> SentInput:
        """Return the whole body for a forwarder.

        :raises BodyNotKept: it has gone out already, and was not kept
        """
        self.record.check()
        return SentInput(self)

    @property
    def trailers(self) -> RawHeaders:
        return getattr(self._stream, "trailers", [])  # of our own werkzeug adapter's only


class SentInput:
    """A body on its way to one upstream."""

    def __init__(self, kept: KeptInput) -> None:
        self._kept = kept
        self._at = 0

    def __iter__(self) -> t.Iterator[bytes]:
        while piece := self._kept.read_at(self._at, _PIECE):
            self._at += len(piece)
            yield piece
