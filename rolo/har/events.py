"""Server-sent events of a recorded body, each with the time at which it was complete."""

from __future__ import annotations

import typing as t

from rolo.har.model import Pieces
from rolo.proxy.hooks.sse import Event, blocks


def timed_events(data: bytes, pieces: Pieces) -> t.Iterator[tuple[float, Event]]:
    """Yield the events of a stream and when the last byte of each came; 0 if that is not known.

    :raises BodyTooLarge: an event is longer than any is allowed to be
    """
    known = iter(pieces)
    at, covered, end = 0.0, 0, 0
    for block in blocks([data]):
        end += len(block.raw)
        while covered < end:
            piece = next(known, None)
            if piece is None:
                break
            at, covered = piece.at, covered + piece.size
        if block.event is not None:
            yield at, block.event
