"""The Python in the docs can be run: it compiles, and every name in it is there."""

import builtins
import pathlib
import re
import symtable

import pytest

from rolo.proxy import PoolLimits, Timeouts, WebSocketSettings
from rolo.serving import Limits

ROOT = pathlib.Path(__file__).parent.parent
BLOCKS = {
    f"{path.name}, block {number + 1}": block
    for path in sorted((ROOT / "docs").glob("*.md"))
    for number, block in enumerate(
        re.findall(r"^```(?:python|py)\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE)
    )
}
# What a snippet may take for given: the reader's own.
THE_READERS_OWN = {"gateway", "meter", "session_of"}


def free_names(table):
    """The names that a scope, or one inside it, takes from the module or the builtins."""
    for symbol in table.get_symbols():
        if table.get_type() == "module":
            if symbol.is_referenced() and not symbol.is_assigned() and not symbol.is_imported():
                yield symbol.get_name()
        elif symbol.is_global() and symbol.is_referenced():
            yield symbol.get_name()
    for child in table.get_children():
        yield from free_names(child)


@pytest.mark.parametrize("name", BLOCKS)
def test_the_python_in_the_docs_compiles_and_each_name_in_it_is_there(name):
    table = symtable.symtable(BLOCKS[name], name, "exec")
    present = {
        symbol.get_name()
        for symbol in table.get_symbols()
        if symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace()
    }
    missing = set(free_names(table)) - present - set(dir(builtins)) - THE_READERS_OWN
    assert missing == set()


@pytest.mark.parametrize("name", BLOCKS)
def test_what_the_docs_import_from_rolo_can_be_imported(name):
    for line in re.findall(r"^ *(?:from|import) rolo.*$", BLOCKS[name], re.MULTILINE):
        exec(line.strip(), {})


CLASSES = {each.__name__: each for each in (Limits, PoolLimits, Timeouts, WebSocketSettings)}


def written(value, unit):
    """A default as the tables write it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    if unit == "s":
        return f"{value:g} s"
    for size, name in ((1024**2, "MiB"), (1024, "KiB")):
        if name == unit and value % size == 0:
            return f"{value // size} {name}"
    return str(value)


def test_the_defaults_in_the_tables_are_those_of_the_code():
    compared = 0
    for name in ("limits-and-timeouts.md", "websockets.md"):
        column = None  # of the defaults in the table
        for line in (ROOT / "docs" / name).read_text().splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if not line.startswith("|"):
                column = None
            elif "default" in cells:
                column = cells.index("default")
            if column is None:
                continue
            for owner, field in re.findall(r"`(\w+)\.(\w+)`", line):
                if owner not in CLASSES:
                    continue
                first = re.sub(",(?=000)", "", cells[column]).partition(",")[0]
                default = CLASSES[owner].__dataclass_fields__[field].default
                assert written(default, first.partition(" ")[2]) == first, f"{name}: {line}"
                compared += 1
    assert compared > 20


def test_modules_that_the_docs_name_exist():
    for path in sorted((ROOT / "docs").glob("*.md")):
        for file in re.findall(
            r"`((?:rolo|tests|examples|benchmarks)/[\w/]+\.py)`", path.read_text()
        ):
            assert (ROOT / file).exists(), f"{path.name} names {file}"
