"""Members of JSON objects that know where they stand, so that what is wrong can be said."""

from __future__ import annotations

import typing as t

from rolo.har.errors import HarError

T = t.TypeVar("T")

_NAMES = {
    str: "a text",
    dict: "an object",
    list: "a list",
    bool: "true or false",
    int: "a number",
    float: "a number",
}


class Place:
    """An object within a file.

    :raises HarError: it is none
    """

    def __init__(self, file: object, path: str, value: t.Any) -> None:
        self.file = file
        self.path = path
        if not isinstance(value, dict):
            raise HarError(file, path, f"{_name(value)} where an object should be")
        self.value: dict[str, t.Any] = value

    def fault(self, name: str, fault: str) -> HarError:
        """Return the error of the member ``name``."""
        return HarError(self.file, self._at(name), fault)

    def _at(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def __contains__(self, name: str) -> bool:
        return self.value.get(name) is not None

    def need(self, name: str, kind: type[T]) -> T:
        """Return a member that has to be there.

        :raises HarError: it is not, or of another kind
        """
        if name not in self:
            raise self.fault(name, "missing")
        return self.get(name, kind, t.cast(T, None))

    def get(self, name: str, kind: type[T], default: T) -> T:
        """Return a member, or ``default`` if it is not there, or null.

        :raises HarError: it is of another kind
        """
        value = self.value.get(name)
        if value is None:
            return default
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return t.cast(T, float(value))
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.fault(name, f"{_name(value)} where {_NAMES[kind]} should be")
        return value

    def object(self, name: str) -> Place:
        """Return a member that is an object.

        :raises HarError: it is not there, or none
        """
        return Place(self.file, self._at(name), self.need(name, dict))

    def optional(self, name: str) -> Place | None:
        """As :meth:`object`; ``None`` if it is not there."""
        return self.object(name) if name in self else None

    def objects(self, name: str, default: bool = False) -> t.Iterator[Place]:
        """Yield the objects of a list.

        :param default: nothing if it is not there
        :raises HarError: it is not there, or none
        """
        value = self.get(name, list, []) if default else self.need(name, list)
        for number, each in enumerate(value):
            yield Place(self.file, f"{self._at(name)}[{number}]", each)


def _name(value: object) -> str:
    return "null" if value is None else _NAMES.get(type(value), type(value).__name__)
