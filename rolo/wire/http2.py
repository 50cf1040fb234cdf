"""What HTTP/2 makes of the fields of HTTP/1, and the other way round (RFC 9113). Pure."""

from __future__ import annotations

from rolo.wire.fields import RawHeaders

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""How every connection begins (section 3.4)."""

_CONNECTION_FIELDS = frozenset(
    b"connection keep-alive proxy-connection transfer-encoding upgrade".split()
)


def request_fields(fields: RawHeaders) -> tuple[dict[bytes, bytes], RawHeaders]:
    """Return the pseudo-header fields of a request, and the others as HTTP/1 has them: with
    the authority as Host, and with one Cookie (section 8.2.3)."""
    pseudo: dict[bytes, bytes] = {}
    headers: RawHeaders = []
    cookies: list[bytes] = []
    for field in fields:
        name, value = field
        if name[:1] == b":":
            pseudo[name] = value
        elif name == b"cookie":
            cookies.append(value)
        elif name != b"host" or b":authority" not in pseudo:  # which come first
            headers.append(field)
    if cookies:
        headers.append((b"cookie", b"; ".join(cookies)))
    if b":authority" in pseudo:
        headers.insert(0, (b"host", pseudo[b":authority"]))
    return pseudo, headers


def answer_fields(status: int, headers: RawHeaders) -> RawHeaders:
    """Return the fields of a head, without those of a connection (section 8.2.2)."""
    lowered = ((name.lower(), value) for name, value in headers)
    fields = [field for field in lowered if field[0] not in _CONNECTION_FIELDS]
    return [(b":status", b"%d" % status), *fields]
