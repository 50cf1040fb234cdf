"""Close codes (RFC 6455 section 7.4, and IANA's registry), and what a close on one leg of a
relayed websocket means on the other: the one table.

=====================  ==================  ===================  =========================
What the leg reports   to the client       to the origin        Why
=====================  ==================  ===================  =========================
1000-1003, 1007-1014   the same, with its reason                codes that may be sent
3000-4999              the same, with its reason                codes that may be sent
1005                   a close without a code                   none was sent
1006, 1015             1011                1001                 the leg was lost
anything else          1011                1001                 may not be sent
=====================  ==================  ===================  =========================

An origin that breaks the protocol is closed with the code for that; to the client this is
1011, since it did nothing wrong.
"""

from __future__ import annotations

import typing as t

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
TRY_AGAIN_LATER = 1013


def is_sendable(code: int) -> bool:
    """Whether a close frame may hold ``code``."""
    return 3000 <= code <= 4999 or (1000 <= code <= 1014 and code not in (1004, 1005, 1006))


Side = t.Literal["client", "upstream"]

_FOR_A_LOST_LEG: dict[Side, int] = {"client": INTERNAL_ERROR, "upstream": GOING_AWAY}


def passed_on(code: int, reason: str | None, to: Side) -> tuple[int | None, str]:
    """Return the code and the reason to close the leg ``to`` with, after the other leg
    ended with these; the code is ``None`` for a close frame without one."""
    if code == NO_CODE:
        return None, ""
    if is_sendable(code):
        return code, reason or ""
    return _FOR_A_LOST_LEG[to], ""
