"""granian: an HTTP server written in Rust, embedded in an event loop of ours.

The only file that knows granian's inside: it hands over a socket that is already bound,
for which granian's embedded server has no option.
"""

from __future__ import annotations

import asyncio
import os
import pathlib
import typing as t

from rolo.bridge.downstream import Capabilities
from rolo.serving.base import (
    CAPABILITIES,
    AsgiApp,
    Fitted,
    LoopAdapter,
    Receive,
    Scope,
    Send,
    Settings,
)
from rolo.serving.loop import Lifetime
from rolo.serving.sockets import BACKLOG
from rolo.serving.versions import why_not

if t.TYPE_CHECKING:
    from granian.server.embed import Server

#: changes no handler and adds none, unlike granian's own set-up of the logging module
_LOGGING: dict[str, t.Any] = {
    "incremental": True,
    "formatters": {},
    "handlers": {},
    "loggers": {"_granian": {}, "granian.access": {}},
}

_FRAMING = frozenset((b"content-length", b"transfer-encoding"))

#: bytes of the body of an answer that refuses a websocket
_MAX_REFUSAL = 1024 * 1024
#: seconds granian's threads get to end, measured at under 5 ms
_TIME_TO_FLUSH = 0.05


class GranianAdapter(LoopAdapter):
    """HTTP/1.1, HTTP/2 and websockets."""

    name = "granian"
    extra = "fast"
    protocols = frozenset({"http/1.1", "h2", "h2c", "websocket", "tls"})
    capabilities = Capabilities(denial=True, expect=True)

    def available(self) -> str | None:
        return why_not("granian")

    async def run(self, fitted: Fitted, settings: Settings, lifetime: Lifetime) -> None:
        app = fitted.app

        async def told(scope: Scope, receive: Receive, send: Send) -> None:
            scope["state"][CAPABILITIES] = self.capabilities
            for end in ("client", "server"):  # granian gives the port as text
                host, port = scope[end]
                scope[end] = (host, int(port))
            if scope["type"] == "websocket":
                websocket = _WebSocket(receive, send)
                await app(scope, websocket.receive, websocket.send)
            elif _FRAMING.isdisjoint(name for name, _ in scope["headers"]):
                await app(scope, receive, send)
            else:
                await _BodyMayBreak(receive, send).serve(app, scope)

        server = _embedded(told, settings)
        serving = asyncio.create_task(server.serve(), name="granian")
        stopping = asyncio.create_task(lifetime.stopping())
        # The kernel queues connections from before the start; nothing more to wait for.
        lifetime.ready()
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        server.stop()  # type: ignore[no-untyped-call]
        # All descriptors of the listening socket: who connects from now on would wait in the
        # kernel for as long as one of them is open.
        server._shd = None
        settings.sock.close()
        await asyncio.wait({serving}, timeout=stopping.result() if stopping.done() else 1.0)
        stopping.cancel()
        serving.cancel()
        await asyncio.wait({serving})
        # Its threads cannot be joined; an interpreter that ends under them panics.
        await asyncio.sleep(_TIME_TO_FLUSH)
        if not serving.cancelled():
            serving.result()


class _BodyMayBreak:
    """Answers 400 where an upload broke off and the application therefore did not answer.

    granian reports broken chunks as a client that left. It is still there, and granian
    would tell it that the fault is ours (500).
    """

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._broke = self._answered = False

    async def serve(self, app: AsgiApp, scope: Scope) -> None:
        await app(scope, self.receive, self.send)
        if self._broke and not self._answered:
            fields = [(b"content-length", b"0"), (b"connection", b"close")]
            await self._send({"type": "http.response.start", "status": 400, "headers": fields})
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def receive(self) -> t.Any:
        event = await self._receive()
        self._broke = event["type"] == "http.disconnect"
        return event

    async def send(self, event: t.Any) -> None:
        self._answered = True
        await self._send(event)


class _WebSocket:
    """One websocket's calls, so that granian neither hangs nor aborts in them."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._receiver: asyncio.Task[t.Any] | None = None
        self._closed: asyncio.Event | None = None
        self._refusal = bytearray()

    async def receive(self) -> t.Any:
        receiver = self._receiver = asyncio.current_task()
        try:
            return await self._receive()
        except asyncio.CancelledError:
            if receiver is None or self._receiver is receiver or self._closed is None:
                raise
            receiver.uncancel()
            await self._closed.wait()
            return await self._receive()
        finally:
            self._receiver = None

    async def send(self, event: t.Any) -> None:
        if event["type"] == "websocket.close":
            await self._close(event)
        elif event["type"] == "websocket.http.response.body":
            await self._refuse(event)
        else:
            await self._send(_unrepeated(event))

    async def _refuse(self, event: t.Any) -> None:
        """Send the body of a refused handshake, of which granian takes one piece only."""
        self._refusal += event["body"]
        if len(self._refusal) > _MAX_REFUSAL:
            raise RuntimeError(f"granian holds no refusal of more than {_MAX_REFUSAL} bytes")
        if not event.get("more_body", False):
            await self._send({**event, "body": bytes(self._refusal)})

    async def _close(self, event: t.Any) -> None:
        """Send a close frame. It would wait for a receive under way to end by itself."""
        self._closed = asyncio.Event()
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.cancel()
            await asyncio.sleep(0)
        try:
            await self._send(event)
        finally:
            self._closed.set()


def _unrepeated(event: t.Any) -> t.Any:
    """Make the fields of a refused handshake unique: granian aborts the whole process at the
    second of a name. Set-Cookie cannot be joined (RFC 9110 section 5.3): the first stays."""
    if event["type"] != "websocket.http.response.start":
        return event
    fields: dict[bytes, bytes] = {}
    for name, value in event["headers"]:
        if name not in fields:
            fields[name] = value
        elif name != b"set-cookie":
            fields[name] += b", " + value
    return {**event, "headers": list(fields.items())}


def _embedded(app: AsgiApp, settings: Settings) -> Server:
    from granian._granian import SocketHolder
    from granian.constants import Interfaces
    from granian.log import LogLevels
    from granian.server.embed import Server

    class BoundServer(Server):  # type: ignore[misc, unused-ignore]
        def _init_shared_socket(self) -> None:
            # granian closes the descriptor it is given, so it gets one of its own.
            descriptor = os.dup(settings.sock.fileno())
            holder = t.cast(t.Any, SocketHolder)(descriptor, False, BACKLOG)
            self._ssp, self._shd = None, holder

    options: dict[str, t.Any] = {
        "interface": Interfaces.ASGINL,
        "log_dictconfig": _LOGGING,
        "log_level": LogLevels.error,
        "log_access": settings.access_log,
        "backlog": BACKLOG,
    }
    if settings.tls is not None:
        options["ssl_cert"] = pathlib.Path(settings.tls.cert)
        options["ssl_key"] = pathlib.Path(settings.tls.key)
        options["ssl_key_password"] = settings.tls.password
    return BoundServer(app, **{**options, **settings.options})
