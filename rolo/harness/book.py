"""All stubs of a harness, the states of its scenarios, and what it has to complain about."""

from __future__ import annotations

import random
import threading
import typing as t

from rolo.harness.stub import Entry, Stub
from rolo.matching import Index, Match, Seen, miss_report
from rolo.matching.pattern import RequestPattern
from rolo.proxy.handler import ProxyHandler
from rolo.proxy.hooks.hooks import Hooks

_MAX_PROBLEMS = 20
"""Texts of problems that are kept; more are counted."""


class Upstreams(t.Protocol):
    """Where stubs that pass get what passes for them."""

    def handler(
        self,
        url: str | None,
        hooks: list[Hooks] | None = None,
        functions: t.Any = None,
    ) -> ProxyHandler:
        """Return a handler that forwards to ``url``, ``None`` for the harness's upstream.

        :raises ValueError: there is none
        """


class Book:
    """The stubs. They may be changed while requests are dealt with."""

    def __init__(self, upstreams: Upstreams, seed: int) -> None:
        self._seeds = random.Random(seed)
        self._index: Index[Stub] = Index()
        self._upstreams = upstreams
        self._mutex = threading.Lock()
        self._made: list[Stub] = []
        self.handler = upstreams.handler
        self.states: dict[str, t.Any] = {}
        """Of the scenarios."""
        self._problems: list[str] = []
        self._more_problems = 0

    def make(self, pattern: RequestPattern, place: str) -> Stub:
        """Return a new stub, which is asked from its first answer on."""
        stub = Stub(self, pattern, place)
        with self._mutex:
            self._made.append(stub)
        return stub

    def new_seed(self) -> int:
        """Return a seed for what goes wrong with an answer: the same in the same order."""
        return self._seeds.getrandbits(32)

    def add(self, stub: Stub) -> None:
        """Ask ``stub`` from now on."""
        self._index.add(stub.pattern, stub)

    def remove(self, stub: Stub) -> None:
        """Do not ask ``stub`` any more, nor complain of it."""
        with self._mutex:
            if stub in self._made:
                self._made.remove(stub)
        try:
            self._index.remove(stub.pattern, stub)
        except KeyError:
            pass  # it was given no answer, or is removed already

    def stubs(self) -> list[Stub]:
        """Return them in the order in which they were made."""
        with self._mutex:
            return list(self._made)

    def clear(self) -> None:
        """Remove all stubs, states and problems."""
        for stub in self.stubs():
            self.remove(stub)
        with self._mutex:
            self.states = {}
            self._problems, self._more_problems = [], 0

    # --- for each request

    def candidates(self, seen: Seen) -> list[Stub]:
        """Return the stubs whose path may be that of ``seen``, the most specific first."""
        return [stub for _, stub in self._index.candidates(seen)]

    def take(self, candidates: t.Iterable[Stub], seen: Seen) -> tuple[Stub, Entry, Match] | None:
        """Return the first of ``candidates`` that ``seen`` matches, what it does with this one,
        and the path's values."""
        for stub in candidates:
            match = stub.pattern.matched(seen)
            if match is None:
                continue
            if not stub.given_states and not stub.set_states:
                entry = stub.take()
            else:
                with self._mutex:
                    entry = stub.take() if self._in_states(stub) else None
                    if entry is not None:
                        self.states.update(stub.set_states)
            if entry is not None:
                return stub, entry, match
        return None

    def _in_states(self, stub: Stub) -> bool:
        return all(self.states.get(name) == state for name, state in stub.given_states.items())

    def miss(self, seen: Seen) -> str:
        """Return why ``seen`` matches no stub."""
        stubs = self.stubs()
        text = miss_report(seen, [(stub.place, stub.pattern) for stub in stubs])
        for stub in stubs:
            if stub.pattern.matched(seen) is None:
                continue
            if stub.spent:
                text += (
                    f"\n{stub.name}\n     matches, but was called {_times(stub.count)} already\n"
                )
            elif not self._in_states(stub):
                for name, state in stub.given_states.items():
                    if (now := self.states.get(name)) != state:
                        text += f"\n{stub.name}\n     matches, but only "
                        text += f"with {name}={state!r}, and it is {now!r}\n"
        if len(stubs) > 1:
            rules = dict.fromkeys(stub.pattern.precedence for stub in stubs)
            text += "".join(f"\nOf stubs that match, {rule}.\n" for rule in rules)
        return text

    # --- what is wrong

    def problem(self, text: str) -> None:
        """Note something that fails the test at its end. Any thread."""
        with self._mutex:
            if len(self._problems) < _MAX_PROBLEMS:
                self._problems.append(text)
            else:
                self._more_problems += 1

    def problems(self) -> list[str]:
        """Return what is wrong so far."""
        with self._mutex:
            found = list(self._problems)
            if self._more_problems:
                found.append(f"and {self._more_problems} more problems of this kind")
        return found

    def forgive(self) -> None:
        """Forget the problems so far."""
        with self._mutex:
            self._problems, self._more_problems = [], 0

    def unused(self) -> list[str]:
        """Return which stubs were not called as often as they say."""
        return [text for stub in self.stubs() if (text := stub.complaint()) is not None]


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
