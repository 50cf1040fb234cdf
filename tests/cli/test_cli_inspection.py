"""The inspector on the command line."""

import json
import re
import signal
import subprocess
import sys

import pytest
import requests

from rolo.cli import main
from rolo.cli.arguments import parse
from rolo.config.objects import inspector_settings
from rolo.har import Entry, Recording, write_har


@pytest.fixture
def run():
    """Start the command and return it with the URLs that it says."""
    processes = []

    def _run(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-m", "rolo", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        said = ""
        while "token=" not in said:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            said += line
        return process, re.findall(r"http://[^\s,]+", said)

    yield _run
    for process in processes:
        process.send_signal(signal.SIGTERM)
        process.wait(10)
        process.stdout.close()
        process.stderr.close()


def test_rolo_proxy_shows_what_passes(run):
    _, (url, _, shown_at) = run(
        "proxy", "http://127.0.0.1:9", "--listen=127.0.0.1:0", "--inspect", "--no-access-log"
    )
    assert requests.get(f"{url}/lost", timeout=10).status_code == 502
    with requests.Session() as browser:
        assert "rolo inspector" in browser.get(shown_at, timeout=10).text
        page = shown_at.partition("/?")[0]
        found = browser.get(f"{page}/api/search?text=/lost", timeout=10).json()
        detail = browser.get(f"{page}/api/exchanges/{found['ids'][0]}", timeout=10).json()
    assert detail["row"]["status"] == 502
    assert detail["tries"][0]["error"].startswith("ConnectError")


def test_rolo_inspect_shows_a_file(run, tmp_path):
    path = tmp_path / "one.har"
    write_har(Recording([Entry("GET", "http://h/there")]), path)
    _, (shown_at,) = run("inspect", str(path))
    with requests.Session() as browser:
        browser.get(shown_at, timeout=10)
        page = shown_at.partition("/?")[0]
        assert browser.get(f"{page}/api/search?text=/there", timeout=10).json() == {"ids": [1]}


def test_a_file_that_is_none_is_refused_with_its_place(tmp_path, capsys):
    path = tmp_path / "bad.har"
    path.write_text(json.dumps({"log": {"entries": 1}}))
    assert main(["inspect", str(path)]) == 2
    assert str(path) in capsys.readouterr().err


def test_the_inspector_shows_one_process_only(capsys):
    assert main(["proxy", "http://h", "--inspect", "--workers=2"]) == 2
    assert "--inspect" in capsys.readouterr().err


def test_options_reach_the_inspector(tmp_path):
    words = ["--inspect-memory=1m", f"--inspect-dir={tmp_path}", "--inspect-secret=X-A,X-B"]
    config = parse(["proxy", "http://h", "--inspect", *words]).config
    assert inspector_settings(config.inspector) == {
        "max_bytes": 1024 * 1024,
        "directory": str(tmp_path),
        "secrets": ("X-A", "X-B"),
    }
