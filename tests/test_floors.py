"""Imports go down: the floors that ``docs/house.md`` draws, and nobody walks up or in a cycle."""

import ast
import functools
import pathlib
import re
import subprocess
import sys

import pytest

import rolo

ROOT = pathlib.Path(rolo.__file__).parent
DRAWING = ROOT.parent / "docs" / "house.md"

# Names of packages and modules that 0.8 had, and that only pass names on.
PATHS_OF_08 = {"rolo", "rolo.resource", "rolo.router", "rolo.dispatcher", "rolo.version"}
ALONE = {"rolo._version", "rolo.__main__"}


def drawn_floors():
    """Return the sets of top-level names that the drawing puts on each floor, lowest first."""
    drawing = DRAWING.read_text().split("```")[1].strip()
    floors = []
    for line in drawing.splitlines():
        _, folders, _ = re.split(r"\s{2,}", line, maxsplit=2)
        floors.append([set(place.split()) for place in folders.split(" | ")])
    return floors


FLOORS = drawn_floors()


def place_of(module):
    """Return the floor of ``module``, and which of the places on it: these do not know
    each other."""
    top = module.split(".")[1]
    for floor, places in enumerate(FLOORS):
        for place, names in enumerate(places):
            if top in names:
                return floor, place
    pytest.fail(f"{module} is on no floor yet: draw it in {DRAWING}")


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
    """Notes what a module imports, and whether it does so while it is loaded."""

    def __init__(self):
        self.found = {}
        self._depth = 0

    def visit_If(self, node):
        for_types = ast.unparse(node.test) in ("TYPE_CHECKING", "t.TYPE_CHECKING")
        self._depth += for_types
        for each in node.body:
            self.visit(each)
        self._depth -= for_types
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
        self.found[name] = self.found.get(name, False) or self._depth == 0


@functools.cache
def imports_of(module):
    visitor = Imports()
    visitor.visit(ast.parse(MODULES[module].read_text()))
    return visitor.found


def ours(names):
    return [name for name in names if is_inside(name, "rolo")]


def test_every_name_that_is_drawn_exists():
    drawn = {name for places in FLOORS for names in places for name in names}
    assert drawn - {name.split(".")[1] for name in MODULES if "." in name} == set()


def test_imports_go_down():
    wrong = []
    for module in MODULES.keys() - PATHS_OF_08 - ALONE:
        here = place_of(module)
        for name in ours(imports_of(module)):
            if name in ALONE or name.split(".")[1:2] == module.split(".")[1:2]:
                continue
            assert name not in PATHS_OF_08, f"{module} imports {name}, which is for users only"
            there = place_of(name)
            if there[0] > here[0] or (there[0] == here[0] and there != here):
                wrong.append((module, name))
    assert wrong == []


def test_no_cycles_while_loading():
    """An import inside a function waits until all are loaded."""
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


def test_rules_have_no_io_and_no_clock():
    forbidden = {"asyncio", "socket", "ssl", "select", "selectors", "threading", "time", "queue"}
    rules = [module for module in MODULES if is_inside(module, "rolo.wire")]
    used = [(m, n) for m in rules for n in imports_of(m) if n.partition(".")[0] in forbidden]
    assert used == []


def test_no_folder_holds_more_than_a_fifth_of_the_code():
    sizes = {}
    for path in MODULES.values():
        sizes[path.parent] = sizes.get(path.parent, 0) + len(path.read_text().splitlines())
    largest = max(sizes, key=sizes.get)
    assert sizes[largest] * 5 <= sum(sizes.values()), largest


def test_import_of_rolo_loads_no_optional_library():
    optional = ["pydantic", "httptools", "uvicorn", "hypercorn", "granian"]
    code = f"import rolo, sys; print([name for name in {optional} if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], timeout=30) == b"[]\n"
