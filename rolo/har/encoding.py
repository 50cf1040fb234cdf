"""From an entry to what stands in the file: members of HAR 1.2, and with an underscore in front
those that others have added to it (``_webSocketMessages``, ``_file``, ``_error``) or we do.

Pure, but that bodies are read. Where a body is to be a file of its own, ``attach`` is asked for
its name.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import itertools
import typing as t
from email.utils import parsedate_to_datetime
from urllib.parse import parse_qsl

from rolo.errors import RoloError
from rolo.har.codings import decoded
from rolo.har.content import Content
from rolo.har.events import timed_events
from rolo.har.model import (
    EVENTS,
    FORM,
    Answer,
    Entry,
    Fields,
    Message,
    first,
    media_type,
)
from rolo.wire.charsets import charset_parameter, codec_of
from rolo.wire.content_codings import decode, parse_codings

Json = dict[str, t.Any]


class Attach(t.Protocol):
    """Puts a body into a file of its own."""

    def __call__(self, pieces: t.Iterable[bytes], kind: str) -> str:
        """Return the name of the file, relative to that of the recording.

        :param kind: the body's media type, ``""`` if it has none
        """


class Embedding(t.NamedTuple):
    """Which bodies are written into the file, and where the others go."""

    limit: int
    """Bytes of a body that is embedded, at most."""
    attach: Attach


def encoded_entry(entry: Entry, embedding: Embedding) -> Json:
    """Return the object of ``entry``."""
    answer = entry.answer
    wait = (answer.at if answer else entry.ended) - entry.sent
    receive = entry.ended - answer.at if answer else 0.0
    written: Json = {
        "startedDateTime": timestamp(entry.started),
        "time": _ms(entry.ended),
        "request": _request(entry, embedding),
        "response": _response(entry, embedding),
        "cache": {},
        "timings": {
            "blocked": -1,
            "dns": -1,
            "connect": -1,
            "send": _ms(entry.sent),
            "wait": _ms(max(0.0, wait)),
            "receive": _ms(max(0.0, receive)),
            "ssl": -1,
        },
    }
    if entry.comment:
        written["comment"] = entry.comment
    if entry.interims:
        written["_interims"] = [
            {"time": _ms(each.at), "status": each.status, "headers": fields(each.headers)}
            for each in entry.interims
        ]
    if entry.messages is not None:
        written["_resourceType"] = "websocket"
        written["_webSocketMessages"] = [_message(entry, each) for each in entry.messages]
    if entry.close is not None:
        close = entry.close
        written["_webSocketClose"] = {
            "by": close.by,
            "time": round(entry.started + close.at, 6),
            "code": close.code,
            "reason": close.reason,
        }
    events = _events(entry, embedding.limit)
    if events:
        written["_resourceType"] = "eventsource"
        written["_eventSourceMessages"] = events
    written["_outcome"] = entry.outcome
    if entry.detail is not None:
        written["_detail"] = entry.detail
    if entry.missed:
        written["_missed"] = True
    return {**entry.extra, **written}


def timestamp(seconds: float) -> str:
    """Return a time as ISO 8601 has it, in UTC and with microseconds."""
    when = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return when.isoformat(timespec="microseconds").replace("+00:00", "Z")


def fields(pairs: Fields) -> list[Json]:
    """Return header fields, or the like, as a list of objects."""
    return [{"name": name, "value": value} for name, value in pairs]


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _request(entry: Entry, embedding: Embedding) -> Json:
    body = entry.body
    written: Json = {
        "method": entry.method,
        "url": entry.url,
        "httpVersion": entry.http_version,
        "cookies": _cookies(entry.headers, "cookie"),
        "headers": fields(entry.headers),
        "queryString": fields(
            parse_qsl(entry.parts.query, keep_blank_values=True, encoding="utf-8")
        ),
        "headersSize": -1,
        "bodySize": -1 if body is None else body.size,
    }
    if body is None or body.size:
        written["postData"] = _post_data(entry, embedding)
    if entry.trailers:
        written["_trailers"] = fields(entry.trailers)
    return written


def _post_data(entry: Entry, embedding: Embedding) -> Json:
    body = entry.body
    kind = first(entry.headers, "content-type") or ""
    # text is there whatever becomes of it: readers ask for it without looking.
    data: Json = {"mimeType": kind, "params": [], "text": ""}
    if body is None:
        data["_missing"] = True
    elif body.size > embedding.limit:
        data["_file"] = embedding.attach(body.pieces(), media_type(entry.headers))
    else:
        content = body.read()
        text = _text(content, kind)
        data["text"] = text["text"]
        if "encoding" in text:
            data["_encoding"] = text["encoding"]  # HAR has no bytes here
        elif media_type(entry.headers) == FORM:
            data["params"] = fields(parse_qsl(data["text"], keep_blank_values=True))
    return data


def _response(entry: Entry, embedding: Embedding) -> Json:
    answer = entry.answer
    if answer is None:
        written: Json = {
            "status": 0,
            "statusText": "",
            "httpVersion": "",
            "cookies": [],
            "headers": [],
            "content": {"size": 0, "mimeType": "x-unknown"},
            "redirectURL": "",
            "headersSize": -1,
            "bodySize": -1,
        }
    else:
        written = {
            "status": answer.status,
            "statusText": answer.reason,
            "httpVersion": answer.http_version,
            "cookies": _cookies(answer.headers, "set-cookie"),
            "headers": fields(answer.headers),
            "content": _content(answer, embedding),
            "redirectURL": first(answer.headers, "location") or "",
            "headersSize": -1,
            "bodySize": -1 if answer.body is None else answer.body.size,
            "_time": _ms(answer.at),
        }
        if answer.trailers:
            written["_trailers"] = fields(answer.trailers)
        if len(answer.pieces):
            written["_pieces"] = [[_ms(at), size] for at, size in answer.pieces]
    if entry.error is not None:
        written["_error"] = entry.error
    return written


def _content(answer: Answer, embedding: Embedding) -> Json:
    """The body as HAR has it: with its content coding undone. What passed is kept beside it."""
    kind = first(answer.headers, "content-type") or "x-unknown"
    written: Json = {"size": 0, "mimeType": kind}
    body = answer.body
    if body is None:
        return {"size": -1, "mimeType": kind, "_missing": True}
    if not body.size:
        return written
    name = media_type(answer.headers)
    codings = parse_codings(first(answer.headers, "content-encoding"))
    if answer.is_decoded or not codings:
        written["size"] = body.size
        if answer.is_decoded:
            written["_decoded"] = True
        if body.size > embedding.limit:
            written["_file"] = embedding.attach(body.pieces(), name)
        else:
            written |= _text(body.read(), kind)
        return written
    written |= _undone(body, codings, embedding, kind, name)
    if body.size > embedding.limit:
        written["_encodedFile"] = embedding.attach(body.pieces(), "")
    else:
        written["_encoded"] = base64.b64encode(body.read()).decode()
    return written


def _undone(
    body: Content, codings: t.Sequence[str], embedding: Embedding, kind: str, name: str
) -> Json:
    """A body with its content coding undone, as far as that can be done."""
    size = 0

    def counted(pieces: t.Iterable[bytes]) -> t.Iterator[bytes]:
        nonlocal size
        for piece in pieces:
            size += len(piece)
            yield piece

    try:
        plain = counted(decode(body.pieces(), codings))
        start: list[bytes] = []
        for piece in plain:
            start.append(piece)
            if size > embedding.limit:
                written: Json = {"_file": embedding.attach(itertools.chain(start, plain), name)}
                break
        else:
            written = _text(b"".join(start), kind)
    except RoloError as exc:
        return {"size": body.size, "comment": f"as it was sent only: {exc}"}
    return {"size": size, "compression": size - body.size, **written}


def _text(data: bytes, kind: str) -> Json:
    """Bytes as text if they are the same bytes when they are read again, else in base64."""
    with contextlib.suppress(ValueError, LookupError):
        text = data.decode(text_encoding(kind))
        if text.encode(text_encoding(kind)) == data:
            return {"text": text}
    return {"text": base64.b64encode(data).decode(), "encoding": "base64"}


def text_encoding(kind: str) -> str:
    """Return the encoding of a text of this Content-Type, as Python calls it."""
    label = charset_parameter(kind)
    if label is not None:
        with contextlib.suppress(RoloError):
            return codec_of(label).name
    return "utf-8"


def _message(entry: Entry, message: Message) -> Json:
    text = isinstance(message.data, str)
    return {
        "type": "send" if message.by == "client" else "receive",
        "time": round(entry.started + message.at, 6),
        "opcode": 1 if text else 2,
        "data": message.data
        if isinstance(message.data, str)
        else base64.b64encode(message.data).decode(),
    }


def _events(entry: Entry, limit: int) -> list[Json]:
    """Server-sent events as Chrome has them in its protocol; for readers, as they are read
    again from the body."""
    answer = entry.answer
    if answer is None or answer.body is None or media_type(answer.headers) != EVENTS:
        return []
    if answer.body.size > limit:
        return []
    codings = parse_codings(first(answer.headers, "content-encoding"))
    try:
        data, pieces = answer.body.read(), answer.pieces
        if codings and not answer.is_decoded:
            data, pieces = decoded(answer.body, pieces, codings)
        return [
            {
                "time": round(entry.started + at, 6),
                "eventName": event.event or "message",
                "eventId": event.id or "",
                "data": event.data,
            }
            for at, event in timed_events(data, pieces)
        ]
    except RoloError:
        return []


def _cookies(pairs: Fields, name: str) -> list[Json]:
    """The cookies of all fields called so, as far as they can be read."""
    found: list[Json] = []
    for field, value in pairs:
        if field.lower() != name:
            continue
        if name == "cookie":
            for part in value.split(";"):
                cookie, _, text = part.strip().partition("=")
                found.append({"name": cookie, "value": text})
        else:
            found.append(_set_cookie(value))
    return found


def _set_cookie(value: str) -> Json:
    cookie, *attributes = value.split(";")
    name, _, text = cookie.strip().partition("=")
    found: Json = {"name": name, "value": text, "httpOnly": False, "secure": False}
    for attribute in attributes:
        key, _, given = attribute.strip().partition("=")
        match key.lower():
            case "path":
                found["path"] = given
            case "domain":
                found["domain"] = given
            case "samesite":
                found["sameSite"] = given
            case "httponly":
                found["httpOnly"] = True
            case "secure":
                found["secure"] = True
            case "expires":
                with contextlib.suppress(ValueError, TypeError):
                    found["expires"] = timestamp(parsedate_to_datetime(given).timestamp())
    return found
