"""Waiting for the signal to stop."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import typing as t

LOG = logging.getLogger(__name__)

_STOP = (signal.SIGINT, signal.SIGTERM)
# What a terminal that closes sends, and some service managers to have a service reload.
_IGNORED = (signal.SIGHUP,) if hasattr(signal, "SIGHUP") else ()


class StopNow(BaseException):
    """A second signal came: stop at once."""


class StopSignals:
    """Turns SIGINT and SIGTERM into something to wait for, and keeps SIGHUP from killing.

    The first one ends :meth:`wait`; a second one raises :class:`StopNow` wherever the main
    thread then is. To be made and used by the main thread; as a context manager it puts
    the former handlers back.

    :param parent_fd: read end of a pipe that closes when the parent process ends, which
        counts as the second signal; ``None`` without a parent
    """

    def __init__(self, parent_fd: int | None = None) -> None:
        self.received = False
        self._parent_fd = parent_fd
        # A pipe, not threading.Event: a handler that sets the event while the main thread
        # is inside its wait may deadlock.
        self._reader, self._writer = os.pipe()
        self._former: dict[int, t.Any] = {}
        self._ignored: str | None = None

    def __enter__(self) -> t.Self:
        for number in _STOP:
            self._former[number] = signal.signal(number, self._on_signal)
        for number in _IGNORED:
            self._former[number] = signal.signal(number, self._on_ignored)
        return self

    def __exit__(self, *exc_info: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)
        os.close(self._reader)
        os.close(self._writer)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the signal; False if ``timeout`` seconds passed before.

        :raises StopNow: the parent process is gone
        """
        if self._ignored is not None:
            LOG.warning("%s is ignored", self._ignored)
            self._ignored = None
        watched = [self._reader]
        if self._parent_fd is not None:
            watched.append(self._parent_fd)
        ready, _, _ = select.select(watched, [], [], timeout)
        if self._parent_fd in ready:
            raise StopNow
        return self._reader in ready

    def _on_signal(self, number: int, frame: t.Any) -> None:
        if self.received:
            raise StopNow
        self.received = True
        with contextlib.suppress(OSError):
            os.write(self._writer, b"x")

    def _on_ignored(self, number: int, frame: t.Any) -> None:
        # Told by wait(): a handler may interrupt the log in the middle of a line.
        self._ignored = signal.Signals(number).name
