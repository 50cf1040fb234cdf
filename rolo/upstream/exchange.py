"""One request and its answer over one connection, in wire order."""

from __future__ import annotations

import asyncio
import dataclasses
import enum

from rolo.errors import (
    BadRequest,
    BadResponse,
    BodyInterrupted,
    ExchangeTimeout,
    IdleTimeout,
    RequestTimeout,
    ResponseHeadTimeout,
    RoloError,
    SendError,
    UpstreamClosed,
    UpstreamError,
)
from rolo.net.body import Upload
from rolo.upstream.connection import Connection
from rolo.upstream.request import MAX_INTERIMS, OnInterim, UpstreamRequest
from rolo.upstream.response_body import UpstreamBody
from rolo.upstream.settings import PoolLimits, Timeouts
from rolo.upstream.switched import SwitchedConnection
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

# RFC 9110 section 10.1.1: an origin that does not know Expect must not be waited for.
_CONTINUE_PATIENCE = 1.0
# A body held in memory goes out in one write up to this, else in slices under flow control.
_WHOLE_BODY = 64 * 1024
_NEVER = float("inf")


@dataclasses.dataclass(frozen=True, slots=True)
class ExchangeSettings:
    """What all exchanges of a transport share."""

    timeouts: Timeouts
    limits: PoolLimits
    head_limits: HeadLimits
    lenient_framing: bool
    room: int
    """Bytes of a body that may wait for their reader while the next read is still on."""


class _UploadSink:
    """Frames a request body that is piped to the origin.

    :param left: the declared length; ``None`` sends chunks
    """

    __slots__ = ("_connection", "drained", "left")

    def __init__(self, connection: Connection, left: int | None) -> None:
        self._connection = connection
        self.drained = connection.drained
        self.left = left

    def write(self, piece: bytes) -> bool:
        connection = self._connection
        if self.left is None:
            connection.write(encode_chunk(piece))
        elif len(piece) <= self.left:
            self.left -= len(piece)
            connection.write(piece)
        else:
            raise BadRequest("the request body is longer than its Content-Length")
        return not connection.writing_paused


class RequestState(enum.Enum):
    """How far the request has got. Its head goes out at once."""

    HELD = "nothing of its body is sent: there is no turn for it yet, or 100 is waited for"
    SENDING = "its body is being sent"
    SENT = "all of it is written"


class AnswerState(enum.Enum):
    """How far the answer has got, and with it the exchange."""

    AWAITED = "no byte of it has come"
    HEADS = "its interim heads, or a part of its head, have come"
    BODY = "its final head has come, its body comes"
    COMPLETE = "all of it has come, while our request is still on its way"
    SWITCHED = "it is the 101 that was asked for: what follows is another protocol"
    OVER = "the connection is given back, or broken off"


# The two go their way side by side:
#
#   request   HELD ----> SENDING ----> SENT
#   answer    AWAITED -> HEADS -> BODY -> COMPLETE -> OVER
#                          +----> SWITCHED
#
# From wherever it is the answer gets to OVER: by an error, a timeout, a reader that leaves, and
# from BODY if the request is SENT. An origin may answer before the request is SENT; then the
# answer is COMPLETE for as long as somebody sees the request through.
HELD, SENDING, SENT = RequestState
AWAITED, HEADS, BODY, COMPLETE, SWITCHED, OVER = AnswerState


class Exchange:
    """Sends ``request``, reads its answer, decides over the connection's fate.

    :param connection: idle, and from here on in the hands of the exchange
    :param head: the request head as it goes on the wire, framing fields included
    :param end: loop time at which all must be over, ``None`` for never
    """

    # Most exchanges need few of these: what an instance does not set costs it nothing.
    head: ParsedResponse | None = None
    body: UpstreamBody | None = None
    switched: SwitchedConnection | None = None
    """What a 101 leaves in the place of a body."""
    _waiter: asyncio.Future[None] | None = None
    _error: BaseException | None = None
    _pending: bytearray | None = None
    _decoder: BodyDecoder | None = None
    _interims: list[ParsedResponse] | None = None
    _interim_count = 0
    _upload: asyncio.Task[None] | None = None
    _go_on: asyncio.Future[None] | None = None
    _sent_at = 0.0

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        connection: Connection,
        request: UpstreamRequest,
        settings: ExchangeSettings,
        end: float | None,
    ) -> None:
        self._loop = loop
        self._connection = connection
        self._request = request
        self._settings = settings
        self._end = end
        self._request_state = HELD
        self._answer_state = AWAITED

    async def answer(self, head: bytes, on_interim: OnInterim | None) -> ParsedResponse:
        """Send the request and return the final head, once all 1xx heads before it have been
        passed on (RFC 9110 section 15.2); the body may still be under way.

        Cancelling closes the connection at once.

        :param head: the request head as it goes on the wire, framing fields included
        """
        try:
            self._send(head)
            while True:
                while self._interims:  # more of them come while some are passed on
                    await self._report_interims(on_interim)
                if self.head is not None:
                    return self.head
                if self._error is not None:
                    raise self._error
                self._waiter = self._loop.create_future()
                await self._waiter
        except BaseException:
            self._give_up()
            raise

    @property
    def _retry_safe(self) -> bool:
        """See :mod:`rolo.errors`."""
        return self._answer_state is AWAITED and self._repeatable and self._request.idempotent

    @property
    def _repeatable(self) -> bool:
        """All of the request is still in our hands."""
        return self._request_state is HELD or isinstance(self._request.body, bytes | None)

    # --- sending

    def _send(self, head: bytes) -> None:
        connection, request = self._connection, self._request
        body = request.body
        if request.writer is not None:
            connection.begin(self, b"", self._end)
            # To us it is out: if nothing comes of it, no answer will come in time.
            self._request_state, self._sent_at = SENT, connection.moved
            writing = request.writer(connection, head, request)
            self._upload = self._loop.create_task(writing, name="rolo-upload")
            self._upload.add_done_callback(self._upload_ended)
            return
        if isinstance(body, bytes) and len(body) <= _WHOLE_BODY and not request.expect_continue:
            head, body = head + body, None
        connection.begin(self, head, self._end)
        if body is None:
            self._request_state = SENT
            self._sent_at = connection.moved
            return
        if request.expect_continue:
            self._go_on = self._loop.create_future()
        self._upload = self._loop.create_task(self._send_body(body), name="rolo-upload")
        self._upload.add_done_callback(self._upload_ended)

    async def _send_body(self, body: bytes | Upload) -> None:
        if self._go_on is not None:
            await asyncio.wait((self._go_on,), timeout=_CONTINUE_PATIENCE)
        self._request_state = SENDING
        connection = self._connection
        if isinstance(body, bytes):
            for start in range(0, len(body), _WHOLE_BODY):
                connection.write(body[start : start + _WHOLE_BODY])
                await connection.drained()
            return
        length = self._request.length
        sink = _UploadSink(connection, length)
        await body.pipe(sink)
        if sink.left:
            raise BadRequest("the request body is shorter than its Content-Length")
        if length is None:
            trailers = self._request.request_trailers
            connection.write(encode_last_chunk(trailers() if trailers is not None else None))

    def _upload_ended(self, task: asyncio.Task[None]) -> None:
        self._upload = None
        if task.cancelled():
            if self._answer_state is COMPLETE:
                self._give_up()
            elif self.head is None:
                self._fail(SendError("sending the request was cancelled"))
            # Else the answer refused the body and is still being read.
            return
        error = task.exception()
        if error is None:
            self._request_state = SENT
            self._sent_at = self._loop.time()
            if self._answer_state is COMPLETE:
                # An answer that was over first leaves doubts about who reads what.
                self._answer_state = OVER
                self._connection.close()
        elif self._answer_state is not OVER:
            self._fail(error)

    # --- receiving, told by the connection

    def received(self, data: bytes) -> None:
        if self._answer_state is AWAITED:
            self._answer_state = HEADS
        try:
            if self.body is None:
                rest = self._read_heads(data)
                if rest is not None:
                    self._begin_body(rest)
                    waiter = self._waiter
                    if waiter is not None and not waiter.done():
                        waiter.set_result(None)
            else:
                self._read_body(data)
        except RoloError as exc:
            self._fail(exc)

    def ended(self, cause: Exception | None) -> None:
        if self._answer_state is COMPLETE:
            # The origin has said all and does not care for the rest of our body.
            self._give_up()
            return
        try:
            if self.body is None:
                error = self._no_answer()
                raise error from cause
            if self._decoder is not None and cause is None:
                self._decoder.eof()
                self._body_complete(self._decoder.trailers, False)
                return
            raise BodyInterrupted("the connection broke within the response body") from cause
        except UpstreamError as exc:
            self._fail(exc)

    def _no_answer(self) -> UpstreamError:
        if self._answer_state is not AWAITED:
            return UpstreamClosed("the connection ended within the response head")
        if self._request_state is not SENT:
            return SendError("the connection ended while the request was sent")
        return UpstreamClosed("the connection ended without an answer")

    def _read_heads(self, data: bytes) -> bytes | None:
        """Read up to the final head; return what follows it, or ``None`` if it is incomplete."""
        buffer: bytes | bytearray = data
        seen = 0
        if self._pending is not None:
            buffer = self._pending
            seen = len(buffer)
            buffer += data
        limits = self._settings.head_limits
        while (end := find_head_end(buffer, seen)) >= 0:
            head = parse_response_head(
                bytes(buffer[:end]),
                self._request.method,
                limits,
                lenient=self._settings.lenient_framing,
            )
            if head.status >= 200 or (head.status == 101 and self._request.upgrade is not None):
                self.head = head
                self._pending = None
                return bytes(buffer[end:])
            self._interim(head)
            buffer, seen = buffer[end:], 0
        if len(buffer) > limits.max_head:
            raise BadResponse(f"response head of more than {limits.max_head} bytes")
        if not b"HTTP/".startswith(buffer[:5]):
            raise BadResponse("the answer is not HTTP/1")
        if buffer is not self._pending:
            self._pending = bytearray(buffer)
        return None

    def _interim(self, head: ParsedResponse) -> None:
        if head.status == 101:
            raise BadResponse("101 (Switching Protocols) that nobody asked for")
        if head.status == 100 and self._go_on is not None and not self._go_on.done():
            self._go_on.set_result(None)
        if self._interims is None:
            self._interims = []
        self._interims.append(head)
        self._interim_count += 1
        if self._interim_count > MAX_INTERIMS:
            raise BadResponse("too many interim answers")
        self._wake()

    async def _report_interims(self, on_interim: OnInterim | None) -> None:
        interims, self._interims = self._interims, None
        if on_interim is None:
            return
        try:
            async with asyncio.timeout_at(self._end):
                for head in interims or ():
                    await on_interim(head.status, head.headers)
        except TimeoutError:
            now = self._loop.time()
            if self._end is None or now < self._end:
                raise
            self.expired(now)
            assert self._error is not None
            raise self._error from None

    def _begin_body(self, rest: bytes) -> None:
        head = self.head
        assert head is not None
        if head.status == 101:
            self._answer_state = SWITCHED
            self.switched = SwitchedConnection(self._connection, rest)
            return
        self._answer_state = BODY
        body = self.body = UpstreamBody(head.length, self)
        if self._go_on is not None and self._repeatable and self._upload is not None:
            # Refused before it was sent (RFC 9110 section 10.1.1).
            self._upload.cancel()
        if head.framing is Framing.NONE:
            self._body_complete([], not rest)
        elif head.framing is Framing.LENGTH and len(rest) == head.length:
            body.fill(rest)
            self._over(True)
        else:
            self._decoder = body_decoder(head.framing, head.length, self._settings.head_limits)
            if rest or self._decoder.done:
                self._read_body(rest)

    def _read_body(self, data: bytes) -> None:
        decoder, body = self._decoder, self.body
        if decoder is None or body is None:
            # Bytes after the end, while our own body is still on its way.
            self._give_up()
            return
        pieces = decoder.feed(data)
        if pieces:
            body.push(pieces)
            if body.full(self._settings.room):
                self._connection.pause_reading()
        if decoder.done:
            self._body_complete(decoder.trailers, not decoder.leftover)

    def _body_complete(self, trailers: RawHeaders, reusable: bool) -> None:
        assert self.body is not None
        self._decoder = None
        self.body.finish(trailers)
        self._over(reusable)

    def _over(self, reusable: bool) -> None:
        """All of the answer is here: see what becomes of the connection."""
        head, body = self.head, self.body
        assert head is not None
        assert body is not None
        self._answer_state = COMPLETE
        if not reusable or not head.keep_alive or self._request.writer is not None:
            self._give_up()
        elif self._request_state is not SENT:
            # The reader of the answer may stay to see the request through.
            if self._upload is None:
                self._give_up()
        elif self._request.body is not None and self._connection.unsent:
            # The origin answered without having read what we wrote.
            self._give_up()
        else:
            self._answer_state = OVER
            body.detach()
            self._connection.release()

    # --- the end

    def _fail(self, error: BaseException) -> None:
        if isinstance(error, UpstreamError):
            error.target = error.target or str(self._request.origin)
            error.retry_safe = self._retry_safe
        if self._error is None:
            self._error = error
        if self.body is not None:
            self.body.fail(error)
        self._give_up()
        self._wake()

    def _give_up(self) -> None:
        """Leave the connection in a state in which nobody can use it again."""
        if self._answer_state is OVER:
            return
        self._answer_state = OVER
        if self.body is not None:
            self.body.detach()
        if self._upload is not None:
            self._upload.cancel()
        self._connection.abort()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # --- told by the reader of the body

    def reader_waits(self) -> None:
        self._connection.touch()

    def reader_took(self) -> None:
        self._connection.resume_reading()

    def reader_left(self) -> None:
        self._give_up()

    # --- the clock

    def deadline(self, now: float) -> float:
        timeouts, connection = self._settings.timeouts, self._connection
        if self._request_state is not SENT or connection.writing_paused:
            limit, since = timeouts.idle, connection.moved
        elif self.head is None:
            limit, since = timeouts.response, max(self._sent_at, connection.drained_at)
        else:
            # While the reader is busy elsewhere the origin cannot be blamed.
            waiting = self.body is not None and self.body.waiting
            limit, since = timeouts.idle, connection.moved if waiting else now
        at = _NEVER if limit is None else since + limit
        return at if self._end is None else min(at, self._end)

    def expired(self, now: float) -> None:
        timeouts = self._settings.timeouts
        error: RoloError
        if self._end is not None and now >= self._end:
            error = ExchangeTimeout(f"not over within {timeouts.total:g} s")
        elif self._connection.writing_paused:
            error = IdleTimeout(f"the origin took no byte for {timeouts.idle:g} s")
            error.phase = "request body"
        elif self._request_state is not SENT:
            error = RequestTimeout(f"no byte of the request came for {timeouts.idle:g} s")
        elif self.head is None:
            error = ResponseHeadTimeout(f"no answer within {timeouts.response:g} s")
        else:
            error = IdleTimeout(f"no byte came for {timeouts.idle:g} s")
        self._fail(error)
