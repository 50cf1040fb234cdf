"""The programs and scripts in ``examples/proxy/`` run as they are."""

import base64
import gzip
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading

import pytest
from inner_pytest import PLAIN_PYTEST
from threaded_origin import ThreadedOrigin
from websocket_origin import Client, WebSocketOrigin
from wire import chunked, fetch

EXAMPLES = pathlib.Path(__file__).parent.parent / "examples" / "proxy"
DEADLINE = 20.0


class Program:
    """A process whose lines of output can be waited for."""

    def __init__(self, arguments, environment):
        self.lines = []
        self._changed = threading.Condition()
        self._process = subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            stdout=subprocess.PIPE,
            env={**os.environ, **environment},
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        for line in self._process.stdout:
            with self._changed:
                self.lines.append(line.rstrip())
                self._changed.notify_all()

    def line(self, beginning):
        """Wait for a line that begins so."""

        def find():
            return next((line for line in self.lines if line.startswith(beginning)), None)

        with self._changed:
            assert self._changed.wait_for(find, DEADLINE), self.lines
            return find()

    def close(self):
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(DEADLINE)
        self._reader.join(DEADLINE)
        self._process.stdout.close()


@pytest.fixture
def running():
    programs = []

    def run(*arguments, **environment):
        programs.append(Program(arguments, environment))
        return programs[-1]

    yield run
    for program in programs:
        program.close()


@pytest.fixture
def program(running, origin):
    """Run a program; returns its URL."""

    def program(name):
        return running(EXAMPLES / name, origin.url).line("http://")

    return program


@pytest.fixture
def script(running):
    """Run ``rolo proxy --script``; returns the URL and the program."""

    def script(name, upstream, **environment):
        options = ["--listen", "127.0.0.1:0", "--no-access-log", "--script", EXAMPLES / name]
        run = running("-m", "rolo", "proxy", *options, upstream, **environment)
        line = run.line("rolo ")
        return line.partition("listens on ")[2].partition(",")[0], run

    return script


@pytest.fixture
def origin():
    with ThreadedOrigin() as origin:
        yield origin


def answer(body, *lines):
    head = [b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *lines]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def test_every_example_is_run_here():
    """And is short enough to be read."""
    source = pathlib.Path(__file__).read_text()
    for path in EXAMPLES.glob("*.py"):
        assert f'"{path.name}"' in source, path.name
        assert 8 <= len(path.read_text().splitlines()) <= 45, path.name


def test_reverse_proxy(program, origin):
    assert fetch(program("reverse_proxy.py"), "/x").body == b"ok"
    assert origin.last.target == "/x"


def test_local_endpoints(program, origin):
    url = program("local_endpoints.py")
    headers = [("Content-Type", "application/json")]
    item = b'{"name": "foo", "price": 1.5}'
    assert json.loads(fetch(url, "/items/5", "PUT", headers, item).body) == {"id": 5, "name": "foo"}
    assert fetch(url, "/items/5", "PUT", headers, b"{}").status == 400
    assert fetch(url, "/api/x%20y").body == b"ok"
    assert origin.last.target == "/x%20y"
    assert fetch(url, "/other").body == b"ok"


def test_headers(script, origin):
    url, _ = script("headers.py", origin.url)
    origin.answer(answer(b"", b"Server: old", b"X-Powered-By: magic"))
    got = fetch(url, headers=[("Cookie", "a=1")])
    assert origin.last.get("x-tenant") == "127"
    assert origin.last.get("cookie") is None
    assert got.get("strict-transport-security") == "max-age=31536000"
    assert (got.get("x-powered-by"), "old" in got.all("server")) == (None, False)


def test_rewrite_bodies(script, origin):
    url, _ = script("rewrite_bodies.py", origin.url)
    page = gzip.compress(b"<html>\n<body>\nhello\n</body></html>")
    origin.answer(answer(page, b"Content-Type: text/html", b"Content-Encoding: gzip"))
    got = gzip.decompress(fetch(url).body)
    assert got == b"<html>\n<body><p>This is the staging system.</p>\nhello\n</body></html>"
    users = b'{"users": [{"name": "ada", "password": "x"}]}'
    origin.answer(answer(users, b"Content-Type: application/json"))
    assert json.loads(fetch(url).body) == {"users": [{"name": "ada"}]}


def test_token_filter(script, origin):
    url, _ = script("token_filter.py", origin.url)
    tokens = [b'data: {"token": "%b"}\n\n' % token for token in (b"my", b" secret", b"!")]
    origin.answer(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n" + chunked(*tokens, b"data: [DONE]\n\n")
    )
    events = fetch(url).body.decode().split("\n\n")
    assert events == [
        'data: {"token": "my"}',
        'data: {"token": " ***"}',
        'data: {"token": "!"}',
        'data: {"tokens": 3}',
        "data: [DONE]",
        "",
    ]


def test_edit_messages(script):
    with WebSocketOrigin() as origin:
        url, run = script("edit_messages.py", origin.url)
        with Client(url) as client:
            client.open()
            assert client.message() == "welcome"
            client.text("ping")
            client.text("  hello ")
            got = {client.message() for _ in range(3)}
            assert got == {"pong", "upstream: hello", "still there?"}
            client.close(1000)
            client.closing()
        assert run.line("closed") == "closed by the client with 1000"


HANDSHAKE = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
]


def test_auth_gate(script, origin):
    url, _ = script("auth_gate.py", origin.url)

    def login(name):
        return [("Authorization", "Basic " + base64.b64encode(name).decode())]

    assert fetch(url).status == 401
    assert fetch(url, headers=login(b"ada:wrong")).status == 401
    assert fetch(url, "/admin", headers=login(b"bob:builder")).status == 403
    assert fetch(url, "/admin", headers=login(b"ada:lovelace")).status == 200
    assert origin.last.get("x-user") == "ada"
    assert origin.last.get("authorization") is None
    # A client that says who it is has said nothing: in requests and in handshakes alike.
    claim = [*login(b"bob:builder"), ("X-User", "ada")]
    assert fetch(url, headers=claim).status == 200
    assert origin.last.all("x-user") == ["bob"]
    fetch(url, headers=[*claim, *HANDSHAKE])
    assert origin.last.get("sec-websocket-version") == "13"
    assert origin.last.all("x-user") == ["bob"]


def test_fallback(script, origin):
    with ThreadedOrigin() as dead:
        pass
    url, run = script("fallback.py", dead.url, SECOND=origin.url)
    assert fetch(url, "/x").body == b"ok"
    assert run.line(f"complete by {origin.url}")
    origin.close()
    got = fetch(url)
    assert (got.status, got.body) == (503, b"We will be back soon (502).\n")


def test_mock_endpoint():
    path = str(EXAMPLES / "test_mock_endpoint.py")
    done = subprocess.run(
        [*PLAIN_PYTEST, path],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == 0, done.stdout


def test_mirror_and_compare(script, origin):
    with ThreadedOrigin() as following:
        url, run = script("mirror_and_compare.py", origin.url, NEXT=following.url)
        assert fetch(url, "/a", "POST", body=b"abc").body == b"ok"
        assert run.line("same: /a")
        assert (following.last.target, following.last.body) == ("/a", b"abc")
        following.answer(answer(b"new"))
        assert fetch(url, "/b").body == b"ok"
        assert run.line("different: /b") == "different: /b: 200 b'ok', next version 200 b'new'"


def test_recording_tap(script, origin):
    url, run = script("recording_tap.py", origin.url)
    fetch(url, "/x?y=1", "POST", body=b"abc")
    record = json.loads(run.line("{"))
    assert record.pop("seconds") > 0
    assert record == {
        "request": "POST /x?y=1",
        "sent": "abc",
        "status": 200,
        "received": "ok",
        "outcome": "complete",
    }
