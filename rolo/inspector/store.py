"""What the inspector remembers: bounded in exchanges and in bytes, the oldest go first."""

from __future__ import annotations

import itertools
import pathlib
import threading

from rolo.inspector.kept import Kept
from rolo.inspector.records import Record

MAX_BYTES = 64 * 1024 * 1024
MAX_EXCHANGES = 20_000


class Store:
    """Records by number.

    The loop adds records and what happens in them, and never waits: what it does are single
    steps. Everybody else works within :attr:`lock`.

    :param max_bytes: of memory that records may take, about
    :param max_exchanges: how many there may be
    :param directory: where bodies go that are larger than what is kept of them in memory;
        ``None`` writes nothing to the disk
    """

    def __init__(
        self,
        max_bytes: int = MAX_BYTES,
        max_exchanges: int = MAX_EXCHANGES,
        directory: pathlib.Path | None = None,
    ) -> None:
        self.max_bytes = max_bytes
        self.max_exchanges = max_exchanges
        self.directory = directory
        self.lock = threading.RLock()
        self.paused = False
        self._kept: dict[int, Kept] = {}
        self._pinned: dict[int, Kept] = {}
        self._weight = 0
        self.pages: tuple[Changes, ...] = ()
        """Who is told of changes; empty if nobody looks."""
        self._numbers = itertools.count(1)
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)

    @property
    def weight(self) -> int:
        """Bytes of memory that the records take, about."""
        return self._weight

    def __len__(self) -> int:
        return len(self._kept) + len(self._pinned)

    def __contains__(self, number: object) -> bool:
        return number in self._kept or number in self._pinned

    # --- for the loop

    def new_number(self) -> int:
        """Return the number of the next record."""
        return next(self._numbers)

    def add(self, kept: Kept) -> None:
        """Add an exchange, and let the oldest go that there is no room for."""
        self._kept[kept.id] = kept
        self._weight += kept.weight
        if (
            self._weight > self.max_bytes
            or len(self._kept) + len(self._pinned) > self.max_exchanges
        ):
            self.grown(0)
        for page in self.pages:
            page.changed.add(kept.id)

    def grown(self, by: int) -> None:
        """Note that so many bytes more are taken; the oldest go that there is no room for."""
        self._weight += by
        while self._weight > self.max_bytes or len(self) > self.max_exchanges:
            try:
                oldest = next(iter(self._kept))
            except (StopIteration, RuntimeError):
                return  # nothing is left, or somebody else is at it
            self._drop(oldest)

    def changed(self, kept: Kept) -> None:
        """Note that an exchange is not as it was; pages are told."""
        for page in self.pages:
            page.changed.add(kept.id)

    # --- for everybody else

    def get(self, number: int) -> Record | None:
        """Return an exchange as it is now; ``None`` if it is not remembered (any more)."""
        kept = self._find(number)
        if kept is None:
            return None
        with self.lock:
            return kept.record

    def add_record(self, record: Record) -> None:
        """Add an exchange of which all is known."""
        self.add(Kept.of(record, self))

    def touch(self, record: Record) -> None:
        """As :meth:`changed`."""
        kept = self._find(record.id)
        if kept is not None:
            self.changed(kept)

    def numbers(self) -> list[int]:
        """Return the numbers of all records, the oldest first."""
        return sorted([*self._pinned, *self._kept])

    def all(self) -> list[Record]:
        """Return the records, the oldest first."""
        records = [self.get(number) for number in self.numbers()]
        return [record for record in records if record is not None]

    def file(self, number: int, side: str) -> pathlib.Path | None:
        """Return where a body that is too large for memory goes."""
        return None if self.directory is None else self.directory / f"{number}-{side}"

    def pin(self, record: Record, pinned: bool) -> None:
        """Keep a record whatever comes, or not any longer."""
        with self.lock:
            record.pinned = pinned
            here, there = self._kept, self._pinned
            if not pinned:
                here, there = there, here
            kept = here.pop(record.id, None)
            if kept is not None:
                there[record.id] = kept
            self.touch(record)

    def clear(self) -> None:
        """Forget all but what is pinned or still open."""
        with self.lock:
            for kept in list(self._kept.values()):
                if not kept.open:
                    self._drop(kept.id)

    def close(self) -> None:
        """Forget everything, remove the files that were made, and take nothing more."""
        with self.lock:
            self.paused = True
            for number in self.numbers():
                self._drop(number)

    def watch(self) -> Changes:
        """Return what gathers changes from now on, until it is given to :meth:`unwatch`."""
        with self.lock:
            page = Changes()
            self.pages = (*self.pages, page)
            return page

    def unwatch(self, page: Changes) -> None:
        with self.lock:
            self.pages = tuple(each for each in self.pages if each is not page)

    def _find(self, number: int) -> Kept | None:
        return self._kept.get(number) or self._pinned.get(number)

    def _drop(self, number: int) -> None:
        kept = self._kept.pop(number, None) or self._pinned.pop(number, None)
        if kept is None:
            return
        self._weight -= kept.weight
        kept.forget()
        for page in self.pages:
            page.changed.discard(number)
            page.gone.append(number)


class Changes:
    """What a page has not been told of yet: numbers, so that it can never be much."""

    def __init__(self) -> None:
        self.changed: set[int] = set()
        self.gone: list[int] = []

    def take(self, most: int) -> tuple[list[int], list[int]]:
        """Return, and forget, up to ``most`` numbers of changed records, the newest, and those
        of all that are gone."""
        changed = sorted(self.changed)[-most:]
        for number in changed:
            self.changed.discard(number)
        gone, self.gone = self.gone, []
        return changed, gone
