"""What a stub does with a request."""

from __future__ import annotations

import contextvars
import dataclasses
import datetime
import mimetypes
import os
import typing as t

from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as WerkzeugResponse
from werkzeug.wsgi import FileWrapper

from rolo.bridge.lazy_response import LazyResponse, UpstreamAnswer
from rolo.bridge.ready import ReadyAnswer
from rolo.bridge.thread_body import ThreadBody
from rolo.errors import RoloError
from rolo.har import Player
from rolo.harness.delays import Delay
from rolo.harness.steps import Step, played
from rolo.harness.turn import Means, StepsBody, Turn
from rolo.response import Response
from rolo.routing.dispatcher import SignatureDispatcher
from rolo.wire.fields import RawHeaders
from rolo.wire.http1 import check_head

_PIECE = 256 * 1024
"""Bytes of a large body that are handed over at once."""


class Action:
    """What a stub does once, or each time. ``delay`` comes before the answer's head."""

    delay: Delay = 0.0
    once_only = False
    """It can be done only once: what it sends is used up then."""

    def respond(self, turn: Turn) -> Response:
        """Answer a request. In the greenlet of the exchange.

        :raises TypeError: it is for websockets
        """
        raise TypeError(f"{self.verb}() is for websockets")

    def talk(self, turn: Turn) -> None:
        """Answer a websocket's handshake, and talk on it."""
        turn.wait(self.delay)
        turn.request.reject(self.respond(turn))

    verb = ""
    """The stub's method that makes it."""


@dataclasses.dataclass
class Head:
    """What an answer begins with, checked when it was made.

    :raises ValueError: it cannot be sent as one head
    """

    status: int
    reason: bytes
    headers: RawHeaders
    interim: list[tuple[int, RawHeaders]] = dataclasses.field(default_factory=list)
    trailers: RawHeaders = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        if not 200 <= self.status <= 999:
            raise ValueError(
                f"an answer's status has three digits, 200 or more, not {self.status} "
                "(1xx: interim=)"
            )
        check_head(self.reason, self.headers)
        check_head(b"", self.trailers)
        for status, fields in self.interim:
            if not 100 < status < 200 or status == 101:
                raise ValueError(f"an interim answer is 102 to 199, not {status}")
            check_head(b"", fields)


class Returning(Action):
    """Answers with something that is there already.

    :param spoiler: spoils it on its way, see :func:`rolo.faults.faulty`
    """

    verb = "returns"

    def __init__(self, head: Head, body: bytes, spoiler: t.Any = None) -> None:
        self.head = head
        self.body = body
        self._spoiler = spoiler
        fields = list(head.headers)
        if head.status not in (204, 304) or body:
            fields.append((b"Content-Length", b"%d" % len(body)))
        self._fields = fields

    @property
    def ready(self) -> bool:
        """Whether there is nothing to do but to send it."""
        head = self.head
        more = self.delay or head.interim or head.trailers or self._spoiler
        return not more and len(self.body) <= _PIECE

    def answer(self, method: str) -> ReadyAnswer:
        """Return all that is sent."""
        head = self.head
        return head.status, head.reason, self._fields, b"" if method == "HEAD" else self.body

    def respond(self, turn: Turn) -> Response:
        head = self.head
        turn.drain()
        turn.begin(self.delay, head.interim)
        if self._spoiler is not None:
            return self._spoilt()
        body: t.Any = [self.body]
        if head.trailers:
            return _streamed(head, StepsBody(_slices(self.body), head.trailers))
        if len(self.body) > _PIECE:
            body = StepsBody(_slices(self.body), [])
        return LazyResponse(
            UpstreamAnswer(
                head.status, head.reason, list(self._fields), body, as_received=True, made_here=True
            )
        )

    def _spoilt(self) -> Response:
        head = self.head
        response = Response(
            self.body,
            status=f"{head.status} {head.reason.decode('latin-1')}",
            headers=[(n.decode("latin-1"), v.decode("latin-1")) for n, v in head.headers],
        )
        response._spoiler = self._spoiler
        return response


class Generating(Action):
    """Answers with pieces that code of the user's makes.

    :param pieces: a function that returns an iterable of bytes or text, or such an iterable,
        which is used up by the first answer
    """

    verb = "returns"

    def __init__(self, head: Head, pieces: t.Any) -> None:
        self.head = head
        self._pieces = pieces
        self.once_only = not callable(pieces)

    def respond(self, turn: Turn) -> Response:
        head = self.head
        turn.drain()
        turn.begin(self.delay, head.interim)
        pieces = turn.on_thread(self._pieces) if callable(self._pieces) else self._pieces
        if hasattr(pieces, "__aiter__"):
            return _streamed(head, StepsBody(_encoded_async(pieces), head.trailers))
        body = ThreadBody(_encoded(pieces), *_closing(pieces, turn))
        return _streamed(head, body)


class Giving(Action):
    """Answers with a response of the user's that can be sent once."""

    verb = "returns"
    once_only = True

    def __init__(self, response: WerkzeugResponse) -> None:
        self._response = response

    def respond(self, turn: Turn) -> Response:
        turn.drain()
        turn.begin(self.delay, [])
        return sendable(self._response, turn)


class Filing(Action):
    """Answers with a file, or the range of it that is asked for."""

    verb = "returns"

    def __init__(self, head: Head, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        os.stat(self.path)
        names = {name.lower() for name, _ in head.headers}
        if b"content-type" not in names:
            guessed = mimetypes.guess_type(self.path)[0] or "application/octet-stream"
            head.headers = [*head.headers, (b"Content-Type", guessed.encode("latin-1"))]
        self.head = head

    def respond(self, turn: Turn) -> Response:
        turn.drain()
        turn.begin(self.delay, self.head.interim)
        return sendable(turn.on_thread(self._open, turn), turn)

    def _open(self, turn: Turn) -> Response:
        head = self.head
        file = open(self.path, "rb")  # noqa: SIM115 - closed with the response
        size = os.fstat(file.fileno()).st_size
        response = Response(
            FileWrapper(file, _PIECE),
            status=f"{head.status} {head.reason.decode('latin-1')}",
            headers=[(n.decode("latin-1"), v.decode("latin-1")) for n, v in head.headers],
            direct_passthrough=True,
        )
        response.content_length = size
        if head.status == 200:
            response.last_modified = datetime.datetime.fromtimestamp(
                os.fstat(file.fileno()).st_mtime, datetime.UTC
            )
            response.make_conditional(
                turn.request.environ, accept_ranges=True, complete_length=size
            )
        return response


class Streaming(Action):
    """Answers step by step."""

    verb = "streams"

    def __init__(self, head: Head, steps: t.Sequence[Step]) -> None:
        self.head = head
        self._steps = steps

    def respond(self, turn: Turn) -> Response:
        turn.drain()
        turn.begin(self.delay, self.head.interim)
        return _streamed(self.head, StepsBody(_taken(self._steps, turn.means), self.head.trailers))


class Calling(Action):
    """Answers with what a function returns, called as the router calls endpoints."""

    verb = "calls"

    def __init__(self, function: t.Callable[..., t.Any], variables: t.Iterable[str]) -> None:
        self._function = function
        self._dispatch = SignatureDispatcher()
        self._dispatch.prepare(function, variables)

    def respond(self, turn: Turn) -> Response:
        turn.begin(self.delay, [])
        result = turn.on_thread(self._call, turn)
        if isinstance(result, LazyResponse):
            return result  # e.g. forwarded: its body is on its way
        if result.is_sequence:
            turn.drain()
        return sendable(result, turn)

    def talk(self, turn: Turn) -> None:
        turn.wait(self.delay)
        request = turn.request
        result = turn.on_thread(self._call, turn)
        if not request.is_upgraded() and not request.is_rejected():
            if result is None or result.status_code < 200:
                result = Response(status=403)
            request.reject(result)

    def _call(self, turn: Turn) -> t.Any:
        try:
            return self._dispatch(turn.request, self._function, turn.values)
        except HTTPException as exc:
            return Response.force_type(exc.get_response(turn.request.environ))
        except RoloError:
            raise
        except Exception as exc:
            turn.problem(f": the function raised {type(exc).__name__}: {exc}")
            raise


class Playing(Action):
    """Accepts a websocket and plays a script on it."""

    verb = "plays"

    def __init__(self, steps: t.Sequence[Step], subprotocol: str | None, headers: t.Any) -> None:
        self._steps = steps
        self._subprotocol = subprotocol
        self._headers = headers

    def talk(self, turn: Turn) -> None:
        turn.wait(self.delay)
        subprotocol = self._subprotocol
        if subprotocol is None and turn.record is not None:
            offered = turn.record.subprotocols
            subprotocol = offered[0] if offered else None
        with turn.request.accept(subprotocol or None, self._headers) as websocket:
            played(self._steps, websocket, turn)


class Passing(Action):
    """Sends the request on to an upstream.

    :param handler: of a proxy
    :param hooked: it has hooks, which may block
    """

    verb = "passes"

    def __init__(self, handler: t.Any, *, hooked: bool) -> None:
        self.handler = handler
        self.hooked = hooked

    def respond(self, turn: Turn) -> Response:
        turn.begin(self.delay, [])
        return self._forward(turn)

    def talk(self, turn: Turn) -> None:
        turn.wait(self.delay)
        response = self._forward(turn)
        if not turn.request.is_upgraded() and not turn.request.is_rejected():
            turn.request.reject(response)

    def _forward(self, turn: Turn) -> Response:
        if self.hooked:
            return t.cast(Response, turn.on_thread(self.handler.forward, turn.request))
        return t.cast(Response, self.handler.forward(turn.request))


class Comparing(Passing):
    """Sends the request on, and compares the answer with the recorded one."""

    def __init__(self, handler: t.Any, expect: t.Callable[[t.Any, t.Any], None]) -> None:
        super().__init__(handler, hooked=False)
        self._expect = expect

    def respond(self, turn: Turn) -> Response:
        self._expect(turn.request, turn.request._head)
        return super().respond(turn)

    def talk(self, turn: Turn) -> None:
        self._expect(turn.request, turn.request.socket._downstream.head)
        super().talk(turn)


class Replaying(Action):
    """Answers as recorded.

    :param otherwise: deals with what is not recorded, where the player leaves it to others
    """

    verb = "replays"

    def __init__(self, player: Player, otherwise: Action | None) -> None:
        self._player = player
        self._otherwise = otherwise

    def respond(self, turn: Turn) -> Response:
        response = self._player.play(turn.request)
        if response is not None:
            return response
        if self._otherwise is None:
            return Response("not recorded\n", status=404)
        return self._otherwise.respond(turn)

    def talk(self, turn: Turn) -> None:
        response = self._player.play(turn.request)
        if response is None and self._otherwise is not None:
            self._otherwise.talk(turn)
        elif response is None or response.status_code != 101:
            turn.request.reject(response or Response(status=404))


def sendable(response: WerkzeugResponse, turn: Turn) -> Response:
    """Return ``response`` so that a body that code of the user's makes is made on a thread."""
    if response.is_sequence:
        return t.cast(Response, response)
    body = response.response
    if hasattr(body, "__aiter__"):
        return t.cast(Response, response)
    pieces = body if response.direct_passthrough else response.iter_encoded()
    response.response = ThreadBody(t.cast(t.Any, pieces), *_closing(body, turn))
    return t.cast(Response, response)


def _closing(body: t.Any, turn: Turn) -> tuple[t.Callable[[], None], t.Any, t.Any]:
    """Return the last arguments of a :class:`ThreadBody`."""

    def close() -> None:
        close_it = getattr(body, "close", None)
        if close_it is not None:
            close_it()

    portal = turn.portal
    if portal.context is None:
        portal.context = contextvars.copy_context()
    return close, turn.means.workers, portal


def _streamed(head: Head, body: t.Any) -> Response:
    headers = list(head.headers)
    if head.trailers:
        names = b", ".join(dict.fromkeys(name for name, _ in head.trailers))
        headers += [(b"Transfer-Encoding", b"chunked"), (b"Trailer", names)]
    return LazyResponse(UpstreamAnswer(head.status, head.reason, headers, body, made_here=True))


async def _taken(steps: t.Sequence[Step], means: Means) -> t.AsyncIterator[bytes]:
    for step in steps:
        if piece := await step.piece(means):
            yield piece


async def _slices(body: bytes) -> t.AsyncIterator[bytes]:
    for start in range(0, len(body), _PIECE):
        yield body[start : start + _PIECE]


def _encoded(pieces: t.Iterable[bytes | str]) -> t.Iterator[bytes]:
    for piece in pieces:
        yield piece.encode() if isinstance(piece, str) else piece


async def _encoded_async(pieces: t.AsyncIterable[bytes | str]) -> t.AsyncIterator[bytes]:
    async for piece in pieces:
        yield piece.encode() if isinstance(piece, str) else piece
