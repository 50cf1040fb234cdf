"""The bridge: carries one exchange from a downstream to sync handlers and back.

::

    downstream ── head ──> BridgeRequest ──> Gateway.process   (worker thread or greenlet)
         ^                                        │
         └── head, body, end or abort <── Response┘           (the loop)
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import threading
import typing as t

from rolo.bridge import send
from rolo.bridge.body import DEFAULT_REPLAY_LIMIT, RequestBody
from rolo.bridge.downstream import HttpDownstream, WebSocketDownstream
from rolo.bridge.limits import DEFAULT_LIMITS, Limits
from rolo.bridge.portal import Home, Portal
from rolo.bridge.request import BridgeRequest
from rolo.bridge.stall import Stalls
from rolo.bridge.watchdog import DEFAULT_LIMIT, Watchdog
from rolo.bridge.websocket import PortalWebSocketAdapter, check_handshake, websocket_environ
from rolo.bridge.workers import WorkerPool, Workers
from rolo.errors import (
    ClientDisconnected,
    DownstreamError,
    RoloError,
    TooManyExchanges,
    UnusableMethod,
    describe,
)
from rolo.forwarded import LazyResponse
from rolo.proxy_status import check_name, proxy_status
from rolo.request import Request
from rolo.response import Response
from rolo.websocket.errors import WebSocketDisconnectedError
from rolo.websocket.request import WebSocketRequest

LOG = logging.getLogger(__name__)

Mode = t.Literal["threads", "loop"]

_PREFETCH = 64 * 1024

WEBSOCKET = "WEBSOCKET"

DEFAULT_THREADS = 64
DEFAULT_WEBSOCKET_THREADS = 256


class Process(t.Protocol):
    """What a bridge serves: a :class:`rolo.gateway.Gateway`, or anything of its shape."""

    def process(self, request: Request, response: Response) -> t.Any: ...

    def accept(self, request: WebSocketRequest) -> t.Any: ...


class Bridge:
    """Runs a gateway's sync handlers for the exchanges of an asynchronous server.

    :param gateway: gets every request and every websocket handshake
    :param mode: ``threads`` runs handlers on a bounded pool, they may block;
        ``loop`` runs them in greenlets on the event loop, they must wait only through
        rolo's own calls
    :param threads: size of the pool for HTTP handlers (``threads`` mode)
    :param websocket_threads: how many websocket handlers may run at once, each on a
        thread of its own (``threads`` mode); one more is refused with 503
    :param replay_limit: bytes of a request body kept for forwarding after a handler read it
    :param limits: what is refused without asking a handler
    :param watchdog: seconds for which a handler may block the loop in ``loop`` mode before
        a warning names it; ``None`` watches nothing
    :param proxy_status: the name under which answers to errors carry Proxy-Status
        (RFC 9209); ``None`` leaves it out
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
    ) -> None:
        if mode not in ("threads", "loop"):
            raise ValueError(f"mode is 'threads' or 'loop', not {mode!r}")
        self.gateway = gateway
        self.mode: Mode = mode
        self.workers: Workers = WorkerPool(threads or DEFAULT_THREADS, "rolo-worker")
        self.websocket_workers = WorkerPool(
            websocket_threads or DEFAULT_WEBSOCKET_THREADS, "rolo-websocket"
        )
        self.limits = limits
        self.proxy_status = check_name(proxy_status)
        self._watchdog = watchdog
        self.exchanges = 0
        """How many HTTP exchanges are under way."""
        self._websockets = 0
        self._replay_limit = replay_limit
        self._homes: dict[asyncio.AbstractEventLoop, Home] = {}

    def home(self) -> Home:
        """Return the running loop's :class:`Home`."""
        loop = asyncio.get_running_loop()
        home = self._homes.get(loop)
        if home is None:
            home = self._homes[loop] = Home(loop, threading.get_ident())
            limit = self._watchdog
            if self.mode == "loop" and limit is not None:
                home.resource(Watchdog, lambda: Watchdog(loop, limit))
        return home

    async def aclose(self) -> None:
        """Close what this bridge holds on the running loop: upstream connections, timers."""
        home = self._homes.get(asyncio.get_running_loop())
        if home is not None:
            await home.close()

    def close(self, timeout: float | None = 5.0) -> None:
        """End the worker threads, waiting ``timeout`` seconds for handlers that still run
        (``None``: for as long as they take). Call it when the loop has stopped; handlers that
        wait for it get :class:`NoPortalError`. No exchange may be started afterwards."""
        homes, self._homes = self._homes, {}
        for home in homes.values():
            home.abandon()
        self.workers.shutdown(timeout=timeout)
        self.websocket_workers.shutdown(timeout=timeout)

    async def run_sync(self, function: t.Callable[[], t.Any]) -> None:
        """Run ``function`` as handlers run, outside any exchange; what it raises is raised."""
        portal = Portal(self.home())
        if self.mode == "loop":
            await portal.run_in_greenlet(_run_entered, portal, function)
        else:
            await self._on_thread(self.workers, portal, _run_entered, portal, function)

    # -- HTTP

    async def handle_http(self, downstream: HttpDownstream) -> None:
        """Serve one exchange to its end. Whatever goes wrong is answered, or aborts the
        answer, and is logged; only cancellation by the server is raised."""
        portal = Portal(self.home(), asyncio.current_task())
        body = RequestBody(downstream, portal, self._replay_limit, self.limits)
        request = BridgeRequest(downstream.head, body, portal)
        downstream.watch_gone(portal.interrupt)
        self.exchanges += 1
        try:
            response = self._refused(request, downstream.fault) or await self._decide(request)
            await self._answer(response, request, downstream)
        except ClientDisconnected as exc:
            LOG.debug("client left: %s %r", downstream.head.method, downstream.head.target)
            downstream.abort(exc)
        except asyncio.CancelledError as exc:
            downstream.abort(exc)
            if portal.translate_cancel(exc) is exc:
                raise
            LOG.debug("client left: %s %r", downstream.head.method, downstream.head.target)
        finally:
            self.exchanges -= 1
            portal.task = None
            body.close()

    def _refused(self, request: BridgeRequest, fault: DownstreamError | None) -> Response | None:
        """Return the answer to a request that no handler gets to see, ``None`` for others."""
        try:
            if fault is not None:
                raise fault
            self.limits.check_exchanges(self.exchanges)
            self.limits.check_head(request.head)
            if request.method == WEBSOCKET:
                # The name under which websocket handshakes are routed; nobody else may use it.
                raise UnusableMethod("the method WEBSOCKET is not for requests")
        except RoloError as exc:
            LOG.warning("%s refused: %s", _line(request), describe(exc))
            response = self._error_response(exc)
            if isinstance(exc, DownstreamError):
                # What follows on the connection cannot be believed to be another request.
                response.headers["Connection"] = "close"
            return response
        return None

    def _error_response(self, error: BaseException) -> Response:
        response = error_response(error)
        if self.proxy_status is not None:
            response.headers["Proxy-Status"] = proxy_status(self.proxy_status, error)
        return response

    async def _decide(self, request: BridgeRequest) -> Response:
        """Run the gateway; errors that escape it become a 500."""
        response = LazyResponse()
        try:
            if self.mode == "loop":
                request.portal.task = request.portal.owner
                await request.portal.run_in_greenlet(self._process, request, response)
            else:
                await self._process_on_thread(request, response)
        except ClientDisconnected:
            response.close()
            raise
        except Exception as exc:
            response.close()
            if isinstance(exc, RoloError) and exc.status != 500:
                LOG.warning("%s failed: %s", _line(request), describe(exc))
            else:
                LOG.error("error while handling %s", _line(request), exc_info=exc)
            return self._error_response(exc)
        return response

    def _process(self, request: BridgeRequest, response: Response) -> None:
        request.portal.enter()
        self.gateway.process(request, response)

    async def _process_on_thread(self, request: BridgeRequest, response: Response) -> None:
        length = None if request.body.is_empty else _small_length(request)
        if length is not None:
            request.portal.task = request.portal.owner
            await request.body.prefetch(length)
        request.portal.task = None
        await self._on_thread(self.workers, request.portal, self._process, request, response)

    async def _on_thread(
        self, workers: Workers, portal: Portal, function: t.Callable[..., t.Any], *args: t.Any
    ) -> None:
        """Run ``function`` on a thread of ``workers``. If the server gives up on the
        exchange meanwhile, what the handler waits for is cancelled."""
        loop = portal.loop
        done: asyncio.Future[None] = loop.create_future()
        portal.context = contextvars.copy_context()

        def finish(error: BaseException | None) -> None:
            if done.done():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

        def job() -> None:
            error: BaseException | None = None
            try:
                portal.run_in_context(function, *args)
            except BaseException as exc:  # noqa: BLE001 - raised again in the exchange's task
                error = exc
            portal.post(finish, error)

        workers.run(job)
        try:
            await done
        except asyncio.CancelledError:
            portal.interrupt()
            raise

    async def _answer(
        self, response: Response, request: BridgeRequest, downstream: HttpDownstream
    ) -> None:
        portal = request.portal
        portal.task = portal.owner
        if portal.gone:
            response.close()
            raise ClientDisconnected("the client left")
        outcome = send.take_apart(response, lambda: request.environ, request.method)
        if outcome.whole is not None and not outcome.trailers():
            outcome.close()
            await downstream.send_complete(
                outcome.status, outcome.reason, outcome.headers, outcome.whole
            )
            return
        try:
            try:
                await downstream.send_head(outcome.status, outcome.reason, outcome.headers)
            except BaseException:
                await self._close_unsent(outcome, portal)
                raise
            await self._send_body_in_time(outcome, portal, downstream)
            await downstream.end(outcome.trailers())
        except Exception as exc:
            if isinstance(exc, ClientDisconnected):
                raise
            LOG.warning(
                "answer to %s broken off: %s",
                _line(request),
                describe(exc),
                exc_info=None if isinstance(exc, RoloError) else exc,
            )
            downstream.abort(exc)

    async def _send_body_in_time(
        self, outcome: send.Outcome, portal: Portal, downstream: HttpDownstream
    ) -> None:
        limit = self.limits.send_timeout
        if limit is None or portal.owner is None:
            await self._send_body(outcome, portal, downstream)
            return
        home = portal.home
        sending = home.resource(Stalls, lambda: Stalls(home.loop, limit)).watch(
            downstream, portal.owner
        )
        try:
            await self._send_body(outcome, portal, sending)
        except asyncio.CancelledError as exc:
            raise sending.translate_cancel(exc) from None
        finally:
            sending.close()

    async def _send_body(
        self, outcome: send.Outcome, portal: Portal, downstream: send.Sink
    ) -> None:
        if outcome.whole is not None:
            outcome.close()
            await downstream.send_body(outcome.whole)
            return
        if outcome.pulled is not None:
            try:
                await send.pump(outcome.pulled, downstream)
            finally:
                outcome.close()
            return
        assert outcome.iterable is not None
        if self.mode == "loop":
            await portal.run_in_greenlet(
                _push_and_close, outcome.iterable, outcome.close, downstream, portal
            )
            return
        puller = send.ThreadPuller(outcome.iterable, outcome.close, self.workers, portal)
        try:
            await send.pump(puller, downstream)
        finally:
            puller.close()

    async def _close_unsent(self, outcome: send.Outcome, portal: Portal) -> None:
        """Close a body of which nothing was sent, where its code may run."""
        if outcome.iterable is None:
            outcome.close()
        elif self.mode == "loop":
            await portal.run_in_greenlet(outcome.close)
        else:
            self.workers.run(functools.partial(portal.run_in_context, outcome.close))

    # -- websockets

    async def handle_websocket(self, downstream: WebSocketDownstream) -> None:
        """Serve one websocket from its handshake to its end."""
        portal = Portal(self.home())
        adapter = PortalWebSocketAdapter(downstream, portal)
        request = WebSocketRequest(websocket_environ(downstream.head, adapter, portal))
        try:
            self.limits.check_head(downstream.head)
            check_handshake(downstream.head)
        except RoloError as exc:
            LOG.warning("websocket %r refused: %s", downstream.head.target, describe(exc))
            await downstream.reject(exc.status, b"", [], b"%d\n" % exc.status)
            return
        downstream.watch_gone(portal.interrupt)
        try:
            if self.mode == "loop":
                portal.task = asyncio.current_task()
                await portal.run_in_greenlet(self._accept, request, portal)
            else:
                await self._accept_on_thread(request, portal, downstream)
            successor, adapter.successor = adapter.successor, None
            if successor is not None:
                # It may run for days: let go of what only the handler needed.
                portal.task = None
                del request
                await successor.run(downstream)
            elif request.is_upgraded():
                # A handler that returned has no more use for its websocket.
                await downstream.close(1000, "")
        except (ClientDisconnected, WebSocketDisconnectedError):
            LOG.debug("websocket client left: %r", downstream.head.target)
        except asyncio.CancelledError as exc:
            if portal.translate_cancel(exc) is exc:
                raise
        finally:
            portal.task = None
            if adapter.successor is not None:
                adapter.successor.abandon()

    def _accept(self, request: WebSocketRequest, portal: Portal) -> None:
        portal.enter()
        self.gateway.accept(request)

    async def _accept_on_thread(
        self, request: WebSocketRequest, portal: Portal, downstream: WebSocketDownstream
    ) -> None:
        if self._websockets >= self.websocket_workers.size:
            LOG.warning(
                "websocket refused: all %d threads for websockets are taken", self._websockets
            )
            await downstream.reject(
                503,
                b"Service Unavailable",
                [(b"content-type", b"text/plain")],
                b"too many websockets\n",
            )
            return
        self._websockets += 1
        try:
            await self._on_thread(self.websocket_workers, portal, self._accept, request, portal)
        finally:
            self._websockets -= 1


def _run_entered(portal: Portal, function: t.Callable[[], t.Any]) -> None:
    portal.enter()
    function()


def error_response(error: BaseException) -> Response:
    """Return the answer to an error that no handler dealt with; it tells nothing internal."""
    status = error.status if isinstance(error, RoloError) else 500
    response = Response(f"{status}\n", status=status, mimetype="text/plain")
    if isinstance(error, DownstreamError | TooManyExchanges):
        # Nobody is going to read the rest of such a request.
        response.headers["Connection"] = "close"
    return response


def _line(request: BridgeRequest) -> str:
    """What a log calls ``request``; a client must not write lines of its own into it."""
    return ascii(f"{request.head.method} {request.head.target.decode('latin-1')}")[1:-1]


def _small_length(request: BridgeRequest) -> int | None:
    """Return the length of a body that is declared, small, and will come unasked."""
    length = None
    for name, value in request.head.headers:
        lowered = name.lower()
        if lowered == b"content-length" and value.isdigit():
            length = int(value)
        elif lowered == b"expect":
            return None
    return length if length is not None and length <= _PREFETCH else None


def _push_and_close(
    body: t.Iterable[bytes],
    close: t.Callable[[], None],
    downstream: send.Sink,
    portal: Portal,
) -> None:
    portal.enter()
    try:
        send.push(body, downstream, portal)
    finally:
        close()
