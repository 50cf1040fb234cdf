"""A file of the user's with hooks for ``rolo proxy --script``.

What a file may hold: functions named like the phases (``on_response``, ...), subclasses of
:class:`~rolo.proxy.Hooks`, one subclass of :class:`~rolo.proxy.ProxyHandler`. All of them
are used, the handler nearest to the client, then the classes in the order of the file, then
the functions. A list ``hooks`` names the objects itself, in the place of the classes.
"""

from __future__ import annotations

import dataclasses
import logging
import pathlib
import sys
import traceback
import types
import typing as t

from rolo.cli.errors import CommandError
from rolo.cli.stop import StopNow
from rolo.proxy.handler import ProxyHandler
from rolo.proxy.hooks.checks import HookMistake, check_function, check_phase
from rolo.proxy.hooks.hooks import HookFunctions, Hooks

LOG = logging.getLogger(__name__)

_MODULE = "rolo_script"

T = t.TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Script:
    """What a file holds."""

    path: str
    handler: type[ProxyHandler]
    hooks: list[Hooks]


class MakeHandler(t.Protocol):
    """Makes a handler of the class, with the hooks, for the upstream of the command."""

    def __call__(self, kind: type[ProxyHandler], hooks: list[Hooks]) -> ProxyHandler: ...


def load_script(path: str) -> Script:
    """Run the file and return what it holds.

    :raises CommandError: it cannot be read, or has a mistake; names file and line
    """
    return run_file(path, lambda module: _script(path, module))


def run_file(path: str, use: t.Callable[[types.ModuleType], T]) -> T:
    """Run a Python file of the user's and return what ``use`` makes of it.

    :raises CommandError: it cannot be read, or has a mistake, or :func:`use` finds one; names
        file and line
    """
    try:
        source = pathlib.Path(path).read_bytes()
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror or error}", 2) from error
    module = types.ModuleType(_MODULE)
    module.__file__ = path
    # As for a program, what lies beside it can be imported; dataclasses want the module.
    directory = str(pathlib.Path(path).resolve().parent)
    if directory not in sys.path:
        sys.path.insert(0, directory)
    former = sys.modules.get(_MODULE)
    sys.modules[_MODULE] = module
    try:
        with readable(path):
            exec(compile(source, path, "exec"), vars(module))
            return use(module)
    except CommandError:
        if former is not None:
            sys.modules[_MODULE] = former
        raise


class readable:
    """Turns errors of a script into one line with file and line number."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: t.Any, error: BaseException | None, tb: t.Any) -> None:
        if error is None or isinstance(error, CommandError | StopNow):
            return
        where = self._where(tb)
        if not isinstance(error, Exception):
            # Not even with code 0: a server that ends in silence is nobody's wish.
            raised = f"{type(error).__name__}: {error}".rstrip(": ")
            raise CommandError(f"{where}: a script must not end the program ({raised})", 2)
        if isinstance(error, SyntaxError) and error.filename == self._path:
            raise CommandError(f"{self._path}:{error.lineno}: {error.msg}", 2) from error
        if isinstance(error, HookMistake):
            named = str(error).startswith(f"{self._path}:")
            raise CommandError(f"{error}" if named else f"{self._path}: {error}", 2) from error
        raise CommandError(f"{where}: {type(error).__name__}: {error}", 2) from error

    def _where(self, tb: t.Any) -> str:
        lines = [f.lineno for f in traceback.extract_tb(tb) if f.filename == self._path]
        return f"{self._path}:{lines[-1]}" if lines else self._path


def _script(path: str, module: types.ModuleType) -> Script:
    functions = _functions(module)
    classes = _leaves(module)
    handlers = [kind for kind in classes if issubclass(kind, ProxyHandler)]
    if len(handlers) > 1:
        names = " and ".join(kind.__name__ for kind in handlers)
        raise CommandError(f"{path}: one handler at a time, not {names}", 2)
    hooks = getattr(module, "hooks", None)
    if hooks is None:
        hooks = [kind() for kind in classes if not issubclass(kind, ProxyHandler)]
    elif not (isinstance(hooks, list | tuple) and all(isinstance(h, Hooks) for h in hooks)):
        raise CommandError(f"{path}: hooks is a list of objects of subclasses of Hooks", 2)
    if not (handlers or hooks or functions):
        raise CommandError(
            f"{path}: nothing to use; define on_response(context, response), say, "
            "or a subclass of rolo.proxy.Hooks",
            2,
        )
    behind = [HookFunctions(**functions)] if functions else []
    return Script(path, handlers[0] if handlers else ProxyHandler, [*hooks, *behind])


def _functions(module: types.ModuleType) -> dict[str, t.Any]:
    found = {}
    for name, value in vars(module).items():
        if not name.startswith("on_") or not callable(value):
            continue
        check_phase(name, value)
        check_function(name, value)
        found[name] = value
    return found


def _leaves(module: types.ModuleType) -> list[type[Hooks]]:
    """Return the subclasses of Hooks that the file defines and that none of its other
    classes is derived from."""
    own = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Hooks) and value.__module__ == _MODULE
    ]
    return [
        kind
        for kind in dict.fromkeys(own)
        if not any(other is not kind and issubclass(other, kind) for other in own)
    ]


class ScriptedHandler:
    """The handler that a script makes, again whenever its file has changed.

    Connections to the upstream, and exchanges under way, outlive a change; what the file held
    before is closed when the last exchange with it is over.
    """

    def __init__(self, path: str, make: MakeHandler) -> None:
        self._path = path
        self._make = make
        self._seen = self._stamp()
        self._handler = self._load()

    def __call__(self, chain: t.Any, context: t.Any, response: t.Any) -> None:
        self._handler(chain, context, response)

    def close(self) -> None:
        """Close the hooks and the connections to the upstream."""
        self._handler.close()

    def reload_if_changed(self) -> None:
        """Use the file as it is now. If it has a mistake, that is logged and the last
        version without one goes on."""
        stamp = self._stamp()
        if stamp == self._seen or stamp is None:
            return
        self._seen = stamp
        try:
            handler = self._load()
        except CommandError as error:
            LOG.error("%s; the version before goes on", error)
            return
        new, handler.proxy = handler.proxy, self._handler.proxy
        before, self._handler = self._handler, handler
        before.owns_proxy = False
        handler.proxy.take_hooks(new, afterwards=before.close)
        new.close()
        LOG.warning("%s: loaded again", self._path)

    def _load(self) -> ProxyHandler:
        script = load_script(self._path)
        with readable(self._path):
            return self._make(script.handler, script.hooks)

    def _stamp(self) -> tuple[int, int] | None:
        try:
            status = pathlib.Path(self._path).stat()
        except OSError:
            return None  # between two versions, perhaps
        return status.st_mtime_ns, status.st_size
