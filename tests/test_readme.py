"""Every command and snippet of the README does what the README says."""

import pathlib
import re
import subprocess
import sys
import threading

import pytest
from threaded_origin import ThreadedOrigin
from wire import fetch

from rolo.gateway import Gateway
from rolo.serving import serve

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()

SNIPPETS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def snippet(containing, language="python"):
    (found,) = (text for lang, text in SNIPPETS if lang == language and containing in text)
    return found


@pytest.fixture
def origin():
    with ThreadedOrigin() as origin:
        yield origin


def test_each_snippet_is_run_by_a_test_below():
    marks = ["Greeting", "Branded", "serve_asgi_gateway", "make run", "rolo proxy"]
    assert len(SNIPPETS) == len(marks)
    for mark in marks:
        assert any(mark in text for _, text in SNIPPETS)


def test_the_make_targets_exist():
    targets = set(re.findall(r"make (\w+)", README + (ROOT / "CONTRIBUTING.md").read_text()))
    assert {"run", "test"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), target


def test_linked_files_exist():
    for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md"):
        for link in re.findall(r"\]\(([^)#:]+)\)", (ROOT / name).read_text()):
            assert (ROOT / link).exists(), f"{name} links to {link}"


def test_the_proxy_command_forwards(origin):
    command = snippet("rolo proxy", "sh").strip()
    command = command.replace("http://localhost:8080", origin.url).replace(":8000", ":0")
    process = subprocess.Popen(
        [sys.executable, "-m", *command.split()], stdout=subprocess.PIPE, text=True
    )
    try:
        line = process.stdout.readline()
        url = re.search(r"http://127\.0\.0\.1:\d+", line).group()
        assert fetch(url, "/x").body == b"ok"
        assert origin.last.target == "/x"
    finally:
        process.terminate()
        process.wait(15)
        process.stdout.close()
    assert process.returncode == 0


def test_the_first_proxy(origin, monkeypatch):
    code = snippet("Greeting").replace("http://localhost:8080", origin.url)
    running, started = [], threading.Event()

    def serve_on_a_free_port(gateway, port):
        running.append(serve(gateway, port=0))
        started.set()
        return running[0]

    monkeypatch.setattr("rolo.serving.serve", serve_on_a_free_port)
    names = {}
    thread = threading.Thread(target=exec, args=(code, names))
    thread.start()
    assert started.wait(10)
    url = running[0].url
    try:
        json = [("Content-Type", "application/json")]
        greeted = fetch(url, "/greet", "POST", json, b'{"name": "Ada"}')
        assert greeted.body == b'{"text": "Hello Ada! "}'
        refused = fetch(url, "/greet", "POST", json, b'{"times": 2}')
        assert refused.status == 400
        assert b"name" in refused.body
        assert fetch(url, "/other").body == b"ok"
    finally:
        running[0].shutdown()
        thread.join(10)
    assert not thread.is_alive()


def test_the_first_rewrite(origin):
    names = {}
    exec(snippet("Branded"), names)
    handler = names["Branded"](origin.url)
    with serve(Gateway([handler])) as server:
        answer = fetch(server.url)
    handler.close()
    assert origin.last.all("x-tenant") == ["acme"]
    assert answer.all("server") == ["acme-edge"]
    assert answer.body == b"ok"


def test_the_first_test_passes(tmp_path):
    test = tmp_path / "test_first.py"
    test.write_text(snippet("serve_asgi_gateway"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", str(test)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr
