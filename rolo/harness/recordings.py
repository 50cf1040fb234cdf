"""What a harness records of what passes, replays, and compares with."""

from __future__ import annotations

import os
import typing as t

from rolo.bridge import observer
from rolo.bridge.observer import Exchange
from rolo.har import Entry, Player, Recorder, Recording, Redaction, compare, read_har, write_har
from rolo.matching.report import difference_lines

Given = Player | Recording | str | os.PathLike[str] | None
"""A recording to replay or to compare with: a player, a recording, or the path of a HAR file."""


def _pass_on(name: str) -> t.Any:
    """Return the method that tells whoever records an exchange of an event."""

    def told(recordings: Recordings, event: observer.Event) -> None:
        recorder = recordings._recorded.get(event.exchange)
        if recorder is not None:
            getattr(recorder, name)(event)

    return told


class Recordings:
    """Records while it is told to, and knows what is replayed. Told what observers are.

    :param given: what is replayed or compared with; of a path the file is read when it is
        needed, and written by :meth:`save`
    :param base_url: begins the URLs of what is recorded; ``None`` for the harness's own
    :param problem: is told where answers are not as recorded
    """

    def __init__(
        self,
        given: Given,
        base_url: str | None,
        redaction: Redaction | None,
        problem: t.Callable[[str], None],
    ) -> None:
        self._player = given if isinstance(given, Player) else None
        self._given = None if isinstance(given, Player) else given
        self._base_url = base_url
        self._redaction = redaction or Redaction()
        self._problem = problem
        self._recorder: Recorder | None = None
        self._recorded: dict[Exchange, Recorder] = {}
        self._expected: dict[int, Entry] = {}
        self._entry: Entry | None = None
        self.records = False
        """Whether what comes is recorded."""
        self.keep: t.Callable[[Recording], None] | None = None
        """Is given what was recorded when the server has stopped; ``None``: it is written to
        the file that was given, if it was captured."""

    @property
    def player(self) -> Player:
        """Replays what was given.

        :raises ValueError: nothing was
        :raises rolo.har.HarError, OSError: the file cannot be read
        """
        if self._player is None:
            if self._given is None:
                raise ValueError("there is no recording: give the harness one, recording=...")
            given = self._given
            self._player = Player(given if isinstance(given, Recording) else read_har(given))
        return self._player

    @property
    def path(self) -> str | os.PathLike[str] | None:
        """The file that was given."""
        return self._given if isinstance(self._given, str | os.PathLike) else None

    @property
    def recording(self) -> Recording:
        """What was recorded so far."""
        return Recording() if self._recorder is None else self._recorder.recording

    def problems(self) -> list[str]:
        """Return what was asked that is not recorded, and the like."""
        return [] if self._player is None else self._player.problems

    def unused(self) -> list[Entry]:
        """Return what nobody has asked for."""
        return [] if self._player is None else self._player.unused

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write what was recorded as HAR 1.2, without secrets."""
        write_har(self.recording, path)

    def finish(self, *, captured: bool) -> None:
        """Write what was recorded: the server has stopped."""
        if self.keep is not None:
            self.keep(self.recording)
        elif captured and self.path is not None:
            self.save(self.path)

    def discard(self) -> None:
        """Forget what was recorded, and its temporary files."""
        if self._recorder is not None:
            self._recorder.discard()

    def expect(self, request: t.Any, head: t.Any) -> None:
        """Compare what ``request`` is going to be answered with what is recorded for it."""
        entry = self.player.expect(request)
        if entry is not None:
            self._expected[id(head)] = entry

    # --- what the server tells

    def on_request(self, event: observer.RequestStarted) -> None:
        if self.records:
            if self._recorder is None:
                self._recorder = Recorder(
                    redaction=self._redaction,
                    base_url=self._base_url,
                    forwarded_only=True,
                    on_entry=self._complete,
                )
            self._recorded[event.exchange] = self._recorder
            self._recorder.on_request(event)

    def on_end(self, event: observer.Ended) -> None:
        recorder = self._recorded.pop(event.exchange, None)
        expected = self._expected.pop(id(event.exchange.head), None)
        if recorder is None:
            return
        recorder.on_end(event)
        got, self._entry = self._entry, None
        if expected is not None and got is not None:
            lines = list(difference_lines(compare(expected, got)))
            if lines:
                line = event.exchange.line.decode("latin-1").rpartition(" ")[0]
                self._problem("\n".join([f"{line} is not answered as recorded.", "", *lines]))

    def _complete(self, entry: Entry) -> None:
        self._entry = entry

    on_request_body = _pass_on("on_request_body")
    on_request_trailers = _pass_on("on_request_trailers")
    on_interim = _pass_on("on_interim")
    on_answer = _pass_on("on_answer")
    on_answer_body = _pass_on("on_answer_body")
    on_answer_trailers = _pass_on("on_answer_trailers")
    on_message = _pass_on("on_message")
    on_websocket_closed = _pass_on("on_websocket_closed")
