"""Answers that are there already: sent before anything is made for a handler."""

from __future__ import annotations

import typing as t

from rolo.bridge.downstream import HttpDownstream, RequestHead
from rolo.bridge.limits import Limits
from rolo.bridge.observed import HttpService
from rolo.errors import ClientDisconnected, RoloError
from rolo.wire.fields import RawHeaders

ReadyAnswer = tuple[int, bytes, RawHeaders, bytes]
"""Status, reason, fields (complete, but for those that servers add) and body."""

Ready = t.Callable[[RequestHead], ReadyAnswer | None]
"""Returns the answer to a request without a body, ``None`` if handlers are to be asked."""


def answered_at_once(serve: HttpService, ready: Ready, limits: Limits) -> HttpService:
    """Return ``serve``, which is asked only if there is no answer ready."""

    async def serve_ready(downstream: HttpDownstream) -> None:
        answer = None
        if not downstream.may_have_body and downstream.fault is None:
            answer = ready(downstream.head) if _is_within(limits, downstream.head) else None
        if answer is None:
            await serve(downstream)
            return
        try:
            await downstream.send_complete(*answer)
        except ClientDisconnected as exc:
            downstream.abort(exc)

    return serve_ready


def _is_within(limits: Limits, head: RequestHead) -> bool:
    """Whether a request is none that is refused without asking anybody."""
    try:
        limits.check_head(head)
    except RoloError:
        return False
    return head.method != "WEBSOCKET"
