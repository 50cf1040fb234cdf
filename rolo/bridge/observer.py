"""What an observer is told: everything that a server serves, as values in order.

This is the contract; who makes the values is :mod:`rolo.bridge.observed`, who hands them
over is :mod:`rolo.bridge.observation`. All times are seconds of ``time.monotonic()``, but
for :attr:`Exchange.wall`. All sizes are bytes.
"""

from __future__ import annotations

import dataclasses
import typing as t

from rolo.bridge.downstream import RequestHead
from rolo.wire.fields import RawHeaders

Outcome = t.Literal["complete", "failed", "refused", "aborted", "client_left"]
"""How an exchange ended:

- ``complete``: the whole answer was handed to the server; of a websocket, a side closed it
- ``failed``: the same, of an answer that stands for an error (502, 504, 500)
- ``refused``: the same, of an answer to what the client may not ask (400, 413, 503, ...)
- ``aborted``: the answer was broken off, or the exchange was cut short by the server's stop
- ``client_left``: the client was gone before the end
"""

Side = t.Literal["client", "server"]


class Exchange:
    """One request and what becomes of it. All events of it have the same object, which is not
    to be changed.

    :ivar number: counts from 1, in the order in which exchanges began in this process
    :ivar kind: ``"http"`` or ``"websocket"``
    :ivar client: address and port; ``None`` if nobody knows (a UNIX socket)
    :ivar head: ``None`` if it could not be read, see :attr:`line`. It is the server's, not a
        copy.
    :ivar started: when the head was complete, or was refused
    :ivar wall: the same as ``time.time()``
    :ivar traces: who gathers what happens in it, see :class:`Tracer`
    """

    __slots__ = ("_line", "client", "head", "kind", "number", "started", "traces", "wall")

    def __init__(
        self,
        number: int,
        kind: t.Literal["http", "websocket"],
        client: tuple[str, int] | None,
        head: RequestHead | None,
        line: bytes | None,
        started: float,
        wall: float,
    ) -> None:
        self.number = number
        self.kind: t.Literal["http", "websocket"] = kind
        self.client = client
        self.head = head
        self._line = line
        self.started = started
        self.wall = wall
        self.traces: tuple[Trace, ...] = ()

    @property
    def line(self) -> bytes:
        """The request line, as far as it came; of HTTP/2, one in its place. Not made
        harmless."""
        if self._line is None:
            head = self.head
            assert head is not None
            self._line = b"%s %s HTTP/%s" % (
                head.method.encode("latin-1", "replace"),
                head.target,
                head.http_version.encode("latin-1", "replace"),
            )
        return self._line


@dataclasses.dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in an exchange."""

    exchange: Exchange
    at: float


@dataclasses.dataclass(frozen=True, slots=True)
class RequestStarted(Event):
    """The head of a request is there, or will never be."""


@dataclasses.dataclass(frozen=True, slots=True)
class RequestBody(Event):
    """A piece of a request body, as it was taken from the server; never empty."""

    data: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class RequestTrailers(Event):
    """Trailer fields of the request."""

    headers: RawHeaders


@dataclasses.dataclass(frozen=True, slots=True)
class UpstreamTried(Event):
    """A request was sent to an upstream, and its answer's head is here, or an error is. Told
    once for each try, also of a websocket's handshake; :attr:`Event.at` is its end."""

    origin: t.Any  # rolo.wire.target.Origin
    """Scheme, host and port; as text, a URL."""
    method: str
    target: bytes
    headers: RawHeaders
    """As they went, but for those that belong to the connection or frame the body."""
    status: int | None
    """``None`` if there was no answer."""
    reason: bytes | None
    answer_headers: RawHeaders
    """As they came, but for what belongs to the connection."""
    error: str | None
    """What went wrong, ``None`` if nothing did."""
    connection: int | None
    """A number that exchanges on the same connection share; ``None`` if it is not known."""
    reused: bool
    """The connection had been used before."""
    retried: str | None
    """Why the request was sent twice, ``None`` if it was not."""
    phases: dict[str, float]
    """Seconds that it took, as far as they are known, in this order: ``queue`` (until there was
    a place for a connection), ``connect`` (names included), ``tls``, ``wait`` (for the answer)."""


@dataclasses.dataclass(frozen=True, slots=True)
class Interim(Event):
    """A 1xx answer. (``100 Continue``, which servers send by themselves, is not shown.)"""

    status: int
    headers: RawHeaders


@dataclasses.dataclass(frozen=True, slots=True)
class Answer(Event):
    """The head of the answer. The server may add fields of the connection's own. 101 is that
    of an accepted websocket."""

    status: int
    reason: bytes
    headers: RawHeaders


@dataclasses.dataclass(frozen=True, slots=True)
class AnswerBody(Event):
    """A piece of the answer's body, as it was handed to the server; never empty."""

    data: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class AnswerTrailers(Event):
    """Trailer fields of the answer."""

    headers: RawHeaders


@dataclasses.dataclass(frozen=True, slots=True)
class Message(Event):
    """A whole websocket message, as it was taken from the server or handed to it."""

    by: Side
    """Who sent it."""
    data: str | bytes
    """str for a text message, bytes for a binary one."""
    size: int
    """Of the payload, not compressed."""


@dataclasses.dataclass(frozen=True, slots=True)
class WebSocketClosed(Event):
    """An accepted websocket has ended: the first close of the two."""

    by: Side
    """Who closed. Only the native server tells its own closes (1001 at its stop, 1002, 1007
    and 1009 for what the client sent) from those of a client."""
    code: int
    """1005 stands for a close without a code, 1006 for a lost connection."""
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Ended(Event):
    """The exchange is over; the last event of each."""

    outcome: Outcome
    error: str | None
    """The name of the error's class, e.g. ``ConnectTimeout``; ``None`` if there was none."""
    detail: str | None
    """What the log says of it; not for clients to see."""
    status: int | None
    """Of the answer; ``None`` if no head of one was sent."""
    upstream_status: int | None
    """What the upstream answered; ``None`` if the answer is rolo's or a handler's own."""
    received: int
    """Of the request's body, or in messages from the client."""
    sent: int
    """Of the answer's body, or in messages to the client; as handed to the server, without
    heads, framing and compression of the connection."""
    answered: float | None
    """When the head of the answer was sent."""


@dataclasses.dataclass(frozen=True, slots=True)
class Missed:
    """Events that an observer was not told of, since it did not keep up. They lie between
    the event it was told of before this and the one after."""

    events: int
    bytes: int


class Observer:
    """Told of everything that a server serves. Override what is of interest: what is not
    overridden costs nothing.

    The methods are called on a thread of the observer's own, one after the other, some
    hundredths of a second after the event. They may block: exchanges never wait for them.
    What comes while an observer is :attr:`max_events` or :attr:`max_bytes` behind, it
    misses. What a method raises is logged, once for each kind of error, and ignored.

    An observer that is given to several servers is called from several threads.
    """

    max_events: int = 10_000
    """Events that may wait for this observer."""
    max_bytes: int = 16 * 1024 * 1024
    """Bytes of bodies, messages and heads in them; a larger piece is always missed."""
    patient: bool = False
    """Whether nothing is to be missed: whoever is over these bounds waits for the observer,
    and with it all exchanges of its loop, five seconds at most. For observers that are fast
    and wait for nothing that a server does: recorders."""
    immediate: bool = False
    """Whether the methods are called where the event happens instead (most often the server's
    loop): at once, none missed, and every exchange waits meanwhile. For observers that only
    take notes."""

    def on_request(self, event: RequestStarted) -> None:
        """An exchange has begun."""

    def on_request_body(self, event: RequestBody) -> None:
        """A piece of the request's body was taken. What no handler reads is not seen."""

    def on_request_trailers(self, event: RequestTrailers) -> None:
        """The request's body has ended, with trailer fields."""

    def on_upstream(self, event: UpstreamTried) -> None:
        """An upstream has answered, or has failed to."""

    def on_interim(self, event: Interim) -> None:
        """A 1xx answer was sent."""

    def on_answer(self, event: Answer) -> None:
        """The head of the answer was sent."""

    def on_answer_body(self, event: AnswerBody) -> None:
        """A piece of the answer's body was sent."""

    def on_answer_trailers(self, event: AnswerTrailers) -> None:
        """The answer's body has ended, with trailer fields."""

    def on_message(self, event: Message) -> None:
        """A websocket message passed. What no handler receives is not seen."""

    def on_websocket_closed(self, event: WebSocketClosed) -> None:
        """An accepted websocket was closed or lost."""

    def on_end(self, event: Ended) -> None:
        """An exchange is over."""

    def on_missed(self, missed: Missed) -> None:
        """Events were left out here."""

    def close(self) -> None:
        """The server has stopped; nothing follows."""


class Trace(t.Protocol):
    """Gathers what happens in one exchange."""

    def add(self, kind: type[Event], at: float, fields: tuple[t.Any, ...]) -> None:
        """``kind(exchange, at, *fields)`` has happened. Called on the loop (of WSGI servers, in
        a thread), in order, and by nobody else at the same time: it must be over at once."""


class Tracer(Observer):
    """An observer that is told at once, on the loop, and of parts of events rather than events:
    for who looks at few of them, and later. It has no thread and misses nothing."""

    def begin(self, exchange: Exchange) -> Trace | None:
        """Return what gathers what happens in ``exchange``; ``None`` for nothing. As quick as
        :meth:`Trace.add`."""
        raise NotImplementedError


METHODS: dict[type[Event], str] = {
    RequestStarted: "on_request",
    RequestBody: "on_request_body",
    RequestTrailers: "on_request_trailers",
    UpstreamTried: "on_upstream",
    Interim: "on_interim",
    Answer: "on_answer",
    AnswerBody: "on_answer_body",
    AnswerTrailers: "on_answer_trailers",
    Message: "on_message",
    WebSocketClosed: "on_websocket_closed",
    Ended: "on_end",
}
"""Who is told of what."""
