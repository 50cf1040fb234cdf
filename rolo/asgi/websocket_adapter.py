"""A websocket adapter for code that brings its own ASGI websocket call."""

from __future__ import annotations

import asyncio

from rolo.asgi.environ import Scope
from rolo.asgi.input import portal_to
from rolo.asgi.watch import Event, Receive, Send
from rolo.asgi.websocket import AsgiWebSocketDownstream
from rolo.bridge.websocket import PortalWebSocketAdapter
from rolo.websocket.adapter import WebSocketAdapter


class ASGIWebSocketAdapter(PortalWebSocketAdapter):
    """The sync face of one ASGI ``websocket`` call.

    :param loop: the loop that ``receive`` and ``send`` belong to; the sync methods may be
        called from any other thread
    """

    close_timeout: float = 5.0
    """Seconds that :meth:`wait_closed` waits for the client's close frame."""

    _downstream: AsgiWebSocketDownstream

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(AsgiWebSocketDownstream(scope, receive, send, None), portal_to(loop))

    # There is nobody to go on with it when the handler has returned.
    _refuse = WebSocketAdapter._refuse

    async def asgi_send_async(self, event: Event) -> None:
        """Send one ASGI event."""
        await self._downstream.send_event(event)

    async def asgi_receive_async(self) -> Event:
        """Return the next ASGI event."""
        return await self._downstream.receive_event()

    def asgi_send(self, event: Event, timeout: float | None = None) -> None:
        """As :meth:`asgi_send_async`, blocking for at most ``timeout`` seconds."""
        self._call(self._downstream.send_event(event), timeout)

    def asgi_receive(self, timeout: float | None = None) -> Event:
        """As :meth:`asgi_receive_async`, blocking for at most ``timeout`` seconds.

        :raises TimeoutError: no event came in time; a later one is kept
        """
        return self._portal.call(self._downstream.receive_event(timeout))

    async def wait_closed(self) -> None:
        """After a close of ours, wait for the client's close frame, at most
        ``close_timeout`` seconds."""
        await self._downstream.wait_closed(self.close_timeout)
