"""What a harness does with each request: the stub that matches, else the upstream, else 404."""

from __future__ import annotations

import random
import typing as t

from rolo.bridge.downstream import RequestHead
from rolo.bridge.ready import ReadyAnswer
from rolo.bridge.request import BridgeRequest
from rolo.bridge.request_body import RequestBody
from rolo.faults import Faults
from rolo.har.pace import Gate
from rolo.harness.actions import Action, Returning
from rolo.harness.book import Book
from rolo.harness.conditions import needs_body
from rolo.harness.journal import Journal
from rolo.harness.record import seen_of_head
from rolo.harness.stub import Stub
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
        faults: Faults,
    ) -> None:
        self._book = book
        self._journal = journal
        self.rng = rng
        self.gate = gate
        self.timeout = timeout
        self.faults = faults
        """What goes wrong with whatever comes."""
        self.stubbed = True
        """Whether stubs are asked."""
        self.otherwise: Action | None = None
        """Deals with what no stub matches; ``None``: it is answered 404 and is a problem."""
        self.fate = "matched no stub"
        """What is said of that, in words."""
        self.workers = WorkerPool(_THREADS, "rolo-stub")
        self.problem = book.problem

    def ready_answer(self, head: RequestHead) -> ReadyAnswer | None:
        """Return the answer to a request without a body if a stub has nothing to do but to
        send it; ``None`` leaves it to :meth:`process`, which goes on with the same stub."""
        record = self._journal.of_head(head)
        if not self.stubbed or self.faults.rules or record is None:
            return None
        seen = seen_of_head(head, websocket=False)
        taken = self._book.take(self._book.candidates(seen), seen)
        if taken is None:
            return None
        stub, entry, _ = taken
        action = entry.action
        if entry.faults is not None or not isinstance(action, Returning) or not action.ready:
            record.taken = taken
            return None
        record.stub = stub
        return action.answer(head.method)

    def process(self, request: Request, response: Response) -> None:
        """Answer ``request``."""
        response.update_from(self._answer(t.cast(BridgeRequest, request)))

    def accept(self, request: WebSocketRequest) -> None:
        """Answer a websocket's handshake, and talk on it."""
        try:
            self._talk(request)
        except Exception as exc:
            request.fail(exc)
            raise

    def close(self) -> None:
        """Let the threads end; those that are stuck are left behind."""
        self.workers.shutdown(wait=True, cancel_futures=True, timeout=_GRACE)

    def _answer(self, request: BridgeRequest) -> Response:
        head, body = request._head, request._body
        seen = seen_of_head(head, websocket=False)
        candidates = self._book.candidates(seen) if self.stubbed else []
        if not body.is_empty and any(needs_body(stub.pattern) for stub in candidates):
            data, cut = request._portal.call(_beginning(body))
            seen = seen_of_head(head, False, data, cut=cut)
        turn, action = self._turn(request, request._head, seen, candidates)
        spoilt = turn.spoil()
        if spoilt is not None:
            return spoilt
        if action is not None:
            return action.respond(turn)
        turn.drain()
        if not body.is_empty and not seen.data and turn.record is not None:
            seen = turn.record.seen
        return self._missed(seen)

    def _talk(self, request: WebSocketRequest) -> None:
        head = t.cast(t.Any, request.socket)._downstream.head
        seen = seen_of_head(head, websocket=True)
        candidates = self._book.candidates(seen) if self.stubbed else []
        turn, action = self._turn(request, head, seen, candidates)
        spoilt = turn.spoil()
        if spoilt is not None:
            request.reject(spoilt)
        elif action is not None:
            action.talk(turn)
        else:
            request.reject(self._missed(seen))

    def _turn(
        self, request: t.Any, head: RequestHead, seen: Seen, candidates: list[Stub]
    ) -> tuple[Turn, Action | None]:
        """Decide who answers."""
        record = self._journal.of_head(head)
        if record is not None and record.taken is not None:
            taken, record.taken = record.taken, None
        else:
            taken = self._book.take(candidates, seen)
        turn = Turn(request, portal_of(request), self, record)
        if self.faults.rules:
            turn.shots = self.faults.shots(request, "down")
        if taken is None:
            if record is not None:
                record.otherwise = self.fate
            return turn, self.otherwise
        stub, entry, match = taken
        turn.stub, turn.values = stub, match.values
        if entry.faults is not None:
            turn.shots += entry.faults.shots(request, "down")
        if record is not None:
            record.stub = stub
        return turn, entry.action

    def _missed(self, seen: Seen) -> Response:
        text = self._book.miss(seen)
        self._book.problem(text)
        return Response(text, status=404, mimetype="text/plain")


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
