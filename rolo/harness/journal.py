"""Everything that came and what became of it, noted as it happens, within bounds."""

from __future__ import annotations

import collections
import threading
import time
import typing as t

from rolo.bridge import observer
from rolo.bridge.downstream import RequestHead
from rolo.harness.record import Answer, Body, Closed, Interim, Message, Record, decoded

if t.TYPE_CHECKING:
    from rolo.harness.recordings import Recordings

MAX_BODY = 1024 * 1024
"""Bytes kept of one body, and of the messages of one websocket."""
MAX_KEPT = 64 * 1024 * 1024
"""Bytes of bodies and messages kept of all exchanges together."""
MAX_RECORDS = 10_000
"""Exchanges that are kept."""


class Journal(observer.Observer):
    """What happened at a harness. Any thread may ask.

    :param max_body: bytes kept of each body, and of the messages of each websocket
    :param max_kept: bytes kept of all of them; the oldest go first
    :param max_records: exchanges that are kept; the oldest go first
    """

    immediate = True

    def __init__(
        self,
        max_body: int = MAX_BODY,
        max_kept: int = MAX_KEPT,
        max_records: int = MAX_RECORDS,
    ) -> None:
        self.recordings: Recordings | None = None
        """Who is told the same, while there is something to record."""
        self._max_body = max_body
        self._max_kept = max_kept
        self._max_records = max_records
        self._records: collections.deque[Record] = collections.deque()
        self._open: dict[observer.Exchange, Record] = {}
        self._by_head: dict[int, Record] = {}
        self._kept = self._count_records = 0
        self._changed = threading.Condition(threading.RLock())
        self._happened = 0
        self._waiting = 0
        self.forgotten = 0
        """Exchanges that are not kept any more."""

    def records(self) -> list[Record]:
        """Return what is kept, in the order in which it came."""
        with self._changed:
            return list(self._records)

    def of_head(self, head: RequestHead) -> Record | None:
        """Return the record of a request that is under way."""
        return self._by_head.get(id(head))

    def clear(self) -> None:
        """Forget everything, but what is under way goes on to be noted where it is known."""
        with self._changed:
            for record in self._records:
                record.drop()
            self._records.clear()
            self._kept = self._count_records = self.forgotten = 0

    def wait_until(self, condition: t.Callable[[], bool], timeout: float) -> bool:
        """Wait until ``condition`` holds, which is asked whenever something has happened; return
        whether it does after ``timeout`` seconds. The condition is asked on the calling thread
        and may ask the journal."""
        deadline = time.monotonic() + timeout
        with self._changed:
            self._waiting += 1
        try:
            while True:
                seen = self._happened
                if condition():
                    return True
                with self._changed:
                    while seen == self._happened:
                        left = deadline - time.monotonic()
                        if left <= 0:
                            return False
                        self._changed.wait(left)
        finally:
            with self._changed:
                self._waiting -= 1

    def notify(self) -> None:
        """Something has happened: whoever waits looks again."""
        self._happened += 1
        if self._waiting:
            with self._changed:
                self._changed.notify_all()

    # --- what the server tells, where it happens

    def on_request(self, event: observer.RequestStarted) -> None:
        if self.recordings is not None:
            self.recordings.on_request(event)
        exchange = event.exchange
        self._count_records += 1
        record = self._open[exchange] = Record(exchange, self, self._count_records)
        if exchange.head is not None:
            self._by_head[id(exchange.head)] = record
        with self._changed:
            self._records.append(record)
            while len(self._records) > self._max_records:
                self._forget(self._records.popleft())
        self.notify()

    def on_request_body(self, event: observer.RequestBody) -> None:
        if self.recordings is not None:
            self.recordings.on_request_body(event)
        record = self._open[event.exchange]
        self._keep(record, record.content, event)
        self.notify()

    def on_request_trailers(self, event: observer.RequestTrailers) -> None:
        if self.recordings is not None:
            self.recordings.on_request_trailers(event)
        self._open[event.exchange].trailers = decoded(event.headers)

    def on_interim(self, event: observer.Interim) -> None:
        if self.recordings is not None:
            self.recordings.on_interim(event)
        at = event.at - event.exchange.started
        record = self._open[event.exchange]
        record.interim.append(Interim(event.status, decoded(event.headers), at))
        self.notify()

    def on_answer(self, event: observer.Answer) -> None:
        if self.recordings is not None:
            self.recordings.on_answer(event)
        record = self._open[event.exchange]
        record.answer = Answer(event)
        self.notify()

    def on_answer_body(self, event: observer.AnswerBody) -> None:
        if self.recordings is not None:
            self.recordings.on_answer_body(event)
        record = self._open[event.exchange]
        if record.answer is not None:
            self._keep(record, record.answer.content, event)
            self.notify()

    def on_answer_trailers(self, event: observer.AnswerTrailers) -> None:
        if self.recordings is not None:
            self.recordings.on_answer_trailers(event)
        record = self._open[event.exchange]
        if record.answer is not None:
            record.answer.trailers = decoded(event.headers)

    def on_message(self, event: observer.Message) -> None:
        if self.recordings is not None:
            self.recordings.on_message(event)
        record = self._open[event.exchange]
        at = event.at - event.exchange.started
        data, room = event.data, self._max_body - record.kept
        if event.size > room:
            data = "" if isinstance(data, str) else b""
        else:
            self._count(record, event.size)
        record.messages.append(Message(event.by, data, at, event.size))
        self.notify()

    def on_websocket_closed(self, event: observer.WebSocketClosed) -> None:
        if self.recordings is not None:
            self.recordings.on_websocket_closed(event)
        self._open[event.exchange].closed = Closed(event.by, event.code, event.reason)
        self.notify()

    def on_end(self, event: observer.Ended) -> None:
        if self.recordings is not None:
            self.recordings.on_end(event)
        record = self._open.pop(event.exchange)
        self._by_head.pop(id(event.exchange.head), None)
        record.end(event)
        self.notify()

    # --- bounds

    def _keep(
        self, record: Record, body: Body, event: observer.RequestBody | observer.AnswerBody
    ) -> None:
        at = event.at - event.exchange.started
        self._count(record, body.add(at, event.data, self._max_body - body.kept))

    def _count(self, record: Record, size: int) -> None:
        """Note that ``size`` bytes more are kept of ``record``."""
        record.kept += size
        self._kept += size
        if self._kept > self._max_kept:
            self._make_room()

    def _make_room(self) -> None:
        """Drop bodies, the oldest first: more than needs be, so that it is not done at once
        again."""
        with self._changed:
            for record in self._records:
                if self._kept <= self._max_kept * 3 // 4:
                    return
                self._kept -= record.drop()

    def _forget(self, record: Record) -> None:
        self.forgotten += 1
        self._kept -= record.drop()
