"""One HTTP/1.1 exchange with an origin over one blocking socket.

The rules (heads, framing) are those of ``rolo.wire.http1``; this file adds the waiting.
The socket may be a TLS socket. Nothing here knows of pools.
"""

from __future__ import annotations

import selectors
import socket
import ssl
import time
import typing as t

from rolo.errors import (
    BadRequest,
    BadResponse,
    BodyInterrupted,
    ExchangeTimeout,
    IdleTimeout,
    ResponseHeadTimeout,
    SendError,
    UpstreamClosed,
    UpstreamError,
)
from rolo.upstream.request import MAX_INTERIMS, UpstreamRequest
from rolo.upstream.settings import PoolLimits, Timeouts
from rolo.wire.fields import RawHeaders
from rolo.wire.http1 import (
    BodyDecoder,
    Framing,
    HeadLimits,
    ParsedResponse,
    body_decoder,
    encode_chunk,
    encode_last_chunk,
    find_head_end,
    parse_response_head,
)

OnSyncInterim = t.Callable[[int, RawHeaders], None]
"""Told of every 1xx answer (100 and 103 included, 101 never) in the order of arrival."""

READ_SIZE = 64 * 1024

CONTINUE_WAIT = 1.0
"""Seconds to wait for 100 (Continue) before the body is sent all the same. RFC 9110
section 10.1.1: a client should not wait for an indefinite period."""


_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class BodySourceError(Exception):
    """The request body could not be pulled; ``__cause__`` is what its source raised."""


class Conversation:
    """The request and the answer of one exchange, in wire order.

    :param deadline: ``time.monotonic()`` value at which the whole exchange is over, or
        ``None`` for no limit
    """

    def __init__(
        self,
        sock: socket.socket,
        request: UpstreamRequest,
        *,
        timeouts: Timeouts,
        limits: PoolLimits,
        deadline: float | None = None,
        on_interim: OnSyncInterim | None = None,
        lenient_framing: bool = False,
    ) -> None:
        self.sent = 0
        """Bytes of the request handed to the socket."""
        self.received = 0
        """Bytes of the answer seen."""
        self.pulled = False
        """Whether anything was taken from a pulled body."""
        self._sock = sock
        self._request = request
        self._timeouts = timeouts
        self._max_buffer = limits.max_buffer
        self._lenient = lenient_framing
        self._limits = HeadLimits(max_head=limits.max_head, max_fields=limits.max_fields)
        self._deadline = deadline
        self._on_interim = on_interim
        self._buffer = bytearray()
        self._head: ParsedResponse | None = None
        self._send_error: OSError | None = None
        self._hear_error: OSError | None = None
        self._continued = False
        self._interims = 0
        self._complete = False  # the request was sent to its end
        self._eof = False

    def answer(self) -> ParsedResponse:
        """Send the request and wait for the final head of its answer.

        :raises: as :meth:`send_request` and :meth:`read_head`; an error of the origin says
            which one, and whether a retry is safe
        """
        try:
            self.send_request()
            return self.read_head()
        except UpstreamError as error:
            self.complete(error)
            raise

    def complete(self, error: UpstreamError) -> None:
        """Say in ``error`` what only the exchange knows."""
        error.target = error.target or str(self._request.origin)
        error.retry_safe = (
            not self.received and not self.pulled and (self._request.idempotent or not self.sent)
        )

    @property
    def length(self) -> int | None:
        """Bytes that the final head declares for the body."""
        return None if self._head is None else self._head.length

    # -- the request ---------------------------------------------------------------------

    def send_request(self) -> None:
        """Send head and body.

        An origin that answers with 300 or more while the body is under way has heard
        enough: the rest is not sent. One that answers with 2xx goes on reading, and so
        does this. A connection that breaks here may still hold an answer, so it is not an
        error before :meth:`read_head` has looked.

        :raises BodySourceError: the body's source raised
        :raises BadRequest: the head cannot be written well-formed, or a pulled body differs
            from its declared length
        :raises UnsendableRequest: the head holds fields that only we write
        :raises IdleTimeout: the origin takes no more bytes
        """
        request = self._request
        head = request.encoded_head()
        body = request.body
        if isinstance(body, bytes | bytearray) and not request.expect_continue:
            self._complete = self._send(head + body)
            return
        if not self._send(head):
            return
        if body is None:
            self._complete = True
            return
        if request.expect_continue and not self._await_continue():
            return
        if isinstance(body, bytes | bytearray):
            self._complete = self._send(body)
        else:
            self._complete = self._send_pulled(body)

    def _await_continue(self) -> bool:
        """Wait for 100 (Continue); false if a final answer came instead."""
        until = time.monotonic() + CONTINUE_WAIT
        while self._head is None and not self._continued and not self._eof:
            wait = until - time.monotonic()
            if wait <= 0:
                return True
            if self._wait_ready(selectors.EVENT_READ, wait):
                self._listen()
        return self._continued and self._head is None

    def _send_pulled(self, body: t.Any) -> bool:
        length = self._request.length
        left = length
        for piece in self._pieces(body):
            if left is not None:
                left -= len(piece)
                if left < 0:
                    raise BadRequest(f"the body is longer than its length {length}")
            self._listen()
            if self._refused() or not self._send(
                encode_chunk(piece) if left is None else piece, listen=True
            ):
                return False
        if left:
            raise BadRequest(f"the body is {left} bytes shorter than its length {length}")
        if length is None:
            trailers = self._request.request_trailers
            return self._send(encode_last_chunk(trailers() if trailers else []), listen=True)
        return True

    def _pieces(self, body: t.Any) -> t.Iterator[bytes]:
        try:
            for piece in body:
                self.pulled = True
                if piece:
                    yield bytes(piece)
        except Exception as error:
            self.pulled = True
            raise BodySourceError from error

    def _refused(self) -> bool:
        return self._head is not None and self._head.status >= 300

    def _send(self, data: bytes | bytearray, *, listen: bool = False) -> bool:
        """Send all of ``data``; false if the origin will not have it.

        With ``listen`` an early answer is noticed while the origin is not taking bytes.
        """
        view = memoryview(data)
        events = selectors.EVENT_WRITE | (selectors.EVENT_READ if listen else 0)
        try:
            while view:
                self._sock.settimeout(0)
                try:
                    count = self._sock.send(view)
                except _WOULD_BLOCK as error:
                    wants_read = isinstance(error, ssl.SSLWantReadError)
                    self._wait_to_send(selectors.EVENT_READ if wants_read else events)
                    if listen:
                        self._listen()
                        if self._refused():
                            return False
                        if self._deaf():
                            events = selectors.EVENT_WRITE
                else:
                    self.sent += count
                    view = view[count:]
        except OSError as error:
            self._send_error = error
            return False
        return True

    def _wait_to_send(self, events: int) -> None:
        timeout = self._time_left(self._timeouts.idle)
        if not self._wait_ready(events, timeout):
            raise self._late(IdleTimeout, "the origin took no bytes", self._timeouts.idle)

    # -- the answer ----------------------------------------------------------------------

    def read_head(self) -> ParsedResponse:
        """Wait for the final head; 1xx answers go to ``on_interim``.

        :raises ResponseHeadTimeout, ExchangeTimeout: it did not come in time
        :raises UpstreamClosed: the connection ended before it
        :raises SendError: as before, and the request could not be sent
        :raises BadResponse: it is malformed, or its framing is ambiguous
        """
        until = _after(self._timeouts.response)
        while self._head is None:
            self._take_heads()
            if self._head is None:
                self._fill_head(until)
        return self._head

    def _take_heads(self) -> None:
        """Consume the heads that are buffered, up to the final one."""
        while self._head is None:
            end = find_head_end(self._buffer)
            if end < 0:
                if len(self._buffer) > self._limits.max_head:
                    raise BadResponse("the response head is too large")
                return
            block = bytes(self._buffer[:end])
            del self._buffer[:end]
            head = parse_response_head(
                block, self._request.method, self._limits, lenient=self._lenient
            )
            if head.status == 101 and self._request.upgrade is None:
                raise BadResponse("the origin switched protocols unasked")
            if head.status >= 200 or head.status == 101:
                self._head = head
                return
            self._interims += 1
            if self._interims > MAX_INTERIMS:
                raise BadResponse("too many interim answers")
            self._continued = self._continued or head.status == 100
            if self._on_interim is not None:
                self._on_interim(head.status, head.headers)

    def _fill_head(self, until: float | None) -> None:
        try:
            data = self._receive(None if until is None else until - time.monotonic())
        except TimeoutError as error:
            raise self._late(
                ResponseHeadTimeout, "no response head", self._timeouts.response
            ) from error
        except OSError as error:
            raise self._no_answer(error) from error
        if not data:
            raise self._no_answer(self._send_error)
        self._buffer += data

    def _no_answer(self, error: OSError | None) -> UpstreamError:
        kind = SendError if self._send_error is not None else UpstreamClosed
        when = "before" if not self.received else "in the middle of"
        reason = f": {error}" if error is not None else ""
        return kind(f"closed {when} the response head{reason}")

    def _listen(self) -> None:
        """Take what has arrived, without waiting for it."""
        if self._deaf():
            return
        self._sock.settimeout(0)
        try:
            data = self._sock.recv(READ_SIZE)
        except _WOULD_BLOCK:
            return
        except OSError as error:
            self._eof = True
            self._hear_error = error
            self._send_error = self._send_error or error
            return
        self._eof = not data
        self.received += len(data)
        self._buffer += data
        self._take_heads()

    def _deaf(self) -> bool:
        """Whether there is nothing more to hear for now: the end, or a full buffer."""
        return self._eof or len(self._buffer) >= self._max_buffer

    def early(self) -> bytes:
        """Return what has come behind a head that switches to another protocol."""
        return bytes(self._buffer)

    # -- its body ------------------------------------------------------------------------

    def start_body(self) -> BodyDecoder:
        """Return the decoder of the body announced by the final head."""
        assert self._head is not None
        return body_decoder(self._head.framing, self._head.length, self._limits, side="response")

    def read_body(self) -> bytes:
        """Return the next bytes on the wire, ``b""`` once the connection has ended.

        :raises IdleTimeout, ExchangeTimeout: nothing came in time
        :raises BodyInterrupted: the connection broke
        """
        if self._buffer:
            data = bytes(self._buffer)
            self._buffer.clear()
            return data
        try:
            if self._hear_error is not None:
                raise self._hear_error
            return b"" if self._eof else self._receive(self._timeouts.idle)
        except TimeoutError as error:
            raise self._late(
                IdleTimeout, "the response body stalled", self._timeouts.idle
            ) from error
        except OSError as error:
            raise BodyInterrupted(f"the response body broke off: {error}") from error

    def may_be_reused(self, decoder: BodyDecoder) -> bool:
        """Whether the next exchange may follow on this connection: both sides ended where
        their framing says, and the origin agreed."""
        head = self._head
        return (
            head is not None
            and head.keep_alive
            and head.framing is not Framing.CLOSE
            and decoder.done
            and not decoder.leftover
            and not self._buffer
            and self._complete
            and self._send_error is None
            and not self._eof
        )

    # -- waiting -------------------------------------------------------------------------

    def _receive(self, timeout: float | None) -> bytes:
        left = self._time_left(timeout)
        if left is not None and left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        data = self._sock.recv(READ_SIZE)
        self._eof = not data
        self.received += len(data)
        return data

    def _time_left(self, timeout: float | None) -> float | None:
        if self._deadline is None:
            return timeout
        left = max(0.0, self._deadline - time.monotonic())
        return left if timeout is None else min(timeout, left)

    def _wait_ready(self, events: int, timeout: float | None) -> bool:
        with selectors.DefaultSelector() as selector:
            selector.register(self._sock, events)
            return bool(selector.select(timeout))

    def _late(self, kind: type[UpstreamError], what: str, seconds: float | None) -> UpstreamError:
        if self._deadline is not None and time.monotonic() >= self._deadline:
            return ExchangeTimeout(f"{what}: the exchange took {self._timeouts.total} s")
        return kind(f"{what} within {seconds} s")


def _after(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout
