"""Mock services in tests: stubs, an upstream behind them, faults, and what came.

::

    with Harness() as api:
        api.get("/price").returns({"price": 42})
        run_the_client(api.url)
        assert api.received("GET", "/price").once().headers["Accept"] == "application/json"
"""

from __future__ import annotations

from rolo.harness.certificates import ClientCertificate
from rolo.harness.delays import Delay, between, lognormal, normal
from rolo.harness.failing import Traffic, When
from rolo.harness.harness import Harness, Unverified
from rolo.harness.received import Received
from rolo.harness.record import Answer, Closed, Interim, Message, Piece, Record
from rolo.harness.steps import (
    Step,
    close,
    expect,
    gate,
    lose,
    pause,
    replies,
    send,
    some,
    sse,
    stay,
)
from rolo.harness.stub import Stub
from rolo.harness.values import AnswerArguments, StreamArguments
from rolo.harness.wiremock import MappingError

__all__ = [
    "Answer",
    "AnswerArguments",
    "ClientCertificate",
    "Closed",
    "Delay",
    "Harness",
    "Interim",
    "MappingError",
    "Message",
    "Piece",
    "Received",
    "Record",
    "Step",
    "StreamArguments",
    "Stub",
    "Traffic",
    "Unverified",
    "When",
    "between",
    "close",
    "expect",
    "gate",
    "lognormal",
    "lose",
    "normal",
    "pause",
    "replies",
    "send",
    "some",
    "sse",
    "stay",
]
