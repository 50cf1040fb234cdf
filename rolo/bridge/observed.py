"""Downstreams with somebody looking on: they tell of what passes, and change nothing.

They stand in front of the real ones only in a bridge that has observers.
"""

from __future__ import annotations

import time
import typing as t

from rolo.bridge.downstream import (
    AnswerDownstream,
    Capabilities,
    HttpDownstream,
    RequestHead,
    WebSocketDownstream,
    WebSocketWire,
    Wire,
)
from rolo.bridge.lazy_response import LazyResponse
from rolo.bridge.observation import Observation
from rolo.bridge.observer import (
    Answer,
    AnswerBody,
    AnswerTrailers,
    Ended,
    Exchange,
    Interim,
    Message,
    Outcome,
    RequestBody,
    RequestTrailers,
    Side,
    WebSocketClosed,
)
from rolo.errors import ClientDisconnected, DownstreamError, Failure, InjectedFault
from rolo.net.body_stream import SeenSink, Sink
from rolo.response import Response
from rolo.websocket.errors import WebSocketDisconnectedError
from rolo.websocket.request import WebSocketRequest
from rolo.wire.close_codes import LOST
from rolo.wire.fields import RawHeaders

if t.TYPE_CHECKING:
    from rolo.bridge.websocket import PortalWebSocketAdapter
    from rolo.portal.portal import Portal

_BODILESS = (204, 304)

HttpService = t.Callable[[HttpDownstream], t.Coroutine[t.Any, t.Any, None]]
WebSocketService = t.Callable[[WebSocketDownstream], t.Coroutine[t.Any, t.Any, None]]


def observed_http(serve: HttpService, observation: Observation) -> HttpService:
    """Return ``serve`` with somebody looking on."""

    async def serve_observed(downstream: HttpDownstream) -> None:
        begun = Progress(observation, observation.begin("http", downstream.head))
        observed = ObservedHttp(downstream, begun)
        try:
            await serve(observed)
        except BaseException as exc:
            observed.progress.broken = exc
            raise
        finally:
            observed.over()

    return serve_observed


def observed_websockets(serve: WebSocketService, observation: Observation) -> WebSocketService:
    """Return ``serve`` with somebody looking on."""

    async def serve_observed(downstream: WebSocketDownstream) -> None:
        observed = ObservedWebSocket(downstream, observation)
        try:
            await serve(observed)
        except BaseException as exc:
            observed.progress.broken = exc
            raise
        finally:
            observed.over()

    return serve_observed


class Progress:
    """How far an exchange has come; tells of its steps."""

    __slots__ = (
        "_headers",
        "ahead",
        "answered",
        "broken",
        "exchange",
        "failure",
        "observation",
        "received",
        "sent",
        "status",
        "upstream_status",
        "whole",
    )

    def __init__(self, observation: Observation, exchange: Exchange) -> None:
        self.observation = observation
        self.exchange = exchange
        self.failure: Failure | None = None
        """What the answer stands for, if it stands for an error."""
        self.broken: BaseException | None = None
        """What broke the exchange off."""
        self.whole = False
        self.status: int | None = None
        self.upstream_status: int | None = None
        self.answered: float | None = None
        self.received = self.sent = 0
        self.ahead = False
        """Something that the client may see is told of afterwards only."""
        self._headers: RawHeaders = []
        observation.opened(self)

    def is_ahead(self) -> bool:
        """Whether the client may have seen what has not been told yet: the end, mostly."""
        if self.ahead or self.whole:
            return True
        # Who counts bytes knows the end before anybody tells it.
        return self.status is not None and self.sent >= self._due()

    def _due(self) -> float:
        """Return how many bytes the answer has, as far as its head says so."""
        head = self.exchange.head
        if self.status in _BODILESS or (head is not None and head.method == "HEAD"):
            return 0
        for name, value in self._headers:
            if name.lower() == b"content-length" and value.isdigit():
                return int(value)
        return float("inf")

    def decided(self, response: Response) -> None:
        """The handlers have decided on ``response``."""
        lazy = response if isinstance(response, LazyResponse) else None
        untouched = None if lazy is None else lazy._untouched_answer
        if untouched is not None:
            if not untouched.made_here:
                self.upstream_status = untouched.status
            return
        self.failure = response._failure
        if lazy is not None and lazy._is_forwarded:
            self.upstream_status = response.status_code

    def piece_in(self, piece: bytes) -> None:
        if piece:
            self.received += len(piece)
            self.observation.tell(RequestBody, self.exchange, piece)

    def interim(self, status: int, headers: RawHeaders) -> None:
        self.observation.tell(Interim, self.exchange, status, headers)

    def answer(self, status: int, reason: bytes, headers: RawHeaders) -> None:
        self.status = status
        self._headers = headers
        self.answered = time.monotonic()
        self.observation.tell(Answer, self.exchange, status, reason, headers)

    def piece_out(self, piece: bytes) -> None:
        if piece:
            self.sent += len(piece)
            self.observation.tell(AnswerBody, self.exchange, piece)

    def over(self, gone: bool) -> None:
        """Tell of the end.

        :param gone: the client has left
        """
        broken = self.broken
        if self.status is None and not gone and broken is not None and is_unanswered(broken):
            # Servers answer for an application that failed.
            self.whole, self.status, self.failure = True, 500, Failure.of(broken)
        outcome, failure = self._outcome(gone)
        self.observation.tell(
            Ended,
            self.exchange,
            outcome,
            None if failure is None else failure.name,
            None if failure is None else failure.text,
            self.status,
            self.upstream_status,
            self.received,
            self.sent,
            self.answered,
        )
        self.observation.over(self)

    def _outcome(self, gone: bool) -> tuple[Outcome, Failure | None]:
        broken = self.broken
        if isinstance(broken, InjectedFault):
            return "aborted", Failure.of(broken)
        if self.whole:
            failure = self.failure
            if failure is None:
                return "complete", None
            return ("refused" if failure.is_refusal else "failed"), failure
        if gone or isinstance(broken, ClientDisconnected):
            return "client_left", None
        return "aborted", None if broken is None else Failure.of(broken)


class WebSocketProgress(Progress):
    """How far a websocket has come."""

    __slots__ = ("_downstream",)

    def __init__(
        self, observation: Observation, exchange: Exchange, downstream: WebSocketDownstream
    ) -> None:
        self._downstream = downstream
        super().__init__(observation, exchange)

    def is_ahead(self) -> bool:
        """As of a request. Where the server shows it, a close counts from when it is there."""
        peer = self._downstream.end
        return self.ahead or (peer is not None and peer.ended_with is not None)


class ObservedAnswer:
    """An ``AnswerDownstream`` whose answer is told of. What is handed to the server counts as
    sent, so it is told of first."""

    __slots__ = ("_downstream", "_sink", "progress")

    def __init__(self, downstream: AnswerDownstream, progress: Progress) -> None:
        self._downstream = downstream
        self.progress = progress
        self._sink: Sink | None = None

    @property
    def gone(self) -> bool:
        return self._downstream.gone

    @property
    def sink(self) -> Sink | None:
        if self._sink is None:
            sink = self._downstream.sink
            if sink is None:
                return None
            self._sink = SeenSink(sink, self.progress.piece_out)
        return self._sink

    @property
    def unacknowledged(self) -> int | None:
        return self._downstream.unacknowledged

    async def send_head(self, status: int, reason: bytes, headers: RawHeaders) -> None:
        if not self._downstream.gone:
            self.progress.answer(status, reason, headers)
        await self._downstream.send_head(status, reason, headers)

    async def send_body(self, chunk: bytes) -> None:
        if not self._downstream.gone:
            self.progress.piece_out(chunk)
        await self._downstream.send_body(chunk)

    async def end(self, trailers: RawHeaders | None = None) -> None:
        progress = self.progress
        if trailers and not self._downstream.gone:
            progress.observation.tell(AnswerTrailers, progress.exchange, trailers)
        progress.ahead = True
        await self._downstream.end(trailers)
        progress.whole = True

    async def send_complete(
        self, status: int, reason: bytes, headers: RawHeaders, body: bytes
    ) -> None:
        progress = self.progress
        if not self._downstream.gone:
            progress.answer(status, reason, headers)
            progress.piece_out(body)
        progress.ahead = True
        await self._downstream.send_complete(status, reason, headers, body)
        progress.whole = True

    def abort(self, error: BaseException | None = None) -> None:
        if self.progress.broken is None:
            self.progress.broken = error
        self.progress.ahead = True
        self._downstream.abort(error)


class ObservedHttp(ObservedAnswer):
    """An ``HttpDownstream`` whose exchange is told of."""

    __slots__ = ("_trailers_told", "capabilities", "head")

    _downstream: HttpDownstream

    def __init__(self, downstream: HttpDownstream, progress: Progress) -> None:
        super().__init__(downstream, progress)
        self.head: RequestHead = downstream.head
        self.capabilities: Capabilities = downstream.capabilities
        self._trailers_told = False

    def over(self) -> None:
        """The exchange is over."""
        self.progress.over(self._downstream.gone)

    @property
    def fault(self) -> DownstreamError | None:
        return self._downstream.fault

    @property
    def may_have_body(self) -> bool:
        return self._downstream.may_have_body

    @property
    def has_whole_body(self) -> bool:
        return self._downstream.has_whole_body

    @property
    def request_trailers(self) -> RawHeaders:
        return self._downstream.request_trailers

    def watch_gone(self, callback: t.Callable[[], None]) -> None:
        self._downstream.watch_gone(callback)

    async def receive_body(self) -> bytes:
        piece = await self._downstream.receive_body()
        if piece:
            self.progress.piece_in(piece)
        else:
            self._request_ended()
        return piece

    async def pipe_body(self, sink: Sink) -> None:
        await self._downstream.pipe_body(SeenSink(sink, self.progress.piece_in))
        self._request_ended()

    def _request_ended(self) -> None:
        trailers = self._downstream.request_trailers
        if trailers and not self._trailers_told:
            self._trailers_told = True
            progress = self.progress
            progress.observation.tell(RequestTrailers, progress.exchange, trailers)

    @property
    def wire(self) -> Wire | None:
        wire = self._downstream.wire
        return None if wire is None else _ObservedWire(wire, self.progress)

    async def send_interim(self, status: int, headers: RawHeaders) -> None:
        downstream = self._downstream
        can = downstream.capabilities.interim and downstream.head.http_version != "1.0"
        if can and not downstream.gone and self.progress.status is None:
            self.progress.interim(status, headers)
        await downstream.send_interim(status, headers)


class _ObservedWire:
    """A wire on which somebody looks on: what is written to it, but for a head, counts as
    body."""

    __slots__ = ("_progress", "_wire", "drained", "flushed", "write_head")

    def __init__(self, wire: Wire, progress: Progress) -> None:
        self._wire = wire
        self._progress = progress
        self.drained, self.flushed = wire.drained, wire.flushed
        self.write_head = wire.write_head

    def head(self, status: int, reason: bytes, headers: RawHeaders) -> bytes:
        self._progress.answer(status, reason, headers)
        return self._wire.head(status, reason, headers)

    def write(self, *data: bytes) -> bool:
        for piece in data:
            self._progress.piece_out(piece)
        return self._wire.write(*data)

    def close(self) -> None:
        self._progress.ahead = True
        self._wire.close()

    def reset(self) -> None:
        self._progress.ahead = True
        self._wire.reset()


class ObservedWebSocket:
    """A ``WebSocketDownstream`` whose exchange is told of."""

    __slots__ = (
        "_downstream",
        "_end",
        "capabilities",
        "closed",
        "head",
        "progress",
        "subprotocols",
    )

    def __init__(self, downstream: WebSocketDownstream, observation: Observation) -> None:
        self._downstream = downstream
        self.head: RequestHead = downstream.head
        self.capabilities: Capabilities = downstream.capabilities
        exchange = observation.begin("websocket", downstream.head)
        self.progress = WebSocketProgress(observation, exchange, downstream)
        self.subprotocols: list[str] = downstream.subprotocols
        self.closed: int | None = None
        """The code of the first close, ``None`` before."""
        self._end: _ObservedEnd | None = None

    def over(self) -> None:
        """The websocket is over."""
        progress, broken = self.progress, self.progress.broken
        if progress.status == 101:
            if self.closed is None:
                self._note_end()
            progress.whole = self.closed not in (None, LOST)
        elif progress.status is None and broken is None and not self.gone:
            # Servers answer for whoever leaves a handshake unanswered.
            progress.whole, progress.status = True, 403
        if broken is not None and progress.failure is None and is_fault(broken):
            progress.failure = Failure.of(broken)
        # With a close frame the client has not merely left.
        progress.over(self.gone if self.closed is None else self.closed == LOST)

    def decided(self, request: WebSocketRequest) -> None:
        """The handlers have accepted or rejected ``request``, or done neither."""
        if request._rejection is not None:
            self.progress.decided(request._rejection)
        elif request._is_handed_over():
            self.progress.upstream_status = 101
        if request._failure is not None:
            self.progress.failure = request._failure

    @property
    def gone(self) -> bool:
        return self._downstream.gone

    def make_adapter(self, outer: WebSocketDownstream, portal: Portal) -> PortalWebSocketAdapter:
        return self._downstream.make_adapter(outer, portal)

    @property
    def pinged_at(self) -> float:
        return self._downstream.pinged_at

    def watch_gone(self, callback: t.Callable[[], None]) -> None:
        self._downstream.watch_gone(callback)

    @property
    def wire(self) -> WebSocketWire | None:
        wire = self._downstream.wire
        return None if wire is None else _ObservedWebSocketWire(wire, self)

    async def accept(self, subprotocol: str | None, headers: RawHeaders) -> None:
        progress = self.progress
        progress.ahead = True
        try:
            await self._downstream.accept(subprotocol, headers)
            if subprotocol is not None:
                headers = [(b"Sec-WebSocket-Protocol", subprotocol.encode("latin-1")), *headers]
            progress.answer(101, b"Switching Protocols", headers)
        finally:
            progress.ahead = False
            progress.observation.caught_up()

    async def refusal(self) -> AnswerDownstream:
        return ObservedAnswer(await self._downstream.refusal(), self.progress)

    async def reject(self, status: int, reason: bytes, headers: RawHeaders, body: bytes) -> None:
        self.progress.ahead = True
        await self._downstream.reject(status, reason, headers, body)
        if not self.capabilities.denial:
            status, reason, headers, body = 403, b"", [], b""
        self.progress.answer(status, reason, headers)
        self.progress.piece_out(body)
        self.progress.whole = True

    async def receive(self) -> str | bytes:
        try:
            message = await self._downstream.receive()
        except WebSocketDisconnectedError as exc:
            self._note_close("client", exc.code, exc.reason or "")
            raise
        self.message("client", message)
        return message

    async def send(self, message: str | bytes) -> None:
        if self.closed is None:
            self.message("server", message)
        await self._downstream.send(message)

    async def close(self, code: int | None, reason: str) -> None:
        if self.progress.status == 101:
            self._note_close("server", 1005 if code is None else code, reason)
        self.progress.ahead = True
        await self._downstream.close(code, reason)

    @property
    def end(self) -> _ObservedEnd | None:
        """The open websocket itself, where the server shows it; for relays."""
        if self._end is None:
            end = self._downstream.end
            if end is None:
                return None
            self._end = _ObservedEnd(end, self)
        return self._end

    def message(self, by: Side, message: str | bytes) -> None:
        """Tell of a message that passes."""
        if type(message) is bytes or message.isascii():
            size = len(message)
        else:
            size = len(t.cast(str, message).encode("utf-8", "surrogatepass"))
        progress = self.progress
        if by == "client":
            progress.received += size
        else:
            progress.sent += size
        progress.observation.tell(Message, progress.exchange, by, message, size)

    def _note_close(self, by: Side, code: int, reason: str) -> None:
        """Note that one side closes, unless one has before, heard of by us or not."""
        if self.closed is not None or self._note_end():
            return
        self._tell_close(by, code, reason)

    def _note_end(self) -> bool:
        """Note how it has ended, if it has and the server shows it."""
        peer = self._downstream.end
        if peer is None or peer.ended_with is None:
            return False
        ended = peer.ended_with
        by: Side = "server" if peer.ended_by_us else "client"
        self._tell_close(by, ended.code, ended.reason or "")
        return True

    def _tell_close(self, by: Side, code: int, reason: str) -> None:
        self.closed = code
        progress = self.progress
        progress.observation.tell(WebSocketClosed, progress.exchange, by, code, reason)


class _ObservedWebSocketWire:
    """Tells of what is done to a websocket on purpose."""

    __slots__ = (
        "_websocket",
        "_wire",
        "drained",
        "flushed",
        "watch_end",
        "withhold",
        "write",
    )

    def __init__(self, wire: WebSocketWire, websocket: ObservedWebSocket) -> None:
        self._wire = wire
        self._websocket = websocket
        self.write, self.withhold = wire.write, wire.withhold
        self.watch_end, self.drained, self.flushed = wire.watch_end, wire.drained, wire.flushed

    def wrote(self, message: str | bytes) -> None:
        self._websocket.message("server", message)

    def lose(self, error: BaseException, *, reset: bool = False) -> None:
        progress = self._websocket.progress
        progress.broken, progress.ahead = error, True
        self._wire.lose(error, reset=reset)


class _ObservedEnd:
    """What a relay uses of a :class:`~rolo.net.websocket.WebSocketPeer`."""

    __slots__ = ("_end", "_websocket")

    def __init__(self, end: t.Any, websocket: ObservedWebSocket) -> None:
        self._end = end
        self._websocket = websocket

    @property
    def ready(self) -> bool:
        return bool(self._end.ready)

    def send_nowait(self, message: str | bytes) -> None:
        self._websocket.message("server", message)
        self._end.send_nowait(message)

    @property
    def tap(self) -> t.Callable[[str | bytes], bool] | None:
        tap: t.Callable[[str | bytes], bool] | None = self._end.tap
        return tap

    @tap.setter
    def tap(self, tap: t.Callable[[str | bytes], bool]) -> None:
        tell = self._websocket.message

        def seen(message: str | bytes) -> bool:
            if not tap(message):
                return False  # whoever receives it tells of it
            tell("client", message)
            return True

        self._end.tap = seen


def is_unanswered(error: BaseException) -> bool:
    """Whether ``error`` leaves an answer to the server: not one that was to leave none."""
    return is_fault(error) and not isinstance(error, InjectedFault)


def is_fault(error: BaseException) -> bool:
    """Whether ``error`` is one of the application, not of the client or of a server that stops."""
    left = (ClientDisconnected, WebSocketDisconnectedError)
    return isinstance(error, Exception) and not isinstance(error, left)
