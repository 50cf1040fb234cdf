"""A websocket to an origin on a blocking socket, for where there is no event loop.

The rules (handshake, frames) are those of the one on the loop; this file adds the waiting.
"""

from __future__ import annotations

import collections
import contextlib
import selectors
import socket
import ssl
import threading
import time
import typing as t

from rolo.bridge.lazy_response import UpstreamAnswer
from rolo.errors import UpstreamError
from rolo.upstream.blocking_transport import SwitchedSocket, SyncTransport
from rolo.upstream.settings import DEFAULT_WEBSOCKET_SETTINGS, WebSocketSettings
from rolo.upstream.websocket import Handshake, agreed, handshake_request, passed_on_fields
from rolo.websocket.adapter import BytesMessage, Message, TextMessage, WebSocketAdapter
from rolo.websocket.errors import WebSocketDisconnectedError, WebSocketProtocolError
from rolo.wire.close_codes import LOST
from rolo.wire.fields import RawHeaders
from rolo.wire.permessage_deflate import Deflate
from rolo.wire.websocket_frames import (
    Close,
    FrameReader,
    Ping,
    encode_close,
    encode_message,
    encode_pong,
)

READ_SIZE = 256 * 1024
_WRITE_SIZE = 64 * 1024


def open_blocking_websocket(
    transport: SyncTransport,
    handshake: Handshake,
    settings: WebSocketSettings = DEFAULT_WEBSOCKET_SETTINGS,
) -> BlockingWebSocket | UpstreamAnswer:
    """As :func:`~rolo.upstream.websocket.open_websocket`.

    :raises UpstreamError: and others, as :meth:`SyncTransport.send`
    """
    request, key = handshake_request(handshake, settings)
    answer = transport.send(request)
    if answer.status != 101:
        return answer
    switched: SwitchedSocket = answer.body
    try:
        subprotocol, deflate = agreed(answer.headers, key, handshake, settings)
    except UpstreamError as exc:
        switched.close()
        exc.target = str(handshake.origin)
        raise
    headers = passed_on_fields(answer.headers)
    return BlockingWebSocket(switched, settings, deflate, subprotocol, headers)


class BlockingWebSocket(WebSocketAdapter):
    """An open websocket to an origin. One thread may receive while another sends.

    :ivar subprotocol: what the origin chose, ``None`` for none
    :ivar headers: the end-to-end fields of its 101
    """

    def __init__(
        self,
        switched: SwitchedSocket,
        settings: WebSocketSettings,
        deflate: Deflate | None,
        subprotocol: str | None,
        headers: RawHeaders,
    ) -> None:
        self.subprotocol = subprotocol
        self.headers = headers
        self._sock, early = switched.take_over()
        self._sock.settimeout(0)
        self._deflate = deflate
        self._reader = FrameReader(client=True, max_message=settings.max_message, deflate=deflate)
        self._close_timeout = settings.close_timeout
        self._messages: collections.deque[str | bytes] = collections.deque()
        self._last_received_at = time.monotonic()
        self._reading = threading.Lock()
        """Held by who waits for the origin."""
        # Never while waiting. TLS allows one call at a time, and frames must not be mixed.
        self._lock = threading.RLock()
        self._waiting = 0
        """Threads that wait for the socket."""
        self._unsent = bytearray()
        self._close_sent = False
        self._closed: WebSocketDisconnectedError | None = None
        self._feed(early)

    @property
    def last_received_at(self) -> float:
        return self._last_received_at

    def receive(self, timeout: float | None = None) -> Message:
        """Return the next message.

        :raises WebSocketDisconnectedError: closed or lost (1006), all messages read
        """
        deadline = _Deadline(timeout)
        with self._turn_to_read(deadline):
            while not self._messages:
                if self._closed is not None:
                    raise WebSocketDisconnectedError(self._closed.code, self._closed.reason)
                self._read(deadline)
            data = self._messages.popleft()
        self._last_received_at = time.monotonic()
        return TextMessage(data) if isinstance(data, str) else BytesMessage(data)

    def send(self, event: Message, timeout: float | None = None) -> None:
        """Send a message; return when all of it is handed to the system.

        :raises TimeoutError: that took too long; what is left goes out before the next one
        :raises WebSocketDisconnectedError: closed or lost
        :raises WebSocketProtocolError: closed from our side
        """
        with self._lock:
            if self._closed is not None:
                raise WebSocketDisconnectedError(self._closed.code, self._closed.reason)
            if self._close_sent:
                raise WebSocketProtocolError("the websocket is closed from our side")
            pieces = encode_message(event.data, client=True, deflate=self._deflate)
            self._unsent += b"".join(pieces)
        self._flush(_Deadline(timeout))

    def close(
        self, code: int = 1001, reason: str | None = None, timeout: float | None = None
    ) -> None:
        """Close, and wait for the origin's answer, ``close_timeout`` seconds unless told
        otherwise; what it still sends is discarded."""
        deadline = _Deadline(self._close_timeout if timeout is None else timeout)
        with contextlib.suppress(TimeoutError, WebSocketDisconnectedError):
            self._send_close(code, reason or "")
            self._flush(deadline)
            with self._turn_to_read(deadline):
                while self._closed is None:
                    self._read(deadline)
        self._end(LOST, "")

    # --- reading

    @contextlib.contextmanager
    def _turn_to_read(self, deadline: _Deadline) -> t.Iterator[None]:
        if not self._reading.acquire(timeout=deadline.left(or_else=-1)):
            raise TimeoutError("no websocket message in time")
        try:
            yield
        finally:
            self._reading.release()

    def _read(self, deadline: _Deadline) -> None:
        if self._reader.more:
            self._feed(b"")
            return
        try:
            data = self._receive(deadline)
        except TimeoutError:
            raise TimeoutError("no websocket message in time") from None
        except OSError:
            data = b""
        if data:
            self._feed(data)
        else:
            self._end(LOST, "")

    def _receive(self, deadline: _Deadline) -> bytes:
        while True:
            with self._lock:
                try:
                    return self._sock.recv(READ_SIZE)
                except (BlockingIOError, ssl.SSLWantReadError):
                    wanted = selectors.EVENT_READ
                except ssl.SSLWantWriteError:
                    wanted = selectors.EVENT_WRITE
                except TimeoutError as exc:  # of the connection, not of ours
                    raise ConnectionAbortedError from exc
                # An answer to a ping may not have found room.
                unsent = bool(self._unsent)
            self._wait(wanted | (selectors.EVENT_WRITE if unsent else 0), deadline)
            if unsent:
                self._write()

    def _feed(self, data: bytes) -> None:
        for event in self._reader.feed(data):
            if isinstance(event, str | bytes):
                if not self._close_sent:
                    self._messages.append(event)
            elif isinstance(event, Ping):
                self._answer_ping(event.payload)
            elif isinstance(event, Close):
                # RFC 6455 section 5.5.1: answer with the same code.
                self._last_words(event.code, event.reason)
                return
        if (failure := self._reader.failure) is not None and self._closed is None:
            self._last_words(failure.code, failure.reason)

    def _answer_ping(self, payload: bytes) -> None:
        with self._lock:
            # RFC 6455 section 5.5.3: more than one, for somebody who does not read, would be
            # memory that he decides about.
            if self._close_sent or self._unsent:
                return
            self._unsent += encode_pong(payload, client=True)
        self._write()

    # --- writing

    def _flush(self, deadline: _Deadline) -> None:
        while (wanted := self._write()) is not None:
            try:
                self._wait(wanted, deadline)
            except TimeoutError:
                raise TimeoutError("not sent in time") from None
            except OSError as exc:
                raise WebSocketDisconnectedError(LOST, "") from exc

    def _write(self) -> int | None:
        """Send what there is room for; return what to wait for, ``None`` when all is sent.

        :raises WebSocketDisconnectedError: the connection is lost
        """
        with self._lock:
            try:
                while self._unsent:
                    sent = self._sock.send(bytes(self._unsent[:_WRITE_SIZE]))
                    del self._unsent[:sent]
            except (BlockingIOError, ssl.SSLWantWriteError):
                return selectors.EVENT_WRITE
            except ssl.SSLWantReadError:
                return selectors.EVENT_READ
            except OSError as exc:
                self._unsent.clear()
                raise WebSocketDisconnectedError(LOST, "") from exc
        return None

    # --- the end

    def _send_close(self, code: int, reason: str) -> None:
        with self._lock:
            if self._closed is None and not self._close_sent:
                self._close_sent = self._reader.discarding = True
                self._unsent += encode_close(code, reason, client=True)

    def _last_words(self, code: int, reason: str) -> None:
        """Close without waiting for an answer."""
        self._send_close(code, reason)
        with contextlib.suppress(TimeoutError, WebSocketDisconnectedError):
            self._flush(_Deadline(self._close_timeout))
        self._end(code, reason)

    def _end(self, code: int, reason: str) -> None:
        if self._closed is None:
            self._closed = WebSocketDisconnectedError(code, reason)
        with self._lock:
            # Who waits for it on another thread wakes up, which closing alone would not do.
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)
            self._close_socket()

    def _close_socket(self) -> None:
        if self._closed is not None and not self._waiting:
            self._sock.close()

    # --- waiting

    def _wait(self, events: int, deadline: _Deadline) -> None:
        """:raises TimeoutError: the deadline is over
        :raises OSError: the socket is closed
        """
        with self._lock:
            if self._sock.fileno() < 0:
                raise OSError("the socket is closed")
            self._waiting += 1
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self._sock, events)
                if not selector.select(deadline.left(or_else=None)):
                    raise TimeoutError
        finally:
            with self._lock:
                self._waiting -= 1
                self._close_socket()


D = t.TypeVar("D")


class _Deadline:
    """A point in time, or never.

    :param seconds: from now; ``None`` for never
    """

    def __init__(self, seconds: float | None) -> None:
        self._at = None if seconds is None else time.monotonic() + seconds

    def left(self, *, or_else: D) -> float | D:
        """Return the seconds until then, not less than none; ``or_else`` for never."""
        return or_else if self._at is None else max(0.0, self._at - time.monotonic())
