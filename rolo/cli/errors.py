"""How a command fails."""

from __future__ import annotations


class CommandError(Exception):
    """Something to say in one line on standard error before leaving with ``code``.

    1: it could not run; 2: what was asked for is not there or makes no sense.
    """

    def __init__(self, message: object, code: int = 1) -> None:
        # What a library says may take several lines.
        super().__init__(" ".join(str(message).split()))
        self.code = code
