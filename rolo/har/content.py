"""The bytes of a recorded body, wherever they are: in memory, in a file, in a member of a zip."""

from __future__ import annotations

import contextlib
import io
import pathlib
import shutil
import tempfile
import typing as t
import weakref
import zipfile

PIECE = 64 * 1024
"""Bytes read at a time."""


class Content:
    """Bytes that can be read any number of times. :attr:`size` is how many."""

    size: int = 0

    def open(self) -> t.BinaryIO:
        """Return the bytes as a file, which is the caller's to close.

        :raises OSError: the file that holds them is gone
        """
        raise NotImplementedError

    def read(self) -> bytes:
        """Return all bytes at once."""
        with self.open() as file:
            return file.read()

    def pieces(self, size: int = PIECE) -> t.Iterator[bytes]:
        """Yield the bytes in pieces of at most ``size``."""
        with self.open() as file:
            while piece := file.read(size):
                yield piece

    @property
    def in_memory(self) -> bool:
        """Whether reading it reads no file."""
        return False

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Content):
            return NotImplemented
        return self.size == other.size and all(
            mine == theirs for mine, theirs in zip(self.pieces(), other.pieces(), strict=False)
        )

    __hash__ = object.__hash__


class InMemory(Content):
    """Bytes that are here."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = data
        self.size = len(data)

    def open(self) -> t.BinaryIO:
        return io.BytesIO(self.data)

    def read(self) -> bytes:
        return self.data

    @property
    def in_memory(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"InMemory({self.data[:40]!r}{'...' if self.size > 40 else ''})"


class InFile(Content):
    """The bytes of a file.

    :param owner: removes the file when nobody needs it any more
    """

    def __init__(self, path: pathlib.Path, owner: SpillDirectory | None = None) -> None:
        self.path = path
        self._owner = owner
        self.size = path.stat().st_size

    def open(self) -> t.BinaryIO:
        return self.path.open("rb")

    def __repr__(self) -> str:
        return f"InFile({str(self.path)!r})"


class InZip(Content):
    """The bytes of a member of a zip file, which is opened whenever they are read."""

    def __init__(self, path: pathlib.Path, member: zipfile.ZipInfo) -> None:
        self.path = path
        self.member = member
        self.size = member.file_size

    def open(self) -> t.BinaryIO:
        archive = zipfile.ZipFile(self.path)
        try:
            # The member keeps the archive's file open for as long as it is.
            return t.cast(t.BinaryIO, archive.open(self.member))
        finally:
            archive.close()

    def __repr__(self) -> str:
        return f"InZip({str(self.path)!r}, {self.member.filename!r})"


EMPTY: t.Final[Content] = InMemory()


class SpillDirectory:
    """A directory for bodies that are too large for memory; made when there is one, and removed
    by :meth:`close`, or when neither this object nor the content of one of its files is left."""

    def __init__(self) -> None:
        self._path: pathlib.Path | None = None
        self._remove: t.Callable[[], object] = _nothing
        self._count = 0

    def new_file(self) -> pathlib.Path:
        """Return the path of a file that is not there yet; only we can read it."""
        if self._path is None:
            self._path = pathlib.Path(tempfile.mkdtemp(prefix="rolo-har-"))
            self._remove = weakref.finalize(self, shutil.rmtree, self._path, ignore_errors=True)
        self._count += 1
        return self._path / str(self._count)

    def close(self) -> None:
        """Remove the directory and what is in it."""
        self._path = None
        self._remove()


def _nothing() -> None:
    pass


class Spool:
    """A body on its way into a recording: in memory until it is too large for that.

    :param directory: where it goes then; ``None`` if it must not go to the disk
    :param memory: bytes that are kept in memory
    :param limit: bytes that are kept at all; ``None`` is no limit
    """

    def __init__(
        self, directory: SpillDirectory | None, memory: int, limit: int | None = None
    ) -> None:
        self._directory = directory
        self._memory = memory
        if directory is None:
            limit = memory if limit is None else min(limit, memory)
        self._limit = limit
        self._pieces: list[bytes] = []
        self._file: t.BinaryIO | None = None
        self._path: pathlib.Path | None = None
        self.size = 0
        """Bytes that came, those that are not kept included."""
        self.kept = 0
        """Bytes that are kept."""

    @property
    def held(self) -> int:
        """Bytes of it in memory."""
        return 0 if self._file is not None else self.kept

    @property
    def is_cut(self) -> bool:
        """Whether some of it is not kept."""
        return self.kept < self.size

    def write(self, piece: bytes) -> None:
        """Add a piece."""
        self.size += len(piece)
        if self._limit is not None and self.kept + len(piece) > self._limit:
            piece = piece[: max(0, self._limit - self.kept)]
        if not piece:
            return
        self.kept += len(piece)
        if self._file is None:
            self._pieces.append(piece)
            if self._directory is not None and self.kept > self._memory:
                self._spill(self._directory)
        else:
            self._file.write(piece)

    def _spill(self, directory: SpillDirectory) -> None:
        self._path = directory.new_file()
        self._file = self._path.open("xb")
        self._file.write(b"".join(self._pieces))
        self._pieces.clear()

    def finish(self) -> Content:
        """Return what was kept; nothing can be added afterwards."""
        if self._file is None:
            return InMemory(b"".join(self._pieces))
        assert self._path is not None
        self._file.close()
        return InFile(self._path, self._directory)

    def drop(self) -> None:
        """Let go of everything, and take no more."""
        self._pieces.clear()
        self._limit = self.kept = 0
        if self._file is not None:
            assert self._path is not None
            with contextlib.suppress(OSError):
                self._file.close()
            with contextlib.suppress(OSError):
                self._path.unlink()
            self._file = None
