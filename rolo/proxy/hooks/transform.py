"""Functions over a body, made into stages of a pipeline.

A stage takes pieces and gives pieces: it is pulled from its end, so a slow reader slows
all of it, and each stage holds one piece at a time.
"""

from __future__ import annotations

import inspect
import logging
import typing as t

from werkzeug.exceptions import HTTPException

from rolo.errors import HookError, RoloError, printable
from rolo.portal.containment import ERRORS, contained
from rolo.proxy.hooks.sse import Event, blocks
from rolo.websocket.errors import WebSocketError
from rolo.wire.charsets import Lines, codec_of

LOG = logging.getLogger(__name__)

T = t.TypeVar("T")
F = t.TypeVar("F", bound=t.Callable[..., t.Any])

Pieces = t.Iterable[bytes]
Stage = t.Callable[[Pieces], t.Iterator[bytes]]

ChunkFunction = t.Callable[[bytes], bytes | t.Iterable[bytes] | None]
"""Gives what stands for one piece: another, several, or none (``b""`` or an empty list);
``None`` leaves it."""
ChunkGenerator = t.Callable[[t.Iterator[bytes]], t.Iterator[bytes]]
"""A generator function that takes the pieces and yields those to send."""

LineFunction = t.Callable[[str], str | t.Iterable[str] | None]
LineGenerator = t.Callable[[t.Iterator[str]], t.Iterator[str]]

EventFunction = t.Callable[[Event], Event | t.Iterable[Event] | None]
EventGenerator = t.Callable[[t.Iterator[Event]], t.Iterator[Event]]


def name_of(function: t.Any) -> str:
    """Return the name under which a hook is logged."""
    return getattr(function, "__qualname__", None) or type(function).__qualname__


def takes_parts(function: F) -> F:
    """Mark a function that is given bodies as one for which a part (206) does as well as the
    whole: it counts bytes, say, or throttles them. Use it as a decorator, of methods too.

    :raises TypeError: it cannot be marked: a bound method, or one of Python's own
    """
    try:
        function.takes_parts = True  # type: ignore[attr-defined]
    except AttributeError:
        raise TypeError(
            f"{name_of(function)} cannot be marked with takes_parts: use it as a decorator"
        ) from None
    return function


def wants_parts(function: t.Any) -> bool:
    """Whether it was marked with :func:`takes_parts`."""
    return getattr(function, "takes_parts", False) is True


def call(label: str, function: t.Callable[..., T], *args: t.Any) -> T:
    """Call a hook.

    :raises HTTPException: it raised one, an answer of its own as long as no head is out
    :raises HookError: it raised something that is not an error of rolo's own; logged
    """
    try:
        return function(*args)
    except (HTTPException, RoloError, WebSocketError):
        raise
    except ERRORS as exc:
        raise failed(label, exc) from exc


def failed(label: str, error: BaseException, *, steered: bool = True) -> HookError:
    """Log what a hook raised, and return the error that stands for it.

    :raises BaseException: as :func:`~rolo.portal.containment.contained`
    """
    contained(error, steered=steered)
    said = printable(str(error))
    LOG.error("%s raised %s: %s", label, type(error).__name__, said, exc_info=error)
    wrapped = HookError(f"{label} raised {type(error).__name__}")
    wrapped.phase = label
    return wrapped


def guarded(label: str, iterator: t.Iterator[T]) -> t.Iterator[T]:
    """Yield what a hook's generator yields, with its errors as :func:`call` has them."""
    try:
        yield from iterator
    except (HTTPException, RoloError):
        raise
    except ERRORS as exc:
        raise failed(label, exc) from exc


def is_generator(function: t.Any) -> bool:
    """Whether ``function`` wants all pieces, to yield others."""
    return inspect.isgeneratorfunction(inspect.unwrap(function)) or inspect.isgeneratorfunction(
        getattr(function, "func", None)
    )


def several(
    value: T | t.Iterable[T] | None, single: type[t.Any] | tuple[type[t.Any], ...], kept: T
) -> t.Iterable[T]:
    """Return what a hook gave as a series: itself, its items, or ``kept`` for ``None``."""
    if value is None:
        return (kept,)
    if isinstance(value, single):
        return (t.cast("T", value),)
    return t.cast("t.Iterable[T]", value)


def chunk_stage(function: ChunkFunction | ChunkGenerator, label: str | None = None) -> Stage:
    """Return the stage of a function or generator function over pieces of bytes."""
    name = label or f"transform {name_of(function)}"
    if is_generator(function):
        return lambda pieces: guarded(
            name, _only_bytes(t.cast(ChunkGenerator, function)(iter(pieces)))
        )
    each = t.cast(ChunkFunction, function)

    def stage(pieces: Pieces) -> t.Iterator[bytes]:
        for piece in pieces:
            result = call(name, each, piece)
            if result is None:
                yield piece
            elif isinstance(result, bytes | bytearray | memoryview):
                yield bytes(result)
            else:
                yield from guarded(name, _only_bytes(result))

    return stage


def _only_bytes(given: t.Iterable[t.Any]) -> t.Iterator[bytes]:
    """:raises TypeError: a hook over pieces of a body gave something else"""
    for each in (given,) if isinstance(given, str) else given:
        if not isinstance(each, bytes | bytearray | memoryview):
            raise TypeError(f"pieces of a body are bytes, not {type(each).__name__}: {each!r:.80}")
        yield bytes(each)


def line_stage(
    function: LineFunction | LineGenerator, charset: str = "utf-8", label: str | None = None
) -> Stage:
    """Return the stage of a function or generator function over text lines, each with its
    ``\\n``; the last may have none. What is not in ``charset`` passes unharmed.

    :param charset: a label as in ``Content-Type``
    :raises UnknownCharset: it is not one of the web's
    """
    name = label or f"transform {name_of(function)}"
    codec = codec_of(charset)

    def stage(pieces: Pieces) -> t.Iterator[bytes]:
        lines = Lines(pieces, codec)
        if is_generator(function):
            changed = guarded(name, t.cast(LineGenerator, function)(iter(lines)))
        else:
            each = t.cast(LineFunction, function)
            changed = (new for line in lines for new in several(call(name, each, line), str, line))
        for line in changed:
            try:
                yield line.encode(*lines.codec)
            except UnicodeError as exc:
                raise failed(name, exc) from exc

    return stage


def event_stage(function: EventFunction | EventGenerator, label: str | None = None) -> Stage:
    """Return the stage of a function or generator function over server-sent events.

    An event that comes back unchanged is sent byte for byte as it came. What no client
    would be told of (comments alone, say) passes without being shown.
    """
    name = label or f"transform {name_of(function)}"
    if is_generator(function):
        return lambda pieces: _generated(t.cast(EventGenerator, function), name, pieces)
    each = t.cast(EventFunction, function)

    def stage(pieces: Pieces) -> t.Iterator[bytes]:
        for raw, event in blocks(pieces):
            if event is None:
                yield raw
                continue
            before = _fields(event)
            for new in several(call(name, each, event), Event, event):
                yield raw if new is event and _fields(new) == before else new.to_bytes()

    return stage


def _fields(event: Event) -> tuple[t.Any, ...]:
    return event.data, event.event, event.id, event.retry, *event.comments


def _generated(function: EventGenerator, name: str, pieces: Pieces) -> t.Iterator[bytes]:
    """Pass what is not shown where it stands: between what was yielded before and after."""
    known: dict[int, tuple[bytes, Event, tuple[t.Any, ...]]] = {}
    passed: list[bytes] = []

    def shown() -> t.Iterator[Event]:
        for raw, event in blocks(pieces):
            if event is None:
                passed.append(raw)
            else:
                # Only the last one is remembered: a generator may keep events for ever.
                known.clear()
                known[id(event)] = (raw, event, _fields(event))
                yield event

    for new in guarded(name, function(shown())):
        raw, event, before = known.get(id(new), (b"", None, ()))
        if passed:
            yield b"".join(passed)
            passed.clear()
        yield raw if new is event and _fields(new) == before else new.to_bytes()
    if passed:
        yield b"".join(passed)
