"""Remembers something about each function for as long as the function lives."""

from __future__ import annotations

import typing as t
import weakref

V = t.TypeVar("V")


class Memo(t.Generic[V]):
    """A dict whose keys are objects by identity, hashable or not, held weakly.

    A lookup costs one dict access. Objects that cannot be referenced weakly are not
    remembered.
    """

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: dict[int, tuple[weakref.ref[t.Any], V]] = {}

    def get(self, key: object) -> V | None:
        entry = self._entries.get(id(key))
        return entry[1] if entry is not None else None

    def put(self, key: object, value: V) -> None:
        identity = id(key)
        try:
            reference = weakref.ref(key, lambda _: self._entries.pop(identity, None))
        except TypeError:
            return
        self._entries[identity] = (reference, value)
