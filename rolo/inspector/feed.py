"""The live feed of one page: what has changed, as fast as the page takes it."""

from __future__ import annotations

import json
import typing as t

from rolo.inspector.breakpoints import Breakpoints
from rolo.inspector.records import Record
from rolo.inspector.store import Store
from rolo.inspector.views import item
from rolo.websocket.errors import WebSocketDisconnectedError
from rolo.websocket.request import WebSocket, WebSocketRequest

BATCH = 1000
"""Rows in one message."""
FIRST = 200
"""Rows in the first: a page is full with them."""
INTERVAL = 0.1
"""Seconds between two looks for changes."""
SKIPPED = 5000
"""Changes that wait for a page that does not keep up, from which on it is told."""


class Feed:
    """Serves pages. Each has a thread of its own for as long as it is open.

    :param stopping: asked whether pages are to be closed
    """

    def __init__(
        self, store: Store, breakpoints: Breakpoints, stopping: t.Callable[[], bool]
    ) -> None:
        self._store = store
        self._breakpoints = breakpoints
        self._stopping = stopping

    def serve(self, request: WebSocketRequest) -> None:
        """Tell a page of everything until it leaves."""
        with request.accept() as websocket:
            page = _Page(self._store, self._breakpoints, websocket)
            try:
                page.begin()
                while not self._stopping():
                    try:
                        page.hear(websocket.receive(timeout=INTERVAL))
                    except TimeoutError:
                        pass
                    page.tell()
            except WebSocketDisconnectedError:
                pass
            finally:
                page.close()


class _Page:
    def __init__(self, store: Store, breakpoints: Breakpoints, websocket: WebSocket) -> None:
        self._store = store
        self._breakpoints = breakpoints
        self._websocket = websocket
        self._changes = store.watch()
        self._backlog: list[int] = []
        """Of what was there when the page opened, what it has not got yet; the newest first."""
        self._sent = self._seen = 0
        self._paused: bool | None = None
        self._held = -1
        self._watched: int | None = None
        self._items = 0

    def begin(self) -> None:
        """Send the newest rows; the older ones follow in batches."""
        self._backlog = self._store.numbers()[::-1]
        first, self._backlog = self._backlog[:FIRST], self._backlog[FIRST:]
        self._send_rows(first[::-1], [], anew=True)

    def hear(self, message: str | bytes) -> None:
        """Take what the page says."""
        try:
            said = json.loads(message)
        except ValueError:
            return
        if not isinstance(said, dict):
            return
        if isinstance(said.get("seen"), int):
            self._seen = max(self._seen, said["seen"])
        if "watch" in said:
            watched = said["watch"]
            self._watched = watched if isinstance(watched, int) else None
            self._items = said.get("from", 0) if isinstance(said.get("from", 0), int) else 0

    def tell(self) -> None:
        """Send what has changed, unless the page still has to deal with what it got."""
        if self._store.paused != self._paused:
            self._paused = self._store.paused
            self._send("state", paused=self._paused)
        if self._held != self._breakpoints.version:
            self._held = self._breakpoints.version
            self._send("held", items=[each.shown() for each in self._breakpoints.held])
        if self._seen < self._sent:
            return
        waiting = len(self._changes.changed)
        changed, gone = self._changes.take(BATCH)
        if changed or gone:
            self._send_rows(changed, gone, skipped=waiting if waiting > SKIPPED else 0)
        elif self._backlog:
            numbers, self._backlog = self._backlog[:BATCH], self._backlog[BATCH:]
            self._send_rows(numbers[::-1], [])
        self._send_items()

    def close(self) -> None:
        self._store.unwatch(self._changes)

    def _send_rows(self, numbers: list[int], gone: list[int], **more: t.Any) -> None:
        with self._store.lock:
            records = [self._store.get(number) for number in numbers]
            rows = [record.row() for record in records if record is not None]
        self._sent += 1
        self._send("rows", number=self._sent, rows=rows, gone=gone, **more)

    def _send_items(self) -> None:
        record = self._store.get(self._watched) if self._watched is not None else None
        if record is None or len(record.items) <= self._items:
            return
        items = items_of(record, self._items, BATCH)
        self._send("messages", id=record.id, **{"from": self._items}, items=items)
        self._items += len(items)

    def _send(self, kind: str, **members: t.Any) -> None:
        self._websocket.send(json.dumps({"is": kind, **members}, ensure_ascii=False))


def items_of(record: Record, first: int, count: int) -> list[dict[str, t.Any]]:
    """Return messages of ``record``, or events, to be shown."""
    items = record.items[first : first + count]
    return [item(first + index, each) for index, each in enumerate(items)]
