"""Every recipe is a whole file, and does what its heading says."""

import contextlib
import hashlib
import hmac
import pathlib
import re
import runpy
import sys
import threading

import pytest
from threaded_origin import ThreadedOrigin
from websocket_origin import Client, WebSocketOrigin
from wire import Wire, fetch

from rolo.cli.script import load_script
from rolo.gateway import Gateway
from rolo.proxy import Hooks
from rolo.serving import serve

PAGE = (pathlib.Path(__file__).parent.parent / "docs" / "recipes.md").read_text()
RECIPES = re.findall(r"^## \.\.\. (.+?)\n.*?^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)

pytestmark = pytest.mark.usefixtures("no_trace_of_scripts")


@pytest.fixture
def no_trace_of_scripts(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("rolo_script", None)


def recipe(heading, **replaced):
    """The file under the heading that begins so, with other URLs and numbers."""
    (text,) = (text for title, text in RECIPES if title.startswith(heading))
    for old, new in replaced.pop("urls", {}).items():
        assert old in text
        text = text.replace(old, new)
    for name, value in replaced.items():
        text, count = re.subn(rf"^{name} = .*$", f"{name} = {value!r}", text, flags=re.MULTILINE)
        assert count == 1
    return text


@pytest.fixture
def origin():
    with ThreadedOrigin() as origin:
        yield origin


@pytest.fixture
def other():
    with ThreadedOrigin() as other:
        yield other


@pytest.fixture
def dead():
    with ThreadedOrigin() as origin:
        pass
    return origin.url


class Told(Hooks):
    """Tells when the hooks behind it have been told that an exchange is over."""

    def __init__(self, done):
        self.done = done

    def on_finished(self, context):
        self.done.set()


@pytest.fixture(params=["loop", "threads"])
def scripted(request, tmp_path):
    """Serve what a script makes, as the command does; returns its URL."""
    with contextlib.ExitStack() as running:

        def scripted(text, upstream, *hooks):
            path = tmp_path / "recipe.py"
            path.write_text(text)
            script = load_script(str(path))
            handler = script.handler(upstream, hooks=[*hooks, *script.hooks])
            running.callback(handler.close)
            return running.enter_context(serve(Gateway([handler]), mode=request.param)).url

        yield scripted


def test_each_recipe_is_run_by_a_test_below():
    source = pathlib.Path(__file__).read_text()
    assert len(RECIPES) == PAGE.count("```python") == PAGE.count("\n## ")
    for heading, _ in RECIPES:
        assert any(heading.startswith(run) for run in re.findall(r'recipe\(\s*"(.+?)"', source))


def test_a_second_upstream(scripted, dead, other):
    url = scripted(recipe("ask a second", urls={"http://localhost:9001": other.url}), dead)
    assert fetch(url, "/x", "POST", body=b"all").body == b"ok"
    assert (other.last.target, other.last.body) == ("/x", b"all")
    other.close()
    assert fetch(url).status == 502


def test_a_second_upstream_for_answers_that_say_it_failed(scripted, origin, other):
    origin.answer(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
    url = scripted(recipe("ask a second", urls={"http://localhost:9001": other.url}), origin.url)
    assert fetch(url, "/y").body == b"ok"
    assert other.last.target == "/y"


def test_a_service_that_is_called(scripted, origin, other):
    url = scripted(recipe("call a", urls={"http://localhost:9001": other.url}), origin.url)
    other.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nyes")
    assert fetch(url, headers=[("X-User", "ada")]).body == b"ok"
    assert (other.last.target, other.last.get("x-user")) == ("/allowed", "ada")
    assert fetch(url).status == 403


def test_a_stream_that_is_kept_alive(scripted, origin):
    def silent(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        connection.recv(1)  # until the proxy leaves

    origin.script(silent, only="/events")
    url = scripted(recipe("keep an event", BEAT=0.01), origin.url)
    assert fetch(url, "/other").body == b"ok"
    with Wire(url) as wire:
        wire.request("GET", "/events")
        for _ in range(2):
            wire.read_until(b":beat\n\n")


def test_a_copy_that_is_kept(scripted, origin, tmp_path):
    directory = tmp_path / "copies"
    text = recipe("keep a copy", urls={'"copies"': repr(str(directory))})
    done = threading.Event()
    url = scripted(text, origin.url, Told(done))
    assert fetch(url, "/a/b").body == b"ok"
    assert done.wait(5)
    assert (directory / "a_b").read_bytes() == b"ok"


def test_downloads_that_are_throttled(scripted, origin, monkeypatch):
    slept = []
    monkeypatch.setattr(
        "rolo.proxy.hooks.context.ProxyContext.sleep", lambda self, seconds: slept.append(seconds)
    )
    origin.answer(
        b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-999/5000\r\n"
        b"Content-Length: 1000\r\n\r\n" + b"x" * 1000
    )
    url = scripted(recipe("throttle", RATE=500), origin.url)
    assert len(fetch(url, headers=[("Range", "bytes=0-999")]).body) == 1000
    assert sum(slept) == pytest.approx(2)


@pytest.mark.parametrize("mode", ["loop", "threads"])
def test_an_endpoint_that_waits(mode, origin, tmp_path):
    path = tmp_path / "program.py"
    urls = {"http://localhost:8080": origin.url, "sleep(0.5)": "sleep(0.01)"}
    path.write_text(recipe("wait in", urls=urls))
    gateway = runpy.run_path(str(path))["gateway"]
    with serve(gateway, mode=mode) as server:
        assert fetch(server.url, "/later").body == b"now\n"
        assert fetch(server.url, "/other").body == b"ok"
    gateway.request_handlers[1].close()


def test_tenants_and_their_upstreams(scripted, origin, other, dead):
    urls = {"http://localhost:9001": origin.url, "http://localhost:9002": other.url}
    url = scripted(recipe("give each", urls=urls), dead)
    with Wire(url) as wire:
        for host in ("acme.example", "other.example"):
            wire.send(f"GET /{host} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert wire.answer().body == b"ok"
        wire.send(b"GET / HTTP/1.1\r\nHost: nobody.example\r\n\r\n")
        assert wire.answer().status == 404
    assert (origin.last.target, other.last.target) == ("/acme.example", "/other.example")


def signature(*parts):
    return hmac.new(b"secret", b"\n".join(parts), hashlib.sha256).hexdigest()


def test_requests_and_handshakes_that_are_signed(scripted):
    with WebSocketOrigin() as origin:
        url = scripted(recipe("sign"), origin.url)
        with Client(url, "/chat") as client:
            client.open()
            assert origin.last.get("x-signature") == signature(b"GET", b"/chat", b"")
        assert fetch(url, "/x?y", "POST", body=b"all").body == b"ok"
        assert origin.last.get("x-signature") == signature(b"POST", b"/x?y", b"all")
