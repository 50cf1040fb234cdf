"""A recording as values: what was asked, what was answered, in which pieces and when.

All times but :attr:`Entry.started` are seconds since the entry began. Fields are pairs of text
(Latin-1, as on the wire), in their order and with their case.
"""

from __future__ import annotations

import array
import collections.abc
import dataclasses
import typing as t
from urllib.parse import SplitResult, urlsplit

from rolo.har.content import EMPTY, Content

Fields = list[tuple[str, str]]
Side = t.Literal["client", "server"]
Outcome = t.Literal["complete", "failed", "refused", "aborted", "client_left"]


class Piece(t.NamedTuple):
    """A part of a body that passed at once."""

    at: float
    size: int


class Pieces(collections.abc.Sequence[Piece]):
    """The pieces of a body, without their bytes; takes sixteen bytes for each."""

    def __init__(self, pieces: t.Iterable[tuple[float, int]] = ()) -> None:
        self._at = array.array("d")
        self._size = array.array("q")
        for at, size in pieces:
            self.add(at, size)

    def add(self, at: float, size: int) -> None:
        """Add one at the end."""
        self._at.append(at)
        self._size.append(size)

    def __len__(self) -> int:
        return len(self._at)

    @t.overload
    def __getitem__(self, index: int) -> Piece: ...
    @t.overload
    def __getitem__(self, index: slice) -> Pieces: ...
    def __getitem__(self, index: int | slice) -> Piece | Pieces:
        if isinstance(index, slice):
            return Pieces(zip(self._at[index], self._size[index], strict=True))
        return Piece(self._at[index], self._size[index])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Pieces):
            return NotImplemented
        return self._at == other._at and self._size == other._size

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Pieces({list(map(tuple, self))})"


@dataclasses.dataclass(slots=True)
class Interim:
    """A 1xx answer."""

    at: float
    status: int
    headers: Fields = dataclasses.field(default_factory=list)


@dataclasses.dataclass(slots=True)
class Answer:
    """What was answered."""

    status: int
    reason: str = ""
    headers: Fields = dataclasses.field(default_factory=list)
    body: Content | None = EMPTY
    """``None`` if there was one and the recording does not have it. In its content coding, as
    it passed, unless :attr:`is_decoded`."""
    is_decoded: bool = False
    """A content coding that :attr:`headers` name is undone in :attr:`body`."""
    at: float = 0.0
    """When its head was sent."""
    pieces: Pieces = dataclasses.field(default_factory=Pieces)
    """Empty if it is not known how the body came."""
    trailers: Fields = dataclasses.field(default_factory=list)
    http_version: str = "HTTP/1.1"


@dataclasses.dataclass(slots=True)
class Message:
    """A message of a websocket: str if it is text, bytes if it is binary."""

    at: float
    by: Side
    data: str | bytes


@dataclasses.dataclass(slots=True)
class Close:
    """How a websocket ended. 1005 stands for a close without a code, 1006 for a lost
    connection."""

    at: float
    by: Side
    code: int
    reason: str = ""


@dataclasses.dataclass(slots=True)
class Entry:
    """One exchange: a request and what became of it, or a websocket."""

    method: str
    url: str
    """With scheme and host; of a websocket with ``ws`` or ``wss``."""
    headers: Fields = dataclasses.field(default_factory=list)
    body: Content | None = EMPTY
    """``None`` if there was one and the recording does not have it."""
    http_version: str = "HTTP/1.1"
    trailers: Fields = dataclasses.field(default_factory=list)
    started: float = 0.0
    """When the request came, as ``time.time()``."""
    sent: float = 0.0
    """When the last piece of the request's body had come."""
    interims: list[Interim] = dataclasses.field(default_factory=list)
    answer: Answer | None = None
    """``None`` if there was none."""
    messages: list[Message] | None = None
    """``None`` if it is no websocket, or one that was refused."""
    close: Close | None = None
    ended: float = 0.0
    outcome: Outcome = "complete"
    error: str | None = None
    """The name of what went wrong, ``None`` if nothing did."""
    detail: str | None = None
    missed: bool = False
    """Something is missing in the middle: the recorder did not keep up."""
    comment: str = ""
    """For readers: what is cut, and why."""
    extra: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    """Members of the file's entry that mean nothing to us; they are written again."""

    @property
    def is_websocket(self) -> bool:
        """Whether a websocket was asked for."""
        return self.url.startswith(("ws:", "wss:"))

    @property
    def parts(self) -> SplitResult:
        """The URL, taken apart; all of it as on the wire."""
        return urlsplit(self.url)

    @property
    def target(self) -> str:
        """Path and query."""
        parts = self.parts
        path = parts.path or "/"
        return f"{path}?{parts.query}" if parts.query else path

    @property
    def is_broken(self) -> bool:
        """Whether the answer ended before its end, or there was none."""
        return self.outcome in ("aborted", "client_left")

    def header(self, name: str) -> str | None:
        """Return the first value of a field of the request, ``None`` if there is none."""
        return first(self.headers, name)

    def __str__(self) -> str:
        return f"{self.method} {self.target}"


@dataclasses.dataclass(slots=True)
class Recording:
    """The entries of a file, in the order in which they began."""

    entries: list[Entry] = dataclasses.field(default_factory=list)
    creator: tuple[str, str] | None = None
    """Name and version of the program that wrote it; ``None`` if it is of this program."""
    missed_events: int = 0
    """What the recorder could not keep up with, see :attr:`Entry.missed`."""
    missed_bytes: int = 0
    extra: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    """Members of the file's log that mean nothing to us; they are written again."""

    def __iter__(self) -> t.Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


def first(fields: Fields, name: str) -> str | None:
    """Return the first value of a field, ``None`` if there is none."""
    name = name.lower()
    for each, value in fields:
        if each.lower() == name:
            return value
    return None


def media_type(fields: Fields) -> str:
    """Return the media type that fields name, in lower case and without parameters; ``""`` if
    they name none."""
    return (first(fields, "content-type") or "").partition(";")[0].strip().lower()


def is_json(kind: str) -> bool:
    """Whether a media type is one of JSON documents (RFC 8259, RFC 6839)."""
    return kind == "application/json" or kind.endswith("+json")


FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
EVENTS = "text/event-stream"
JSON_LINES = frozenset(("application/x-ndjson", "application/jsonl", "application/ndjson"))
