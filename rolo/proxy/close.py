"""What a close on one leg of a relayed websocket means on the other: the one table.

=====================  ==================  ===================  =========================
What the leg reports   to the client       to the origin        Why
=====================  ==================  ===================  =========================
1000-1003, 1007-1014   the same, with its reason                codes that may be sent
3000-4999              the same, with its reason                codes that may be sent
1005                   a close without a code                   none was sent
1006, 1015             1011                1001                 the leg was lost
anything else          1011                1001                 may not be sent
=====================  ==================  ===================  =========================

(RFC 6455 section 7.4, and IANA's registry.) An origin that breaks the protocol is closed
with the code for that; to the client this is 1011, since it did nothing wrong.
"""

from __future__ import annotations

import typing as t

from rolo.websocket.codes import GOING_AWAY, INTERNAL_ERROR, NO_CODE, is_sendable

Side = t.Literal["client", "origin"]

_FOR_A_LOST_LEG: dict[Side, int] = {"client": INTERNAL_ERROR, "origin": GOING_AWAY}


def passed_on(code: int, reason: str | None, to: Side) -> tuple[int | None, str]:
    """Return the code and the reason to close the leg ``to`` with, after the other leg
    ended with these; the code is ``None`` for a close frame without one."""
    if code == NO_CODE:
        return None, ""
    if is_sendable(code):
        return code, reason or ""
    return _FOR_A_LOST_LEG[to], ""
