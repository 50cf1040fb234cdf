"""The request body of an exchange: one stream, read by a sync handler or by the loop.

What a handler reads is kept (bounded), so that a proxy behind it still forwards the very
bytes that came, not a reconstruction from parsed forms.
"""

from __future__ import annotations

import collections
import io
import tempfile
import typing as t

from rolo.bridge.downstream import HttpDownstream
from rolo.bridge.limits import DEFAULT_LIMITS, Limits
from rolo.errors import RoloError
from rolo.net.body import Upload
from rolo.net.body_stream import SeenSink, Sink
from rolo.portal.portal import Portal
from rolo.wire.fields import RawHeaders

_MEMORY = 1024 * 1024
_PIECE = 64 * 1024

DEFAULT_REPLAY_LIMIT = 64 * 1024 * 1024


class ReplayLimitExceeded(RoloError):
    """A handler read more of the body than is kept, and then wanted it forwarded."""

    phase = "request body"


class RequestBody(Upload):
    """Pieces of one request body, in order, for whoever asks first.

    :param replay_limit: how many bytes read by a handler are kept for forwarding;
        above 1 MiB they are kept in a temporary file
    :param limits: how long the body may be
    """

    __slots__ = (
        "_ahead",
        "_ended",
        "_limits",
        "_portal",
        "_read",
        "_record",
        "_replay_limit",
        "_replayed",
        "_size",
        "downstream",
        "is_empty",
    )

    def __init__(
        self,
        downstream: HttpDownstream,
        portal: Portal,
        replay_limit: int = DEFAULT_REPLAY_LIMIT,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self.downstream = downstream
        self._portal = portal
        self._replay_limit = replay_limit
        self._ahead: collections.deque[bytes] = collections.deque()
        self.is_empty = not downstream.may_have_body
        """True if the head already says that no body follows."""
        self._ended = self.is_empty
        self._record: t.IO[bytes] | None = None
        self._read = self._replayed = self._size = 0
        self._limits = limits

    async def prefetch(self, length: int) -> None:
        """Take the first piece from the client, so that a handler on a thread finds a small
        body without another trip to the loop; no more than that, as the client may wait for
        an answer before it goes on.

        :param length: of the whole body; if the piece is all of it, the end is taken, too
        """
        if self._ended:
            return
        piece = await self._pull()
        if piece:
            self._ahead.append(piece)
            if len(piece) == length:
                await self._pull()

    def read_piece(self) -> bytes:
        """Return the next piece for a sync reader, ``b""`` at the end.

        :raises ClientDisconnected: the client left before the end
        :raises ContentTooLarge: it is longer than the limit
        """
        if self._ahead:
            piece = self._ahead.popleft()
        elif self._ended:
            return b""
        else:
            piece = self._portal.call(self._pull())
        self._keep(piece)
        return piece

    async def receive_body(self) -> bytes:
        """Return the next piece of the whole body for a forwarder on the loop: what a
        handler has read already comes first.

        :raises ClientDisconnected: the client left before the end
        :raises ContentTooLarge: it is longer than the limit
        :raises ReplayLimitExceeded: a handler read more than is kept
        """
        if self._replayed < self._read:
            return self._replay()
        if self._ahead:
            return self._ahead.popleft()
        if self._ended:
            return b""
        return await self._pull()

    async def pipe(self, sink: Sink) -> None:
        """Hand all of this to ``sink`` as it comes, and return at the end.

        :raises: as :meth:`receive_body`, and whatever ``sink`` raises
        """
        while self._replayed < self._read or self._ahead:
            if not sink.write(await self.receive_body()):
                await sink.drained()
        if not self._ended:
            await self.downstream.pipe_body(SeenSink(sink, self._count))
            self._ended = True

    async def _pull(self) -> bytes:
        """Return the next piece from the client."""
        piece = await self.downstream.receive_body()
        self._ended = not piece
        self._count(piece)
        return piece

    def _count(self, piece: bytes) -> None:
        """Count a piece that the client sent.

        :raises ContentTooLarge: the body is longer than the limit
        """
        self._size += len(piece)
        self._limits.check_body(self._size)

    def whole_nowait(self) -> bytes | None:
        """Return the whole body, without using it up, if all of it is here already and no
        handler has read any of it, else ``None``."""
        if not self._ended or self._read:
            return None
        return b"".join(self._ahead)

    @property
    def trailers(self) -> RawHeaders:
        """Trailer fields; empty before the end of the body."""
        return self.downstream.request_trailers

    def replay(self) -> bytes:
        """Return the whole body, read by a handler or not, without using it up.

        :raises ReplayLimitExceeded: more was read than is kept
        """
        while self.read_piece():
            pass
        if not self._read:
            return b""
        record = self._checked_record()
        record.seek(0)
        return record.read()

    def close(self) -> None:
        """Drop what is kept."""
        self._ahead.clear()
        if self._record is not None:
            self._record.close()
            self._record = None

    def _keep(self, piece: bytes) -> None:
        if not piece:
            return
        if not self._read:
            self._record = tempfile.SpooledTemporaryFile(max_size=_MEMORY)  # noqa: SIM115
        self._read += len(piece)
        if self._record is None:
            return
        if self._read > self._replay_limit:
            self._record.close()
            self._record = None
        else:
            self._record.seek(0, io.SEEK_END)
            self._record.write(piece)

    def _replay(self) -> bytes:
        record = self._checked_record()
        record.seek(self._replayed)
        piece = record.read(_PIECE)
        self._replayed += len(piece)
        return piece

    def _checked_record(self) -> t.IO[bytes]:
        if self._record is None:
            raise ReplayLimitExceeded(
                f"a handler read more than {self._replay_limit} bytes of the request body, "
                "which can therefore not be forwarded"
            )
        return self._record


class RequestStream(io.RawIOBase):
    """The file-like face of a :class:`RequestBody`: ``environ["wsgi.input"]``."""

    def __init__(self, body: RequestBody) -> None:
        self.body = body
        self._rest: bytes | memoryview = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: t.Any) -> int:
        rest = self._rest or self.body.read_piece()
        count = min(len(buffer), len(rest))
        buffer[:count] = rest[:count]
        self._rest = memoryview(rest)[count:]
        return count

    def read(self, size: int | None = -1) -> bytes:
        """Read up to ``size`` bytes, waiting only for the first; all of it if negative."""
        if size is None or size < 0:
            return self.readall()
        rest = self._rest or self.body.read_piece()
        self._rest = memoryview(rest)[size:]
        return bytes(rest[:size])

    def readall(self) -> bytes:
        pieces = [bytes(self._rest)]
        self._rest = b""
        while piece := self.body.read_piece():
            pieces.append(piece)
        return b"".join(pieces)

    def readline(self, size: int | None = -1, /) -> bytes:
        limit = -1 if size is None else size
        line = bytearray()
        while limit < 0 or len(line) < limit:
            rest = self._rest or self.body.read_piece()
            if not rest:
                break
            window = bytes(rest) if limit < 0 else bytes(rest[: limit - len(line)])
            end = window.find(b"\n") + 1
            taken = window[:end] if end else window
            line += taken
            self._rest = memoryview(rest)[len(taken) :]
            if end:
                break
        return bytes(line)

    def replay(self) -> bytes:
        """As :meth:`RequestBody.replay`."""
        return self.body.replay()
