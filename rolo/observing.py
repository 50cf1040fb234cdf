"""Looking on at everything that a server serves: observers, and what they are told.

``serve(gateway, observers=[...])`` and ``AsgiGateway(gateway, observers=[...])`` take them.
"""

from __future__ import annotations

from rolo.bridge.access_log import AccessLog
from rolo.bridge.observer import (
    Answer,
    AnswerBody,
    AnswerTrailers,
    Ended,
    Event,
    Exchange,
    Interim,
    Message,
    Missed,
    Observer,
    Outcome,
    RequestBody,
    RequestStarted,
    RequestTrailers,
    Trace,
    Tracer,
    UpstreamTried,
    WebSocketClosed,
)

__all__ = [
    "AccessLog",
    "Answer",
    "AnswerBody",
    "AnswerTrailers",
    "Ended",
    "Event",
    "Exchange",
    "Interim",
    "Message",
    "Missed",
    "Observer",
    "Outcome",
    "RequestBody",
    "RequestStarted",
    "RequestTrailers",
    "Trace",
    "Tracer",
    "UpstreamTried",
    "WebSocketClosed",
]
