"""A light view on raw header pairs, for hooks that edit a field or two."""

from __future__ import annotations

import functools
import re
import typing as t

from rolo.errors import ReservedField

RawHeaders = list[tuple[bytes, bytes]]

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")

RESERVED = frozenset(
    b"content-length transfer-encoding connection keep-alive proxy-connection te upgrade "
    b"http2-settings".split()
)
"""What only the writer of a message sets: it frames it, or belongs to one connection
(RFC 9112 section 6, RFC 9110 section 7.6.1)."""


def values_of(headers: RawHeaders, name: bytes) -> list[bytes]:
    """Return the values of the fields called ``name`` (in lower case), in their order."""
    return [value for field, value in headers if field.lower() == name]


class HeaderFields:
    """Header fields over the very list of raw pairs that goes on the wire.

    Names are compared without regard to case; order, case and repeats of what is not
    touched stay as they came. Text is Latin-1, as on the wire.

    Fields that frame the message or belong to its connection (:data:`RESERVED`) can be read
    and removed; every call that would set one raises
    :class:`~rolo.errors.ReservedField`, a :class:`ValueError`.
    """

    __slots__ = ("pairs",)

    def __init__(self, pairs: RawHeaders | None = None) -> None:
        self.pairs: RawHeaders = [] if pairs is None else pairs

    def __getitem__(self, name: str) -> str:
        """Return the first value.

        :raises KeyError: there is none
        """
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    @t.overload
    def get(self, name: str) -> str | None: ...

    @t.overload
    def get(self, name: str, default: str) -> str: ...

    def get(self, name: str, default: str | None = None) -> str | None:
        """Return the first value, ``default`` if there is none."""
        key = name.lower().encode("latin-1")
        for field, value in self.pairs:
            if field.lower() == key:
                return value.decode("latin-1")
        return default

    def getlist(self, name: str) -> list[str]:
        """Return all values in their order."""
        key = name.lower().encode("latin-1")
        return [value.decode("latin-1") for field, value in self.pairs if field.lower() == key]

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    def __setitem__(self, name: str, value: str) -> None:
        """Give the field this one value, in the place of its first; add it at the end if
        there is none.

        :raises ValueError: name or value could not be written as one field
        """
        raw = _raw_value(name, value)
        written, key = _names(name)
        pairs = self.pairs
        for pair in pairs:
            if pair[0].lower() == key:
                break
        else:
            pairs.append((written, raw))
            return
        at = pairs.index(pair)
        pairs[at] = (pair[0], raw)
        pairs[at + 1 :] = [other for other in pairs[at + 1 :] if other[0].lower() != key]

    def add(self, name: str, value: str) -> None:
        """Add a field at the end, whether or not there is one of that name.

        :raises ValueError: name or value could not be written as one field
        """
        self.pairs.append(_pair(name, value))

    def setdefault(self, name: str, value: str) -> str:
        """Return the first value, having added ``value`` if there was none."""
        present = self.get(name)
        if present is None:
            self.add(name, value)
            return value
        return present

    def setlist(self, name: str, values: t.Iterable[str]) -> None:
        """Put ``values`` at the end in the place of all fields of that name."""
        new = [_pair(name, value) for value in values]
        self.remove(name)
        self.pairs.extend(new)

    def remove(self, *names: str) -> None:
        """Remove all fields of these names; nothing if there are none."""
        keys = {name.lower().encode("latin-1") for name in names}
        self.pairs[:] = [field for field in self.pairs if field[0].lower() not in keys]

    def __delitem__(self, name: str) -> None:
        self.remove(name)

    def pop(self, name: str, default: str | None = None) -> str | None:
        """Remove all fields of that name and return the first value."""
        value = self.get(name)
        if value is None:
            return default
        self.remove(name)
        return value

    def replace(self, name: str, edit: t.Callable[[str], str | None]) -> None:
        """Put ``edit(value)`` in the place of each value; ``None`` removes the field."""
        key = name.lower().encode("latin-1")
        result: RawHeaders = []
        for pair in self.pairs:
            if pair[0].lower() != key:
                result.append(pair)
                continue
            value = edit(pair[1].decode("latin-1"))
            if value is not None:
                result.append((pair[0], _pair(name, value)[1]))
        self.pairs[:] = result

    def items(self) -> list[tuple[str, str]]:
        """Return all fields as text."""
        return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self.pairs]

    def __iter__(self) -> t.Iterator[tuple[str, str]]:
        return iter(self.items())

    def __len__(self) -> int:
        return len(self.pairs)

    def __repr__(self) -> str:
        return f"HeaderFields({self.pairs!r})"


def _pair(name: str, value: str) -> tuple[bytes, bytes]:
    return _names(name)[0], _raw_value(name, value)


def _raw_value(name: str, value: str) -> bytes:
    text = str(value)
    # RFC 9110 section 5.5: a value with one of these would end, and another field begin.
    if not text.isprintable() and ("\n" in text or "\r" in text or "\0" in text):
        raise ValueError(f"a line break or NUL in the value of {name}")
    return text.encode("latin-1")


def _names(name: str) -> tuple[bytes, bytes]:
    """Return the name as it is written, and as it is compared."""
    # A hook may ask for names that a client made up: what is kept of them is small.
    return _known_names(name) if len(name) <= 64 else _names_of(name)


def _names_of(name: str) -> tuple[bytes, bytes]:
    raw = name.encode("latin-1", "replace")
    if _NAME.fullmatch(raw) is None:
        raise ValueError(f"not the name of a header field: {name!r}")
    refuse_reserved(name)
    return raw, raw.lower()


def refuse_reserved(name: str) -> None:
    """:raises ReservedField: a field of that name is one of :data:`RESERVED`"""
    if name.lower().encode("latin-1") in RESERVED:
        raise ReservedField(
            f"{name} is not for hooks to set: rolo writes it, to fit the body and the connection"
        )


_known_names = functools.lru_cache(maxsize=512)(_names_of)
