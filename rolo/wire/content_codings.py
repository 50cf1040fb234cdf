"""Content codings, decoded and encoded piece by piece (RFC 9110 section 8.4.1).

A decoder never holds more than one piece of output, however far its input expands, and all
decoders of a body share one bound of what they may make. gzip and deflate come with Python;
``br`` and ``zstd`` need the extra ``rolo[codings]``.
"""

from __future__ import annotations

import importlib
import importlib.util
import typing as t
import zlib

from rolo.errors import BodyFault, ExpandsTooFar, UndecodableBody, UnknownCoding
from rolo.wire.zstd_frames import ZstdFrames

Pieces = t.Iterable[bytes]

PIECE = 64 * 1024
"""Bytes of output that a decoder makes at a time, and of input that it is given."""
MAX_CODINGS = 3
"""Codings of one body, one upon the other."""
MAX_RATIO = 250
"""How many times its bytes on the wire all codings of a body together may make of it ..."""
RATIO_FREE = 16 * 1024 * 1024
"""... beyond the first so many, before it is taken for a bomb."""

_OVERHEAD = 1024
"""Bytes that a gzip member or a zstd block counts for beside what it holds: each takes
time, even an empty one."""
_FIRST_SLICE = 4 * 1024
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


def check_codings(codings: t.Sequence[str]) -> None:
    """Make sure that all of ``codings`` can be decoded.

    :raises UnknownCoding: one cannot, says what to install if that helps; or there are more
        than :data:`MAX_CODINGS`
    """
    if len(codings) > MAX_CODINGS:
        raise UnknownCoding(
            f"a body in {len(codings)} content codings is not rewritten, {MAX_CODINGS} at most"
        )
    for coding in codings:
        module = _EXTRA.get(coding)
        if module is None and coding not in ("gzip", "deflate"):
            raise UnknownCoding(f"a body in the content coding {coding!r} cannot be rewritten")
        if module is not None and importlib.util.find_spec(module) is None:
            raise UnknownCoding(
                f"to rewrite a body in the content coding {coding!r}, install rolo[codings]"
            )


def decode(
    pieces: Pieces, codings: t.Sequence[str], *, of_request: bool = False
) -> t.Iterator[bytes]:
    """Undo ``codings``, the last one first. Each piece of output is at most about
    :data:`PIECE` bytes and comes as soon as its input is here.

    :param of_request: the client sent the body, and is to blame for it
    :raises UndecodableBody: while iterating: the body is broken or cut short
    :raises ExpandsTooFar: while iterating: the body is a bomb
    :raises UnknownCoding: at once, see :func:`check_codings`
    """
    try:
        check_codings(codings)
    except UnknownCoding as exc:
        if of_request:
            exc.blame_client()
        raise
    budget = _Budget()
    pieces = budget.counted(pieces)
    for coding in reversed(codings):
        pieces = budget.bounded(_DECODERS[coding](pieces, budget))
    return _blamed(pieces) if of_request else iter(pieces)


def _blamed(pieces: Pieces) -> t.Iterator[bytes]:
    try:
        yield from pieces
    except BodyFault as exc:
        exc.blame_client()
        raise


def encode(pieces: Pieces, codings: t.Sequence[str]) -> t.Iterator[bytes]:
    """Apply ``codings`` in their order. What a piece holds can be read from the output
    that follows it: nothing waits for the next piece.

    :raises UnknownCoding: at once, see :func:`check_codings`
    """
    check_codings(codings)
    for coding in codings:
        pieces = _ENCODERS[coding](pieces)
    return iter(pieces)


class _Budget:
    """What the decoders of one body make, all together, against what came on the wire:
    a bound for each would let them multiply."""

    def __init__(self) -> None:
        self._wire = 0
        self._made = 0

    def counted(self, pieces: Pieces) -> t.Iterator[bytes]:
        """Yield the body as it came on the wire, sliced."""
        for piece in _sliced(pieces):
            self._wire += len(piece)
            yield piece

    def bounded(self, decoded: Pieces) -> t.Iterator[bytes]:
        """Yield what one decoder makes."""
        for piece in decoded:
            self.spend(len(piece))
            yield piece

    def spend(self, size: int) -> None:
        """:raises ExpandsTooFar: with ``size`` more bytes it is too much"""
        self._made += size
        if self._made > RATIO_FREE and self._made > MAX_RATIO * self._wire:
            raise ExpandsTooFar(f"a coded body expands more than {MAX_RATIO} times")


def _sliced(pieces: Pieces) -> t.Iterator[bytes]:
    """Yield ``pieces`` as pieces of :data:`PIECE` bytes at most: a decoder copies what it
    does not take of its input at once."""
    for piece in pieces:
        if len(piece) <= PIECE:
            yield piece
        else:
            yield from (piece[start : start + PIECE] for start in range(0, len(piece), PIECE))


def _broken(coding: str, why: object) -> UndecodableBody:
    return UndecodableBody(f"the {coding} body is broken: {why}")


def _gunzip(pieces: Pieces, budget: _Budget) -> t.Iterator[bytes]:
    """Members may follow each other (RFC 1952 section 2.2); what else follows is ignored,
    as by every browser."""
    members, inflater, held = 0, None, b""
    for piece in pieces:
        data = memoryview(held + piece if held else piece)
        at, held = 0, b""
        while at < len(data):
            if inflater is None:
                if members and data[at : at + 2].tobytes() != b"\x1f\x8b":
                    if len(data) - at > 1 or data[at] != 0x1F:
                        return
                    held = b"\x1f"
                    break
                budget.spend(_OVERHEAD)
                inflater, size = zlib.decompressobj(16 + zlib.MAX_WBITS), _FIRST_SLICE
            # What is left over at the end of a member is copied: not more than was read.
            part = data[at : at + size]
            size = min(2 * size, PIECE)
            yield from _inflated(inflater, part, "gzip")
            at += len(part)
            if inflater.eof:
                at -= len(inflater.unused_data)
                members += 1
                inflater = None
    if inflater is not None:
        raise _broken("gzip", "it ends early")


def _inflated(inflater: t.Any, piece: bytes | memoryview, coding: str) -> t.Iterator[bytes]:
    while True:
        try:
            out = inflater.decompress(piece, PIECE)
        except zlib.error as exc:
            raise _broken(coding, exc) from exc
        if out:
            yield out
        piece = inflater.unconsumed_tail
        # A full piece of output may leave more inside than there is input left.
        if inflater.eof or (not piece and len(out) < PIECE):
            return


def _undeflate(pieces: Pieces, budget: _Budget) -> t.Iterator[bytes]:
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
    yield from _inflated(inflater, start, "deflate")
    for piece in source:
        if not inflater.eof:
            yield from _inflated(inflater, piece, "deflate")
    if not inflater.eof:
        raise _broken("deflate", "it ends early")


def _unbrotli(pieces: Pieces, budget: _Budget) -> t.Iterator[bytes]:
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


def _unzstd(pieces: Pieces, budget: _Budget) -> t.Iterator[bytes]:
    zstandard = importlib.import_module("zstandard")
    source = _Reader(pieces, budget)
    # RFC 9659: windows of more than 8 MB are not for the web.
    decompressor = zstandard.ZstdDecompressor(max_window_size=8 * 1024 * 1024)
    reader = decompressor.stream_reader(source, read_across_frames=True, read_size=PIECE)
    try:
        while out := reader.read1(PIECE):
            yield out
    except zstandard.ZstdError as exc:
        raise _broken("zstd", exc) from exc
    if not source.frames.complete:
        raise _broken("zstd", "it ends early")


class _Reader:
    """Pieces of zstd as a file, whose ``read`` waits for one piece at most."""

    def __init__(self, pieces: Pieces, budget: _Budget) -> None:
        self._pieces = _sliced(pieces)
        self._budget = budget
        self.frames = ZstdFrames()

    def read(self, size: int) -> bytes:
        """Return the next piece: ``size`` is :data:`PIECE`, which no piece is larger than."""
        for piece in self._pieces:
            if piece:
                before = self.frames.parts
                self.frames.feed(piece)
                self._budget.spend(_OVERHEAD * (self.frames.parts - before))
                return piece
        return b""


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
