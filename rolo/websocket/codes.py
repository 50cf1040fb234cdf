"""Close codes (RFC 6455 section 7.4, and IANA's registry)."""

from __future__ import annotations

NORMAL = 1000
GOING_AWAY = 1001
PROTOCOL_ERROR = 1002
NO_CODE = 1005
"""Stands for a close frame without a code; never sent."""
LOST = 1006
"""Stands for a connection that ended without a close frame; never sent."""
INVALID_DATA = 1007
TOO_BIG = 1009
INTERNAL_ERROR = 1011


def is_sendable(code: int) -> bool:
    """Whether a close frame may hold ``code``."""
    return 3000 <= code <= 4999 or (1000 <= code <= 1014 and code not in (1004, 1005, 1006))
