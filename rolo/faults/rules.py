"""When faults happen: rules that may change while requests run."""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import typing as t

from rolo.bridge.request import BridgeRequest
from rolo.bridge.websocket import PortalWebSocketAdapter
from rolo.errors import FaultUnavailable
from rolo.faults.answers import AnswerSpoiler, check_faults, check_wire
from rolo.faults.breaks import refuse
from rolo.faults.fault import Direction, Fault, Shot
from rolo.faults.scope import Scope
from rolo.faults.websocket import SpoiledClient, check_leg
from rolo.matching import RequestPattern, Seen
from rolo.matching.pattern import UNSET
from rolo.matching.seen import WEBSOCKET
from rolo.portal.portal import Portal
from rolo.request import Request, get_raw_path
from rolo.response import Response
from rolo.websocket.request import WebSocketRequest

if t.TYPE_CHECKING:
    from rolo.bridge.downstream import WebSocketDownstream
    from rolo.faults.hooks import FaultHooks
    from rolo.gateway.chain import HandlerChain, RequestContext

LOG = logging.getLogger("rolo.faults")

AnyRequest = Request | WebSocketRequest
When = t.Callable[[t.Any], object] | RequestPattern | str
"""Which requests a rule is about: a pattern, a path in the syntax of the router's rules (of
requests and websockets), or a function of the request (a :class:`~rolo.Request` or a
:class:`~rolo.websocket.WebSocketRequest`) that says so."""


class Rule:
    """Some faults, and when they happen. Made by :meth:`Faults.add`."""

    def __init__(
        self,
        owner: Faults,
        number: int,
        faults: tuple[Fault, ...],
        when: When | None,
        direction: Direction,
        scope: Scope,
    ) -> None:
        self.faults = faults
        self.when = when
        self._about = _about(when)
        self.direction: Direction = direction
        self.scope = scope
        self.seen = 0
        """Requests that it was about so far."""
        self.hits = 0
        """Of these, those to which its faults have happened."""
        self._owner = owner
        self._number = number
        self._lock = threading.Lock()

    def remove(self) -> None:
        """Let nothing more happen. Requests that are under way keep their faults."""
        self._owner._remove(self)

    def shots(self, request: AnyRequest) -> tuple[Shot, ...]:
        """Return what is to happen to ``request``, which counts as one more.

        What is drawn for the nth request of a rule depends on the seed, the number of the rule
        and n, and on nothing else.
        """
        kind = isinstance(request, WebSocketRequest)
        faults = [fault for fault in self.faults if (fault.websockets if kind else fault.http)]
        if not faults or not self._about(request):
            return ()
        with self._lock:
            self.seen += 1
            seed = f"{self._owner.seed}/{self._number}/{self.seen}"
            if not self.scope.hits(self.seen, random.Random(seed)):
                return ()
            self.hits += 1
        return tuple(Shot(fault, f"{seed}/{at}") for at, fault in enumerate(faults))

    def __repr__(self) -> str:
        return f"<Rule {self._number} {self.direction} {self.faults} hits={self.hits}>"


class Faults:
    """Lets requests fail, by rules. As a handler, in front of those that answer::

        faults = Faults(seed=1)
        Gateway(request_handlers=[faults.handler, router_handler])

    or as hooks of a proxy, which see both ways::

        Proxy("http://localhost:8080", hooks=[faults.hooks])

    Any thread may add and remove rules while requests run.

    :param seed: of all that is left to chance; ``None`` draws one, see :attr:`seed`
    """

    def __init__(self, seed: int | None = None) -> None:
        self.seed: int = random.getrandbits(32) if seed is None else seed
        """The same seed, and rules added in the same order, repeat the same faults: the nth
        request that a rule is about always has the same fate, whatever else goes on."""
        self.rules: tuple[Rule, ...] = ()
        """In the order in which they were added."""
        self._count = 0
        self._lock = threading.Lock()
        self._hooks: FaultHooks | None = None

    def add(
        self,
        *faults: Fault,
        when: When | None = None,
        direction: Direction = "down",
        every: int | None = None,
        first: int | None = None,
        after: int = 0,
        probability: float | None = None,
        flapping: tuple[int, int] | None = None,
    ) -> Rule:
        """Let faults happen to requests from now on.

        Requests that the rule is about are counted; which of them the faults happen to, the
        other parameters say, all of which have to hold.

        :param faults: several happen together. Of answers that say it all (``refuse``,
            ``status``), by whichever rule, the first counts
        :param when: which requests the rule is about: a
            :class:`~rolo.matching.RequestPattern`, a path (``"/items/<int:id>"``), or a function
            that is given the request; ``None`` for all
        :param direction: ``down`` spoils answers, ``up`` requests on their way to an upstream,
            which only :attr:`hooks` see
        :param every: each so-manieth
        :param first: only so many
        :param after: none of the first so many; ``every`` and ``first`` count behind them
        :param probability: by chance, 0 to 1
        :param flapping: so many well, then so many not, again and again
        :raises ValueError: a fault that does not happen in this direction, or a number that
            makes no sense
        :raises TypeError: something that is no fault
        """
        if not faults:
            raise TypeError("a rule wants a fault")
        check_faults(faults, direction)
        scope = Scope(every, first, after, probability, flapping)
        with self._lock:
            self._count += 1
            rule = Rule(self, self._count, faults, when, direction, scope)
            self.rules = (*self.rules, rule)
        return rule

    @contextlib.contextmanager
    def outage(
        self, *faults: Fault, when: When | None = None, direction: Direction = "down"
    ) -> t.Iterator[Rule]:
        """Let faults happen to all requests (of ``when``) that begin within a ``with`` block.

        :param faults: none for :func:`~rolo.faults.refuse`
        """
        rule = self.add(*(faults or (refuse(),)), when=when, direction=direction)
        try:
            yield rule
        finally:
            rule.remove()

    def clear(self) -> None:
        """Remove all rules."""
        with self._lock:
            self.rules = ()

    def _remove(self, rule: Rule) -> None:
        with self._lock:
            self.rules = tuple(each for each in self.rules if each is not rule)

    def shots(self, request: AnyRequest, direction: Direction) -> tuple[Shot, ...]:
        """Return what is to happen to ``request``, which each rule counts: downwards once,
        upwards for each try."""
        if direction == "down":
            # The handler may be in front of the hooks, of the same faults.
            seen_by = request.__dict__.setdefault("_seen_by_faults", set())
            if id(self) in seen_by:
                return ()
            seen_by.add(id(self))
        found: list[Shot] = []
        for rule in self.rules:
            if rule.direction == direction:
                shots = rule.shots(request)
                if shots:
                    LOG.info("%s: %s", line_of(request), ", ".join(repr(s.fault) for s in shots))
                    found += shots
        return tuple(found)

    def handler(
        self, chain: HandlerChain[t.Any], context: RequestContext, response: Response
    ) -> None:
        """A request handler that spoils what those behind it answer."""
        shots = self.shots(context.request, "down")
        answer = spoil_by(context.request, shots) if shots else None
        if answer is not None:
            response.update_from(answer)
            chain.stop()

    @property
    def hooks(self) -> FaultHooks:
        """Hooks for any number of proxies."""
        if self._hooks is None:
            from rolo.faults.hooks import FaultHooks

            self._hooks = FaultHooks(self)
        return self._hooks


def _about(when: When | None) -> t.Callable[[AnyRequest], object]:
    """Return the function that says whether a rule is about a request."""
    if when is None:
        return lambda request: True
    if isinstance(when, str):
        patterns = [RequestPattern(None, when), RequestPattern(WEBSOCKET, when)]
        return lambda request: any(each.matched(seen_of(request)) for each in patterns)
    if isinstance(when, RequestPattern):
        pattern = when
        whole = pattern.json is not UNSET or any(
            each is not None for each in (pattern.form, pattern.parts, pattern.body, pattern.when)
        )
        return lambda request: pattern.matched(seen_of(request, whole=whole))
    return when


def seen_of(request: AnyRequest, *, whole: bool = False) -> Seen:
    """Return what a pattern looks at.

    :param whole: its body as well, which is read then
    """
    body = request.get_data() if whole and isinstance(request, Request) else b""
    return Seen.of(t.cast(Request, request), body)


def spoil(request: AnyRequest, *faults: Fault, seed: object = None) -> Response | None:
    """Let the answer to ``request`` fail, whatever it will be; of a websocket that is not
    accepted yet, what is sent to its client. For handlers: called in front of whoever answers.

    :param seed: what the numbers are drawn from; ``None`` for others each time
    :return: the answer to send, if there is to be no other
    :raises FaultUnavailable: the server of this request cannot do it
    :raises ValueError: one of the faults does not concern answers
    """
    check_faults(faults, "down")
    if seed is None:
        seed = random.getrandbits(64)
    return spoil_by(request, tuple(Shot(each, f"{seed}/{at}") for at, each in enumerate(faults)))


def spoil_by(request: AnyRequest, shots: tuple[Shot, ...]) -> Response | None:
    """As :func:`spoil`."""
    for shot in shots:
        answer = shot.fault.answer(shot.draw())
        if answer is not None:
            return answer
    if isinstance(request, WebSocketRequest):
        _spoil_websocket(request, shots)
    else:
        if isinstance(request, BridgeRequest):
            for shot in shots:
                check_wire(shot.fault, request._body.downstream)
        before = request._spoiler
        if isinstance(before, AnswerSpoiler):
            shots = before.shots + shots
        request._spoiler = AnswerSpoiler(shots)
    refusing = any(shot.fault.first for shot in shots)
    return Response(b"", status=503) if refusing else None


def _spoil_websocket(request: WebSocketRequest, shots: tuple[Shot, ...]) -> None:
    adapter = request.socket
    if not isinstance(adapter, PortalWebSocketAdapter):
        raise FaultUnavailable(f"the websockets of {type(adapter).__name__} cannot be spoilt")

    def spoiled(downstream: WebSocketDownstream, portal: Portal) -> WebSocketDownstream:
        check_leg(shots, downstream.wire)
        return SpoiledClient(downstream, shots, portal.loop_scope)

    adapter._put_in_front(spoiled)


def line_of(request: AnyRequest) -> str:
    """What a log calls ``request``; a client must not write lines of its own into it."""
    return ascii(f"{request.method} {get_raw_path(request)}")[1:-1]
