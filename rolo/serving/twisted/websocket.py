"""Websockets on sites of Twisted's web server that are a program's own."""

from __future__ import annotations

import queue
import threading
import time
import typing as t

from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol
from twisted.internet.threads import blockingCallFromThread
from twisted.python import threadable
from twisted.python.failure import Failure
from twisted.web.server import Request
from werkzeug.datastructures import Headers
from wsproto import ConnectionType, WSConnection, events
from wsproto.connection import ConnectionState
from wsproto.utilities import LocalProtocolError
from zope.interface import implementer

from rolo.serving.twisted.headers import to_flat_header_list
from rolo.serving.twisted.requests import HeaderPreservingHTTPChannel
from rolo.serving.twisted.transport import reactor_of_process
from rolo.websocket import adapter
from rolo.websocket.errors import WebSocketDisconnectedError, WebSocketProtocolError

_MAX_MESSAGE = 16 * 1024 * 1024
_MAX_QUEUED = 64
"""Messages that may wait for their handler before reading stops."""
_FRAMING = frozenset(("connection", "content-length", "transfer-encoding", "keep-alive"))


@implementer(IPushProducer)
class WebSocketChannel(Protocol):
    """A websocket on the connection of the request that asks for it. The reactor's thread only.

    What comes is put into :attr:`eventQueue` as events of wsproto: first the handshake, then
    whole messages, at last the close.
    """

    closeTimeout: float = 5
    """Seconds for the client to answer a close frame."""
    closeAbortTimeout: float = 30
    """Seconds from then on for what is unsent, before the connection is dropped."""

    def __init__(self, request: Request, reactor: t.Any = None) -> None:
        self.request = request
        self.reactor = reactor or reactor_of_process()
        self.wsproto = WSConnection(ConnectionType.SERVER)
        self.eventQueue: queue.Queue[events.Event] = queue.Queue()
        self.upgraded = False
        self.lastReceivedAt = time.monotonic()
        self.writable = threading.Event()
        """Cleared while the client does not take what is sent."""
        self.writable.set()
        self._parts: list[t.Any] = []
        self._size = 0
        self._reading = True
        self._over = False
        self._call: t.Any = None

    @property
    def closed(self) -> bool:
        """Nothing can be sent any more."""
        return self._over or self.wsproto.state is ConnectionState.CLOSED

    def initiateUpgrade(self) -> None:
        """Take the connection over and read the handshake.

        :raises RemoteProtocolError: it is broken
        """
        request = self.request
        self.wsproto.initiate_upgrade_connection(
            to_flat_header_list(request.requestHeaders), request.uri.decode("latin-1")
        )
        self.transport = request.transport
        early = b""
        if isinstance(request.channel, HeaderPreservingHTTPChannel):
            early = request.channel.upgrade(self)
        else:
            request.transport.protocol = self
        self._takeEvents()
        if early:
            self.dataReceived(early)

    def dataReceived(self, data: bytes) -> None:
        if self._over:
            return  # behind a close, nobody listens
        self.wsproto.receive_data(data)
        self._takeEvents()

    def _takeEvents(self) -> None:
        for event in self.wsproto.events():
            if isinstance(event, events.Message):
                self._takePart(event)
            elif isinstance(event, events.Ping):
                self.lastReceivedAt = time.monotonic()
                self._write(self.wsproto.send(event.response()))
            elif isinstance(event, events.CloseConnection):
                if self.wsproto.state is ConnectionState.REMOTE_CLOSING:
                    self._write(self.wsproto.send(event.response()))
                    self._end(event)
                else:
                    self._refuse(int(event.code), event.reason or "")  # it is wsproto's own
            elif isinstance(event, events.Request):
                self.eventQueue.put(event)

    def _takePart(self, event: events.Message[t.Any]) -> None:
        self._parts.append(event.data)
        self._size += len(event.data)
        if self._size > _MAX_MESSAGE:
            self._refuse(1009, "message too large")
            return
        if not event.message_finished:
            return
        parts, self._parts, self._size = self._parts, [], 0
        self.lastReceivedAt = time.monotonic()
        if isinstance(event, events.TextMessage):
            self.eventQueue.put(events.TextMessage("".join(parts)))
        else:
            self.eventQueue.put(events.BytesMessage(b"".join(map(bytes, parts))))
        self.chooseReading()

    def chooseReading(self) -> None:
        """Read on, or not, as the handler keeps up."""
        reading = self.eventQueue.qsize() < _MAX_QUEUED
        if reading != self._reading and not self._over:
            self._reading = reading
            transport = self.request.transport
            (transport.resumeProducing if reading else transport.pauseProducing)()

    def _refuse(self, code: int, reason: str) -> None:
        """What has come breaks the protocol: say so, and close."""
        close = events.CloseConnection(code, reason[:60])
        if self.wsproto.state is ConnectionState.OPEN:
            self._write(self.wsproto.send(close))
        self._end(close)

    def wsSend(self, event: events.Event) -> None:
        """Send ``event``.

        :raises LocalProtocolError: it cannot be sent in this state
        """
        if isinstance(event, events.AcceptConnection):
            self.upgraded = True
        self._write(self.wsproto.send(event))

    def wsReject(
        self,
        statusCode: int,
        extraHeaders: Headers | None,
        body: t.Iterable[bytes] | None = None,
    ) -> None:
        """Answer the handshake with an HTTP response, and close."""
        content = b"".join(body or ())
        fields = [
            (name.encode("latin-1"), value.encode("latin-1"))
            for name, value in extraHeaders or ()
            if name.lower() not in _FRAMING
        ]
        fields += [(b"Content-Length", b"%d" % len(content)), (b"Connection", b"close")]
        self.wsSend(events.RejectConnection(statusCode, fields, has_body=True))
        self.wsSend(events.RejectData(content))
        self.close()

    def wsClose(self, code: int = 1000, reason: str | None = None) -> None:
        """Start the closing handshake, which takes ``closeTimeout`` seconds at most."""
        if self.wsproto.state is ConnectionState.CONNECTING:
            self.wsReject(403, None)
        elif self.wsproto.state is ConnectionState.OPEN:
            self._write(self.wsproto.send(events.CloseConnection(code, reason)))
            self._callLater(self.closeTimeout, self._giveUp)

    def close(self) -> None:
        """Close the connection once everything is sent; drop it after ``closeAbortTimeout``."""
        self._callLater(self.closeAbortTimeout, self._abort)
        # A producer that is paused would keep the transport open for ever.
        self.request.transport.unregisterProducer()
        self.writable.set()
        self.request.transport.loseConnection()

    def _giveUp(self) -> None:
        self._end(events.CloseConnection(1006, ""))

    def _abort(self) -> None:
        self.request.transport.abortConnection()

    def _end(self, close: events.CloseConnection) -> None:
        if not self._over:
            self._over = True
            self.eventQueue.put(close)
            self.close()

    def connectionLost(self, reason: Failure) -> None:
        self._callLater(None, None)
        self.writable.set()
        if not self._over:
            self._over = True
            self.eventQueue.put(events.CloseConnection(1006, ""))

    def _callLater(self, seconds: float | None, function: t.Any) -> None:
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None if seconds is None else self.reactor.callLater(seconds, function)

    def _write(self, data: bytes) -> None:
        self.request.transport.write(data)

    def pauseProducing(self) -> None:
        self.writable.clear()

    def resumeProducing(self) -> None:
        self.writable.set()

    def stopProducing(self) -> None:
        self.writable.set()


class TwistedWebSocketAdapter(adapter.WebSocketAdapter):
    """The sync face of a :class:`WebSocketChannel`, for any thread.

    On the reactor's own thread only what does not wait may be called.
    """

    def __init__(self, channel: WebSocketChannel, reactor: t.Any = None) -> None:
        self.channel = channel
        self.reactor = reactor or channel.reactor

    def receive(self, timeout: float | None = None) -> adapter.CreateConnection | adapter.Message:
        try:
            event = self.channel.eventQueue.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError("no websocket message in time") from None
        if isinstance(event, events.CloseConnection):
            self.channel.eventQueue.put(event)  # for whoever asks again
            raise WebSocketDisconnectedError(int(event.code), event.reason or "")
        self.reactor.callFromThread(self.channel.chooseReading)
        if isinstance(event, events.Request):
            return adapter.CreateConnection()
        if isinstance(event, events.TextMessage):
            return adapter.TextMessage(event.data)
        assert isinstance(event, events.BytesMessage)
        return adapter.BytesMessage(bytes(event.data))

    def send(self, event: adapter.Message, timeout: float | None = None) -> None:
        if not self.channel.writable.wait(timeout):
            raise TimeoutError("the client does not take what is sent")
        data = event.data
        message = events.TextMessage(data) if isinstance(data, str) else events.BytesMessage(data)
        self._call(self.channel.wsSend, message)

    @property
    def last_received_at(self) -> float:
        return self.channel.lastReceivedAt

    def accept(
        self,
        subprotocol: str | None = None,
        extensions: list[str] | None = None,
        extra_headers: Headers | None = None,
        timeout: float | None = None,
    ) -> None:
        fields = [
            (name.encode("latin-1"), value.encode("latin-1")) for name, value in extra_headers or ()
        ]
        self._call(self.channel.wsSend, events.AcceptConnection(subprotocol, extra_headers=fields))

    def reject(
        self,
        status_code: int,
        headers: Headers | None = None,
        body: t.Iterable[bytes] | None = None,
        timeout: float | None = None,
    ) -> None:
        self._call(self.channel.wsReject, status_code, headers, list(body or ()))

    def close(
        self, code: int = 1001, reason: str | None = None, timeout: float | None = None
    ) -> None:
        if not self.channel.closed:
            self._call(self.channel.wsClose, code, reason)

    def _call(self, function: t.Callable[..., t.Any], *args: t.Any) -> None:
        if self.channel.closed:
            raise WebSocketDisconnectedError(1006, "")
        try:
            if threadable.isInIOThread():
                function(*args)
            else:
                blockingCallFromThread(self.reactor, function, *args)
        except LocalProtocolError as exc:
            raise WebSocketProtocolError(str(exc)) from exc
