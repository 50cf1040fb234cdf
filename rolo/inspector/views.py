"""What the page is given to show: rows, details, bodies, messages; secrets masked."""

from __future__ import annotations

import base64
import codecs
import typing as t

from werkzeug.http import parse_options_header

from rolo.errors import RoloError
from rolo.har.model import Fields, first, media_type
from rolo.har.redact import SECRET_HEADERS
from rolo.inspector.records import Body, Head, Item, Record
from rolo.matching.seen import Seen
from rolo.wire.content_codings import decode, parse_codings

Json = dict[str, t.Any]

SHORT = 4 * 1024
"""Letters of a message that go with the list; all of it is asked for."""
MAX_DECODED = 16 * 1024 * 1024
"""Bytes to which a body may be decoded."""

_MASK = "••••••"


class Masking:
    """Which fields are secrets.

    :param names: more than :data:`~rolo.har.redact.SECRET_HEADERS`
    """

    def __init__(self, names: t.Iterable[str] = ()) -> None:
        self.names = frozenset(name.lower() for name in (*SECRET_HEADERS, *names))

    def fields(self, fields: Fields, shown: bool) -> list[list[t.Any]]:
        """Return name, value, and whether it is masked, of each field."""
        return [
            [name, _MASK, True]
            if not shown and name.lower() in self.names
            else [name, value, False]
            for name, value in fields
        ]


def detail(record: Record, masking: Masking, *, secrets: bool) -> Json:
    """Return all of an exchange but bodies and messages.

    :param secrets: whether secrets are shown
    """
    entry, answer = record.entry, record.entry.answer

    def head(each: Head) -> Json:
        return {"line": each.line, "fields": masking.fields(each.fields, secrets)}

    shown_answer = None
    if answer is not None:
        line = f"{answer.http_version} {answer.status} {answer.reason}".rstrip()
        shown_answer = {
            **head(Head(line, answer.headers)),
            "status": answer.status,
            "trailers": masking.fields(answer.trailers, secrets),
            "body": _body(record.answer_body, answer.headers),
        }
    target = entry.target
    return {
        "row": record.row(),
        "url": entry.url,
        "detail": entry.detail,
        "missed": entry.missed,
        "request": {
            **head(Head(f"{entry.method} {target} {entry.http_version}", entry.headers)),
            "trailers": masking.fields(entry.trailers, secrets),
            "body": _body(record.request_body, entry.headers),
        },
        "interims": [
            head(Head(f"{entry.http_version} {each.status}", each.headers))
            for each in entry.interims
        ],
        "answer": shown_answer,
        "tries": [
            {
                "origin": each.origin,
                "request": head(each.request),
                "answer": None if each.answer is None else head(each.answer),
                "error": each.error,
                "conn": each.connection,
                "reused": each.reused,
                "retried": each.retried,
                "phases": each.phases,
            }
            for each in record.tries
        ],
        "close": None
        if entry.close is None
        else {"by": entry.close.by, "code": entry.close.code, "reason": entry.close.reason},
        "left_out": record.items_left_out,
    }


def _body(body: Body | None, fields: Fields) -> Json | None:
    if body is None:
        return None
    options = parse_options_header(first(fields, "content-type"))[1]
    missing = None
    if body.size > body.kept:
        missing = f"only the first {body.kept} bytes were kept"
    return {
        "size": body.size,
        "kept": body.kept,
        "type": media_type(fields),
        "charset": _charset(options.get("charset")),
        "coding": first(fields, "content-encoding"),
        "missing": missing,
    }


def _charset(name: str | None) -> str | None:
    """Return the name under which browsers know a charset; ``None`` if it is none."""
    try:
        return None if name is None else codecs.lookup(name).name
    except LookupError:
        return None


def side_of(record: Record, side: str) -> tuple[Body | None, Fields]:
    """Return the body of ``request`` or ``answer``, and the fields that describe it."""
    if side == "request":
        return record.request_body, record.entry.headers
    return record.answer_body, record.answer_fields


def decoded(body: Body, fields: Fields) -> tuple[bytes, str | None]:
    """Return a body without its content codings, or as it is and why."""
    data = body.read()
    coding = first(fields, "content-encoding")
    if not coding:
        return data, None
    try:
        codings = parse_codings(coding)
        pieces: list[bytes] = []
        size = 0
        for piece in decode([data], codings):
            pieces.append(piece)
            size += len(piece)
            if size > MAX_DECODED:
                break
        return b"".join(pieces), None
    except (RoloError, ValueError, ImportError) as exc:
        return data, str(exc)


def parts(record: Record, side: str) -> Json:
    """Return the parts of a multipart body."""
    body, fields = side_of(record, side)
    data = b"" if body is None else decoded(body, fields)[0]
    content_type = first(fields, "content-type") or ""
    seen = Seen("POST", "", "/", "", _headers([("Content-Type", content_type)]), data)
    return {
        "parts": [
            {
                "name": part.name,
                "filename": part.filename,
                "type": part.content_type,
                "size": len(part.content),
                "text": _text_or_none(part.content) if len(part.content) <= SHORT else None,
            }
            for part in seen.parts
        ]
    }


def _headers(fields: Fields) -> t.Any:
    from werkzeug.datastructures import Headers

    return Headers(fields)


def item(number: int, each: Item, *, whole: bool = False) -> Json:
    """Return a message or event for the list, or all that is kept of it."""
    shown: Json = {
        "number": number,
        "at": each.at,
        "by": each.by,
        "size": each.size,
        "kind": each.kind,
    }
    if isinstance(each.data, str):
        text = each.data if whole else each.data[:SHORT]
        shown["text"] = text.encode("utf-8", "replace").decode()
        shown["whole"] = len(text) == len(each.data)
    else:
        shown["text"] = None
        shown["whole"] = whole or not each.data
        if whole:
            shown["base64"] = base64.b64encode(each.data).decode()
    return shown


def draft(record: Record) -> Json:
    """Return a request to be edited and sent again."""
    entry = record.entry
    data = record.request_body.read()
    text = _text_or_none(data)
    return {
        "line": f"{entry.method} {entry.target} HTTP/1.1",
        "fields": entry.headers,
        "text": text,
        "base64": base64.b64encode(data).decode() if text is None else None,
    }


def _text_or_none(data: bytes) -> str | None:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


_PICTURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
    (b"\0\0\1\0", "image/x-icon"),
)


def picture_type(data: bytes) -> str | None:
    """Return the type of an image by its first bytes, whatever its head claims; ``None`` if it
    is none that may be shown. Pictures that are documents (SVG) are not."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    if data[4:12] in (b"ftypavif", b"ftypavis"):
        return "image/avif"
    return next((kind for magic, kind in _PICTURES if data.startswith(magic)), None)
