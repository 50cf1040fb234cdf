"""A websocket adapter for code that brings its own ASGI websocket call."""

from __future__ import annotations

import asyncio
import typing as t

from rolo.asgi.environ import Scope
from rolo.asgi.input import portal_to
from rolo.asgi.watch import Event, Receive, Send
from rolo.asgi.websocket import AsgiWebSocketDownstream
from rolo.bridge.downstream import WebSocketDownstream
from rolo.bridge.websocket import PortalWebSocketAdapter
from rolo.portal.portal import Portal
from rolo.websocket.adapter import CreateConnection, Message


class ASGIWebSocketAdapter(PortalWebSocketAdapter):
    """The sync face of one ASGI ``websocket`` call.

    :param loop: the loop that ``receive`` and ``send`` belong to; the sync methods may be
        called from any other thread
    """

    close_timeout: float = 5.0
    """Seconds that :meth:`wait_closed` waits for the client's close frame."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._asgi = AsgiWebSocketDownstream(scope, receive, send, None)
        self._connected = False  # nobody has taken the event that opens the call
        super().__init__(self._asgi, portal_to(loop))

    @classmethod
    def _over(
        cls, outer: WebSocketDownstream, portal: Portal, asgi: AsgiWebSocketDownstream
    ) -> t.Self:
        """Return the adapter of a call whose first event has been taken.

        :param outer: ``asgi``, or what stands before it
        """
        adapter = cls.__new__(cls)
        PortalWebSocketAdapter.__init__(adapter, outer, portal)
        adapter._asgi = asgi
        adapter._connected = True
        return adapter

    def receive(self, timeout: float | None = None) -> CreateConnection | Message:
        if self._opening and not self._connected:
            self._connected = True
            self._call(self._asgi.connect(), timeout)
        return super().receive(timeout)

    async def asgi_send_async(self, event: Event) -> None:
        """Send one ASGI event."""
        await self._asgi.send_event(event)

    async def asgi_receive_async(self) -> Event:
        """Return the next ASGI event, ``websocket.connect`` first."""
        return self._first_event() or await self._asgi.receive_event()

    def asgi_send(self, event: Event, timeout: float | None = None) -> None:
        """As :meth:`asgi_send_async`, blocking for at most ``timeout`` seconds."""
        self._call(self._asgi.send_event(event), timeout)

    def asgi_receive(self, timeout: float | None = None) -> Event:
        """As :meth:`asgi_receive_async`, blocking for at most ``timeout`` seconds.

        :raises TimeoutError: no event came in time; a later one is kept
        """
        return self._first_event() or self._portal.call(self._asgi.receive_event(timeout))

    def _first_event(self) -> Event | None:
        """Return the event that opens the call if it was taken before handlers were asked."""
        first, self._opening = self._opening and self._connected, False
        return {"type": "websocket.connect"} if first else None

    async def wait_closed(self) -> None:
        """After a close of ours, wait for the client's close frame, at most
        ``close_timeout`` seconds."""
        await self._asgi.wait_closed(self.close_timeout)


class ServedWebSocket(AsgiWebSocketDownstream):
    """A websocket call whose handlers get an :class:`ASGIWebSocketAdapter`."""

    __slots__ = ()

    def make_adapter(self, outer: WebSocketDownstream, portal: Portal) -> PortalWebSocketAdapter:
        return ASGIWebSocketAdapter._over(outer, portal, self)
