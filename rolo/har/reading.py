"""Reads recordings: HAR 1.2 as Chrome, Playwright, mitmproxy and this program write it.

What a program may leave out has a default; what cannot be guessed is a :class:`HarError` with
file and place.
"""

from __future__ import annotations

import json
import os
import pathlib
import zipfile
import zlib

from rolo.har.content import Content, InFile, InZip
from rolo.har.decoding import Files, decoded_entry
from rolo.har.errors import HarError
from rolo.har.members import Place
from rolo.har.model import Recording

_MEANT = frozenset(("version", "entries", "creator", "comment", "_missed"))


def read_har(path: str | os.PathLike[str]) -> Recording:
    """Read a recording: a HAR file, one with bodies in files beside it, a zip of both as
    Playwright writes it, or a ``.zhar`` of mitmproxy.

    Bodies in files of their own are read when they are needed, from where they are now.

    :raises HarError: it is none of these, or broken; says where
    :raises OSError: the file cannot be read
    """
    path = pathlib.Path(path)
    with path.open("rb") as file:
        start = file.read(4)
    if start == b"PK\x03\x04":
        return _read_zip(path)
    data = path.read_bytes()
    if start[:1] == b"\x78":
        try:
            data = zlib.decompress(data)
        except zlib.error as exc:
            raise HarError(path, "", f"neither JSON nor compressed JSON: {exc}") from None
    return _parse(data, path, _Beside(path.parent))


def _read_zip(path: pathlib.Path) -> Recording:
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename: member for member in archive.infolist()}
            index = [name for name in members if name.endswith(".har")]
            if len(index) != 1:
                raise HarError(path, "", f"{len(index)} .har files in it, and not one")
            data = archive.read(index[0])
    except zipfile.BadZipFile as exc:
        raise HarError(path, "", str(exc)) from None
    return _parse(data, path, _Inside(path, members))


def _parse(data: bytes, path: pathlib.Path, files: Files) -> Recording:
    try:
        document = json.loads(data.removeprefix(b"\xef\xbb\xbf"))
    except json.JSONDecodeError as exc:
        place = f"line {exc.lineno} column {exc.colno}"
        raise HarError(path, place, exc.msg) from None
    except (UnicodeDecodeError, RecursionError) as exc:
        raise HarError(path, "", f"not JSON: {exc}") from None
    log = Place(path, "", document).object("log")
    missed = log.get("_missed", dict, {})
    creator = log.get("creator", dict, {})
    extra = {key: value for key, value in log.value.items() if key not in _MEANT}
    if not extra.get("pages"):
        extra.pop("pages", None)  # there is always such a list
    return Recording(
        entries=[decoded_entry(each, files) for each in log.objects("entries")],
        creator=(str(creator.get("name", "")), str(creator.get("version", ""))),
        missed_events=int(missed.get("events", 0)),
        missed_bytes=int(missed.get("bytes", 0)),
        extra=extra,
    )


class _Beside:
    """Bodies in files beside the recording, or in folders there."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder

    def __call__(self, name: str) -> Content:
        path = (self._folder / name).resolve()
        if not path.is_relative_to(self._folder.resolve()):
            raise ValueError("it is not beside the recording, nor below")
        return InFile(path)


class _Inside:
    """Bodies in the zip that holds the recording."""

    def __init__(self, path: pathlib.Path, members: dict[str, zipfile.ZipInfo]) -> None:
        self._path = path
        self._members = members

    def __call__(self, name: str) -> Content:
        if name not in self._members:
            raise FileNotFoundError(f"no such file in {self._path.name}")
        return InZip(self._path, self._members[name])
