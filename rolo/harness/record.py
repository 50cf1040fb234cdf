"""One request that came, and what became of it, as a test sees it."""

from __future__ import annotations

import functools
import json
import typing as t

from werkzeug.datastructures import Headers, MultiDict

from rolo.bridge.downstream import RequestHead
from rolo.bridge.observer import Answer as AnswerSent
from rolo.bridge.observer import Ended, Exchange, Outcome, Side
from rolo.harness.messages import as_wanted
from rolo.matching import Part, Seen
from rolo.matching.matchers import matches
from rolo.matching.seen import WEBSOCKET
from rolo.wire.fields import RawHeaders

if t.TYPE_CHECKING:
    from rolo.harness.journal import Journal

_MAX_PIECES = 10_000
"""Of one body whose times are kept."""


class Piece(t.NamedTuple):
    """Some of a body, as it passed in one go."""

    at: float
    """Seconds after the request's head."""
    size: int
    """Bytes."""


class Message(t.NamedTuple):
    """A websocket message."""

    by: Side
    """``client`` or ``server``."""
    data: str | bytes
    """str if it was text. Empty if it is not kept, see :attr:`size`."""
    at: float
    """Seconds after the handshake's head."""
    size: int
    """Bytes."""

    @property
    def json(self) -> t.Any:
        """The value that is written in it.

        :raises ValueError: it is no JSON
        """
        return json.loads(self.data)


class Closed(t.NamedTuple):
    """The first close of a websocket."""

    by: Side
    code: int
    """1005: without a code; 1006: the connection was lost."""
    reason: str


class Interim(t.NamedTuple):
    """A 1xx answer."""

    status: int
    headers: Headers
    at: float


class Body:
    """What is kept of a body: a beginning, and how all of it came."""

    __slots__ = ("_data", "dropped", "kept", "pieces", "size")

    def __init__(self) -> None:
        self._data: list[bytes] = []
        self.size = 0
        """Bytes that passed, kept or not."""
        self.kept = 0
        """Bytes of :attr:`data`."""
        self.pieces: list[Piece] = []
        """The first 10,000."""
        self.dropped = False
        """It was kept, until later ones needed the room."""

    @property
    def data(self) -> bytes:
        """What is kept."""
        # Asked on a test's thread, while the server's adds.
        pieces = tuple(self._data)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def add(self, at: float, piece: bytes, room: int) -> int:
        """Note a piece; keep as much as there is room for, in bytes, and return how much."""
        if len(self.pieces) < _MAX_PIECES:
            self.pieces.append(Piece(at, len(piece)))
        kept = piece if len(piece) <= room else piece[: max(0, room)]
        if kept:
            self._data.append(kept)
            self.kept += len(kept)
        self.size += len(piece)
        return len(kept)

    def drop(self) -> None:
        """Forget what was kept, but for the pieces."""
        self.dropped = self.dropped or self.kept > 0
        self._data, self.kept = [], 0


class Answer:
    """What a request was answered. ``body``, ``text`` and ``json`` are of what was kept."""

    __slots__ = ("_event", "at", "content", "status", "trailers")

    def __init__(self, event: AnswerSent) -> None:
        self._event = event
        self.at = event.at - event.exchange.started
        """Seconds after the request's head."""
        self.status = event.status
        """101 of a websocket that was accepted."""
        self.trailers: Headers | None = None
        """``None`` if there were none."""
        self.content = Body()

    @property
    def reason(self) -> str:
        return self._event.reason.decode("latin-1")

    @property
    def headers(self) -> Headers:
        return decoded(self._event.headers)

    @property
    def body(self) -> bytes:
        """As it went out (not decoded), or the beginning of it, see :attr:`cut`."""
        return self.content.data

    @property
    def size(self) -> int:
        """Bytes of the body that went out."""
        return self.content.size

    @property
    def cut(self) -> bool:
        """More of the body went out than is kept."""
        return self.content.kept < self.content.size

    @property
    def pieces(self) -> list[Piece]:
        """When how much of the body went out."""
        return self.content.pieces

    @property
    def text(self) -> str:
        """The body in UTF-8; what is not in it is replaced."""
        return self.body.decode("utf-8", "replace")

    @property
    def json(self) -> t.Any:
        """The value that the body stands for.

        :raises ValueError: it is no JSON, or was cut
        """
        if self.cut:
            raise ValueError(cut_text(self.content))
        return json.loads(self.body)


class Record:
    """One request that came (or one websocket), and what became of it.

    It goes on to change while the exchange is under way. What the request was like is in
    ``method``, ``path``, ``query`` and so on; what it was answered in ``answer``.
    """

    def __init__(self, exchange: Exchange, journal: Journal, number: int) -> None:
        self.number = number
        """Counts requests from 1, in the order in which they came."""
        self._exchange = exchange
        self._journal = journal
        self._seen: Seen | None = None
        self.content = Body()
        self.kept = 0
        """Bytes kept of bodies and messages."""
        self.answer: Answer | None = None
        """``None`` as long as no head was sent."""
        self.trailers: Headers | None = None
        """Of the request; ``None`` if there were none."""
        self.interim: list[Interim] = []
        """1xx answers; not ``100 Continue``."""
        self.messages: list[Message] = []
        """Of a websocket, both ways, in order."""
        self.closed: Closed | None = None
        """How the websocket was closed; ``None`` as long as it was not, and in HTTP."""
        self.outcome: Outcome | None = None
        """How it ended, see :data:`rolo.observing.Outcome`; ``None`` while it is under way."""
        self.error: str | None = None
        """What went wrong, as the log says it; ``None`` if nothing did."""
        self.upstream_status: int | None = None
        """What the upstream answered; ``None`` if it was not asked."""
        self.seconds: float | None = None
        """From the request's head to the end; ``None`` while it is under way."""
        self.stub: t.Any = None
        """The stub that answered; ``None`` if it was another."""
        self.taken: t.Any = None
        """What a stub is going to do, if that was decided already."""
        self.otherwise = ""
        """What became of it if no stub answered, in words."""
        self.wrong = ""
        """What went wrong on purpose, in words."""

    # --- the request

    @property
    def websocket(self) -> bool:
        """Whether it is a websocket."""
        return self._exchange.kind == "websocket"

    @property
    def started(self) -> float:
        """When its head was here, as ``time.time()``."""
        return self._exchange.wall

    @property
    def head(self) -> RequestHead | None:
        """As it came; ``None`` if it could not be read."""
        return self._exchange.head

    @property
    def line(self) -> str:
        """The request line, with what is not printable escaped."""
        return ascii(self._exchange.line.decode("latin-1"))[1:-1]

    @property
    def client(self) -> tuple[str, int] | None:
        """Address and port of the client."""
        return self._exchange.client

    @property
    def seen(self) -> Seen:
        """The request as patterns see it, with as much of its body as has come and is kept."""
        data, cut = self.content.data, self.cut
        seen = self._seen
        if seen is None or len(seen.data) != len(data) or seen.cut != cut:
            seen = self._seen = seen_of(self._exchange, data, cut=cut)
        return seen

    @property
    def method(self) -> str:
        """``WEBSOCKET`` of a websocket."""
        return self.seen.method

    @property
    def path(self) -> str:
        """Decoded, without the query."""
        return self.seen.path

    @property
    def target(self) -> str:
        """Path and query as they came."""
        return self.seen.target

    @property
    def query(self) -> MultiDict[str, str]:
        """The query's parameters."""
        return self.seen.args

    @property
    def host(self) -> str:
        """As in the field ``Host``."""
        return self.seen.host

    @property
    def headers(self) -> Headers:
        return self.seen.headers

    @property
    def cookies(self) -> dict[str, str]:
        return self.seen.cookies

    @property
    def subprotocols(self) -> list[str]:
        """What the client of a websocket offers."""
        return self.seen.subprotocols

    @property
    def body(self) -> bytes:
        """As it came (not decoded), or the beginning of it, see :attr:`cut`."""
        return self.content.data

    @property
    def size(self) -> int:
        """Bytes of the body that came."""
        return self.content.size

    @property
    def cut(self) -> bool:
        """More of the body came than is kept."""
        return self.content.kept < self.content.size

    @property
    def pieces(self) -> list[Piece]:
        """When how much of the body came."""
        return self.content.pieces

    @property
    def text(self) -> str:
        """The body as text."""
        return self.seen.text

    @property
    def json(self) -> t.Any:
        """The value that the body stands for.

        :raises ValueError: it is no JSON, or was cut
        """
        if self.cut:
            raise ValueError(cut_text(self.content))
        return self.seen.json

    @property
    def form(self) -> MultiDict[str, str]:
        """The fields of a form.

        :raises ValueError: it is none
        """
        return self.seen.form

    @property
    def parts(self) -> list[Part]:
        """The parts of a multipart form.

        :raises ValueError: it is none
        """
        return self.seen.parts

    # --- what became of it

    @property
    def status(self) -> int | None:
        """Of the answer; ``None`` as long as there is none."""
        return None if self.answer is None else self.answer.status

    @property
    def fate(self) -> str:
        """What the harness did with it, in words."""
        return (self.otherwise if self.stub is None else f"by {self.stub.name}") + self.wrong

    @property
    def received_messages(self) -> list[str | bytes]:
        """What the client of a websocket sent."""
        return [each.data for each in self.messages if each.by == "client"]

    @property
    def sent_messages(self) -> list[str | bytes]:
        """What the client of a websocket was sent."""
        return [each.data for each in self.messages if each.by == "server"]

    def has_message(self, wanted: t.Any) -> bool:
        """Whether the client of a websocket sent a message that is like ``wanted``."""
        return any(matches(wanted, as_wanted(each, wanted)) for each in self.received_messages)

    @property
    def whole(self) -> bool:
        """Whether all of the request has come, as far as can be told before it is answered."""
        return self.answer is not None or self.ended or self.size >= self._length

    @functools.cached_property
    def _length(self) -> float:
        """How many bytes the request's head says there will be."""
        fields = {} if self.head is None else {n.lower(): v for n, v in self.head.headers}
        if b"transfer-encoding" in fields:
            return float("inf")
        length = fields.get(b"content-length", b"0")
        return int(length) if length.isdigit() else 0

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self.outcome is not None

    @property
    def client_left(self) -> bool:
        """Whether the client was gone before the end."""
        return self.outcome == "client_left"

    def wait_ended(self, timeout: float = 5.0) -> t.Self:
        """Wait until it is over, and return it.

        :param timeout: seconds
        :raises AssertionError: it is still under way then
        """
        if not self._journal.wait_until(lambda: self.ended, timeout):
            raise AssertionError(f"{self.line} is still under way after {timeout:g} s")
        return self

    def end(self, event: Ended) -> None:
        """Note how it has ended."""
        self.seconds = event.at - event.exchange.started
        self.upstream_status = event.upstream_status
        self.error = event.detail if event.error is None else f"{event.error}: {event.detail}"
        self.outcome = event.outcome

    def drop(self) -> int:
        """Forget what is kept of bodies and messages; return how many bytes that was."""
        freed, self.kept = self.kept, 0
        self.content.drop()
        if self.answer is not None:
            self.answer.content.drop()
        self.messages = [each._replace(data=each.data[:0]) for each in self.messages]
        return freed

    def __repr__(self) -> str:
        return f"<{self.line}: {self.status or 'no answer'}{f', {self.fate}' * bool(self.fate)}>"


def seen_of(exchange: Exchange, data: bytes = b"", *, cut: bool = False) -> Seen:
    """Return the request of ``exchange`` as patterns see it."""
    head = exchange.head
    if head is None:
        return Seen("?", "", exchange.line.decode("latin-1"), "", Headers(), data, cut)
    return seen_of_head(head, exchange.kind == "websocket", data, cut=cut)


def seen_of_head(
    head: RequestHead, websocket: bool, data: bytes = b"", *, cut: bool = False
) -> Seen:
    """Return a request as patterns see it."""
    target = head.target
    if target[:1] != b"/" and b"://" in target:
        target = b"/" + target.partition(b"://")[2].partition(b"/")[2]
    raw_path, _, query = target.partition(b"?")
    seen = _HeadSeen.__new__(_HeadSeen)
    seen.__dict__.update(
        method=WEBSOCKET if websocket else head.method,
        raw_path=raw_path.decode("latin-1"),
        query_string=query.decode("latin-1"),
        data=data,
        cut=cut,
        head=head,
    )
    return seen


class _HeadSeen(Seen):
    """A request whose fields are decoded when somebody asks for them: most stubs do not."""

    head: RequestHead

    @functools.cached_property
    def headers(self) -> Headers:
        return decoded(self.head.headers)

    @functools.cached_property
    def host(self) -> str:
        return self.headers.get("host", "")


def decoded(headers: RawHeaders) -> Headers:
    """Return raw fields as text."""
    return Headers([(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers])


def cut_text(body: Body) -> str:
    """Return what is said of a body of which more is wanted than is kept."""
    if body.dropped:
        return (
            f"the body of {body.size} bytes is no longer kept: later ones needed the room "
            "(Harness(max_kept=...))"
        )
    return (
        f"only the first {body.kept} of {body.size} bytes of the body were kept "
        "(Harness(max_body=...))"
    )
