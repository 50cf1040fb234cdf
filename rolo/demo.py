"""The demo: an origin to play with, and an endpoint that lives beside a proxy to it."""

from __future__ import annotations

import base64
import json
import threading
import time
import typing as t

import pydantic
from werkzeug.exceptions import BadRequest

from rolo.gateway.gateway import Gateway
from rolo.gateway.handlers import RouterHandler, WerkzeugExceptionHandler
from rolo.request import Request
from rolo.response import Response
from rolo.routing import Router, handler_dispatcher, route
from rolo.websocket.request import WebSocketRequest

MAX_DOWNLOAD = 2**40
"""Bytes of the biggest download."""

_BLOCK = bytes(range(256)) * 256

INDEX = """\
rolo's demo origin
  /echo           what you sent, as JSON; any method, any path below it
  /events         server-sent events; ?count=5&interval=1 (seconds)
  /ws             a websocket that says what you say
  /download/N     N bytes, streamed
  /upload         counts the bytes you send
"""


class DemoOrigin:
    """The endpoints of the demo origin. All of them stream, none keeps state."""

    @route("/")
    def index(self, request: Request) -> Response:
        return Response(INDEX, content_type="text/plain; charset=utf-8")

    @route("/echo")
    @route("/echo/<path:path>")
    def echo(self, request: Request, path: str = "") -> Response:
        body = request.get_data()
        try:
            shown = {"body": body.decode("utf-8")}
        except UnicodeDecodeError:
            shown = {"body_base64": base64.b64encode(body).decode("ascii")}
        document = {
            "method": request.method,
            "url": request.url,
            "headers": [[name, value] for name, value in request.headers.items()],
            **shown,
        }
        return Response(json.dumps(document, indent=2) + "\n", content_type="application/json")

    @route("/events", methods=["GET"])
    def events(self, request: Request) -> Response:
        count = _number(request, "count", 5)
        interval = _number(request, "interval", 1.0)
        return Response(
            _events(count, interval),
            content_type="text/event-stream",
            headers={"Cache-Control": "no-cache"},
        )

    @route("/ws", methods=["WEBSOCKET"])
    def websocket(self, request: WebSocketRequest) -> None:
        with request.accept() as socket:
            for message in socket:
                socket.send(message)

    @route("/download/<int:size>", methods=["GET"])
    def download(self, request: Request, size: int) -> Response:
        if size > MAX_DOWNLOAD:
            raise BadRequest(f"at most {MAX_DOWNLOAD} bytes")
        return Response(
            _blocks(size),
            content_type="application/octet-stream",
            headers={"Content-Length": str(size)},
        )

    @route("/upload", methods=["POST", "PUT"])
    def upload(self, request: Request) -> Response:
        started = time.monotonic()
        size = 0
        while piece := request.stream.read(65536):
            size += len(piece)
        document = {"bytes": size, "seconds": round(time.monotonic() - started, 3)}
        return Response(json.dumps(document) + "\n", content_type="application/json")


class Item(pydantic.BaseModel):
    """What the local endpoint takes."""

    name: str
    price: float
    quantity: int = 1


class Total(pydantic.BaseModel):
    """What it answers."""

    name: str
    total: float


def price(request: Request, item: Item) -> Total:
    """The endpoint beside the proxied routes."""
    return Total(name=item.name, total=item.price * item.quantity)


def demo_origin() -> Gateway:
    """Return the gateway of the demo origin. Its handlers block: serve it with threads."""
    router: Router[t.Any] = Router(dispatcher=handler_dispatcher())
    router.add(DemoOrigin())
    return Gateway(
        request_handlers=[RouterHandler(router, respond_not_found=True)],
        exception_handlers=[WerkzeugExceptionHandler()],
    )


def local_router() -> Router[t.Any]:
    """Return a router with the one local endpoint, ``POST /local/price``."""
    router: Router[t.Any] = Router(dispatcher=handler_dispatcher())
    router.add("/local/price", price, methods=["POST"])
    return router


def curl_lines(url: str) -> list[str]:
    """Return commands to try against a proxy at ``url``."""
    handshake = " ".join(
        f"-H '{field}'"
        for field in (
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: cm9sb3JvbG9yb2xvcm9sbw==",
        )
    )
    return [
        f"curl '{url}/echo/hello?name=you'",
        f"curl -N {url}/events",
        f"curl -o /dev/null {url}/download/1000000000",
        f"head -c 100000000 /dev/zero | curl -T - {url}/upload",
        f'curl --json \'{{"name": "tea", "price": 2.5}}\' {url}/local/price',
        f"curl -i -N --http1.1 {handshake} {url}/ws",
    ]


def _number(request: Request, name: str, default: float) -> float:
    try:
        value = float(request.args.get(name, default))
    except ValueError:
        value = -1
    if not 0 <= value < float("inf"):
        raise BadRequest(f"{name} is no number of 0 or more")
    return value


def _events(count: float, interval: float) -> t.Iterator[bytes]:
    pause = threading.Event()
    for number in range(int(count)):
        if number:
            pause.wait(interval)
        yield f"id: {number}\ndata: event {number} of {count:.0f}\n\n".encode()


def _blocks(size: int) -> t.Iterator[bytes]:
    for _ in range(size // len(_BLOCK)):
        yield _BLOCK
    if rest := size % len(_BLOCK):
        yield _BLOCK[:rest]
