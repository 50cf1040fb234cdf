"""What the inspector's page asks for."""

from __future__ import annotations

import io
import json
import pathlib
import tempfile
import time
import typing as t

from werkzeug.exceptions import BadRequest, Conflict, NotFound, RequestEntityTooLarge

from rolo.errors import RoloError
from rolo.har import read_har, write_har
from rolo.har.model import Recording
from rolo.har.redact import Redaction
from rolo.inspector import page, views
from rolo.inspector.breakpoints import ACTIONS, Breakpoint, Breakpoints, Decision
from rolo.inspector.copying import CannotCopy, as_text
from rolo.inspector.entries import as_entry, as_record
from rolo.inspector.feed import Feed, items_of
from rolo.inspector.holding import MessageHooks
from rolo.inspector.records import Item, Record
from rolo.inspector.resend import CannotSend, resend
from rolo.inspector.store import Store
from rolo.request import Request
from rolo.response import Response
from rolo.routing import route
from rolo.websocket.errors import WebSocketError
from rolo.websocket.request import WebSocketRequest

MAX_IMPORT = 512 * 1024 * 1024
"""Bytes of a HAR file that is opened in the page."""
_PAGE = 2000


class Pages:
    """The endpoints, for a router."""

    def __init__(
        self,
        store: Store,
        breakpoints: Breakpoints,
        hooks: MessageHooks,
        feed: Feed,
        masking: views.Masking,
        on_breakpoints: t.Callable[[], None],
    ) -> None:
        self._store = store
        self._breakpoints = breakpoints
        self._hooks = hooks
        self._feed = feed
        self._masking = masking
        self._on_breakpoints = on_breakpoints

    # --- the page

    @route("/", methods=["GET"])
    def index(self, request: Request) -> Response:
        return Response.for_resource(page, "index.html")

    @route("/<name>", methods=["GET"])
    def file(self, request: Request, name: str) -> Response:
        kinds = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
        kind = kinds.get(name.rpartition(".")[2])
        if kind is None:
            raise NotFound
        return Response.for_resource(page, name, content_type=kind)

    @route("/feed", methods=["WEBSOCKET"])
    def feed(self, request: WebSocketRequest) -> None:
        self._feed.serve(request)

    # --- one exchange

    @route("/api/exchanges/<int:number>", methods=["GET"])
    def detail(self, request: Request, number: int) -> dict[str, t.Any]:
        record = self._record(number)
        with self._store.lock:
            return views.detail(record, self._masking, secrets=_asks_for_secrets(request))

    @route("/api/exchanges/<int:number>/body/<any(request,answer):side>", methods=["GET"])
    def body(self, request: Request, number: int, side: str) -> Response:
        record = self._record(number)
        if "parts" in request.args:
            try:
                return Response.for_json(views.parts(record, side))
            except ValueError as exc:
                raise BadRequest(str(exc)) from exc
        body, fields = views.side_of(record, side)
        if body is None:
            raise NotFound("There is no such body.")
        with self._store.lock:
            data, why = views.decoded(body, fields)
        if "picture" in request.args:
            return _picture(data)
        answer = Response(data, mimetype="application/octet-stream")
        answer.headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
        if why is not None:
            answer.headers["X-Rolo-Undecoded"] = ascii(why)[1:-1]
        return answer

    @route("/api/exchanges/<int:number>/messages", methods=["GET"])
    def messages(self, request: Request, number: int) -> dict[str, t.Any]:
        record = self._record(number)
        first = request.args.get("from", 0, int)
        count = min(request.args.get("count", _PAGE, int), _PAGE)
        with self._store.lock:
            return {"items": items_of(record, max(0, first), count), "total": len(record.items)}

    @route("/api/exchanges/<int:number>/messages/<int:index>", methods=["GET"])
    def message(self, request: Request, number: int, index: int) -> dict[str, t.Any]:
        record = self._record(number)
        if index >= len(record.items):
            raise NotFound("There is no such message.")
        return views.item(index, record.items[index], whole=True)

    @route("/api/exchanges/<int:number>/draft", methods=["GET"])
    def draft(self, request: Request, number: int) -> dict[str, t.Any]:
        return views.draft(self._record(number))

    @route("/api/exchanges/<int:number>/copy/<kind>", methods=["GET"])
    def copy(self, request: Request, number: int, kind: str) -> dict[str, str]:
        try:
            text = as_text(
                self._record(number), kind, self._masking, secrets=_asks_for_secrets(request)
            )
        except CannotCopy as exc:
            raise Conflict(str(exc)) from exc
        return {"text": text}

    @route("/api/exchanges/<int:number>/resend", methods=["POST"])
    def resend(self, request: Request, number: int) -> dict[str, int]:
        try:
            return {"status": resend(self._record(number), _object(request))}
        except (CannotSend, RoloError) as exc:
            raise Conflict(str(exc)) from exc

    @route("/api/exchanges/<int:number>/pin", methods=["POST"])
    def pin(self, request: Request, number: int) -> Response:
        record = self._record(number)
        self._store.pin(record, _object(request).get("pinned") is True)
        return Response(status=204)

    @route("/api/exchanges/<int:number>/send", methods=["POST"])
    def send(self, request: Request, number: int) -> Response:
        websocket = self._hooks.websockets.get(number)
        if websocket is None:
            raise Conflict("Only relayed websockets that are open can be spoken into.")
        said = _object(request)
        if not isinstance(said.get("text"), str):
            raise BadRequest("text: what to send")
        try:
            if said.get("to") == "client":
                websocket.send_to_client(said["text"])
            elif said.get("to") == "server":
                websocket.send_to_upstream(said["text"])
                self._note_sent(self._record(number), said["text"])
            else:
                raise BadRequest("to: client or server")
        except (WebSocketError, RoloError) as exc:
            raise Conflict(f"It is closed: {exc}") from exc
        return Response(status=204)

    def _note_sent(self, record: Record, text: str) -> None:
        """Who looks on at the client's side does not see what was sent to the upstream."""
        at = max(0.0, time.time() - record.entry.started)
        with self._store.lock:
            record.items.append(Item(at, "client", text, len(text.encode()), "by hand"))
            self._store.touch(record)

    # --- all exchanges

    @route("/api/search", methods=["GET"])
    def search(self, request: Request) -> dict[str, list[int]]:
        texts = [text.lower() for text in request.args.getlist("text")]
        without = [text.lower() for text in request.args.getlist("without")]
        found = []
        for record in self._store.all():
            with self._store.lock:
                if all(map(record.has_text, texts)) and not any(map(record.has_text, without)):
                    found.append(record.id)
        return {"ids": found}

    @route("/api/pause", methods=["POST"])
    def pause(self, request: Request) -> Response:
        self._store.paused = _object(request).get("paused") is True
        return Response(status=204)

    @route("/api/clear", methods=["POST"])
    def clear(self, request: Request) -> Response:
        self._store.clear()
        return Response(status=204)

    @route("/api/export", methods=["POST"])
    def export(self, request: Request) -> Response:
        asked = _object(request)
        numbers = asked.get("ids")
        if not isinstance(numbers, list):
            raise BadRequest("ids: the numbers of exchanges")
        redaction = None if asked.get("secrets") is True else Redaction(self._masking.names)
        entries = []
        for number in numbers:
            record = self._store.get(number) if isinstance(number, int) else None
            if record is not None:
                with self._store.lock:
                    entry = as_entry(record)
                if redaction is not None:
                    redaction.entry(entry)
                entries.append(entry)
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "exchanges.har")
            write_har(Recording(entries), path, embed=1 << 62)
            data = path.read_bytes()
        return Response(data, mimetype="application/json")

    @route("/api/import", methods=["POST"])
    def open_har(self, request: Request) -> dict[str, int]:
        if (request.content_length or 0) > MAX_IMPORT:
            raise RequestEntityTooLarge
        suffix = ".zip" if request.args.get("name", "").endswith(".zip") else ".har"
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, f"opened{suffix}")
            with path.open("wb") as file:
                while piece := request.stream.read(1 << 16):
                    file.write(piece)
            try:
                return {"count": self.add(read_har(path))}
            except (RoloError, ValueError) as exc:
                raise BadRequest(str(exc).replace(str(path), "the file")) from exc

    def add(self, recording: Recording) -> int:
        """Add the entries of a recording, and return how many these are."""
        for entry in recording:
            self._store.add_record(as_record(self._store.new_number(), entry))
        return len(recording)

    # --- breakpoints

    @route("/api/breakpoints", methods=["GET"])
    def breakpoints(self, request: Request) -> dict[str, t.Any]:
        return {
            "breakpoints": [
                {"filter": each.filter, "stages": each.stages, "timeout": each.timeout}
                for each in self._breakpoints.all
            ]
        }

    @route("/api/breakpoints", methods=["PUT"])
    def set_breakpoints(self, request: Request) -> Response:
        given = _object(request).get("breakpoints")
        try:
            breakpoints = [
                Breakpoint.of(str(each["filter"]), each["stages"], float(each["timeout"]))
                for each in given or ()
            ]
        except (KeyError, TypeError, ValueError) as exc:
            raise BadRequest(f"A breakpoint cannot be used: {exc}") from exc
        self._breakpoints.replace(breakpoints)
        self._on_breakpoints()
        return Response(status=204)

    @route("/api/held/<int:number>", methods=["POST"])
    def decide(self, request: Request, number: int) -> Response:
        said = _object(request)
        action = said.pop("action", None)
        if action not in ACTIONS:
            raise BadRequest(f"action: one of {', '.join(ACTIONS)}")
        if not self._breakpoints.decide(number, Decision(action, said)):
            raise NotFound("It is not held any more.")
        return Response(status=204)

    def _record(self, number: int) -> Record:
        record = self._store.get(number)
        if record is None:
            raise NotFound("This exchange is not remembered any more.")
        return record


def _asks_for_secrets(request: Request) -> bool:
    return request.args.get("secrets") == "1"


def _object(request: Request) -> dict[str, t.Any]:
    try:
        said = json.load(io.BytesIO(request.get_data()))
    except ValueError as exc:
        raise BadRequest(f"no JSON: {exc}") from exc
    if not isinstance(said, dict):
        raise BadRequest("an object is expected")
    return said


def _picture(data: bytes) -> Response:
    kind = views.picture_type(data)
    if kind is None:
        raise NotFound("This is no image that can be shown.")
    answer = Response(data, mimetype=kind)
    # Even where somebody opens it by itself nothing in it can act.
    answer.headers["Content-Security-Policy"] = "sandbox; default-src 'none'; img-src 'self'"
    return answer
