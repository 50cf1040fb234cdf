"""A recording that is replayed, made, or both, as somebody wants and the file is there."""

from __future__ import annotations

import os
import pathlib
import typing as t

from rolo.har.errors import HarError
from rolo.har.model import Recording
from rolo.har.pace import PaceLike
from rolo.har.patterns import Match
from rolo.har.player import DEFAULT_MATCH, Player, Repeat
from rolo.har.reading import read_har
from rolo.har.recorder import Recorder
from rolo.har.redact import Redaction
from rolo.har.writing import write_har

TapeMode = t.Literal["none", "once", "new", "all"]
"""- ``none``: replay; what is not recorded fails
- ``once``: record if there is no recording yet, else as ``none``
- ``new``: replay, and record what is not recorded yet behind it
- ``all``: record everything anew
"""


class Tape:
    """The recording ``path`` in one run: :attr:`player` answers what is on it, behind it stands
    the real service, and :attr:`recorder` looks on.

    :param mode: see :data:`TapeMode`
    :param base_url: begins the URLs of what is recorded, see :class:`Recorder`
    :raises HarError: the file is broken, or is not there and nothing is to be recorded
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        mode: TapeMode = "once",
        *,
        match: Match = DEFAULT_MATCH,
        pace: PaceLike = "recorded",
        repeat: Repeat = "never",
        redaction: Redaction = Redaction(),  # noqa: B008 - a frozen value
        base_url: str | None = None,
    ) -> None:
        self.path = pathlib.Path(path)
        self.mode = mode
        self.player: Player | None = None
        """Answers what is recorded; ``None`` if nothing is replayed."""
        self.recorder: Recorder | None = None
        """Looks on at what the service answers; ``None`` if nothing is recorded."""
        exists = self.path.exists()
        if mode == "none" and not exists:
            raise HarError(self.path, "", "there is no such recording, and none is to be made")
        if exists and mode != "all":
            self.player = Player(
                read_har(self.path),
                match=match,
                pace=pace,
                repeat=repeat,
                missing="pass" if mode == "new" else "fail",
            )
        if self.player is None or mode == "new":
            self.recorder = Recorder(redaction=redaction, base_url=base_url, forwarded_only=True)

    @property
    def complaint(self) -> str:
        """What was asked that is not recorded, and what is recorded and was not asked; empty if
        all is as it was, or something is recorded."""
        if self.player is None or self.recorder is not None:
            return ""
        try:
            self.player.check()
        except AssertionError as exc:
            return f"{self.path.name}: {exc}"
        return ""

    def finish(self) -> None:
        """Write what was recorded, behind what was there; the file is left alone if that is
        nothing. To be called when all of it was observed.

        :raises OSError: it cannot be written
        """
        if self.recorder is None:
            return
        new = self.recorder.recording
        if self.player is not None:
            if not new.entries:
                return
            old = self.player.recording
            new = Recording(
                [*old.entries, *new.entries],
                old.creator,
                new.missed_events,
                new.missed_bytes,
                old.extra,
            )
        write_har(new, self.path)
        self.recorder.discard()
