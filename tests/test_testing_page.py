"""Each example of docs/testing.md, and of examples/testing, is a file of tests that pass."""

import pathlib
import subprocess
import sys

from inner_pytest import check_page

ROOT = pathlib.Path(__file__).parent.parent
EXAMPLES = ROOT / "examples" / "testing"


def test_every_example_passes(tmp_path):
    check_page(ROOT / "docs" / "testing.md", tmp_path, *sorted(EXAMPLES.glob("test_*.py")))


def test_the_script_runs():
    result = subprocess.run(
        [sys.executable, str(EXAMPLES / "script.py")], capture_output=True, text=True, check=False
    )
    assert result.stdout.startswith('{"price": 42}\n  1 GET /price'), result.stderr
