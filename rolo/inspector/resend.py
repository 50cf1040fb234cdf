"""Sends a captured request again, edited or not, to the server that it came to."""

from __future__ import annotations

import base64
import binascii
import re
import typing as t

from rolo.har.model import Fields
from rolo.inspector.records import Record
from rolo.proxy.client import ForwardingClient
from rolo.request import Request
from rolo.upstream.settings import Tls

_LINE = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) (\S+)(?: HTTP/[0-9.]+)?")
_FRAMING = frozenset(("content-length", "transfer-encoding", "connection", "expect", "te"))


class CannotSend(ValueError):
    """The request cannot be sent; says why."""


class Edited(t.NamedTuple):
    """A request as somebody has written it."""

    method: str
    target: str
    fields: Fields
    body: bytes


def edited_request(
    line: str, fields: Fields, body: bytes, changes: t.Mapping[str, t.Any]
) -> Edited:
    """Return a request with ``changes``: ``line``, ``fields``, and ``text`` or ``base64``.

    :raises CannotSend: they make no request
    """
    line = changes.get("line", line)
    match = _LINE.fullmatch(line.strip()) if isinstance(line, str) else None
    if match is None:
        raise CannotSend(f"a request line is a method and a target, not {line!r}")
    method, target = match.groups()
    if not target.startswith("/") and target != "*":
        raise CannotSend(f"the target begins with a slash: {target}")
    return Edited(method, target, fields_of(changes, fields), body_of(changes, body))


def fields_of(changes: t.Mapping[str, t.Any], fields: Fields) -> Fields:
    """Return the fields of ``changes``, else ``fields``.

    :raises CannotSend: they are none
    """
    given = changes.get("fields", fields)
    try:
        pairs = [(str(each[0]), str(each[1])) for each in given]
    except (TypeError, IndexError, KeyError):
        raise CannotSend("fields are pairs of a name and a value") from None
    for name, value in pairs:
        if not re.fullmatch(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", name):
            raise CannotSend(f"this is no name of a field: {name!r}")
        if not value.isprintable() and any(each in value for each in "\r\n\0"):
            raise CannotSend(f"the value of {name} has a line of its own in it")
    return pairs


def body_of(changes: t.Mapping[str, t.Any], body: bytes) -> bytes:
    """Return the body of ``changes``, else ``body``."""
    if isinstance(changes.get("text"), str):
        return t.cast(str, changes["text"]).encode()
    if isinstance(changes.get("base64"), str):
        try:
            return base64.b64decode(changes["base64"], validate=True)
        except binascii.Error as exc:
            raise CannotSend(f"base64: {exc}") from None
    return body


def resend(record: Record, changes: t.Mapping[str, t.Any]) -> int:
    """Send the request of ``record`` again and return the status of the answer, which is read
    to its end and forgotten: what passes is captured like everything else.

    :raises CannotSend: it is not complete, or the server is not known
    :raises UpstreamError: the server does not answer
    """
    if record.kind == "websocket":
        raise CannotSend("a websocket cannot be sent again")
    if record.server is None or record.server[1] is None:
        raise CannotSend("it did not come to a server of this process")
    body = record.request_body
    kept = body.kept == body.size
    if not kept and not {"text", "base64"} & changes.keys():
        raise CannotSend(f"only the first {body.kept} bytes of its body were kept")
    entry = record.entry
    edited = edited_request(f"{entry.method} {entry.target}", entry.headers, body.read(), changes)
    host, port = record.server
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    server = f"{record.scheme}://{f'[{host}]' if ':' in host else host}:{port}"
    client = ForwardingClient(tls=Tls(insecure=True))
    try:
        response = client.request(_request(edited), server)
        for _ in response.iter_encoded():
            pass
        response.close()
        return response.status_code
    finally:
        client.close()


def _request(edited: Edited) -> Request:
    path, _, query = edited.target.partition("?")
    fields = [(name, value) for name, value in edited.fields if name.lower() not in _FRAMING]
    from werkzeug.datastructures import Headers

    return Request(
        edited.method,
        path,
        headers=Headers(fields),
        body=edited.body,
        query_string=query,
        raw_path=path,
    )
