"""Prints the oldest versions that pyproject.toml allows, as constraints for pip: with all of
them at once the tests pass (``make test-minimum``)."""

import pathlib
import re
import sys
import tomllib

project = tomllib.loads((pathlib.Path(__file__).parents[1] / "pyproject.toml").read_text())[
    "project"
]
extras = project["optional-dependencies"]
for requirement in [
    *project["dependencies"],
    *(line for lines in extras.values() for line in lines),
]:
    if found := re.match(r"([\w-]+)(?:\[[\w,]+\])?>=([\w.]+)", requirement):
        sys.stdout.write(f"{found[1]}=={found[2]}\n")
