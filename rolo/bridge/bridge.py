"""The bridge: between the exchanges of an asynchronous server and sync handlers."""

from __future__ import annotations

import typing as t

from rolo.bridge.body_record import DEFAULT_REPLAY_LIMIT
from rolo.bridge.handlers import Handlers, Mode, Process
from rolo.bridge.http_exchanges import HttpExchanges
from rolo.bridge.limits import DEFAULT_LIMITS, Limits
from rolo.bridge.observation import Observation
from rolo.bridge.observed import (
    HttpService,
    WebSocketService,
    observed_http,
    observed_websockets,
)
from rolo.bridge.observer import Observer
from rolo.bridge.ready import Ready, answered_at_once
from rolo.bridge.websocket_exchanges import WebSocketExchanges
from rolo.portal.portal import LoopScope, Portal
from rolo.portal.watchdog import DEFAULT_LIMIT
from rolo.portal.workers import LENT_THREADS, WorkerPool, Workers
from rolo.wire.proxy_status import check_name

DEFAULT_THREADS = 64
DEFAULT_WEBSOCKET_THREADS = 256


class Bridge:
    """Runs a gateway's sync handlers for the exchanges of an asynchronous server.

    :param gateway: gets every request and every websocket handshake; in ``loop`` mode its
        ``ready_answer``, if it has one, is asked first, see :mod:`rolo.bridge.ready`
    :param mode: ``threads`` runs handlers on a bounded pool, they may block;
        ``loop`` runs them in greenlets on the event loop, they must wait only through
        rolo's own calls
    :param threads: how many HTTP handlers may run at once (``threads`` mode); those that
        have been waiting through rolo's own calls do not count
    :param websocket_threads: how many websocket handlers may run at once, each on a
        thread of its own (``threads`` mode); one more is refused with 503
    :param replay_limit: bytes of a request body kept for forwarding after a handler read it
    :param limits: what is refused without asking a handler
    :param watchdog: seconds for which a handler may block the loop in ``loop`` mode before
        a warning names it; ``None`` watches nothing
    :param proxy_status: the name under which answers to errors carry Proxy-Status
        (RFC 9209); ``None`` leaves it out
    :param observers: are told of everything that is served
    """

    def __init__(
        self,
        gateway: Process,
        *,
        mode: Mode = "threads",
        threads: int | None = None,
        websocket_threads: int | None = None,
        replay_limit: int = DEFAULT_REPLAY_LIMIT,
        limits: Limits = DEFAULT_LIMITS,
        proxy_status: str | None = None,
        watchdog: float | None = DEFAULT_LIMIT,
        observers: t.Iterable[Observer] = (),
    ) -> None:
        self._handlers = Handlers(
            gateway,
            mode,
            WorkerPool(threads or DEFAULT_THREADS, "rolo-worker", LENT_THREADS),
            watchdog,
        )
        self.limits = limits
        self.proxy_status = check_name(proxy_status)
        self._websocket_workers = WorkerPool(
            websocket_threads or DEFAULT_WEBSOCKET_THREADS, "rolo-websocket"
        )
        observers = tuple(observers)
        observed = bool(observers)
        http = HttpExchanges(self._handlers, replay_limit, limits, self.proxy_status, observed)
        websockets = WebSocketExchanges(
            self._handlers, self._websocket_workers, limits, http, observed
        )
        serve: HttpService = http.serve
        ready: Ready | None = getattr(gateway, "ready_answer", None)
        if ready is not None and mode == "loop":
            serve = answered_at_once(serve, ready, limits)
        self.handle_http: HttpService = serve
        """Serves one request, see :meth:`HttpExchanges.serve`."""
        self.handle_websocket: WebSocketService = websockets.serve
        """Serves one websocket, see :meth:`WebSocketExchanges.serve`."""
        self.observation: Observation | None = None
        """Who is told of what is served, also by a server that refuses requests by itself;
        ``None`` if nobody is."""
        if observers:
            self.observation = Observation(observers)
            self.handle_http = observed_http(serve, self.observation)
            self.handle_websocket = observed_websockets(websockets.serve, self.observation)

    @property
    def workers(self) -> Workers:
        """The threads of HTTP handlers; to be replaced before the first exchange."""
        return self._handlers.workers

    @workers.setter
    def workers(self, workers: Workers) -> None:
        self._handlers.workers = workers

    def loop_scope(self) -> LoopScope:
        """Return the running loop's :class:`LoopScope`."""
        return self._handlers.loop_scope()

    def begin_stop(self) -> None:
        """Tell what waits on purpose on the running loop that the server stops."""
        self._handlers.loop_scope().begin_stop()

    async def aclose(self) -> None:
        """Close what this bridge holds on the running loop: upstream connections, timers."""
        await self._handlers.close_loop_scope()

    def close(self, timeout: float | None = 5.0) -> None:
        """End the threads, waiting ``timeout`` seconds for handlers that still run
        (``None``: for as long as they take). Call it when the loop has stopped; handlers that
        wait for it get :class:`NoPortalError`. No exchange may be started afterwards."""
        self._handlers.abandon_loop_scopes(timeout)
        self.workers.shutdown(timeout=timeout)
        self._websocket_workers.shutdown(timeout=timeout)
        if self.observation is not None:
            self.observation.close(timeout)

    async def run_sync(self, function: t.Callable[[], t.Any]) -> None:
        """Run ``function`` as handlers run, outside any exchange; what it raises is raised."""
        portal = Portal(self.loop_scope())
        await self._handlers.run(portal, _run_entered, portal, function)


def _run_entered(portal: Portal, function: t.Callable[[], t.Any]) -> None:
    portal.enter()
    function()
