"""Which fields may follow a body (RFC 9110 section 6.5).

A recipient may merge trailers into the header fields, after whoever stands between has
looked at those. So what steers a message never passes behind it (section 6.5.1): only its
sender could know that the definition of such a field permits it, and a proxy cannot ask.
"""

from __future__ import annotations

from rolo.wire.fields import RawHeaders

_CLASSES = {
    "framing, and what belongs to a connection": b"""
        connection content-length http2-settings keep-alive proxy-connection te trailer
        transfer-encoding upgrade""",
    "routing, and what is said of the way": b"""
        forwarded host max-forwards via x-forwarded-for x-forwarded-host x-forwarded-port
        x-forwarded-prefix x-forwarded-proto x-forwarded-server x-http-method-override
        x-original-url x-real-ip x-rewrite-url""",
    "modifiers of a request": b"""
        accept-encoding expect if-match if-modified-since if-none-match if-range
        if-unmodified-since prefer range""",
    "authentication and cookies": b"""
        authentication-info authorization cookie cookie2 origin proxy-authenticate
        proxy-authentication-info proxy-authorization set-cookie set-cookie2
        www-authenticate""",
    "what the content is": b"""
        content-disposition content-encoding content-language content-location content-range
        content-type""",
    "control of an answer": b"""
        age allow alt-svc cache-control clear-site-data content-security-policy
        content-security-policy-report-only date expires last-modified link location pragma
        refresh retry-after strict-transport-security vary warning""",
}
_NEVER = frozenset(name for names in _CLASSES.values() for name in names.split())
# Handshakes of websockets and what browsers say of themselves; who may read an answer.
_NEVER_BEGINNING = (b"sec-", b"access-control-")


def only_trailers(fields: RawHeaders) -> RawHeaders:
    """Return those of ``fields`` that may stand behind a body. A name with underscores is
    looked at as the name that CGI-like servers take it for."""
    return [field for field in fields if _may_follow(field[0].lower().replace(b"_", b"-"))]


def _may_follow(name: bytes) -> bool:
    return name not in _NEVER and not name.startswith(_NEVER_BEGINNING)


def without_trailer_field(headers: RawHeaders) -> RawHeaders:
    """Return a new list without Trailer, which announces trailers: for messages that are not
    chunked and so have none (RFC 9110 section 6.6.2)."""
    return [field for field in headers if len(field[0]) != 7 or field[0].lower() != b"trailer"]
