"""JSON as it is nice to read and to compare: a member a line, fields and numbers on
one."""

from __future__ import annotations

import json
import typing as t

_WIDTH = 100


def lines(value: t.Any, indent: str = "") -> t.Iterator[str]:
    """Yield parts of the text of ``value``, a JSON value; its first line is not indented."""
    if isinstance(value, dict) and value.keys() == {"name", "value"}:
        yield _scalar(value)
    elif isinstance(value, dict) and value:
        yield "{\n"
        inner = indent + "  "
        for number, (key, each) in enumerate(value.items()):
            yield (",\n" if number else "") + f"{inner}{_scalar(key)}: "
            yield from lines(each, inner)
        yield f"\n{indent}}}"
    elif isinstance(value, list) and value:
        yield from _list(value, indent)
    else:
        yield _scalar(value)


def _list(value: list[t.Any], indent: str) -> t.Iterator[str]:
    inner = indent + "  "
    yield "["
    if all(_is_flat(each) for each in value):
        # Many small ones: as many as there is room for on each line.
        line = inner
        for number, each in enumerate(value):
            text = _scalar(each) + ("" if number == len(value) - 1 else ", ")
            if len(line) + len(text) > _WIDTH and line != inner:
                yield "\n" + line.rstrip()
                line = inner
            line += text
        yield f"\n{line}\n{indent}]"
        return
    for number, each in enumerate(value):
        yield ("," if number else "") + "\n" + inner
        yield from lines(each, inner)
    yield f"\n{indent}]"


def _is_flat(value: t.Any) -> bool:
    if isinstance(value, list):
        return all(isinstance(each, int | float) for each in value)
    return isinstance(value, int | float)


def _scalar(value: t.Any) -> str:
    return json.dumps(value, ensure_ascii=False)
