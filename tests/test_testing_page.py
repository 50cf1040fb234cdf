"""Each example of docs/testing.md, and of examples/testing, is a file of tests that pass."""

import pathlib
import re
import subprocess
import sys

from inner_pytest import PLAIN_PYTEST

ROOT = pathlib.Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "testing.md").read_text()
EXAMPLES = ROOT / "examples" / "testing"
SNIPPETS = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def count_of(text):
    return len(re.findall(r"^def test_", text, re.MULTILINE))


def test_every_example_passes(tmp_path):
    for number, snippet in enumerate(SNIPPETS):
        (tmp_path / f"test_{number}.py").write_text(snippet)
    files = sorted(EXAMPLES.glob("test_*.py"))
    tests = sum(map(count_of, [*SNIPPETS, *(file.read_text() for file in files)]))
    result = subprocess.run(
        [*PLAIN_PYTEST, "-W", "error", "--import-mode=importlib", str(tmp_path), *map(str, files)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    passed = re.search(r"(\d+) passed", result.stdout)
    assert int(passed[1]) >= tests


def test_the_script_runs():
    result = subprocess.run(
        [sys.executable, str(EXAMPLES / "script.py")], capture_output=True, text=True, check=False
    )
    assert result.stdout.startswith('{"price": 42}\n  1 GET /price'), result.stderr
