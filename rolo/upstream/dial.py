"""From an origin to a connected socket: names, addresses, TLS, and what goes wrong with them."""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import ipaddress
import socket
import ssl
import typing as t

from rolo.errors import ConnectError
from rolo.upstream.connection import Connection
from rolo.upstream.dial_errors import connect_error
from rolo.upstream.settings import Tls
from rolo.upstream.tls import server_name, tls_context

if t.TYPE_CHECKING:
    from rolo.wire.target import Origin

P = t.TypeVar("P", bound=Connection)
Address = tuple[socket.AddressFamily, t.Any]
"""Address family and what ``socket.connect`` takes."""

# RFC 8305 section 5: how long one address may keep the next from being tried as well.
_ATTEMPT_DELAY = 0.25
_CACHE_SECONDS = 10.0
_CACHE_SIZE = 1024
_UNIX_RETRY = 0.01
_TLS_BUFFER = 64 * 1024


class Dialer:
    """Opens connections on the loop that runs.

    Addresses are tried in the resolver's order, each a quarter of a second after the one
    before or as soon as that fails; the first to connect wins.

    :param resolver: looks names up; without one the dialer has one of its own
    """

    def __init__(self, tls: Tls | None = None, resolver: Resolver | None = None) -> None:
        self._tls = tls or Tls()
        self._context: ssl.SSLContext | None = None
        self._resolver = resolver or Resolver()

    async def dial(self, origin: Origin, factory: t.Callable[[], P]) -> P:
        """Return a connected protocol. There is no deadline: set one around it.

        :param factory: makes the protocol once the socket is connected
        :raises NameResolutionError: the name has no address
        :raises TlsError: no trust, or no handshake
        :raises ConnectTimeout: the system gave up
        :raises ConnectError: refused or unreachable
        """
        try:
            return await self._dial(origin, factory)
        except ConnectError as exc:
            exc.target = str(origin)
            raise
        except (OSError, UnicodeError) as exc:
            raise connect_error(exc, str(origin)) from exc

    def close(self) -> None:
        """End the resolver's threads; one that hangs in a lookup ends with it."""
        self._resolver.close()

    async def _dial(self, origin: Origin, factory: t.Callable[[], P]) -> P:
        context = self._tls_context() if origin.tls else None
        loop = asyncio.get_running_loop()
        began = loop.time()
        if origin.uds is not None:
            sock = await _connect_unix(origin.uds)
        else:
            sock = await _connect_any(await self._resolver.resolve(origin.host, origin.port))
        name = server_name(self._tls, origin) if context is not None else None
        connected = loop.time()
        try:
            if origin.uds is not None:
                transport, protocol = await loop.create_unix_connection(
                    factory, sock=sock, ssl=context, server_hostname=name
                )
            else:
                transport, protocol = await loop.create_connection(
                    factory, sock=sock, ssl=context, server_hostname=name
                )
        except BaseException as exc:
            sock.close()
            if context is not None and isinstance(exc, OSError):
                raise connect_error(exc, str(origin), connected=True) from exc
            raise
        protocol.connect_seconds = connected - began
        if context is not None:
            protocol.tls_seconds = loop.time() - connected
            _hold_less(transport)
        return protocol

    def _tls_context(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = tls_context(self._tls)
        return self._context


class Resolver:
    """Looks names up in threads of its own, never in asyncio's, and remembers them shortly."""

    def __init__(self) -> None:
        self._executor: concurrent.futures.ThreadPoolExecutor | None = None
        self._known: collections.OrderedDict[tuple[str, int], tuple[float, list[Address]]]
        self._known = collections.OrderedDict()
        self._pending: dict[tuple[str, int], asyncio.Future[list[Address]]] = {}

    async def resolve(self, host: str, port: int) -> list[Address]:
        """Return the addresses of ``host``, at least one.

        :raises OSError: the system's reason why there is none
        :raises UnicodeError: not a name at all
        """
        if (literal := _literal(host, port)) is not None:
            return [literal]
        key = (host, port)
        loop = asyncio.get_running_loop()
        expires, addresses = self._known.get(key, (0.0, []))
        if loop.time() < expires:
            return addresses
        lookup = self._pending.get(key)
        if lookup is None:
            lookup = self._pending[key] = loop.run_in_executor(self._pool(), _lookup, host, port)
            lookup.add_done_callback(lambda done: self._learn(key, done, loop.time()))
        # Shielded: others may wait for the same lookup.
        return await asyncio.shield(lookup)

    def close(self) -> None:
        executor, self._executor = self._executor, None
        if executor is not None:
            # Idle threads are joined at once; a lookup under way cannot be stopped.
            executor.shutdown(wait=not self._pending, cancel_futures=True)

    def _pool(self) -> concurrent.futures.ThreadPoolExecutor:
        if self._executor is None:
            self._executor = concurrent.futures.ThreadPoolExecutor(4, "rolo-resolver")
        return self._executor

    def _learn(
        self, key: tuple[str, int], lookup: asyncio.Future[list[Address]], now: float
    ) -> None:
        self._pending.pop(key, None)
        if lookup.cancelled() or lookup.exception() is not None:
            return
        self._known[key] = (now + _CACHE_SECONDS, lookup.result())
        self._known.move_to_end(key)
        if len(self._known) > _CACHE_SIZE:
            self._known.popitem(last=False)


def _literal(host: str, port: int) -> Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if address.version == 4:
        return socket.AF_INET, (host, port)
    # A scope (fe80::1%eth0) is for the system to translate into a number.
    return None if address.scope_id else (socket.AF_INET6, (host, port, 0, 0))


def _lookup(host: str, port: int) -> list[Address]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


async def _connect_any(addresses: list[Address]) -> socket.socket:
    if len(addresses) == 1:
        return await _connect_tcp(*addresses[0])
    left = collections.deque(addresses)
    attempts: list[asyncio.Task[socket.socket]] = []
    winner: socket.socket | None = None
    try:
        while winner is None:
            if left:
                attempts.append(asyncio.create_task(_connect_tcp(*left.popleft())))
            running = [attempt for attempt in attempts if not attempt.done()]
            if not running:
                break
            delay = _ATTEMPT_DELAY if left else None
            await asyncio.wait(running, timeout=delay, return_when=asyncio.FIRST_COMPLETED)
            winner = next((a.result() for a in attempts if a.done() and not a.exception()), None)
    finally:
        for attempt in attempts:
            attempt.cancel()
            attempt.add_done_callback(lambda done: _close_loser(done, winner))
    if winner is None:
        raise t.cast(OSError, attempts[-1].exception())
    return winner


def _close_loser(attempt: asyncio.Task[socket.socket], winner: socket.socket | None) -> None:
    if not attempt.cancelled() and attempt.exception() is None and attempt.result() is not winner:
        attempt.result().close()


async def _connect_tcp(family: socket.AddressFamily, address: t.Any) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The only way to learn that the origin of an idle stream has vanished.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


async def _connect_unix(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        while True:
            try:
                sock.connect(path)
            except BlockingIOError:
                # The listener's backlog is full. Unlike with TCP nothing is under way, and
                # nothing tells when there is room.
                await asyncio.sleep(_UNIX_RETRY)
            else:
                return sock
    except BaseException:
        sock.close()
        raise


def _hold_less(transport: asyncio.Transport) -> None:
    """Bound what is held for TLS as for plain connections; the default is 512 KiB each way."""
    transport.set_write_buffer_limits(high=_TLS_BUFFER)
    set_read_limits = getattr(transport, "set_read_buffer_limits", None)
    if set_read_limits is not None:
        set_read_limits(high=_TLS_BUFFER)
