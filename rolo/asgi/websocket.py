"""ASGI as the server below a websocket: scope, receive and send become a downstream."""

from __future__ import annotations

import asyncio
import contextlib
import typing as t

from rolo.asgi.capabilities import capabilities_of
from rolo.asgi.environ import Scope, head_from_scope
from rolo.asgi.watch import Event, Receive, Send, Watched, end_task
from rolo.bridge.downstream import Capabilities, RequestHead, WebSocketDownstream
from rolo.bridge.websocket import PortalWebSocketAdapter
from rolo.errors import ClientDisconnected
from rolo.net.ticker import Ticker
from rolo.portal.portal import Portal
from rolo.websocket.errors import WebSocketDisconnectedError, WebSocketProtocolError
from rolo.wire.fields import RawHeaders


class AsgiWebSocketDownstream(Watched):
    """One ASGI ``websocket`` call as a ``WebSocketDownstream``."""

    wire = end = None

    __slots__ = (
        "_accepted",
        "_close_sent",
        "_closed",
        "_pending",
        "_receive",
        "_send",
        "aborted",
        "capabilities",
        "head",
        "subprotocols",
    )

    pinged_at = 0.0  # ASGI has no pings

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        ticker: Ticker | None,
        capabilities: Capabilities | None = None,
    ) -> None:
        super().__init__()
        self.head: RequestHead = head_from_scope(scope)
        self.capabilities = capabilities or capabilities_of(scope, send)
        self.subprotocols: list[str] = list(scope.get("subprotocols") or ())
        self.aborted: BaseException | None = None
        """What broke the answer off that refuses the handshake."""
        self._receive = receive
        self._send = send
        self._accepted = False
        self._close_sent = False
        self._closed: WebSocketDisconnectedError | None = None
        self._pending: asyncio.Future[Event] | None = None
        if ticker is not None:
            self.look_from_now(ticker)

    def make_adapter(self, outer: WebSocketDownstream, portal: Portal) -> PortalWebSocketAdapter:
        return PortalWebSocketAdapter(outer, portal)

    async def connect(self) -> None:
        """Take the event that opens every websocket call.

        :raises WebSocketDisconnectedError: the client left first
        """
        event = await self.receive_event()
        if event["type"] == "websocket.disconnect":
            raise self._disconnected(event)

    async def receive_event(self, timeout: float | None = None) -> Event:
        """Return the next ASGI event.

        :param timeout: seconds; ``None`` waits for ever. An event that comes later is kept
            for the next call.
        :raises TimeoutError: nothing came in time
        """
        if self._pending is None:
            if timeout is None:
                return await self._receive()
            self._pending = asyncio.ensure_future(self._receive())
        pending = self._pending
        done, _ = await asyncio.wait((pending,), timeout=timeout)
        if not done:
            raise TimeoutError("no websocket message in time")
        self._pending = None
        return pending.result()

    async def send_event(self, event: Event) -> None:
        """Send one ASGI event."""
        await self._send(event)

    def start_watch(self) -> bool:
        if self._accepted or self._closed:
            return True
        if self._pending is None:
            self._pending = asyncio.ensure_future(self._receive())
            self._pending.add_done_callback(self._peek)
        return True

    def _peek(self, pending: asyncio.Future[Event]) -> None:
        if pending.cancelled() or pending.exception() or self._accepted:
            return
        if pending.result()["type"] == "websocket.disconnect":
            self.leave()

    async def accept(self, subprotocol: str | None, headers: RawHeaders) -> None:
        self._accepted = True
        await self._answer(
            {
                "type": "websocket.accept",
                "subprotocol": subprotocol,
                "headers": self._names_as_sent(headers),
            }
        )

    async def reject(self, status: int, reason: bytes, headers: RawHeaders, body: bytes) -> None:
        if not self.capabilities.denial:
            # All that plain ASGI can say is "no", which servers turn into 403.
            await self._answer({"type": "websocket.close", "code": 1000, "reason": ""})
            return
        await self.start_refusal(status, headers)
        await self.send_refusal(body, False)

    async def refusal(self) -> AsgiRefusal:
        return AsgiRefusal(self)

    async def start_refusal(self, status: int, headers: RawHeaders) -> None:
        """Send the head of an answer that refuses the handshake."""
        await self._answer(
            {
                "type": "websocket.http.response.start",
                "status": status,
                "headers": self._names_as_sent(headers),
            }
        )

    async def send_refusal(self, piece: bytes, more: bool) -> None:
        """Send a piece of its body."""
        await self._answer(
            {"type": "websocket.http.response.body", "body": piece, "more_body": more}
        )

    async def _answer(self, event: Event) -> None:
        try:
            await self.send_event(event)
        except OSError as exc:
            # The specification lets servers raise OSError once the client is gone.
            self.leave()
            raise ClientDisconnected("the client left within its handshake") from exc

    async def receive(self, timeout: float | None = None) -> str | bytes:
        if self._closed is not None:
            raise self._closed
        event = await self.receive_event(timeout)
        if event["type"] == "websocket.disconnect":
            raise self._disconnected(event)
        text = event.get("text")
        return text if text is not None else bytes(event.get("bytes") or b"")

    async def send(self, message: str | bytes) -> None:
        if self._closed is not None:
            raise self._closed
        if self._close_sent:
            raise WebSocketProtocolError("the websocket is closed from our side")
        kind = "text" if isinstance(message, str) else "bytes"
        try:
            await self.send_event({"type": "websocket.send", kind: message})
        except OSError as exc:
            # The code it closed with, if it did, is for receive() to tell.
            raise WebSocketDisconnectedError(1006, "") from exc

    async def close(self, code: int | None, reason: str) -> None:
        if self._closed is None and not self._close_sent:
            self._close_sent = True
            with contextlib.suppress(OSError):  # the client was quicker
                await self.send_event({"type": "websocket.close", "code": code, "reason": reason})

    async def wait_closed(self, timeout: float) -> None:
        """After a close of ours, wait for the client's close frame, at most ``timeout``
        seconds; a server may otherwise cut the connection before the client has read ours."""
        if not self._close_sent or self._closed is not None:
            return
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        try:
            while True:
                event = await self.receive_event(max(0.0, deadline - loop.time()))
                if event["type"] == "websocket.disconnect":
                    self._disconnected(event)
                    return
        except TimeoutError:
            return

    async def finish(self) -> None:
        """End the watch. The websocket is over for the application."""
        self.look_no_more()
        self._on_gone = None
        if self._pending is not None:
            pending, self._pending = self._pending, None
            await end_task(t.cast("asyncio.Task[Event]", pending))

    def _disconnected(self, event: Event) -> WebSocketDisconnectedError:
        self._closed = WebSocketDisconnectedError(
            event.get("code", 1005), event.get("reason") or ""
        )
        return self._closed


class AsgiRefusal:
    """An :class:`~rolo.bridge.downstream.AnswerDownstream` that refuses a handshake.

    After :meth:`abort` the application callable has to raise ``aborted``, as after one of
    :class:`~rolo.asgi.http.AsgiHttpDownstream`.
    """

    __slots__ = ("_websocket",)

    sink = unacknowledged = None

    def __init__(self, websocket: AsgiWebSocketDownstream) -> None:
        self._websocket = websocket

    @property
    def gone(self) -> bool:
        return self._websocket.gone

    async def send_head(self, status: int, reason: bytes, headers: RawHeaders) -> None:
        self._check_open()
        # Which servers frame by themselves what comes without a length.
        fields = [field for field in headers if field[0].lower() != b"transfer-encoding"]
        await self._websocket.start_refusal(status, fields)
        # Some servers hold the head back until a body event comes.
        await self._websocket.send_refusal(b"", True)

    async def send_body(self, chunk: bytes) -> None:
        self._check_open()
        await self._websocket.send_refusal(chunk, True)

    async def end(self, trailers: RawHeaders | None = None) -> None:
        await self._websocket.send_refusal(b"", False)

    async def send_complete(
        self, status: int, reason: bytes, headers: RawHeaders, body: bytes
    ) -> None:
        await self._websocket.reject(status, reason, headers, body)

    def abort(self, error: BaseException | None = None) -> None:
        self._websocket.aborted = error or ClientDisconnected("the answer was broken off")

    def _check_open(self) -> None:
        if self.gone:
            raise ClientDisconnected("the client left within the answer to its handshake")
