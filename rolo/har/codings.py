"""Content codings of a recorded body, undone piece by piece."""

from __future__ import annotations

import typing as t

from rolo.har.content import Content
from rolo.har.model import Pieces
from rolo.wire.content_codings import decode


def decoded(body: Content, pieces: Pieces, codings: t.Sequence[str]) -> tuple[bytes, Pieces]:
    """Undo ``codings``: return the bytes, and which of them could be read from which piece.

    :raises BodyFault: they cannot be undone
    """
    source = _Counted(body, pieces)
    made: list[bytes] = []
    sizes: dict[int, int] = {}
    for piece in decode(source, codings):
        made.append(piece)
        sizes[source.number] = sizes.get(source.number, 0) + len(piece)
    if not len(pieces):
        return b"".join(made), pieces
    last = len(pieces) - 1
    return b"".join(made), Pieces(
        (pieces[min(number, last)].at, size) for number, size in sizes.items()
    )


class _Counted:
    """A body in its pieces, which knows which of them was read last."""

    def __init__(self, body: Content, pieces: Pieces) -> None:
        self._body = body
        self._pieces = pieces
        self.number = 0

    def __iter__(self) -> t.Iterator[bytes]:
        with self._body.open() as file:
            for number, piece in enumerate(self._pieces):
                self.number = number
                yield file.read(piece.size)
            while rest := file.read(64 * 1024):
                yield rest
