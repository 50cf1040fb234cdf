"""Imports go down: the floors of the house, and nobody walks up or in a circle."""

import ast
import pathlib
import subprocess
import sys

import pytest

import rolo

ROOT = pathlib.Path(rolo.__file__).parent

# From the bottom to the top. The longest prefix of a module's name says where it lives.
FLOORS = [
    (
        "rules",
        [
            "rolo._version",
            "rolo.errors",
            "rolo.wire.proxy_status",
            "rolo.wire.hop_by_hop",
            "rolo.wire.target",
            "rolo.wire.http1",
            "rolo.wire.admission",
            "rolo.proxy.close",
            "rolo.upstream.request",
            "rolo.proxy.hooks.errors",
            "rolo.wire.fields",
            "rolo.wire.content_codings",
            "rolo.asgi.environ",
            "rolo.bridge.downstream",
            "rolo.net.body_stream",
            "rolo.net.unacknowledged",
            "rolo.net.read_buffer",
            "rolo.bridge.environ",
            "rolo.wire.close_codes",
            "rolo.websocket.errors",
        ],
    ),
    ("messages", ["rolo.request", "rolo.response", "rolo.bridge.lazy_response", "rolo.websocket"]),
    ("logic", ["rolo.routing", "rolo.gateway.chain", "rolo.gateway.gateway"]),
    # What the past called them; they only pass names on.
    ("names of the past", ["rolo.resource", "rolo.router", "rolo.dispatcher"]),
    ("package", ["rolo"]),
    ("edges", ["rolo.bridge", "rolo.asgi", "rolo.client", "rolo.proxy"]),
    (
        "rooms",
        [
            "rolo.gateway",
            "rolo.proxy.handler",
            "rolo.proxy.proxy",
            "rolo.upstream.relay",
            "rolo.proxy.hooks.websocket",
            "rolo.proxy.websocket_proxy",
        ],
    ),
    ("doors", ["rolo.cli", "rolo.__main__", "rolo.serving", "rolo.testing", "rolo.demo"]),
]


def floor_of(module):
    best = max(
        (prefix for _, prefixes in FLOORS for prefix in prefixes if is_inside(module, prefix)),
        key=len,
    )
    if best == "rolo" and module != "rolo":
        pytest.fail(f"{module} has no floor yet: give it one in {__file__}")
    return next(i for i, (_, prefixes) in enumerate(FLOORS) if best in prefixes)


def is_inside(module, prefix):
    return module == prefix or module.startswith(f"{prefix}.")


def modules():
    found = {}
    for path in ROOT.rglob("*.py"):
        parts = ["rolo", *path.relative_to(ROOT).with_suffix("").parts]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


class Imports(ast.NodeVisitor):
    """Notes what a module imports of ours, and whether it does so while it is loaded."""

    def __init__(self):
        self.found = {}
        self._depth = 0

    def visit_If(self, node):
        test = ast.unparse(node.test)
        if test not in ("TYPE_CHECKING", "t.TYPE_CHECKING", "typing.TYPE_CHECKING"):
            self.generic_visit(node)
            return
        for each in node.orelse:
            self.visit(each)

    def visit_FunctionDef(self, node):
        self._depth += 1
        self.generic_visit(node)
        self._depth -= 1

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Import(self, node):
        for alias in node.names:
            self._note(alias.name)

    def visit_ImportFrom(self, node):
        assert node.level == 0, "imports are absolute"
        for alias in node.names:
            name = f"{node.module}.{alias.name}"
            self._note(name if name in MODULES else node.module)

    def _note(self, name):
        if is_inside(name, "rolo"):
            self.found[name] = self.found.get(name, False) or self._depth == 0


def imports_of(module):
    visitor = Imports()
    visitor.visit(ast.parse(MODULES[module].read_text()))
    return visitor.found


def exports_only(module):
    """Whether ``module`` is a package that passes on names of the modules inside it."""
    return MODULES[module].name == "__init__.py"


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_go_down(module):
    if exports_only(module):
        return
    # What a package passes on stands on the floor of its modules, not of the package.
    upwards = [
        name
        for name in imports_of(module)
        if floor_of(name) > floor_of(module) and not is_inside(module, name)
    ]
    assert upwards == []


@pytest.mark.parametrize("module", sorted(m for m in MODULES if is_inside(m, "rolo.gateway")))
def test_gateway_knows_no_proxy(module):
    assert [name for name in imports_of(module) if is_inside(name, "rolo.proxy")] == []


def test_no_circles():
    """While modules are loaded; an import inside a function waits until all are."""
    graph = {
        module: [name for name, loading in imports_of(module).items() if loading]
        for module in MODULES
    }
    done, path = set(), []

    def walk(module):
        if module in done:
            return
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        path.append(module)
        for name in graph.get(module, ()):
            walk(name)
        path.pop()
        done.add(module)

    for module in sorted(graph):
        walk(module)


@pytest.mark.parametrize("library", ["pydantic", "httptools", "uvicorn", "hypercorn", "granian"])
def test_import_of_rolo_loads_no_optional_library(library):
    code = f"import rolo, sys; sys.exit({library!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=30, check=False).returncode == 0
