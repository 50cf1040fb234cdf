"""The upstream HTTP/1.1 client of a proxy, on the event loop.

Forwards what it is given: no redirects, no cookies, no decoding, no fields of its own but
those that frame the body.
"""

from __future__ import annotations

import asyncio
import typing as t
from threading import get_ident

from rolo.bridge.lazy_response import UpstreamAnswer
from rolo.errors import ConnectTimeout, ExchangeTimeout, SendError, UpstreamClosed
from rolo.net.read_buffer import read_buffer
from rolo.upstream.connection import READ_SIZE, Connection
from rolo.upstream.dial import Dialer
from rolo.upstream.exchange import Exchange, ExchangeSettings
from rolo.upstream.observed import Trace
from rolo.upstream.pool import OriginStats, Pool
from rolo.upstream.request import OnInterim, UpstreamRequest
from rolo.upstream.response_body import UpstreamBody
from rolo.upstream.settings import PoolLimits, Timeouts, Tls
from rolo.upstream.websocket_connection import OpenWebSockets
from rolo.wire.http1 import HeadLimits

if t.TYPE_CHECKING:
    from rolo.wire.target import Origin

__all__ = ["LoopTransport", "OriginStats", "UpstreamBody"]

_ON_TOP = 64 * 1024
_RETRY_REASON = "a reused connection ended before the answer began"


class LoopTransport:
    """Sends requests to origins over pooled connections.

    Lives on the event loop that first calls :meth:`send`, and only there.

    :param limits: bounds per origin and per exchange. Of each response body at most
        ``max_buffer`` bytes and one read of 112 KiB are held. Websockets that are open are not
        counted, only their handshakes.
    :param dialer: opens the connections; the caller's to close, with the trust and names of
        its own instead of ``tls``
    :param websockets: where those opened here are held; the caller's to close
    """

    def __init__(
        self,
        *,
        timeouts: Timeouts | None = None,
        limits: PoolLimits | None = None,
        tls: Tls | None = None,
        lenient_framing: bool = False,
        dialer: Dialer | None = None,
        websockets: OpenWebSockets | None = None,
    ) -> None:
        timeouts, limits = timeouts or Timeouts(), limits or PoolLimits()
        bound = limits.max_buffer + _ON_TOP
        # Few large reads cost less than many; small events need not pause the reading.
        read_size = min(READ_SIZE, bound - bound // 8)
        self._settings = ExchangeSettings(
            timeouts,
            limits,
            HeadLimits(max_head=limits.max_head, max_fields=limits.max_fields),
            lenient_framing,
            bound - read_size,
        )
        self._total = timeouts.total
        self._dialer = dialer or Dialer(tls)
        self._owns_dialer = dialer is None
        self._websockets = websockets
        self._owns_websockets = websockets is None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._pool: Pool | None = None
        self._read_buffer = read_buffer(read_size)
        bounds = (timeouts.response, timeouts.idle, timeouts.total)
        self._patrol = min((bound for bound in bounds if bound is not None), default=None)
        self._closed = False

    def __repr__(self) -> str:
        if self._closed:
            return "<LoopTransport closed>"
        stats = self.stats().values()
        return (
            f"<LoopTransport origins={len(stats)} open={sum(s.open for s in stats)}"
            f" idle={sum(s.idle for s in stats)} waiting={sum(s.waiting for s in stats)}>"
        )

    async def send(
        self,
        request: UpstreamRequest,
        on_interim: OnInterim | None = None,
        trace: Trace | None = None,
    ) -> UpstreamAnswer:
        """Send ``request`` and return the answer as soon as its head is there.

        A request body that is pulled goes on being sent while the answer is read. To
        cancel this call closes the connection. The body of the 101 that ``request.upgrade``
        asks for is a :class:`~rolo.upstream.switched.SwitchedConnection`.

        :param on_interim: awaited for every 1xx answer before the next is looked at, and
            before the final one is returned; no longer than the exchange may take
        :param trace: is told which connection it goes on, each time that it is sent
        :raises BadRequest: the request cannot be written as one well-formed head, or its
            body does not have the length declared
        :raises UnsendableRequest: it holds fields that only we write
        :raises ConnectError: and its kin: no connection
        :raises SendError: the connection broke before the request was sent or answered
        :raises UpstreamClosed: the connection ended before a complete head
        :raises BadResponse: malformed or ambiguous head
        :raises ResponseHeadTimeout: no answer in time
        :raises IdleTimeout: the origin took nothing of the request's body for too long
        :raises RequestTimeout: nothing of the request's body came for too long
        :raises ExchangeTimeout: the whole exchange took too long
        :raises RuntimeError: closed, or on another event loop
        :raises Exception: whatever the request's body raised when pulled
        """
        pool, loop = self._pool, self._loop
        # Like get_running_loop() is self._loop, without its system call (before Python 3.12).
        if pool is None or loop is None or self._thread != get_ident() or not loop.is_running():
            pool, loop = self._bind()
        head = request.encoded_head()
        end = None if self._total is None else loop.time() + self._total
        connection = pool.take(request.origin)
        if connection is not None and not request.idempotent:
            connection = await _alive(pool, connection, request.origin)
        retried: str | None = None
        while True:
            if connection is None:
                connection = await self._acquire(
                    pool, request.origin, end, fresh=retried is not None
                )
            if trace is not None:
                trace.goes_on(connection)
            exchange = Exchange(loop, connection, request, self._settings, end)
            try:
                answer = await exchange.answer(head, on_interim)
            except (UpstreamClosed, SendError) as error:
                # The origin may have closed a connection that was idle before our request
                # got there. Any other failure is not ours to repeat.
                if retried is not None or connection.exchanges == 1 or not error.retry_safe:
                    raise
                retried, connection = _RETRY_REASON, None
                continue
            return UpstreamAnswer(
                answer.status,
                answer.reason,
                answer.headers,
                exchange.body or exchange.switched,
                answer.version,
                connection.exchanges > 1,
                retried,
                as_received=True,
            )

    @property
    def websockets(self) -> OpenWebSockets:
        """Those opened over this transport."""
        if self._websockets is None:
            self._websockets = OpenWebSockets()
        return self._websockets

    async def close(self) -> None:
        """Close idle connections at once, abort the busy ones, and close websockets with 1001.
        May be called again."""
        self._closed = True
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()
        if self._websockets is not None and self._owns_websockets:
            await self._websockets.close()
        if self._owns_dialer:
            self._dialer.close()

    def stats(self) -> dict[Origin, OriginStats]:
        """Return connections by origin; origins with none are not listed."""
        return self._pool.stats() if self._pool is not None else {}

    def _bind(self) -> tuple[Pool, asyncio.AbstractEventLoop]:
        if self._closed:
            raise RuntimeError("the transport is closed")
        loop = asyncio.get_running_loop()
        if self._loop is not None and self._loop is not loop:
            raise RuntimeError("the transport belongs to another event loop")
        self._loop, self._thread = loop, get_ident()
        self._pool = Pool(self._dial, self._settings.limits)
        return self._pool, loop

    async def _acquire(
        self, pool: Pool, origin: Origin, end: float | None, *, fresh: bool
    ) -> Connection:
        """Wait for a connection as long as connecting, and the exchange, may take."""
        limit = self._settings.timeouts.connect
        now = asyncio.get_running_loop().time()
        deadline = None if limit is None else now + limit
        if end is not None and (deadline is None or end < deadline):
            deadline = end
        try:
            async with asyncio.timeout_at(deadline):
                return await pool.acquire(origin, fresh=fresh)
        except TimeoutError as exc:
            if deadline == end:
                message = f"not over within {self._total:g} s: still connecting"
                late = ExchangeTimeout(message, target=str(origin))
                late.retry_safe = True
                raise late from exc
            raise ConnectTimeout(f"no connection within {limit:g} s", target=str(origin)) from exc

    async def _dial(self, origin: Origin) -> Connection:
        loop = asyncio.get_running_loop()
        return await self._dialer.dial(
            origin, lambda: Connection(loop, self._read_buffer, self._patrol)
        )


async def _alive(pool: Pool, connection: Connection | None, origin: Origin) -> Connection | None:
    """Return an idle connection of which the kernel knows no end yet, else ``None``.

    For requests that may not be sent twice: two turns of the loop suffice to hear of an
    end that has already arrived.
    """
    while connection is not None:
        try:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        except BaseException:
            connection.abort()
            raise
        if not connection.closing:
            return connection
        connection = pool.take(origin)
    return None
