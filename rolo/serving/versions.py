"""Which versions of a server its adapter knows.

Adapters subclass and replace private parts of their servers. What those mends are worth was
tried with the versions below; with another one they may do nothing, and half a mend is worse
than none, so that version is refused. ``pyproject.toml`` asks for the same ranges, but for
werkzeug: what is used of it besides its server is public, and no reason to refuse 3.2.
"""

from __future__ import annotations

import importlib.metadata
import re

KNOWN = {
    "uvicorn": ("0.53", "0.55"),
    "hypercorn": ("0.18", "0.19"),
    "granian": ("2.8.6", "2.9"),
    "werkzeug": ("3.1", "3.2"),
}
"""For each server the first version that is known, and the first that is not."""


def why_not(server: str) -> str | None:
    """Return why ``server`` cannot be run, in one line; ``None`` if it can be."""
    try:
        version = importlib.metadata.version(server)
    except importlib.metadata.PackageNotFoundError:
        return f"{server} is not installed"
    least, below = KNOWN[server]
    if not _numbers(least) <= _numbers(version) < _numbers(below):
        return f"{server} {version} is not known to this version of rolo: {least} up to {below} is"
    return None


def _numbers(version: str) -> tuple[int, ...]:
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in match[0].split(".")) if match else ()
