"""Each example of docs/testing.md is a file of tests that pass."""

import pathlib
import re
import subprocess

from inner_pytest import PLAIN_PYTEST

PAGE = (pathlib.Path(__file__).parent.parent / "docs" / "testing.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_every_example_passes(tmp_path):
    tests = 0
    for number, example in enumerate(EXAMPLES):
        (tmp_path / f"test_{number}.py").write_text(example)
        tests += len(re.findall(r"^def test_", example, re.MULTILINE))
    result = subprocess.run(
        [*PLAIN_PYTEST, "-W", "error"], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert f"{tests} passed" in result.stdout, result.stdout + result.stderr
