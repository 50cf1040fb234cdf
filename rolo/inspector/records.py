"""One exchange as the inspector keeps it: what came, what went, and how far it has got."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import typing as t

from rolo.har.model import Entry, Fields, media_type
from rolo.observing import Exchange
from rolo.proxy.hooks.sse import Event, parse_event

Kind = t.Literal["http", "sse", "websocket"]


@dataclasses.dataclass(slots=True)
class Head:
    """A head as it was on the wire."""

    line: str
    fields: Fields


@dataclasses.dataclass(slots=True)
class Try:
    """A request to an upstream, and its answer."""

    origin: str
    request: Head
    answer: Head | None = None
    error: str | None = None
    connection: int | None = None
    """A number that the exchanges on one connection share."""
    reused: bool = False
    retried: str | None = None
    """Why it was sent twice, ``None`` if it was not."""
    phases: dict[str, float] = dataclasses.field(default_factory=dict)
    """Seconds of ``queue``, ``connect``, ``tls`` and ``wait``, as far as they are known."""


@dataclasses.dataclass(slots=True)
class Item:
    """A message of a websocket, or an event of a stream."""

    at: float
    by: t.Literal["client", "server"]
    data: str | bytes
    size: int
    """In bytes; :attr:`data` may be shorter."""
    kind: str = ""
    """Of an event, its name."""


class Body:
    """A body, captured up to a bound; the rest is counted.

    :param limit: bytes that are kept in memory
    :param file: where all of it is written, once it is larger than that; ``None`` for nowhere
    """

    __slots__ = (
        "_file",
        "_held",
        "_pieces",
        "_size",
        "_written",
        "beyond",
        "file",
        "kept",
        "limit",
    )

    def __init__(self, limit: int, file: pathlib.Path | None = None) -> None:
        self.limit = limit
        self.file = file
        self._size = self.kept = self.beyond = 0
        self._held = 0
        self._pieces: list[bytes] = []
        self._file: t.BinaryIO | None = None
        self._written = False

    @property
    def size(self) -> int:
        """Bytes that came."""
        return self._size + self.beyond

    @property
    def held(self) -> int:
        """Bytes of it in memory."""
        return self._held

    def write(self, piece: bytes) -> None:
        """Take a piece."""
        self._size += len(piece)
        if self.file is not None and self._size > self.limit:
            if self._file is None:
                self._file = self.file.open("wb")
                self._written = True
                self._file.writelines(self._pieces)
                self._pieces.clear()
                self._held = 0
            self._file.write(piece)
            self.kept = self._size
            return
        room = self.limit - self.kept
        if room > 0:
            self._pieces.append(piece[:room])
            self.kept += min(room, len(piece))
            self._held = self.kept

    def read(self) -> bytes:
        """Return what is kept."""
        if self._written and self.file is not None:
            if self._file is not None:
                self._file.flush()
            return self.file.read_bytes()
        if len(self._pieces) > 1:
            # Another thread may add a piece meanwhile: it is added to the list that counts.
            joined = b"".join(self._pieces[: (count := len(self._pieces))])
            self._pieces[:count] = [joined]
            return joined
        return self._pieces[0] if self._pieces else b""

    def finish(self) -> None:
        """Nothing follows."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def discard(self) -> None:
        """Let go of it, and of its file."""
        self._pieces.clear()
        self.finish()
        if self._written and self.file is not None:
            self.file.unlink(missing_ok=True)


class EventReader:
    """Takes a stream of server-sent events apart as it comes, without ever failing."""

    _LONGEST = 1024 * 1024

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> t.Iterator[tuple[Event, int]]:
        """Yield the events that end in ``data``, and their sizes in bytes."""
        text = (self._rest + data).replace(b"\r\n", b"\n")
        held = b""
        if text.endswith(b"\r"):
            text, held = text[:-1], b"\r"
        *complete, rest = text.replace(b"\r", b"\n").split(b"\n\n")
        for block in complete:
            event = parse_event(block.lstrip(b"\n").removeprefix(b"\xef\xbb\xbf"))
            if event is not None:
                yield event, len(block) + 2
        self._rest = (rest + held)[-self._LONGEST :]


class Record:
    """An exchange. Changed and read within the store's lock."""

    def __init__(
        self, number: int, kind: Kind, entry: Entry, request: Body, client: str = ""
    ) -> None:
        self.id = number
        self.kind: Kind = kind
        self.entry = entry
        self.client = client
        self.request_body = request
        self.answer_body: Body | None = None
        self.items: list[Item] = []
        """Messages of a websocket, or events."""
        self.items_left_out = 0
        self.events: EventReader | None = None
        self.tries: list[Try] = []
        self.open = True
        self.pinned = False
        self.held = False
        self.edited = False
        self.received = self.sent = 0
        self.head_at: float | None = None
        self.exchange: Exchange | None = None
        self.new_body: t.Callable[[pathlib.Path | None], Body] = functools.partial(Body, 0)
        """Makes the answer's body, given where it goes if it is too large for memory."""
        self.answer_file: pathlib.Path | None = None
        self.server: tuple[str, int | None] | None = None
        self.scheme = "http"
        self.source: t.Literal["live", "file"] = "live"

    @property
    def answer_fields(self) -> Fields:
        return self.entry.answer.headers if self.entry.answer is not None else []

    def row(self) -> dict[str, t.Any]:
        """Return what its line in the list shows."""
        entry, answer = self.entry, self.entry.answer
        parts = entry.parts
        last = self.tries[-1] if self.tries else None
        seconds = entry.ended if not self.open else None
        phases = dict(last.phases) if last is not None else {}
        if self.head_at is not None:
            if "wait" not in phases:
                phases["wait"] = max(0.0, self.head_at - sum(phases.values()))
            if seconds is not None:
                phases["body"] = max(0.0, seconds - self.head_at)
        return {
            "id": self.id,
            "kind": self.kind,
            "method": entry.method,
            "scheme": parts.scheme,
            "host": parts.netloc,
            "path": entry.target,
            "status": answer.status if answer is not None else None,
            "type": media_type(self.answer_fields),
            "size": self.sent + (self.answer_body.size if self.answer_body is not None else 0),
            "up": self.received + self.request_body.size,
            "started": entry.started,
            "head": self.head_at,
            "seconds": seconds,
            "phases": phases,
            "outcome": None if self.open else entry.outcome,
            "error": entry.error,
            "open": self.open,
            "client": self.client,
            "conn": last.connection if last is not None else None,
            "upstream": last.origin if last is not None else None,
            "reused": last.reused if last is not None else False,
            "retried": len(self.tries) > 1 or bool(last is not None and last.retried),
            "pinned": self.pinned,
            "held": self.held,
            "edited": self.edited or self._is_edited(),
            "file": self.source == "file",
        }

    def _is_edited(self) -> bool:
        """Whether hooks have changed the answer's head; a proxy itself leaves it alone."""
        last = self.tries[-1] if self.tries else None
        if last is None or last.answer is None or self.entry.answer is None:
            return False
        status = last.answer.line.split(" ")[1:2]
        return status != [str(self.entry.answer.status)] or (
            sorted(_names(last.answer.fields)) != sorted(_names(self.entry.answer.headers))
        )

    def has_text(self, text: str) -> bool:
        """Whether ``text``, in lower case, is in the heads, the bodies or the messages."""
        entry = self.entry
        if text in f"{entry.method} {entry.url}".lower():
            return True
        for fields in (entry.headers, self.answer_fields):
            if any(text in f"{name}: {value}".lower() for name, value in fields):
                return True
        wanted = text.encode()
        for body in (self.request_body, self.answer_body):
            if body is not None and wanted in body.read().lower():
                return True
        for item in list(self.items):
            data = item.data.encode() if isinstance(item.data, str) else item.data
            if wanted in data.lower():
                return True
        return False

    def discard(self) -> None:
        """Let go of files."""
        for body in (self.request_body, self.answer_body):
            if body is not None:
                body.discard()


_OF_THE_CONNECTION = frozenset(
    (
        "connection",
        "content-length",
        "date",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)


def _names(fields: Fields) -> list[tuple[str, str]]:
    return [
        (name, value)
        for name, value in ((name.lower(), value) for name, value in fields)
        if name not in _OF_THE_CONNECTION and not name.startswith("sec-websocket-")
    ]
