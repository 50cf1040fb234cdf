"""One stub: which requests it is for, and what it does with them."""

from __future__ import annotations

import dataclasses
import functools
import threading
import typing as t

from werkzeug.datastructures import Headers

from rolo.faults import Fault, Faults
from rolo.harness.actions import Action, Calling, Passing, Playing, Streaming
from rolo.harness.delays import Delay, checked
from rolo.harness.failing import When, slowness
from rolo.harness.steps import Step, some, stay
from rolo.harness.values import (
    AnswerArguments,
    Fields,
    StreamArguments,
    action_of,
    stream_head,
)
from rolo.matching import RequestPattern
from rolo.matching.seen import WEBSOCKET
from rolo.proxy.hooks.hooks import HookArguments, Hooks

if t.TYPE_CHECKING:
    from rolo.harness.book import Book


@dataclasses.dataclass(slots=True)
class Entry:
    """An action, and how often it is done."""

    action: Action
    times: int | None
    """``None``: as often as it is asked for."""
    exactly: bool = False
    """The test fails unless it was done so often."""
    done: int = 0
    faults: Faults | None = None
    """What goes wrong with it."""


class Stub:
    """What a harness does with the requests of one pattern. Its methods return the stub.

    A stub counts from its first answer on; ``returns`` and the other verbs put theirs in the
    place of what was there, also while requests are under way, and after :meth:`then` behind it.
    """

    def __init__(self, book: Book, pattern: RequestPattern, place: str) -> None:
        self._book = book
        self._mutex = threading.Lock()
        self._entries: list[Entry] = []
        self._appends = False
        self._removed = False
        self._optional = False
        self.pattern = pattern
        self.place = place
        """File and line where it was made."""
        self.count = 0
        """How many requests it has dealt with."""
        self.given_states: dict[str, t.Any] = {}
        self.set_states: dict[str, t.Any] = {}

    # --- what it does

    def returns(self, *given: t.Any, **answer: t.Unpack[AnswerArguments]) -> t.Self:
        """Answer with a status, a value, or both: ``returns(404)``, ``returns({"a": 1})``,
        ``returns(201, {"id": 7})``, ``returns(json=..., headers={...})``.

        :param given: the value is what an endpoint may return: text, bytes, a dict or a list
            (JSON), a model, a response; or a path (the file), a generator (once), a generator
            function (anew for each answer)
        :param answer: see :class:`~rolo.harness.AnswerArguments`
        :raises TypeError, ValueError: this makes no answer; says why
        """
        return self._put(action_of(given, answer))

    def then(self, *given: t.Any, **answer: t.Unpack[AnswerArguments]) -> t.Self:
        """Answer once as was said so far, unless :meth:`times` was, and then as ``given``, as in
        :meth:`returns`. Without arguments the next verb says what comes then. After the last
        answer the stub matches no more, unless it is :meth:`forever`."""
        with self._mutex:
            if not self._entries:
                raise TypeError("then() comes after an answer")
            if self._entries[-1].times is None:
                self._entries[-1].times = 1
        self._appends = True
        return self.returns(*given, **answer) if given or answer else self

    def calls(self, function: t.Callable[..., t.Any]) -> t.Self:
        """Answer with what ``function`` returns. It is called as the router calls endpoints,
        ``function(request, id=3)`` or ``function(request, args)``, with models filled from the
        body, on a thread of its own: it may block. For a websocket it is given the handshake,
        and accepts it. What it raises fails the test; werkzeug's exceptions are answers.
        """
        if not callable(function):
            raise TypeError(f"calls() takes a function, not {function!r}")
        return self._put(Calling(function, self.pattern.rule.variables))

    def streams(self, *steps: Step | bytes | str, **answer: t.Unpack[StreamArguments]) -> t.Self:
        """Answer piece by piece: ``streams(sse("1"), pause(0.1), b"raw", lose())``.

        :param steps: bytes and text (in UTF-8) are pieces
        :param answer: see :class:`~rolo.harness.StreamArguments`
        """
        taken = [some(step) if isinstance(step, bytes | str) else step for step in steps]
        for step in taken:
            if not (isinstance(step, Step) and step.streams):
                raise TypeError(f"{step!r} is no step of a stream")
        return self._put(Streaming(stream_head(taken, answer), taken))

    def plays(
        self, *steps: Step, subprotocol: str | None = None, headers: Fields | None = None
    ) -> t.Self:
        """Accept a websocket and play a script: ``plays(send("hi"), expect("hello"),
        close(4001, "go"))``. After the last step it is closed with 1000.

        :param subprotocol: is chosen; ``None``: the first that the client offers; empty: none
        :param headers: fields of the 101
        """
        if not self._is_websocket():
            raise TypeError("plays() is for websockets: api.websocket(path)")
        for step in steps:
            if not (isinstance(step, Step) and step.talks):
                raise TypeError(f"{step!r} is no step of a websocket")
        fields = None if headers is None else Headers(headers)
        return self._put(Playing(steps, subprotocol, fields))

    def passes(self, upstream: str | None = None) -> t.Self:
        """Send the request on.

        :param upstream: URL; ``None`` for the harness's upstream
        :raises ValueError: there is none
        """
        return self._put(Passing(self._book.handler(upstream), hooked=False))

    def edit(self, hooks: t.Iterable[Hooks] = (), **functions: t.Unpack[HookArguments]) -> t.Self:
        """Change what :meth:`passes`, by the hooks of :mod:`rolo.proxy`:
        ``passes().edit(on_response=brand)``. They may block."""
        with self._mutex:
            entry = self._last()
            if not isinstance(entry.action, Passing):
                raise TypeError("edit() comes after passes()")
            url = entry.action.handler.proxy.forward_base_url
            handler = self._book.handler(url, [*hooks], functions)
            handler.proxy.preserve_host = entry.action.handler.proxy.preserve_host
            edited = Passing(handler, hooked=True)
            edited.delay = entry.action.delay
            entry.action = edited
        return self

    # --- what goes wrong

    def fails(self, *faults: Fault, **when: t.Unpack[When]) -> t.Self:
        """Let faults of :mod:`rolo.faults` happen to the last answer that was said, all
        together: ``returns("x" * 5000).fails(cut(after=1000), every=3)``. Without one, and after
        :meth:`then`, to an empty answer, or a websocket that is accepted.

        :param when: see :class:`~rolo.harness.failing.When`; not given: each time
        """
        if self._appends or not self._entries:
            if self._is_websocket():
                self.plays(stay())
            else:
                self.returns()
        with self._mutex:
            entry = self._last()
            if entry.faults is None:
                entry.faults = Faults(self._book.new_seed())
            entry.faults.add(*faults, **when)
        return self

    def slowed(
        self,
        head: float | None = None,
        rate: str | float | None = None,
        *,
        jitter: float = 0.0,
        **when: t.Unpack[When],
    ) -> t.Self:
        """Let the last answer that was said be slow.

        :param head: seconds by which its head is late
        :param rate: bytes a second at which its body comes, such as ``"10k/s"``
        :param jitter: a share, 0 to 1: by chance so much slower or faster
        """
        return self.fails(*slowness(head, rate, jitter), **when)

    # --- how often and when

    def times(self, count: int) -> t.Self:
        """Do the last thing that was said ``count`` times. The stub then goes on to the next, or
        matches no more; and the test fails if it was not done so often."""
        if count < 1:
            raise ValueError(f"times() takes 1 or more, not {count}; see never()")
        with self._mutex:
            entry = self._last()
            entry.times, entry.exactly = count, True
        return self

    def forever(self) -> t.Self:
        """Do the last thing that was said as often as it is asked for."""
        with self._mutex:
            entry = self._last()
            entry.times, entry.exactly = None, False
        return self

    def optional(self) -> t.Self:
        """The test does not fail if nobody calls it."""
        self._optional = True
        return self

    def delayed(self, delay: Delay) -> t.Self:
        """Hold back the head of the last answer that was said.

        :param delay: seconds, or what they are drawn from: ``between(0.1, 0.5)``,
            ``normal(0.2, 0.05)``, ``lognormal(0.1)``
        """
        with self._mutex:
            self._last().action.delay = checked(delay)
        return self

    def given(self, /, **states: t.Any) -> t.Self:
        """Match only while scenarios are in these states: ``given(cart="empty")``. All begin as
        ``None``."""
        self.given_states = {**self.given_states, **states}
        return self

    def sets(self, /, **states: t.Any) -> t.Self:
        """Put scenarios into these states with each answer: ``sets(cart="full")``."""
        self.set_states = {**self.set_states, **states}
        return self

    # --- its life

    def remove(self) -> None:
        """Take it away; requests that it deals with are finished. May be called again."""
        self._removed = True
        self._book.remove(self)

    def __enter__(self) -> t.Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        """A stub of a ``with`` block is removed at its end."""
        self.remove()

    # --- what the harness asks

    @functools.cached_property
    def name(self) -> str:
        """What it is called in texts."""
        return f"{self.pattern.describe()} [{self.place}]"

    def take(self) -> Entry | None:
        """Return what is to be done with a request, which counts as done; ``None`` if all was
        done."""
        with self._mutex:
            for entry in self._entries:
                if entry.times is None or entry.done < entry.times:
                    entry.done += 1
                    self.count += 1
                    return entry
        return None

    @property
    def answers(self) -> bool:
        """Whether it was given an answer."""
        return bool(self._entries)

    @property
    def spent(self) -> bool:
        """Whether all it was to do is done."""
        return bool(self._entries) and all(
            entry.times is not None and entry.done >= entry.times for entry in self._entries
        )

    def complaint(self) -> str | None:
        """Return what is wrong at the end of a test; ``None`` if nothing is."""
        if not self.answers:
            return f"{self.name} was given no answer"
        if self._optional:
            return None
        if not self.count:
            return f"{self.name} was not called"
        wanted = sum(entry.times or 0 for entry in self._entries if entry.exactly)
        done = sum(entry.done for entry in self._entries if entry.exactly)
        if done < wanted:
            return f"{self.name} was called {done} of {wanted} times"
        return None

    def _put(self, action: Action) -> t.Self:
        with self._mutex:
            entry = Entry(action, 1 if action.once_only or self._appends else None)
            first = not self._entries
            self._entries = [*self._entries, entry] if self._appends else [entry]
            self._appends = False
        if first and not self._removed:
            self._book.add(self)
        return self

    def _last(self) -> Entry:
        if not self._entries:
            raise TypeError("say first what the stub does")
        return self._entries[-1]

    def _is_websocket(self) -> bool:
        return self.pattern.methods is not None and WEBSOCKET in self.pattern.methods

    def __repr__(self) -> str:
        return f"<Stub {self.name}>"
