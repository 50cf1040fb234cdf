"""Every command and snippet of the README does what the README says."""

import contextlib
import pathlib
import re
import subprocess
import sys
import threading

import pytest
from inner_pytest import PLAIN_PYTEST
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
    marks = [
        "Greeting",
        "on_response",
        "serve_asgi_gateway",
        "make run",
        "rolo proxy http",
        "--script",
        "--inspect",
    ]
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


@contextlib.contextmanager
def running(command, origin, cwd=None, more=None):
    """Run a command of the README in front of ``origin``, on a free port; yields its URL.

    :param more: a list, to which what it says next is appended, as an iterator of lines
    """
    command = command.replace("http://localhost:8080", origin.url).replace(":8000", ":0")
    process = subprocess.Popen(
        [sys.executable, "-m", *command.split()], stdout=subprocess.PIPE, text=True, cwd=cwd
    )
    try:
        line = process.stdout.readline()
        if more is not None:
            more.append(process.stdout)
        yield re.search(r"http://127\.0\.0\.1:\d+", line).group()
    finally:
        process.terminate()
        process.wait(15)
        process.stdout.close()
    assert process.returncode == 0


def test_the_proxy_command_forwards(origin):
    with running(snippet("rolo proxy http://localhost:8080 --listen", "sh"), origin) as url:
        assert fetch(url, "/x").body == b"ok"
    assert origin.last.target == "/x"


def test_the_inspect_command_forwards_and_prints_a_page(origin):
    more = []
    with running(snippet("--inspect", "sh"), origin, more=more) as url:
        assert fetch(url, "/x").body == b"ok"
        said = next(line for line in more[0] if "token=" in line)
        page = re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", said).group()
        entered = fetch(page.partition("/?")[0], "/?" + page.partition("/?")[2])
        assert entered.status == 303


def test_the_script_command_rewrites(origin, tmp_path):
    function = snippet("on_response").partition("def ")[2].partition("\n\n")[0]
    (tmp_path / "brand.py").write_text(f"def {function}\n")
    with running(snippet("--script", "sh"), origin, tmp_path) as url:
        assert fetch(url).all("x-edge") == ["acme"]


def test_the_first_proxy(origin, monkeypatch):
    code = snippet("Greeting").replace("http://localhost:8080", origin.url)
    servers, started = [], threading.Event()

    def serve_on_a_free_port(gateway, port):
        servers.append(serve(gateway, port=0))
        started.set()
        return servers[0]

    monkeypatch.setattr("rolo.serving.serve", serve_on_a_free_port)
    names = {}
    thread = threading.Thread(target=exec, args=(code, names))
    thread.start()
    assert started.wait(10)
    url = servers[0].url
    try:
        json = [("Content-Type", "application/json")]
        greeted = fetch(url, "/greet", "POST", json, b'{"name": "Ada"}')
        assert greeted.body == b'{"text": "Hello Ada! "}'
        refused = fetch(url, "/greet", "POST", json, b'{"times": 2}')
        assert refused.status == 400
        assert b"name" in refused.body
        assert fetch(url, "/other").body == b"ok"
    finally:
        servers[0].shutdown()
        thread.join(10)
    assert not thread.is_alive()


def test_the_first_rewrite(origin):
    names = {}
    exec(snippet("on_response").replace("http://localhost:8080", origin.url), names)
    with serve(Gateway([names["handler"]])) as server:
        answer = fetch(server.url)
    names["handler"].close()
    assert answer.all("x-edge") == ["acme"]
    assert answer.body == b"ok"


def test_the_first_test_passes(tmp_path):
    test = tmp_path / "test_first.py"
    test.write_text(snippet("serve_asgi_gateway"))
    done = subprocess.run(
        [*PLAIN_PYTEST, "-W", "error", str(test)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr
