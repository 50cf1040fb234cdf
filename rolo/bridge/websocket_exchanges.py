"""Websockets: each handshake is decided by sync handlers, which may also talk on it."""

from __future__ import annotations

import asyncio
import functools
import logging
import typing as t

from rolo.bridge.answer import close_contained, refusal_of
from rolo.bridge.downstream import WebSocketDownstream
from rolo.bridge.handlers import Handlers
from rolo.bridge.http_exchanges import HttpExchanges, line_of
from rolo.bridge.limits import Limits
from rolo.bridge.observed import ObservedWebSocket
from rolo.bridge.websocket import check_handshake, websocket_environ
from rolo.errors import (
    ClientDisconnected,
    Failure,
    RoloError,
    TooManyExchanges,
    UnsendableAnswer,
    describe,
)
from rolo.portal.portal import Portal
from rolo.portal.workers import WorkerPool
from rolo.response import Response
from rolo.websocket.errors import WebSocketDisconnectedError
from rolo.websocket.request import WebSocketRequest
from rolo.wire.error_page import CONTENT_TYPE, error_text

LOG = logging.getLogger(__name__)


class WebSocketExchanges:
    """Carries the websockets of a bridge to its handlers.

    :param workers: their threads in ``threads`` mode, one for each open websocket
    :param limits: what is refused without asking a handler
    :param answers: sends the answers that refuse handshakes, where they take time
    :param observed: every downstream is an :class:`~rolo.bridge.observed.ObservedWebSocket`
    """

    def __init__(
        self,
        handlers: Handlers,
        workers: WorkerPool,
        limits: Limits,
        answers: HttpExchanges,
        observed: bool = False,
    ) -> None:
        self._handlers = handlers
        self._answers = answers
        self._workers = workers
        self._limits = limits
        self._observed = observed
        self._on_threads = 0

    async def serve(self, downstream: WebSocketDownstream) -> None:
        """Serve one websocket from its handshake to its end."""
        portal = Portal(self._handlers.loop_scope())
        if self._observed:
            portal.observer = t.cast(ObservedWebSocket, downstream).progress
        adapter = downstream.make_adapter(downstream, portal)
        request = WebSocketRequest(websocket_environ(downstream.head, adapter, portal))
        try:
            self._limits.check_head(downstream.head)
            check_handshake(downstream.head)
        except RoloError as exc:
            LOG.warning("websocket %r refused: %s", downstream.head.target, describe(exc))
            self._note_refusal(downstream, exc)
            await downstream.reject(exc.status, b"", [], b"%d\n" % exc.status)
            return
        downstream.watch_gone(portal.interrupt)
        try:
            if self._handlers.mode == "loop":
                portal.task = asyncio.current_task()
                await portal.run_in_greenlet(self._accept, request, portal)
            else:
                await self._accept_on_thread(request, portal, downstream)
            if self._observed:
                t.cast(ObservedWebSocket, downstream).decided(request)
            refusal, adapter._refusal = adapter._refusal, None
            if refusal is not None:
                await self._refuse(refusal, portal, adapter._downstream)
                return
            successor, adapter._successor = adapter._successor, None
            if successor is not None:
                # It may run for days: let go of what only the handler needed.
                portal.task = None
                del request
                await successor.run(adapter._downstream)
            elif request.is_upgraded():
                # A handler that returned has no more use for its websocket.
                await adapter._downstream.close(1000, "")
        except (ClientDisconnected, WebSocketDisconnectedError):
            LOG.debug("websocket client left: %r", downstream.head.target)
        except asyncio.CancelledError as exc:
            if portal.translate_cancel(exc) is exc:
                raise
        finally:
            portal.task = None
            if adapter._successor is not None:
                adapter._successor.abandon()
            if adapter._refusal is not None:
                await self._answers.drop(adapter._refusal, portal, downstream, _line)

    async def _refuse(
        self, response: Response, portal: Portal, downstream: WebSocketDownstream
    ) -> None:
        """Refuse the handshake with an answer that is sent as it comes, like any other."""
        portal.owner = portal.task = asyncio.current_task()
        try:
            answer = refusal_of(response)
        except UnsendableAnswer as exc:
            LOG.error("answer to %s cannot be sent: %s", _line(downstream), describe(exc))
            await self._answers.drop(response, portal, downstream, _line)
            self._note_refusal(downstream, exc)
            await _reject_with_page(downstream, exc.status)
            return
        answer.close = functools.partial(close_contained, answer.close, downstream, _line)
        try:
            refusal = await downstream.refusal()
        except BaseException:
            await self._answers.drop(response, portal, downstream, _line)
            raise
        await self._answers.send_as_it_comes(answer, portal, refusal, downstream, _line)

    def _note_refusal(self, downstream: WebSocketDownstream, error: RoloError) -> None:
        if self._observed:
            t.cast(ObservedWebSocket, downstream).progress.failure = Failure.of(error)

    def _accept(self, request: WebSocketRequest, portal: Portal) -> None:
        portal.enter()
        self._handlers.gateway.accept(request)

    async def _accept_on_thread(
        self, request: WebSocketRequest, portal: Portal, downstream: WebSocketDownstream
    ) -> None:
        if self._on_threads >= self._workers.size:
            LOG.warning(
                "websocket refused: all %d threads for websockets are taken", self._on_threads
            )
            self._note_refusal(downstream, TooManyExchanges("too many websockets"))
            await _reject_with_page(downstream, 503)
            return
        self._on_threads += 1
        try:
            await self._handlers.run_on(self._workers, portal, self._accept, request, portal)
        finally:
            self._on_threads -= 1


def _line(downstream: WebSocketDownstream) -> str:
    return line_of("WEBSOCKET", downstream.head.target)


async def _reject_with_page(downstream: WebSocketDownstream, status: int) -> None:
    fields = [(b"content-type", CONTENT_TYPE.encode())]
    await downstream.reject(status, b"", fields, error_text(status).encode())
