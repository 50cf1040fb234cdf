"""What all websockets of an event loop hold together, and who leaves when it is too much."""

from __future__ import annotations

import asyncio
import logging
import typing as t
import weakref

LOG = logging.getLogger(__name__)


class Holder(t.Protocol):
    """An end of a websocket."""

    held: int
    """Bytes that it has added to :attr:`Ledger.total`."""

    def evict(self) -> None:
        """Let go of everything held, and close. Ends with a ``held`` of 0."""


class Ledger:
    """Counts the bytes that wait in websockets, both ways: unfinished and unread messages,
    and what a side that does not keep up has not taken.

    The loop's thread only.
    """

    def __init__(self) -> None:
        self.total = 0
        """To be kept by the holders: a method for it would cost more than all the rest."""
        self.holders: weakref.WeakSet[Holder] = weakref.WeakSet()
        """All that have ever held something."""

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> Ledger:
        """Return the one of ``loop``."""
        ledger = _ledgers.get(loop)
        if ledger is None:
            ledger = _ledgers[loop] = cls()
        return ledger

    def evict(self, limit: int) -> None:
        """Evict those who hold most, until all together hold ``limit`` bytes at most: to hold
        little is to be safe from others."""
        holders = sorted(self.holders, key=_held, reverse=True)
        # Counted anew: what a collected end takes back, it may take back on another thread.
        self.total = sum(map(_held, holders))
        for holder in holders:
            if self.total <= limit:
                break
            LOG.warning(
                "websockets hold %d bytes, more than %d: closing the one that holds most, %d",
                self.total,
                limit,
                holder.held,
            )
            holder.evict()


def _held(holder: Holder) -> int:
    return holder.held


_ledgers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Ledger] = weakref.WeakKeyDictionary()
