"""``rolo mock``: a Python file of stubs, or WireMock's mappings."""

import json
import pathlib
import re
import signal
import subprocess
import sys

import pytest
import requests

from rolo.cli import main
from rolo.cli.arguments import parse
from rolo.cli.mock import mocked

STUBS = """
from rolo.harness import Harness

def stubs(api: Harness) -> None:
    api.get("/price").returns({"price": 42})
    api.get("/once").returns("1").times(1)
"""


@pytest.fixture
def run():
    """Start the command; return the process and the line that it says."""
    processes = []

    def run(*words):
        process = subprocess.Popen(
            [sys.executable, "-m", "rolo", "mock", *words, "--listen=127.0.0.1:0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        line = process.stdout.readline()
        assert line, process.stderr.read()
        return process, line

    yield run
    for process in processes:
        process.kill()
        process.communicate(timeout=10)


def test_the_stubs_of_a_file_answer_until_the_signal(run, tmp_path):
    file = tmp_path / "stubs.py"
    file.write_text(STUBS)
    process, line = run(str(file))
    url = re.search(r"http://[\d.:]+", line)[0]
    assert line.endswith(f", 2 stubs of {file}\n")
    assert requests.get(f"{url}/price", timeout=10).json() == {"price": 42}
    missed = requests.get(f"{url}/prize", timeout=10)
    assert missed.status_code == 404
    assert "GET /price  [stubs.py:5]" in missed.text
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=10)
    # That "/once" was not called, and "/prize" is none, is no mistake of a command.
    assert (process.returncode, err) == (0, "")
    assert '"GET /price HTTP/1.1" 200' in out


def test_the_file_of_the_docs_answers(tmp_path):
    page = (pathlib.Path(__file__).parents[2] / "docs" / "testing.md").read_text()
    (text,) = re.findall(
        r"^```python\n(from \S+ import Harness\n\n\ndef stubs.*?)^```", page, re.M | re.S
    )
    (tmp_path / "stubs.py").write_text(text)
    with mocked(parse(["mock", str(tmp_path / "stubs.py"), "--listen=127.0.0.1:0"]).config) as api:
        assert len(api.stubs) == 3
        assert requests.get(f"{api.url}/price", timeout=10).json() == {"price": 42}


def test_mappings_answer(tmp_path):
    (tmp_path / "mappings").mkdir()
    mapping = {"request": {"urlPath": "/a"}, "response": {"jsonBody": [1]}}
    (tmp_path / "mappings" / "a.json").write_text(json.dumps(mapping))
    for file in (tmp_path, tmp_path / "mappings", tmp_path / "mappings" / "a.json"):
        words = ["mock", str(file), "--listen=127.0.0.1:0", "--seed=7", "--no-access-log"]
        with mocked(parse(words).config) as api:
            assert api.seed == 7
            assert requests.get(f"{api.url}/a", timeout=10).json() == [1]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.py", "def stubs(api):\n    api.get('x')\n", "{file}:2: ValueError: a path begins with"),
        ("x.py", "def stubs(api:\n", "{file}:1: '(' was never closed"),
        (
            "x.py",
            "def stubs(api):\n    api.get('/x')\n",
            "{file}: no answer was given to GET /x [x.py:2]",
        ),
        ("x.py", "stub = 1\n", "{file}: define stubs(api), which is given"),
        (
            "x.json",
            '{"request": {"a": 1}, "b": 2}',
            "{file}: b: this is not read; {file}: request.a",
        ),
        ("x.json", None, "{file}: No such file or directory"),
        ("x", None, "{file}: No such file or directory"),
        ("x.txt", "", "{file}: neither a Python file"),
    ],
)
def test_mistakes_of_the_file_are_told_in_one_line(tmp_path, capsys, name, content, said):
    file = tmp_path / name
    if content is not None:
        file.write_text(content)
    assert main(["mock", str(file), "--listen=127.0.0.1:0"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"rolo: error: {said.format(file=file)}")
    assert error.count("\n") == 1


def test_an_address_that_is_taken_is_told(tmp_path, capsys):
    with mocked(parse(["mock", str(_file(tmp_path)), "--listen=127.0.0.1:0"]).config) as api:
        assert main(["mock", str(_file(tmp_path)), f"--listen=127.0.0.1:{api.port}"]) == 1
    assert "in use" in capsys.readouterr().err


def _file(folder):
    file = folder / "stubs.py"
    file.write_text(STUBS)
    return file
