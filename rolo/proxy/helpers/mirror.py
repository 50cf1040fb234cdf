"""A copy of the traffic for a second upstream, whose answers no client sees."""

from __future__ import annotations

import dataclasses
import logging
import threading
import typing as t

from rolo.bridge.lazy_response import UpstreamAnswer
from rolo.errors import RoloError
from rolo.portal.portal import current_portal
from rolo.proxy.client import ForwardingClient
from rolo.proxy.hooks.context import ProxyContext
from rolo.proxy.hooks.editable import OutboundHandshake, OutboundRequest, ProxiedResponse
from rolo.proxy.hooks.hooks import Hooks
from rolo.upstream.request import UpstreamRequest
from rolo.upstream.settings import Timeouts
from rolo.wire.fields import RawHeaders
from rolo.wire.target import parse_upstream

LOG = logging.getLogger(__name__)


@dataclasses.dataclass
class Copy:
    """An answer, whole, its body coded as it came."""

    status: int
    headers: RawHeaders
    body: bytes


Compare = t.Callable[[ProxyContext, Copy, Copy], t.Any]
"""Given the answer that the client got and that of the second upstream."""


class Mirror(Hooks):
    """Sends each request to a second upstream too, once the first has answered it.

    The client waits for nothing of it; websockets are not mirrored. What cannot be copied within the bounds is not
    mirrored; errors of the second upstream are logged and have no other effect.

    :param url: of the second upstream
    :param compare: told of both answers, on a thread or in a greenlet; ``None`` drops them
    :param max_body: bytes of a body, each way, that is copied
    :param max_pending: copies on their way at once; one more is not sent
    """

    def __init__(
        self,
        url: str,
        compare: Compare | None = None,
        *,
        max_body: int = 1024 * 1024,
        max_pending: int = 100,
        timeouts: Timeouts | None = None,
    ) -> None:
        self.upstream = parse_upstream(url)
        self.compare = compare
        self.max_body = max_body
        self.max_pending = max_pending
        self._client = ForwardingClient(timeouts=timeouts or Timeouts(total=60.0))
        self._key = f"_mirror_{id(self)}"
        self._lock = threading.Lock()
        self._pending = 0

    def close(self) -> None:
        """Close the connections to the second upstream, when all copies are sent."""
        self._client.close()

    def on_outgoing(self, context: ProxyContext, outbound: OutboundRequest) -> None:
        outgoing = outbound.outgoing
        base = context.upstream.base_path
        exchange = _Exchange(
            UpstreamRequest(
                self.upstream.origin,
                outgoing.method,
                self.upstream.base_path + outgoing.target.removeprefix(base),
                list(outgoing.headers),
            ),
            _Bounded(self.max_body) if outgoing.body is not None else None,
            _Bounded(self.max_body),
        )
        if exchange.sent is not None:
            outbound.tap(exchange.sent.add)
        vars(context)[self._key] = exchange

    def on_handshake(self, context: ProxyContext, handshake: OutboundHandshake) -> None:
        """Nothing: in the place of :meth:`on_outgoing`."""

    def on_response(self, context: ProxyContext, response: ProxiedResponse) -> None:
        exchange: _Exchange | None = vars(context).get(self._key)
        if self.compare is not None and exchange is not None:
            exchange.answer = Copy(response.status, list(response.headers.pairs), b"")
            response.tap(exchange.received.add)

    def on_finished(self, context: ProxyContext) -> None:
        exchange = vars(context).pop(self._key, None)
        if exchange is None or context.outcome != "complete" or exchange.is_too_large:
            return
        with self._lock:
            if self._pending >= self.max_pending:
                LOG.warning("not mirrored: %d copies are on their way", self._pending)
                return
            self._pending += 1
        context.start_aside(lambda: self._send(context, exchange))

    def _send(self, context: ProxyContext, exchange: _Exchange) -> None:
        try:
            request = exchange.request
            if exchange.sent is not None:
                request.body = exchange.sent.data()
            answer = self._client.send(request, current_portal())
            copy = self._read(answer)
        except RoloError as error:
            LOG.warning("not mirrored: %s", error)
            return
        finally:
            with self._lock:
                self._pending -= 1
        if self.compare is not None and exchange.answer is not None and copy is not None:
            exchange.answer.body = exchange.received.data()
            self.compare(context, exchange.answer, copy)

    def _read(self, answer: UpstreamAnswer) -> Copy | None:
        body = _Bounded(self.max_body)
        try:
            for piece in answer.body:
                body.add(piece)
                if body.is_full:
                    return None
        finally:
            answer.body.close()
        return Copy(answer.status, answer.headers, body.data())


class _Bounded:
    """Bytes up to a bound."""

    def __init__(self, limit: int) -> None:
        self._pieces: list[bytes] = []
        self._left = limit
        self.is_full = False

    def add(self, piece: bytes) -> None:
        self._left -= len(piece)
        if self._left < 0:
            self.is_full = True
            self._pieces.clear()
        else:
            self._pieces.append(piece)

    def data(self) -> bytes:
        return b"".join(self._pieces)


class _Exchange:
    """What is kept of one exchange until it is over."""

    def __init__(self, request: UpstreamRequest, sent: _Bounded | None, received: _Bounded) -> None:
        self.request = request
        self.sent = sent
        self.received = received
        self.answer: Copy | None = None

    @property
    def is_too_large(self) -> bool:
        return self.received.is_full or (self.sent is not None and self.sent.is_full)
