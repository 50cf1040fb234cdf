"""Writes recordings: the file is the old one or the new one, whatever happens meanwhile."""

from __future__ import annotations

import contextlib
import hashlib
import json
import mimetypes
import os
import pathlib
import re
import secrets
import tempfile
import typing as t
import zipfile

from rolo._version import __version__
from rolo.har.encoding import Embedding, encoded_entry
from rolo.har.layout import lines
from rolo.har.model import Recording

EMBED = 1024 * 1024
"""Bytes of a body that is written into the file itself; a larger one gets a file of its own."""

_ATTACHED = re.compile(r"[0-9a-f]{40}\.[a-z0-9]+")


def write_har(recording: Recording, path: str | os.PathLike[str], *, embed: int = EMBED) -> None:
    """Write ``recording`` as HAR 1.2.

    A path that ends in ``.zip`` becomes a zip file with all in it, as Playwright writes it.
    Otherwise bodies larger than ``embed`` are written beside it, into the folder
    ``orders.files`` for ``orders.har``, and what was there of an earlier recording is removed.
    A crash on the way leaves the recording that was there before.

    :raises OSError: it cannot be written
    """
    path = pathlib.Path(path)
    if path.suffix == ".zip":
        _write_zip(recording, path, embed)
    else:
        _write_file(recording, path, embed)


def _write_file(recording: Recording, path: pathlib.Path, embed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = path.with_suffix(".files")
    attachments = _Folder(folder)
    with _replacing(path) as file:
        for text in _text(recording, Embedding(embed, attachments)):
            file.write(text.encode())
    attachments.remove_others()


def _write_zip(recording: Recording, path: pathlib.Path, embed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with _replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        attachments = _Archive(archive)
        with tempfile.TemporaryFile() as index:
            # A zip is written one member after the other, and the index asks for others.
            for text in _text(recording, Embedding(embed, attachments)):
                index.write(text.encode())
            index.seek(0)
            with archive.open("har.har", "w") as member:
                while piece := index.read(64 * 1024):
                    member.write(piece)


def _text(recording: Recording, embedding: Embedding) -> t.Iterator[str]:
    """Yield the text of the file, one entry after the other: never all of it in memory."""
    name, version = recording.creator or ("rolo", __version__)
    log: dict[str, t.Any] = {
        "version": "1.2",
        "creator": {"name": name, "version": version},
        "pages": [],
        **recording.extra,
    }
    if recording.missed_events:
        log["comment"] = (
            f"The recorder did not keep up: {recording.missed_events} events with "
            f"{recording.missed_bytes} bytes are missing."
        )
        log["_missed"] = {"events": recording.missed_events, "bytes": recording.missed_bytes}
    log.pop("entries", None)
    yield '{\n  "log": {\n'
    for key, value in log.items():
        yield f"    {json.dumps(key)}: "
        yield from lines(value, "    ")
        yield ",\n"
    yield '    "entries": ['
    for number, entry in enumerate(recording.entries):
        yield ",\n      " if number else "\n      "
        yield from lines(encoded_entry(entry, embedding), "      ")
    yield "\n    ]\n  }\n}\n"


@contextlib.contextmanager
def _replacing(path: pathlib.Path) -> t.Iterator[t.BinaryIO]:
    """Give a file to write to that takes the place of ``path`` when all is written."""
    with _new_file(path.parent) as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
        if path.exists():
            os.chmod(file.name, path.stat().st_mode & 0o777)
        os.replace(file.name, path)


@contextlib.contextmanager
def _new_file(folder: pathlib.Path) -> t.Iterator[t.BinaryIO]:
    """Give a new file to write to, which is removed unless it is called otherwise by then."""
    path = folder / f".{secrets.token_hex(8)}.tmp"
    try:
        with path.open("xb") as file:
            yield file
    finally:
        path.unlink(missing_ok=True)


class _Folder:
    """Bodies as files of a folder, called by what is in them: no recording's are changed."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self._written: set[str] = set()

    def __call__(self, pieces: t.Iterable[bytes], kind: str) -> str:
        self._folder.mkdir(exist_ok=True)
        digest = hashlib.sha1(usedforsecurity=False)
        with _new_file(self._folder) as file:
            for piece in pieces:
                digest.update(piece)
                file.write(piece)
            file.flush()
            name = _name(digest, kind)
            os.replace(file.name, self._folder / name)
        self._written.add(name)
        return f"{self._folder.name}/{name}"

    def remove_others(self) -> None:
        """Remove what an earlier recording has left; what is not called like ours stays."""
        if not self._folder.is_dir():
            return
        for file in self._folder.iterdir():
            if _ATTACHED.fullmatch(file.name) and file.name not in self._written:
                file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._folder.rmdir()  # unless it has something


class _Archive:
    """Bodies as members of a zip."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def __call__(self, pieces: t.Iterable[bytes], kind: str) -> str:
        digest = hashlib.sha1(usedforsecurity=False)
        with tempfile.TemporaryFile() as file:
            for piece in pieces:
                digest.update(piece)
                file.write(piece)
            name = _name(digest, kind)
            if name in self._archive.namelist():
                return name
            file.seek(0)
            with self._archive.open(name, "w", force_zip64=True) as member:
                while piece := file.read(64 * 1024):
                    member.write(piece)
        return name


def _name(digest: t.Any, kind: str) -> str:
    extension = (mimetypes.guess_extension(kind) if kind else None) or ".dat"
    return f"{digest.hexdigest()}{extension}"
