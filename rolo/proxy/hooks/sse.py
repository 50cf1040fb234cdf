"""Server-sent events as objects, and back (HTML standard, section 9.2)."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from rolo.errors import BodyTooLarge
from rolo.net.body import close_given
from rolo.response import Response

MAX_EVENT = 1024 * 1024
"""Bytes of one event that are held; a longer one breaks the stream off."""

# CR, LF and CRLF all end a line; a CR at the end may yet turn out to be half of a CRLF.
_LINE_END = re.compile(rb"\r\n|\n|\r(?!\Z)")
# More than 30,000 years are no time to wait: as to browsers, such a field says nothing.
_RETRY = re.compile(r"0*([0-9]{1,15})")
_BOM = b"\xef\xbb\xbf"


@dataclasses.dataclass
class Event:
    """One event of a stream. A field that is ``None`` is not on the wire."""

    data: str | None = None
    """Lines are separated by ``\\n``."""
    event: str | None = None
    id: str | None = None
    retry: int | None = None
    """Milliseconds until the client connects again."""
    comments: list[str] = dataclasses.field(default_factory=list)
    """Without the colon; they are written in front of the fields."""

    def to_bytes(self) -> bytes:
        """Return the event as it goes on the wire, with the empty line that ends it."""
        lines = [f":{comment}" for comment in self.comments]
        if self.event is not None:
            lines.append(f"event: {_one_line(self.event)}")
        if self.id is not None:
            lines.append(f"id: {_one_line(self.id)}")
        if self.retry is not None:
            lines.append(f"retry: {self.retry}")
        if self.data is not None:
            text = self.data.replace("\r\n", "\n").replace("\r", "\n")
            lines += [f"data: {line}" for line in text.split("\n")]
        return "\n".join([*lines, "", ""]).encode("utf-8")


def _one_line(text: str) -> str:
    if "\n" in text or "\r" in text or "\0" in text:
        raise ValueError(f"an event's name or id is one line, not {text!r}")
    return text


class Block(t.NamedTuple):
    """One event as it came: its bytes, the empty line included, and what they mean."""

    raw: bytes
    event: Event | None
    """``None`` for what no client would be told of: no data, or cut off by the end."""


def blocks(pieces: t.Iterable[bytes]) -> t.Iterator[Block]:
    """Take a stream apart as it comes. The ``raw`` of all blocks, joined, is the stream,
    byte for byte.

    :raises BodyTooLarge: an event is longer than :data:`MAX_EVENT`
    """
    buffer, line, searched, first = bytearray(), 0, 0, True
    for piece in pieces:
        buffer += piece
        start = 0
        for end in _LINE_END.finditer(buffer, searched):
            if end.start() == line:
                raw = bytes(buffer[start : end.end()])
                yield Block(raw, parse_event(raw.removeprefix(_BOM) if first else raw))
                start, first = end.end(), False
            line = end.end()
        del buffer[:start]
        line -= start
        searched = len(buffer) - buffer.endswith(b"\r")
        if len(buffer) > MAX_EVENT:
            raise BodyTooLarge(f"an event of more than {MAX_EVENT} bytes")
    if buffer:
        rest = bytes(buffer)
        # A last CR was no half of a CRLF after all.
        complete = rest.endswith(b"\r") and line == len(rest) - 1
        yield Block(rest, parse_event(rest) if complete else None)


def parse_event(raw: bytes) -> Event | None:
    """Return the event that the lines of ``raw`` describe, ``None`` if they have no data."""
    event = Event()
    data: list[str] = []
    for line in re.split(r"\r\n|\n|\r", raw.decode("utf-8", "replace")):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ") if name else value
        if not name:
            if line:
                event.comments.append(value)
        elif name == "data":
            data.append(value)
        elif name == "event":
            event.event = value
        elif name == "id" and "\0" not in value:
            event.id = value
        elif name == "retry" and (digits := _RETRY.fullmatch(value)):
            event.retry = int(digits[1])
    if not data:
        return None
    event.data = "\n".join(data)
    return event


def events(pieces: t.Iterable[bytes]) -> t.Iterator[Event]:
    """Return the events of a stream, without what no client would be told of."""
    return (block.event for block in blocks(pieces) if block.event is not None)


def event_stream(source: t.Iterable[Event | str]) -> Response:
    """Return a response that sends the events of ``source`` as they come; text is an
    event's data. A generator is closed with the response."""
    return Response(
        _Written(source), mimetype="text/event-stream", headers={"Cache-Control": "no-cache"}
    )


class _Written:
    def __init__(self, source: t.Iterable[Event | str]) -> None:
        self._source = source

    def __iter__(self) -> t.Iterator[bytes]:
        for event in self._source:
            yield (Event(event) if isinstance(event, str) else event).to_bytes()

    def close(self) -> None:
        close_given(self._source)
