"""Where requests go: upstream URLs, and request targets taken apart and put together.

Nothing here decodes or normalises: what a client wrote reaches the origin byte for byte.
"""

from __future__ import annotations

import dataclasses
import functools
import ipaddress
import re
import typing as t
import urllib.parse

from rolo.errors import BadRequest

Form = t.Literal["origin", "absolute", "asterisk", "authority"]

_PORTS = {"http": 80, "https": 443}
# Schemes of upstream URLs and what is spoken there.
_SCHEMES = {
    "http": "http",
    "https": "https",
    "ws": "http",
    "wss": "https",
    "http+unix": "http",
    "https+unix": "https",
}
_SCHEME_NAME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*")
_HOST_NAME = re.compile(r"[A-Za-z0-9_\-.]+")
# RFC 9112 section 3.2 has fewer bytes, but origins live with more. What may not pass is
# what would end the target, or could: controls, space and delete.
_TARGET = re.compile(rb"[\x21-\x7e\x80-\xff]+")
_ABSOLUTE = re.compile(rb"([A-Za-z][A-Za-z0-9+.\-]*)://([^/?#]*)([^?#]*)(?:\?([^#]*))?")
_AUTHORITY = re.compile(
    rb"(?:[A-Za-z0-9\-._~%!$&'()*+,;=\x80-\xff]+|\[[0-9A-Fa-f:.]+\])(?::\d{0,5})?"
)


@dataclasses.dataclass(frozen=True)
class Origin:
    """One place to connect to; equal ones share a connection pool.

    :param scheme: ``"http"`` or ``"https"``
    :param host: name or address, without brackets; what TLS verifies
    :param port: TCP port; unused with ``uds``
    :param uds: path of a UNIX socket to use instead of TCP
    """

    scheme: str
    host: str
    port: int
    uds: str | None = None

    @property
    def tls(self) -> bool:
        return self.scheme == "https"

    @functools.cached_property
    def authority(self) -> str:
        """What belongs into ``Host``: the port only if it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        if self.uds is not None or self.port == _PORTS.get(self.scheme):
            return host
        return f"{host}:{self.port}"

    @functools.cached_property
    def authority_bytes(self) -> bytes:
        return self.authority.encode("latin-1")

    def __str__(self) -> str:
        if self.uds is not None:
            return f"{self.scheme}+unix://{urllib.parse.quote(self.uds, safe='')}"
        return f"{self.scheme}://{self.authority}"


@dataclasses.dataclass(frozen=True)
class Upstream:
    """An origin and the path below which requests are put."""

    origin: Origin
    base_path: bytes = b""
    """Starts with a slash and ends without one, or is empty."""

    def __str__(self) -> str:
        return f"{self.origin}{self.base_path.decode('latin-1')}"


def parse_upstream(url: str) -> Upstream:
    """Parse the URL that requests are forwarded to.

    ``http``, ``https``, ``ws`` and ``wss`` URLs, and ``http+unix://%2Fpath%2Fto.sock/base``.

    :raises ValueError: one readable line that names the fault
    """
    shown = _without_user(url)
    scheme, separator, rest = url.partition("://")
    if not separator or not _SCHEME_NAME.fullmatch(scheme):
        raise ValueError(f"upstream {shown!r} has no scheme; did you mean {'http://' + shown!r}?")
    spoken = _SCHEMES.get(scheme.lower())
    if spoken is None:
        raise ValueError(
            f"upstream {shown!r} has the unknown scheme {scheme!r}; known are {', '.join(_SCHEMES)}"
        )
    for mark, word in (("#", "fragment"), ("?", "query")):
        if mark in rest:
            raise ValueError(f"upstream {shown!r} has a {word}, which cannot be forwarded to")
    authority, slash, path = rest.partition("/")
    if "@" in authority:
        raise ValueError(f"upstream {shown!r} has a user name, which is not supported")
    base_path = _base_path(shown, slash + path)
    if scheme.lower().endswith("+unix"):
        uds = urllib.parse.unquote(authority)
        if not uds:
            raise ValueError(
                f"upstream {shown!r} names no socket; write http+unix://%2Fpath%2Fto.sock"
            )
        return Upstream(Origin(spoken, "localhost", _PORTS[spoken], uds), base_path)
    host, port = _host_and_port(shown, authority)
    return Upstream(Origin(spoken, host, _PORTS[spoken] if port is None else port), base_path)


def _base_path(shown: str, path: str) -> bytes:
    quoted = urllib.parse.quote(path, safe="/%:@!$&'()*+,;=~|^`{}[]\"<>\\", encoding="utf-8")
    if any(c.isspace() or ord(c) < 0x20 or ord(c) == 0x7F for c in path):
        raise ValueError(f"upstream {shown!r} has a blank or control character in its path")
    return quoted.rstrip("/").encode("ascii")


def _without_user(url: str) -> str:
    """``url`` as an error may show it: a password must not end up in a log."""
    before, at, rest = url.rpartition("@")
    scheme, separator, _ = before.partition("://")
    return f"{scheme if separator else ''}{separator}…@{rest}" if at else url


def _host_and_port(shown: str, authority: str) -> tuple[str, int | None]:
    if authority.startswith("["):
        host, bracket, rest = authority[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"upstream {shown!r} has a malformed IPv6 address")
        port = rest[1:]
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise ValueError(f"upstream {shown!r} has a malformed IPv6 address") from None
    else:
        host, _, port = authority.partition(":")
        host = _ascii_host(shown, host)
    if not port:
        return host, None
    if not (port.isascii() and port.isdigit()) or not 0 < int(port[:6]) < 65536:
        raise ValueError(f"upstream {shown!r} has the bad port {port!r}; it must be 1 to 65535")
    return host, int(port)


def _ascii_host(shown: str, host: str) -> str:
    if not host:
        raise ValueError(f"upstream {shown!r} has no host")
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            raise ValueError(
                f"upstream {shown!r} has a host that is not a name: {host!r}"
            ) from None
    if _HOST_NAME.fullmatch(host) is None or not _has_labels(host):
        raise ValueError(f"upstream {shown!r} has a malformed host: {host!r}")
    return host.lower()


def _has_labels(host: str) -> bool:
    """Whether the dots of ``host`` stand between labels that a resolver can take."""
    return all(0 < len(label) < 64 for label in host.removesuffix(".").split("."))


@dataclasses.dataclass(slots=True)
class TargetForm:
    """A request target taken apart (RFC 9112 section 3.2), every byte as it came."""

    path: bytes
    """``*`` for the asterisk form, empty for the authority form."""
    query: bytes | None
    """Without the question mark; ``b""`` if there is only that, ``None`` if not even that."""
    form: Form
    authority: bytes | None
    """Of the absolute and authority forms; it outranks Host (RFC 9112 section 3.2.2)."""


def refuse_fragment(target: bytes) -> None:
    """Refuse a target with a ``#`` in it: fragments are never sent (RFC 9110 section 4.2.5), and
    whoever sees one in a path takes it for another path than whoever drops it.

    :raises BadRequest: it has one
    """
    if b"#" in target:
        raise BadRequest("fragment in the request target")


def split_target(target: bytes, method: str) -> TargetForm:
    """Take a request target apart.

    :raises BadRequest: it is none of the four forms, or holds a control, a space or a fragment
    """
    refuse_fragment(target)
    if _TARGET.fullmatch(target) is None:
        raise BadRequest("control character or space in the request target")
    if target[:1] == b"/" and method != "CONNECT":
        path, mark, query = target.partition(b"?")
        return TargetForm(path, query if mark else None, "origin", None)
    if method == "CONNECT":
        if _AUTHORITY.fullmatch(target) is None:
            raise BadRequest("malformed target of CONNECT")
        return TargetForm(b"", None, "authority", target)
    if target == b"*":
        if method != "OPTIONS":
            raise BadRequest("the target * is for OPTIONS only")
        return TargetForm(b"*", None, "asterisk", None)
    return _absolute(target, method)


def _absolute(target: bytes, method: str) -> TargetForm:
    match = _ABSOLUTE.fullmatch(target)
    if match is None or match[1].lower() not in (b"http", b"https"):
        raise BadRequest("the request target is neither a path nor an http URL")
    _, authority, path, query = match.groups()
    if _AUTHORITY.fullmatch(authority) is None:
        raise BadRequest("malformed authority in the request target")
    if not path:
        # RFC 9112 section 3.2.4: OPTIONS for a whole server, on its last hop.
        path = b"*" if method == "OPTIONS" and query is None else b"/"
    return TargetForm(path, query, "absolute", authority)


def decoded_path(raw_path: bytes) -> str:
    """Return a path as handlers see it: percent-decoded, bytes that are no UTF-8 replaced."""
    plain = raw_path if b"%" not in raw_path else urllib.parse.unquote_to_bytes(raw_path)
    return plain.decode("utf-8", "replace")


def join_target(base_path: bytes, raw_path: bytes, query: bytes | None) -> bytes:
    """Put a request target together, byte for byte.

    :param base_path: of the :class:`Upstream`
    :param raw_path: still percent-encoded; ``*`` stays alone
    :param query: without the question mark; ``None`` for none, ``b""`` for a bare one
    """
    if raw_path == b"*":
        return raw_path
    if raw_path[:1] != b"/" and (raw_path or not base_path):
        raw_path = b"/" + raw_path
    path = base_path + raw_path
    return path if query is None else path + b"?" + query
