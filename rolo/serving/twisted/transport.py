"""A transport of Twisted's, as the asyncio transport of a connection of ours.

The connection lives on an event loop, the transport on its reactor. Where the reactor runs on
that very loop they call each other; else each has a thread of its own, and tells the other
what to do. Which of the two it is, is nowhere seen but in :class:`Meeting`.
"""

from __future__ import annotations

import asyncio
import collections
import typing as t

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ISSLTransport
from twisted.python.failure import Failure

_HIGH = 64 * 1024
"""Bytes on their way from the loop to the reactor before the connection is asked to pause; the
transport below has the same bound for what the kernel does not take."""
_LOW = 16 * 1024
_UNHANDLED = 256 * 1024
"""Bytes on their way from the reactor to the loop before reading stops."""


class Meeting(t.NamedTuple):
    """How a loop and a reactor reach each other. Calls of one side come in their order."""

    call_loop: t.Callable[..., object]
    """``call_loop(function, *args)`` calls ``function`` on the loop; for the reactor's thread."""
    call_reactor: t.Callable[..., object]
    """``call_reactor(function, *args)`` calls it on the reactor; for the loop's thread."""


def directly(function: t.Callable[..., object], *args: t.Any) -> None:
    """Call ``function`` at once: loop and reactor are one."""
    function(*args)


TOGETHER = Meeting(directly, directly)


def reactor_of_process() -> t.Any:
    """Return the reactor that is installed, installing the default one if none is."""
    from twisted.internet import reactor

    return reactor


def is_tls(transport: t.Any) -> bool:
    """Whether what is written to ``transport`` is encrypted."""
    return bool(ISSLTransport.providedBy(transport))


class ReactorTransport(asyncio.Transport):
    """What a connection on the loop has for a transport, and the producer of the one below.

    The methods of :class:`asyncio.Transport` are for the loop's thread, those in Twisted's
    spelling and those with ``on_reactor`` for the reactor's. What both read, one writes.
    """

    def __init__(self, transport: t.Any, meeting: Meeting) -> None:
        # Made on the reactor; all that is asked of it first is asked here.
        super().__init__(_extra(transport))
        self._transport = transport
        self._meeting = meeting
        self._half_closes = not is_tls(transport) and hasattr(transport, "loseWriteConnection")
        self._lost_on_reactor = False
        # From the loop to the reactor: pieces, and what is to be done after them.
        self._out: collections.deque[bytes | t.Callable[[], None]] = collections.deque()
        self._asked = False
        self._written = 0  # by the loop
        self._taken = 0  # by the reactor
        self._full_below = False
        self._paused = False
        # From the reactor to the loop: pieces, None for the end of what the client sends.
        self._held: collections.deque[memoryview | None] = collections.deque()
        self._came = 0  # to the reactor
        self._handled = 0  # by the loop
        self._throttled = False
        self._reading = True
        self._reading_on_reactor = True
        self._ended_on_reactor = False
        self._delivering = False
        self._closing = False
        self._protocol: t.Any = None
        self._loop: asyncio.AbstractEventLoop

    # --- asyncio's side: the life of the connection

    def begin(self, protocol: asyncio.BaseProtocol) -> None:
        """Make ``protocol`` the connection, on the loop."""
        self._loop = asyncio.get_running_loop()
        self._protocol = protocol
        protocol.connection_made(self)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return t.cast(asyncio.BaseProtocol, self._protocol)

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._hand_over(self._close_on_reactor)

    def abort(self) -> None:
        self._closing = True
        self._out.clear()
        self._meeting.call_reactor(self._abort_on_reactor)

    def lost(self, reason: Failure) -> None:
        """The transport below is gone."""
        self._closing = True
        self._held.clear()
        error = reason.value
        self._protocol.connection_lost(None if isinstance(error, ConnectionDone) else error)

    # --- asyncio's side: writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._closing:
            self._written += len(data)
            self._hand_over(bytes(data))

    def writelines(self, pieces: t.Iterable[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(pieces))

    def can_write_eof(self) -> bool:
        return self._half_closes

    def write_eof(self) -> None:
        self._hand_over(self._half_close_on_reactor)

    def get_write_buffer_size(self) -> int:
        below = self._transport
        waiting = len(getattr(below, "dataBuffer", b"")) - getattr(below, "offset", 0)
        return max(0, waiting) + getattr(below, "_tempDataLen", 0) + self._written - self._taken

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing: what is written leaves in the reactor's next turn, whatever the limits."""

    def _hand_over(self, item: bytes | t.Callable[[], None]) -> None:
        self._out.append(item)
        if not self._asked:
            self._asked = True
            self._meeting.call_reactor(self._write_on_reactor)
        if self._written - self._taken > _HIGH:
            self._settle_pause()

    def _settle_pause(self) -> None:
        """Pause or resume the connection, as the room below tells."""
        full = self._full_below or self._written - self._taken > (_LOW if self._paused else _HIGH)
        if full == self._paused:
            return
        self._paused = full
        if full:
            self._protocol.pause_writing()
            if self._written - self._taken <= _LOW:
                self._settle_pause()  # the reactor was quicker, and has not seen the flag
        else:
            self._protocol.resume_writing()

    # --- asyncio's side: reading

    def pause_reading(self) -> None:
        self._reading = False
        self._meeting.call_reactor(self._read_on_reactor, False)

    def resume_reading(self) -> None:
        self._reading = True
        if self._held:
            self._loop.call_soon(self._deliver)
        self._meeting.call_reactor(self._read_on_reactor, True)

    def is_reading(self) -> bool:
        return self._reading and not self._closing

    def received(self, data: bytes) -> None:
        """Take what has come from the client."""
        self._handled += len(data)
        if self._throttled and self._came - self._handled <= _UNHANDLED // 2:
            self._meeting.call_reactor(self._unthrottle_on_reactor)
        self._held.append(memoryview(data))
        self._deliver()

    def ended(self) -> None:
        """The client sends no more."""
        self._held.append(None)
        self._deliver()

    def _deliver(self) -> None:
        if self._delivering:
            return
        self._delivering = True
        held = self._held
        try:
            while held and self._reading and not self._closing:
                data = held.popleft()
                if data is None:
                    if not self._protocol.eof_received():
                        self.close()
                    continue
                window = self._protocol.get_buffer(len(data))
                size = min(len(window), len(data))
                window[:size] = data[:size]
                if size < len(data):
                    held.appendleft(data[size:])
                self._protocol.buffer_updated(size)
        finally:
            self._delivering = False

    # --- the reactor's side

    def dataReceived(self, data: bytes) -> None:
        """The client has sent ``data``."""
        self._came += len(data)
        if self._came - self._handled > _UNHANDLED:
            self._throttled = True
            self._choose_reading()
        self._meeting.call_loop(self.received, data)

    def readConnectionLost(self) -> None:
        """The client has sent all that it will."""
        self._ended_on_reactor = True
        self._meeting.call_loop(self.ended)

    def connectionLost(self, reason: Failure) -> None:
        """The transport below is gone."""
        self._lost_on_reactor = True
        self._meeting.call_loop(self.lost, reason)

    def pauseProducing(self) -> None:
        """What was written waits for the kernel, in a buffer that is full."""
        self._full_below = True
        self._meeting.call_loop(self._settle_pause)

    def resumeProducing(self) -> None:
        """The kernel has taken it."""
        self._full_below = False
        self._meeting.call_loop(self._settle_pause)

    def stopProducing(self) -> None:
        """The transport below is going."""

    def _write_on_reactor(self) -> None:
        self._asked = False
        out, pieces = self._out, []
        while out:
            item = out.popleft()
            if isinstance(item, bytes):
                pieces.append(item)
                continue
            self._write_pieces_on_reactor(pieces)
            pieces = []
            item()
        self._write_pieces_on_reactor(pieces)

    def _write_pieces_on_reactor(self, pieces: list[bytes]) -> None:
        if not pieces:
            return
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if not self._lost_on_reactor:
            self._transport.write(data)
        self._taken += len(data)
        if self._paused:
            self._meeting.call_loop(self._settle_pause)

    def _close_on_reactor(self) -> None:
        if not self._lost_on_reactor:
            # A producer that is paused would keep the transport open for ever.
            self._transport.unregisterProducer()
            self._transport.loseConnection()

    def _half_close_on_reactor(self) -> None:
        if not self._lost_on_reactor:
            self._transport.unregisterProducer()  # the same
            self._transport.loseWriteConnection()
            self.resumeProducing()  # whoever waits for room

    def _abort_on_reactor(self) -> None:
        if not self._lost_on_reactor:
            self._transport.unregisterProducer()
            self._transport.abortConnection()

    def _read_on_reactor(self, wanted: bool) -> None:
        self._reading_on_reactor = wanted
        self._choose_reading()

    def _unthrottle_on_reactor(self) -> None:
        self._throttled = False
        self._choose_reading()

    def _choose_reading(self) -> None:
        if self._lost_on_reactor or self._ended_on_reactor:
            return
        if self._reading_on_reactor and not self._throttled:
            self._transport.resumeProducing()
        else:
            self._transport.pauseProducing()


def _extra(transport: t.Any) -> dict[str, t.Any]:
    extra: dict[str, t.Any] = {
        "peername": _address(transport.getPeer()),
        "sockname": _address(transport.getHost()),
    }
    socket = getattr(transport, "socket", None)  # through any wrappers
    if socket is not None:
        extra["socket"] = socket
    return extra


def _address(address: t.Any) -> tuple[str, int] | str | None:
    """Return what sockets say where Twisted says ``IPv4Address`` and the like."""
    if hasattr(address, "port"):
        return address.host, address.port
    name = getattr(address, "name", None)
    return name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name
