"""Which connection an exchange gets: an idle one, a new one, or its turn to wait."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import typing as t

from rolo.errors import ConnectError
from rolo.upstream.connection import Connection
from rolo.upstream.settings import PoolLimits

if t.TYPE_CHECKING:
    from rolo.wire.target import Origin

Dial = t.Callable[["Origin"], t.Awaitable[Connection]]


@dataclasses.dataclass(frozen=True, slots=True)
class OriginStats:
    """How many connections to one origin there are, or are being dialled."""

    open: int
    idle: int
    waiting: int
    """Requests that wait for one of them."""


class Pool:
    """The connections of one loop, by origin.

    :param dial: opens a connection; raises one of the connect errors
    """

    def __init__(self, dial: Dial, limits: PoolLimits) -> None:
        self.dial = dial
        self.limits = limits
        self._loop = asyncio.get_running_loop()
        self._origins: dict[Origin, OriginPool] = {}
        self._recent: OriginPool | None = None
        self.sweeper: asyncio.TimerHandle | None = None
        """Armed while a connection is idle."""
        self.closed = False
        self._emptied: asyncio.Event | None = None

    def take(self, origin: Origin) -> Connection | None:
        """Return the idle connection that was used last, if there is any."""
        recent = self._recent
        if recent is None or recent.origin is not origin:
            # To look it up takes a hash of all that an origin is.
            recent = self._recent = self._origins.get(origin)
        return recent.take() if recent is not None else None

    async def acquire(self, origin: Origin, *, fresh: bool = False) -> Connection:
        """Return a connection, idle or new, waiting for a free place in order of arrival.

        There is no deadline, set one around it; to be cancelled while waiting is harmless.

        :param fresh: never one that has been used before
        :raises ConnectError: and its kin, as ``dial`` does
        :raises RuntimeError: the pool is closed
        """
        if self.closed:
            raise RuntimeError("the pool is closed")
        connections = self._origins.get(origin)
        if connections is None:
            connections = self._origins[origin] = OriginPool(self, origin)
        return await connections.acquire(fresh)

    def stats(self) -> dict[Origin, OriginStats]:
        return {origin: connections.stats() for origin, connections in self._origins.items()}

    async def close(self) -> None:
        """Close all connections, the busy ones too, and fail those who wait for one."""
        self.closed = True
        if self.sweeper is not None:
            self.sweeper.cancel()
            self.sweeper = None
        for connections in list(self._origins.values()):
            connections.close()
        if self._origins:
            self._emptied = asyncio.Event()
            try:
                # What was aborted is gone with the next turn of the loop.
                async with asyncio.timeout(1):
                    await self._emptied.wait()
            except TimeoutError:
                pass

    # --- for the connections of one origin

    def watch_idle(self) -> None:
        """There is an idle connection: see to it that it ends in time."""
        if self.sweeper is None and self.limits.idle_timeout is not None and not self.closed:
            self.sweeper = self._loop.call_later(self.limits.idle_timeout, self._sweep)

    def drop(self, origin: Origin) -> None:
        """Nothing is left of ``origin``."""
        self._origins.pop(origin, None)
        self._recent = None
        if self._emptied is not None and not self._origins:
            self._emptied.set()

    def _sweep(self) -> None:
        self.sweeper = None
        idle_timeout = self.limits.idle_timeout
        assert idle_timeout is not None
        # Timers fire up to a clock tick early.
        before = self._loop.time() - idle_timeout + 0.001
        oldest = [connections.sweep(before) for connections in list(self._origins.values())]
        next_at = min((since for since in oldest if since is not None), default=None)
        if next_at is not None:
            self.sweeper = self._loop.call_at(next_at + idle_timeout, self._sweep)


class OriginPool:
    """The connections to one origin. Owns them, busy or idle."""

    def __init__(self, pool: Pool, origin: Origin) -> None:
        self._pool = pool
        self.origin = origin
        self._connections: set[Connection] = set()
        self._dialling = 0
        # The one used last is taken first, so that those not needed grow old.
        self._idle: list[Connection] = []
        self._waiters: collections.deque[_Waiter] = collections.deque()

    def take(self) -> Connection | None:
        idle = self._idle
        while idle:
            connection = idle.pop()
            if connection.quiet():
                return connection
            connection.abort()
        return None

    async def acquire(self, fresh: bool) -> Connection:
        if not fresh and (connection := self.take()) is not None:
            return connection
        while not self._has_room():
            if fresh and self._idle:
                self._idle.pop(0).abort()
            connection = await self._wait(fresh)
            if connection is None:
                return await self._dial()
            if connection.quiet():
                return connection
            connection.abort()
        self._dialling += 1
        return await self._dial()

    def _has_room(self) -> bool:
        limit = self._pool.limits.max_connections
        return limit is None or len(self._connections) + self._dialling < limit

    async def _dial(self) -> Connection:
        """Open a connection in a place that was counted already."""
        try:
            connection = await self._pool.dial(self.origin)
        except BaseException:
            self._dialling -= 1
            self._place_freed()
            raise
        self._dialling -= 1
        self._connections.add(connection)
        connection.owner = self
        if self._pool.closed:
            connection.abort()
            raise ConnectError("closed while connecting", target=str(self.origin))
        return connection

    async def _wait(self, fresh: bool) -> Connection | None:
        """Wait for a connection, or for the place to open one (``None``)."""
        waiter = _Waiter(asyncio.get_running_loop().create_future(), fresh)
        self._waiters.append(waiter)
        try:
            return await waiter.given
        except asyncio.CancelledError:
            if waiter.given.done() and not waiter.given.cancelled():
                # It was given in the same turn; the next in line shall have it.
                connection = waiter.given.result()
                if connection is not None:
                    self.release(connection)
                else:
                    self._dialling -= 1
                    self._place_freed()
            else:
                self._waiters.remove(waiter)
                self._drop_if_unused()
            raise

    def release(self, connection: Connection) -> None:
        if self._pool.closed or connection.closing:
            connection.abort()
            return
        waiter = self._next_waiter() if self._waiters else None
        if waiter is not None:
            if waiter.fresh:
                # Its place will do. The waiter stays first in line for it.
                connection.abort()
            else:
                self._waiters.popleft()
                waiter.given.set_result(connection)
            return
        idle = self._idle
        idle.append(connection)
        if len(idle) > self._pool.limits.max_idle:
            idle.pop(0).abort()
        connection.idle_since = connection.moved
        if self._pool.sweeper is None:
            self._pool.watch_idle()

    def forget(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._place_freed()

    def sweep(self, before: float) -> float | None:
        """Close what is idle since ``before``; return since when the oldest left is."""
        idle = self._idle
        while idle and (idle[0].idle_since <= before or idle[0].closing):
            idle.pop(0).abort()
        return idle[0].idle_since if idle else None

    def stats(self) -> OriginStats:
        waiting = sum(not waiter.given.done() for waiter in self._waiters)
        return OriginStats(
            len(self._connections) + self._dialling,
            sum(not connection.closing for connection in self._idle),
            waiting,
        )

    def close(self) -> None:
        for waiter in self._waiters:
            if not waiter.given.done():
                waiter.given.set_exception(
                    ConnectError("closed while waiting for a connection", target=str(self.origin))
                )
        self._waiters.clear()
        self._idle.clear()
        for connection in list(self._connections):
            receiver = connection.receiver
            if receiver is not None:
                receiver.ended(ConnectionAbortedError("the transport was closed"))
            connection.abort()

    def _next_waiter(self) -> _Waiter | None:
        waiters = self._waiters
        while waiters:
            if not waiters[0].given.done():
                return waiters[0]
            waiters.popleft()
        return None

    def _place_freed(self) -> None:
        if self._has_room():
            waiter = self._next_waiter()
            if waiter is not None:
                self._waiters.popleft()
                self._dialling += 1
                waiter.given.set_result(None)
        self._drop_if_unused()

    def _drop_if_unused(self) -> None:
        if not self._connections and not self._dialling and not self._waiters:
            self._pool.drop(self.origin)


@dataclasses.dataclass(slots=True, eq=False)
class _Waiter:
    given: asyncio.Future[Connection | None]
    fresh: bool
