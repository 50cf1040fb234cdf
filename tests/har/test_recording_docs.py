"""Each program of docs/recording.md is run."""

import pathlib
import re
import shutil
import subprocess

import pytest
from inner_pytest import PLAIN_PYTEST
from threaded_origin import ThreadedOrigin
from wire import fetch

from rolo.har import read_har

ROOT = pathlib.Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "recording.md").read_text()
PROGRAMS = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
USE = "print(server.url)  # use it"


@pytest.fixture
def in_a_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(program, url=None, **names):
    if url is not None:
        assert "http://localhost:8080" in program
        program = program.replace("http://localhost:8080", url)
    exec(compile(program.replace(USE, "use(server.url)"), "recording.md", "exec"), names)
    return names


def test_record_replay_and_compare(in_a_folder, capsys):
    def use(url):
        fetch(url, "/x", headers=[("X-Tenant", "acme")])

    record, replay, compare, _ = PROGRAMS
    with ThreadedOrigin() as origin:
        run(record, origin.url, use=use)
        (entry,) = read_har("orders.har")
        assert entry.url == f"{origin.url}/x"
        assert ("X-Tenant", "REDACTED") in entry.headers
        run(replay, use=use)
        for name, answer in [("before", b"1"), ("after", b"2")]:
            origin.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" + answer)
            run(record.replace("orders.har", f"{name}.har"), origin.url, use=use)
    run(compare)
    assert capsys.readouterr().out == 'GET /x: body: "1" is now "2"\n'


def test_tests_that_are_recorded_and_then_replayed(in_a_folder):
    (in_a_folder / "test_docs.py").write_text(PROGRAMS[-1])
    shutil.copy(ROOT / "examples" / "testing" / "test_recorded.py", in_a_folder)
    for mode, outcome in [("none", "3 failed"), ("once", "3 passed"), ("none", "3 passed")]:
        run = [*PLAIN_PYTEST, f"--rolo-record={mode}"]
        assert outcome in subprocess.run(run, capture_output=True, text=True, timeout=50).stdout
    text = (in_a_folder / "prices.har").read_text()
    assert "4711" not in text
    assert "my-token" not in text
