"""Records what a server serves: an observer that makes entries of what it is told."""

from __future__ import annotations

import dataclasses
import os
import threading
import typing as t
from urllib.parse import quote

from rolo.bridge.downstream import RequestHead
from rolo.har.content import SpillDirectory, Spool
from rolo.har.model import (
    Answer,
    Close,
    Entry,
    Fields,
    Interim,
    Message,
    Recording,
)
from rolo.har.redact import Redaction
from rolo.har.writing import EMBED, write_har
from rolo.observing import (
    Answer as Answered,
)
from rolo.observing import (
    AnswerBody,
    AnswerTrailers,
    Ended,
    Event,
    Exchange,
    Missed,
    Observer,
    RequestBody,
    RequestStarted,
    RequestTrailers,
    WebSocketClosed,
)
from rolo.observing import (
    Interim as InterimSent,
)
from rolo.observing import (
    Message as MessagePassed,
)
from rolo.wire.fields import RawHeaders

REPLAYED = "rolo.har.replayed"
"""An extension of the head of a request that was answered from a recording."""

_ASCII = "".join(map(chr, range(0x80)))
_SMALL = 4 * 1024
"""Bytes of a body that stays in memory however much is there already."""


class Recorder(Observer):
    """Makes a recording of all exchanges of a server, which :meth:`write` writes as HAR 1.2.

    ::

        recorder = Recorder()
        with serve(gateway, observers=[recorder]) as server:
            ...
        recorder.write("orders.har")

    What was served from a recording (see :class:`~rolo.har.Player`) is not recorded again,
    unless ``with_replays`` is true.
    Exchanges wait for a recorder that does not keep up, see
    :attr:`~rolo.observing.Observer.patient`.

    :param redaction: what is a secret, beside the usual fields
    :param base_url: begins the URLs of the entries, instead of scheme and address of the server:
        of a proxy, where it forwards to. Recordings of servers on changing ports do not differ
        then.
    :param max_body: bytes of a body that are kept; of a longer one the entry says that it is cut,
        and it cannot be replayed. Bodies in which secrets have to be looked for, which happens in
        memory, have a bound of their own, ``max_searched``.
    :param max_messages: bytes of messages that are kept of one websocket, likewise
    :param max_memory: bytes that bodies may take in memory, all together; others are in
        temporary files until the recorder is garbage, or :meth:`discard` is called
    :param forwarded_only: record what an upstream has answered, or was to answer, and not what
        handlers have answered themselves
    :param with_replays: record what was served from a recording, too
    :param on_entry: called with each entry when it is complete, on the recorder's thread
    """

    patient = True
    max_bytes = 4 * 1024 * 1024

    def __init__(
        self,
        *,
        redaction: Redaction = Redaction(),  # noqa: B008 - a frozen value
        base_url: str | None = None,
        max_body: int | None = 1024 * 1024 * 1024,
        max_searched: int = 4 * 1024 * 1024,
        max_messages: int = 16 * 1024 * 1024,
        max_memory: int = 8 * 1024 * 1024,
        forwarded_only: bool = False,
        with_replays: bool = False,
        on_entry: t.Callable[[Entry], None] | None = None,
    ) -> None:
        self.redaction = redaction
        self.base_url = base_url
        self.max_body = max_body
        self.max_searched = max_searched
        self.max_messages = max_messages
        self.max_memory = max_memory
        self.forwarded_only = forwarded_only
        self.with_replays = with_replays
        self.on_entry = on_entry
        self._lock = threading.Lock()
        self._open: dict[Exchange, _Open] = {}
        self._done: list[tuple[int, Entry]] = []
        self._missed = Missed(0, 0)
        self._files = SpillDirectory()
        self._in_memory = 0

    @property
    def recording(self) -> Recording:
        """What is recorded: the exchanges that have ended, in the order in which they began.
        The list is new each time, the entries are not."""
        with self._lock:
            entries = [entry for _, entry in sorted(self._done, key=lambda each: each[0])]
            return Recording(
                entries, missed_events=self._missed.events, missed_bytes=self._missed.bytes
            )

    def write(self, path: str | os.PathLike[str], *, embed: int = EMBED) -> None:
        """Write :attr:`recording`, see :func:`~rolo.har.write_har`."""
        write_har(self.recording, path, embed=embed)

    def discard(self) -> None:
        """Forget what is recorded, and remove temporary files."""
        with self._lock:
            self._done.clear()
            self._in_memory = sum(each.held for each in self._open.values())
            if not self._open:
                self._files.close()

    # --- what observers are told

    def on_request(self, event: RequestStarted) -> None:
        self._of(event)

    def on_request_body(self, event: RequestBody) -> None:
        record = self._of(event)
        record.entry.sent = record.since(event)
        self._write(record, record.request_body, event.data)

    def on_request_trailers(self, event: RequestTrailers) -> None:
        self._of(event).entry.trailers = text_of(event.headers)

    def on_interim(self, event: InterimSent) -> None:
        record = self._of(event)
        record.entry.interims.append(
            Interim(record.since(event), event.status, text_of(event.headers))
        )

    def on_answer(self, event: Answered) -> None:
        record = self._of(event)
        headers = text_of(event.headers)
        record.entry.answer = Answer(
            event.status,
            event.reason.decode("latin-1"),
            headers,
            at=record.since(event),
            http_version=record.entry.http_version,
        )
        record.answer_body = self._spool(headers)
        if event.exchange.kind == "websocket" and event.status == 101:
            record.entry.messages = []

    def on_answer_body(self, event: AnswerBody) -> None:
        record = self._of(event)
        answer = record.entry.answer
        if answer is None or record.answer_body is None:
            return  # its head was missed, which the entry says
        answer.pieces.add(record.since(event), len(event.data))
        self._write(record, record.answer_body, event.data)

    def on_answer_trailers(self, event: AnswerTrailers) -> None:
        answer = self._of(event).entry.answer
        if answer is not None:
            answer.trailers = text_of(event.headers)

    def on_message(self, event: MessagePassed) -> None:
        record = self._of(event)
        record.messages += event.size
        if record.messages > self.max_messages or record.entry.messages is None:
            return
        record.entry.messages.append(Message(record.since(event), event.by, event.data))

    def on_websocket_closed(self, event: WebSocketClosed) -> None:
        record = self._of(event)
        record.entry.close = Close(record.since(event), event.by, event.code, event.reason)

    def on_missed(self, missed: Missed) -> None:
        with self._lock:
            self._missed = Missed(
                self._missed.events + missed.events, self._missed.bytes + missed.bytes
            )
            for record in self._open.values():
                record.entry.missed = True

    def on_end(self, event: Ended) -> None:
        record = self._of(event)
        with self._lock:
            del self._open[event.exchange]
        if not self._wants(event):
            self._drop(record)
            return
        entry = record.entry
        entry.ended = record.since(event)
        entry.outcome, entry.error, entry.detail = event.outcome, event.error, event.detail
        self._finish(record)
        self.redaction.entry(entry)
        with self._lock:
            self._done.append((event.exchange.number, entry))
        if self.on_entry is not None:
            self.on_entry(entry)

    # --- how entries are made

    def _wants(self, event: Ended) -> bool:
        head = event.exchange.head
        if head is not None and head.extensions.get(REPLAYED) and not self.with_replays:
            return False
        was_forwarded = event.upstream_status is not None or event.outcome == "failed"
        return was_forwarded or not self.forwarded_only

    def _of(self, event: Event) -> _Open:
        """Return what is recorded of the exchange of ``event``, new if this is its first, or
        the first that was not missed."""
        exchange = event.exchange
        record = self._open.get(exchange)
        if record is None:
            entry = entry_of(exchange, self.base_url)
            entry.missed = not isinstance(event, RequestStarted)
            record = _Open(entry, exchange.started, self._spool(entry.headers))
            with self._lock:
                self._open[exchange] = record
        return record

    def _spool(self, fields: Fields) -> Spool:
        if self.redaction.searches(fields):
            # What may hold secrets must not reach the disk as it came.
            return Spool(None, self.max_searched, self.max_body)
        memory = EMBED if self._in_memory < self.max_memory else _SMALL
        return Spool(self._files, memory, self.max_body)

    def _write(self, record: _Open, spool: Spool, data: bytes) -> None:
        before = spool.held
        try:
            spool.write(data)
        except OSError as exc:
            spool.drop()
            _lack(record.entry, f"a body could not be kept: {exc}")
        with self._lock:
            self._in_memory += spool.held - before

    def _finish(self, record: _Open) -> None:
        entry = record.entry
        entry.body = record.request_body.finish()
        if record.request_body.is_cut:
            _cut(entry, "the request's body", record.request_body.kept)
        if entry.answer is not None and record.answer_body is not None:
            entry.answer.body = record.answer_body.finish()
            if record.answer_body.is_cut:
                _cut(entry, "the answer's body", record.answer_body.kept)
        if record.messages > self.max_messages and entry.messages is not None:
            _cut(entry, "the messages", self.max_messages)

    def _drop(self, record: _Open) -> None:
        with self._lock:
            self._in_memory -= record.held
        for spool in (record.request_body, record.answer_body):
            if spool is not None:
                spool.drop()


@dataclasses.dataclass(slots=True, eq=False)
class _Open:
    """An exchange that goes on."""

    entry: Entry
    started: float
    request_body: Spool
    answer_body: Spool | None = None
    messages: int = 0
    """Bytes of them."""

    def since(self, event: Event) -> float:
        return max(0.0, event.at - self.started)

    @property
    def held(self) -> int:
        return self.request_body.held + (self.answer_body.held if self.answer_body else 0)


def _cut(entry: Entry, what: str, kept: int) -> None:
    _lack(entry, f"{what} cut after {kept} bytes")


def _lack(entry: Entry, more: str) -> None:
    """Note that something is missing, which nobody may replay."""
    entry.missed = True
    if more in entry.comment:
        return
    entry.comment = f"{entry.comment}; {more}" if entry.comment else more


def entry_of(exchange: Exchange, base_url: str | None) -> Entry:
    """Return the entry of an exchange that has begun: what its request's head says.

    :param base_url: begins its URL; ``None`` for what the request itself says
    """
    head = exchange.head
    websocket = exchange.kind == "websocket"
    if head is None:
        # What could not be read: as much of its line as there is.
        words = exchange.line.decode("latin-1").split(" ")
        target = words[1] if len(words) > 1 else "/"
        url = _url(base_url or "http://unknown", target, websocket)
        return Entry(words[0] or "UNKNOWN", url, started=exchange.wall)
    return Entry(
        "GET" if websocket else head.method,
        _url(base_url or _base(head), head.target.decode("latin-1"), websocket),
        text_of(head.headers),
        http_version=f"HTTP/{head.http_version}",
        started=exchange.wall,
    )


def _base(head: RequestHead) -> str:
    host = next(
        (value.decode("latin-1") for name, value in head.headers if name.lower() == b"host"), ""
    )
    if not host and head.server is not None:
        name, port = head.server
        host = name if port is None else f"{name}:{port}"
    scheme = {"ws": "http", "wss": "https"}.get(head.scheme, head.scheme)
    return f"{scheme}://{host or 'unknown'}"


def _url(base: str, target: str, websocket: bool) -> str:
    if "://" in target.partition("?")[0]:
        # In absolute form (RFC 9112 section 3.2.2).
        target = "/" + target.partition("://")[2].partition("/")[2]
    if not target.startswith("/"):
        target = "/" + target
    url = base.rstrip("/") + quote(target.encode("latin-1"), safe=_ASCII)
    return "ws" + url[4:] if websocket and url.startswith("http") else url


def text_of(headers: RawHeaders) -> Fields:
    """Return raw fields as those of an entry."""
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
