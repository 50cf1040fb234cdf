"""Bodies on their way through hooks: transformed, counted, and closed once."""

from __future__ import annotations

import asyncio
import itertools
import typing as t

from rolo.errors import BodyTooLarge
from rolo.net.body import Body, LoopBody, Upload, close_given
from rolo.net.body_stream import SeenSink, Sink
from rolo.portal.hook_runner import HookRunner
from rolo.portal.portal import Portal
from rolo.portal.thread_reader import ThreadReader
from rolo.proxy.hooks.transform import Pieces, Stage
from rolo.upstream.request import UpstreamRequest
from rolo.wire.content_codings import decode, encode
from rolo.wire.fields import RawHeaders

See = t.Callable[[bytes], t.Any]

_EAGER = 128 * 1024
"""Bytes of a transformed body that is sent in one step with its head."""


def gathered(pieces: Pieces, limit: int | None, taken: list[bytes] | None = None) -> bytes:
    """Return all of ``pieces`` joined.

    :param limit: bytes, ``None`` for no limit
    :param taken: gets the pieces, of which nothing is lost in an error
    :raises BodyTooLarge: they are more
    """
    taken, size = [] if taken is None else taken, 0
    for piece in pieces:
        taken.append(piece)
        size += len(piece)
        if limit is not None and size > limit:
            raise BodyTooLarge(f"a body of more than {limit} bytes was to be read whole")
    return b"".join(taken)


def pipeline(
    pieces: Pieces,
    codings: t.Sequence[str],
    stages: t.Sequence[Stage],
    *,
    of_request: bool = False,
) -> Chain:
    """Return ``pieces`` decoded, passed through ``stages`` in order, and encoded again.

    :param of_request: see :func:`~rolo.wire.content_codings.decode`
    :raises UnknownCoding: they cannot be decoded
    """
    steps: list[t.Iterator[bytes]] = []
    current: Pieces = pieces
    if codings:
        current = decode(pieces, codings, of_request=of_request)
        steps.append(current)
    for stage in stages:
        current = stage(current)
        steps.append(current)
    if codings:
        current = encode(current, codings)
        steps.append(current)
    return Chain(iter(current), steps)


class Chain:
    """An iterator through several generators, which closes all of them."""

    __slots__ = ("_current", "_steps")

    def __init__(self, current: t.Iterator[bytes], steps: list[t.Iterator[bytes]]) -> None:
        self._current = current
        self._steps = steps

    def __iter__(self) -> t.Iterator[bytes]:
        return self._current

    def take_whole(self) -> bytes | None:
        """Return all of it if that is little, else ``None``; nothing is lost then."""
        taken, size = [], 0
        for piece in self._current:
            taken.append(piece)
            size += len(piece)
            if size > _EAGER:
                self._current = itertools.chain(taken, self._current)
                return None
        return b"".join(taken)

    def close(self) -> None:
        # From the reader's end, as if it had been one generator.
        for step in reversed(self._steps):
            close_given(step)


class Watcher(t.Protocol):
    """Told how a body fares."""

    def body_ended(self) -> None:
        """All of it was read."""

    def body_failed(self, error: BaseException) -> None:
        """It broke off."""

    def body_closed(self, sent: int) -> None:
        """It is closed, after so many bytes; called once, last."""


class TrackedBody(LoopBody):
    """A response body that passes untouched, with its bytes counted.

    The loop pulls it as it would have pulled the body inside, a
    :class:`~rolo.upstream.forwarded_body.ForwardedBody`.
    """

    def __init__(self, body: LoopBody, watcher: Watcher) -> None:
        self._body = body
        self._watcher = watcher
        self._sent = 0
        self._closed = False

    def __aiter__(self) -> TrackedBody:
        return self

    async def __anext__(self) -> bytes:
        try:
            piece: bytes = await anext(aiter(self._body))
        except StopAsyncIteration:
            self._watcher.body_ended()
            raise
        except Exception as exc:
            self._watcher.body_failed(exc)
            raise
        self._passed(piece)
        return piece

    async def pipe(self, sink: Sink) -> None:
        try:
            await self._body.pipe(SeenSink(sink, self._passed))
        except Exception as exc:
            self._watcher.body_failed(exc)
            raise
        self._watcher.body_ended()

    def _passed(self, piece: bytes) -> None:
        self._sent += len(piece)

    def __iter__(self) -> t.Iterator[bytes]:
        try:
            for piece in self._body:
                self._passed(piece)
                yield piece
        except Exception as exc:
            self._watcher.body_failed(exc)
            raise
        self._watcher.body_ended()

    def read_whole_nowait(self) -> bytes | None:
        whole = self._body.read_whole_nowait()
        if whole is not None:
            self._passed(whole)
            self._watcher.body_ended()
        return whole

    @property
    def trailers(self) -> RawHeaders:
        return self._body.trailers

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            self._body.close()
        finally:
            self._watcher.body_closed(self._sent)


class Unwatched:
    """A watcher that nobody needs."""

    def body_ended(self) -> None: ...

    def body_failed(self, error: BaseException) -> None: ...

    def body_closed(self, sent: int) -> None: ...


class TappedBody(TrackedBody):
    """A response body that passes untouched, and is shown to ``see`` as it passes."""

    def __init__(self, body: LoopBody, see: See) -> None:
        super().__init__(body, Unwatched())
        self._see = see

    def _passed(self, piece: bytes) -> None:
        if piece:
            self._see(piece)


class PulledTap(Body):
    """The same for a body that only sync code may iterate."""

    def __init__(self, body: Body, see: See) -> None:
        self._body = body
        self._see = see

    def __iter__(self) -> t.Iterator[bytes]:
        return seen(self._body, self._see)

    @property
    def trailers(self) -> RawHeaders:
        return self._body.trailers

    def close(self) -> None:
        self._body.close()


def tapped(body: Body, see: See) -> Body:
    """Return ``body`` as it is, shown to ``see`` as it passes."""
    return TappedBody(body, see) if isinstance(body, LoopBody) else PulledTap(body, see)


class WholeBody(LoopBody):
    """A response body that was read to its end, to be sent as it came."""

    def __init__(self, data: bytes, source: Body) -> None:
        self.data = data
        self._source = source

    def __iter__(self) -> t.Iterator[bytes]:
        return iter([self.data])

    async def __aiter__(self) -> t.AsyncIterator[bytes]:
        yield self.data

    def read_whole_nowait(self) -> bytes:
        return self.data

    @property
    def trailers(self) -> RawHeaders:
        return self._source.trailers

    def close(self) -> None:
        self._source.close()


class BegunBody(Body):
    """A response body of which some was read already, to be sent as it came; only sync code
    may iterate it.

    :param taken: what was read
    :param rest: what goes on behind it
    :param source: the body, closed with this one
    """

    def __init__(self, taken: list[bytes], rest: t.Iterator[bytes], source: Body) -> None:
        self._pieces = itertools.chain(taken, rest)
        self._source = source

    def __iter__(self) -> t.Iterator[bytes]:
        return self._pieces

    @property
    def trailers(self) -> RawHeaders:
        return self._source.trailers

    def close(self) -> None:
        self._source.close()


class TransformedBody(Body):
    """A response body that sync code makes of another.

    :param pieces: what is sent
    :param source: the body it is made of, closed with this one
    :param edit_trailers: given the trailer fields of ``source`` when it has ended; returns
        those to send
    """

    def __init__(
        self,
        pieces: Pieces,
        source: Body,
        watcher: Watcher,
        edit_trailers: t.Callable[[RawHeaders], RawHeaders] | None = None,
    ) -> None:
        self._pieces = pieces
        self._source = source
        self._watcher = watcher
        self._edit_trailers = edit_trailers
        self._sent = 0
        self._closed = False
        self._trailers: RawHeaders = []

    def __iter__(self) -> t.Iterator[bytes]:
        try:
            for piece in self._pieces:
                if piece:
                    self._sent += len(piece)
                    yield piece
            trailers = self._source.trailers
            self._trailers = self._edit_trailers(trailers) if self._edit_trailers else trailers
        except Exception as exc:
            self._watcher.body_failed(exc)
            raise
        self._watcher.body_ended()

    @property
    def trailers(self) -> RawHeaders:
        return self._trailers

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            close_given(self._pieces)
            self._source.close()
        finally:
            self._watcher.body_closed(self._sent)


def upload_pieces(body: t.Any, portal: Portal | None) -> t.Iterator[bytes]:
    """Return the pieces of a request body that is not here yet; without a portal it is an
    iterable of them."""
    return iter(body) if portal is None else UploadPieces(body, portal)


def seen(pieces: Pieces, see: See) -> t.Iterator[bytes]:
    """Yield ``pieces``, each shown to ``see`` first, but for empty ones."""
    for piece in pieces:
        if piece:
            see(piece)
        yield piece


class TappedUpload(Upload):
    """A request body that passes untouched, and is shown to ``see`` as it passes."""

    def __init__(self, body: Upload, see: See) -> None:
        self._body = body
        self._see = see

    async def receive_body(self) -> bytes:
        piece = await self._body.receive_body()
        if piece:
            self._see(piece)
        return piece

    async def pipe(self, sink: Sink) -> None:
        """Hand all of it to ``sink`` as it comes."""
        await self._body.pipe(SeenSink(sink, self._see))


def tap_upload(outgoing: UpstreamRequest, see: See, portal: Portal | None) -> None:
    """Show the body of ``outgoing`` to ``see``, now or as it passes."""
    body = outgoing.body
    if isinstance(body, bytes):
        if body:
            see(body)
    elif body is not None and portal is not None:
        outgoing.body = TappedUpload(body, see)
    elif body is not None:
        # Without a loop the client takes an iterable.
        outgoing.body = t.cast(Upload, seen(upload_pieces(body, None), see))


class UploadPieces:
    """The pieces of a request body for sync code, which waits for each: in a greenlet through
    the portal, on a thread for what the loop pipes ahead."""

    def __init__(self, body: Upload, portal: Portal) -> None:
        self._body = body
        self.portal = portal
        self._thread_reader: ThreadReader | None = None  # of a thread that iterates this
        self._waiting: asyncio.Task[t.Any] | None = None
        self._unwanted = False

    def __iter__(self) -> t.Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self.portal.on_loop:
            piece = self.portal.call(self._receive())
        else:
            reader = self._thread_reader
            if reader is None:
                reader = self._thread_reader = ThreadReader(self._body.pipe, self.portal)
                # Looked at after the reader is there for cancel() to see: whoever comes second
                # sees the other. A reader that is not cancelled would take the body for nobody.
                if self._unwanted:
                    reader.cancel()
            piece = reader.take()
        if not piece:
            raise StopIteration
        return piece

    async def _receive(self) -> bytes:
        self._waiting = asyncio.current_task()
        try:
            return await self._body.receive_body()
        finally:
            self._waiting = None

    def cancel(self) -> None:
        """Let go whoever waits for a piece; nobody wants the rest. The loop's thread only."""
        self._unwanted = True
        if self._waiting is not None:
            self._waiting.cancel()
        if self._thread_reader is not None:
            self._thread_reader.cancel()


class TransformedUpload(Upload):
    """A request body that sync code makes of another.

    :param source: where ``pieces`` come from in the end
    """

    def __init__(self, pieces: Pieces, source: UploadPieces) -> None:
        self._iterator = iter(pieces)
        self._source = source

    async def receive_body(self) -> bytes:
        portal = self._source.portal
        try:
            return await HookRunner.of(portal).run(portal, self._next)
        except BaseException:
            # A hook has failed, or the answer came early and does not want the rest: a
            # thread may wait for it, or the loop pipe it for nobody.
            self._source.cancel()
            raise

    def _next(self) -> bytes:
        # An empty piece would be taken for the end.
        return next((piece for piece in self._iterator if piece), b"")
