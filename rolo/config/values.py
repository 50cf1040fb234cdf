"""What settings look like as text: times, sizes, numbers, addresses, networks. Pure."""

from __future__ import annotations

import dataclasses
import ipaddress
import math
import re
import typing as t

from rolo.wire.target import parse_upstream

if t.TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

NONE = "none"
"""How the absence of a limit is written."""

_SIZES = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
_TIMES = {"": 1, "ms": 0.001, "s": 1, "m": 60, "h": 3600}


class Address(t.NamedTuple):
    """Where to listen. ``host`` is without brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of values, and how they are written. Annotates a field of a tree, which then
    takes text as well as the value itself.

    ``read`` raises ValueError: with what is wrong, or without words, and ``allowed`` says it.
    """

    metavar: str
    """Stands for a value where a command line is explained."""
    allowed: str
    """What a value must be; completes "not ...", and "... or none"."""
    read: t.Callable[[str], t.Any] = str
    write: t.Callable[[t.Any], str] = str
    has_none: bool = False
    """Whether ``none`` may mean that there is no value."""

    def written(self, value: object) -> str:
        """Return ``value`` as text that reads as the same value; empty if there is none."""
        return (NONE if self.has_none else "") if value is None else self.write(value)

    def _from_text(self, value: object) -> object:
        if not isinstance(value, str):
            return value
        return None if value == NONE and self.has_none else self.read(value)

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.no_info_before_validator_function(self._from_text, handler(source))


def read_time(text: str) -> float:
    """Read seconds, or a number with ``ms``, ``s``, ``m`` or ``h``."""
    match = re.fullmatch(r"(.*?)(ms|s|m|h)?", text, re.S)
    assert match is not None
    try:
        value = float(match[1]) * _TIMES[match[2] or ""]
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError
    return value


def read_size(text: str) -> int:
    """Read a number, with or without one of the units ``k``, ``m``, ``g`` of 1024 each."""
    match = re.fullmatch(r"([0-9]{1,15})([kmg]?)", text.lower())
    if match is None:
        raise ValueError
    return int(match[1]) * _SIZES[match[2]]


def read_address(text: str) -> Address:
    """Read ``HOST:PORT``, ``[IPv6]:PORT``, ``:PORT`` (every interface) or ``PORT``."""
    host, colon, port = text.rpartition(":")
    if not colon:
        host = "127.0.0.1"
    elif host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"write the address in brackets: [{host}]:{port}")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        raise ValueError
    return Address(host or "0.0.0.0", int(port))


def read_networks(text: str) -> tuple[Network, ...]:
    """Read networks or addresses, comma-separated."""
    found: list[Network] = []
    for item in filter(None, (item.strip() for item in text.split(","))):
        try:
            found.append(ipaddress.ip_network(item, strict=False))
        except ValueError:
            raise ValueError(f"not a network like 10.0.0.0/8: {item!r}") from None
    if not found:
        raise ValueError("an empty list; to trust nobody there is 'replace'")
    return tuple(found)


def read_upstream(text: str) -> str:
    """Check a URL to forward to; what is wrong is said without its password."""
    parse_upstream(text)
    return text


def read_via(text: str) -> str:
    """Check a name for ``Via``: a host name or a pseudonym (RFC 9110 section 7.6.3)."""
    if re.fullmatch(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+(:\d+)?", text) is None:
        raise ValueError
    return text


def read_pace(text: str) -> str | float:
    """Read ``recorded``, ``at-once``, or a factor by which times are multiplied."""
    if text in ("recorded", "at-once"):
        return text
    try:
        factor = float(text)
    except ValueError:
        factor = math.nan
    if not (math.isfinite(factor) and factor > 0):
        raise ValueError
    return factor


def write_pace(value: str | float) -> str:
    """Write what :func:`read_pace` reads."""
    return value if isinstance(value, str) else f"{value:g}"


def write_size(value: int) -> str:
    """Write a number with the largest unit that divides it."""
    unit = max((unit for unit in _SIZES if value % _SIZES[unit] == 0), key=lambda u: _SIZES[u])
    return f"{value // _SIZES[unit]}{unit}"


TIME = Kind(
    "TIME",
    "a positive number of seconds, or a time like 1.5s or 10m",
    read_time,
    lambda value: f"{value:g}s",
    has_none=True,
)
SIZE = Kind("SIZE", "a size like 65536, 64k or 1g", read_size, write_size, has_none=True)
NUMBER = Kind("N", "a number of 1 or more", read_size, has_none=True)
LIST = Kind(
    "NAME,...",
    "a list of names",
    lambda text: tuple(filter(None, (item.strip() for item in text.split(",")))),
    ",".join,
)
PACE = Kind("PACE", "recorded, at-once or a factor like 0.1", read_pace, write_pace)
ADDRESS = Kind("HOST:PORT", "HOST:PORT with a port up to 65535", read_address)
NETWORKS = Kind(
    "CIDR,...", "networks like 10.0.0.0/8", read_networks, lambda value: ",".join(map(str, value))
)
UPSTREAM = Kind("UPSTREAM", "a URL to forward to", read_upstream)
VIA = Kind("NAME", "a name for Via", read_via)
FILE = Kind("FILE", "a file")
NAME = Kind("NAME", "a name")
