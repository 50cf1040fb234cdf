"""What has passed of a request body, kept so that it can be sent, or read, again."""

from __future__ import annotations

import tempfile
import threading
import typing as t

from rolo.errors import BodyNotKept, ReplayLimitExceeded

ALWAYS_KEPT = 64 * 1024
"""Bytes of a body that are kept whether anybody asked for it or not."""

DEFAULT_REPLAY_LIMIT = 64 * 1024 * 1024

_MEMORY = 1024 * 1024
_PIECE = 64 * 1024


class BodyRecord:
    """The bytes of a body from its beginning to where it has been taken, or none of them once
    they are more than the limit. Above 1 MiB they are in a temporary file.

    Several threads may use it.
    """

    __slots__ = ("_file", "_limit", "_lock", "_memory", "is_kept", "size")

    def __init__(self) -> None:
        self.size = 0
        """Bytes that were taken, kept or not."""
        self.is_kept = True
        self._limit = ALWAYS_KEPT
        self._memory = bytearray()
        self._file: t.IO[bytes] | None = None
        self._lock = threading.Lock()

    def keep(self, limit: int) -> None:
        """Keep up to ``limit`` bytes. What is gone already stays so."""
        if self.is_kept:
            self._limit = max(self._limit, limit)

    def add(self, piece: bytes) -> None:
        """Note that ``piece`` was taken."""
        self.size += len(piece)
        if not self.is_kept or not piece:
            return
        with self._lock:
            if self.size > self._limit:
                self.is_kept = False
                self._drop()
                return
            if self._file is None and self.size > _MEMORY:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
                self._file.write(self._memory)
                self._memory = bytearray()
            if self._file is None:
                self._memory += piece
            else:
                self._file.seek(0, 2)
                self._file.write(piece)

    def read(self, start: int, size: int = _PIECE) -> bytes:
        """Return up to ``size`` bytes from ``start`` on, all of them if ``size`` is negative.

        :raises BodyNotKept: they are gone
        """
        with self._lock:
            self.check()
            if self._file is None:
                end = None if size < 0 else start + size
                return bytes(self._memory[start:end])
            self._file.seek(start)
            return self._file.read(size)

    def check(self) -> None:
        """:raises BodyNotKept: something was taken, and is gone"""
        if self.is_kept:
            return
        if self._limit > ALWAYS_KEPT:
            raise ReplayLimitExceeded(f"more than {self._limit} bytes of a request body were taken")
        raise BodyNotKept(
            f"of a request body more than {ALWAYS_KEPT} bytes have gone out, and nobody had asked "
            "to keep it (context.keep_body())"
        )

    def close(self) -> None:
        """Drop what is kept."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        self._memory = bytearray()
        if self._file is not None:
            self._file.close()
            self._file = None
