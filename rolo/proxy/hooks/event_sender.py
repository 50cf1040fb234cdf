"""Speaking into an event stream on its way to the client, while the upstream is silent."""

from __future__ import annotations

import asyncio
import collections
import re
import threading
import typing as t

from rolo.bridge.thread_body import ThreadBody
from rolo.errors import EventStreamOver, NoPortalError
from rolo.net.body import Body, LoopBody
from rolo.portal.hook_runner import HookRunner
from rolo.portal.portal import Portal
from rolo.proxy.hooks.sse import Event
from rolo.wire.fields import RawHeaders

# Two line ends, of which CRLF is one.
_BETWEEN_EVENTS = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)\Z")


class RelayedEvents:
    """An event stream on its way to the client. Any thread may call its methods, and any hook
    that may wait: they return when what they send is on its way, which it is not while the
    client does not read.

    What is sent goes between two events of the upstream, past all functions over the stream.
    (So ``on_event`` may send; a function over the stream's pieces that sends in the middle of an
    event would wait for itself.) What is sent before the stream runs, in ``on_response``, goes before all else.
    """

    def __init__(self, portal: Portal) -> None:
        # One of its own: what waits here is let go by the end of the stream.
        self._portal = Portal(portal.loop_scope)
        self._lock = threading.Lock()
        self._early: list[bytes] | None = []
        self._waiting: collections.deque[tuple[bytes, asyncio.Future[None]]] = collections.deque()
        self._poked: asyncio.Future[None] | None = None
        self._over: asyncio.Event = asyncio.Event()

    @property
    def is_over(self) -> bool:
        """True once the stream has ended, by whichever side."""
        return self._over.is_set()

    def send(self, event: Event | str) -> None:
        """Send an event to the client; text is an event's data.

        :raises EventStreamOver: the stream has ended, or ends before the event is sent
        :raises NoPortalError: on the loop's own thread, outside a hook
        """
        self._send((Event(event) if isinstance(event, str) else event).to_bytes())

    def comment(self, text: str = "") -> None:
        """Send a comment, of which no page is told: it only keeps the connection alive.
        Raises as :meth:`send`."""
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        self._send(Event(comments=lines).to_bytes())

    def wait(self, seconds: float) -> bool:
        """Wait for so many seconds, or until the stream is over. Return whether it still
        runs."""
        try:
            return not self.is_over and self._portal.call(self._runs_on(seconds))
        except NoPortalError:
            if self._portal.loop.is_running():
                raise
            return False

    def _send(self, data: bytes) -> None:
        with self._lock:
            if self._early is not None and not self.is_over:
                self._early.append(data)
                return
        if self.is_over:
            raise EventStreamOver("the event stream is over")
        self._portal.call(self._sent(data))

    # --- on the loop

    async def _sent(self, data: bytes) -> None:
        if self.is_over:
            raise EventStreamOver("the event stream is over")
        sent = asyncio.get_running_loop().create_future()
        waiting = data, sent
        self._waiting.append(waiting)
        self._poke()
        try:
            await sent
        except asyncio.CancelledError:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
            raise

    async def _runs_on(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._over.wait()
        except TimeoutError:
            return not self.is_over
        return False

    def poked(self) -> asyncio.Future[None]:
        """Return what is done when :meth:`take` may have something. The loop's thread only."""
        if self._poked is None or self._poked.done():
            self._poked = asyncio.get_running_loop().create_future()
        return self._poked

    def _poke(self) -> None:
        if self._poked is not None and not self._poked.done():
            self._poked.set_result(None)

    def take(self) -> bytes:
        """Return what is to be sent next, ``b""`` if there is nothing. The loop's thread only."""
        with self._lock:
            early, self._early = self._early, None
        if early:
            return b"".join(early)
        while self._waiting:
            data, sent = self._waiting.popleft()
            if not sent.done():
                sent.set_result(None)
                return data
        return b""

    def end(self) -> None:
        """The stream is over. Any thread."""
        self._portal.post(self._end)

    def _end(self) -> None:
        with self._lock:
            self._early = None
        self._over.set()
        while self._waiting:
            _, sent = self._waiting.popleft()
            if not sent.done():
                sent.set_exception(EventStreamOver("the event stream ended meanwhile"))
        self._poke()


class SpokenBody(LoopBody):
    """The body of an event stream with what is sent into it by ``events``.

    :param body: the stream; pulled on the loop if it can be, else on a thread or in a greenlet
    """

    def __init__(self, body: Body, events: RelayedEvents, portal: Portal) -> None:
        self._body = body
        self._events = events
        self._portal = portal
        self._pull: t.Callable[[], t.Awaitable[bytes]] | None = None
        self._close_body: t.Callable[[], None] = body.close
        self._reading: asyncio.Task[bytes] | None = None
        self._tail = b"\n\n"
        self._closed = False

    def __aiter__(self) -> SpokenBody:
        return self

    async def __anext__(self) -> bytes:
        events = self._events
        while True:
            if _BETWEEN_EVENTS.search(self._tail) and (spoken := events.take()):
                return spoken
            if self._reading is None:
                self._reading = asyncio.get_running_loop().create_task(self._read())
            await asyncio.wait((self._reading, events.poked()), return_when=asyncio.FIRST_COMPLETED)
            if self._reading.done():
                reading, self._reading = self._reading, None
                piece = reading.result()
                if not piece:
                    events.end()
                    raise StopAsyncIteration
                self._tail = (self._tail + piece)[-4:]
                return piece

    def __iter__(self) -> t.Iterator[bytes]:
        while piece := self._portal.call(self._next()):
            yield piece

    async def _next(self) -> bytes:
        return await anext(self, b"")

    async def _read(self) -> bytes:
        if self._pull is None:
            self._pull = self._puller()
        return await self._pull()

    def _puller(self) -> t.Callable[[], t.Awaitable[bytes]]:
        """Return what gives the next piece of the stream, ``b""`` at its end."""
        body, portal = self._body, self._portal
        runner = HookRunner.of(portal)
        if isinstance(body, LoopBody):
            source: t.AsyncIterable[bytes] = body
        elif runner.pool is not None:
            threaded = ThreadBody(body, body.close, runner.pool, portal)
            self._close_body = threaded.close
            source = threaded
        else:
            iterator = iter(body)
            self._close_body = lambda: runner.start(portal, body.close)
            return lambda: runner.run(portal, next, iterator, b"")

        async def pull() -> bytes:
            return await anext(aiter(source), b"")

        return pull

    @property
    def trailers(self) -> RawHeaders:
        return self._body.trailers

    def close(self) -> None:
        self._portal.post(self._close)

    def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._events.end()
        if self._reading is None or self._reading.done():
            self._close_body()
        else:
            # What is being read cannot be closed.
            self._reading.add_done_callback(self._read_last)
            self._reading.cancel()

    def _read_last(self, reading: asyncio.Task[bytes]) -> None:
        if not reading.cancelled():
            reading.exception()  # nobody else looks at it
        self._close_body()
