"""Many patterns, and those of them that a request can match, without asking each."""

from __future__ import annotations

import bisect
import itertools
import threading
import typing as t

from rolo.matching.paths import bare_forms
from rolo.matching.pattern import RequestPattern
from rolo.matching.seen import Seen

T = t.TypeVar("T")

_Entry = tuple[tuple[int, ...], int, RequestPattern, T]


class Index(t.Generic[T]):
    """Patterns with something that belongs to each, found by path.

    May be changed and asked from any thread at any time: lists are replaced, never changed.
    """

    def __init__(self) -> None:
        self._literal: dict[str, list[_Entry[T]]] = {}
        self._prefixed: dict[str, list[_Entry[T]]] = {}
        self._numbers = itertools.count(1)
        self._mutex = threading.Lock()

    def add(self, pattern: RequestPattern, item: T) -> None:
        """Add ``pattern``; it goes before those that are as specific."""
        with self._mutex:
            entry = (pattern.rank, next(self._numbers), pattern, item)
            bucket, key = self._place(pattern)
            entries = list(bucket.get(key, ()))
            bisect.insort(entries, entry, key=_order)
            bucket[key] = entries

    def remove(self, pattern: RequestPattern, item: T) -> None:
        """Take back what :meth:`add` was given.

        :raises KeyError: it is not here
        """
        with self._mutex:
            bucket, key = self._place(pattern)
            entries = bucket.get(key, [])
            kept = [each for each in entries if each[2] is not pattern or each[3] is not item]
            if len(kept) == len(entries):
                raise KeyError("no such pattern")
            if kept:
                bucket[key] = kept
            else:
                del bucket[key]

    def candidates(self, seen: Seen) -> list[tuple[RequestPattern, T]]:
        """Return those whose path may be that of ``seen``, the most specific first; of equals,
        the one that was added last."""
        found: list[_Entry[T]] = []
        for path in bare_forms(seen):
            found += self._literal.get(path, ())
            found += self._of_prefixes(f"/{path}")
        if len(found) > 1:
            found = sorted({each[1]: each for each in found}.values(), key=_order)
        return [(pattern, item) for _, _, pattern, item in found]

    def __iter__(self) -> t.Iterator[tuple[RequestPattern, T]]:
        """In the order in which they were added."""
        with self._mutex:
            lists = [*self._literal.values(), *self._prefixed.values()]
        entries = sorted(itertools.chain.from_iterable(lists), key=lambda each: each[1])
        return iter([(pattern, item) for _, _, pattern, item in entries])

    def _place(self, pattern: RequestPattern) -> tuple[dict[str, list[_Entry[T]]], str]:
        rule = pattern.rule
        if rule.literal is not None:
            return self._literal, rule.literal
        return self._prefixed, rule.prefix

    def _of_prefixes(self, path: str) -> t.Iterator[_Entry[T]]:
        if not self._prefixed:
            return
        yield from self._prefixed.get("", ())
        end = 0
        while (end := path.find("/", end) + 1) > 0:
            yield from self._prefixed.get(path[:end], ())


def _order(entry: _Entry[t.Any]) -> tuple[t.Any, ...]:
    rank, number, _, _ = entry
    return (*(-each for each in rank), -number)
