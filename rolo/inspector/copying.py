"""A request as text to paste somewhere: a command, Python, a stub, a hook."""

from __future__ import annotations

import json
import shlex
import typing as t

from rolo.har.model import Fields, is_json, media_type
from rolo.inspector.records import Record
from rolo.inspector.views import Masking

_LEFT_OUT = frozenset(("host", "content-length", "connection", "transfer-encoding"))
_ANSWER_LEFT_OUT = _LEFT_OUT | {"date", "server", "content-encoding", "keep-alive"}
_SHORT = 10_000


class CannotCopy(ValueError):
    """There is no such text for this exchange; says why."""


def as_text(record: Record, kind: str, masking: Masking, *, secrets: bool) -> str:
    """Return the request of ``record`` as ``kind``.

    :param kind: ``curl``, ``requests``, ``httpx``, ``stub`` or ``hook``
    :raises CannotCopy: it makes no sense for this exchange
    """
    makers: dict[str, t.Callable[[Record, Fields, bytes], str]] = {
        "curl": _curl,
        "requests": _requests,
        "httpx": _httpx,
        "stub": _stub,
        "hook": _hook,
    }
    if kind not in makers:
        raise CannotCopy(f"unknown form {kind!r}: {', '.join(makers)}")
    if record.kind == "websocket" and kind not in ("stub", "hook"):
        raise CannotCopy("a websocket is no single request")
    fields = [
        (name, "..." if not secrets and name.lower() in masking.names else value)
        for name, value in record.entry.headers
        if name.lower() not in _LEFT_OUT
    ]
    return makers[kind](record, fields, record.request_body.read())


def _curl(record: Record, fields: Fields, body: bytes) -> str:
    entry = record.entry
    words = ["curl", "--include"]
    if entry.method == "HEAD":
        words.append("--head")
    elif entry.method != ("POST" if body else "GET"):
        words += ["--request", entry.method]
    words.append(entry.url)
    lines = [shlex.join(words)]
    lines += [
        shlex.join(["--header", f"{name}: {value}" if value else f"{name};"])
        for name, value in fields
    ]
    if body:
        lines.append(f"--data-binary {_shell_bytes(body)}")
    return " \\\n  ".join(lines) + "\n"


def _shell_bytes(body: bytes) -> str:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" not in text and not text.startswith("@"):
        return shlex.quote(text)
    return "@- <<'BODY'  # binary: put it into a file and name it here\nBODY"


def _requests(record: Record, fields: Fields, body: bytes) -> str:
    return _python("requests", "data", record, fields, body)


def _httpx(record: Record, fields: Fields, body: bytes) -> str:
    return _python("httpx", "content", record, fields, body)


def _python(library: str, body_name: str, record: Record, fields: Fields, body: bytes) -> str:
    entry = record.entry
    lines = [
        f"import {library}",
        "",
        f"response = {library}.request(",
        f"    {entry.method!r},",
        f"    {entry.url!r},",
    ]
    if fields:
        lines.append(f"    headers={_mapping(fields, '    ')},")
    if body:
        lines.append(f"    {body_name}={body!r},")
    if library == "requests":
        lines.append("    allow_redirects=False,")
    lines += [")", "print(response.status_code, response.text)"]
    return "\n".join(lines) + "\n"


def _mapping(fields: Fields, indent: str) -> str:
    inner = "".join(f"{indent}    {name!r}: {value!r},\n" for name, value in fields)
    return f"{{\n{inner}{indent}}}"


def _stub(record: Record, fields: Fields, body: bytes) -> str:
    entry, answer = record.entry, record.entry.answer
    if record.kind == "websocket":
        return _websocket_stub(record)
    conditions = [repr(entry.target)]
    if body and is_json(media_type(entry.headers)):
        try:
            conditions.append(f"json={json.loads(body)!r}")
        except (ValueError, RecursionError):
            conditions.append(f"body={body!r}")
    elif body:
        conditions.append(f"body={body!r}")
    name = entry.method.lower()
    known = ("get", "post", "put", "patch", "delete", "head", "options")
    call = f"api.{name}(" if name in known else f"api.request({entry.method!r}, "
    returns = _returned(record) if answer is not None else "503"
    return f"{call}{', '.join(conditions)}).returns({returns})\n"


def _returned(record: Record) -> str:
    answer = record.entry.answer
    assert answer is not None
    arguments = [] if answer.status == 200 else [str(answer.status)]
    data = b"" if record.answer_body is None else _decoded(record)
    left_out = set(_ANSWER_LEFT_OUT)
    if data and len(data) <= _SHORT:
        value = None
        if is_json(media_type(answer.headers)):
            try:
                value = json.loads(data)
            except (ValueError, RecursionError):
                value = None
        if value is not None:
            arguments.append(f"json={value!r}")
            left_out.add("content-type")
        else:
            arguments.append(f"body={data!r}")
    elif data:
        arguments.append(f"body=b'...'  # {len(data)} bytes")
    fields = [(name, value) for name, value in answer.headers if name.lower() not in left_out]
    if fields:
        arguments.append("headers={" + ", ".join(f"{n!r}: {v!r}" for n, v in fields) + "}")
    return ", ".join(arguments)


def _decoded(record: Record) -> bytes:
    from rolo.inspector.views import decoded

    assert record.answer_body is not None
    return decoded(record.answer_body, record.answer_fields)[0]


def _websocket_stub(record: Record) -> str:
    steps = [
        f"{'expect' if item.by == 'client' else 'send'}({item.data!r})"
        for item in record.items[:200]
    ]
    close = record.entry.close
    if close is not None and close.by == "server":
        steps.append(f"close({close.code}, {close.reason!r})")
    inner = "".join(f"    {step},\n" for step in steps)
    return f"api.websocket({record.entry.target!r}).plays(\n{inner})\n"


def _hook(record: Record, fields: Fields, body: bytes) -> str:
    entry = record.entry
    path = entry.target.partition("?")[0]
    if record.kind == "websocket":
        return (
            f"def on_upstream_message(context, message):\n"
            f"    if context.path == {path!r}:\n"
            f"        return message\n"
        )
    return (
        f"def on_response(context, response):\n"
        f"    if context.request.method == {entry.method!r} and context.path == {path!r}:\n"
        f"        response.headers['X-Seen'] = 'yes'\n"
    )
