"""Makes a record of an exchange from what has happened in it."""

from __future__ import annotations

import functools
import pathlib
import typing as t

from rolo.har.model import EVENTS, Close, Interim, media_type
from rolo.har.model import Answer as AnswerEntry
from rolo.har.recorder import entry_of, text_of
from rolo.inspector.records import Body, EventReader, Head, Item, Record, Try
from rolo.observing import (
    Answer,
    AnswerBody,
    AnswerTrailers,
    Ended,
    Event,
    Exchange,
    Message,
    RequestBody,
    RequestTrailers,
    UpstreamTried,
    WebSocketClosed,
)
from rolo.observing import Interim as InterimSent

ITEM = 200
"""Bytes that a message or an event takes beside its own."""

FileOf = t.Callable[[str], pathlib.Path | None]
"""Returns where the body of a side goes if it is too large for memory."""


def begin(number: int, exchange: Exchange, max_body: int, file_of: FileOf) -> Record:
    """Return the record of an exchange of which nothing but the head is known."""
    client = "" if exchange.client is None else ":".join(map(str, exchange.client))
    body = Body(max_body, file_of("request"))
    record = Record(number, exchange.kind, entry_of(exchange, None), body, client)
    record.exchange = exchange
    record.new_body = functools.partial(Body, max_body)
    record.answer_file = file_of("answer")
    if exchange.head is not None:
        record.server = exchange.head.server
        record.scheme = exchange.head.scheme
    return record


@functools.singledispatch
def digest(event: Event, record: Record) -> int:
    """Note ``event`` in ``record``; return how many bytes more are taken than were noted when
    it happened."""
    return 0


@digest.register
def _(event: RequestBody, record: Record) -> int:
    record.entry.sent = _since(event)
    return _written(record.request_body, event.data)


@digest.register
def _(event: RequestTrailers, record: Record) -> int:
    record.entry.trailers = text_of(event.headers)
    return 0


@digest.register
def _(event: UpstreamTried, record: Record) -> int:
    request = Head(
        f"{event.method} {event.target.decode('latin-1')} HTTP/1.1", text_of(event.headers)
    )
    answer = None
    if event.status is not None:
        reason = (event.reason or b"").decode("latin-1")
        answer = Head(f"HTTP/1.1 {event.status} {reason}".rstrip(), text_of(event.answer_headers))
    record.tries.append(
        Try(
            str(event.origin),
            request,
            answer,
            event.error,
            event.connection,
            event.reused,
            event.retried,
            event.phases,
        )
    )
    return 0


@digest.register
def _(event: InterimSent, record: Record) -> int:
    record.entry.interims.append(Interim(_since(event), event.status, text_of(event.headers)))
    return 0


@digest.register
def _(event: Answer, record: Record) -> int:
    fields = text_of(event.headers)
    answer = record.entry.answer = AnswerEntry(
        event.status,
        event.reason.decode("latin-1"),
        fields,
        at=_since(event),
        http_version=record.entry.http_version,
    )
    record.head_at = answer.at
    record.answer_body = record.new_body(record.answer_file)
    if media_type(fields) == EVENTS:
        record.kind = "sse"
        if not any(name.lower() == "content-encoding" for name, _ in fields):
            record.events = EventReader()
    return 0


@digest.register
def _(event: AnswerBody, record: Record) -> int:
    answer = record.entry.answer
    if answer is None or record.answer_body is None:
        return 0
    at = _since(event)
    answer.pieces.add(at, len(event.data))
    more = _written(record.answer_body, event.data)
    if record.events is not None:
        for each, size in record.events.feed(event.data):
            record.items.append(Item(at, "server", each.data or "", size, each.event or "message"))
            more += size + ITEM
    return more


@digest.register
def _(event: AnswerTrailers, record: Record) -> int:
    if record.entry.answer is not None:
        record.entry.answer.trailers = text_of(event.headers)
    return 0


@digest.register
def _(event: Message, record: Record) -> int:
    if event.by == "client":
        record.received += event.size
    else:
        record.sent += event.size
    record.items.append(Item(_since(event), event.by, event.data, event.size))
    return 0


@digest.register
def _(event: WebSocketClosed, record: Record) -> int:
    record.entry.close = Close(_since(event), event.by, event.code, event.reason)
    return 0


@digest.register
def _(event: Ended, record: Record) -> int:
    entry = record.entry
    entry.ended = _since(event)
    entry.outcome, entry.error, entry.detail = event.outcome, event.error, event.detail
    record.open = False
    for body in (record.request_body, record.answer_body):
        if body is not None:
            body.finish()
    return 0


def _written(body: Body, data: bytes) -> int:
    """Write to ``body``; return by how much its memory has grown beyond ``data``."""
    before = body.held
    body.write(data)
    return body.held - before - len(data)


def _since(event: Event) -> float:
    return max(0.0, event.at - event.exchange.started)
