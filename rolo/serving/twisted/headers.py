"""Header fields of Twisted's web server that keep the case in which they were written."""

from __future__ import annotations

import typing as t

from twisted.web.http_headers import Headers

Name = str | bytes


class TwistedHeaderAdapter(Headers):
    """Fields of an answer: the last spelling of a name is the one that is written."""

    def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:
        self._casing: dict[bytes, bytes] = {}
        super().__init__(*args, **kwargs)

    def rememberHeaderCasing(self, name: Name) -> None:
        """Write the field ``name`` as it is written here."""
        spelling = _encoded(name)
        self._casing[spelling.lower()] = spelling

    def getAllRawHeaders(self) -> t.Iterator[tuple[bytes, t.Sequence[bytes]]]:
        """Return names, as they were spelled where that is remembered, and their values."""
        casing = self._casing
        for name, values in super().getAllRawHeaders():
            yield casing.get(name.lower(), name), values

    def copy(self) -> t.Self:
        copied = super().copy()
        assert isinstance(copied, type(self))
        copied._casing = dict(self._casing)
        return copied


class TwistedRequestHeaderAdapter(TwistedHeaderAdapter):
    """Fields of a request: of several spellings of a name the first counts."""

    def rememberHeaderCasing(self, name: Name) -> None:
        spelling = _encoded(name)
        self._casing.setdefault(spelling.lower(), spelling)

    def setRawHeaders(self, name: Name, values: t.Sequence[Name]) -> None:
        """Set the values of a field, which is spelled as here if it is new."""
        self.rememberHeaderCasing(name)
        super().setRawHeaders(name, values)

    def removeHeader(self, name: Name) -> None:
        """Remove a field, its spelling too."""
        self._casing.pop(_encoded(name).lower(), None)
        super().removeHeader(name)


def to_flat_header_list(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Return the fields one by one, repeated ones as often as they are there."""
    return [(name, value) for name, values in headers.getAllRawHeaders() for value in values]


def _encoded(name: Name) -> bytes:
    return name.encode("iso-8859-1") if isinstance(name, str) else name
