"""From what ``returns(...)`` is given to an action."""

from __future__ import annotations

import inspect
import json as json_module
import os
import typing as t
from collections.abc import Iterable, Iterator, Mapping

from werkzeug.wrappers import Response as WerkzeugResponse

from rolo.harness.actions import Action, Filing, Generating, Giving, Head, Returning
from rolo.harness.steps import sse
from rolo.matching.differences import MISSING
from rolo.response import Response
from rolo.routing.handler import handler_dispatcher
from rolo.wire.fields import RawHeaders

UNSET: t.Final[t.Any] = MISSING

Fields = Mapping[str, t.Any] | Iterable[tuple[str, t.Any]]
"""Header fields: a mapping, in which a list stands for several of one name, or pairs."""

_dispatcher: t.Any = None


class StreamArguments(t.TypedDict, total=False):
    """What any answer may have."""

    status: int
    headers: Fields
    reason: str
    """The reason phrase; that of the status, if not given."""
    trailers: Fields
    """Sent after the body, which then goes out in chunks."""
    interim: t.Iterable[int | tuple[int, Fields]]
    """1xx answers sent before: a status, or a status and fields."""


class AnswerArguments(StreamArguments, total=False):
    """What an answer may have beside its status or value."""

    json: t.Any
    """The body, as JSON; ``None`` is ``null``."""
    body: bytes | str
    """Text is sent as UTF-8."""
    file: str | os.PathLike[str]
    """The body is this file, read anew for each answer; ranges of it may be asked for."""


def action_of(given: tuple[t.Any, ...], arguments: AnswerArguments) -> Action:
    """Return what answers with ``given`` and ``arguments``.

    :param given: nothing, a status, a value, or a status and a value
    :raises TypeError, ValueError: they make no answer; says why
    """
    status, value = _status_and_value(given, arguments)
    bodies: list[str] = [name for name in ("json", "body", "file") if name in arguments]
    if value is not UNSET:
        bodies.insert(0, "a value")
    if len(bodies) > 1:
        raise TypeError(f"an answer has one body, not {' and '.join(bodies)}")
    if "file" in arguments or isinstance(value, os.PathLike):
        path = arguments.get("file", value)
        return Filing(_head(status, arguments, []), path)
    if isinstance(value, WerkzeugResponse) and not value.is_sequence:
        if len(arguments) or len(given) > 1:
            raise TypeError("a response that streams is given alone")
        return Giving(value)
    if value is not UNSET and _makes_pieces(value):
        return Generating(_head(status, arguments, [_OCTETS]), value)
    if value is UNSET and not bodies:
        return Returning(_head(status, arguments, []), b"")
    response = _response(value, arguments)
    if isinstance(value, WerkzeugResponse) and status is None:
        status = value.status_code
        if "reason" not in arguments:
            arguments = {**arguments, "reason": value.status.partition(" ")[2]}
    fields = [
        field for field in raw_fields(response.headers) if field[0].lower() != b"content-length"
    ]
    spoiler = getattr(response, "_spoiler", None)
    return Returning(_head(status, arguments, fields), response.get_data(), spoiler)


_OCTETS = (b"Content-Type", b"application/octet-stream")


def _status_and_value(
    given: tuple[t.Any, ...], arguments: AnswerArguments
) -> tuple[int | None, t.Any]:
    status, value = arguments.get("status"), UNSET
    for each in given:
        if isinstance(each, int) and not isinstance(each, bool):
            if status is not None:
                raise TypeError("the status is given twice; for a number as JSON write json=")
            status = each
        elif value is not UNSET:
            raise TypeError("returns(status, value): not more")
        else:
            value = each
    if callable(value) and not _makes_pieces(value) and not isinstance(value, WerkzeugResponse):
        raise TypeError(f"returns() takes values; a function is for calls(): {value!r}")
    return status, value


def _makes_pieces(value: t.Any) -> bool:
    if inspect.isgeneratorfunction(value) or inspect.isasyncgenfunction(value):
        return True
    return isinstance(value, Iterator) or hasattr(value, "__anext__")


def _response(value: t.Any, arguments: AnswerArguments) -> WerkzeugResponse:
    global _dispatcher
    if isinstance(value, WerkzeugResponse):
        return value
    if "json" in arguments:
        value = arguments["json"]
        if value is None or isinstance(value, str | bool | int | float):
            return Response(json_module.dumps(value), mimetype="application/json")
    elif "body" in arguments:
        value = arguments["body"]
    if _dispatcher is None:
        _dispatcher = handler_dispatcher()
    response: WerkzeugResponse = _dispatcher.to_response(value)
    if isinstance(value, bytes | bytearray):
        response.content_type = "application/octet-stream"
    return response


def _head(status: int | None, arguments: StreamArguments, fields: RawHeaders) -> Head:
    code = 200 if status is None else status
    reason = arguments["reason"] if "reason" in arguments else _phrase(code)
    return Head(
        code,
        reason.encode("latin-1"),
        with_fields(fields, arguments.get("headers")),
        [_interim(each) for each in arguments.get("interim", ())],
        raw_fields(arguments.get("trailers")),
    )


def stream_head(steps: t.Iterable[t.Any], arguments: StreamArguments) -> Head:
    """Return the head of an answer that is made by ``steps``."""
    fields = [_OCTETS]
    if any(isinstance(step, sse) for step in steps):
        fields = [(b"Content-Type", b"text/event-stream"), (b"Cache-Control", b"no-store")]
    return _head(arguments.get("status"), arguments, fields)


def with_fields(fields: RawHeaders, given: Fields | None) -> RawHeaders:
    """Return ``fields`` with those that are ``given`` in the place of those of the same name.

    :raises ValueError: one frames the message: that is rolo's to do
    """
    more = raw_fields(given)
    names = {name.lower() for name, _ in more}
    for name in (b"content-length", b"transfer-encoding"):
        if name in names:
            raise ValueError(
                f"{name.decode()} is written to fit the body; a wrong one is a fault (rolo.faults)"
            )
    return [field for field in fields if field[0].lower() not in names] + more


def raw_fields(fields: t.Any) -> RawHeaders:
    """Return header fields as raw pairs."""
    if fields is None:
        return []
    pairs = fields.items() if isinstance(fields, Mapping) else fields
    raw = []
    for name, value in pairs:
        for each in value if isinstance(value, list | tuple) else [value]:
            raw.append((name.encode("latin-1"), str(each).encode("latin-1")))
    return raw


def _interim(given: t.Any) -> tuple[int, RawHeaders]:
    status, fields = given if isinstance(given, tuple) else (given, None)
    return status, raw_fields(fields)


def _phrase(status: int) -> str:
    from http import HTTPStatus

    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
