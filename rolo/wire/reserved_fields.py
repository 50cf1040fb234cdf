"""Fields that nobody sets but who writes the message: they frame it, or belong to one
connection. Two of them that disagree are what smuggling is made of, so they are decided in
one place for each direction, whatever handlers and hooks have left there.

Pure functions over lists of raw pairs.
"""

from __future__ import annotations

from rolo.wire.fields import RESERVED, RawHeaders
from rolo.wire.http1 import list_items
from rolo.wire.trailers import without_trailer_field

# TE goes on in a request that wants trailers, with a Connection that we write.
_NEVER_IN_A_REQUEST = RESERVED - {b"te"}
NOT_PLAIN_IN_REQUESTS = RESERVED | {b"host", b"trailer"}
"""The fields of a request of which there is something to be seen to."""
_NEVER_IN_AN_ANSWER = RESERVED - {b"content-length"}
# Without these the message would mean something else, whatever Connection says.
_ESSENTIAL = frozenset(b"content-length content-type content-encoding content-range".split())
# Names, as they were written, of which nothing is to be seen to but how often they are there:
# to look for one costs less than to fold the case of each. Bounded, as peers make names up.
_plain_in_requests = {b"Host", b"host"}
_plain_in_answers = {b"Content-Length", b"content-length"}
_MAX_PLAIN_NAMES = 1024


def request_fields(headers: RawHeaders, *, chunked: bool) -> RawHeaders:
    """Return a new list: the fields of a request, complete but for the one that frames it.

    :param chunked: the body is; without chunks there are no trailers to announce
    :raises ValueError: they hold fields that only the writer sets, or not exactly one Host
    """
    written = [name for name, _ in headers]
    if _plain_in_requests.issuperset(written):
        if written.count(b"Host") + written.count(b"host") == 1:
            return list(headers)
    else:
        _learn(_plain_in_requests, written, NOT_PLAIN_IN_REQUESTS)
    names = [name.lower() for name in written]
    if not _NEVER_IN_A_REQUEST.isdisjoint(names):
        found = next(name for name in names if name in _NEVER_IN_A_REQUEST)
        raise ValueError(f"{found.decode()} is written by rolo, and was set by somebody else")
    if (hosts := names.count(b"host")) != 1:
        raise ValueError(f"{hosts} Host fields where there must be one")
    fields = list(headers) if chunked else without_trailer_field(headers)
    if b"te" in names:
        # RFC 9110 section 10.1.4: it is for the next one only, and has to say so.
        fields.append((b"Connection", b"TE"))
    return fields


def answer_fields(headers: RawHeaders, length: int | None, *, bodiless: bool) -> RawHeaders:
    """Return the fields of an answer as every server may take them: at most one length, which
    is right, or one ``Transfer-Encoding: chunked``; ``Connection: close`` if it was there, and
    nothing else that belongs to a connection.

    :param length: of the body, ``None`` if it is not known
    :param bodiless: no body follows the head
    :raises ValueError: they do not say clearly where the body ends
    """
    written = [name for name, _ in headers]
    if _plain_in_answers.issuperset(written):
        lengths = written.count(b"Content-Length") + written.count(b"content-length")
        if not lengths or (lengths == 1 and _is_right(headers, length)):
            return headers
    else:
        _learn(_plain_in_answers, written, RESERVED)
    names = [name.lower() for name in written]
    chunked = False
    if not _NEVER_IN_AN_ANSWER.isdisjoint(names):
        chunked = b"transfer-encoding" in names and not bodiless
        headers = _of_the_message(headers, chunked=chunked)
        names = [name.lower() for name, _ in headers]
    if b"content-length" not in names:
        return headers
    lengths = names.count(b"content-length")
    if lengths == 1 and not chunked and _is_right(headers, length):
        return headers
    at = names.index(b"content-length")
    kept = [field for field, name in zip(headers, names, strict=True) if name != b"content-length"]
    if chunked:
        return kept
    if length is None:
        said = headers[at][1] if lengths == 1 else b"several times"
        raise ValueError(f"Content-Length {said!r}")
    kept.insert(at, (headers[at][0], b"%d" % length))
    return kept


def _is_right(headers: RawHeaders, length: int | None) -> bool:
    """Whether the one Content-Length there is can stay."""
    for name, value in headers:
        if len(name) == 14 and name.lower() == b"content-length":
            return value.isdigit() if length is None else value == b"%d" % length
    return False


def _learn(plain: set[bytes], written: list[bytes], special: frozenset[bytes]) -> None:
    for name in written:
        if len(plain) < _MAX_PLAIN_NAMES and len(name) <= 64 and name.lower() not in special:
            plain.add(name)


def _of_the_message(headers: RawHeaders, *, chunked: bool) -> RawHeaders:
    """Return ``headers`` without what belongs to a connection, but for the wish to close it.

    :raises ValueError: a transfer coding other than chunked
    """
    codings, options = [], []
    for name, value in headers:
        if name.lower() == b"transfer-encoding":
            codings += list_items(value)
        elif name.lower() == b"connection":
            options += list_items(value)
    if chunked and codings != [b"chunked"]:
        raise ValueError(f"Transfer-Encoding {b', '.join(codings)!r}")
    drop = _NEVER_IN_AN_ANSWER | (frozenset(options) - _ESSENTIAL)
    kept = [field for field in headers if field[0].lower() not in drop]
    if chunked:
        kept.append((b"Transfer-Encoding", b"chunked"))
    if b"close" in options:
        kept.append((b"Connection", b"close"))
    return kept
