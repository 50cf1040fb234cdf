"""Which header fields pass a proxy (RFC 9110 section 7.6.1).

Pure functions over lists of raw pairs. Order, case and repeats stay as they came.
"""

from __future__ import annotations

import functools

from rolo.wire.fields import RawHeaders
from rolo.wire.received import received
from rolo.wire.trailers import without_trailer_field

# RFC 9110 section 7.6.1, and what belongs to one connection though the list there does not
# name it: proxy authentication (section 11.7) and what comes with an upgrade to h2c.
_HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-connection te transfer-encoding upgrade http2-settings "
    b"proxy-authenticate proxy-authorization proxy-authentication-info".split()
)
_HOP_BY_HOP_AND_LENGTH = _HOP_BY_HOP | {b"content-length"}
# A Connection field cannot remove these: without them the message would mean something else.
_ESSENTIAL = frozenset(b"host content-length content-type content-encoding content-range".split())
# Bytes of what a peer says that a cache may be keyed by.
_MAX_REMEMBERED = 64


def end_to_end(headers: RawHeaders, *, keep_length: bool = True) -> RawHeaders:
    """Return ``headers`` without hop-by-hop fields and those that Connection names; nobody may
    change what is returned.

    ``TE`` stays if it holds ``trailers``, and then says only that. Transfer-Encoding goes:
    who writes the message frames it.

    :param keep_length: whether Content-Length stays
    """
    fields = received(headers)
    found = fields.special
    drop = _HOP_BY_HOP if keep_length else _HOP_BY_HOP_AND_LENGTH
    if drop.isdisjoint(found):
        return fields
    if b"connection" in found:
        drop = _with_options(drop, found[b"connection"].lower())
    passed = fields.without(drop)
    if b"te" in found:
        for name, value in headers:
            if name.lower() == b"te" and _wants_trailers(value):
                return [*passed, (name, b"trailers")]
    return passed


def of_the_connection(headers: RawHeaders) -> frozenset[tuple[bytes, bytes]]:
    """Return what ``headers`` say of one connection, or of the body: names in lower case."""
    connection = received(headers).special.get(b"connection", b"")
    theirs = _with_options(_HOP_BY_HOP_AND_LENGTH, connection.lower())
    return frozenset((key, value) for name, value in headers if (key := name.lower()) in theirs)


def _with_options(drop: frozenset[bytes], value: bytes) -> frozenset[bytes]:
    """``drop`` and the names in a Connection field."""
    if len(value) > _MAX_REMEMBERED:
        return _options(drop, value)
    return _known_options(drop, value)


def _options(drop: frozenset[bytes], value: bytes) -> frozenset[bytes]:
    options = frozenset(option.strip(b" \t") for option in value.split(b","))
    return drop | (options - _ESSENTIAL)


_known_options = functools.lru_cache(maxsize=256)(_options)


def _wants_trailers(value: bytes) -> bool:
    codings = (coding.partition(b";")[0].strip(b" \t") for coding in value.lower().split(b","))
    return b"trailers" in codings


def response_headers(headers: RawHeaders) -> RawHeaders:
    """Return the fields of an answer on its way to the client.

    Content-Length stays, Transfer-Encoding goes: who sends the answer frames it.
    """
    return end_to_end(headers)


def interim_headers(headers: RawHeaders) -> RawHeaders:
    """Return the fields of a 1xx answer on its way to the client: there is no content, hence
    nothing that frames it (RFC 9110 section 8.6) or announces trailers."""
    return without_trailer_field(end_to_end(headers, keep_length=False))
