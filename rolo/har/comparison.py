"""Where one exchange went otherwise than another."""

from __future__ import annotations

import json
import typing as t

from rolo.errors import RoloError
from rolo.har.codings import decoded
from rolo.har.model import Answer, Entry, Fields, first, is_json, media_type
from rolo.har.patterns import wild
from rolo.har.redact import REDACTED
from rolo.har.replayed_websocket import same_message
from rolo.matching import Difference
from rolo.matching.differences import described, inside
from rolo.matching.matchers import differences
from rolo.wire.content_codings import parse_codings

VOLATILE = (
    "Age",
    "Connection",
    "Content-Length",
    "Date",
    "Keep-Alive",
    "Server",
    "Transfer-Encoding",
    "Via",
)
"""Fields of an answer that are others each time, or say how it is sent and not what."""


def compare(recorded: Entry, got: Entry, *, ignore: t.Iterable[str] = VOLATILE) -> list[Difference]:
    """Return where the answer of ``got``, or its messages, are not those of ``recorded``; empty
    if they are the same. When they came does not matter, nor how many pieces they came in, but
    that a body has come to its end does. What was redacted may be anything.

    :param ignore: names of fields that do not matter
    """
    ignored = {name.lower() for name in ignore}
    found = list(_answers(recorded.answer, got.answer, ignored))
    found += _messages(recorded, got)
    if recorded.is_broken != got.is_broken:
        found.append(Difference("end", recorded.outcome, got.outcome))
    return found


def _answers(
    recorded: Answer | None, got: Answer | None, ignored: set[str]
) -> t.Iterator[Difference]:
    if recorded is None or got is None:
        if recorded is not got:
            yield Difference("answer", _status(recorded), _status(got))
        return
    yield from differences(recorded.status, got.status, "status")
    yield from _fields(recorded.headers, got.headers, ignored, "headers")
    yield from _fields(recorded.trailers, got.trailers, set(), "trailers")
    yield from _bodies(recorded, got)


def _status(answer: Answer | None) -> str:
    return "absent" if answer is None else str(answer.status)


def _fields(recorded: Fields, got: Fields, ignored: set[str], place: str) -> t.Iterator[Difference]:
    ours, theirs = _grouped(recorded, ignored), _grouped(got, ignored)
    for name in dict.fromkeys((*ours, *theirs)):
        wanted, values = ours.get(name, []), theirs.get(name, [])
        if len(wanted) == len(values) and all(map(_same_value, wanted, values)):
            continue
        yield Difference(inside(place, name), _listed(wanted), _listed(values))


def _grouped(fields: Fields, ignored: set[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in fields:
        if name.lower() not in ignored:
            found.setdefault(name.lower(), []).append(value)
    return found


def _same_value(recorded: str, got: str) -> bool:
    return recorded == got or REDACTED in recorded or REDACTED in got


def _listed(values: list[str]) -> str:
    if not values:
        return "absent"
    return described(values[0] if len(values) == 1 else values)


def _bodies(recorded: Answer, got: Answer) -> t.Iterator[Difference]:
    if recorded.body is None or got.body is None:
        return  # what is not in a recording cannot be compared
    ours, theirs = _plain(recorded), _plain(got)
    if ours == theirs:
        return
    if is_json(media_type(recorded.headers)):
        try:
            yield from differences(wild(json.loads(ours)), json.loads(theirs), "json")
        except (ValueError, RecursionError):
            pass
        else:
            return
    yield Difference("body", _text(ours), _text(theirs))


def _plain(answer: Answer) -> bytes:
    assert answer.body is not None
    codings = parse_codings(first(answer.headers, "content-encoding"))
    if not codings or answer.is_decoded:
        return answer.body.read()
    try:
        return decoded(answer.body, answer.pieces, codings)[0]
    except RoloError:
        return answer.body.read()


def _text(data: bytes) -> str:
    try:
        return described(data.decode())
    except UnicodeDecodeError:
        return described(data)


def _messages(recorded: Entry, got: Entry) -> t.Iterator[Difference]:
    if recorded.messages is None or got.messages is None:
        return
    ours = [each.data for each in recorded.messages if each.by == "server"]
    theirs = [each.data for each in got.messages if each.by == "server"]
    for number in range(max(len(ours), len(theirs))):
        place = f"messages[{number}]"
        if number >= len(ours):
            yield Difference(place, "absent", described(theirs[number]))
        elif number >= len(theirs):
            yield Difference(place, described(ours[number]), "absent")
        elif not same_message(ours[number], theirs[number]):
            yield Difference(place, described(ours[number]), described(theirs[number]))
    if recorded.close is not None and got.close is not None:
        yield from differences(recorded.close.code, got.close.code, "close code")
