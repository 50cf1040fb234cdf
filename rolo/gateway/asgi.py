"""Serves a :class:`~rolo.gateway.Gateway` as an ASGI application."""

from __future__ import annotations

import asyncio
import typing as t

from rolo.asgi import ASGIAdapter, ASGILifespanListener, WebSocketListener
from rolo.asgi.application import AsgiApplication
from rolo.bridge.body_record import DEFAULT_REPLAY_LIMIT
from rolo.bridge.bridge import DEFAULT_THREADS, Bridge
from rolo.bridge.handlers import Mode
from rolo.bridge.limits import DEFAULT_LIMITS, Limits
from rolo.bridge.observer import Observer
from rolo.gateway.gateway import Gateway
from rolo.gateway.wsgi import WsgiGateway
from rolo.portal.watchdog import DEFAULT_LIMIT
from rolo.request import Request
from rolo.response import Response
from rolo.websocket.request import WebSocketRequest

__all__ = [
    "ASGIAdapter",
    "ASGILifespanListener",
    "AsgiGateway",
    "Gateway",
    "WebSocketListener",
    "WebSocketRequest",
    "WsgiGateway",
]


class AsgiGateway:
    """An ASGI 3 application that runs each call through a gateway's handler chain.

    :param gateway: the gateway to serve
    :param event_loop: kept for programs that pass it; the loop that runs the server is used
    :param threads: how many HTTP handlers may run at once in ``threads`` mode; ``None``
        takes :attr:`default_thread_count`
    :param lifespan_listener: told of the server's start and stop
    :param websocket_listener: called with the environment of each websocket handshake
        instead of :meth:`Gateway.accept`
    :param mode: ``threads`` runs handlers on a bounded pool, they may block; ``loop`` runs
        them on the event loop, where they may wait only through rolo's own calls
    :param websocket_threads: how many websocket handlers may run at once in ``threads``
        mode, each on its own thread; one more is refused with 503
    :param replay_limit: bytes of a request body that a handler read which are kept for
        forwarding the same bytes
    :param limits: what clients may ask; the rest is refused without asking a handler
    :param proxy_status: the name under which answers to errors that no handler deals with
        carry Proxy-Status (RFC 9209); ``None`` leaves it out
    :param watchdog: seconds for which a handler or hook may block the loop in ``loop`` mode
        before a warning names it; ``None`` watches nothing
    :param observers: are told of everything that is served, see :mod:`rolo.observing`
    """

    default_thread_count: int = DEFAULT_THREADS

    def __init__(
        self,
        gateway: Gateway,
        event_loop: asyncio.AbstractEventLoop | None = None,
        threads: int | None = None,
        lifespan_listener: ASGILifespanListener | None = None,
        websocket_listener: WebSocketListener | None = None,
        *,
        mode: Mode = "threads",
        websocket_threads: int | None = None,
        replay_limit: int = DEFAULT_REPLAY_LIMIT,
        limits: Limits = DEFAULT_LIMITS,
        proxy_status: str | None = None,
        watchdog: float | None = DEFAULT_LIMIT,
        observers: t.Iterable[Observer] = (),
    ) -> None:
        self.gateway = gateway
        self.event_loop = event_loop
        self.bridge = Bridge(
            gateway if websocket_listener is None else _Listening(gateway, websocket_listener),
            mode=mode,
            threads=threads or self.default_thread_count,
            websocket_threads=websocket_threads,
            replay_limit=replay_limit,
            limits=limits,
            proxy_status=proxy_status,
            watchdog=watchdog,
            observers=observers,
        )
        self._application = AsgiApplication(self.bridge, lifespan_listener)

    async def __call__(self, scope: t.Any, receive: t.Any, send: t.Any) -> None:
        """The ASGI 3 interface."""
        await self._application(scope, receive, send)

    def wait_observed(self, timeout: float | None = 5.0) -> bool:
        """Block until the observers were told of all that happened before the call; see
        :meth:`rolo.serving.RunningServer.wait_observed`."""
        observation = self.bridge.observation
        return observation is None or observation.wait_observed(timeout)

    def close(self) -> None:
        """End the worker threads. Call it when the server has stopped."""
        self.bridge.close()


class _Listening:
    """A gateway whose websockets go to a listener of the user's."""

    def __init__(self, gateway: Gateway, listener: WebSocketListener) -> None:
        self._gateway = gateway
        self._listener = listener

    def process(self, request: Request, response: Response) -> None:
        self._gateway.process(request, response)

    def accept(self, request: WebSocketRequest) -> None:
        self._listener(request.environ)
