"""The tree that ``rolo.errors`` draws is the tree that there is."""

import importlib
import pkgutil
import re

import rolo
import rolo.errors
from rolo.errors import RoloError

LINE = re.compile(r"^    ([│├└─ ]*)(\w+) +(\d{3}) ?([+?]?)")


def drawn():
    """Each error's parent, status and mark, as drawn."""
    found, path = {}, []
    for line in rolo.errors.__doc__.splitlines():
        if match := LINE.match(line):
            indent, name, status, mark = match.groups()
            del path[len(indent) // 4 :]
            found[name] = (path[-1] if path else None, int(status), mark == "+")
            path.append(name)
    return found


def existing(kind=RoloError):
    yield kind
    for below in kind.__subclasses__():
        if below.__module__.startswith("rolo."):
            yield from existing(below)


def test_the_drawing_shows_each_error_in_its_place():
    for module in pkgutil.walk_packages(rolo.__path__, "rolo."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    there = {
        kind.__name__: (
            kind.__base__.__name__ if kind is not RoloError else None,
            kind.status,
            kind.retry_safe,
        )
        for kind in existing()
    }
    assert drawn() == there
