"""How much of what was written has not arrived yet."""

from __future__ import annotations

import array
import asyncio

try:
    import fcntl
    import termios
except ImportError:  # not on Windows
    _OUTQ = None
else:
    # For a TCP socket on Linux (tcp(7), SIOCOUTQ): bytes that the peer has not acknowledged.
    _OUTQ = getattr(termios, "TIOCOUTQ", None)


def unacknowledged(transport: asyncio.WriteTransport) -> int:
    """Return how many bytes written to ``transport`` wait in it, or in the kernel for the
    peer to take them (what the kernel does not tell counts as none)."""
    waiting: int = transport.get_write_buffer_size()
    sock = transport.get_extra_info("socket")
    if sock is None or _OUTQ is None:
        return waiting
    queued = array.array("i", [0])
    try:
        fcntl.ioctl(sock.fileno(), _OUTQ, queued)
    except (OSError, ValueError):
        return waiting
    return waiting + queued[0]
