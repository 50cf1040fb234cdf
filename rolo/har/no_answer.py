"""No answer, as it was recorded: the connection breaks before the first byte."""

from __future__ import annotations

import typing as t

from rolo.errors import BrokenAsRecorded
from rolo.portal.portal import Portal
from rolo.response import Response
from rolo.wire.fields import RawHeaders


class _Mute:
    """In the place of a downstream: breaks the exchange off before anything is sent."""

    sink = None

    async def send_head(self, status: int, reason: bytes, headers: RawHeaders) -> None:
        raise BrokenAsRecorded("nothing was answered when it was recorded")

    async def send_complete(
        self, status: int, reason: bytes, headers: RawHeaders, body: bytes
    ) -> None:
        await self.send_head(status, reason, headers)


class _Silence:
    """A :class:`~rolo.bridge.downstream.Spoiler`."""

    def spoil(self, downstream: t.Any, portal: Portal) -> t.Any:
        return _Mute()

    def spoil_blocking(self, answer: t.Any) -> t.Any:
        return answer  # there is no way to say nothing


def no_answer() -> Response:
    """Return what breaks the connection off. A server that cannot (WSGI) answers 502."""
    response = Response("nothing was answered when this was recorded\n", status=502)
    response._spoiler = _Silence()
    return response
