"""The fields of a head as they came, with what one look at each of them has found. Pure.

On its way an exchange asks the same things of its fields again and again: how the body is
framed, what belongs to the connection, what the client says of the way it came. Most heads have
nothing of all that but Host, and here this is found out once.
"""

from __future__ import annotations

import typing as t

from rolo.wire.fields import RESERVED, RawHeaders

LOOKED_AT = RESERVED | frozenset(
    b"host expect trailer date proxy-authenticate proxy-authorization "
    b"proxy-authentication-info sec-websocket-accept sec-websocket-extensions sec-websocket-key "
    b"sec-websocket-protocol sec-websocket-version forwarded x-forwarded-for x-forwarded-host x-forwarded-port "
    b"x-forwarded-prefix x-forwarded-proto x-forwarded-server".split()
)
"""The fields that some rule asks for; all others go their way unseen."""

# Names, as they were written, of which no rule wants to know: to look for one costs less than to
# fold its case. Bounded, as peers make names up.
_unseen: set[bytes] = set()
_MAX_UNSEEN = 1024
_MAX_REMEMBERED = 64
_NONE: frozenset[bytes] = frozenset()


class ReceivedFields(list[tuple[bytes, bytes]]):
    """The header fields of one head: a list of raw pairs that nobody changes, so that what was
    found in them stays true. Who edits makes a list of them.

    :param lines: the very bytes that ``pairs`` were read from, each field in a line of its own
        as we would write it; ``None`` if they are not, or if nobody has checked them
    """

    __slots__ = ("lines", "special", "underscored")

    def __init__(self, pairs: t.Iterable[tuple[bytes, bytes]], lines: bytes | None = None) -> None:
        super().__init__(pairs)
        self.lines = lines
        found: dict[bytes, bytes] = {}
        self.special = found
        """The values of those that are :data:`LOOKED_AT`, by names in lower case; repeated ones
        joined by commas (RFC 9110 section 5.3)."""
        self.underscored: t.AbstractSet[bytes] = _NONE
        """The names with underscores, in lower case."""
        repeated: dict[bytes, list[bytes]] | None = None
        underscored: set[bytes] | None = None
        for name, value in self:
            if name in _unseen:
                continue
            key = name.lower()
            if key in found:
                if repeated is None:
                    repeated = {}
                repeated.setdefault(key, [found[key]]).append(value)
            elif key in LOOKED_AT:
                found[key] = value
            elif b"_" in key:
                self.underscored = underscored = underscored or set()
                underscored.add(key)
            elif len(_unseen) < _MAX_UNSEEN and len(name) <= _MAX_REMEMBERED:
                _unseen.add(name)
        if repeated is not None:
            for key, values in repeated.items():
                found[key] = b", ".join(values)

    def without(self, names: t.AbstractSet[bytes]) -> ReceivedFields:
        """Return those whose names are not among ``names``, which are in lower case."""
        kept = [field for field in self if field[0].lower() not in names]
        lines = None if self.lines is None else b"".join([b"%b: %b\r\n" % field for field in kept])
        return ReceivedFields(kept, lines)

    def _never(self, *_: t.Any) -> t.NoReturn:
        raise TypeError("fields as they were received do not change: make a list of them")

    append = extend = insert = remove = pop = clear = sort = reverse = _never  # type: ignore[assignment]
    __setitem__ = __delitem__ = __iadd__ = __imul__ = _never


def received(headers: RawHeaders) -> ReceivedFields:
    """Return ``headers`` with what there is to find in them."""
    return headers if isinstance(headers, ReceivedFields) else ReceivedFields(headers)


class FieldsAtRest(ReceivedFields):
    """The same of a head that is kept for long, as that of an open websocket is: what there is to
    find is found again whenever somebody asks, and takes no room meanwhile."""

    __slots__ = ()

    def __init__(self, fields: RawHeaders) -> None:
        list.__init__(self, fields)
        self.lines = None

    @property
    def special(self) -> dict[bytes, bytes]:  # type: ignore[override]
        return ReceivedFields(self).special

    @property
    def underscored(self) -> t.AbstractSet[bytes]:  # type: ignore[override]
        return ReceivedFields(self).underscored
