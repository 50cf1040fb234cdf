"""The blocking HTTP/1.1 client of the proxy, for where there is no event loop (WSGI,
scripts, tests).

Compared with the loop transport: the reply is not read while a body is being sent (but for
its head and ``max_buffer`` bytes of a 2xx), the connect timeout counts per address, and idle
connections over their time are closed when the pool next meets them.
"""

from __future__ import annotations

import functools
import logging
import socket
import time
import typing as t

from rolo.bridge.lazy_response import UpstreamAnswer
from rolo.errors import ConnectTimeout, ExchangeTimeout, SendError, UpstreamClosed, UpstreamError
from rolo.net.body import Body
from rolo.upstream.blocking_dial import BlockingDialer
from rolo.upstream.blocking_exchange import BodySourceError, Conversation, OnSyncInterim
from rolo.upstream.blocking_pool import BlockingPool, Link
from rolo.upstream.request import UpstreamRequest
from rolo.upstream.settings import PoolLimits, Timeouts, Tls
from rolo.wire.fields import RawHeaders
from rolo.wire.target import Origin

LOG = logging.getLogger(__name__)

_MANY_POOLS = 256


class SyncUpstreamBody(Body):
    """The body of an answer, pulled from the origin.

    Iterating yields each piece as soon as it has arrived. The connection goes back to the
    pool when the body has been read to its end, else when :meth:`close` closes it; whoever
    got the response closes it. Not for use by several threads at once.
    """

    length: int | None
    """Bytes that the head declares; ``None`` if it does not say."""
    bytes_read: int
    """Bytes handed out so far, without framing."""

    def __init__(self, conversation: Conversation, finish: t.Callable[[bool], None]) -> None:
        """
        :param finish: called once, with whether another exchange may follow
        """
        self._conversation = conversation
        self._decoder = conversation.start_body()
        self.length = conversation.length
        self.bytes_read = 0
        self._finish = finish
        self._pieces: list[bytes] = []
        self._closed = False
        if self._decoder.done:
            self.close()

    @property
    def trailers(self) -> RawHeaders:
        """Trailer fields as received; empty before the end of the body."""
        return list(self._decoder.trailers)

    def read1(self, size: int = -1) -> bytes:
        """Return the next piece, at most ``size`` bytes of it if that is not negative;
        ``b""`` at the end, after :meth:`close`, and for a ``size`` of 0.

        :raises BodyInterrupted, IdleTimeout, ExchangeTimeout, BadResponse:
        """
        if size == 0:
            return b""
        while not self._pieces:
            if self._closed:
                return b""
            self._pull()
        piece = self._pieces.pop(0)
        if 0 < size < len(piece):
            self._pieces.insert(0, piece[size:])
            piece = piece[:size]
        self.bytes_read += len(piece)
        return piece

    def read(self, size: int = -1) -> bytes:
        """Return exactly ``size`` bytes, fewer only at the end; all that is left if negative.

        :raises: as :meth:`read1`
        """
        pieces = []
        left = size
        while size < 0 or left > 0:
            piece = self.read1(left if size >= 0 else -1)
            if not piece:
                break
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    def __iter__(self) -> SyncUpstreamBody:
        return self

    def __next__(self) -> bytes:
        piece = self.read1()
        if not piece:
            raise StopIteration
        return piece

    def close(self) -> None:
        """Give the connection back if the body was read to its end, else close it.
        What was not read is gone. May be called again."""
        if self._closed:
            return
        self._closed = True
        if not self._decoder.done:
            self._pieces.clear()
        self._finish(self._conversation.may_be_reused(self._decoder))

    def __enter__(self) -> SyncUpstreamBody:
        return self

    def __exit__(self, *_: object) -> None:
        self._pieces.clear()
        self.close()

    def __del__(self) -> None:
        # A forgotten body must not keep its place in a bounded pool, if it ever had one.
        if not getattr(self, "_closed", True):
            self.close()

    def _pull(self) -> None:
        try:
            data = self._conversation.read_body()
            if data:
                self._pieces = [piece for piece in self._decoder.feed(data) if piece]
            else:
                self._decoder.eof()
        except UpstreamError as error:
            self._conversation.complete(error)
            self.close()
            raise
        if self._decoder.done or not data:
            self.close()


class SwitchedSocket(Body):
    """What a 101 leaves in the place of a body: whoever has the answer takes it over, or closes
    it."""

    def __init__(self, sock: socket.socket, early: bytes) -> None:
        self._sock: socket.socket | None = sock
        self._early = early

    def take_over(self) -> tuple[socket.socket, bytes]:
        """Return the socket, the caller's to close, and what has come on it already."""
        sock, self._sock = self._sock, None
        assert sock is not None
        return sock, self._early

    def close(self) -> None:
        """Close the socket, unless it is taken over. May be called again."""
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()

    def __iter__(self) -> t.Iterator[bytes]:
        return iter(())


class SyncTransport:
    """Sends requests to any number of origins, one connection pool for each.

    Safe for use by several threads. Closing is up to whoever made it.

    :param timeouts: ``connect`` counts per address here
    :param limits: pool size and bounds of heads and buffers
    :param tls: how ``https`` origins are verified; bad files raise when first used
    """

    def __init__(
        self,
        *,
        timeouts: Timeouts | None = None,
        limits: PoolLimits | None = None,
        tls: Tls | None = None,
        lenient_framing: bool = False,
    ) -> None:
        self.timeouts = timeouts or Timeouts()
        self.limits = limits or PoolLimits()
        self.tls = tls or Tls()
        self.lenient_framing = lenient_framing
        self._dialer = BlockingDialer(self.tls)
        # Without a lock: each step on it is one of the dict's own, and a fork could leave a
        # lock locked for ever.
        self._pools: dict[Origin, BlockingPool] = {}

    def send(
        self, request: UpstreamRequest, on_interim: OnSyncInterim | None = None
    ) -> UpstreamAnswer:
        """Send ``request`` and wait for the head of its answer.

        ``request.body`` may be ``None``, bytes, or an iterable of bytes. What its source raises
        is raised here, and the connection closed. A reused connection that proves dead before one byte of answer is replaced
        by a fresh one, once, if the error says that a retry is safe.

        The body of the 101 that ``request.upgrade`` asks for is a :class:`SwitchedSocket`.

        :param on_interim: told of each 1xx answer but 101
        :raises UpstreamError: see ``rolo.errors``
        """
        origin: Origin = request.origin
        pool = self._pools.get(origin) or self._new_pool(origin)
        total = self.timeouts.total
        deadline = None if total is None else time.monotonic() + total
        retried: str | None = None
        while True:
            link = self._connect(pool, str(origin), deadline, fresh=retried is not None)
            reused = link.exchanges > 0
            link.exchanges += 1
            conversation = Conversation(
                link.sock,
                request,
                timeouts=self.timeouts,
                limits=self.limits,
                deadline=deadline,
                on_interim=on_interim,
                lenient_framing=self.lenient_framing,
            )
            try:
                head = conversation.answer()
            except BodySourceError as error:
                pool.give(link, reusable=False)
                raise error.__cause__ or error from None
            except BaseException as error:
                pool.give(link, reusable=False)
                if retried is not None or not reused or not _says_retry(error):
                    raise
                retried = f"stale connection: {error}"
                LOG.debug("retrying %s %s: %s", request.method, origin, retried)
                continue
            body: Body
            if head.status == 101:
                pool.let_go(link)
                body = SwitchedSocket(link.sock, conversation.early())
            else:
                body = SyncUpstreamBody(conversation, functools.partial(pool.give, link))
            return UpstreamAnswer(
                head.status, head.reason, head.headers, body, head.version, reused, retried
            )

    def close(self) -> None:
        """Close the idle connections; those in use are closed when their bodies are.
        Sending again afterwards opens new ones."""
        while self._pools:
            self._pools.popitem()[1].close()

    def __enter__(self) -> SyncTransport:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _new_pool(self, origin: Origin) -> BlockingPool:
        if len(self._pools) >= _MANY_POOLS:
            for known, pool in list(self._pools.items()):
                if pool.unused:
                    self._pools.pop(known, None)
        dial = self._dialer.dial
        new = BlockingPool(lambda timeout: dial(origin, timeout), self.limits, str(origin))
        return self._pools.setdefault(origin, new)

    def _connect(
        self, pool: BlockingPool, target: str, deadline: float | None, *, fresh: bool
    ) -> Link:
        timeout = self.timeouts.connect
        if deadline is not None:
            left = max(0.001, deadline - time.monotonic())
            timeout = left if timeout is None else min(timeout, left)
        try:
            return pool.take(timeout, fresh=fresh)
        except ConnectTimeout as error:
            if deadline is None or time.monotonic() < deadline:
                raise
            message = f"not over within {self.timeouts.total:g} s: still connecting"
            late = ExchangeTimeout(message, target=target)
            late.retry_safe = True
            raise late from error


def _says_retry(error: BaseException) -> bool:
    return isinstance(error, UpstreamClosed | SendError) and error.retry_safe
