"""A websocket from a recording: the server's messages in their order among the client's."""

from __future__ import annotations

import asyncio
import contextlib
import json
import typing as t

from rolo.bridge.downstream import WebSocketDownstream
from rolo.errors import BrokenAsRecorded
from rolo.har.model import Close, Entry, Message
from rolo.har.pace import Pace
from rolo.har.patterns import wild
from rolo.har.redact import REDACTED
from rolo.matching.differences import described
from rolo.matching.matchers import matches
from rolo.websocket.errors import WebSocketDisconnectedError
from rolo.wire.close_codes import LOST

NO_CODE = 1005
NOT_AS_RECORDED = 1008
_SHOWN = 200


class ReplayedWebSocket:
    """Takes an accepted websocket over and replays ``entry`` on it; a
    :class:`~rolo.websocket.adapter.Successor`.

    :param report: is told, in a sentence, what the client did otherwise than recorded
    """

    def __init__(self, entry: Entry, pace: Pace, report: t.Callable[[str], None]) -> None:
        self._entry = entry
        self._pace = pace
        self._report = report
        self._receiving: asyncio.Task[str | bytes] | None = None

    def abandon(self) -> None:
        """It will never run."""

    async def run(self, downstream: WebSocketDownstream) -> None:
        """Replay it to its end. A client that sends something else than was recorded is
        closed with 1008."""
        messages = self._entry.messages or []
        done = 0
        try:
            for done, message in enumerate(messages):
                if message.by == "server":
                    await self._unless_closed(downstream, self._pace.piece(message.at))
                    await downstream.send(message.data)
                elif not await self._received(downstream, done + 1, message):
                    return
            done = len(messages)
            await self._end(downstream)
        except WebSocketDisconnectedError as exc:
            self._compare_close(exc, done, len(messages))
        finally:
            receiving, self._receiving = self._receiving, None
            if receiving is not None:
                receiving.cancel()
                with contextlib.suppress(asyncio.CancelledError, WebSocketDisconnectedError):
                    await receiving

    async def _received(
        self, downstream: WebSocketDownstream, number: int, wanted: Message
    ) -> bool:
        got = await self._receive(downstream)
        self._pace.anchor(wanted.at)
        if same_message(wanted.data, got):
            return True
        self._report(
            f"message {number} of {self._entry.target} is not as recorded: "
            f"wanted {_shown(wanted.data)} of the client, got {_shown(got)}"
        )
        await downstream.close(NOT_AS_RECORDED, f"message {number} is not as recorded")
        return False

    async def _end(self, downstream: WebSocketDownstream) -> None:
        close = self._entry.close
        if close is not None and close.by == "server":
            await self._unless_closed(downstream, self._pace.head(close.at))
            if close.code == LOST:
                await lose(downstream)
            else:
                code = None if close.code == NO_CODE else close.code
                await downstream.close(code, close.reason)
            return
        # The client has closed, or it is not known who has: it goes on until the client does.
        while True:
            extra = await self._receive(downstream)
            self._report(
                f"the client sent {self._entry.target} a message more than was recorded: "
                f"{_shown(extra)}"
            )

    def _compare_close(self, got: WebSocketDisconnectedError, done: int, count: int) -> None:
        close: Close | None = self._entry.close
        target = self._entry.target
        if done < count:
            self._report(
                f"the client closed {target} with {got.code} after {done} of {count} messages"
            )
        elif close is not None and close.by == "client" and close.code != got.code:
            self._report(
                f"the client closed {target} with {got.code}, and not with {close.code} as recorded"
            )

    # --- waiting, with an ear for the client

    async def _receive(self, downstream: WebSocketDownstream) -> str | bytes:
        if self._receiving is None:
            return await downstream.receive()
        receiving, self._receiving = self._receiving, None
        return await receiving

    async def _unless_closed(
        self, downstream: WebSocketDownstream, wait: t.Coroutine[t.Any, t.Any, None]
    ) -> None:
        """Await ``wait``, or raise that the client closes meanwhile. A message that comes
        meanwhile waits for its turn."""
        waiting = asyncio.ensure_future(wait)
        try:
            await asyncio.sleep(0)
            if waiting.done():
                return await waiting
            if self._receiving is None:
                self._receiving = asyncio.ensure_future(downstream.receive())
            await asyncio.wait((waiting, self._receiving), return_when=asyncio.FIRST_COMPLETED)
            if self._receiving.done() and self._receiving.exception() is not None:
                receiving, self._receiving = self._receiving, None
                receiving.result()
            return await waiting
        finally:
            waiting.cancel()


async def lose(downstream: WebSocketDownstream) -> None:
    """Drop the connection without a close frame; where the server cannot do that, close with
    1011."""
    if downstream.wire is not None:
        downstream.wire.lose(BrokenAsRecorded("the recorded websocket was lost here"))
    else:
        await downstream.close(1011, "lost, as recorded")


def same_message(recorded: str | bytes, got: str | bytes) -> bool:
    """Whether two messages say the same: the same, or the same JSON; what was redacted may be
    anything."""
    if recorded == got:
        return True
    if not (isinstance(recorded, str) and isinstance(got, str)):
        return False
    if recorded == REDACTED:
        return True
    try:
        return matches(wild(json.loads(recorded)), json.loads(got))
    except (ValueError, RecursionError):
        return False


def _shown(data: str | bytes) -> str:
    text = described(data)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(data)} in all)"
