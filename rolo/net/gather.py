"""Writing several pieces at once, on every version of Python that we run on."""

from __future__ import annotations

import asyncio
import sys
import typing as t


def writelines_pauses(version: tuple[int, ...]) -> bool:
    """Whether ``writelines`` of asyncio's own transports tells the protocol to pause, in this
    version of CPython. From 3.12.0 to 3.12.8 and from 3.13.0 to 3.13.1 it only buffers, without
    end (python/cpython#127655); before it joined the pieces and wrote them."""
    return not ((3, 12) <= version < (3, 12, 9) or (3, 13) <= version < (3, 13, 2))


_PAUSES = writelines_pauses(sys.version_info[:3])


def write_pieces(transport: asyncio.WriteTransport, pieces: t.Sequence[bytes]) -> None:
    """Write ``pieces``, as one where they can be, under the transport's flow control."""
    if _PAUSES:
        transport.writelines(pieces)
    else:
        transport.write(b"".join(pieces))
