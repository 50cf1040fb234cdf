"""What the inspector remembers: bounded in exchanges and in bytes, the oldest go first."""

from __future__ import annotations

import pathlib
import threading

from rolo.inspector.records import Record

MAX_BYTES = 64 * 1024 * 1024
MAX_EXCHANGES = 20_000


class Store:
    """Records by number. Any thread may ask; changes are made within :attr:`lock`.

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
        self.missed = 0
        """Events that the inspector was not told of, since it did not keep up."""
        self._records: dict[int, Record] = {}
        self._weights: dict[int, int] = {}
        self._weight = 0
        self._pages: list[Changes] = []
        self._last = 0
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)

    @property
    def weight(self) -> int:
        """Bytes of memory that the records take, about."""
        return self._weight

    def __len__(self) -> int:
        return len(self._records)

    def __contains__(self, number: object) -> bool:
        return number in self._records

    def get(self, number: int) -> Record | None:
        return self._records.get(number)

    def all(self) -> list[Record]:
        """Return the records, the oldest first."""
        with self.lock:
            return list(self._records.values())

    def new_number(self) -> int:
        """Return the number of the next record."""
        with self.lock:
            self._last += 1
            return self._last

    def file(self, number: int, side: str) -> pathlib.Path | None:
        """Return where a body that is too large for memory goes."""
        return None if self.directory is None else self.directory / f"{number}-{side}"

    def add(self, record: Record) -> None:
        """Add a record, and let the oldest go that there is no room for."""
        with self.lock:
            self._records[record.id] = record
            self.changed(record)

    def changed(self, record: Record) -> None:
        """Note that ``record`` is not as it was; pages are told."""
        with self.lock:
            if record.id not in self._records:
                return
            weight = record.weight
            self._weight += weight - self._weights.get(record.id, 0)
            self._weights[record.id] = weight
            for page in self._pages:
                page.changed.add(record.id)
            if self._weight > self.max_bytes or len(self._records) > self.max_exchanges:
                self._make_room()

    def clear(self) -> None:
        """Forget all but what is pinned or still open."""
        with self.lock:
            for record in self.all():
                if not record.pinned and not record.open:
                    self._drop(record)

    def close(self) -> None:
        """Forget everything, remove the files that were made, and take nothing more."""
        with self.lock:
            self.paused = True
            for record in self.all():
                self._drop(record)

    def watch(self) -> Changes:
        """Return what gathers changes from now on, until it is given to :meth:`unwatch`."""
        with self.lock:
            page = Changes()
            self._pages.append(page)
            return page

    def unwatch(self, page: Changes) -> None:
        with self.lock:
            self._pages.remove(page)

    def _make_room(self) -> None:
        for record in self.all():
            if self._weight <= self.max_bytes and len(self._records) <= self.max_exchanges:
                return
            if not record.pinned:
                self._drop(record)

    def _drop(self, record: Record) -> None:
        del self._records[record.id]
        self._weight -= self._weights.pop(record.id, 0)
        for page in self._pages:
            page.changed.discard(record.id)
            page.gone.append(record.id)
        record.discard()


class Changes:
    """What a page has not been told of yet: numbers, so that it can never be much."""

    def __init__(self) -> None:
        self.changed: set[int] = set()
        self.gone: list[int] = []

    def take(self, most: int) -> tuple[list[int], list[int]]:
        """Return, and forget, up to ``most`` numbers of changed records, and those of all that
        are gone. To be called within the store's lock."""
        changed = sorted(self.changed)[:most]
        self.changed.difference_update(changed)
        gone, self.gone = self.gone, []
        return changed, gone
