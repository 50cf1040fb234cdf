"""Answers requests from a recording."""

from __future__ import annotations

import dataclasses
import logging
import threading
import typing as t

from werkzeug.datastructures import Headers

from rolo.bridge.lazy_response import LazyResponse, UpstreamAnswer
from rolo.errors import printable
from rolo.gateway.chain import HandlerChain, RequestContext
from rolo.har.model import Answer, Entry, Interim, Recording, first
from rolo.har.no_answer import no_answer
from rolo.har.pace import Gate, Pace, PaceLike, check_pace, new_pace
from rolo.har.patterns import Match, check_match, pattern_of, same_path
from rolo.har.recorder import REPLAYED
from rolo.har.replayed_body import ReplayedBody
from rolo.har.replayed_websocket import ReplayedWebSocket
from rolo.matching import Index, RequestPattern, Seen, miss_report
from rolo.proxy.client import portal_of
from rolo.proxy.proxy import interim_relay
from rolo.request import Request
from rolo.response import Response
from rolo.websocket.request import WebSocketRequest
from rolo.wire.fields import RawHeaders

LOG = logging.getLogger(__name__)

DEFAULT_MATCH = ("method", "path", "query")
_BODY = ("body", "json", "form")
_OF_HANDSHAKES = frozenset(
    b"connection upgrade sec-websocket-accept sec-websocket-extensions sec-websocket-protocol "
    b"content-length transfer-encoding".split()
)

Missing = t.Literal["fail", "pass"]
Repeat = t.Literal["never", "last", "again"]


class Player:
    """Answers requests and websockets from ``recording``; a handler for any gateway, or an
    endpoint of a router.

    ::

        player = Player(read_har("orders.har"))
        with serve(Gateway([player])) as server:
            ...
        player.check()

    Requests that are the same in what ``match`` names get the recorded answers in their
    order, each once.

    :param match: what makes requests the same: ``method``, ``host``, ``path``, ``query``,
        ``body`` (JSON and forms by what they say), or a part: ``query:page``, ``header:X-Tenant``,
        ``cookie:lang``, ``json:$.user.id``, ``form:name``. What was redacted may be anything.
    :param pace: ``"recorded"``: each piece, message and end when it came, as counted from the
        request; a factor: these times multiplied; ``"at_once"``; ``"gated"``: each piece and
        message waits for :meth:`step`
    :param missing: what becomes of a request that is not in the recording: ``"fail"`` answers
        404 and says what the nearest are, ``"pass"`` leaves it to the handlers behind
    :param repeat: what is answered once all recorded answers have been given: ``"never"`` means
        that the request is not in the recording, ``"last"`` gives the last one again, ``"again"``
        begins anew
    :raises ValueError: ``match`` or ``pace`` are none
    """

    def __init__(
        self,
        recording: Recording,
        *,
        match: Match = DEFAULT_MATCH,
        pace: PaceLike = "recorded",
        missing: Missing = "fail",
        repeat: Repeat = "never",
    ) -> None:
        if missing not in t.get_args(Missing) or repeat not in t.get_args(Repeat):
            raise ValueError(f"missing={missing!r}, repeat={repeat!r}: not known")
        self.recording = recording
        self.match = check_match(match)
        self.pace = check_pace(pace)
        self.missing = missing
        self.repeat = repeat
        self._reads_body = any(name.partition(":")[0] in _BODY for name in self.match)
        self._reads_fields = any(each.startswith(("header:", "cookie:")) for each in self.match)
        self._gate = Gate()
        self._lock = threading.Lock()
        self._problems: list[str] = []
        self._index: Index[_Answers] = Index()
        self._fill()

    def _fill(self) -> None:
        groups: dict[t.Any, _Answers] = {}
        for number, entry in enumerate(self.recording):
            key: t.Any = (entry.method, entry.url, _body(entry) if self._reads_body else None)
            if self._reads_fields:
                key = number  # patterns tell them apart, and order those that are the same
            answers = groups.get(key)
            if answers is None:
                answers = groups[key] = _Answers(pattern_of(entry, self.match))
                self._index.add(answers.pattern, answers)
            answers.entries.append((number, entry))

    # --- what tests ask

    @property
    def problems(self) -> list[str]:
        """What was asked that is not in the recording, and what clients of websockets did
        otherwise; texts of one or more lines."""
        with self._lock:
            return list(self._problems)

    @property
    def unused(self) -> list[Entry]:
        """The entries that nobody has asked for, in their order."""
        with self._lock:
            left = [each for _, answers in self._index for each in answers.entries[answers.given :]]
        return [entry for _, entry in sorted(left, key=lambda each: each[0])]

    def check(self) -> None:
        """Make sure that what was asked is what was recorded, all of it.

        :raises AssertionError: it is not; says what is missing on either side
        """
        texts = self.problems
        unused = self.unused
        if unused:
            lines = [f"{len(unused)} recorded requests were not made:"]
            texts.append("\n".join([*lines, *(f"  {entry}" for entry in unused)]))
        if texts:
            raise AssertionError("\n\n".join(text.rstrip() for text in texts))

    def step(self, count: int = 1) -> None:
        """Let ``count`` pieces or messages pass, of a ``gated`` replay: those that wait, the
        first first, and then those that will."""
        self._gate.step(count)

    def open(self) -> None:
        """Let everything pass from now on that waits for :meth:`step`."""
        self._gate.open()

    # --- what gateways ask

    @t.overload
    def __call__(self, request: Request, **kwargs: t.Any) -> Response: ...

    @t.overload
    def __call__(
        self, request: HandlerChain[t.Any], context: RequestContext, response: Response
    ) -> None: ...

    def __call__(self, request: t.Any, *args: t.Any, **kwargs: t.Any) -> Response | None:
        if isinstance(request, HandlerChain):
            self._handle(request, *args, **kwargs)
            return None
        return self.play(request) or Response(status=404)

    def _handle(
        self, chain: HandlerChain[t.Any], context: RequestContext, response: Response
    ) -> None:
        answer = self.play(context.request)
        if answer is not None:
            response.update_from(answer)
            chain.stop()

    def play(self, request: Request | WebSocketRequest) -> Response | None:
        """Return the recorded answer to ``request``, ``None`` if there is none and that is left
        to others. A websocket is accepted, and replayed from when the handler returns; the
        answer then has status 101.
        """
        pace = new_pace(self.pace, self._gate)
        seen = self._seen(request)
        entry = self._choose(seen)
        if entry is None:
            if self.missing == "pass":
                return None
            return self._failed(self._miss(seen))
        if (gap := _gap(entry)) is not None:
            return self._failed(f"{seen.method} {seen.target} cannot be replayed: {gap}\n")
        _mark(request)
        if isinstance(request, WebSocketRequest):
            return self._play_websocket(request, entry, pace)
        return self._play(request, entry, pace)

    def expect(self, request: Request | WebSocketRequest) -> Entry | None:
        """Return what is recorded for ``request``, which counts as asked for, to compare with
        what it is answered; ``None`` if it is not recorded, which is a problem."""
        seen = self._seen(request)
        entry = self._choose(seen)
        if entry is None:
            self._report(self._miss(seen))
        return entry

    def _seen(self, request: Request | WebSocketRequest) -> Seen:
        if self._reads_body and not isinstance(request, WebSocketRequest):
            # Kept, so that handlers behind can read it, too.
            return Seen.of(request, request.get_data(cache=True))
        return Seen.of(t.cast(Request, request))

    def _choose(self, seen: Seen) -> Entry | None:
        found = [
            answers
            for pattern, answers in self._index.candidates(seen)
            if pattern.matched(seen) is not None
            and ("path" not in self.match or same_path(answers.entries[0][1], seen))
        ]
        # A recorded GET will do for HEAD, but not in the place of a recorded HEAD.
        exact = [each for each in found if each.entries[0][1].method == seen.method]
        with self._lock:
            for choice in (exact, found):
                fresh = [each for each in choice if each.given < len(each.entries)]
                if fresh:
                    return min(fresh, key=lambda each: each.next_number).take()
            if not found or self.repeat == "never":
                return None
            answers = (exact or found)[-1]
            return answers.last() if self.repeat == "last" else answers.again()

    def _miss(self, seen: Seen) -> str:
        pairs = [
            (f"entry {answers.entries[0][0] + 1}", pattern) for pattern, answers in self._index
        ]
        given = sum(
            len(answers.entries)
            for pattern, answers in self._index
            if pattern.matched(seen) is not None
        )
        if given:
            times = "once" if given == 1 else f"{given} times"
            return f"{seen.method} {seen.target} was recorded {times}, and is asked once more.\n"
        return miss_report(seen, pairs, title="Not recorded:", kind="recorded request")

    def _failed(self, problem: str) -> Response:
        self._report(problem)
        return Response(problem, status=404, content_type="text/plain; charset=utf-8")

    def _report(self, problem: str) -> None:
        LOG.warning("%s", printable(problem.partition("\n")[0]))
        with self._lock:
            self._problems.append(problem)

    # --- HTTP

    def _play(self, request: Request, entry: Entry, pace: Pace) -> Response:
        if not self._reads_body:
            _drain(request)
        portal = portal_of(request)
        relay = interim_relay(request)
        for interim in entry.interims:
            pace.call(portal, pace.head(interim.at))
            if relay is not None and portal is not None:
                portal.call(_sent(relay, interim))
        answer = entry.answer
        pace.call(portal, pace.head(entry.ended if answer is None else answer.at))
        if answer is None:
            return no_answer()
        body = ReplayedBody(entry, answer, pace)
        headers = _headers(answer, request.method, complete=not body.broken)
        return LazyResponse(
            UpstreamAnswer(
                answer.status,
                answer.reason.encode("latin-1"),
                headers,
                body.blocking() if portal is None else body,
            )
        )

    # --- websockets

    def _play_websocket(self, request: WebSocketRequest, entry: Entry, pace: Pace) -> Response:
        portal = portal_of(request)
        answer = entry.answer
        pace.call(portal, pace.head(0.0 if answer is None else answer.at))
        if entry.messages is None:
            if answer is None:
                return no_answer()
            headers = _headers(answer, "GET", complete=True)
            body = b"" if answer.body is None else answer.body.read()
            return LazyResponse(
                UpstreamAnswer(answer.status, answer.reason.encode("latin-1"), headers, [body])
            )
        fields = [] if answer is None else answer.headers
        request.hand_over(
            ReplayedWebSocket(entry, pace, self._report),
            first(fields, "sec-websocket-protocol"),
            Headers(
                [
                    (name, value)
                    for name, value in fields
                    if name.lower().encode("latin-1") not in _OF_HANDSHAKES
                ]
            ),
        )
        return Response(status=101)


@dataclasses.dataclass(slots=True, eq=False)
class _Answers:
    """The entries of requests that are the same, and how many of them have been given."""

    pattern: RequestPattern
    entries: list[tuple[int, Entry]] = dataclasses.field(default_factory=list)
    given: int = 0
    at: int = 0

    @property
    def next_number(self) -> int:
        return self.entries[self.given][0]

    def take(self) -> Entry:
        self.given += 1
        return self.entries[self.given - 1][1]

    def last(self) -> Entry:
        return self.entries[-1][1]

    def again(self) -> Entry:
        self.at += 1
        return self.entries[(self.at - 1) % len(self.entries)][1]


def _body(entry: Entry) -> bytes | None:
    return None if entry.body is None else entry.body.read()


def _gap(entry: Entry) -> str | None:
    """Return why ``entry`` cannot be replayed, ``None`` if it can."""
    if entry.missed:
        return entry.comment or "the recorder missed a part of it"
    if entry.answer is not None and entry.answer.body is None:
        return entry.comment or "the recording has no body"
    return None


def _drain(request: Request) -> None:
    """Read what the client sends, which it may want to have sent before it reads."""
    stream = request.environ.get("wsgi.input")
    while stream is not None and stream.read(64 * 1024):
        pass


async def _sent(relay: t.Any, interim: Interim) -> None:
    await relay(interim.status, _raw(interim.headers))


def _mark(request: t.Any) -> None:
    """Tell recorders that the answer is none to record."""
    if isinstance(request, WebSocketRequest):
        head = getattr(getattr(request.socket, "_downstream", None), "head", None)
    else:
        head = getattr(request, "_head", None)
    if head is not None:
        head.extensions[REPLAYED] = True


def _headers(answer: Answer, method: str, *, complete: bool) -> RawHeaders:
    """Return the fields to send: those that were recorded, but where they would say something
    wrong about the body that is sent."""
    body = answer.body
    bodiless = method == "HEAD" or answer.status in (204, 304)
    headers = answer.headers
    if answer.is_decoded:
        headers = [field for field in headers if field[0].lower() != "content-encoding"]
    coding = first(headers, "transfer-encoding")
    if coding is not None and coding.lower() != "chunked":
        headers = [field for field in headers if field[0].lower() != "transfer-encoding"]
    length = first(headers, "content-length")
    if length is not None and body is not None and complete and not bodiless:
        headers = [
            (name, str(body.size) if name.lower() == "content-length" else value)
            for name, value in headers
        ]
    return _raw(headers)


def _raw(fields: t.Iterable[tuple[str, str]]) -> RawHeaders:
    return [(name.encode("latin-1"), _latin_1(value)) for name, value in fields]


def _latin_1(value: str) -> bytes:
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:  # a browser has decoded it
        return value.encode()
