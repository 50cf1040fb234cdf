"""Requests: each is decided by sync handlers, and its answer carried back.

::

    downstream ── head ──> BridgeRequest ──> Gateway.process   (worker thread or greenlet)
         ^                                        │
         └── head, body, end or abort <── Response┘           (the loop)
"""

from __future__ import annotations

import asyncio
import functools
import logging
import typing as t

from rolo.bridge.answer import (
    Answer,
    BodyDownstream,
    answer_of,
    close_contained,
    close_nothing,
    close_runs_code,
    error_response,
    pump,
    push,
)
from rolo.bridge.downstream import AnswerDownstream, HttpDownstream
from rolo.bridge.handlers import Handlers
from rolo.bridge.lazy_response import LazyResponse
from rolo.bridge.limits import Limits
from rolo.bridge.observed import ObservedHttp
from rolo.bridge.request import BridgeRequest
from rolo.bridge.request_body import RequestBody
from rolo.bridge.send_timeout import TimedDownstream
from rolo.bridge.thread_body import ThreadBody, close_soon
from rolo.errors import (
    ClientDisconnected,
    DownstreamError,
    FaultUnavailable,
    InjectedFault,
    RoloError,
    UnsendableAnswer,
    UnusableMethod,
    describe,
)
from rolo.net.ticker import Ticker
from rolo.portal.portal import Portal
from rolo.response import Response
from rolo.wire.proxy_status import proxy_status

LOG = logging.getLogger(__name__)

_PREFETCH = 64 * 1024

WEBSOCKET = "WEBSOCKET"

R = t.TypeVar("R")


class HttpExchanges:
    """Carries the requests of a bridge to its handlers, and the answers back.

    :param replay_limit: bytes of a request body kept for forwarding after a handler read it
    :param limits: what is refused without asking a handler
    :param proxy_status: the name under which answers to errors carry Proxy-Status
        (RFC 9209); ``None`` leaves it out
    :param observed: every downstream is an :class:`~rolo.bridge.observed.ObservedHttp`
    """

    def __init__(
        self,
        handlers: Handlers,
        replay_limit: int,
        limits: Limits,
        proxy_status: str | None,
        observed: bool = False,
    ) -> None:
        self._handlers = handlers
        self._replay_limit = replay_limit
        self._limits = limits
        self._proxy_status = proxy_status
        self._observed = observed
        self._under_way = 0

    async def serve(self, downstream: HttpDownstream) -> None:
        """Serve one exchange to its end. Whatever goes wrong is answered, or aborts the
        answer, and is logged; only cancellation by the server is raised."""
        loop_scope = self._handlers.loop_scope()
        portal = Portal(loop_scope, asyncio.current_task(loop_scope.loop))
        body = RequestBody(downstream, portal, self._replay_limit, self._limits)
        request = BridgeRequest(downstream.head, body, portal)
        downstream.watch_gone(portal.interrupt)
        if self._observed:
            portal.observer = t.cast(ObservedHttp, downstream).progress
        self._under_way += 1
        try:
            response = self._refused(request, downstream.fault) or await self._decide(request)
            if self._observed:
                t.cast(ObservedHttp, downstream).progress.decided(response)
            if request._spoiler is None and response._spoiler is None:
                await self._answer(response, request, downstream)
            else:
                await self._answer_badly(response, request, downstream)
        except InjectedFault as exc:
            downstream.abort(exc)
        except ClientDisconnected as exc:
            LOG.debug("client left: %s %r", downstream.head.method, downstream.head.target)
            downstream.abort(exc)
        except asyncio.CancelledError as exc:
            downstream.abort(exc)
            if portal.translate_cancel(exc) is exc:
                raise
            LOG.debug("client left: %s %r", downstream.head.method, downstream.head.target)
        finally:
            self._under_way -= 1
            portal.task = None
            body.close()

    def _refused(self, request: BridgeRequest, fault: DownstreamError | None) -> Response | None:
        """Return the answer to a request that no handler gets to see, ``None`` for others."""
        try:
            if fault is not None:
                raise fault
            self._limits.check_exchanges(self._under_way)
            self._limits.check_head(request._head)
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
        if self._proxy_status is not None:
            response.headers["Proxy-Status"] = proxy_status(self._proxy_status, error)
        return response

    async def _decide(self, request: BridgeRequest) -> Response:
        """Run the gateway; errors that escape it become a 500."""
        response = LazyResponse()
        try:
            if self._handlers.mode == "loop":
                request._portal.task = request._portal.owner
                if request._body.is_here and (length := _small_length(request)) is not None:
                    # So it goes out with the head of what is forwarded.
                    await request._body.prefetch(length)
                await request._portal.begin_in_greenlet(self._process, request, response)
            else:
                await self._process_on_thread(request, response)
        except ClientDisconnected:
            await self._drop(response, request)
            raise
        except Exception as exc:
            await self._drop(response, request)
            if isinstance(exc, RoloError) and exc.status != 500:
                LOG.warning("%s failed: %s", _line(request), describe(exc))
            else:
                LOG.error("error while handling %s", _line(request), exc_info=exc)
            return self._error_response(exc)
        return response

    def _process(self, request: BridgeRequest, response: Response) -> None:
        request._portal.enter()
        self._handlers.gateway.process(request, response)

    async def _process_on_thread(self, request: BridgeRequest, response: Response) -> None:
        length = None if request._body.is_empty else _small_length(request)
        if length is not None:
            request._portal.task = request._portal.owner
            await request._body.prefetch(length)
        request._portal.task = None
        self._limits.check_queued(self._handlers.workers.queued)
        await self._handlers.run(request._portal, self._process, request, response)

    async def _answer_badly(
        self, response: Response, request: BridgeRequest, downstream: HttpDownstream
    ) -> None:
        """As :meth:`_answer`, spoilt on the way."""
        portal, target = request._portal, downstream
        try:
            for spoiler in (request._spoiler, response._spoiler):
                if spoiler is not None:
                    target = spoiler.spoil(target, portal)
        except FaultUnavailable as exc:
            LOG.error("answer to %s cannot be spoilt: %s", _line(request), describe(exc))
            await self._drop(response, request)
            response, target = self._error_response(exc), downstream
            if self._observed:
                t.cast(ObservedHttp, downstream).progress.decided(response)
        await self._answer(response, request, target)

    async def _answer(
        self, response: Response, request: BridgeRequest, downstream: HttpDownstream
    ) -> None:
        portal = request._portal
        portal.task = portal.owner
        if portal.gone:
            await self._drop(response, request)
            raise ClientDisconnected("the client left")
        try:
            answer = answer_of(response, lambda: request.environ, request.method)
        except UnsendableAnswer as exc:
            LOG.error("answer to %s cannot be sent: %s", _line(request), describe(exc))
            await self._drop(response, request)
            response = self._error_response(exc)
            answer = answer_of(response, lambda: request.environ, request.method)
        if answer.close is not close_nothing:
            answer.close = functools.partial(close_contained, answer.close, request, _line)
        if answer.whole is not None and (answer.body is None or not answer.body.trailers):
            if answer.close is not close_nothing:
                await self._close(answer, portal)
            await downstream.send_complete(
                answer.status, answer.reason, answer.headers, answer.whole
            )
            return
        await self.send_as_it_comes(answer, portal, downstream, request, _line)

    async def send_as_it_comes(
        self,
        answer: Answer,
        portal: Portal,
        downstream: AnswerDownstream,
        request: R,
        line_of: t.Callable[[R], str],
    ) -> None:
        """Send ``answer`` and close it; if its body breaks, break off and log that.

        :param request: as of :func:`close_contained`
        :raises ClientDisconnected: the client left
        """
        try:
            try:
                await downstream.send_head(answer.status, answer.reason, answer.headers)
            except BaseException:
                await self._close(answer, portal)
                raise
            await self._send_body_in_time(answer, portal, downstream)
            await downstream.end(answer.trailers())
        except Exception as exc:
            if isinstance(exc, ClientDisconnected | InjectedFault):
                raise
            LOG.warning(
                "answer to %s broken off: %s",
                line_of(request),
                describe(exc),
                exc_info=None if isinstance(exc, RoloError) else exc,
            )
            downstream.abort(exc)

    async def _send_body_in_time(
        self, answer: Answer, portal: Portal, downstream: AnswerDownstream
    ) -> None:
        limit = self._limits.send_timeout
        if limit is None or portal.owner is None:
            await self._send_body(answer, portal, downstream)
            return
        loop_scope = portal.loop_scope
        ticker = loop_scope.resource(TimedDownstream, lambda: Ticker(loop_scope.loop))
        sending = TimedDownstream(downstream, portal.owner, limit, ticker)
        try:
            await self._send_body(answer, portal, sending)
        except asyncio.CancelledError as exc:
            raise sending.translate_cancel(exc) from None
        finally:
            sending.close()

    async def _send_body(self, answer: Answer, portal: Portal, downstream: BodyDownstream) -> None:
        if answer.whole is not None:
            await self._close(answer, portal)
            await downstream.send_body(answer.whole)
            return
        if answer.pulled is not None:
            try:
                await pump(answer.pulled, downstream)
            finally:
                await self._close(answer, portal)
            return
        assert answer.iterable is not None
        if self._handlers.mode == "loop":
            await portal.run_in_greenlet(
                _push_and_close, answer.iterable, answer.close, downstream, portal
            )
            return
        puller = ThreadBody(answer.iterable, answer.close, self._handlers.workers, portal)
        try:
            await pump(puller, downstream)
        finally:
            puller.close()

    async def _drop(self, response: Response, request: BridgeRequest) -> None:
        await self.drop(response, request._portal, request, _line)

    async def drop(
        self, response: Response, portal: Portal, request: R, line_of: t.Callable[[R], str]
    ) -> None:
        """Close a response of which nothing is sent."""
        close = functools.partial(close_contained, response.close, request, line_of)
        await self._close_where(close_runs_code(response), close, portal)

    async def _close(self, answer: Answer, portal: Portal) -> None:
        await self._close_where(answer.close_runs_code, answer.close, portal)

    async def _close_where(
        self, runs_code: bool, close: t.Callable[[], None], portal: Portal
    ) -> None:
        """Close a body where its code may run."""
        if not runs_code:
            close()
        elif self._handlers.mode == "loop":
            await portal.run_in_greenlet(close)
        else:
            close_soon(close, self._handlers.workers, portal)


def line_of(method: str, target: bytes) -> str:
    """What a log calls a request; a client must not write lines of its own into it."""
    return ascii(f"{method} {target.decode('latin-1')}")[1:-1]


def _line(request: BridgeRequest) -> str:
    return line_of(request._head.method, request._head.target)


def _small_length(request: BridgeRequest) -> int | None:
    """Return the length of a body that is declared, small, and will come unasked."""
    head = request._head
    if head.length is None or head.length > _PREFETCH or head.expects_continue:
        return None
    return head.length


def _push_and_close(
    body: t.Iterable[bytes],
    close: t.Callable[[], None],
    downstream: BodyDownstream,
    portal: Portal,
) -> None:
    portal.enter()
    try:
        push(body, downstream, portal)
    finally:
        close()
