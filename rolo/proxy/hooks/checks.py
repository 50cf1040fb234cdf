"""Mistakes in hooks, told when the proxy is made and not by its first exchange."""

from __future__ import annotations

import difflib
import inspect
import typing as t

from rolo.proxy.hooks.hooks import PHASES, Hooks


class HookMistake(TypeError):
    """A hook can never be called as its phase calls it. The message begins with the file and
    the line of the hook where Python knows them."""


def check_hooks(hooks: t.Any) -> None:
    """Look at all phases of ``hooks``.

    :raises HookMistake: it is a class or anything else in the place of an object of a
        subclass of :class:`Hooks`; one of its phases is misspelt, is not callable, is
        ``async``, or takes other arguments
    """
    if isinstance(hooks, type) and issubclass(hooks, Hooks):
        raise HookMistake(f"hooks are objects: {hooks.__name__}(), not the class itself")
    if not isinstance(hooks, Hooks):
        raise HookMistake(f"hooks are objects of subclasses of Hooks, not {hooks!r}")
    own = _own(type(hooks)) | vars(hooks).keys()
    for name in sorted(name for name in own if name.startswith("on_")):
        value = getattr(hooks, name)
        check_phase(name, value)
        check_function(name, value)
    for name in ("start", "close"):
        if name in own:
            check_function(name, getattr(hooks, name))


def check_phase(name: str, value: t.Any = None) -> None:
    """:raises HookMistake: ``name`` is no phase; says which one comes close"""
    if name not in PHASES:
        close = difflib.get_close_matches(name, PHASES, 1)
        hint = f", did you mean {close[0]}?" if close else f"; there are {', '.join(PHASES)}"
        raise HookMistake(f"{_where(value)}there is no phase {name}{hint}")


def check_function(name: str, function: t.Any) -> None:
    """:raises HookMistake: ``function`` cannot serve as the phase ``name``"""
    where = _where(function)
    if not callable(function):
        raise HookMistake(f"{where}{name} is no function but {function!r}")
    if isinstance(function, type):
        raise HookMistake(f"{where}{name} is a class, {function.__name__}, not a function")
    called = function if inspect.isroutine(function) else type(function).__call__
    if inspect.iscoroutinefunction(called) or inspect.isasyncgenfunction(called):
        raise HookMistake(
            f"{where}{name} is async def; hooks are plain functions, which may wait all the "
            "same (context.sleep, context.portal.call)"
        )
    wanted = list(inspect.signature(getattr(Hooks, name)).parameters)[1:]
    try:
        signature = inspect.signature(function)
    except ValueError:
        return  # a builtin that does not tell
    try:
        signature.bind(*wanted)
    except TypeError:
        raise HookMistake(f"{where}it is {name}({', '.join(wanted)})") from None


def _own(kind: type) -> set[str]:
    """The names that subclasses of Hooks define, whatever its own phases are."""
    return {name for each in kind.__mro__ if each not in (Hooks, object) for name in vars(each)}


def _where(function: t.Any) -> str:
    code = getattr(inspect.unwrap(function) if callable(function) else None, "__code__", None)
    return "" if code is None else f"{code.co_filename}:{code.co_firstlineno}: "
