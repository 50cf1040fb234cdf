"""Fills the store: a tracer of everything that a server serves."""

from __future__ import annotations

import collections
import threading

from rolo.inspector.kept import Kept
from rolo.inspector.records import Record
from rolo.inspector.store import Store
from rolo.observing import Exchange, Trace, Tracer

MAX_BODY = 1024 * 1024
"""Bytes of a body that are kept in memory."""

_WRITE_EVERY = 0.05
"""Seconds after which what is for files is written."""


class Capture(Tracer):
    """Keeps exchanges.

    :param max_body: bytes of each body that are kept; the rest is counted, or goes into a file
        where the store has a directory
    """

    def __init__(self, store: Store, max_body: int = MAX_BODY) -> None:
        self.store = store
        self.max_body = max_body
        self._closing = threading.Event()
        self._growing: collections.deque[Kept] = collections.deque()
        if store.directory is not None:
            threading.Thread(target=self._write, name="rolo-inspector", daemon=True).start()

    def begin(self, exchange: Exchange) -> Trace | None:
        store = self.store
        if store.paused:
            return None
        spills = store.directory is not None
        kept = Kept(store.new_number(), store, exchange, self.max_body, spills)
        store.add(kept)
        if spills:
            self._growing.append(kept)
        return kept

    def record_of(self, exchange: Exchange) -> Record | None:
        """Return the record of an exchange, ``None`` if it is not remembered."""
        for trace in exchange.traces:
            if isinstance(trace, Kept) and not trace.forgotten:
                with self.store.lock:
                    return trace.record
        return None

    def stop(self) -> None:
        """Write no more files."""
        self._closing.set()

    def _write(self) -> None:
        while not self._closing.wait(_WRITE_EVERY):
            for _ in range(len(self._growing)):
                kept = self._growing.popleft()
                with self.store.lock:
                    if kept.forgotten:
                        continue
                    _ = kept.record
                if kept.open:
                    self._growing.append(kept)
