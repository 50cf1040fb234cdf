"""What goes wrong with recordings."""

from __future__ import annotations


class HarError(ValueError):
    """A file that is no recording, or a broken one: ``orders.har: log.entries[3].request: ...``.

    :param file: its path
    :param place: where in it; empty if it is all of it
    :param fault: what is wrong there
    """

    def __init__(self, file: object, place: str, fault: str) -> None:
        super().__init__(": ".join(filter(None, (str(file), place, fault))))
        self.file = str(file)
        self.place = place
        self.fault = fault
