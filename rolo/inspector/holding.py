"""Where breakpoints stop what passes: handlers around a chain, and hooks of a proxy."""

from __future__ import annotations

import base64
import typing as t
from urllib.parse import unquote

from werkzeug.datastructures import Headers

from rolo.gateway.chain import HandlerChain, RequestContext
from rolo.har.model import Fields
from rolo.inspector.breakpoints import Breakpoints, Decision, Stage
from rolo.inspector.records import Record
from rolo.inspector.resend import CannotSend, body_of, edited_request, fields_of
from rolo.matching.seen import WEBSOCKET
from rolo.proxy.client import portal_of
from rolo.proxy.hooks.context import ProxyContext
from rolo.proxy.hooks.hooks import Hooks
from rolo.proxy.hooks.websocket_handle import RelayedWebSocket
from rolo.request import Request, get_full_raw_path
from rolo.response import Response
from rolo.upstream.relay import Closed

MAX_HELD_BODY = 1024 * 1024
"""Bytes of a body that can be edited; longer ones pass as they are."""

RecordOf = t.Callable[[t.Any], Record | None]
"""Returns the record of a request."""


class RequestGate:
    """A request handler: holds requests before anybody else sees them."""

    def __init__(self, breakpoints: Breakpoints, record_of: RecordOf) -> None:
        self._breakpoints = breakpoints
        self._record_of = record_of

    def __call__(
        self, chain: HandlerChain[t.Any], context: RequestContext, response: Response
    ) -> None:
        request = context.request
        if request.method == WEBSOCKET or not self._breakpoints.holds("request"):
            return
        record = self._record_of(request)
        row = _row(request, record)
        breakpoint = self._breakpoints.find("request", row)
        if breakpoint is None:
            return
        body, whole = _read(request)
        fields = [(name, value) for name, value in request.headers]
        line = f"{request.method} {get_full_raw_path(request)}"
        decision = _held(
            record,
            lambda: self._breakpoints.hold(
                breakpoint,
                portal_of(request),
                exchange=row["id"],
                stage="request",
                title=line,
                line=f"{line} HTTP/1.1",
                fields=fields,
                **_shown(body, whole),
            ),
        )
        if decision.action == "drop":
            response.update_from(Response("dropped at a breakpoint\n", 502, mimetype="text/plain"))
            chain.stop()
            return
        if decision.action == "edit":
            context.request = _edited(request, line, fields, body, whole, decision.changes)
            if record is not None:
                record.edited = True


class AnswerGate:
    """A response handler: holds answers when everybody else has had them."""

    def __init__(self, breakpoints: Breakpoints, record_of: RecordOf) -> None:
        self._breakpoints = breakpoints
        self._record_of = record_of

    def __call__(
        self, chain: HandlerChain[t.Any], context: RequestContext, response: Response
    ) -> None:
        request = context.request
        if request.method == WEBSOCKET or not self._breakpoints.holds("answer"):
            return
        record = self._record_of(request)
        row = {**_row(request, record), "status": response.status_code, "type": response.mimetype}
        breakpoint = self._breakpoints.find("answer", row)
        if breakpoint is None:
            return
        length = response.content_length
        whole = length is not None and length <= MAX_HELD_BODY
        body = response.get_data() if whole else b""
        fields: Fields = [(name, str(value)) for name, value in response.headers]
        decision = _held(
            record,
            lambda: self._breakpoints.hold(
                breakpoint,
                portal_of(request),
                exchange=row["id"],
                stage="answer",
                title=f"{response.status} to {request.method} {get_full_raw_path(request)}",
                line=f"HTTP/1.1 {response.status}",
                fields=fields,
                **_shown(body, whole),
            ),
        )
        if decision.action == "drop":
            response.update_from(Response("dropped at a breakpoint\n", 502, mimetype="text/plain"))
        elif decision.action == "edit":
            _edit_answer(response, fields, body, whole, decision.changes)
            if record is not None:
                record.edited = True


class MessageHooks(Hooks):
    """Hooks that hold messages of relayed websockets, and by which messages are sent by hand."""

    def __init__(self, breakpoints: Breakpoints, record_of: RecordOf) -> None:
        self._breakpoints = breakpoints
        self._record_of = record_of
        self.websockets: dict[int, RelayedWebSocket] = {}
        """The relayed websockets that are open, by the number of their record."""

    def on_accepted(self, context: ProxyContext, websocket: RelayedWebSocket) -> None:
        record = self._record_of(context.request)
        if record is not None:
            self.websockets[record.id] = websocket
            context.inspected = record.id

    def on_client_message(
        self, context: ProxyContext, message: str | bytes
    ) -> str | bytes | list[str | bytes] | None:
        return self._hold("client", context, message)

    def on_upstream_message(
        self, context: ProxyContext, message: str | bytes
    ) -> str | bytes | list[str | bytes] | None:
        return self._hold("server", context, message)

    def on_closed(self, context: ProxyContext, closed: Closed) -> None:
        self.websockets.pop(getattr(context, "inspected", 0), None)

    def _hold(
        self, stage: Stage, context: ProxyContext, message: str | bytes
    ) -> str | bytes | list[str | bytes] | None:
        if not self._breakpoints.all or not self._breakpoints.holds(stage):
            return None
        record = self._record_of(context.request)
        row = _row(context.request, record)
        breakpoint = self._breakpoints.find(stage, row)
        if breakpoint is None:
            return None
        data = message.encode() if isinstance(message, str) else message
        shown = _shown(data, whole=True) if isinstance(message, bytes) else {"text": message}
        decision = self._breakpoints.hold(
            breakpoint,
            context.portal,
            exchange=row["id"],
            stage=stage,
            title=f"message from the {stage} on {get_full_raw_path(context.request)}",
            **shown,
        )
        if decision.action == "drop":
            return []
        if decision.action == "edit":
            text = decision.changes.get("text")
            return text if isinstance(text, str) else body_of(decision.changes, data)
        return None


def _held(record: Record | None, hold: t.Callable[[], Decision]) -> Decision:
    if record is not None:
        record.held = True
    try:
        return hold()
    finally:
        if record is not None:
            record.held = False


def _row(request: t.Any, record: Record | None) -> dict[str, t.Any]:
    """Return what filters look at; of an exchange that is not recorded, as much as there is."""
    if record is not None:
        return record.row()
    return {
        "id": 0,
        "kind": "websocket" if request.method == WEBSOCKET else "http",
        "method": request.method,
        "scheme": request.scheme,
        "host": request.headers.get("host", ""),
        "path": get_full_raw_path(request),
        "client": request.remote_addr,
        **dict.fromkeys(("status", "type", "seconds", "outcome", "error", "conn")),
        "size": 0,
        "up": 0,
        **dict.fromkeys(("open", "held"), True),
        **dict.fromkeys(("pinned", "edited", "reused", "retried"), False),
    }


def _read(request: Request) -> tuple[bytes, bool]:
    """Return the body of ``request`` if it is short enough to be edited."""
    length = request.content_length
    if length is not None and length <= MAX_HELD_BODY:
        return request.get_data(), True
    return b"", length is None and "Transfer-Encoding" not in request.headers


def _shown(body: bytes, whole: bool) -> dict[str, t.Any]:
    if not whole:
        return {"text": None, "base64": ""}
    try:
        return {"text": body.decode()}
    except UnicodeDecodeError:
        return {"text": None, "base64": base64.b64encode(body).decode()}


def _edited(
    request: Request,
    line: str,
    fields: Fields,
    body: bytes,
    whole: bool,
    changes: t.Mapping[str, t.Any],
) -> Request:
    """Return the request that was written in the place of ``request``."""
    edited = edited_request(line, fields, body, changes)
    path, _, query = edited.target.partition("?")
    headers = Headers(edited.fields)
    if whole:
        headers.pop("Transfer-Encoding", None)
        headers.pop("Content-Length", None)
        if edited.body:
            headers["Content-Length"] = str(len(edited.body))
    fresh = Request(
        edited.method,
        unquote(path),
        headers=headers,
        body=edited.body if whole else request.stream,
        scheme=request.scheme,
        root_path=request.root_path,
        query_string=query,
        remote_addr=request.remote_addr,
        server=request.server,
        raw_path=path,
    )
    portal = portal_of(request)
    if portal is not None:
        fresh.environ["rolo.portal"] = portal
    return fresh


def _edit_answer(
    response: Response,
    fields: Fields,
    body: bytes,
    whole: bool,
    changes: t.Mapping[str, t.Any],
) -> None:
    words = str(changes.get("line", "")).split(" ", 2)
    if len(words) > 1:
        if not words[1].isdigit() or not 200 <= int(words[1]) <= 999:
            raise CannotSend(f"a status is a number from 200 to 999, not {words[1]!r}")
        response.status = " ".join(words[1:])
    response.headers.clear()
    for name, value in fields_of(changes, fields):
        response.headers.add(name, value)
    edited = body_of(changes, body)
    if whole and edited != body:
        response.headers.pop("Content-Encoding", None)
        response.set_data(edited)
