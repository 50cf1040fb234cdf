"""Content codings, decoded and encoded piece by piece (RFC 9110 section 8.4.1).

A decoder never holds more than one piece of output, however far its input expands. gzip
and deflate come with Python; ``br`` and ``zstd`` need the extra ``rolo[codings]``.
"""

from __future__ import annotations

import importlib
import importlib.util
import typing as t
import zlib

from rolo.errors import UndecodableBody, UnknownCoding

Pieces = t.Iterable[bytes]

PIECE = 64 * 1024
"""Bytes of output that a decoder makes at a time."""
MAX_RATIO = 250
"""How far a body may expand ..."""
RATIO_FREE = 16 * 1024 * 1024
"""... beyond its first so many decoded bytes, before it is taken for a bomb."""

_EXTRA = {"br": "brotli", "zstd": "zstandard"}
_ALIASES = {"x-gzip": "gzip"}


def known_codings() -> list[str]:
    """Return the codings that can be decoded here, most wanted last."""
    extra = [name for name, module in _EXTRA.items() if importlib.util.find_spec(module)]
    return ["gzip", "deflate", *extra]


def parse_codings(field: str | None) -> list[str]:
    """Return the codings that a ``Content-Encoding`` lists, in the order they were applied;
    ``identity`` is none."""
    names = (name.strip().lower() for name in (field or "").split(","))
    return [_ALIASES.get(name, name) for name in names if name and name != "identity"]


def check_codings(codings: t.Iterable[str]) -> None:
    """Make sure that all of ``codings`` can be decoded.

    :raises UnknownCoding: one cannot; says what to install if that helps
    """
    for coding in codings:
        module = _EXTRA.get(coding)
        if module is None and coding not in ("gzip", "deflate"):
            raise UnknownCoding(f"a body in the content coding {coding!r} cannot be rewritten")
        if module is not None and importlib.util.find_spec(module) is None:
            raise UnknownCoding(
                f"to rewrite a body in the content coding {coding!r}, install rolo[codings]"
            )


def decode(pieces: Pieces, codings: t.Sequence[str]) -> t.Iterator[bytes]:
    """Undo ``codings``, the last one first. Each piece of output is at most about
    :data:`PIECE` bytes and comes as soon as its input is here.

    :raises UndecodableBody: while iterating: the body is broken, cut short or a bomb
    :raises UnknownCoding: at once, see :func:`check_codings`
    """
    check_codings(codings)
    for coding in reversed(codings):
        counted = _Counted(pieces)
        pieces = _bounded(_DECODERS[coding](counted), counted, coding)
    return iter(pieces)


def encode(pieces: Pieces, codings: t.Sequence[str]) -> t.Iterator[bytes]:
    """Apply ``codings`` in their order. What a piece holds can be read from the output
    that follows it: nothing waits for the next piece.

    :raises UnknownCoding: at once, see :func:`check_codings`
    """
    check_codings(codings)
    for coding in codings:
        pieces = _ENCODERS[coding](pieces)
    return iter(pieces)


class _Counted:
    """Counts the bytes that pass."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = iter(pieces)
        self.total = 0

    def __iter__(self) -> t.Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        piece = next(self._pieces)
        self.total += len(piece)
        return piece


def _bounded(decoded: Pieces, source: _Counted, coding: str) -> t.Iterator[bytes]:
    total = 0
    for piece in decoded:
        total += len(piece)
        if total > RATIO_FREE and total > MAX_RATIO * source.total:
            raise UndecodableBody(f"a {coding} body expands more than {MAX_RATIO} times")
        yield piece


def _broken(coding: str, why: object) -> UndecodableBody:
    return UndecodableBody(f"the {coding} body is broken: {why}")


def _gunzip(pieces: Pieces) -> t.Iterator[bytes]:
    """Members may follow each other (RFC 1952 section 2.2); what else follows is ignored,
    as by every browser."""
    inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
    members, begun = 0, False
    for piece in pieces:
        while piece:
            if inflater.eof:
                members += 1
                inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
                begun = False
            try:
                yield from _inflated(inflater, piece)
            except zlib.error as exc:
                if members and not begun:
                    return
                raise _broken("gzip", exc) from exc
            begun = True
            piece = inflater.unused_data
    if begun and not inflater.eof:
        raise _broken("gzip", "it ends early")


def _inflated(inflater: t.Any, piece: bytes) -> t.Iterator[bytes]:
    while True:
        out = inflater.decompress(piece, PIECE)
        if out:
            yield out
        piece = inflater.unconsumed_tail
        # A full piece of output may leave more inside than there is input left.
        if inflater.eof or (not piece and len(out) < PIECE):
            return


def _undeflate(pieces: Pieces) -> t.Iterator[bytes]:
    """``deflate`` is the zlib format, but some servers send it bare (RFC 9110 section
    8.4.1.2 warns of them)."""
    source = iter(pieces)
    start = b""
    for piece in source:
        start += piece
        if len(start) >= 2:
            break
    if not start:
        return
    is_zlib = (
        len(start) >= 2 and start[0] & 0x0F == 8 and int.from_bytes(start[:2], "big") % 31 == 0
    )
    inflater = zlib.decompressobj(zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS)
    try:
        yield from _inflated(inflater, start)
        for piece in source:
            if not inflater.eof:
                yield from _inflated(inflater, piece)
    except zlib.error as exc:
        raise _broken("deflate", exc) from exc
    if not inflater.eof:
        raise _broken("deflate", "it ends early")


def _unbrotli(pieces: Pieces) -> t.Iterator[bytes]:
    brotli = importlib.import_module("brotli")
    decompressor = brotli.Decompressor()
    begun = False
    try:
        for piece in pieces:
            begun = begun or bool(piece)
            while True:
                out = decompressor.process(piece, output_buffer_limit=PIECE)
                if out:
                    yield out
                piece = b""
                if decompressor.is_finished() or (decompressor.can_accept_more_data() and not out):
                    break
    except brotli.error as exc:
        raise _broken("br", exc) from exc
    if begun and not decompressor.is_finished():
        raise _broken("br", "it ends early")


def _unzstd(pieces: Pieces) -> t.Iterator[bytes]:
    zstandard = importlib.import_module("zstandard")
    source = _Reader(pieces)
    # RFC 9659: windows of more than 8 MB are not for the web.
    decompressor = zstandard.ZstdDecompressor(max_window_size=8 * 1024 * 1024)
    reader = decompressor.stream_reader(source, read_across_frames=True, read_size=PIECE)
    try:
        while out := reader.read1(PIECE):
            yield out
    except zstandard.ZstdError as exc:
        raise _broken("zstd", exc) from exc


class _Reader:
    """Pieces as a file, whose ``read`` waits for one piece at most."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = iter(pieces)
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        while not self._rest:
            try:
                self._rest = next(self._pieces)
            except StopIteration:
                return b""
        if size < 0:
            size = len(self._rest)
        out, self._rest = self._rest[:size], self._rest[size:]
        return out


def _deflated(pieces: Pieces, bits: int) -> t.Iterator[bytes]:
    # Level 4: a proxy compresses for one transfer, not for keeps.
    deflater = zlib.compressobj(4, zlib.DEFLATED, bits)
    for piece in pieces:
        if piece:
            yield deflater.compress(piece) + deflater.flush(zlib.Z_SYNC_FLUSH)
    yield deflater.flush()


def _gzip(pieces: Pieces) -> t.Iterator[bytes]:
    return _deflated(pieces, 16 + zlib.MAX_WBITS)


def _deflate(pieces: Pieces) -> t.Iterator[bytes]:
    return _deflated(pieces, zlib.MAX_WBITS)


def _brotli(pieces: Pieces) -> t.Iterator[bytes]:
    brotli = importlib.import_module("brotli")
    compressor = brotli.Compressor(quality=4)
    for piece in pieces:
        if piece:
            yield compressor.process(piece) + compressor.flush()
    yield compressor.finish()


def _zstd(pieces: Pieces) -> t.Iterator[bytes]:
    zstandard = importlib.import_module("zstandard")
    compressor = zstandard.ZstdCompressor(level=3).compressobj()
    block = zstandard.COMPRESSOBJ_FLUSH_BLOCK
    for piece in pieces:
        if piece:
            yield compressor.compress(piece) + compressor.flush(block)
    yield compressor.flush()


_DECODERS = {"gzip": _gunzip, "deflate": _undeflate, "br": _unbrotli, "zstd": _unzstd}
_ENCODERS = {"gzip": _gzip, "deflate": _deflate, "br": _brotli, "zstd": _zstd}
