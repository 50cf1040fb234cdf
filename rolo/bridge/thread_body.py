"""A response body that sync code makes on worker threads, pulled by the loop."""

from __future__ import annotations

import collections
import threading
import typing as t

from rolo.net.body import LoopBody
from rolo.net.body_stream import BodyStream, Sink
from rolo.portal.containment import contained
from rolo.portal.portal import Portal
from rolo.portal.workers import Workers

_AHEAD = 128 * 1024
"""Bytes that a generator on a worker thread may be ahead of the client."""


def close_soon(close: t.Callable[[], None], workers: Workers, portal: Portal) -> None:
    """Close the body of the exchange of ``portal`` on a thread, without waiting for it."""
    try:
        workers.run(lambda: portal.run_in_context(close))
    except RuntimeError:
        portal.run_in_context(close)  # the pool is gone: better here than never


class ThreadBody(BodyStream, LoopBody):
    """Iterates a sync body on the worker pool, one stretch at a time.

    A worker pulls pieces and hands them to the loop; when the client cannot keep up it
    leaves, and a worker comes back once there is room. So a slow client holds no thread,
    and a quick one costs no hop per piece.
    """

    def __init__(
        self,
        body: t.Iterable[bytes],
        close: t.Callable[[], None],
        workers: Workers,
        portal: Portal,
    ) -> None:
        super().__init__()
        self._body = body
        self._iterator: t.Iterator[bytes] | None = None
        self._close = close
        self._workers = workers
        self._portal = portal
        self._lock = threading.Lock()
        self._running = False
        self._stopped = False
        self._closed = False
        # The worker adds, the loop takes; each writes its own count of bytes.
        self._made: collections.deque[bytes] = collections.deque()
        self._made_size = self._put_size = 0
        self._telling = False
        # Only the loop's thread touches the following.
        self._ended = False
        self._error: Exception | None = None

    def __aiter__(self) -> t.AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if piece := await self._read():
            return piece
        raise StopAsyncIteration

    async def pipe(self, sink: Sink) -> None:
        """Hand the body to ``sink`` as it is made, and return at its end.

        :raises: what iterating it raises, and whatever ``sink`` raises
        """
        await self._pipe(sink)

    def close(self) -> None:
        """Stop pulling and close the body, on the pool, once no worker is inside it."""
        with self._lock:
            self._stopped = True
            if self._closed:
                return
            inside = self._running
            self._closed = not inside
        if inside:
            # The worker closes it when it comes out, which it does now if it waits for us.
            self._portal.let_go()
            return
        close_soon(self._close, self._workers, self._portal)

    # --- on the loop

    def _at_end(self) -> bool:
        if self._error is not None:
            raise self._error
        return self._ended

    def _starving(self) -> None:
        self._resume()

    def _emptied(self) -> None:
        self._resume()

    def _resume(self) -> None:
        if self._ended or self._is_full():
            return
        with self._lock:
            if self._running or self._stopped:
                return
            self._running = True
        self._workers.run(self._work)

    def _take_made(self) -> None:
        self._telling = False
        made = self._made
        pieces = [made.popleft() for _ in range(len(made))]
        if pieces:
            self._put_size += sum(map(len, pieces))
            self._put(pieces)

    def _left(self, error: Exception | None, ended: bool) -> None:
        """The worker has come out."""
        self._take_made()
        self._error = error
        self._ended = ended
        if ended:
            self._wake()
        else:
            self._resume()

    # --- on a worker thread

    def _is_full(self) -> bool:
        """The client cannot keep up; of what this looks at, some is the loop's to write."""
        return self.full(_AHEAD - (self._made_size - self._put_size))

    def _work(self) -> None:
        error, ended = self._portal.run_in_context(self._pull)
        # Told from outside of the context, which one thread at a time can be in: whoever hears
        # of it may send the next thread there, to go on or to close the body.
        self._tell(error, ended)

    def _pull(self) -> tuple[Exception | None, bool]:
        """Return what went wrong, and whether the body has ended."""
        try:
            if self._iterator is None:
                self._iterator = iter(self._body)
            return None, self._pull_stretch(self._iterator)
        except BaseException as exc:  # noqa: BLE001 - raised again where the body is sent
            return contained(exc, steered=False), True

    def _pull_stretch(self, iterator: t.Iterator[bytes]) -> bool:
        for piece in iterator:
            if self._stopped:
                return False
            if not piece:
                continue
            self._made_size += len(piece)
            self._made.append(piece)
            if not self._telling:
                self._telling = True
                self._portal.post(self._take_made)
            if self._is_full():
                return False
        return True

    def _tell(self, error: Exception | None, ended: bool) -> None:
        with self._lock:
            self._running = False
            close_here = self._stopped and not self._closed
            self._closed = self._closed or close_here
        if close_here:
            self._portal.settle()
            self._portal.run_in_context(self._close)
        else:
            self._portal.post(self._left, error, ended)
