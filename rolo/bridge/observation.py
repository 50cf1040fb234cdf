"""Hands events to observers, each on a thread of its own and behind a bounded queue, unless it
wants them at once.

The loop puts an event into a list and goes on. The thread comes some hundredths of a second
later for all that has gathered: woken for each event, it would make the loop wait for the
interpreter's lock at every one.
"""

from __future__ import annotations

import atexit
import collections
import itertools
import logging
import threading
import time
import typing as t

from rolo.bridge.downstream import RequestHead
from rolo.bridge.observer import (
    METHODS,
    Answer,
    AnswerBody,
    Ended,
    Event,
    Exchange,
    Message,
    Missed,
    Observer,
    RequestBody,
    RequestStarted,
    Tracer,
)
from rolo.errors import RoloError, describe

LOG = logging.getLogger(__name__)

_GATHER = 0.02
"""Seconds for which events gather before the observer's thread comes for them."""
_PATIENCE = 5.0
"""Seconds for which an exchange waits for a patient observer."""
_LINE = 8 * 1024
"""Bytes of a request line that could not be read which are shown."""
_HEAD = 512
"""What an event without a body weighs beside its head: about what Python needs for it."""

_numbers = itertools.count(1)


class Open(t.Protocol):
    """An exchange that is not over."""

    def is_ahead(self) -> bool:
        """Whether its client may have seen what has not been told yet. Any thread."""


class Observation:
    """The observers of one bridge.

    :param observers: who is told; each must be an :class:`Observer`
    :raises TypeError: one is not
    """

    def __init__(self, observers: t.Iterable[Observer]) -> None:
        observers = list(observers)
        self._tracers = [each for each in observers if isinstance(each, Tracer)]
        self._deliveries = [_delivery(each) for each in observers if not isinstance(each, Tracer)]
        self._to: dict[type[Event], tuple[_Told, ...]] = {
            kind: tuple(each for each in self._deliveries if each.wants(kind)) for kind in METHODS
        }
        self._open: set[Open] = set()
        self._caught_up = threading.Condition()
        self._waiting = 0

    def begin(
        self, kind: t.Literal["http", "websocket"], head: RequestHead, line: bytes | None = None
    ) -> Exchange:
        """Tell that an exchange has begun."""
        return self._begin(kind, head.client, head, line)

    def refused(
        self,
        client: tuple[str, int] | None,
        seen: bytes | bytearray,
        error: RoloError,
        headers: t.Iterable[tuple[bytes, bytes]],
        body: bytes,
    ) -> None:
        """Tell of a request that the server refused while it read the head.

        :param seen: what came of the head
        """
        line = bytes(seen[:_LINE]).lstrip(b"\r\n").partition(b"\n")[0].rstrip(b"\r")
        exchange = self._begin("http", client, None, line)
        self.tell(Answer, exchange, error.status, b"", [*headers])
        self.tell(AnswerBody, exchange, body)
        self.tell(
            Ended,
            exchange,
            "refused",
            type(error).__name__,
            describe(error),
            error.status,
            None,
            0,
            len(body),
            exchange.started,
        )

    def _begin(
        self,
        kind: t.Literal["http", "websocket"],
        client: tuple[str, int] | None,
        head: RequestHead | None,
        line: bytes | None,
    ) -> Exchange:
        exchange = Exchange(next(_numbers), kind, client, head, line, time.monotonic(), time.time())
        for tracer in self._tracers:
            trace = tracer.begin(exchange)
            if trace is not None:
                exchange.traces += (trace,)
        if self._to[RequestStarted]:  # tracers know
            self.tell(RequestStarted, exchange)
        return exchange

    def wants(self, kind: type[Event]) -> bool:
        """Whether anybody is to be told of events of this kind."""
        return bool(self._tracers or self._to[kind])

    def tell(self, kind: type[Event], exchange: Exchange, *fields: t.Any) -> None:
        """Tell whoever wants to know: now, in ``exchange``, an event with ``fields``."""
        for trace in exchange.traces:
            trace.add(kind, time.monotonic(), fields)
        deliveries = self._to[kind]
        if deliveries:
            event = kind(exchange, time.monotonic(), *fields)
            weight = _weight(event)
            for delivery in deliveries:
                delivery.put(event, weight)

    def opened(self, exchange: Open) -> None:
        """Note that ``exchange`` is under way."""
        self._open.add(exchange)

    def over(self, exchange: Open) -> None:
        """Note that all of ``exchange`` has been told."""
        self._open.discard(exchange)
        if self._waiting:
            self.caught_up()

    def caught_up(self) -> None:
        """Note that an exchange is no longer ahead of what was told of it."""
        if self._waiting:
            with self._caught_up:
                self._caught_up.notify_all()

    def wait_observed(self, timeout: float | None = 5.0) -> bool:
        """Wait until the observers were told of all that happened before this call; see
        :meth:`rolo.serving.RunningServer.wait_observed`. Any thread but the loop's."""
        deadline = None if timeout is None else time.monotonic() + timeout

        def left() -> float | None:
            return None if deadline is None else max(0.0, deadline - time.monotonic())

        ahead = [each for each in list(self._open) if each.is_ahead()]
        if ahead:
            with self._caught_up:
                self._waiting += 1
                told = self._caught_up.wait_for(
                    lambda: not any(each in self._open and each.is_ahead() for each in ahead),
                    left(),
                )
                self._waiting -= 1
            if not told:
                return False
        marks = [delivery.mark() for delivery in self._deliveries]
        return all(mark.wait(left()) for mark in marks)

    def close(self, timeout: float | None = 5.0) -> None:
        """Let the observers see what is left, and end their threads.

        :param timeout: seconds after which one that has not finished is left behind;
            ``None`` waits for ever
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        for delivery in self._deliveries:
            delivery.stop()
        for delivery in self._deliveries:
            delivery.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
        for tracer in self._tracers:
            tracer.close()


def _weight(event: Event) -> int:
    if isinstance(event, (RequestBody, AnswerBody)):
        return len(event.data)
    if isinstance(event, Message):
        return event.size
    head = event.exchange.head
    if head is None:
        return _HEAD + len(event.exchange.line)
    return _HEAD + (head.size or sum(len(name) + len(value) for name, value in head.headers))


def _delivery(observer: Observer) -> _Told:
    if not isinstance(observer, Observer):
        raise TypeError(f"{observer!r} is not an Observer")
    return Immediate(observer) if observer.immediate else Delivery(observer)


class _Told:
    """One observer, and how it is called."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._methods = {
            kind: getattr(observer, name)
            for kind, name in METHODS.items()
            if getattr(type(observer), name) is not getattr(Observer, name)
            or name in vars(observer)
        }
        self._logged: set[tuple[str, type[BaseException]]] = set()

    def wants(self, kind: type[Event]) -> bool:
        """Whether the observer has overridden the method for it."""
        return kind in self._methods

    def put(self, event: Event, weight: int) -> None:
        """Hand ``event`` over. Any thread."""
        raise NotImplementedError

    def mark(self) -> threading.Event:
        """Return what is set when all that was put before has been handed over."""
        raise NotImplementedError

    def stop(self) -> None:
        """Hand over what is here, and nothing more."""
        raise NotImplementedError

    def join(self, timeout: float | None) -> None:
        """Wait until that is done; after ``timeout`` seconds it is left behind."""

    def _call(self, name: str, method: t.Callable[..., t.Any], *args: t.Any) -> None:
        try:
            method(*args)
        except BaseException as exc:
            if (name, type(exc)) not in self._logged:
                self._logged.add((name, type(exc)))
                LOG.error(
                    "observer %s failed in %s (the like is not logged again)",
                    type(self._observer).__name__,
                    name,
                    exc_info=exc,
                )


class Immediate(_Told):
    """An observer that is called where the event happens."""

    def put(self, event: Event, weight: int) -> None:
        kind = type(event)
        self._call(METHODS[kind], self._methods[kind], event)

    def mark(self) -> threading.Event:
        mark = threading.Event()
        mark.set()
        return mark

    def stop(self) -> None:
        self._call("close", self._observer.close)


class Delivery(_Told):
    """The queue and the thread of one observer. The thread begins with the first event."""

    def __init__(self, observer: Observer) -> None:
        super().__init__(observer)
        self._max_events, self._max_bytes = observer.max_events, observer.max_bytes
        self._queue: collections.deque[tuple[t.Any, int]] = collections.deque()
        self._lock = threading.Lock()
        # Each is written by one side only: those who put, under the lock, or the thread.
        self._put_bytes = self._taken_bytes = 0
        self._missed = self._missed_bytes = 0
        self._thread: threading.Thread | None = None
        self._idle = True
        self._wake = threading.Semaphore(0)
        self._hurry = threading.Event()
        self._patient = observer.patient
        self._room = threading.Event()
        self._crowded = False
        """Somebody waits for room."""
        self._stopping = self._ended = False

    def put(self, event: Event, weight: int) -> None:
        """Hand ``event`` over, or leave it out. Any thread; waits for the observer only if that
        is :attr:`~Observer.patient`."""
        if self._patient and self._is_full(weight):
            self._wait_for_room(weight)
        with self._lock:
            if self._stopping:
                return
            waiting = self._put_bytes - self._taken_bytes + weight
            if self._is_full(weight) or not self._started():
                self._missed += 1
                self._missed_bytes += weight
                self._hurry.set()
                return
            if self._missed:
                self._queue.append((self._take_missed(), 0))
            self._put_bytes += weight
            self._queue.append((event, weight))
            if self._idle:
                self._idle = False
                self._wake.release()
            if waiting * 2 > self._max_bytes or len(self._queue) * 2 > self._max_events:
                self._hurry.set()

    def _is_full(self, weight: int) -> bool:
        waiting = self._put_bytes - self._taken_bytes
        if len(self._queue) >= self._max_events:
            return True
        # What is larger than all that may wait passes alone, where nothing is to be missed.
        return waiting + weight > self._max_bytes and not (self._patient and not waiting)

    def _wait_for_room(self, weight: int) -> None:
        if threading.current_thread() is self._thread:
            return
        deadline = time.monotonic() + _PATIENCE
        while not self._stopping:
            self._room.clear()
            self._crowded = True
            self._hurry.set()
            left = deadline - time.monotonic()
            if not self._is_full(weight) or left <= 0:
                break
            self._room.wait(left)
        self._crowded = False

    def mark(self) -> threading.Event:
        mark = threading.Event()
        with self._lock:
            thread = self._thread
            if thread is None or self._ended or thread is threading.current_thread():
                mark.set()
                return mark
            if self._missed:
                self._queue.append((self._take_missed(), 0))
            self._queue.append((mark, 0))
            self._idle = False
            self._hurry.set()
            self._wake.release()
        return mark

    def stop(self) -> None:
        with self._lock:
            self._stopping = True
            self._started()  # if only to be told that it is closed
            self._hurry.set()
            self._wake.release()

    def join(self, timeout: float | None) -> None:
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            return
        thread.join(timeout)
        if thread.is_alive():
            LOG.warning(
                "observer %s has not finished; %d events are left", self._name, len(self._queue)
            )
        atexit.unregister(self._finish)

    @property
    def _name(self) -> str:
        return type(self._observer).__name__

    def _take_missed(self) -> Missed:
        missed = Missed(self._missed, self._missed_bytes)
        self._missed = self._missed_bytes = 0
        return missed

    def _started(self) -> bool:
        """Start the thread, unless it runs; False if the system has no thread to give."""
        if self._thread is None:
            # A daemon: an observer that hangs must not keep the program from its end.
            thread = threading.Thread(
                target=self._run, name=f"rolo-observer-{self._name}", daemon=True
            )
            try:
                thread.start()
            except RuntimeError:
                return False
            self._thread = thread
            atexit.register(self._finish)
        return True

    def _finish(self) -> None:
        """Nobody has closed the server: hand over what is left as the program ends."""
        self.stop()
        self.join(1.0)

    # --- the observer's thread

    def _run(self) -> None:
        while True:
            self._wake.acquire()
            if not self._stopping:
                self._hurry.wait(_GATHER)
            self._hurry.clear()
            self._deliver()
            with self._lock:
                if self._queue:
                    self._wake.release()
                elif self._missed:
                    self._queue.append((self._take_missed(), 0))
                    self._wake.release()
                elif self._stopping:
                    self._ended = True
                    break
                else:
                    self._idle = True
        self._call("close", self._observer.close)

    def _deliver(self) -> None:
        queue, methods = self._queue, self._methods
        while queue:
            event, weight = queue.popleft()
            kind = type(event)
            if kind in methods:
                self._call(METHODS[kind], methods[kind], event)
            elif kind is Missed:
                self._call("on_missed", self._observer.on_missed, event)
            else:
                event.set()
            self._taken_bytes += weight
            del event
            if self._crowded:
                self._room.set()
