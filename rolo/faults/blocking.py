"""Answers through faults where there is no event loop (WSGI): as far as sleeping, changing and
breaking off a body go."""

from __future__ import annotations

import time
import typing as t

from rolo.errors import FaultUnavailable, InjectedFault
from rolo.faults.fault import Shot
from rolo.faults.message import Bottom, Head, Way

if t.TYPE_CHECKING:
    from rolo.bridge.answer import Answer

Step = bytes | float
"""A piece to send, or seconds to sleep."""


class _Wait:
    """Hands one step to whoever drives the way."""

    def __init__(self, step: Step) -> None:
        self._step = step

    def __await__(self) -> t.Generator[Step, None, None]:
        yield self._step


class BlockingBottom(Bottom):
    """The end of a way that :func:`spoilt` drives."""

    def __init__(self) -> None:
        super().__init__(None)
        self.sent: Head | None = None

    async def head(self, head: Head) -> None:
        self.sent = head

    async def body(self, piece: bytes) -> None:
        await _Wait(piece)

    async def end(self) -> None:
        pass

    def now(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        if seconds > 0:
            await _Wait(float(seconds))

    def break_off(self, why: str, *, reset: bool = False) -> t.NoReturn:
        raise InjectedFault(why)

    def spoilt(self, why: str) -> None:
        raise InjectedFault(why)


def spoilt(answer: Answer, shots: tuple[Shot, ...], way: t.Callable[..., Way]) -> Answer:
    """Return ``answer`` as it is sent through ``shots``; sleeps until its head is due.

    :raises FaultUnavailable: one of them wants the connection itself, or would never end
    """
    for shot in shots:
        if shot.fault.needs_wire or shot.fault.endless:
            raise FaultUnavailable(
                f"{shot.fault!r} is not to be had under WSGI: the native server has it"
            )
    bottom = BlockingBottom()
    top = way(shots, bottom)
    for _ in _driven(top.head(Head(b"", answer.headers, answer.status, answer.reason))):
        pass
    assert bottom.sent is not None
    source = answer.iterable if answer.whole is None else [answer.whole]
    answer.headers = bottom.sent.headers
    answer.whole, answer.iterable = None, _pieces(top, source or ())
    return answer


def _pieces(top: Way, source: t.Iterable[bytes]) -> t.Iterator[bytes]:
    for piece in source:
        if piece:
            yield from _driven(top.body(piece))
    yield from _driven(top.end())


def _driven(coroutine: t.Coroutine[Step, None, None]) -> t.Iterator[bytes]:
    """Take the steps of ``coroutine``: sleep, and give the pieces."""
    try:
        while True:
            step = coroutine.send(None)
            if isinstance(step, bytes):
                yield step
            else:
                time.sleep(step)
    except StopIteration:
        pass
    finally:
        coroutine.close()
