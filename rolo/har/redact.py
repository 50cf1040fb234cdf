"""Secrets are taken out of a recording before it reaches the disk.

What is replaced is replaced within the bytes that came: everything else stays as it was, and
pieces keep their times.
"""

from __future__ import annotations

import bisect
import dataclasses
import functools
import itertools
import re
import typing as t
from urllib.parse import unquote_plus, urlsplit, urlunsplit

from rolo.errors import RoloError
from rolo.har.codings import decoded
from rolo.har.content import InMemory
from rolo.har.json_paths import Path, locate, parse_path
from rolo.har.model import (
    EVENTS,
    FORM,
    JSON_LINES,
    MULTIPART,
    Entry,
    Fields,
    Pieces,
    first,
    is_json,
    media_type,
)
from rolo.proxy.hooks.sse import blocks
from rolo.wire.content_codings import parse_codings

REDACTED = "REDACTED"
"""What stands in the place of a secret. When a recording is replayed, it stands for any value."""

SECRET_HEADERS = (
    "Authorization",
    "Proxy-Authorization",
    "Cookie",
    "Set-Cookie",
    "X-Api-Key",
    "Api-Key",
    "X-Goog-Api-Key",
    "X-Auth-Token",
    "X-Amz-Security-Token",
)
"""Fields whose values are always redacted."""

_URLS = frozenset(("referer", "location", "content-location"))
_CREDENTIALS = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+ +)\S.*", re.S)
_DATA_LINE = re.compile(rb"^data:[ ]?(.*?)$", re.M)
_PART_NAME = re.compile(rb'content-disposition:[^\r\n]*?[; ]name="?([^";\r\n]*)"?', re.I)

Edit = tuple[int, int, bytes]
"""From where to where bytes are replaced, and by what."""


class CannotRedact(ValueError):
    """A body in which secrets may be, and that cannot be searched for them."""


@dataclasses.dataclass(frozen=True)
class Redaction:
    """What is a secret. The values of :data:`SECRET_HEADERS` always are, and so are names and
    passwords in URLs.

    :param headers: names of more fields, of requests and answers
    :param query: names of query parameters, in the URL and in fields that hold URLs
    :param json: paths in JSON documents, lines of JSON, data of server-sent events and text
        messages of websockets: ``$.user.password``, ``items[*].key``, ``$..token`` in any depth
    :param form: names of fields of forms, URL-encoded or multipart
    :raises ValueError: a path is none
    """

    headers: t.Iterable[str] = ()
    query: t.Iterable[str] = ()
    json: t.Iterable[str] = ()
    form: t.Iterable[str] = ()

    def __post_init__(self) -> None:
        for name in ("headers", "query", "json", "form"):
            value = getattr(self, name)
            object.__setattr__(self, name, (value,) if isinstance(value, str) else tuple(value))
        self._paths  # noqa: B018 - a mistake is told where it is made

    @functools.cached_property
    def _paths(self) -> list[Path]:
        return [parse_path(text) for text in self.json]

    def searches(self, fields: Fields) -> bool:
        """Whether a body with these fields is searched: it has to be in memory for that."""
        return self._searcher(fields) is not None

    def entry(self, entry: Entry) -> None:
        """Take the secrets out of ``entry``. A body that has to be searched and cannot be
        (it is no JSON, say, though it claims to be) is left out, which
        :attr:`Entry.comment <rolo.har.Entry.comment>` says."""
        entry.url = self.url(entry.url)
        self._request_body(entry)
        entry.headers = self.fields(entry.headers)
        entry.trailers = self.fields(entry.trailers)
        for interim in entry.interims:
            interim.headers = self.fields(interim.headers)
        if entry.answer is not None:
            self._answer_body(entry)
            entry.answer.headers = self.fields(entry.answer.headers)
            entry.answer.trailers = self.fields(entry.answer.trailers)
        for message in entry.messages or ():
            if isinstance(message.data, str):
                message.data = self.message(message.data)

    def fields(self, fields: Fields) -> Fields:
        """Return ``fields`` without secrets."""
        names = {name.lower() for name in itertools.chain(SECRET_HEADERS, self.headers)}
        return [(name, self._value(name.lower(), value, names)) for name, value in fields]

    def _value(self, name: str, value: str, names: set[str]) -> str:
        if name in _URLS:
            value = self.url(value)
        if name not in names or not value:
            return value
        if name == "cookie":
            return "; ".join(
                _cookie(each) for each in (part.strip() for part in value.split(";")) if each
            )
        if name == "set-cookie":
            cookie, semicolon, attributes = value.partition(";")
            return _cookie(cookie) + semicolon + attributes
        if name in ("authorization", "proxy-authorization"):
            return _CREDENTIALS.sub(rf"\1{REDACTED}", value) if " " in value else REDACTED
        return REDACTED

    def url(self, url: str) -> str:
        """Return ``url`` without secrets."""
        try:
            parts = urlsplit(url)
        except ValueError:
            return url.partition("?")[0]
        if "@" in parts.netloc:
            parts = parts._replace(netloc=f"{REDACTED}@{parts.netloc.rpartition('@')[2]}")
        elif not (self.query and parts.query):
            return url
        edits = _form_edits(parts.query.encode("latin-1", "replace"), self.query)
        if edits:
            query = apply(parts.query.encode("latin-1", "replace"), edits).decode("latin-1")
            parts = parts._replace(query=query)
        return urlunsplit(parts)

    def message(self, text: str) -> str:
        """Return a text message of a websocket without secrets."""
        if not self.json:
            return text
        data = text.encode("utf-8", "surrogatepass")
        try:
            edits = _json_edits(data, self._paths)
        except ValueError:
            return text  # no JSON, so there is nothing that a path could lead to
        return apply(data, edits).decode("utf-8", "surrogatepass") if edits else text

    # --- bodies

    def _searcher(self, fields: Fields) -> t.Callable[[bytes], list[Edit]] | None:
        kind = media_type(fields)
        if self.json:
            if is_json(kind):
                return lambda data: _json_edits(data, self._paths)
            if kind in JSON_LINES:
                return lambda data: _json_lines_edits(data, self._paths)
            if kind == EVENTS:
                return lambda data: _event_edits(data, self._paths)
        if self.form:
            if kind == FORM:
                return lambda data: _form_edits(data, self.form)
            if kind == MULTIPART:
                boundary = first(fields, "content-type") or ""
                return lambda data: _multipart_edits(data, boundary, self.form)
        return None

    def _request_body(self, entry: Entry) -> None:
        search = self._searcher(entry.headers)
        if search is None or entry.body is None or not entry.body.size:
            return
        codings = parse_codings(first(entry.headers, "content-encoding"))
        try:
            if codings:
                raise CannotRedact("it is compressed")
            data = entry.body.read()
            entry.body = InMemory(apply(data, search(data)))
        except (ValueError, RoloError) as exc:
            entry.body = None
            entry.comment = _joined(entry.comment, f"the request's body is left out: {exc}")

    def _answer_body(self, entry: Entry) -> None:
        answer = entry.answer
        assert answer is not None
        search = self._searcher(answer.headers)
        if search is None or answer.body is None or not answer.body.size:
            return
        try:
            data, pieces = answer.body.read(), answer.pieces
            codings = parse_codings(first(answer.headers, "content-encoding"))
            if codings and not answer.is_decoded:
                data, pieces = decoded(answer.body, pieces, codings)
                answer.is_decoded = True
            edits = search(data)
            answer.pieces = moved(pieces, edits)
            answer.body = InMemory(apply(data, edits))
        except (ValueError, RoloError) as exc:
            answer.body, answer.pieces = None, Pieces()
            entry.comment = _joined(entry.comment, f"the answer's body is left out: {exc}")


def apply(data: bytes, edits: t.Sequence[Edit]) -> bytes:
    """Return ``data`` with ``edits`` made, which are in order and do not overlap."""
    parts, at = [], 0
    for start, end, text in edits:
        parts += [data[at:start], text]
        at = end
    return b"".join([*parts, data[at:]])


def moved(pieces: Pieces, edits: t.Sequence[Edit]) -> Pieces:
    """Return ``pieces`` as they are once ``edits`` are made: what was replaced goes with the
    piece in which it ended. Pieces of which nothing is left are left out."""
    if not edits:
        return pieces
    ends = [end for _, end, _ in edits]
    grown = list(itertools.accumulate(len(text) - (end - start) for start, end, text in edits))
    result = Pieces()
    before = after = 0
    for at, size in pieces:
        before += size
        done = bisect.bisect_right(ends, before)
        now = before + (grown[done - 1] if done else 0)
        if done < len(edits) and edits[done][0] < before:
            now = edits[done][0] + (grown[done - 1] if done else 0)  # ends within an edit
        if now > after:
            result.add(at, now - after)
        after = max(after, now)
    return result


def _cookie(text: str) -> str:
    name, equals, _ = text.partition("=")
    return f"{name}={REDACTED}" if equals else REDACTED


def _joined(comment: str, more: str) -> str:
    return f"{comment}; {more}" if comment else more


_REDACTED_JSON = b'"%s"' % REDACTED.encode()


def _json_edits(data: bytes, paths: list[Path]) -> list[Edit]:
    if not data.strip():
        return []
    try:
        spans = locate(data, paths)
    except ValueError as exc:
        raise CannotRedact(str(exc)) from None
    return [(start, end, _REDACTED_JSON) for start, end in spans]


def _json_lines_edits(data: bytes, paths: list[Path]) -> list[Edit]:
    edits: list[Edit] = []
    at = 0
    for line in data.splitlines(keepends=True):
        edits += _shifted(_json_edits(line, paths), at)
        at += len(line)
    return edits


def _event_edits(data: bytes, paths: list[Path]) -> list[Edit]:
    """In the data of each event, where it is JSON; much of what is sent as events is not."""
    edits: list[Edit] = []
    at = 0
    for block in blocks([data]):
        edits += _shifted(_edits_of_event(block.raw, paths), at)
        at += len(block.raw)
    return edits


def _edits_of_event(raw: bytes, paths: list[Path]) -> list[Edit]:
    lines = list(_DATA_LINE.finditer(raw.replace(b"\r", b"\n")))
    if not lines:
        return []
    start, end = lines[0].start(1), lines[-1].end(1)
    whole = b"\n".join(line[1] for line in lines)
    try:
        edits = _json_edits(whole, paths)
    except ValueError:
        return []
    if len(lines) == 1 or not edits:
        return _shifted(edits, start)
    # Between values of JSON a line break is a space, and within them there is none.
    return [(start, end, apply(whole, edits).replace(b"\n", b" "))]


def _form_edits(data: bytes, names: t.Iterable[str]) -> list[Edit]:
    wanted = set(names)
    edits: list[Edit] = []
    at = 0
    for pair in data.split(b"&"):
        name, equals, value = pair.partition(b"=")
        if equals and unquote_plus(name.decode("latin-1")) in wanted:
            start = at + len(name) + 1
            edits.append((start, start + len(value), REDACTED.encode()))
        at += len(pair) + 1
    return edits


def _multipart_edits(data: bytes, content_type: str, names: t.Iterable[str]) -> list[Edit]:
    found = re.search(r'boundary="?([^";]+)"?', content_type, re.I)
    if found is None:
        raise CannotRedact("multipart without a boundary")
    marker = b"--" + found[1].strip().encode("latin-1", "replace")
    wanted = {name.encode() for name in names}
    edits: list[Edit] = []
    starts = [match.end() for match in re.finditer(re.escape(marker), data)]
    if not starts:
        raise CannotRedact("multipart whose boundary is not there")
    for start, following in itertools.pairwise([*starts, len(data) + len(marker)]):
        end = following - len(marker)
        head_end = data.find(b"\r\n\r\n", start, end)
        name = _PART_NAME.search(data, start, max(start, head_end))
        if head_end < 0 or name is None or name[1] not in wanted:
            continue
        stop = end - 2 if data[end - 2 : end] == b"\r\n" else end
        edits.append((head_end + 4, max(stop, head_end + 4), REDACTED.encode()))
    return edits


def _shifted(edits: list[Edit], by: int) -> list[Edit]:
    return [(start + by, end + by, text) for start, end, text in edits]
