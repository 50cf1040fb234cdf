"""From a decided :class:`~rolo.response.Response` to what the downstream sends."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import threading
import typing as t

from rolo.bridge.downstream import RawHeaders
from rolo.bridge.flow import Inflow, Outlet, pour_pulled
from rolo.bridge.portal import Portal
from rolo.bridge.workers import Workers
from rolo.forwarded import LazyResponse
from rolo.response import Response

_AHEAD = 128 * 1024
"""Bytes that a generator on a worker thread may be ahead of the client."""


class Sink(t.Protocol):
    """Where a body goes: an ``HttpDownstream``, or what stands in front of one."""

    @property
    def outlet(self) -> Outlet | None: ...

    async def send_body(self, chunk: bytes) -> None: ...


class PulledBody(t.Protocol):
    """A response body that the loop pulls itself, without a thread."""

    def __aiter__(self) -> t.AsyncIterator[bytes]: ...


@dataclasses.dataclass(slots=True, eq=False)
class Outcome:
    """A response taken apart: what to send, and what to close afterwards."""

    status: int
    reason: bytes
    headers: RawHeaders
    whole: bytes | None
    """The complete body, if it is there already."""
    pulled: PulledBody | None
    """A body for the loop to pull."""
    iterable: t.Iterable[bytes] | None
    """A body that only sync code may iterate."""
    close: t.Callable[[], None]
    body: t.Any = None
    """Whatever the parts above came from."""

    def trailers(self) -> RawHeaders:
        """Return the trailer fields of the body; none before its end, or where it has none."""
        return getattr(self.body, "trailers", None) or []


def take_apart(response: Response, environ: t.Callable[[], t.Any], method: str) -> Outcome:
    """Return what there is to send of ``response``.

    ``environ`` is called only for responses whose head werkzeug has to complete.
    """
    answer = response.untouched_answer if isinstance(response, LazyResponse) else None
    if answer is not None:
        status, reason, headers, body = answer.status, answer.reason, answer.headers, answer.body
    else:
        status, reason = _status_line(response)
        headers = _completed_headers(response, environ)
        body = _encoded_body(response)
    close = response.close
    if status == 204:
        # RFC 9110 section 8.6
        headers = [field for field in headers if field[0].lower() != b"content-length"]
    if method == "HEAD" or status < 200 or status in (204, 304):
        return Outcome(status, reason, headers, b"", None, None, close)
    if isinstance(body, list | tuple):
        return Outcome(status, reason, headers, b"".join(body), None, None, close)
    if not hasattr(body, "__aiter__"):
        iterable = t.cast("t.Iterable[bytes]", body)
        return Outcome(status, reason, headers, None, None, iterable, close, body)
    read_whole = getattr(body, "read_whole_nowait", None)
    whole = read_whole() if read_whole is not None else None
    pulled = t.cast(PulledBody, body) if whole is None else None
    if whole is not None and not _has_length(headers):
        # That all of it is here already is chance: what came without a length goes without.
        headers = [*headers, (b"Transfer-Encoding", b"chunked")]
    return Outcome(status, reason, headers, whole, pulled, None, close, body)


def _has_length(headers: RawHeaders) -> bool:
    for name, _ in headers:  # noqa: SIM110 - a generator costs more than the looking
        if name.lower() == b"content-length":
            return True
    return False


def _status_line(response: Response) -> tuple[int, bytes]:
    reason = response.status.partition(" ")[2].encode("latin-1", "replace")
    return response.status_code, reason


def _completed_headers(response: Response, environ: t.Callable[[], t.Any]) -> RawHeaders:
    if isinstance(response, LazyResponse) and response.is_forwarded:
        # What an upstream sent is not for us to complete, but a body that a handler put in
        # its place has a length of its own.
        if response.is_sequence and "Content-Length" in response.headers:
            response.headers["Content-Length"] = str(response.calculate_content_length())
        pairs: t.Iterable[tuple[str, t.Any]] = response.headers
    else:
        pairs = response.get_wsgi_headers(environ())
    return [(name.encode("latin-1"), str(value).encode("latin-1")) for name, value in pairs]


def _encoded_body(response: Response) -> t.Any:
    body = response.response
    if hasattr(body, "__aiter__") or response.direct_passthrough:
        return body
    if isinstance(body, list | tuple):
        return list(response.iter_encoded())
    return response.iter_encoded()


async def pump(body: PulledBody, downstream: Sink) -> None:
    """Send what the loop pulls from ``body``, poured where the server takes that."""
    if downstream.outlet is not None:
        await pour_pulled(body, downstream.outlet)
        return
    async for piece in body:
        if piece:
            await downstream.send_body(piece)


def push(body: t.Iterable[bytes], downstream: Sink, portal: Portal) -> None:
    """Send what sync code in a greenlet yields; a greenlet's half of :func:`pump`."""
    outlet = downstream.outlet
    for count, piece in enumerate(body):
        if piece and outlet is None:
            portal.call(downstream.send_body(piece))
        elif piece and outlet is not None and not outlet.write(piece):
            portal.call(outlet.drained())
        if count % 16 == 15:
            # A generator that never waits must not keep the loop to itself.
            portal.call(asyncio.sleep(0))


class ThreadPuller(Inflow):
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
        self._loop = portal.loop
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
        self._error: BaseException | None = None

    def __aiter__(self) -> t.AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if piece := await self._read():
            return piece
        raise StopAsyncIteration

    async def pour(self, outlet: Outlet) -> None:
        """Hand the body to ``outlet`` as it is made, and return at its end.

        :raises: what iterating it raises, and whatever ``outlet`` raises
        """
        await self._pour(outlet)

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
        try:
            self._workers.run(lambda: self._portal.run_in_context(self._close))
        except RuntimeError:
            self._portal.run_in_context(self._close)  # the pool is gone: better here than never

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
        self._workers.run(lambda: self._portal.run_in_context(self._pull))

    def _take_made(self) -> None:
        self._telling = False
        made = self._made
        pieces = [made.popleft() for _ in range(len(made))]
        if pieces:
            self._put_size += sum(map(len, pieces))
            self._put(pieces)

    def _left(self, error: BaseException | None, ended: bool) -> None:
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

    def _pull(self) -> None:
        try:
            if self._iterator is None:
                self._iterator = iter(self._body)
            ended = self._pull_stretch(self._iterator)
            self._tell(None, ended)
        except BaseException as exc:  # noqa: BLE001 - raised again where the body is sent
            self._tell(exc, True)

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
                self._loop.call_soon_threadsafe(self._take_made)
            if self._is_full():
                return False
        return True

    def _tell(self, error: BaseException | None, ended: bool) -> None:
        with self._lock:
            self._running = False
            close_here = self._stopped and not self._closed
            self._closed = self._closed or close_here
        if close_here:
            self._portal.settle()
            self._close()
        else:
            self._loop.call_soon_threadsafe(self._left, error, ended)
