"""The API reference names everything public."""

import importlib
import pathlib
import re

import pytest

import rolo

REFERENCE = pathlib.Path(rolo.__file__).parent.parent / "docs" / "reference"
NAMED = {
    path
    for page in REFERENCE.glob("*.md")
    for path in re.findall(r"^::: (\S+)$", page.read_text(), re.M)
}


def found(path):
    module, _, name = path.rpartition(".")
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:
        return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize(
    "module",
    [
        "rolo",
        "rolo.proxy",
        "rolo.proxy.helpers",
        "rolo.faults",
        "rolo.serving",
        "rolo.gateway",
        "rolo.routing",
        "rolo.matching",
        "rolo.inspector",
        "rolo.har",
        "rolo.harness",
        "rolo.websocket",
        "rolo.client",
        "rolo.portal",
    ],
)
def test_everything_public_is_in_the_reference(module):
    known = [found(path) for path in NAMED]
    package = importlib.import_module(module)
    missing = {
        name
        for name in package.__all__
        if callable(value := getattr(package, name)) and value not in known
    }
    assert missing == set()


@pytest.mark.parametrize("path", sorted(NAMED))
def test_what_the_reference_names_exists_and_is_documented(path):
    assert (found(path).__doc__ or "").strip()
