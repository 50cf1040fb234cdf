"""What a client gets to read of an error: the one form for all answers of our own."""

from __future__ import annotations

from http import HTTPStatus

CONTENT_TYPE = "text/plain; charset=utf-8"
"""Of :func:`error_text`."""

_PHRASES = {status.value: status.phrase for status in HTTPStatus}


def error_text(status: int) -> str:
    """Return status and reason, on a line; it tells nothing internal."""
    return f"{status} {_PHRASES.get(status, '')}".rstrip() + "\n"
