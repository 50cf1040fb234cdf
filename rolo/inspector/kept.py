"""What is kept of an exchange: what has happened in it, and its record once somebody looks.

Most exchanges are never looked at, and the loop has no time: it notes parts of events, no more.
Records are made of them later, in the thread of who asks.
"""

from __future__ import annotations

import functools
import typing as t

from rolo.inspector.digest import ITEM, begin, digest
from rolo.inspector.records import Record
from rolo.observing import (
    AnswerBody,
    Ended,
    Event,
    Exchange,
    Message,
    RequestBody,
)

OVERHEAD = 1500
"""Bytes that an exchange weighs beside its head, bodies and messages: about what its objects
take."""
SPILL_ROOM = 16 * 1024 * 1024
"""Bytes of a body that may wait to be written into a file."""
MAX_ITEM = 256 * 1024
"""Bytes (of text, letters) of a message or an event that are kept."""
MAX_ITEMS = 32 * 1024 * 1024
"""Bytes of all messages of one websocket, or events of one stream, that are kept."""


class Keeper(t.Protocol):
    """Who keeps exchanges."""

    pages: tuple[t.Any, ...]

    def grown(self, by: int) -> None: ...

    def changed(self, kept: Kept) -> None: ...

    def file(self, number: int, side: str) -> t.Any: ...


class Kept:
    """One exchange.

    :param max_body: bytes of each body that are kept in memory
    :param spills: what comes on top goes into files: somebody asks for :attr:`record` all the
        time. Else it is counted.
    """

    __slots__ = (
        "_answer_room",
        "_items_room",
        "_keeper",
        "_max_body",
        "_pending",
        "_record",
        "_request_room",
        "_spills",
        "answer_beyond",
        "exchange",
        "forgotten",
        "id",
        "items_beyond",
        "open",
        "request_beyond",
        "weight",
    )

    def __init__(
        self, number: int, keeper: Keeper, exchange: Exchange, max_body: int, spills: bool = False
    ) -> None:
        self.id = number
        self.exchange = exchange
        self.open = True
        self.forgotten = False
        head = exchange.head
        self.weight = OVERHEAD + (0 if head is None else head.size)
        """Bytes of memory that it takes, about."""
        self.request_beyond = self.answer_beyond = self.items_beyond = 0
        """Bytes of the bodies, and the number of messages, that are not kept."""
        self._max_body = max_body
        self._spills = spills
        self._request_room = self._answer_room = SPILL_ROOM if spills else max_body
        self._items_room = MAX_ITEMS
        self._keeper = keeper
        self._pending: list[tuple[type[Event], float, tuple[t.Any, ...]]] = []
        self._record: Record | None = None

    @classmethod
    def of(cls, record: Record, keeper: Keeper) -> Kept:
        """Return what keeps a record of which all is known."""
        kept = cls.__new__(cls)
        kept.id, kept.open, kept.forgotten = record.id, record.open, False
        kept.request_beyond = kept.answer_beyond = kept.items_beyond = 0
        kept._keeper, kept._pending, kept._record, kept._spills = keeper, [], record, False
        bodies = (record.request_body, record.answer_body)
        kept.weight = OVERHEAD + sum(body.held for body in bodies if body is not None)
        kept.weight += sum(item.size + ITEM for item in record.items)
        return kept

    # --- for the loop

    def add(self, kind: type[Event], at: float, fields: tuple[t.Any, ...]) -> None:
        """Note that ``kind(exchange, at, *fields)`` has happened."""
        if self.forgotten:
            return
        if kind is AnswerBody or kind is RequestBody:
            size = len(fields[0])
            if kind is AnswerBody and size <= self._answer_room:
                self._answer_room -= size
            else:
                data = self._bounded(kind, fields[0])
                if data is None:
                    return
                fields = (data,)
                size = len(data)
            self.weight += size
            self._keeper.grown(size)
        elif kind is Message:
            if self._items_room <= 0:
                self.items_beyond += 1
                return
            by, data, size = fields
            if size > MAX_ITEM:
                fields = (by, data[:MAX_ITEM], size)
            taken = min(size, MAX_ITEM) + ITEM
            self._items_room -= taken
            self.grow(taken)
        elif kind is Ended:
            self.open = False
        self._pending.append((kind, at, fields))
        if self._keeper.pages:
            self._keeper.changed(self)

    def grow(self, by: int) -> None:
        """Note that so many bytes more are taken."""
        self.weight += by
        self._keeper.grown(by)

    def _bounded(self, kind: type[Event], data: bytes) -> bytes | None:
        """Return as much of a piece as is kept, ``None`` for nothing of it."""
        if kind is AnswerBody:
            kept = data[: self._answer_room]
            self._answer_room -= len(kept)
            self.answer_beyond += len(data) - len(kept)
        else:
            kept = data[: self._request_room]
            self._request_room -= len(kept)
            self.request_beyond += len(data) - len(kept)
        return kept or None

    # --- for everybody else, within the store's lock

    @property
    def record(self) -> Record:
        """The exchange as it is now."""
        record = self._record
        if record is None:
            record = self._record = begin(
                self.id,
                self.exchange,
                self._max_body,
                functools.partial(self._keeper.file, self.id),
            )
        count = len(self._pending)
        if count:
            pending = self._pending[:count]
            del self._pending[:count]
            for kind, at, fields in pending:
                more = digest(kind(self.exchange, at, *fields), record)
                if more:
                    self.grow(more)
            if self._spills:
                self._request_room = self._answer_room = SPILL_ROOM
        record.items_left_out = self.items_beyond
        record.request_body.beyond = self.request_beyond
        if record.answer_body is not None:
            record.answer_body.beyond = self.answer_beyond
        return record

    def forget(self) -> None:
        """Let go of everything."""
        self.forgotten = True
        self._pending.clear()
        if self._record is not None:
            self._record.discard()
