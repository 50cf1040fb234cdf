"""Files of recordings, for commands: what is wrong with one is said in one line."""

from __future__ import annotations

import os
import pathlib

from rolo.cli.errors import CommandError
from rolo.har import HarError, Recording, read_har


def load(file: str) -> Recording:
    """Read a recording.

    :raises CommandError: it cannot be read; says file and place
    """
    try:
        return read_har(file)
    except HarError as error:
        raise CommandError(error, 2) from error
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror or error}", 2) from error


def check_writable(file: str) -> None:
    """Refuse a file that could not be written, before hours of traffic are lost.

    :raises CommandError: it could not; says why
    """
    path = pathlib.Path(file)
    if path.is_dir():
        raise CommandError(f"{file}: it is a folder", 2)
    folder = next(each for each in (path.parent, *path.parent.parents) if each.exists())
    if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
        raise CommandError(f"{file}: it cannot be written there", 2)
