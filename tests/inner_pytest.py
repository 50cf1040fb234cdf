"""How tests run a pytest of their own: without plugins that take seconds to load."""

import re
import subprocess
import sys

SLOW = ("hypothesispytest", "randomly", "xdist", "xdist.looponfail")

PLAIN_PYTEST = [
    *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
    *(option for plugin in SLOW for option in ("-p", f"no:{plugin}")),
]


def check_page(page, folder, *others):
    """Run each Python example of a page of the docs as a file of tests, in ``folder``, and
    ``others``: all have to pass."""
    snippets = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    for number, snippet in enumerate(snippets):
        (folder / f"test_{number}.py").write_text(snippet)
    texts = [*snippets, *(file.read_text() for file in others)]
    tests = sum(len(re.findall(r"^def test_", text, re.MULTILINE)) for text in texts)
    result = subprocess.run(
        [
            *PLAIN_PYTEST,
            *("-W", "error", "--import-mode=importlib", "--rolo-record=once"),
            *map(str, (folder, *others)),
        ],
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    passed = re.search(r"(\d+) passed", result.stdout)
    assert int(passed[1]) >= tests
