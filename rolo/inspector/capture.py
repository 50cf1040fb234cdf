"""Fills the store: an observer of everything that a server serves."""

from __future__ import annotations

import typing as t

from rolo.har.model import Answer as AnswerEntry
from rolo.har.model import Close, Interim
from rolo.har.recorder import entry_of, text_of
from rolo.inspector.records import Body, EventReader, Head, Item, Record, Try
from rolo.inspector.store import Store
from rolo.observing import (
    Answer,
    AnswerBody,
    AnswerTrailers,
    Ended,
    Event,
    Exchange,
    Message,
    Missed,
    Observer,
    RequestBody,
    RequestStarted,
    RequestTrailers,
    UpstreamTried,
    WebSocketClosed,
)
from rolo.observing import Interim as InterimSent

MAX_BODY = 1024 * 1024
"""Bytes of a body that are kept."""
MAX_ITEM = 256 * 1024
"""Bytes of a message or an event that are kept."""
MAX_ITEMS = 32 * 1024 * 1024
"""Bytes of all messages of one websocket that are kept."""


class Capture(Observer):
    """Makes records of exchanges.

    :param max_body: bytes of each body that are kept; the rest is counted
    """

    def __init__(self, store: Store, max_body: int = MAX_BODY) -> None:
        self.store = store
        self.max_body = max_body
        self._open: dict[Exchange, Record | None] = {}

    def record_of(self, exchange: Exchange) -> Record | None:
        """Return the record of an exchange that goes on, from any thread; it may be asked for
        before the observer is told that the exchange has begun."""
        with self.store.lock:
            if exchange not in self._open:
                self._begin(exchange)
            return self._open.get(exchange)

    # --- what observers are told

    def on_request(self, event: RequestStarted) -> None:
        with self.store.lock:
            if event.exchange not in self._open:
                self._begin(event.exchange)

    def on_request_body(self, event: RequestBody) -> None:
        record = self._of(event)
        if record is not None:
            with self.store.lock:
                record.request_body.write(event.data)
                record.received += len(event.data)
                record.entry.sent = _since(event)
                self.store.changed(record)

    def on_request_trailers(self, event: RequestTrailers) -> None:
        record = self._of(event)
        if record is not None:
            record.entry.trailers = text_of(event.headers)

    def on_upstream(self, event: UpstreamTried) -> None:
        record = self._of(event)
        if record is None:
            return
        request = Head(
            f"{event.method} {event.target.decode('latin-1')} HTTP/1.1", text_of(event.headers)
        )
        answer = None
        if event.status is not None:
            reason = (event.reason or b"").decode("latin-1")
            answer = Head(
                f"HTTP/1.1 {event.status} {reason}".rstrip(), text_of(event.answer_headers)
            )
        attempt = Try(
            event.origin,
            request,
            answer,
            event.error,
            event.connection,
            event.reused,
            event.retried,
            event.phases,
        )
        with self.store.lock:
            record.tries.append(attempt)
            record.add_head(request.fields)
            if answer is not None:
                record.add_head(answer.fields)
            self.store.changed(record)

    def on_interim(self, event: InterimSent) -> None:
        record = self._of(event)
        if record is not None:
            fields = text_of(event.headers)
            record.entry.interims.append(Interim(_since(event), event.status, fields))

    def on_answer(self, event: Answer) -> None:
        record = self._of(event)
        if record is None:
            return
        fields = text_of(event.headers)
        answer = AnswerEntry(
            event.status,
            event.reason.decode("latin-1"),
            fields,
            at=_since(event),
            http_version=record.entry.http_version,
        )
        with self.store.lock:
            record.entry.answer = answer
            record.head_at = answer.at
            record.answer_body = Body(self.max_body, self.store.file(record.id, "answer"))
            record.add_head(fields)
            if record.row()["type"] == "text/event-stream":
                record.kind = "sse"
                if not any(name.lower() == "content-encoding" for name, _ in fields):
                    record.events = EventReader()
            self.store.changed(record)

    def on_answer_body(self, event: AnswerBody) -> None:
        record = self._of(event)
        if record is None or record.answer_body is None or record.entry.answer is None:
            return
        at = _since(event)
        with self.store.lock:
            record.answer_body.write(event.data)
            record.entry.answer.pieces.add(at, len(event.data))
            record.sent += len(event.data)
            if record.events is not None:
                for each, size in record.events.feed(event.data):
                    data = each.data or ""
                    self._add_item(record, Item(at, "server", data, size, each.event or "message"))
            self.store.changed(record)

    def on_answer_trailers(self, event: AnswerTrailers) -> None:
        record = self._of(event)
        if record is not None and record.entry.answer is not None:
            record.entry.answer.trailers = text_of(event.headers)

    def on_message(self, event: Message) -> None:
        record = self._of(event)
        if record is None:
            return
        with self.store.lock:
            if event.by == "client":
                record.received += event.size
            else:
                record.sent += event.size
            self._add_item(record, Item(_since(event), event.by, event.data, event.size))
            self.store.changed(record)

    def on_websocket_closed(self, event: WebSocketClosed) -> None:
        record = self._of(event)
        if record is not None:
            record.entry.close = Close(_since(event), event.by, event.code, event.reason)

    def on_missed(self, missed: Missed) -> None:
        self.store.missed += missed.events
        with self.store.lock:
            for record in self._open.values():
                if record is not None:
                    record.entry.missed = True

    def on_end(self, event: Ended) -> None:
        record = self._of(event)
        with self.store.lock:
            del self._open[event.exchange]
        if record is None:
            return
        entry = record.entry
        with self.store.lock:
            entry.ended = _since(event)
            entry.outcome, entry.error, entry.detail = event.outcome, event.error, event.detail
            record.open = False
            for body in (record.request_body, record.answer_body):
                if body is not None:
                    body.finish()
            self.store.changed(record)

    # --- how records are made

    def _begin(self, exchange: Exchange) -> None:
        if self.store.paused:
            self._open[exchange] = None
        else:
            self._new(exchange)

    def _new(self, exchange: Exchange) -> Record:
        entry = entry_of(exchange, None)
        number = self.store.new_number()
        body = Body(self.max_body, self.store.file(number, "request"))
        client = "" if exchange.client is None else ":".join(map(str, exchange.client))
        kind: t.Literal["http", "websocket"] = exchange.kind
        record = Record(number, kind, entry, body, client)
        if exchange.head is not None:
            record.server = exchange.head.server
            record.scheme = exchange.head.scheme
        self._open[exchange] = record
        self.store.add(record)
        return record

    def _of(self, event: Event) -> Record | None:
        """Return the record of the exchange, new if this is the first that is told of it;
        ``None`` if it began while recording was paused."""
        exchange = event.exchange
        with self.store.lock:
            if exchange not in self._open:
                self._new(exchange).entry.missed = True
            return self._open[exchange]

    @staticmethod
    def _add_item(record: Record, item: Item) -> None:
        if len(item.data) > MAX_ITEM:
            item.data = item.data[:MAX_ITEM]
        if record.weight + len(item.data) > MAX_ITEMS:
            record.items_left_out += 1
            return
        record.add_item(item)


def _since(event: Event) -> float:
    return max(0.0, event.at - event.exchange.started)
