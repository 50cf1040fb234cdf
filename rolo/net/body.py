"""What all bodies can do that pass a house like this one, with what a kind cannot do left as here.

A body is handed on as it is; whoever passes it on asks these methods and never what kind it is.
"""

from __future__ import annotations

import collections.abc
import typing as t

from rolo.net.body_stream import Sink
from rolo.wire.fields import RawHeaders


class Body:
    """The body of an answer on its way to the client, which sync code may iterate."""

    __slots__ = ()

    close_runs_code = True
    """To close it may run code of a user's, which may block or wait."""

    def __iter__(self) -> t.Iterator[bytes]:
        raise NotImplementedError

    @property
    def trailers(self) -> RawHeaders:
        """The trailer fields; empty before the end of the body."""
        return []

    def read_whole_nowait(self) -> bytes | None:
        """Return the whole body if it is here already, else ``None`` and no change."""
        return None

    @property
    def spent(self) -> bool:
        """It holds nothing any more: to close it is of no use."""
        return False

    def close(self) -> None:
        """Release what the body holds. May be called from any thread, and again."""


class LoopBody(Body):
    """A body that the loop pulls itself, without a thread."""

    __slots__ = ()

    close_runs_code = False

    def __aiter__(self) -> t.AsyncIterator[bytes]:
        raise NotImplementedError

    async def pipe(self, sink: Sink) -> None:
        """Hand the body to ``sink`` as it comes, and return at its end.

        :raises: what pulling it raises, and whatever ``sink`` raises
        """
        async for piece in self:
            if piece and not sink.write(piece):
                await sink.drained()


class GivenBody(Body):
    """An iterable of a user's."""

    __slots__ = ("_pieces",)

    def __init__(self, pieces: t.Any) -> None:
        self._pieces = pieces

    def __iter__(self) -> t.Iterator[bytes]:
        return iter(self._pieces)

    def close(self) -> None:
        close_given(self._pieces)


class GivenLoopBody(LoopBody):
    """An asynchronous iterable of a user's."""

    __slots__ = ("_pieces",)

    def __init__(self, pieces: t.Any) -> None:
        self._pieces = pieces

    def __aiter__(self) -> t.AsyncIterator[bytes]:
        return aiter(self._pieces)

    def __iter__(self) -> t.Iterator[bytes]:
        return iter(self._pieces)  # perhaps it can be both

    def close(self) -> None:
        close_given(self._pieces)


def body_of(given: t.Any) -> Body:
    """Return the iterable that a handler or a client of a user's gave as a :class:`Body`."""
    if isinstance(given, Body):
        return given
    if isinstance(given, collections.abc.AsyncIterable):
        return GivenLoopBody(given)
    return GivenBody(given)


def close_given(given: t.Any) -> None:
    """Close an iterable that a user made, if it can be closed (PEP 3333)."""
    close = getattr(given, "close", None)
    if close is not None:
        close()


class Upload:
    """A request body on its way to the origin, pulled on the loop."""

    __slots__ = ()

    async def receive_body(self) -> bytes:
        """Return the next piece, ``b""`` at the end; raise if it broke."""
        raise NotImplementedError

    async def pipe(self, sink: Sink) -> None:
        """Hand the body to ``sink`` as it comes, and return at its end.

        :raises: as :meth:`receive_body`, and whatever ``sink`` raises
        """
        while piece := await self.receive_body():
            if not sink.write(piece):
                await sink.drained()
