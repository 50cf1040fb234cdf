"""What a harness does with each request: the stub that matches, else the upstream, else 404."""

from __future__ import annotations

import random
import typing as t

from rolo.bridge.request import BridgeRequest
from rolo.bridge.request_body import RequestBody
from rolo.harness.actions import Action, Passing
from rolo.harness.book import Book, needs_body
from rolo.harness.gates import Gate
from rolo.harness.journal import Journal
from rolo.harness.record import seen_of_head
from rolo.harness.turn import Turn, portal_of
from rolo.matching import Seen
from rolo.portal.workers import WorkerPool
from rolo.request import Request
from rolo.response import Response
from rolo.websocket.request import WebSocketRequest

_MAX_MATCHED = 16 * 1024 * 1024
"""Bytes of a body that patterns are held against; a longer one counts as cut."""
_THREADS = 64
_GRACE = 0.02
"""Seconds that threads get to end once what they wait for is gone."""


class Answering:
    """The application that the server of a harness serves; a
    :class:`~rolo.bridge.handlers.Process`. It runs in greenlets of the loop."""

    def __init__(
        self,
        book: Book,
        journal: Journal,
        rng: random.Random,
        gate: Gate,
        timeout: float,
    ) -> None:
        self._book = book
        self._journal = journal
        self.rng = rng
        self.gate = gate
        self.timeout = timeout
        self.otherwise: Action | None = None
        """Deals with what no stub matches; ``None``: it is answered 404 and is a problem."""
        self.workers = WorkerPool(_THREADS, "rolo-stub")
        self.problem = book.problem

    def process(self, request: Request, response: Response) -> None:
        """Answer ``request``."""
        request = t.cast(BridgeRequest, request)
        head, body = request._head, request._body
        seen = seen_of_head(head, websocket=False)
        candidates = self._book.candidates(seen)
        if not body.is_empty and any(map(needs_body, candidates)):
            data, cut = request._portal.call(_beginning(body))
            seen = seen_of_head(head, False, data, cut=cut)
        turn, action = self._turn(request, seen, candidates)
        if action is None:
            action = self.otherwise
        if action is not None:
            response.update_from(action.respond(turn))
            return
        turn.drain()
        if not body.is_empty and not seen.data and turn.record is not None:
            seen = turn.record.seen
        response.update_from(self._missed(turn, seen))

    def accept(self, request: WebSocketRequest) -> None:
        """Answer a websocket's handshake, and talk on it."""
        try:
            self._accept(request)
        except Exception as exc:
            request.fail(exc)
            raise

    def _accept(self, request: WebSocketRequest) -> None:
        seen = seen_of_head(_head_of(request), websocket=True)
        turn, action = self._turn(request, seen, self._book.candidates(seen))
        if action is None:
            action = self.otherwise
        if action is not None:
            action.talk(turn)
        else:
            request.reject(self._missed(turn, seen))

    def close(self) -> None:
        """Let the threads end; those that are stuck are left behind."""
        self.workers.shutdown(wait=True, cancel_futures=True, timeout=_GRACE)

    def _turn(self, request: t.Any, seen: Seen, candidates: t.Any) -> tuple[Turn, Action | None]:
        head = request._head if isinstance(request, BridgeRequest) else _head_of(request)
        record = self._journal.of_head(head)
        taken = self._book.take(candidates, seen)
        portal = portal_of(request)
        if taken is None:
            passes = isinstance(self.otherwise, Passing)
            if record is not None:
                record.fate = "sent on" if passes else "matched no stub"
            return Turn(request, portal, self, "", {}, record), None
        stub, action, match = taken
        if record is not None:
            record.stub = stub
            record.fate = f"by {stub.name}"
        return Turn(request, portal, self, stub.name, match.values, record), action

    def _missed(self, turn: Turn, seen: Seen) -> Response:
        text = self._book.miss(seen)
        self._book.problem(text)
        return Response(text, status=404, mimetype="text/plain")


def _head_of(request: t.Any) -> t.Any:
    return request.socket._downstream.head


async def _beginning(body: RequestBody) -> tuple[bytes, bool]:
    """Return the body, or the beginning of it, and whether it goes on. Whoever reads it later
    begins at its beginning all the same."""
    body.keep()
    pieces, size = [], 0
    while size <= _MAX_MATCHED and (piece := await body.piece_at(size)):
        pieces.append(piece)
        size += len(piece)
    data = b"".join(pieces)
    return data[:_MAX_MATCHED], len(data) > _MAX_MATCHED
