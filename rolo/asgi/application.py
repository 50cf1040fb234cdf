"""The ASGI 3 entry: which kind of call it is, and who serves it."""

from __future__ import annotations

import logging
import typing as t

from rolo.asgi.environ import Scope
from rolo.asgi.http import AsgiHttpDownstream
from rolo.asgi.watch import Receive, Send, Watched
from rolo.asgi.websocket_adapter import ServedWebSocket
from rolo.bridge.bridge import Bridge
from rolo.errors import ClientDisconnected
from rolo.net.ticker import Ticker
from rolo.websocket.errors import WebSocketDisconnectedError

LOG = logging.getLogger(__name__)


class ASGILifespanListener:
    """Told when the server starts and stops. Both methods may block."""

    def on_startup(self) -> None:
        """Called before the first request. What it raises keeps the server from starting."""

    def on_shutdown(self) -> None:
        """Called after the last request."""


class ResponseAborted(Exception):
    """Raised out of an ASGI call whose answer broke after its head: the server then
    closes or resets, and the client sees that the answer is not whole."""


class AsgiApplication:
    """Serves a :class:`~rolo.bridge.bridge.Bridge` to an ASGI server."""

    def __init__(
        self, bridge: Bridge, lifespan_listener: ASGILifespanListener | None = None
    ) -> None:
        self.bridge = bridge
        self.lifespan_listener = lifespan_listener or ASGILifespanListener()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "http":
            await self.handle_http(scope, receive, send)
        elif kind == "websocket":
            await self.handle_websocket(scope, receive, send)
        elif kind == "lifespan":
            await self.handle_lifespan(scope, receive, send)
        else:
            raise NotImplementedError(f"unhandled ASGI scope type {kind!r}")

    async def handle_http(self, scope: Scope, receive: Receive, send: Send) -> None:
        downstream = AsgiHttpDownstream(
            scope, receive, send, self._ticker(), spool=self.bridge.limits.buffer
        )
        try:
            await downstream.settle()
            await self.bridge.handle_http(downstream)
        finally:
            await downstream.close()
        if downstream.aborted is not None and not downstream.gone:
            raise ResponseAborted(str(downstream.aborted)) from downstream.aborted

    async def handle_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        downstream = ServedWebSocket(scope, receive, send, self._ticker())
        try:
            await downstream.connect()
            await self.bridge.handle_websocket(downstream)
            await downstream.wait_closed(self.bridge.limits.close_timeout)
        except (ClientDisconnected, WebSocketDisconnectedError):
            LOG.debug("websocket client left before the handshake: %s", scope["path"])
        finally:
            await downstream.finish()
        if downstream.aborted is not None and not downstream.gone:
            raise ResponseAborted(str(downstream.aborted)) from downstream.aborted

    async def handle_lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        while True:
            event = await receive()
            if event["type"] == "lifespan.startup":
                await self._answer_lifespan("startup", self.lifespan_listener.on_startup, send)
            elif event["type"] == "lifespan.shutdown":
                await self._answer_lifespan("shutdown", self.lifespan_listener.on_shutdown, send)
                await self.bridge.aclose()
                return

    async def _answer_lifespan(
        self, phase: str, callback: t.Callable[[], None], send: Send
    ) -> None:
        try:
            await self.bridge.run_sync(callback)
        except Exception as exc:  # noqa: BLE001 - told to the server, which logs it
            await send({"type": f"lifespan.{phase}.failed", "message": repr(exc)})
        else:
            await send({"type": f"lifespan.{phase}.complete"})

    def _ticker(self) -> Ticker:
        loop_scope = self.bridge.loop_scope()
        return loop_scope.resource(Watched, lambda: Ticker(loop_scope.loop))
