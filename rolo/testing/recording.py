"""``@pytest.mark.rolo_record``: whether the harnesses of a test are replayed, recorded, or both."""

from __future__ import annotations

import os
import pathlib
import re
import typing as t

import pytest

from rolo.har import Player, Recording, Redaction, read_har, write_har
from rolo.har.player import DEFAULT_MATCH

RECORD_MODES = ("none", "once", "new", "all")
"""Of ``--rolo-record``: replay only; record what has no recording yet; record also requests that
are not in it; record everything anew."""


def record_mode(config: pytest.Config) -> str:
    """Return what ``--rolo-record`` says, or stands for."""
    given: str | None = config.option.rolo_record
    return given or ("none" if os.environ.get("CI") else "once")


class Tape:
    """The recording of one harness of a test.

    :param mode: one of :data:`RECORD_MODES`
    :param options: ``match``, ``pace`` and ``repeat`` of a :class:`~rolo.har.Player`,
        ``redaction`` of a :class:`~rolo.har.Recorder`
    """

    def __init__(
        self,
        path: pathlib.Path,
        mode: str,
        *,
        match: t.Any = DEFAULT_MATCH,
        pace: t.Any = "recorded",
        repeat: t.Any = "never",
        redaction: Redaction | None = None,
    ) -> None:
        self.path = path
        self.keep = True
        """Whether what is recorded is written."""
        self._redaction = redaction
        self.player: Player | None = None
        """Replays; ``None`` if all is recorded."""
        if mode == "none" and not path.exists():
            pytest.fail(
                f"{path}: there is no such recording, and with --rolo-record=none (which is the "
                "default where the variable CI is set) none is made",
                pytrace=False,
            )
        if path.exists() and mode != "all":
            missing: t.Any = "pass" if mode == "new" else "fail"
            self.player = Player(
                read_har(path), match=match, pace=pace, repeat=repeat, missing=missing
            )
        self._is_strict = self.player is not None and mode != "new"

    def options(self) -> dict[str, t.Any]:
        """Return the arguments of a :class:`~rolo.harness.Harness` that does as the mode says."""
        if self.player is None:
            return {"mode": "spy", "redaction": self._redaction}
        return {"mode": "replay", "recording": self.player, "redaction": self._redaction}

    def complaint(self) -> str:
        """Return which recorded requests nobody has made; empty if all were, or if some may be
        new."""
        unused = self.player.unused if self.player is not None and self._is_strict else []
        if not unused:
            return ""
        lines = "\n".join(f"  {entry}" for entry in unused)
        return f"{self.path.name}: {len(unused)} recorded requests were not made:\n{lines}\n"

    def write(self, new: Recording) -> None:
        """Write what was recorded, behind what was there; nothing if there is nothing new, or
        if the test failed."""
        if not self.keep or not new.entries or self._is_strict:
            return
        old = Recording() if self.player is None else self.player.recording
        entries = [*old.entries, *new.entries]
        write_har(Recording(entries, old.creator, extra=old.extra), self.path)


class Tapes:
    """Makes the tapes of one test, one for each of its harnesses: ``orders.har``,
    ``orders-2.har`` and so on."""

    def __init__(self, item: pytest.Item) -> None:
        self._item = item
        self._marker = item.get_closest_marker("rolo_record")
        self._count = 0

    def next(self) -> Tape | None:
        """Return the tape of the next harness; ``None`` if the test has no mark."""
        if self._marker is None:
            return None
        self._count += 1
        return self._tape(*self._marker.args, **self._marker.kwargs)

    def _tape(self, name: str | os.PathLike[str] | None = None, **options: t.Any) -> Tape:
        item = self._item
        if name is None:
            name = pathlib.Path("recordings", item.path.stem, f"{_plain(item.name)}.har")
        path = item.path.parent / name
        if self._count > 1:
            path = path.with_stem(f"{path.stem}-{self._count}")
        mode = record_mode(item.config)
        tape = Tape(path, mode, **options)
        if tape.player is None or mode == "new":
            self._claim(path)
        return tape

    def _claim(self, path: pathlib.Path) -> None:
        """Two tests that write one file would each undo what the other has recorded."""
        owners = self._item.config.stash.setdefault(_OWNERS, {})
        owner = owners.setdefault(path, self._item.nodeid)
        if owner != self._item.nodeid:
            pytest.fail(f"{path} is recorded by {owner} already", pytrace=False)


_OWNERS: pytest.StashKey[dict[pathlib.Path, str]] = pytest.StashKey()


def kept_path(item: pytest.Item, number: int) -> pathlib.Path:
    """Return where ``--rolo-keep-har`` writes what came to a harness of a test."""
    name = _plain(item.nodeid.replace("::", "."))
    return item.config.rootpath / "rolo-har" / f"{name}{f'-{number}' if number > 1 else ''}.har"


def _plain(name: str) -> str:
    return re.sub(r"[^\w.\-]+", "_", name).strip("_")[:120]
