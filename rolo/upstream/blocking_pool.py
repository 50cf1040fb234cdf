"""Which connection a blocking exchange gets: an idle one, a new one, or its turn to wait."""

from __future__ import annotations

import os
import socket
import threading
import time
import typing as t
import weakref

from rolo.errors import ConnectTimeout
from rolo.upstream.settings import PoolLimits


class Link:
    """One connection, in the hands of an exchange or idle."""

    __slots__ = ("exchanges", "idle_since", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.exchanges = 0
        """How many exchanges have begun here."""
        self.idle_since = 0.0

    def quiet(self) -> bool:
        """Whether nothing has come since the last answer. What has, its end apart, nobody
        asked for: it would be taken for the next answer, and that for the one after it."""
        pending = getattr(self.sock, "pending", None)
        if pending is not None and pending():
            return False
        try:
            self.sock.settimeout(0)
            # Below TLS: whatever its records say.
            socket.socket.recv(self.sock, 1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False


class BlockingPool:
    """The connections to one origin. Safe for use by several threads.

    :param dial: opens a connection within so many seconds; raises one of the connect errors
    :param target: the origin's name, for messages
    """

    def __init__(
        self, dial: t.Callable[[float | None], socket.socket], limits: PoolLimits, target: str
    ) -> None:
        self._dial = dial
        self._limits = limits
        self._target = target
        # The one used last is taken first, so that those not needed grow old.
        self._idle: list[Link] = []
        self._links: set[Link] = set()
        self._dialling = 0
        self._closed = False
        # On a reentrant lock: a forgotten body gives its link back from the garbage
        # collection, which comes at any time.
        self._changed = threading.Condition()
        weakref.finalize(self, _close_links, self._links)
        _pools.add(self)

    def take(self, timeout: float | None, *, fresh: bool = False) -> Link:
        """Return a link, idle or new, waiting for a free place.

        :param timeout: seconds to wait for a place, and for ``dial``; ``None`` is no limit
        :param fresh: never one that has been used before
        :raises ConnectTimeout: all connections stayed in use
        :raises ConnectError: and its kin, as ``dial`` does
        """
        with self._changed:
            link = self._changed.wait_for(lambda: self._find(fresh), timeout)
            if link is None:
                raise ConnectTimeout("all connections stayed in use", target=self._target)
            if isinstance(link, Link):
                return link
            self._dialling += 1
        try:
            link = Link(self._dial(timeout))
        except BaseException:
            with self._changed:
                self._dialling -= 1
                self._changed.notify()
            raise
        with self._changed:
            self._dialling -= 1
            self._links.add(link)
        return link

    def give(self, link: Link, reusable: bool) -> None:
        """Take ``link`` back; close it unless it is ``reusable`` and may be kept."""
        with self._changed:
            if reusable and not self._closed:
                link.idle_since = time.monotonic()
                self._idle.append(link)
                if len(self._idle) > self._limits.max_idle:
                    self._drop(self._idle.pop(0))
            else:
                self._drop(link)
            self._changed.notify()

    def let_go(self, link: Link) -> None:
        """``link`` serves another protocol from here on, and is no more of this pool's."""
        with self._changed:
            self._links.discard(link)
            self._changed.notify()

    @property
    def unused(self) -> bool:
        """No link is open, or about to be."""
        return not self._links and not self._dialling

    def close(self) -> None:
        """Close the idle links, and each busy one when it is given back."""
        with self._changed:
            self._closed = True
            while self._idle:
                self._drop(self._idle.pop())

    def forked(self) -> None:
        """This process is a copy: what is open belongs to the other one as well. Called
        before any other thread runs."""
        self._changed = threading.Condition()
        # Only our descriptors of them; nothing is said to the origin.
        _close_links(self._links)
        self._idle.clear()
        self._dialling = 0

    def _find(self, fresh: bool) -> Link | t.Literal["new"] | None:
        idle, patience = self._idle, self._limits.idle_timeout
        now = time.monotonic()
        while idle and patience is not None and now - idle[0].idle_since > patience:
            self._drop(idle.pop(0))
        while idle and not fresh:
            link = idle.pop()
            if link.quiet():
                return link
            self._drop(link)
        if not self._has_room() and idle:
            self._drop(idle.pop(0))
        return "new" if self._has_room() else None

    def _has_room(self) -> bool:
        limit = self._limits.max_connections
        return limit is None or len(self._links) + self._dialling < limit

    def _drop(self, link: Link) -> None:
        self._links.discard(link)
        link.sock.close()


def _close_links(links: set[Link]) -> None:
    while links:
        links.pop().sock.close()


_pools: weakref.WeakSet[BlockingPool] = weakref.WeakSet()


def _forked() -> None:
    for pool in list(_pools):
        pool.forked()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forked)
