"""Makes small wrong changes to the code, one at a time, and tells which of them no test notices.

``make mutants ARGS="--sample 50 --seed 1 rolo/wire rolo/upstream/pool.py:120"``

A change is tried in a copy of the tree, first against the tests nearest to the module
(:func:`nearest`), then against those in :data:`EVERYWHERE` and :data:`WIDER`. What survives is printed, with place and
change, and makes the exit code 1. Write a test that notices it. A change that nobody could notice
goes into ``tests/equivalent_mutants.toml``, with the reason, and is not tried again.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import functools
import importlib
import multiprocessing
import os
import pathlib
import random
import resource
import shutil
import sys
import tempfile
import time
import tomllib
import typing as t

ROOT = pathlib.Path(__file__).parents[1]
EQUIVALENT = ROOT / "tests" / "equivalent_mutants.toml"
SAID = ".said-by-the-tests"  # a file in the copy

#: Seconds without any CPU time after which tests count as hanging. A test that waits has 30.
STUCK = 40.0

#: What tests and rolo import from elsewhere: once, before the processes that run the tests fork off.
LIBRARIES = (
    *("pytest", "hypothesis", "werkzeug.test", "pydantic", "greenlet", "trustme", "requests"),
    *("hypercorn", "uvicorn", "httptools", "uvloop", "granian", "websockets", "wsproto"),
    *("websocket", "h11", "h2.connection", "brotli", "zstandard"),
)

#: Tests that are nearest to a module and named after something else.
NEAREST = {
    **{
        f"rolo/proxy/helpers/{name}.py": [
            "tests/proxy/test_helpers_pure.py",
            "tests/proxy/hooks/test_helpers_in_memory.py",
        ]
        for name in ("auth", "bodies", "cors", "headers", "locations", "mirror", "paths")
    },
    **{
        f"rolo/proxy/hooks/{name}.py": ["tests/proxy/hooks/test_hooks_in_memory.py"]
        for name in ("bodies", "context", "editable", "exchange", "hook_run", "phases", "way_back")
    },
    "rolo/proxy/handler.py": ["tests/proxy/hooks/test_handler_in_memory.py"],
    "rolo/proxy/client.py": ["tests/test_caches.py", "tests/proxy/test_outgoing.py"],
    "rolo/proxy/proxy.py": [
        "tests/proxy/hooks/test_hooks_in_memory.py",
        "tests/proxy/hooks/test_handler_in_memory.py",
    ],
    **{
        f"rolo/har/{name}.py": ["tests/har/test_files.py", "tests/har/test_foreign.py"]
        for name in (
            *("codings", "content", "decoding", "encoding", "events", "layout", "members", "model"),
            *("reading", "writing"),
        )
    },
    **{
        f"rolo/har/{name}.py": ["tests/har/test_matching.py", "tests/har/test_replay.py"]
        for name in (
            *("comparison", "no_answer", "pace", "patterns", "player"),
            *("replayed_body", "replayed_websocket"),
        )
    },
    "rolo/har/json_paths.py": ["tests/har/test_redact.py"],
    "rolo/proxy/forwarded_fields.py": ["tests/wire/test_hop_by_hop.py"],
    "rolo/proxy/outgoing.py": ["tests/proxy/test_outgoing.py", "tests/wire/test_hop_by_hop.py"],
    "rolo/net/websocket.py": [
        "tests/net/test_websocket_closing.py",
        "tests/net/test_websocket_peer.py",
    ],
    "rolo/net/unacknowledged.py": ["tests/net/test_body_stream.py"],
    "rolo/net/unread.py": ["tests/net/test_body_stream.py"],
    "rolo/net/read_buffer.py": ["tests/net/test_body_stream.py"],
    "rolo/wire/permessage_deflate.py": ["tests/wire/test_websocket_frames.py"],
    "rolo/wire/masking.py": ["tests/wire/test_websocket_frames.py"],
    "rolo/wire/close_codes.py": ["tests/wire/test_websocket_frames.py"],
    "rolo/upstream/connection.py": ["tests/upstream/test_transport_bounds.py"],
    "rolo/upstream/transport.py": ["tests/upstream/test_transport_bounds.py"],
    "rolo/upstream/response_body.py": ["tests/upstream/test_transport_bounds.py"],
    "rolo/upstream/exchange.py": [
        "tests/upstream/test_transport_bounds.py",
        "tests/upstream/test_transport_sending.py",
        "tests/upstream/test_transport_reuse.py",
        "tests/upstream/test_transport_answers.py",
    ],
    "rolo/upstream/relay.py": ["tests/upstream/test_watch.py"],
    "rolo/native/connection.py": [
        "tests/native/test_native_connection.py",
        "tests/native/test_native_http.py",
    ],
    "rolo/native/http.py": [
        "tests/native/test_native_connection.py",
        "tests/native/test_native_http.py",
    ],
    "rolo/native/websocket.py": [
        "tests/native/test_native_handshake.py",
        "tests/native/test_native_websocket.py",
    ],
    "rolo/portal/portal.py": ["tests/portal/test_portal.py", "tests/portal/test_cancellation.py"],
}

#: What else tests a module, by the longest prefix of its path that is here.
WIDER = {
    "rolo/wire/": ["tests/wire/test_http1_heads.py", "tests/wire/test_http1_bodies.py"],
    "rolo/wire/admission": ["tests/integration/test_fidelity_smuggling.py"],
    "rolo/wire/close_codes": ["tests/net", "tests/integration/test_relay_close.py"],
    "rolo/wire/content_codings": ["tests/proxy/hooks", "tests/test_growth.py"],
    "rolo/wire/hop_by_hop": [
        "tests/test_caches.py",
        "tests/proxy",
        "tests/integration/test_fidelity_heads.py",
    ],
    "rolo/wire/masking": ["tests/wire/test_websocket_frames.py"],
    "rolo/wire/permessage_deflate": [
        "tests/wire/test_websocket_frames.py",
        "tests/net",
        "tests/native/test_native_websocket.py",
    ],
    "rolo/wire/proxy_status": ["tests/integration/test_fidelity_failure.py"],
    "rolo/wire/websocket_frames": ["tests/net", "tests/native/test_native_websocket.py"],
    "rolo/net/": ["tests/net", "tests/native", "tests/upstream"],
    "rolo/upstream/forwarded_body": ["tests/integration/test_forwarding.py"],
    "rolo/upstream/relay": [
        "tests/integration/test_relay_messages.py",
        "tests/integration/test_relay_close.py",
        "tests/integration/test_relay_pressure.py",
        "tests/integration/test_rewriting_websockets.py",
    ],
    "rolo/upstream/settings": ["tests/test_docs.py", "tests/upstream"],
    "rolo/upstream/websocket": [
        "tests/upstream",
        "tests/integration/test_relay_handshake.py",
        "tests/integration/test_relay_messages.py",
    ],
    "rolo/upstream/": ["tests/upstream"],
    "rolo/har/": [
        *("tests/har/test_files.py", "tests/har/test_foreign.py", "tests/har/test_matching.py"),
        *("tests/har/test_recorder.py", "tests/har/test_redact.py", "tests/har/test_replay.py"),
    ],
    "rolo/bridge/": ["tests/bridge", "tests/test_docs.py"],
    "rolo/routing/": ["tests/routing", "tests/gateway", "tests/compatibility"],
    "rolo/gateway/": ["tests/gateway", "tests/integration/test_bridge_http.py"],
    "rolo/proxy/": [
        "tests/proxy",
        "tests/integration/test_forwarding.py",
        "tests/integration/test_rewriting_retry.py",
    ],
    "rolo/proxy/connect": ["tests/proxy", "tests/integration/test_relay_handshake.py"],
    "rolo/proxy/websocket_proxy": ["tests/proxy", "tests/integration/test_relay_handshake.py"],
    "rolo/proxy/helpers/": ["tests/proxy", "tests/integration/test_rewriting_helpers.py"],
    "rolo/proxy/hooks/": [
        "tests/proxy",
        "tests/integration/test_rewriting.py",
        "tests/integration/test_rewriting_framing.py",
        "tests/integration/test_rewriting_retry.py",
        "tests/integration/test_rewriting_faults.py",
    ],
    "rolo/proxy/hooks/event_sender": ["tests/integration/test_rewriting_events.py"],
    "rolo/proxy/hooks/life": ["tests/proxy", "tests/integration/test_rewriting_life.py"],
    "rolo/proxy/hooks/sse": ["tests/integration/test_rewriting_events.py", "tests/proxy"],
    "rolo/proxy/hooks/websocket": ["tests/integration/test_rewriting_websockets.py"],
    "rolo/native/": ["tests/native", "tests/integration/test_fidelity_limits.py"],
    "rolo/wire/fields": ["tests/test_caches.py", "tests/proxy"],
    "rolo/wire/reserved_fields": [
        "tests/test_caches.py",
        "tests/integration/test_rewriting_framing.py",
    ],
    "rolo/wire/http1": [
        "tests/test_caches.py",
        "tests/wire/test_http1_heads.py",
        "tests/wire/test_http1_bodies.py",
        "tests/native/test_native_connection.py",
    ],
    "rolo/portal/watchdog": ["tests/integration/test_watchdog.py"],
    "rolo/portal/": ["tests/portal", "tests/integration/test_containment.py"],
    "rolo/config/": ["tests/config", "tests/test_cli.py", "tests/test_reference.py"],
    "rolo/cli/": ["tests/test_cli.py", "tests/cli", "tests/config"],
}

#: What is asked of each module, between the two.
EVERYWHERE = ("tests/test_docs_numbers.py",)

COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    **{ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt},
    **{ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is},
    **{ast.In: ast.NotIn, ast.NotIn: ast.In},
}
COUNTED: dict[type[ast.operator], type[ast.operator]] = {
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult},
    **{
        ast.BitAnd: ast.BitOr,
        ast.BitOr: ast.BitAnd,
        ast.LShift: ast.RShift,
        ast.RShift: ast.LShift,
    },
}


class Mutant(t.NamedTuple):
    """One wrong change: what stands where, and what stands there instead."""

    module: str  # its path from the root
    line: int
    inside: str  # the function or class
    was: str  # the lines that change, as one
    now: str
    source: str  # the module with the change

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.module, self.inside, self.was, self.now


def changed(node: ast.AST, **fields: t.Any) -> ast.AST:
    """Return a copy of ``node`` with other ``fields``."""
    other = copy.copy(node)
    for name, value in fields.items():
        setattr(other, name, value)
    return other


def without(items: t.Sequence[t.Any], place: int) -> list[t.Any]:
    return [item for number, item in enumerate(items) if number != place]


def wrong(node: ast.AST) -> t.Iterator[ast.AST]:
    """Yield what may stand in place of ``node``: only of itself, not of what is inside."""
    match node:
        case ast.Compare():
            for place, op in enumerate(node.ops):
                ops = [*node.ops[:place], COMPARED[type(op)](), *node.ops[place + 1 :]]
                yield changed(node, ops=ops)
        case ast.BoolOp():
            yield changed(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
        case ast.UnaryOp(op=ast.Not()):
            yield node.operand
        case ast.BinOp() | ast.AugAssign() if type(node.op) in COUNTED:
            yield changed(node, op=COUNTED[type(node.op)]())
        case ast.Constant(value=bool()):
            yield changed(node, value=not node.value)
        case ast.Constant(value=int() | float()):
            yield changed(node, value=node.value + 1)
            yield changed(node, value=node.value - 1)
        case ast.Constant(value=str()):
            yield changed(node, value="" if node.value else "x")
        case ast.Constant(value=bytes()):
            yield changed(node, value=b"" if node.value else b"x")
        case ast.Break():
            yield ast.Continue()
        case ast.Continue():
            yield ast.Break()
        case ast.Call():
            for place, argument in enumerate(node.args):
                if not (says(node) and isinstance(argument, ast.Constant | ast.JoinedStr)):
                    yield changed(node, args=without(node.args, place))
            for place in range(len(node.keywords)):
                yield changed(node, keywords=without(node.keywords, place))
    match node:
        case ast.Expr() | ast.Assign() | ast.AugAssign() | ast.Raise() | ast.Delete():
            yield ast.Pass()
        case ast.Return(value=ast.expr()):
            yield ast.Pass()


def negated(test: ast.expr) -> t.Iterator[tuple[ast.expr, ast.expr]]:
    """Yield a condition with its opposite, where :func:`wrong` has none that is the same."""
    if not isinstance(test, ast.Constant | ast.UnaryOp) and not (
        isinstance(test, ast.Compare) and len(test.ops) == 1
    ):
        yield test, ast.UnaryOp(op=ast.Not(), operand=test)


def is_text(node: ast.AST) -> bool:
    """Tell whether ``node`` is for readers or type checkers only, so that no test sees it."""
    match node:
        case ast.Expr(value=ast.Constant()) | ast.JoinedStr() | ast.Import() | ast.ImportFrom():
            return True
        case ast.If(test=ast.Attribute(attr="TYPE_CHECKING")):
            return True
        case ast.Assign(targets=[ast.Name(id="__all__" | "__slots__")]):
            return True
        case ast.Subscript(value=ast.Attribute(value=ast.Name(id="t"))):
            return True
        case ast.Call(func=ast.Attribute(value=ast.Name(id="t"))):
            return True
        case ast.FunctionDef(decorator_list=[ast.Attribute(attr="overload" | "abstractmethod")]):
            return True
    return False


def pairs(node: ast.AST, inside: str = "") -> t.Iterator[tuple[str, ast.AST, ast.AST]]:
    """Yield every part of ``node`` that can be wrong, after where it is, before what it becomes."""
    if is_text(node):
        return
    for other in wrong(node):
        yield inside, node, other
    if isinstance(node, ast.If | ast.While | ast.IfExp):
        for test, opposite in negated(node.test):
            yield inside, test, opposite
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        inside = f"{inside}.{node.name}".lstrip(".")
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_comment", "type_params"):
            continue
        for child in value if isinstance(value, list) else [value]:
            # The words of an error are for people, like a docstring.
            if isinstance(child, ast.Constant) and isinstance(child.value, str) and says(node):
                continue
            if isinstance(child, ast.AST):
                yield from pairs(child, inside)


def says(node: ast.AST) -> bool:
    """Tell whether ``node`` makes an error or a line of the log."""
    if not isinstance(node, ast.Call):
        return False
    name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    if isinstance(node.func, ast.Name):
        name = node.func.id
    return name.endswith(("Error", "Exception", "Warning", "Failure")) or name in (
        *("debug", "info", "warning", "error", "exception"),
        *our_errors(),
    )


@functools.cache
def our_errors() -> frozenset[str]:
    """Return the names of all errors of :mod:`rolo.errors`."""
    parsed = ast.parse((ROOT / "rolo" / "errors.py").read_text())
    return frozenset(node.name for node in parsed.body if isinstance(node, ast.ClassDef))


def mutants_of(
    module: str, source: str, only: t.Container[tuple[str, str]] | None = None
) -> list[Mutant]:
    """Return every mutant of ``source``.

    :param only: of what stands there in which function, see :class:`Mutant`; ``None`` for all
    """
    lines = source.encode().splitlines(keepends=True)
    found = []
    for inside, node, other in pairs(ast.parse(source)):
        first, last = node.lineno - 1, node.end_lineno  # type: ignore[attr-defined]
        was = b"".join(lines[first:last]).decode()
        if only is not None and (inside, " ".join(was.split())) not in only:
            continue
        before = b"".join(lines[:first])
        start = node.col_offset  # type: ignore[attr-defined]
        end = node.end_col_offset  # type: ignore[attr-defined]
        text = ast.unparse(ast.fix_missing_locations(other))
        if isinstance(node, ast.expr):
            text = f"({text})"
        head, tail = lines[first][:start], lines[last - 1][end:]
        now = (head + text.encode() + tail).decode()
        mutated = (before + now.encode() + b"".join(lines[last:])).decode()
        one_line = [" ".join(text.split()) for text in (was, now)]
        try:
            compile(mutated, module, "exec")
        except SyntaxError:  # such as a nonlocal name that is no longer set
            continue
        found.append(Mutant(module, first + 1, inside, *one_line, mutated))
    return found


def nearest(module: str) -> tuple[str, ...]:
    """Return the tests that are named after ``module``, or stand for it in :data:`NEAREST`;
    without any, those of its folder."""
    if module in NEAREST:
        return tuple(NEAREST[module])
    folder = module.removeprefix("rolo/").rpartition("/")[0]
    for place in (f"tests/{folder}", "tests"):
        name = pathlib.Path(module).stem
        if found := sorted((ROOT / place).glob(f"test_*{name}*.py")):
            return tuple(str(path.relative_to(ROOT)) for path in found)
    return (f"tests/{folder}",) if folder and (ROOT / "tests" / folder).exists() else ()


def wider(module: str) -> tuple[str, ...]:
    """Return the tests to try where the nearest notice nothing."""
    prefixes = [prefix for prefix in WIDER if module.startswith(prefix)]
    return tuple(WIDER[max(prefixes, key=len)]) if prefixes else ()


def run_tests(folder: str, tests: tuple[str, ...], seconds: float) -> None:
    """Run ``tests`` in ``folder``; the exit code of this process is pytest's."""
    os.setsid()
    os.chdir(folder)
    sys.path[:0] = [folder]
    sys.dont_write_bytecode = True
    said = os.open(SAID, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 2))
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    import pytest

    options = ["-q", "-x", "--timeout=30", "--hypothesis-seed=0"]
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    options += ["-p", "no:randomly", "-p", "no:cacheprovider", "-p", "no:xdist"]
    code = pytest.main([*options, *tests])
    import rolo

    os._exit(int(code) if str(rolo.__file__).startswith(folder) else 99)


def cpu_time(pid: int) -> float:
    """Return the seconds of CPU time that a process has used; what always grows if the
    system does not tell."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return time.monotonic()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def passes(folder: str, tests: tuple[str, ...], seconds: float) -> bool:
    """Tell whether all ``tests`` pass in ``folder``, in a process of their own.

    :param seconds: of CPU time, after which it counts as failed; of the clock, ten times that,
        and :data:`STUCK` in which it does nothing
    """
    # Forked, so that what this process has imported need not be imported again.
    context = multiprocessing.get_context("fork")
    process = context.Process(target=run_tests, args=(folder, tests, seconds))
    process.start()
    pid = t.cast(int, process.pid)
    ends, used, moved = time.monotonic() + seconds * 10, -1.0, time.monotonic()
    while process.is_alive() and time.monotonic() < min(ends, moved + STUCK):
        process.join(1)
        if used < (used := cpu_time(pid)):
            moved = time.monotonic()
    if process.is_alive():
        os.killpg(pid, 9)
        process.join()
    if process.exitcode == 99:
        sys.exit("the tests ran other code than the copy")
    return process.exitcode == 0


def known() -> dict[tuple[str, str, str, str], str]:
    """Return the mutants that nobody could notice, each with the reason."""
    entries = tomllib.loads(EQUIVALENT.read_text())["equivalent"]
    return {
        (entry["module"], entry["inside"], entry["was"], entry["now"]): entry["why"]
        for entry in entries
    }


def outdated() -> set[tuple[str, str, str, str]]:
    """Return those of :func:`known` that are no mutants of the code as it is."""
    entries = set(known())
    possible = set()
    for module in {key[0] for key in entries}:
        only = {(inside, was) for name, inside, was, _ in entries if name == module}
        file = ROOT / module
        if file.exists():
            possible |= {mutant.key for mutant in mutants_of(module, file.read_text(), only)}
    return entries - possible


def wanted(paths: list[str]) -> list[Mutant]:
    """Return the mutants of the modules, folders and ``module:line`` in ``paths``."""
    found = []
    for path in paths:
        name, _, line = path.partition(":")
        place = ROOT / name
        for file in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            mutants = mutants_of(str(file.relative_to(ROOT)), file.read_text())
            found += [mutant for mutant in mutants if not line or mutant.line == int(line)]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("paths", nargs="+", metavar="PATH[:LINE]")
    parser.add_argument("--sample", type=int, help="how many changes to try; without it, all")
    parser.add_argument("--seed", type=int, default=0, help="which ones")
    arguments = parser.parse_args()
    equivalent = known()
    mutants = [each for each in wanted(arguments.paths) if each.key not in equivalent]
    if arguments.sample is not None and arguments.sample < len(mutants):
        mutants = random.Random(arguments.seed).sample(mutants, arguments.sample)
        mutants.sort(key=lambda each: (each.module, each.line))
    for library in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(library)

    with tempfile.TemporaryDirectory() as folder:
        left_out = shutil.ignore_patterns(".*", "__pycache__", "results", "site", "dist")
        shutil.copytree(ROOT, folder, ignore=left_out, dirs_exist_ok=True)
        return try_all(mutants, folder)


@functools.cache
def time_of(folder: str, tests: tuple[str, ...]) -> float:
    """Return how long ``tests`` take, in seconds; ends the run where they do not even pass."""
    began = time.monotonic()
    if not passes(folder, tests, 300):
        print(pathlib.Path(folder, SAID).read_text(errors="replace"))
        sys.exit(f"{' '.join(tests)}: not green without any change")
    return time.monotonic() - began


def survives_in(folder: str, mutant: Mutant, tests: tuple[str, ...]) -> bool:
    seconds = 10 + 3 * time_of(folder, tests)
    file = pathlib.Path(folder, mutant.module)
    original = file.read_text()
    file.write_text(mutant.source)
    try:
        return passes(folder, tests, seconds)
    finally:
        file.write_text(original)


def try_all(mutants: list[Mutant], folder: str) -> int:
    """Try ``mutants`` in ``folder``, a copy of the tree; print what survives and the counts."""
    counts: dict[str, list[int]] = {}
    for mutant in mutants:
        survives = all(
            survives_in(folder, mutant, tests)
            for tests in (nearest(mutant.module), EVERYWHERE, wider(mutant.module))
            if tests
        )
        count = counts.setdefault(mutant.module, [0, 0])
        count[0] += not survives
        count[1] += 1
        if survives:
            place = f"{mutant.module}:{mutant.line} ({mutant.inside})"
            print(f"SURVIVED {place}\n  - {mutant.was}\n  + {mutant.now}", flush=True)
    for module, (killed, tried) in counts.items():
        print(f"{module}: {killed} of {tried} noticed")
    killed, tried = (sum(count[place] for count in counts.values()) for place in (0, 1))
    print(f"{killed} of {tried} noticed")
    return int(killed < tried)


if __name__ == "__main__":
    sys.exit(main())
