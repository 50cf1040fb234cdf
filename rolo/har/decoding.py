"""From what stands in a file to an entry; the other half of :mod:`rolo.har.encoding`."""

from __future__ import annotations

import base64
import binascii
import datetime
import json
import struct
import typing as t

from rolo.har.content import EMPTY, Content, InMemory
from rolo.har.encoding import text_encoding
from rolo.har.members import Place
from rolo.har.model import (
    Answer,
    Close,
    Entry,
    Fields,
    Interim,
    Message,
    Outcome,
    Pieces,
    Side,
    first,
)
from rolo.wire.charsets import charset_parameter
from rolo.wire.content_codings import parse_codings

Files = t.Callable[[str], Content]
"""Returns the file of a name; raises OSError or ValueError."""

_WRITTEN = frozenset(
    [
        "startedDateTime",
        "time",
        "request",
        "response",
        "cache",
        "timings",
        "comment",
        "_interims",
        "_webSocketMessages",
        "_webSocketClose",
        "_eventSourceMessages",
        "_outcome",
        "_detail",
        "_missed",
        "_resourceType",
    ]
)
_OUTCOMES = t.get_args(Outcome)
_TEXT, _BINARY, _CLOSE = 1, 2, 8
# In seconds since 1970 a time of this size lies beyond the year 5000: it is in milliseconds.
_MILLISECONDS = 1e11


def decoded_entry(place: Place, files: Files) -> Entry:
    """Return the entry that stands at ``place``.

    :raises HarError: it is none
    """
    request, response = place.object("request"), place.object("response")
    entry = Entry(
        method=request.need("method", str),
        url=_url(request),
        headers=_fields(request, "headers"),
        body=_post_data(request.optional("postData"), files),
        http_version=request.get("httpVersion", str, "") or "HTTP/1.1",
        trailers=_fields(request, "_trailers"),
        started=_timestamp(place),
        ended=_seconds(max(0.0, place.get("time", float, 0.0))),
        comment=place.get("comment", str, ""),
        missed=place.get("_missed", bool, False),
        detail=place.get("_detail", str, t.cast(str, None)),
        extra={name: value for name, value in place.value.items() if name not in _WRITTEN},
    )
    timings = place.optional("timings")
    wait = 0.0
    if timings is not None:
        before = sum(_positive(timings, name) for name in ("blocked", "dns", "connect", "send"))
        entry.sent, wait = _seconds(before), _positive(timings, "wait") / 1000
    for each in place.objects("_interims", default=True):
        at = _seconds(each.get("time", float, 0.0))
        entry.interims.append(Interim(at, each.need("status", int), _fields(each, "headers")))
    entry.answer = _answer(response, files, entry.sent + wait)
    entry.error = next(
        (
            str(response.value[name])
            for name in ("_error", "_failureText")
            if response.value.get(name)
        ),
        None,
    )
    outcome = place.get("_outcome", str, "")
    if outcome in _OUTCOMES:
        entry.outcome = t.cast(Outcome, outcome)
    elif entry.answer is None or entry.error:
        entry.outcome = "aborted"
    if "_webSocketMessages" in place or place.get("_resourceType", str, "") == "websocket":
        _websocket(entry, place, response, files)
    return entry


def _seconds(milliseconds: float) -> float:
    return round(milliseconds / 1000, 6)


def _positive(place: Place, name: str) -> float:
    return max(0.0, place.get(name, float, 0.0))


def _url(request: Place) -> str:
    url = request.need("url", str).partition("#")[0]
    scheme, separator, rest = url.partition("://")
    if not separator or not rest or not scheme.isalnum():
        raise request.fault("url", f"not a URL: {url[:80]!r}")
    return url


def _timestamp(place: Place) -> float:
    text = place.get("startedDateTime", str, "")
    if not text:
        return 0.0
    try:
        when = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise place.fault("startedDateTime", f"not a time: {text[:80]!r}") from None
    if when.tzinfo is None:
        when = when.replace(tzinfo=datetime.UTC)
    return when.timestamp()


def _fields(place: Place, name: str) -> Fields:
    """Return the fields of a list. What HTTP/2 has in the place of a request line is none of
    them, and those that a browser has joined are taken apart."""
    found: Fields = []
    for number, each in enumerate(place.get(name, list, [])):
        if isinstance(each, list) and len(each) == 2 and all(isinstance(e, str) for e in each):
            field, value = each  # as Slack writes them
        else:
            member = Place(place.file, f"{place.path}.{name}[{number}]", each)
            field, value = member.need("name", str), str(member.value.get("value") or "")
        if not field.startswith(":"):
            found += [(field, line) for line in value.split("\n")]
    return found


# --- bodies


def _bytes(place: Place, files: Files, kind: str) -> Content | None:
    """Return what ``text`` or ``_file`` hold, ``None`` if there is neither."""
    if "_file" in place:
        return _file(place, "_file", files)
    text = place.get("text", str, t.cast(str, None))
    if text is None:
        return None
    if "base64" in (place.get("encoding", str, ""), place.get("_encoding", str, "")):
        return InMemory(_base64(place, "text"))
    return InMemory(encoded_text(text, kind))


def encoded_text(text: str, kind: str) -> bytes:
    """Return ``text`` as bytes, in the encoding of its media type as far as that has it."""
    try:
        return text.encode(text_encoding(kind))
    except (UnicodeEncodeError, LookupError):
        return text.encode("utf-8", "surrogatepass")


def _base64(place: Place, name: str) -> bytes:
    try:
        return base64.b64decode(place.need(name, str), validate=False)
    except (binascii.Error, ValueError) as exc:
        raise place.fault(name, f"not base64: {exc}") from None


def _file(place: Place, name: str, files: Files) -> Content:
    try:
        return files(place.need(name, str))
    except OSError as exc:
        raise place.fault(name, f"{place.value[name]}: {exc.strerror or exc}") from None
    except ValueError as exc:
        raise place.fault(name, f"{place.value[name]!r}: {exc}") from None


def _post_data(place: Place | None, files: Files) -> Content | None:
    if place is None:
        return EMPTY
    if place.get("_missing", bool, False):
        return None
    kind = place.get("mimeType", str, "")
    body = _bytes(place, files, kind)
    if (body is None or not body.size) and "params" in place:
        return _form(place)
    return EMPTY if body is None else body


def _form(place: Place) -> Content:
    """Some write the fields of a form, and not the body."""
    from urllib.parse import urlencode

    pairs = [
        (each.need("name", str), each.get("value", str, ""))
        for each in place.objects("params", default=True)
    ]
    return InMemory(urlencode(pairs).encode())


def _answer(response: Place, files: Files, at: float) -> Answer | None:
    status = response.get("status", int, 0)
    if status <= 0:
        return None
    headers = _fields(response, "headers")
    content = response.optional("content")
    pieces = Pieces()
    for number, each in enumerate(response.get("_pieces", list, [])):
        try:
            ms, size = each
            pieces.add(_seconds(ms), size)
        except (TypeError, ValueError, OverflowError):
            raise response.fault(f"_pieces[{number}]", f"not [time, size]: {each!r}") from None
    body: Content | None = EMPTY
    is_decoded = False
    if content is not None:
        body, is_decoded = _content(content, headers, files)
    return Answer(
        status=status,
        reason=response.get("statusText", str, ""),
        headers=headers,
        body=body,
        is_decoded=is_decoded,
        at=_seconds(response.get("_time", float, at * 1000)),
        pieces=pieces,
        trailers=_fields(response, "_trailers"),
        http_version=response.get("httpVersion", str, "") or "HTTP/1.1",
    )


def _content(content: Place, headers: Fields, files: Files) -> tuple[Content | None, bool]:
    """Return a body, and whether its content coding is undone."""
    if "_encoded" in content:
        return InMemory(_base64(content, "_encoded")), False
    if "_encodedFile" in content:
        return _file(content, "_encodedFile", files), False
    codings = parse_codings(first(headers, "content-encoding"))
    kind = content.get("mimeType", str, "")
    if charset_parameter(kind) is None:  # which browsers leave out here
        kind = first(headers, "content-type") or kind
    body = _bytes(content, files, kind)
    if body is None:
        # Browsers leave out what they do not have any more, and say how long it was.
        known_empty = content.get("size", float, 0.0) == 0.0
        return (EMPTY if known_empty else None), False
    return body, bool(codings)


# --- websockets


def _websocket(entry: Entry, place: Place, response: Place, files: Files) -> None:
    if entry.url.startswith("http"):
        entry.url = "ws" + entry.url[4:]
    if entry.answer is not None and entry.answer.status not in (101, 200):
        return  # it was refused
    entry.messages = []
    for each in _messages(place, response, files):
        at = max(0.0, _message_time(each, entry.started))
        by: Side = "client" if each.get("type", str, "") == "send" else "server"
        opcode = each.get("opcode", int, _TEXT)
        if opcode == _TEXT:
            entry.messages.append(Message(at, by, each.need("data", str)))
        elif opcode == _BINARY:
            entry.messages.append(Message(at, by, _base64(each, "data")))
        elif opcode == _CLOSE:
            entry.close = _close_frame(at, by, each.get("data", str, ""))
    close = place.optional("_webSocketClose")
    if close is not None:
        entry.close = Close(
            max(0.0, _message_time(close, entry.started)),
            "client" if close.get("by", str, "server") == "client" else "server",
            close.get("code", int, 1005),
            close.get("reason", str, ""),
        )


def _messages(place: Place, response: Place, files: Files) -> t.Iterator[Place]:
    if "_webSocketMessages" in place:
        yield from place.objects("_webSocketMessages")
        return
    # Playwright attaches them as a file with a message a line.
    content = response.optional("content")
    if content is None or "_file" not in content:
        return
    for number, line in enumerate(_file(content, "_file", files).read().splitlines(), 1):
        try:
            message = json.loads(line)
        except ValueError as exc:
            raise content.fault("_file", f"line {number}: {exc}") from None
        yield Place(content.file, f"{content.path}._file, line {number}", message)


def _message_time(place: Place, started: float) -> float:
    time = place.get("time", float, 0.0)
    if time <= 0:
        return 0.0
    return round((time / 1000 if time > _MILLISECONDS else time) - started, 6)


def _close_frame(at: float, by: Side, data: str) -> Close:
    try:
        payload = base64.b64decode(data, validate=True)
        code = struct.unpack("!H", payload[:2])[0]
        return Close(at, by, code, payload[2:].decode())
    except (ValueError, struct.error):
        return Close(at, by, 1005)
