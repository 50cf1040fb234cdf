"""What happens in a stream or on a websocket, one step after the other."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import typing as t

from rolo.errors import InjectedFault
from rolo.harness.delays import Delay, checked, seconds_of
from rolo.harness.messages import as_wanted, message_of
from rolo.harness.turn import LOST, Means, Turn
from rolo.matching.differences import described
from rolo.matching.matchers import differences, matches
from rolo.proxy.hooks.sse import Event
from rolo.websocket.errors import WebSocketDisconnectedError

_LONG_REASON = 123
"""Bytes of a close frame's reason (RFC 6455 section 5.5)."""


class Unexpected(Exception):
    """What a script waits for did not come; the message says what did."""


class Step:
    """One step; subclasses can be taken in a stream, on a websocket, or in both."""

    def __init_subclass__(cls) -> None:
        cls.streams = cls.piece is not Step.piece
        cls.talks = cls.talk is not Step.talk

    streams: t.ClassVar[bool]
    """Whether it can be taken in a stream."""
    talks: t.ClassVar[bool]
    """Whether it can be taken on a websocket."""

    async def piece(self, means: Means) -> bytes:
        """Take the step in a stream, on the loop: return a piece of the body, or ``b""``."""
        raise NotImplementedError

    def talk(self, websocket: t.Any, turn: Turn) -> None:
        """Take the step on an accepted websocket, in the greenlet of its exchange."""
        raise NotImplementedError


class sse(Step):
    """A server-sent event.

    :param data: text, or anything else as JSON; ``None``: the event has none
    :param event: its name
    :param id: of the event
    :param retry: milliseconds until the client connects again
    :param comment: is written in front
    """

    def __init__(
        self,
        data: t.Any = None,
        *,
        event: str | None = None,
        id: str | None = None,
        retry: int | None = None,
        comment: str | None = None,
    ) -> None:
        text = data if data is None or isinstance(data, str) else json.dumps(data)
        comments = [] if comment is None else comment.split("\n")
        self.bytes = Event(text, event, id, retry, comments).to_bytes()

    async def piece(self, means: Means) -> bytes:
        return self.bytes


class some(Step):
    """A piece of a body: bytes, or text as UTF-8. In ``streams(...)`` it need not be written."""

    def __init__(self, piece: bytes | str) -> None:
        self.bytes = piece.encode() if isinstance(piece, str) else bytes(piece)

    async def piece(self, means: Means) -> bytes:
        return self.bytes


class pause(Step):
    """Wait, in seconds: so many, or as many as are drawn, e.g. ``between(0.1, 0.3)``."""

    def __init__(self, delay: Delay) -> None:
        self.delay = checked(delay)

    async def piece(self, means: Means) -> bytes:
        await asyncio.sleep(seconds_of(self.delay, means.rng))
        return b""

    def talk(self, websocket: t.Any, turn: Turn) -> None:
        turn.sleep(seconds_of(self.delay, turn.means.rng))


class gate(Step):
    """Wait until the test calls ``api.step()``."""

    async def piece(self, means: Means) -> bytes:
        await means.gate.passed()
        return b""

    def talk(self, websocket: t.Any, turn: Turn) -> None:
        turn.portal.call(turn.means.gate.passed())


class lose(Step):
    """Lose the client: the answer breaks off so that it cannot be taken for whole; a websocket
    ends without a close frame."""

    async def piece(self, means: Means) -> bytes:
        raise InjectedFault(LOST)

    def talk(self, websocket: t.Any, turn: Turn) -> None:
        turn.lose()


class stay(Step):
    """Leave the stream or websocket open until the client closes or leaves."""

    async def piece(self, means: Means) -> bytes:
        await asyncio.get_running_loop().create_future()
        return b""

    def talk(self, websocket: t.Any, turn: Turn) -> None:
        for _ in websocket:
            pass


class send(Step):
    """Send a websocket message: text, bytes, or anything else as JSON."""

    def __init__(self, message: t.Any) -> None:
        self.message = message_of(message)

    def talk(self, websocket: t.Any, turn: Turn) -> None:
        websocket.send(self.message)


class expect(Step):
    """Wait for a message that is like ``wanted``. If another comes, or none in time, the
    websocket is closed (1008) and the test fails at its end.

    :param wanted: as everywhere: text, bytes, a matcher, a predicate, a type. A mapping, a list
        or a model is compared with the JSON in the message.
    :param timeout: seconds; ``None`` for the harness's
    """

    def __init__(self, wanted: t.Any, *, timeout: float | None = None) -> None:
        self.wanted = wanted
        self.timeout = timeout

    def talk(self, websocket: t.Any, turn: Turn) -> None:
        timeout = turn.means.timeout if self.timeout is None else self.timeout
        wanted = described(self.wanted)
        try:
            message = websocket.receive(timeout=timeout)
        except TimeoutError:
            raise Unexpected(f"expected {wanted}, but nothing came in {timeout:g} s") from None
        except WebSocketDisconnectedError:
            raise Unexpected(f"expected {wanted}, but the client had closed") from None
        got = as_wanted(message, self.wanted)
        found = list(differences(self.wanted, got, "message"))
        if found:
            lines = [f"{each.place}: wanted {each.wanted}, got {each.got}" for each in found]
            raise Unexpected("\n".join(lines))


class replies(Step):
    """Answer each message by the first of ``pairs`` that is like it, until the client closes.
    A message that is like none fails the test at its end.

    :param pairs: what is wanted, and what is sent then: a message, a list of messages, or a
        function that is given the message and returns one of these
    """

    def __init__(self, *pairs: tuple[t.Any, t.Any]) -> None:
        if not all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):
            raise TypeError("replies(): pairs of what is wanted and what is sent then")
        self.pairs = pairs

    def talk(self, websocket: t.Any, turn: Turn) -> None:
        for message in websocket:
            for wanted, answer in self.pairs:
                if matches(wanted, as_wanted(message, wanted)):
                    self._answer(websocket, turn, message, answer)
                    break
            else:
                raise Unexpected(f"a message that no reply is for: {described(message)}")

    @staticmethod
    def _answer(websocket: t.Any, turn: Turn, message: str | bytes, answer: t.Any) -> None:
        if callable(answer):
            answer = turn.on_thread(answer, message)
        if answer is None:
            return
        for each in answer if isinstance(answer, list) else [answer]:
            websocket.send(message_of(each))


@dataclasses.dataclass
class close(Step):
    """Close the websocket with a code and a reason; ``None``: a close frame without a code."""

    code: int | None = 1000
    reason: str = ""

    def talk(self, websocket: t.Any, turn: Turn) -> None:
        websocket.close(self.code, self.reason)


def played(steps: t.Iterable[Step], websocket: t.Any, turn: Turn) -> None:
    """Take ``steps`` on an accepted websocket; close it if what is expected does not come."""
    for number, step in enumerate(steps, 1):
        try:
            step.talk(websocket, turn)
        except Unexpected as exc:
            turn.problem(f", step {number} ({type(step).__name__}): {exc}")
            reason = f"step {number}: {exc}".encode()[:_LONG_REASON].decode("utf-8", "ignore")
            websocket.close(1008, reason.splitlines()[0])
            return
