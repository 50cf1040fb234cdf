"""The blocking HTTP/1.1 client of the proxy, for where there is no event loop (WSGI,
scripts, tests), on urllib3.

urllib3 brings the pool, dialling and TLS. What goes over the connection is ours
(``rolo.upstream.blocking_exchange``), since ``http.client`` takes 103 for the final answer, refuses
more than 100 fields and drops whatever follows a malformed one. Compared with the loop transport: the reply is not read while a body
is being sent (but for its head and ``max_buffer`` bytes of a 2xx), the connect timeout
counts per address, and idle connections over their time are closed when the pool next
meets them.
"""

from __future__ import annotations

import functools
import logging
import socket
import ssl
import threading
import time
import typing as t

import urllib3
from urllib3 import connection, connectionpool
from urllib3 import exceptions as lib_errors

from rolo.errors import (
    ConnectError,
    ConnectTimeout,
    NameResolutionError,
    SendError,
    TlsError,
    UpstreamClosed,
    UpstreamError,
)
from rolo.upstream.blocking_exchange import BodySourceError, Conversation, OnSyncInterim
from rolo.upstream.request import UpstreamRequest
from rolo.upstream.settings import PoolLimits, Timeouts, Tls
from rolo.wire.fields import RawHeaders
from rolo.wire.http1 import ParsedResponse
from rolo.wire.target import Origin

LOG = logging.getLogger(__name__)

_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
"""RFC 9110 section 9.2.2."""


class SyncUpstreamBody:
    """The body of an answer, pulled from the origin.

    Iterating yields each piece as soon as it has arrived. The connection goes back to the
    pool when the body has been read to its end, else when :meth:`close` closes it; whoever
    got the response closes it. Not for use by several threads at once.
    """

    length: int | None
    """Bytes that the head declares; ``None`` if it does not say."""
    bytes_read: int
    """Bytes handed out so far, without framing."""

    def __init__(self, reply: _Reply, target: str) -> None:
        self.length = reply.head.length
        self.bytes_read = 0
        self._reply = reply
        self._target = target
        self._decoder = reply.conversation.start_body()
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
        self._reply.finish(self._reply.conversation.may_be_reused(self._decoder))

    def __enter__(self) -> SyncUpstreamBody:
        return self

    def __exit__(self, *_: object) -> None:
        self._pieces.clear()
        self.close()

    def __del__(self) -> None:
        # A forgotten body must not keep its place in a bounded pool.
        if not getattr(self, "_closed", True):
            self.close()

    def _pull(self) -> None:
        try:
            data = self._reply.conversation.read_body()
            if data:
                self._pieces = [piece for piece in self._decoder.feed(data) if piece]
            else:
                self._decoder.eof()
        except UpstreamError as error:
            error.target = error.target or self._target
            self.close()
            raise
        if self._decoder.done or not data:
            self.close()


class SyncUpstreamResponse(t.NamedTuple):
    """An answer whose head has arrived. Close ``body``."""

    status: int
    reason: bytes
    version: str
    """``"1.1"`` or ``"1.0"``."""
    headers: RawHeaders
    """As received: order, case and repeats kept, hop-by-hop fields included."""
    body: SyncUpstreamBody
    reused: bool
    """The connection had carried an exchange before."""
    retried: str | None = None
    """Why a first attempt on a stale pooled connection was repeated, if it was."""


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
    ) -> None:
        self.timeouts = timeouts or Timeouts()
        self.limits = limits or PoolLimits()
        self.tls = tls or Tls()
        self._pools: dict[Origin, connectionpool.HTTPConnectionPool] = {}
        self._lock = threading.Lock()

    def send(
        self, request: UpstreamRequest, on_interim: OnSyncInterim | None = None
    ) -> SyncUpstreamResponse:
        """Send ``request`` and wait for the head of its answer.

        ``request.body`` may be ``None``, bytes, an object with ``read1(n)`` or ``read(n)``,
        or an iterable of bytes. What its source raises is raised here, and the connection
        closed. A reused connection that proves dead before one byte of answer is replaced
        by a fresh one, once, if the method is idempotent or nothing was sent, and if
        nothing was pulled from the body.

        :param on_interim: told of each 1xx answer but 101
        :raises UpstreamError: see ``rolo.errors``
        """
        exchange = _Exchange(request, on_interim, self.timeouts, self.limits)
        try:
            return self._attempt(exchange)
        except (UpstreamClosed, SendError) as error:
            if not exchange.may_be_retried():
                raise
            reason = f"stale connection: {error.message}"
            LOG.debug("retrying %s %s: %s", request.method, request.origin, reason)
        exchange.fresh = True
        return self._attempt(exchange)._replace(retried=reason)

    def close(self) -> None:
        """Close the idle connections; those in use are closed when their bodies are.
        Sending again afterwards opens new ones."""
        with self._lock:
            pools, self._pools = self._pools, {}
        for pool in pools.values():
            pool.close()

    def __enter__(self) -> SyncTransport:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _attempt(self, exchange: _Exchange) -> SyncUpstreamResponse:
        origin: Origin = exchange.request.origin
        target = str(origin)
        try:
            reply = self._pool(origin).urlopen(**_proxy_call(exchange, self.timeouts))
        except BodySourceError as error:
            raise error.__cause__ or error from None
        except UpstreamError as error:
            error.target = error.target or target
            raise
        except (lib_errors.HTTPError, OSError) as error:
            raise _translate(error, target) from error
        reply = t.cast(_Reply, reply)
        head = reply.head
        body = SyncUpstreamBody(reply, target)
        return SyncUpstreamResponse(
            head.status, head.reason, head.version, head.headers, body, exchange.reused
        )

    def _pool(self, origin: Origin) -> connectionpool.HTTPConnectionPool:
        with self._lock:
            pool = self._pools.get(origin)
            if pool is None:
                pool = self._pools[origin] = self._new_pool(origin)
        return pool

    def _new_pool(self, origin: Origin) -> connectionpool.HTTPConnectionPool:
        limits = self.limits
        options: dict[str, t.Any] = {
            "host": origin.host or "localhost",
            "port": origin.port,
            "maxsize": max(1, limits.max_connections or limits.max_idle),
            "block": limits.max_connections is not None,
            "retries": False,
            "uds": origin.uds,
            "max_idle_time": limits.idle_timeout,
            "keep": limits.max_idle > 0,
        }
        if not origin.tls:
            return _Pool(**options)
        return _TlsPool(
            **options,
            ssl_context=_ssl_context(self.tls),
            server_hostname=self.tls.server_hostname,
        )


def _proxy_call(exchange: _Exchange, timeouts: Timeouts) -> dict[str, t.Any]:
    """Everything that keeps urllib3 from deciding anything by itself.

    The target and the fields travel in ``exchange``, past urllib3's own idea of them: it
    would normalise the one and add Accept-Encoding, User-Agent and Host to the others.
    """
    return {
        "method": exchange.request.method,
        "url": "/",
        "body": exchange,
        "headers": {},
        "redirect": False,
        "retries": False,
        "assert_same_host": False,
        "preload_content": False,
        "decode_content": False,
        "release_conn": False,
        "timeout": urllib3.Timeout(connect=timeouts.connect, read=timeouts.response),
        "pool_timeout": timeouts.connect,
    }


def _translate(error: Exception, target: str) -> UpstreamError:
    """Say in our words what went wrong before there was a connection to talk over."""
    kinds: list[tuple[type[Exception], type[UpstreamError], str]] = [
        (lib_errors.EmptyPoolError, ConnectTimeout, "all connections stayed in use"),
        (lib_errors.NameResolutionError, NameResolutionError, "the host name has no address"),
        # Refused is a kind of timeout to urllib3.
        (lib_errors.NewConnectionError, ConnectError, "could not connect"),
        (lib_errors.ConnectTimeoutError, ConnectTimeout, "no connection in time"),
        (lib_errors.ReadTimeoutError, ConnectTimeout, "no TLS handshake in time"),
        (lib_errors.SSLError, TlsError, "TLS failed"),
        (ssl.SSLError, TlsError, "TLS failed"),
    ]
    for lib_kind, kind, what in kinds:
        if isinstance(error, lib_kind):
            return kind(f"{what}: {error}", target=target)
    return ConnectError(f"could not connect: {error}", target=target)


@functools.lru_cache(maxsize=16)
def _ssl_context(tls: Tls) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls.ca_file)
    context.set_alpn_protocols(["http/1.1"])
    if tls.client_cert is not None:
        context.load_cert_chain(tls.client_cert, tls.client_key)
    if tls.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class _Exchange:
    """What one call carries through urllib3, in place of a body."""

    def __init__(
        self,
        request: UpstreamRequest,
        on_interim: OnSyncInterim | None,
        timeouts: Timeouts,
        limits: PoolLimits,
    ) -> None:
        self.request = request
        self.fresh = False
        """Whether a pooled connection will not do."""
        self.reused = False
        self.conversation: Conversation | None = None
        total = timeouts.total
        self._deadline = None if total is None else time.monotonic() + total
        self._options: dict[str, t.Any] = {
            "timeouts": timeouts,
            "limits": limits,
            "deadline": self._deadline,
            "on_interim": on_interim,
        }

    def start(self, sock: socket.socket, *, reused: bool) -> Conversation:
        self.reused = reused
        self.conversation = Conversation(sock, self.request, **self._options)
        return self.conversation

    def may_be_retried(self) -> bool:
        """The retry rule: see :meth:`SyncTransport.send`."""
        talk = self.conversation
        if talk is None or not self.reused or self.fresh or talk.received or talk.pulled:
            return False
        return self.request.method in _IDEMPOTENT or not talk.sent


class _Reply(urllib3.HTTPResponse):
    """urllib3's handle on a checked-out connection, with our head in it."""

    def __init__(self, link: _Link, conversation: Conversation, head: ParsedResponse) -> None:
        super().__init__(b"", status=head.status, preload_content=False, decode_content=False)
        self.conversation = conversation
        self.head = head
        self._link = link

    def finish(self, reusable: bool) -> None:
        """Give the connection back, closed unless it is ``reusable``."""
        if not (reusable and self._link.keep):
            self._link.close()
        self._link.idle_since = time.monotonic()
        self.release_conn()


class _Link(connection.HTTPConnection):
    """A pooled connection that speaks through a :class:`Conversation`.

    :param uds: path of a UNIX socket to dial instead of host and port
    :param max_idle_time: seconds after which an idle connection is not used again
    :param keep: whether idle connections are kept at all
    """

    def __init__(
        self,
        *args: t.Any,
        uds: str | None = None,
        max_idle_time: float | None = None,
        keep: bool = True,
        **options: t.Any,
    ) -> None:
        super().__init__(*args, **options)
        self.uds = uds
        self.max_idle_time = max_idle_time
        self.keep = keep
        self.idle_since = 0.0
        self._exchanges = 0
        self._exchange: _Exchange | None = None

    def _new_conn(self) -> socket.socket:
        # urllib3 has no public place to put another kind of socket; this one is stable
        # since 1.8 and the tests dial through it.
        self._exchanges = 0
        if self.uds is None:
            return super()._new_conn()
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(self.timeout)
            sock.connect(self.uds)
        except BaseException:
            sock.close()
            raise
        return sock

    @property
    def is_connected(self) -> bool:
        if (
            self.max_idle_time is not None
            and time.monotonic() - self.idle_since > self.max_idle_time
        ):
            return False
        return super().is_connected

    def request(self, method: str, url: str, body: t.Any = None, *_: t.Any, **__: t.Any) -> None:
        exchange: _Exchange = body
        self._exchange = exchange
        if exchange.fresh and self._exchanges:
            self.close()
        if self.sock is None:
            self.connect()
        assert self.sock is not None
        talk = exchange.start(self.sock, reused=self._exchanges > 0)
        self._exchanges += 1
        talk.send_request()

    def getresponse(self) -> _Reply:  # type: ignore[override]
        exchange, self._exchange = self._exchange, None
        assert exchange is not None
        talk = exchange.conversation
        assert talk is not None
        return _Reply(self, talk, talk.read_head())


class _TlsLink(_Link, connection.HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        assert isinstance(self.sock, ssl.SSLSocket)
        # An end without close_notify is no end (RFC 9112 section 9.8).
        self.sock.suppress_ragged_eofs = False  # type: ignore[attr-defined]
        # Without this urllib3 warns on each exchange that nobody verifies; whoever said
        # ``insecure`` knows.
        self.is_verified = True


class _Pool(connectionpool.HTTPConnectionPool):
    ConnectionCls = _Link


class _TlsPool(connectionpool.HTTPSConnectionPool):
    ConnectionCls = _TlsLink
