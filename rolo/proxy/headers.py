"""Which header fields pass a proxy, and which it adds (RFC 9110 section 7.6, RFC 7239).

Pure functions over lists of raw pairs. Order, case and repeats stay as they came.
"""

from __future__ import annotations

import dataclasses
import functools
import ipaddress
import re
import typing as t

from rolo.proxy.target import Origin

RawHeaders = list[tuple[bytes, bytes]]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# RFC 9110 section 7.6.1, and what belongs to one connection though the list there does not
# name it: proxy authentication (section 11.7) and what comes with an upgrade to h2c.
_HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-connection te transfer-encoding upgrade http2-settings "
    b"proxy-authenticate proxy-authorization proxy-authentication-info".split()
)
_HOP_BY_HOP_AND_LENGTH = _HOP_BY_HOP | {b"content-length"}
# A Connection field cannot remove these: without them the message would mean something else.
_ESSENTIAL = frozenset(b"host content-length content-type content-encoding content-range".split())
_FORWARDED_NAMES = frozenset(
    b"x-forwarded-for x-forwarded-proto x-forwarded-host forwarded".split()
)
# What a client we do not trust says about the way it came.
_HEARSAY = _FORWARDED_NAMES | frozenset(
    b"x-forwarded-port x-forwarded-prefix x-forwarded-server".split()
)
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


def end_to_end(headers: RawHeaders, *, keep_length: bool = True) -> RawHeaders:
    """Return a new list without hop-by-hop fields and those that Connection names.

    ``TE`` stays if it holds ``trailers``, and then says only that. Transfer-Encoding goes:
    who writes the message frames it.

    :param keep_length: whether Content-Length stays
    """
    names = [name.lower() for name, _ in headers]
    return _passed(headers, names, _HOP_BY_HOP if keep_length else _HOP_BY_HOP_AND_LENGTH)


def _passed(headers: RawHeaders, names: list[bytes], drop: frozenset[bytes]) -> RawHeaders:
    if drop.isdisjoint(names):
        return list(headers)
    if b"connection" in names:
        for name, (_, value) in zip(names, headers, strict=True):
            if name == b"connection":
                drop = _with_options(drop, value.lower())
    passed = [field for field, name in zip(headers, names, strict=True) if name not in drop]
    if b"te" in names:
        for name, field in zip(names, headers, strict=True):
            if name == b"te" and _wants_trailers(field[1]):
                passed.append((field[0], b"trailers"))
                break
    return passed


@functools.lru_cache(maxsize=256)
def _with_options(drop: frozenset[bytes], value: bytes) -> frozenset[bytes]:
    options = frozenset(option.strip(b" \t") for option in value.split(b","))
    return drop | (options - _ESSENTIAL)


def _wants_trailers(value: bytes) -> bool:
    codings = (coding.partition(b";")[0].strip(b" \t") for coding in value.lower().split(b","))
    return b"trailers" in codings


@dataclasses.dataclass(frozen=True)
class ForwardedPolicy:
    """What the upstream is told about the client and the way the request came.

    The default suits a proxy behind which nobody believes more than the last address: the
    client's address is appended to ``X-Forwarded-For``; ``X-Forwarded-Proto`` and ``-Host``
    are set where absent. Once ``trusted`` is given, that is done for clients in these
    networks only, and whatever any other client says about itself is replaced.
    """

    mode: t.Literal["append", "replace", "off"] = "append"
    """``replace`` believes nobody; ``off`` adds nothing and leaves everything as it came."""
    trusted: tuple[Network, ...] = ()
    """Networks of the proxies in front of us. A client on a UNIX socket is in none."""
    forwarded: bool = False
    """Write ``Forwarded`` (RFC 7239) as well."""
    via: str | None = None
    """The name under which to add ourselves to ``Via`` (RFC 9110 section 7.6.3)."""
    _known: dict[str, bool] = dataclasses.field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if self.mode not in ("append", "replace", "off"):
            raise ValueError(f"unknown mode {self.mode!r}; known are append, replace, off")
        if self.via is not None and re.fullmatch(r"[!-~]+", self.via) is None:
            raise ValueError(f"not a name for Via: {self.via!r}")

    @classmethod
    def trusting(cls, *networks: str, **settings: t.Any) -> ForwardedPolicy:
        """Build a policy from networks as text, ``"10.0.0.0/8"``.

        :raises ValueError: one of them is no network
        """
        return cls(
            trusted=tuple(ipaddress.ip_network(n, strict=False) for n in networks), **settings
        )

    def apply(
        self,
        headers: RawHeaders,
        *,
        client: str | None,
        scheme: str,
        host: bytes | None,
        http_version: str = "1.1",
    ) -> RawHeaders:
        """Return ``headers`` with what this policy adds; the list given may be changed.

        :param client: address of the peer; ``None`` if it has none (a UNIX socket)
        :param scheme: in which the client spoke to us
        :param host: the authority the client asked for
        :param http_version: in which the request came, for Via
        """
        if self.mode == "off":
            return headers
        names = [name.lower() for name, _ in headers]
        if not _HEARSAY.isdisjoint(names):
            headers = self._merged(headers, names, client, scheme, host)
        else:
            if client:
                headers.append((b"X-Forwarded-For", client.encode("latin-1")))
            headers.append((b"X-Forwarded-Proto", scheme.encode("latin-1")))
            if host:
                headers.append((b"X-Forwarded-Host", host))
            if self.forwarded:
                headers.append((b"Forwarded", _forwarded_element(client, scheme, host)))
        if self.via is not None:
            headers.append((b"Via", via_value(self.via, http_version)))
        return headers

    def believes(self, client: str | None) -> bool:
        """Whether what this client says about the way it came is passed on."""
        if self.mode != "append":
            return self.mode == "off"
        if not self.trusted:
            return True
        if not client:
            return False
        known = self._known.get(client)
        if known is None:
            if len(self._known) >= 4096:
                self._known.clear()
            known = self._known[client] = _is_in(client, self.trusted)
        return known

    def _merged(
        self,
        headers: RawHeaders,
        names: list[bytes],
        client: str | None,
        scheme: str,
        host: bytes | None,
    ) -> RawHeaders:
        """The same where fields of this kind are there already."""
        fields = list(zip(names, headers, strict=True))
        if not self.believes(client):
            fields = [(name, field) for name, field in fields if name not in _HEARSAY]
        if client:
            _append(fields, b"X-Forwarded-For", client.encode("latin-1"))
        present = {name for name, _ in fields}
        if b"x-forwarded-proto" not in present:
            fields.append((b"", (b"X-Forwarded-Proto", scheme.encode("latin-1"))))
        if host and b"x-forwarded-host" not in present:
            fields.append((b"", (b"X-Forwarded-Host", host)))
        if self.forwarded:
            _append(fields, b"Forwarded", _forwarded_element(client, scheme, host))
        return [field for _, field in fields]


def _append(fields: list[tuple[bytes, tuple[bytes, bytes]]], name: bytes, value: bytes) -> None:
    """Add to a list field so that it is one line, where its first one was."""
    key = name.lower()
    mine = [field for n, field in fields if n == key]
    if not mine:
        fields.append((key, (name, value)))
        return
    value = b", ".join([*(v for _, v in mine if v), value])
    at = next(i for i, (n, _) in enumerate(fields) if n == key)
    fields[:] = [f for i, f in enumerate(fields) if f[0] != key or i == at]
    fields[at] = (key, (mine[0][0], value))


def _is_in(client: str, networks: tuple[Network, ...]) -> bool:
    try:
        address = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in network for network in networks)


def _forwarded_element(client: str | None, scheme: str, host: bytes | None) -> bytes:
    """One forwarded-element of RFC 7239 section 4."""
    node = "unknown" if not client else f"[{client}]" if ":" in client else client
    element = f"for={_quoted(node)};proto={_quoted(scheme)}"
    if host:
        element += f";host={_quoted(host.decode('latin-1'))}"
    return element.encode("latin-1")


def _quoted(value: str) -> str:
    if _TOKEN.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def via_value(name: str, http_version: str) -> bytes:
    """What to add to Via for a message that came in this version."""
    return f"{http_version} {name}".encode("ascii")


def outgoing_headers(
    headers: RawHeaders,
    origin: Origin,
    *,
    preserve_host: bool = True,
    policy: ForwardedPolicy | None = None,
    client: str | None = None,
    scheme: str = "http",
    host: bytes | None = None,
    http_version: str = "1.1",
) -> RawHeaders:
    """Return the fields of a request on its way to ``origin``, complete but for framing.

    :param preserve_host: send the client's Host on, instead of the origin's name
    :param policy: ``None`` adds nothing
    :param host: the authority the client asked for where the request target names it, which
        then outranks its Host (RFC 9112 section 3.2.2); ``None`` to take Host
    """
    names = [name.lower() for name, _ in headers]
    hosts = names.count(b"host")
    asked = host
    if asked is None and hosts:
        asked = headers[names.index(b"host")][1]
    passed = _passed(headers, names, _HOP_BY_HOP_AND_LENGTH)
    if b"te" in names and any(name.lower() == b"te" for name, _ in passed):
        # RFC 9110 section 10.1.4: it is for the next one only, and has to say so.
        passed.append((b"Connection", b"TE"))
    if not preserve_host or host is not None or not asked or hosts > 1:
        sent = asked if preserve_host and asked else origin.authority_bytes
        passed = _with_host(passed, sent)
    if policy is None:
        return passed
    return policy.apply(passed, client=client, scheme=scheme, host=asked, http_version=http_version)


def _with_host(headers: RawHeaders, host: bytes) -> RawHeaders:
    """Exactly one Host, where the first one was, else in front (RFC 9110 section 7.2)."""
    result: RawHeaders = []
    found = False
    for field in headers:
        if field[0].lower() != b"host":
            result.append(field)
        elif not found:
            found = True
            result.append((field[0], host))
    if not found:
        result.insert(0, (b"Host", host))
    return result


def response_headers(headers: RawHeaders) -> RawHeaders:
    """Return the fields of an answer on its way to the client.

    Content-Length stays, Transfer-Encoding goes: who sends the answer frames it.
    """
    return end_to_end(headers)
