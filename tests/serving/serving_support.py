"""Applications that tell what happened to them, and clients that see every byte."""

from __future__ import annotations

import contextlib
import queue
import socket
import typing as t

import pytest
from h2wire import H2Client as H2Client
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, RejectConnection, Request

from rolo.serving import SERVERS

ASGI_SERVERS = ("uvicorn", "hypercorn", "granian")

DEADLINE = 5.0


def need(name: str) -> str:
    reason = SERVERS[name].available()
    if reason is not None:
        pytest.skip(reason)
    return name


class App:
    """An ASGI application; ``seen`` holds what its handlers noted, in order."""

    def __init__(self, **handlers: t.Any) -> None:
        self.seen: queue.Queue[t.Any] = queue.Queue()
        self.handlers = handlers

    async def __call__(self, scope: t.Any, receive: t.Any, send: t.Any) -> None:
        handler = self.handlers.get(scope["type"])
        if handler is None:
            raise NotImplementedError(scope["type"])
        await handler(self, scope, receive, send)

    def next(self) -> t.Any:
        return self.seen.get(timeout=DEADLINE)


async def answer(
    send: t.Any, body: bytes = b"", status: int = 200, headers: t.Sequence[t.Any] = ()
) -> None:
    """Send a whole answer with its length."""
    length = (b"content-length", str(len(body)).encode())
    start = {"type": "http.response.start", "status": status, "headers": [*headers, length]}
    await send(start)
    await send({"type": "http.response.body", "body": body})


async def hello(app: App, scope: t.Any, receive: t.Any, send: t.Any) -> None:
    app.seen.put(scope)
    await answer(send, b"hello")


async def read_body(receive: t.Any) -> bytes:
    body = b""
    while True:
        event = await receive()
        assert event["type"] == "http.request"
        body += event.get("body", b"")
        if not event.get("more_body"):
            return body


class Client:
    """A raw TCP connection. ``end`` says how it ended: ``fin`` or ``reset``."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
        self.received = b""
        self.end: str | None = None

    def __enter__(self) -> t.Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def get(self, path: str, *fields: str, method: str = "GET", version: str = "1.1") -> None:
        lines = [f"{method} {path} HTTP/{version}", "Host: test", *fields, "", ""]
        self.send("\r\n".join(lines).encode())

    def until(self, what: bytes) -> bytes:
        """Read until ``what`` was seen; return all that was received so far."""
        while what not in self.received:
            assert self._more(), f"{what!r} not in {self.received!r}"
        return self.received

    def all(self) -> bytes:
        """Read until the end."""
        while self._more():
            pass
        return self.received

    def _more(self) -> bool:
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError:
            self.end = "reset"
            return False
        if not data:
            self.end = "fin"
        self.received += data
        return bool(data)


def fetch(port: int, path: str = "/", *fields: str, **options: str) -> bytes:
    """Return the whole answer to one request, head and all."""
    with Client(port) as client:
        client.get(path, *fields, "Connection: close", **options)
        return client.all()


class WebSocketClient:
    """A websocket whose frames can be looked at."""

    def __init__(self, port: int, path: str = "/") -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
        self.connection = WSConnection(ConnectionType.CLIENT)
        self._events: list[t.Any] = []
        self.send(Request(host="test", target=path))
        self.opening = self.next()

    def __enter__(self) -> t.Self:
        assert isinstance(self.opening, AcceptConnection | RejectConnection), self.opening
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.sock.close()

    def send(self, event: t.Any) -> None:
        self.sock.sendall(self.connection.send(event))

    def next(self) -> t.Any:
        """Return the next event; ``None`` if the connection ended without one."""
        while not self._events:
            data = b""
            with contextlib.suppress(ConnectionResetError):
                data = self.sock.recv(65536)
            if not data:
                return None
            self.connection.receive_data(data)
            self._events.extend(self.connection.events())
        return self._events.pop(0)

    def closed(self) -> CloseConnection:
        event = self.next()
        assert isinstance(event, CloseConnection), event
        return event
