"""Notices sync code that blocks an event loop it promised not to block.

In ``loop`` mode a handler or hook that sleeps, computes for long or waits outside rolo's
own calls stops every exchange of its loop. A thread looks whether the loop still turns; if
not, it logs who is to blame, once for each culprit. It costs the loop one callback per look.
"""

from __future__ import annotations

import asyncio
import logging
import pathlib
import sys
import threading
import time
import traceback
import types

LOG = logging.getLogger(__name__)

DEFAULT_LIMIT = 1.0
"""Seconds without a turn of the loop after which somebody is blamed."""

_OWN = str(pathlib.Path(__file__).resolve().parent.parent)


class Watchdog:
    """Watches one loop, from a thread of its own, until it is closed.

    :param loop: the running loop; made on its thread
    :param limit: seconds
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, limit: float = DEFAULT_LIMIT) -> None:
        self._loop = loop
        self._limit = limit
        self._watched = threading.get_ident()
        self._beat = time.monotonic()
        self._blamed: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="rolo-watchdog", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """End the thread."""
        self._stop.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(self._limit)

    def _watch(self) -> None:
        asked: float | None = None
        while not self._stop.wait(self._limit / 4):
            if self._loop.is_closed():
                return
            if asked is not None and self._beat < asked:
                if time.monotonic() - asked >= self._limit:
                    self._blame()
                continue
            asked = time.monotonic()
            try:
                self._loop.call_soon_threadsafe(self._turn)
            except RuntimeError:  # closed just now
                return

    def _turn(self) -> None:
        self._beat = time.monotonic()

    def _blame(self) -> None:
        frame = sys._current_frames().get(self._watched)
        if frame is None:
            return
        name = culprit(frame)
        if name is None or name in self._blamed:
            return
        self._blamed.add(name)
        stack = "".join(traceback.format_stack(frame))
        LOG.warning(
            "%s has blocked the event loop for %g s; run it in mode 'threads', or let it wait "
            "through rolo's own calls\n%s",
            name,
            self._limit,
            stack,
        )


def culprit(frame: types.FrameType) -> str | None:
    """Return the name of the handler or hook in whose call ``frame`` is: the function that
    is not ours but was called by us; ``None`` if there is none."""
    inner: types.FrameType | None = frame
    while inner is not None and inner.f_back is not None:
        if _is_ours(inner.f_back) and not _is_ours(inner):
            return f"{inner.f_globals.get('__name__', '?')}.{inner.f_code.co_qualname}"
        inner = inner.f_back
    return None


def _is_ours(frame: types.FrameType) -> bool:
    return frame.f_code.co_filename.startswith(_OWN)
