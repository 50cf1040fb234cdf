"""permessage-deflate (RFC 7692): what is offered and accepted, and the two directions of it."""

from __future__ import annotations

import dataclasses
import typing as t
import zlib

_NAME = "permessage-deflate"
_TAIL = b"\x00\x00\xff\xff"
_MIN_BITS, _MAX_BITS = 9, 15
# zlib cannot write a raw stream with a window of 256 bytes.
_SMALLEST_OFFERED = 8
_PIECE = 64 * 1024

MAX_STREAMS = 64
"""Final blocks in one message (RFC 7692 section 7.2.3.4), of which each ends a deflate stream.
One is what senders have that write any; each costs us a window, and the sender two bytes."""


class TooMuch(Exception):
    """A message is larger, inflated, than it may be."""


@dataclasses.dataclass(frozen=True, slots=True)
class Parameters:
    """What one connection agreed on (RFC 7692 section 7.1)."""

    server_bits: int = _MAX_BITS
    """Size of the server's window, as a power of two."""
    client_bits: int = _MAX_BITS
    server_takeover: bool = True
    """The server keeps its window from one message to the next."""
    client_takeover: bool = True


OFFER = f"{_NAME}; client_max_window_bits"
"""What we offer as a client."""


def accept_offer(extensions: str) -> tuple[Parameters, str] | None:
    """As a server, choose among the ``extensions`` a client offers.

    :return: what holds from now on, and the value of Sec-WebSocket-Extensions that says
        so; ``None`` if there is nothing to accept
    """
    for name, fields in _parsed(extensions):
        if name != _NAME:
            continue
        parameters = _from_offer(fields)
        if parameters is not None:
            return parameters, _written(parameters, fields)
    return None


def accepted_by_server(extensions: str) -> Parameters | None:
    """As a client, read a server's answer to :data:`OFFER`.

    :return: ``None`` if the server declined
    :raises ValueError: it accepted something that was not offered (RFC 6455 section 4.1)
    """
    answers = _parsed(extensions)
    if not answers:
        return None
    if len(answers) != 1 or answers[0][0] != _NAME:
        raise ValueError(f"extension that was not offered: {extensions!r}")
    fields = answers[0][1]
    unknown = [name for name, _ in fields if name not in _KNOWN]
    if unknown or len(dict(fields)) != len(fields):
        raise ValueError(f"bad parameters of {_NAME}: {extensions!r}")
    values = dict(fields)
    try:
        return Parameters(
            server_bits=_bits(values.get("server_max_window_bits", str(_MAX_BITS))),
            client_bits=_bits(values.get("client_max_window_bits", str(_MAX_BITS)), least=9),
            server_takeover=_absent(values, "server_no_context_takeover"),
            client_takeover=_absent(values, "client_no_context_takeover"),
        )
    except ValueError:
        raise ValueError(f"bad parameters of {_NAME}: {extensions!r}") from None


_KNOWN = frozenset(
    (
        "server_max_window_bits",
        "client_max_window_bits",
        "server_no_context_takeover",
        "client_no_context_takeover",
    )
)
_Fields = list[tuple[str, str | None]]


def _from_offer(fields: _Fields) -> Parameters | None:
    """RFC 7692 section 7.1: an offer with anything wrong in it is declined, not an error."""
    values = dict(fields)
    if len(values) != len(fields) or not _KNOWN.issuperset(values):
        return None
    try:
        return Parameters(
            # A window that zlib cannot make is not promised.
            server_bits=_bits(values.get("server_max_window_bits", str(_MAX_BITS)), least=9),
            client_bits=_bits(values.get("client_max_window_bits") or str(_MAX_BITS)),
            server_takeover=_absent(values, "server_no_context_takeover"),
            client_takeover=_absent(values, "client_no_context_takeover"),
        )
    except ValueError:
        return None


def _written(parameters: Parameters, offered: _Fields) -> str:
    parts = [_NAME]
    if not parameters.server_takeover:
        parts.append("server_no_context_takeover")
    if not parameters.client_takeover:
        parts.append("client_no_context_takeover")
    names = dict(offered)
    if "server_max_window_bits" in names:
        parts.append(f"server_max_window_bits={parameters.server_bits}")
    if names.get("client_max_window_bits") is not None:
        parts.append(f"client_max_window_bits={parameters.client_bits}")
    return "; ".join(parts)


def _bits(value: str | None, *, least: int = _SMALLEST_OFFERED) -> int:
    # Two digits at most: the time that int() takes grows with their square.
    if value is None or len(value) > 2 or not (value.isascii() and value.isdigit()):
        raise ValueError
    bits = int(value)
    if not least <= bits <= _MAX_BITS or value[0] == "0":
        raise ValueError
    return bits


def _absent(values: dict[str, str | None], name: str) -> bool:
    if values.get(name) is not None:
        raise ValueError
    return name not in values


def _parsed(extensions: str) -> list[tuple[str, _Fields]]:
    """Parse Sec-WebSocket-Extensions. None of the values we know holds a comma, quoted or not."""
    found = []
    for element in extensions.split(","):
        name, *parameters = (part.strip() for part in element.split(";"))
        if not name:
            continue
        fields: _Fields = []
        for parameter in parameters:
            key, equals, value = parameter.partition("=")
            fields.append((key.strip().lower(), value.strip().strip('"') if equals else None))
        found.append((name.lower(), fields))
    return found


class Deflate:
    """The state of one connection's compression. Windows are made when first needed.

    :param client: we are the client
    """

    __slots__ = (
        "_compressor",
        "_decompressor",
        "_read_bits",
        "_read_takeover",
        "_streams",
        "_write_bits",
        "_write_takeover",
    )

    def __init__(self, parameters: Parameters, *, client: bool) -> None:
        server = (parameters.server_bits, parameters.server_takeover)
        other = (parameters.client_bits, parameters.client_takeover)
        (write_bits, self._write_takeover), (read_bits, self._read_takeover) = (
            (other, server) if client else (server, other)
        )
        self._write_bits = max(write_bits, _MIN_BITS)
        self._read_bits = max(read_bits, _MIN_BITS)
        self._compressor: t.Any = None
        self._decompressor: t.Any = None
        self._streams = 0

    def compress(self, data: bytes) -> bytes:
        """Return one whole message, deflated."""
        compressor = self._compressor
        if compressor is None:
            compressor = zlib.compressobj(wbits=-self._write_bits)
            if self._write_takeover:
                self._compressor = compressor
        deflated = compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)
        return t.cast(bytes, deflated[: -len(_TAIL)])

    def inflate(self, data: bytes, limit: int, *, last: bool) -> bytes:
        """Return the bytes that ``data``, a part of a message, stands for.

        :param limit: how many these may be
        :param last: ``data`` ends the message
        :raises TooMuch: they are more
        :raises zlib.error: it is no deflated data, or the message has too many final blocks
        """
        if last:
            data += _TAIL
        found: list[bytes] = []
        for piece in (data,) if len(data) <= _PIECE else _cut(data):
            while True:
                inflater = self._decompressor
                if inflater is None:
                    inflater = self._decompressor = zlib.decompressobj(-self._read_bits)
                # One byte more than allowed tells; zero would mean no limit.
                part = inflater.decompress(piece, limit + 1)
                limit -= len(part)
                if limit < 0:
                    raise TooMuch
                found.append(part)
                if not inflater.eof:
                    break
                # RFC 7692 section 7.2.3.4: a final block; what follows begins a new stream.
                self._streams += 1
                if self._streams > MAX_STREAMS:
                    raise zlib.error("too many final blocks")
                piece, self._decompressor = inflater.unused_data, None
        if last:
            self._streams = 0
            if not self._read_takeover:
                self._decompressor = None
        return found[0] if len(found) == 1 else b"".join(found)


def _cut(data: bytes) -> t.Iterator[memoryview]:
    """Cut ``data`` so that what follows a final block is never long: zlib copies it."""
    view = memoryview(data)
    for start in range(0, len(data), _PIECE):
        yield view[start : start + _PIECE]
