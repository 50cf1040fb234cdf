"""What the upstream is told about the client and the way the request came: ``X-Forwarded-*``,
``Forwarded`` (RFC 7239) and ``Via``. No I/O.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import typing as t

from rolo.wire.fields import RawHeaders
from rolo.wire.hop_by_hop import _MAX_REMEMBERED
from rolo.wire.received import received

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


_FORWARDED_NAMES = frozenset(
    b"x-forwarded-for x-forwarded-proto x-forwarded-host forwarded".split()
)


# What a client we do not trust says about the way it came.
_CLAIMS_OF_CLIENTS = _FORWARDED_NAMES | frozenset(
    b"x-forwarded-port x-forwarded-prefix x-forwarded-server".split()
)


_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


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

        :raises ValueError: one of them is no network, or there is none
        """
        if not networks:
            raise ValueError('trusting no network: for that there is mode="replace"')
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
        """Return a new list: ``headers`` with what this policy adds.

        :param client: address of the peer; ``None`` if it has none (a UNIX socket)
        :param scheme: in which the client spoke to us
        :param host: the authority the client asked for
        :param http_version: in which the request came, for Via
        """
        kept, added = self.parts(headers, client, scheme, host, http_version)
        return [*kept, *added]

    def parts(
        self,
        headers: RawHeaders,
        client: str | None,
        scheme: str,
        host: bytes | None,
        http_version: str,
    ) -> tuple[RawHeaders, RawHeaders]:
        """Return the same in two parts: ``headers`` themselves where they stay as they are, and
        what comes behind them. Parameters as of :meth:`apply`."""
        added: RawHeaders = []
        if self.mode == "off":
            return headers, added
        fields = received(headers)
        if not _CLAIMS_OF_CLIENTS.isdisjoint(fields.special):
            names = [name.lower() for name, _ in headers]
            headers = self._merged(headers, names, client, scheme, host)
        else:
            if client:
                added.append((b"X-Forwarded-For", client.encode("latin-1")))
            added.append((b"X-Forwarded-Proto", scheme.encode("latin-1")))
            if host:
                added.append((b"X-Forwarded-Host", host))
            if self.forwarded:
                added.append((b"Forwarded", _forwarded_element(client, scheme, host)))
        if self.via is not None:
            added.append((b"Via", via_value(self.via, http_version)))
        return headers, added

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
            if len(client) > _MAX_REMEMBERED:
                return _is_in(client, self.trusted)
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
            fields = [(name, field) for name, field in fields if name not in _CLAIMS_OF_CLIENTS]
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
