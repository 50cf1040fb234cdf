"""Tells who looks on at an exchange what goes to upstreams, and what comes back."""

from __future__ import annotations

import time
import typing as t

from rolo.bridge.lazy_response import UpstreamAnswer
from rolo.bridge.observed import Progress
from rolo.bridge.observer import UpstreamTried
from rolo.upstream.connection import Connection
from rolo.upstream.request import OnInterim, UpstreamRequest


class Trace:
    """What a transport tells of a request on its way."""

    __slots__ = ("_asked", "_sent", "connection", "phases")

    def __init__(self) -> None:
        self._asked = self._sent = time.monotonic()
        self.connection: int | None = None
        """The number of the connection on which it went last."""
        self.phases: dict[str, float] = {}
        """See :class:`~rolo.bridge.observer.UpstreamTried`."""

    def goes_on(self, connection: Connection) -> None:
        """The request goes on ``connection``, which is ours from now on."""
        self._sent = time.monotonic()
        self.connection = connection.number
        self.phases = phases = {"queue": self._sent - self._asked}
        if connection.exchanges == 0:
            for phase, seconds in (
                ("connect", connection.connect_seconds),
                ("tls", connection.tls_seconds),
            ):
                if seconds is not None:
                    phases[phase] = seconds
                    phases["queue"] = max(0.0, phases["queue"] - seconds)

    def ends(self) -> None:
        """The head of the answer is here, or there will be none."""
        if self.connection is not None:
            self.phases["wait"] = time.monotonic() - self._sent


class Transport(t.Protocol):
    """What sends requests; see :class:`~rolo.upstream.transport.LoopTransport`."""

    async def send(
        self,
        request: UpstreamRequest,
        *,
        on_interim: OnInterim | None = None,
        trace: Trace | None = None,
    ) -> UpstreamAnswer: ...


async def send_observed(
    transport: Transport,
    request: UpstreamRequest,
    progress: Progress | None,
    on_interim: OnInterim | None = None,
) -> UpstreamAnswer:
    """Send ``request`` and return the answer; who looks on at ``progress`` is told."""
    if progress is None or not progress.observation.wants(UpstreamTried):
        return await transport.send(request, on_interim=on_interim)
    trace = Trace()
    answer: UpstreamAnswer | None = None
    error: str | None = None
    try:
        answer = await transport.send(request, on_interim=on_interim, trace=trace)
        return answer
    except Exception as exc:
        error = f"{type(exc).__name__}: {exc}"
        raise
    finally:
        trace.ends()
        progress.observation.tell(
            UpstreamTried,
            progress.exchange,
            request.origin,
            request.method,
            request.target,
            request.headers,
            None if answer is None else answer.status,
            None if answer is None else answer.reason,
            [] if answer is None else answer.headers,
            error,
            trace.connection,
            answer is not None and answer.reused,
            None if answer is None else answer.retried,
            trace.phases,
        )
