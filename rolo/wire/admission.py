"""What a request's head must be to enter, whatever the server below let through. Pure.

Servers differ in what they forgive, and whoever stands behind us may read the same bytes
differently again: that is how requests are smuggled (RFC 9112 section 11.2). So what is
ambiguous is refused before anybody acts on it, with the rules of ``rolo.wire.http1``.
"""

from __future__ import annotations

import typing as t

from rolo.errors import BadRequest, HttpVersionNotSupported, UnusableMethod
from rolo.wire.fields import RawHeaders
from rolo.wire.http1 import Framing, is_host, list_items, request_framing
from rolo.wire.received import received
from rolo.wire.target import refuse_fragment

_FRAMING = frozenset((b"content-length", b"transfer-encoding"))
# As ASGI writes them; HTTP/2 and up have framing of their own.
_VERSIONS = frozenset(("1.0", "1.1", "2", "3"))
# RFC 9110 section 9.3: methods for whose body nothing is defined, so that hardly any has one.
BODILESS_METHODS = frozenset(("GET", "HEAD", "DELETE", "OPTIONS", "TRACE"))


class Admitted(t.NamedTuple):
    """What the head says about the body."""

    framing: Framing | None
    """``None`` where the head does not say: HTTP/2 and up need no fields for a body."""
    length: int | None
    """The declared length in bytes, ``None`` if there is none."""
    expect_continue: bool
    """The client waits for 100 (Continue) before it sends the body."""


def admit(method: str, target: bytes, headers: RawHeaders, http_version: str) -> Admitted:
    """Check a request head.

    :param target: as far as the server tells
    :param http_version: ``"1.0"``, ``"1.1"``, ``"2"`` or ``"3"``
    :raises BadRequest: ambiguous framing; no Host, several, or one that is none; a fragment
    :raises UnknownTransferCoding: a body in a coding other than ``chunked``
    :raises UnusableMethod: CONNECT: there are no tunnels through here
    :raises HttpVersionNotSupported: as named
    """
    if http_version not in _VERSIONS:
        raise HttpVersionNotSupported(f"HTTP/{http_version}")
    if method == "CONNECT":
        raise UnusableMethod("CONNECT makes no tunnel here")
    refuse_fragment(target)
    found = received(headers).special
    host = found.get(b"host")
    if host is None:
        # RFC 9112 section 3.2
        if http_version == "1.1":
            raise BadRequest("no Host")
    elif not is_host(host):
        raise BadRequest(f"malformed or repeated Host: {host!a}")
    framing, length = _body(found, http_version)
    return Admitted(framing, length, _expects(found, http_version, framing))


def _body(found: dict[bytes, bytes], http_version: str) -> tuple[Framing | None, int | None]:
    framed = not _FRAMING.isdisjoint(found)
    if http_version[0] != "1":
        if b"transfer-encoding" in found:
            # RFC 9113 section 8.2.2
            raise BadRequest(f"Transfer-Encoding in HTTP/{http_version}")
        return request_framing(found, modern=True) if framed else (None, None)
    return request_framing(found, modern=http_version == "1.1") if framed else (Framing.NONE, None)


def _expects(found: dict[bytes, bytes], http_version: str, framing: Framing | None) -> bool:
    # RFC 9110 section 10.1.1: to be ignored in HTTP/1.0, and where no body follows.
    if b"expect" not in found or http_version == "1.0" or framing is Framing.NONE:
        return False
    return b"100-continue" in list_items(found[b"expect"])
