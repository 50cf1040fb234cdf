"""One message on its way out, an answer or a request, and what faults put in that way.

::

    head, body, end ──> stage ──> stage ──> Bottom ──> downstream, or the wire to the origin
"""

from __future__ import annotations

import dataclasses
import typing as t

from rolo.errors import InjectedFault, SendError
from rolo.portal.portal import LoopScope
from rolo.wire.fields import RawHeaders
from rolo.wire.http1 import encode_chunk, encode_last_chunk

if t.TYPE_CHECKING:
    from rolo.bridge.downstream import HttpDownstream
    from rolo.upstream.request import RequestWire, UpstreamRequest


@dataclasses.dataclass
class Head:
    """The head of a message. Stages may change ``headers``."""

    first: bytes
    """The first line, as far as it is known: all of it in a request."""
    headers: RawHeaders
    status: int = 0
    """Of an answer."""
    reason: bytes = b""

    def values(self, name: bytes) -> list[bytes]:
        """Return the values of a field, whose name is given in lower case."""
        return [value for key, value in self.headers if key.lower() == name]

    @property
    def is_event_stream(self) -> bool:
        """Whether server-sent events follow that can be told apart."""
        types = self.values(b"content-type")
        coded = any(value.lower() != b"identity" for value in self.values(b"content-encoding"))
        return bool(types) and not coded and types[0].lower().startswith(b"text/event-stream")

    def remove(self, *names: bytes) -> None:
        """Take fields out, by names in lower case."""
        self.headers = [field for field in self.headers if field[0].lower() not in names]

    def make_chunked(self) -> None:
        """Say that the body comes in chunks."""
        self.remove(b"content-length", b"transfer-encoding")
        self.headers.append((b"Transfer-Encoding", b"chunked"))


class Way:
    """Where a message goes, in this order."""

    async def head(self, head: Head) -> None:
        raise NotImplementedError

    async def body(self, piece: bytes) -> None:
        raise NotImplementedError

    async def end(self) -> None:
        raise NotImplementedError


class Stage(Way):
    """A part of the way: hands on what it is given, unless a subclass does otherwise."""

    def __init__(self, below: Way, bottom: Bottom) -> None:
        self.below = below
        self.bottom = bottom

    async def head(self, head: Head) -> None:
        await self.below.head(head)

    async def body(self, piece: bytes) -> None:
        await self.below.body(piece)

    async def end(self) -> None:
        await self.below.end()


class Bottom(Way):
    """The end of the way, and what stages need beside it."""

    def __init__(self, scope: LoopScope | None) -> None:
        self._scope = scope
        self.waiting = False
        """Nothing is sent for now, on purpose."""

    def now(self) -> float:
        """Return the time in seconds, of whatever clock."""
        assert self._scope is not None
        return self._scope.loop.time()

    def block(self, head: Head) -> bytes:
        """Return the head as it goes on the wire; what is sent of the body afterwards is framed
        as it says."""
        raise NotImplementedError

    async def write(self, *data: bytes) -> None:
        """Send bytes as they are."""
        raise NotImplementedError

    async def write_head(self, block: bytes) -> None:
        """Send what stands for the head, or a part of it."""
        await self.write(block)

    async def flush(self) -> None:
        """Wait until what was sent is on its way."""

    def break_off(self, why: str, *, reset: bool = False) -> t.NoReturn:
        """End the connection, whatever is lacking: in order, or by a reset.

        :raises InjectedFault: or another error that ends the exchange
        """
        raise NotImplementedError

    def spoilt(self, why: str) -> None:
        """Note that all was sent, and wrongly."""

    async def sleep(self, seconds: float) -> None:
        """Wait; when the server stops, no longer."""
        if seconds > 0:
            await self._sleep(seconds)

    async def hang(self, why: str) -> t.NoReturn:
        """Do nothing until the exchange ends by itself, or the server stops."""
        await self._sleep(None)
        self.break_off(f"{why}, until the server stopped")

    async def _sleep(self, seconds: float | None) -> None:
        assert self._scope is not None
        self.waiting = True
        await self._scope.sleep(seconds)
        self.waiting = False


class DownBottom(Bottom):
    """Where an answer goes to its client."""

    def __init__(self, downstream: HttpDownstream, scope: LoopScope) -> None:
        super().__init__(scope)
        self._downstream = downstream
        self.trailers: RawHeaders | None = None

    async def head(self, head: Head) -> None:
        await self._downstream.send_head(head.status, head.reason, head.headers)

    async def body(self, piece: bytes) -> None:
        await self._downstream.send_body(piece)

    async def end(self) -> None:
        await self._downstream.end(self.trailers)

    @property
    def _wire(self) -> t.Any:
        wire = self._downstream.wire
        assert wire is not None, "checked when the answer was spoilt"
        return wire

    def block(self, head: Head) -> bytes:
        return t.cast(bytes, self._wire.head(head.status, head.reason, head.headers))

    async def write_head(self, block: bytes) -> None:
        self._wire.write_head(block)
        await self._wire.drained()

    async def write(self, *data: bytes) -> None:
        wire = self._wire
        if not wire.write(*data):
            await wire.drained()

    async def flush(self) -> None:
        await self._wire.flushed()

    def break_off(self, why: str, *, reset: bool = False) -> t.NoReturn:
        wire = self._downstream.wire
        if wire is not None and reset:
            wire.reset()
        elif wire is not None:
            wire.close()
        # Where there is no wire, whoever gets this breaks the answer off.
        raise InjectedFault(why)

    def spoilt(self, why: str) -> None:
        raise InjectedFault(why)


class UpBottom(Bottom):
    """Where a request goes to its upstream."""

    def __init__(self, wire: RequestWire, request: UpstreamRequest, scope: LoopScope) -> None:
        super().__init__(scope)
        self._wire = wire
        self._request = request
        self._chunked = False

    def block(self, head: Head) -> bytes:
        self._chunked = bool(head.values(b"transfer-encoding"))
        fields = b"".join(b"%b: %b\r\n" % field for field in head.headers)
        return head.first + b"\r\n" + fields + b"\r\n"

    async def head(self, head: Head) -> None:
        await self.write(self.block(head))

    async def body(self, piece: bytes) -> None:
        await self.write(encode_chunk(piece) if self._chunked else piece)

    async def end(self) -> None:
        if self._chunked:
            trailers = self._request.request_trailers
            await self.write(encode_last_chunk(trailers() if trailers is not None else None))

    async def write(self, *data: bytes) -> None:
        self._wire.write(*data)
        await self._wire.drained()

    async def flush(self) -> None:
        await self._wire.flushed()

    def break_off(self, why: str, *, reset: bool = False) -> t.NoReturn:
        if reset:
            self._wire.reset()
        else:
            self._wire.close()
        raise SendError(why, target=str(self._request.origin)) from InjectedFault(why)


def head_of(block: bytes) -> Head:
    """Return the head that ``block``, of our own writing, holds."""
    first, *lines = block[:-4].split(b"\r\n")
    headers = [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]
    return Head(first, headers)
