"""HTTP/1.1 on the wire, both directions: bytes in, values out, and back. No I/O.

Heads are parsed by one regular expression each, which *is* the grammar of RFC 9112
(errors are found by counting lines that did not match). What is ambiguous is refused,
never guessed: whoever stands behind us may guess differently (request smuggling).
"""

from __future__ import annotations

import dataclasses
import enum
import http
import re
import typing as t

from rolo.errors import (
    BadRequest,
    BadResponse,
    BodyInterrupted,
    ClientDisconnected,
    HeadTooLarge,
    HttpVersionNotSupported,
    RoloError,
    TargetTooLong,
    UnknownTransferCoding,
)
from rolo.wire.fields import RawHeaders
from rolo.wire.received import ReceivedFields
from rolo.wire.trailers import only_trailers

Side = t.Literal["request", "response"]

# RFC 9110 section 5.6.2: token
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
# RFC 9110 section 5.5: VCHAR, obs-text, SP and HTAB. No CR, LF, NUL or other control.
_VALUE = rb"[\t\x20-\x7e\x80-\xff]*+"

# A field line (RFC 9112 section 5). No space before the colon; an obs-fold line begins with
# a space, hence with no token, and does not match. Other blanks than the one that everybody
# writes are rare: the first pattern, of lines that can be sent on as they are, does not know
# them, and the second is tried when it misses one.
_FIELD = re.compile(rb"(?m)^(" + _TOKEN + rb"): (?![ \t])(" + _VALUE + rb")(?<![ \t])\r\n")
_BLANK_FIELD = re.compile(rb"(?m)^(" + _TOKEN + rb"):[ \t]*+(" + _VALUE + rb")\r\n")
# No fragment: RFC 9112 section 3.2 has none in any form of a target. Obs-text passes.
_TARGET = rb"[\x21\x22\x24-\x7e\x80-\xff]++"
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") (" + _TARGET + rb") HTTP/(\d\.\d)\r\n")
# The space before an empty reason is often forgotten (RFC 9112 section 4 asks for it).
_STATUS_LINE = re.compile(rb"HTTP/1\.(\d) ([1-9]\d\d)(?: (" + _VALUE + rb"))?\r\n")
_TOKEN_ONLY = re.compile(_TOKEN)
_TARGET_ONLY = re.compile(_TARGET)
# uri-host [":" port] of RFC 9110 section 7.2, or nothing. Obs-text passes: what a name
# means is the resolver's business, what matters here is that it ends where we think.
_HOST = re.compile(
    rb"(?:(?:[A-Za-z0-9\-._~%!$&'()*+,;=\x80-\xff]+|\[[0-9A-Fa-fvV:.%A-Za-z\-_~]+\])(?::\d{0,5})?)?"
)
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16}+)(?:[ \t]*+;" + _VALUE + rb")?\r\n")
_CHUNK_LINE_SO_FAR = re.compile(rb"[0-9A-Fa-f]{0,16}+(?:[ \t]++|[ \t]*+;" + _VALUE + rb")?\r?")


def _small_chunks() -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    """Return what matches a run of whole chunks of 1 to 15 bytes, and what finds the data of
    each in such a run. One by one they would cost a microsecond each, which a client may
    make us spend for every byte."""
    sizes = [(b"[%x%X]" % (size, size), size) for size in range(1, 16)]
    whole = b"|".join(b"%b\r\n.{%d}" % each for each in sizes)
    data = b"|".join(b"(?<=%b\r\n).{%d}" % each for each in sizes)
    return (
        re.compile(b"(?s)(?:0{0,15}+(?:%b)\r\n)++" % whole),
        re.compile(b"(?s)[0-9A-Fa-f]++\r\n(%b)\r\n" % data),
    )


_SMALL_CHUNKS, _SMALL_CHUNK_DATA = _small_chunks()
_WORTH_A_RUN = 128

_MAX_LENGTH = 2**63 - 1
_MAX_LENGTH_DIGITS = 19
_MAX_CHUNK_LINE = 4096
_MAX_CHUNK_EXTENSIONS = 16 * 1024
_PLAIN_CHUNK_LINE = 18

# The first lines of nearly all answers.
_STATUS_LINES = {
    (status.value, reason): b"HTTP/1.1 %d %b\r\n" % (status.value, reason)
    for status in http.HTTPStatus
    for reason in (status.phrase.encode("ascii"), b"")
}
_METHODS = {
    m.encode(): m for m in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
}
_VERSIONS = {b"1.0": "1.0", b"1.1": "1.1"}


class Framing(enum.Enum):
    """How the end of a body is known (RFC 9112 section 6.3)."""

    NONE = "none"
    LENGTH = "length"
    CHUNKED = "chunked"
    CLOSE = "close"
    """The body ends with the connection; only answers can be framed so."""


@dataclasses.dataclass(frozen=True, slots=True)
class HeadLimits:
    """Bounds of a head, and of the trailers of a body."""

    max_head: int = 65536
    """Bytes, from the first line to the blank one."""
    max_fields: int = 1000
    max_target: int = 16384
    """Bytes of the request target."""


DEFAULT_LIMITS = HeadLimits()


@dataclasses.dataclass(slots=True)
class ParsedRequest:
    """A request head. Field values are without surrounding blanks, otherwise as they came."""

    method: str
    target: bytes
    version: str
    """``"1.0"`` or ``"1.1"``."""
    headers: ReceivedFields
    framing: Framing
    length: int | None
    """Of the body in bytes; ``None`` unless framed by Content-Length."""
    keep_alive: bool
    """The client wants the connection to stay open."""
    expect_continue: bool
    upgrade: bytes | None
    """The Upgrade field in lower case, if Connection names it (RFC 9110 section 7.8)."""


@dataclasses.dataclass(slots=True)
class ParsedResponse:
    """The head of an answer. ``framing`` already knows the request's method."""

    status: int
    reason: bytes
    version: str
    headers: ReceivedFields
    framing: Framing
    length: int | None
    keep_alive: bool
    """The connection can carry another exchange once the body has ended."""


# --- heads, reading ---------------------------------------------------------------------


def find_head_end(buffer: bytes | bytearray, start: int = 0) -> int:
    """Return the index just after the blank line that ends a head, or -1 if there is none.

    :param start: how much of ``buffer`` earlier calls have seen already

    A blank line made of bare line feeds counts, so that it is refused by the parser at
    once instead of being waited for.
    """
    start = max(0, start - 3)
    end = buffer.find(b"\r\n\r\n", start)
    if end >= 0:
        return end + 4
    bare = buffer.find(b"\n\n", start)
    if bare >= 0:
        return bare + 2
    bare = buffer.find(b"\n\r\n", start)
    if bare > 0 and buffer[bare - 1] != 0x0D:
        return bare + 3
    return -1


def parse_request_head(block: bytes, limits: HeadLimits = DEFAULT_LIMITS) -> ParsedRequest:
    """Parse a request head.

    :param block: all bytes up to and including the blank line
    :raises BadRequest: malformed or ambiguous
    :raises HttpVersionNotSupported: not HTTP/1.0 or 1.1
    :raises HeadTooLarge: too many bytes or fields
    :raises TargetTooLong: as named
    :raises UnknownTransferCoding: a body in a coding other than ``chunked``
    """
    if len(block) > limits.max_head:
        raise HeadTooLarge(f"request head of {len(block)} bytes")
    if block[:2] == b"\r\n":
        # RFC 9112 section 2.2: an empty line in front of the request line is forgiven.
        block = block[2:]
    line = _REQUEST_LINE.match(block)
    if line is None:
        raise _bad_request_line(block)
    raw_method, target, raw_version = line.groups()
    version = _VERSIONS.get(raw_version)
    if version is None:
        raise HttpVersionNotSupported(f"HTTP/{raw_version.decode()}")
    if len(target) > limits.max_target:
        raise TargetTooLong(f"request target of {len(target)} bytes")
    headers = _received(block, line.end(), limits.max_fields, BadRequest)
    special = headers.special
    modern = version == "1.1"
    host = special.get(b"host")
    if host is None:
        if modern:
            raise BadRequest("no Host")
    elif not is_host(host):
        # Repeated ones have been joined by now, and no host holds a blank.
        raise BadRequest(f"malformed or repeated Host: {_shown(host)}")
    method = _METHODS.get(raw_method) or raw_method.decode("ascii")
    parsed = ParsedRequest(
        method, target, version, headers, Framing.NONE, None, modern, False, None
    )
    if len(special) > 1 or (special and host is None):
        _apply(parsed, special, modern)
    return parsed


def _apply(parsed: ParsedRequest, special: dict[bytes, bytes], modern: bool) -> None:
    """Read the fields that say how the message is framed and what becomes of the connection."""
    if b"content-length" in special or b"transfer-encoding" in special:
        parsed.framing, parsed.length = request_framing(special, modern=modern)
    if b"connection" in special:
        options = list_items(special[b"connection"])
        parsed.keep_alive = b"close" not in options and (modern or b"keep-alive" in options)
        if modern and b"upgrade" in options:
            parsed.upgrade = b", ".join(list_items(special.get(b"upgrade", b""))) or None
    parsed.expect_continue = modern and wants_continue(parsed.headers)


def is_host(value: bytes) -> bool:
    """Whether ``value`` can stand in Host: a host with or without a port, or nothing."""
    return _HOST.fullmatch(value) is not None


def request_framing(
    special: t.Mapping[bytes, bytes], *, modern: bool
) -> tuple[Framing, int | None]:
    """Return how the body of a request is framed, and its length if that is declared.

    :param special: Content-Length, Transfer-Encoding or both, names in lower case, repeated
        ones joined by commas
    :param modern: the request came in HTTP/1.1, not 1.0
    :raises BadRequest: ambiguous
    :raises UnknownTransferCoding: clear, but not ``chunked``
    """
    try:
        return _framing(special, modern)
    except ValueError as e:
        raise BadRequest(str(e)) from None


def declared_length(headers: ReceivedFields) -> int | None:
    """Return what Content-Length says in a head that nobody has checked, ``None`` if it is no
    length."""
    digits = headers.special.get(b"content-length", b"")
    return int(digits) if digits.isdigit() and len(digits) <= _MAX_LENGTH_DIGITS else None


def wants_continue(headers: ReceivedFields) -> bool:
    """Whether Expect asks for 100 (Continue), RFC 9110 section 10.1.1."""
    expect = headers.special.get(b"expect")
    return expect is not None and b"100-continue" in list_items(expect)


def parse_response_head(
    block: bytes,
    request_method: str,
    limits: HeadLimits = DEFAULT_LIMITS,
    *,
    lenient: bool = False,
) -> ParsedResponse:
    """Parse the head of an answer, interim ones included.

    :param block: all bytes up to and including the blank line
    :param request_method: of the request it answers: HEAD has no body, whatever is said
    :param lenient: take chunks beside a Content-Length, which is dropped, and in HTTP/1.0; the
        connection then carries no other exchange (RFC 9112 sections 6.1 and 6.3)
    :raises BadResponse: malformed, ambiguous or too large
    """
    if len(block) > limits.max_head:
        raise BadResponse(f"response head of {len(block)} bytes")
    line = _STATUS_LINE.match(block)
    if line is None:
        raise BadResponse(f"malformed status line: {_shown(block)}")
    minor, digits, reason = line.groups()
    status = int(digits)
    modern = minor != b"0"
    headers = _received(block, line.end(), limits.max_fields, BadResponse)
    special = headers.special
    keep_alive, framing, length = modern, Framing.CLOSE, None
    if b"connection" in special:
        options = list_items(special[b"connection"])
        keep_alive = b"close" not in options and (modern or b"keep-alive" in options)
    if b"content-length" in special or b"transfer-encoding" in special:
        try:
            framing, length = _framing(special, modern)
        except (ValueError, UnknownTransferCoding) as e:
            if not lenient or special.get(b"transfer-encoding", b"").lower() != b"chunked":
                raise BadResponse(str(e)) from None
            framing, keep_alive = Framing.CHUNKED, False
            headers = headers.without({b"content-length"})
    if status < 200 or status == 204 or status == 304 or request_method == "HEAD":
        if status <= 204 and (framing is Framing.CHUNKED or length):
            # A sender that frames a body where there can be none may also send one.
            keep_alive = keep_alive and request_method == "HEAD"
        framing, length = Framing.NONE, None
        keep_alive = keep_alive and status != 101
    elif framing is Framing.CLOSE:
        keep_alive = False
    return ParsedResponse(
        status, reason or b"", "1.1" if modern else "1.0", headers, framing, length, keep_alive
    )


def _received(
    block: bytes, start: int, max_fields: int, error: type[BadRequest | BadResponse]
) -> ReceivedFields:
    """Parse the field lines that begin at the line end at ``start``."""
    headers: RawHeaders = _FIELD.findall(block, start)
    # Each match holds one line feed, the blank line another: a line that did not match,
    # or not from its beginning to its end, shows in the count.
    count = block.count(b"\n", start) - 1
    if count > max_fields:
        if error is BadRequest:
            raise HeadTooLarge(f"{count} header fields")
        raise error(f"{count} header fields")
    lines: bytes | None = None
    if len(headers) == count:
        lines = block[start:-2]
    else:
        headers = [(n, v.rstrip(b" \t")) for n, v in _BLANK_FIELD.findall(block, start)]
    if len(headers) != count or block[-4:] != b"\r\n\r\n":
        raise error("malformed header field")
    return ReceivedFields(headers, lines)


def list_items(value: bytes) -> list[bytes]:
    """Return the elements of a list field, in lower case (RFC 9110 section 5.6.1)."""
    return [item for part in value.lower().split(b",") if (item := part.strip(b" \t"))]


def _framing(special: t.Mapping[bytes, bytes], modern: bool) -> tuple[Framing, int | None]:
    """RFC 9112 section 6.3, with every "ought to be refused" read as "is refused".

    :raises ValueError: ambiguous
    :raises UnknownTransferCoding: clear, but not ``chunked``
    """
    digits = special.get(b"content-length")
    coding = special.get(b"transfer-encoding")
    if coding is not None:
        if digits is not None:
            raise ValueError("Content-Length beside Transfer-Encoding")
        if not modern:
            raise ValueError("Transfer-Encoding in HTTP/1.0")
        if coding != b"chunked":
            _check_coding(coding)
        return Framing.CHUNKED, None
    # Repeated lengths are refused even where they agree: not everybody compares them.
    if digits is None or not digits.isdigit() or len(digits) > _MAX_LENGTH_DIGITS:
        raise ValueError(f"ambiguous Content-Length: {_shown(digits or b'')}")
    if (length := int(digits)) > _MAX_LENGTH:
        raise ValueError(f"Content-Length too large: {length}")
    return Framing.LENGTH, length


def _check_coding(coding: bytes) -> None:
    names = [name.strip(b" \t") for name in coding.lower().split(b",")]
    if names == [b"chunked"]:
        return
    if names.count(b"chunked") > 1 or b"chunked" in names[:-1]:
        raise ValueError(f"chunked is not once and last: {_shown(coding)}")
    if all(_TOKEN_ONLY.match(name) for name in names):
        raise UnknownTransferCoding(f"Transfer-Encoding {_shown(coding)}")
    raise ValueError(f"malformed Transfer-Encoding: {_shown(coding)}")


def _bad_request_line(block: bytes) -> BadRequest:
    line = block.partition(b"\n")[0]
    return BadRequest(f"malformed request line: {_shown(line)}")


def _shown(data: bytes) -> str:
    """Part of what a peer sent, safe for one line of a log."""
    return ascii(data[:80].decode("latin-1"))


# --- bodies, reading --------------------------------------------------------------------


class BodyDecoder(t.Protocol):
    """Takes the bytes that follow a head, gives the bytes of the body."""

    done: bool
    """The body has ended; what follows is not part of it."""
    leftover: bytes
    """What was fed beyond the end of the body."""
    trailers: RawHeaders
    """Trailer fields; empty before the end."""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the pieces of the body found in ``data``, none of them empty.

        :raises BadRequest: framing broken by a client
        :raises BadResponse: framing broken by an origin
        """

    def eof(self) -> None:
        """Say that the connection has ended.

        :raises ClientDisconnected: a request body is incomplete
        :raises BodyInterrupted: a response body is incomplete
        """


def body_decoder(
    framing: Framing,
    length: int | None,
    limits: HeadLimits = DEFAULT_LIMITS,
    *,
    side: Side = "response",
) -> BodyDecoder:
    """Return a decoder for one body.

    :param length: needed with ``Framing.LENGTH`` only
    :param side: whose body it is, hence who is to blame if it breaks
    """
    if framing is Framing.CHUNKED:
        return _ChunkedDecoder(limits, side)
    if framing is Framing.CLOSE:
        return _CloseDecoder()
    return _LengthDecoder(length or 0 if framing is Framing.LENGTH else 0, side)


def _malformed(side: Side, message: str) -> RoloError:
    return BadRequest(message) if side == "request" else BadResponse(message)


def _incomplete(side: Side) -> RoloError:
    if side == "request":
        return ClientDisconnected("the client left within its request body")
    return BodyInterrupted("the connection ended within the response body")


class _LengthDecoder:
    __slots__ = ("_left", "_side", "done", "leftover", "trailers")

    def __init__(self, length: int, side: Side) -> None:
        self._left = length
        self._side: Side = side
        self.done = length == 0
        self.leftover = b""
        self.trailers: RawHeaders = []

    def feed(self, data: bytes) -> list[bytes]:
        left = self._left - len(data)
        if left > 0:
            self._left = left
            return [data] if data else []
        if left < 0:
            self.leftover += data[left:]
            data = data[:left]
        self._left = 0
        self.done = True
        return [data] if data else []

    def eof(self) -> None:
        if not self.done:
            raise _incomplete(self._side)


class _CloseDecoder:
    __slots__ = ("done", "leftover", "trailers")

    def __init__(self) -> None:
        self.done = False
        self.leftover = b""
        self.trailers: RawHeaders = []

    def feed(self, data: bytes) -> list[bytes]:
        return [data] if data else []

    def eof(self) -> None:
        self.done = True


class _ChunkedDecoder:
    """RFC 9112 section 7.1.

    ``_left`` counts down the data of the chunk at hand, its line end excluded; ``_tail`` is
    the number of bytes of that line end still to come. ``_pending`` holds an unfinished
    size line, which is short. The trailers have a buffer of their own.
    """

    __slots__ = (
        "_extensions",
        "_left",
        "_limits",
        "_pending",
        "_section",
        "_side",
        "_tail",
        "done",
        "leftover",
        "trailers",
    )

    def __init__(self, limits: HeadLimits, side: Side) -> None:
        self._limits = limits
        self._side: Side = side
        self._left = 0
        self._tail = 0
        self._pending = b""
        self._extensions = 0
        self._section: bytearray | None = None
        self.done = False
        self.leftover = b""
        self.trailers: RawHeaders = []

    def feed(self, data: bytes) -> list[bytes]:
        if self.done:
            self.leftover += data
            return []
        if self._section is not None:
            self._feed_trailers(data)
            return []
        pieces: list[bytes] = []
        position = self._rest_of_chunk(data, pieces) if self._left or self._tail else 0
        if position < len(data):
            self._feed_chunks(data, position, pieces)
        return pieces

    def eof(self) -> None:
        if not self.done:
            raise _incomplete(self._side)

    def _rest_of_chunk(self, data: bytes, pieces: list[bytes]) -> int:
        """Finish the chunk that an earlier feed began; return where the next line starts."""
        position, left = 0, self._left
        if left:
            if len(data) <= left:
                self._left = left - len(data)
                if data:
                    pieces.append(data)
                return len(data)
            pieces.append(data[:left])
            self._left, position = 0, left
        end = data[position : position + self._tail]
        if not b"\r\n"[2 - self._tail :].startswith(end):
            raise _malformed(self._side, "a chunk is longer than its size")
        self._tail -= len(end)
        return position + len(end)

    def _feed_chunks(self, data: bytes, position: int, pieces: list[bytes]) -> None:
        if self._pending:
            data, position = self._pending + data[position:], 0
            self._pending = b""
        size_line, length = _CHUNK_LINE.match, len(data)
        while position < length:
            line = size_line(data, position)
            if line is None:
                self._keep(data[position:])
                return
            start = line.end()
            if start - position > _PLAIN_CHUNK_LINE:
                self._check_extension(start - position)
            size = int(line[1], 16)
            if size < 16 and length - start > _WORTH_A_RUN:
                run = _SMALL_CHUNKS.match(data, position)
                if run is not None:
                    pieces += _SMALL_CHUNK_DATA.findall(data, position, run.end())
                    position = run.end()
                    continue
            if size == 0:
                self._section = bytearray(b"\r\n")
                self._feed_trailers(data[start:])
                return
            position = start + size + 2
            if position <= length and data[position - 2 : position] == b"\r\n":
                pieces.append(data[start : position - 2])
                continue
            if size > _MAX_LENGTH:
                raise _malformed(self._side, f"chunk of {size} bytes")
            self._left, self._tail = size, 2
            if start < length:
                self._rest_of_chunk(data[start:], pieces)
            return

    def _keep(self, rest: bytes) -> None:
        if len(rest) > _MAX_CHUNK_LINE or _CHUNK_LINE_SO_FAR.fullmatch(rest) is None:
            raise _malformed(self._side, f"malformed chunk size: {_shown(rest)}")
        self._pending = rest

    def _check_extension(self, size: int) -> None:
        # Extensions are dropped, so all they can do is to cost us (as in CVE-2023-39326).
        self._extensions += size
        if size > _MAX_CHUNK_LINE or self._extensions > _MAX_CHUNK_EXTENSIONS:
            raise _malformed(self._side, "chunk extensions too long")

    def _feed_trailers(self, data: bytes) -> None:
        section = self._section
        assert section is not None
        seen = len(section)
        section += data
        end = find_head_end(section, seen)
        if end < 0:
            if len(section) > self._limits.max_head:
                raise _malformed(self._side, "trailers too large")
            if len(section) > 3 and section[2] in b"\n \t":
                raise _malformed(self._side, "malformed trailers")
            return
        self.done = True
        self._section = None
        self.leftover = bytes(section[end:])
        if end > self._limits.max_head:
            raise _malformed(self._side, "trailers too large")
        if end == 4:
            return
        error = BadRequest if self._side == "request" else BadResponse
        fields = _received(bytes(section[:end]), 2, self._limits.max_fields, error)
        self.trailers = only_trailers(fields)


# --- writing ----------------------------------------------------------------------------

LAST_CHUNK = b"0\r\n\r\n"

# What RFC 9110 section 5.5 allows in a line; and the line ends.
_IN_A_LINE = bytes(c for c in range(256) if c >= 0x20 and c != 0x7F) + b"\t"
_ALLOWED = _IN_A_LINE + b"\r\n"
_NOT_ONE_HEAD = "CR, LF or other control in a header value or reason phrase"
# Names that passed the token rule once; bounded, since callers may make names up.
_known_names: set[bytes] = set()
_MAX_KNOWN_NAMES = 1024


def encode_request_head(
    method: str, target: bytes, headers: t.Iterable[tuple[bytes, bytes]]
) -> bytes:
    """Write an HTTP/1.1 request head, blank line included.

    :raises ValueError: something in it would not come out as one head with these fields
    """
    return b"%b%b\r\n" % (request_line(method, target), field_lines(headers))


def request_line(method: str, target: bytes) -> bytes:
    """Write the first line of a request.

    :raises ValueError: it would be another one
    """
    if _TARGET_ONLY.fullmatch(target) is None:
        raise ValueError(f"illegal request target: {_shown(target)}")
    name = method.encode("ascii", "replace")
    if name not in _METHODS and _TOKEN_ONLY.fullmatch(name) is None:
        raise ValueError(f"illegal method: {method!r}")
    return b"%b %b HTTP/1.1\r\n" % (name, target)


def encode_response_head(
    status: int, reason: bytes, headers: t.Iterable[tuple[bytes, bytes]]
) -> bytes:
    """Write the head of an HTTP/1.1 answer, blank line included.

    :param reason: may be empty
    :raises ValueError: something in it would not come out as one head with these fields
    """
    return b"%b%b\r\n" % (status_line(status, reason), field_lines(headers))


def status_line(status: int, reason: bytes) -> bytes:
    """Write the first line of an answer.

    :raises ValueError: it would be another one
    """
    known = _STATUS_LINES.get((status, reason))
    if known is not None:
        return known
    if not 100 <= status <= 999:
        raise ValueError(f"illegal status: {status}")
    if reason.translate(None, _IN_A_LINE):
        raise ValueError(_NOT_ONE_HEAD)
    return b"HTTP/1.1 %d %b\r\n" % (status, reason)


def encode_chunk(data: bytes) -> bytes:
    """Write one chunk; nothing for no data, since an empty chunk would be the last one."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def encode_last_chunk(trailers: t.Iterable[tuple[bytes, bytes]] | None = None) -> bytes:
    """Write the end of a chunked body.

    :raises ValueError: as for heads
    """
    return b"0\r\n%b\r\n" % field_lines(trailers) if trailers else LAST_CHUNK


def check_head(reason: bytes, headers: RawHeaders) -> None:
    """Check what would be written as one head, for servers that write it themselves.

    :raises ValueError: it would not come out as one head with these fields
    """
    names = [name for name, _ in headers]
    if not _known_names.issuperset(names):
        for name in names:
            _check_name(name)
    text = b"".join([value for _, value in headers])
    if text.translate(None, _IN_A_LINE) or reason.translate(None, _IN_A_LINE):
        raise ValueError(_NOT_ONE_HEAD)


def field_lines(headers: t.Iterable[tuple[bytes, bytes]]) -> bytes:
    """Write header fields, a line for each.

    :raises ValueError: they would not come out as these fields
    """
    parts: list[bytes] = []
    for name, value in headers:
        if name not in _known_names:
            _check_name(name)
        parts += (name, b": ", value, b"\r\n")
    lines = b"".join(parts)
    ends = len(parts) // 4
    # Names are tokens by now, so only values could hold a line end. Each line has one of ours:
    # any other would show in the count.
    if lines.count(b"\n") != ends or lines.count(b"\r") != ends or lines.translate(None, _ALLOWED):
        raise ValueError(_NOT_ONE_HEAD)
    return lines


def _check_name(name: bytes) -> None:
    if _TOKEN_ONLY.fullmatch(name) is None:
        raise ValueError(f"illegal field name: {_shown(name)}")
    if len(_known_names) < _MAX_KNOWN_NAMES and len(name) <= 64:
        _known_names.add(name)
