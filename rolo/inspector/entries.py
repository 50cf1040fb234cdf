"""Records as entries of a recording, and back."""

from __future__ import annotations

import copy

from rolo.har.content import InMemory
from rolo.har.model import EVENTS, Entry, Message, media_type
from rolo.inspector.records import Body, EventReader, Item, Record

_ALL = 1 << 62


def as_entry(record: Record) -> Entry:
    """Return a copy of what is known of ``record``, to be written."""
    entry = copy.copy(record.entry)
    entry.body = InMemory(record.request_body.read())
    entry.interims = [copy.copy(each) for each in entry.interims]
    cut = record.request_body.kept < record.request_body.size
    if entry.answer is not None and record.answer_body is not None:
        entry.answer = copy.copy(entry.answer)
        entry.answer.body = InMemory(record.answer_body.read())
        cut = cut or record.answer_body.kept < record.answer_body.size
    if record.kind == "websocket" and entry.answer is not None and entry.answer.status == 101:
        entry.messages = [Message(each.at, each.by, each.data) for each in record.items]
        cut = cut or record.items_left_out > 0
    if cut:
        entry.missed = True
        entry.comment = f"{entry.comment}; cut by the inspector".lstrip("; ")
    if record.open:
        entry.outcome = "aborted"
        entry.comment = f"{entry.comment}; still open".lstrip("; ")
    return entry


def as_record(number: int, entry: Entry) -> Record:
    """Return an entry of a file as a record."""
    body = _body(entry.body.read() if entry.body is not None else b"")
    kind = "websocket" if entry.is_websocket else "http"
    record = Record(number, "websocket" if kind == "websocket" else "http", entry, body, "")
    record.source, record.open = "file", False
    answer = entry.answer
    if answer is not None:
        data = answer.body.read() if answer.body is not None else b""
        record.answer_body = _body(data)
        record.head_at = answer.at
        if media_type(answer.headers) == EVENTS:
            record.kind = "sse"
            _add_events(record, data)
    for message in entry.messages or ():
        size = len(message.data.encode() if isinstance(message.data, str) else message.data)
        record.items.append(Item(message.at, message.by, message.data, size))
        if message.by == "client":
            record.received += size
        else:
            record.sent += size
    return record


def _body(data: bytes) -> Body:
    body = Body(_ALL)
    if data:
        body.write(data)
    return body


def _add_events(record: Record, data: bytes) -> None:
    answer = record.entry.answer
    assert answer is not None
    reader, at = EventReader(), answer.at
    pieces = [(piece.at, piece.size) for piece in answer.pieces] or [(answer.at, len(data))]
    start = 0
    for at, size in pieces:
        for each, length in reader.feed(data[start : start + size]):
            record.items.append(
                Item(at, "server", each.data or "", length, each.event or "message")
            )
        start += size
