"""``rolo proxy --script``: hooks from a file."""

import os
import signal
import sys

import pytest
from test_cli_proxy import DEADLINE, Command
from threaded_origin import ThreadedOrigin
from wire import Wire, fetch

from rolo.cli import main
from rolo.cli.errors import CommandError
from rolo.cli.script import load_script

BRAND = """
def on_response(context, response):
    response.headers["X-Edge"] = "one"
"""

CLASSES = """
from rolo import Response
from rolo.proxy import Hooks, ProxyHandler

class Base(Hooks):
    name = "?"
    def on_outgoing(self, context, outbound):
        outbound.headers["X-Order"] = outbound.headers.get("X-Order", "") + self.name

class A(Base):
    name = "a"

class B(Base):
    name = "b"

class Mine(ProxyHandler):
    def on_request(self, context):
        if context.path == "/local":
            return Response("local")

    def on_outgoing(self, context, outbound):
        outbound.headers["X-Order"] = "handler "

def on_outgoing(context, outbound):
    outbound.headers["X-Order"] += " function"
"""


@pytest.fixture
def origin():
    with ThreadedOrigin() as origin:
        yield origin


@pytest.fixture(autouse=True)
def no_trace_of_scripts(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in ("rolo_script", "beside"):
        sys.modules.pop(name, None)


@pytest.fixture
def scripted(tmp_path, origin):
    """Run the command with a script; returns its URL and the command."""
    commands = []
    path = tmp_path / "script.py"

    def scripted(source, *args):
        path.write_text(source)
        command = Command(
            *("proxy", "--listen", "127.0.0.1:0", "--script", str(path), *args, origin.url)
        )
        commands.append(command)
        return f"http://127.0.0.1:{command.port()}", command, path

    yield scripted
    for command in commands:
        command.close()


def test_functions_and_classes_of_a_file_are_used(scripted, origin):
    url, command, _ = scripted(CLASSES)
    assert fetch(url, "/local").body == b"local"
    assert fetch(url, "/x").status == 200
    assert origin.last.get("x-order") == "handler ab function"
    assert command.stop(signal.SIGTERM) == 0


def test_a_changed_file_is_loaded_again_and_a_mistake_keeps_the_last_version(scripted, origin):
    url, command, path = scripted(BRAND, "--reload")
    assert fetch(url).get("x-edge") == "one"
    path.write_text("def on_response(context):\n    pass\n")
    command.expect(r"script\.py:1: it is on_response\(context, response\)")
    assert fetch(url).get("x-edge") == "one"
    path.write_text(BRAND.replace("one", "other"))
    command.expect("loaded again")
    assert fetch(url).get("x-edge") == "other"
    assert origin.connections == 1


def test_workers_use_the_script_too(scripted):
    url, _, _ = scripted(BRAND, "--workers", "2")
    # The socket is there before any of the two processes.
    with Wire(url, DEADLINE) as wire:
        assert wire.get("/").get("x-edge") == "one"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1\ndef f(:\n", ":2: invalid syntax"),
        ("import os\n\n1 / 0\n", ":3: ZeroDivisionError: division by zero"),
        (
            "def on_respose(a, b): pass",
            ":1: there is no phase on_respose, did you mean on_response?",
        ),
        ("\ndef on_response(a): pass", ":2: it is on_response(context, response)"),
        ("x = 1", ": nothing to use; define on_response"),
        ("import no_such_module", ":1: ModuleNotFoundError"),
        (
            "from rolo.proxy import ProxyHandler as P\nclass A(P): pass\nclass B(P): pass\n",
            ": one handler at a time, not A and B",
        ),
        ("hooks = [1]", ": hooks is a list of objects"),
        ("import sys\n\nsys.exit()\n", ":3: a script must not end the program (SystemExit)"),
        ("raise KeyboardInterrupt", ":1: a script must not end the program (KeyboardInterrupt)"),
        (
            "from rolo.proxy import Hooks\nclass A(Hooks):\n    def __init__(self):\n"
            "        raise SystemExit(3)\n    def on_request(self, context): ...\n",
            ":4: a script must not end the program (SystemExit: 3)",
        ),
    ],
    ids=[
        *("syntax", "error", "name", "parameters", "empty", "import", "handlers", "list"),
        *("exit", "interrupt", "exit of a class"),
    ],
)
def test_a_mistake_is_one_line_with_file_and_line(tmp_path, source, message):
    path = tmp_path / "script.py"
    path.write_text(source)
    with pytest.raises(CommandError) as caught:
        load_script(str(path))
    assert f"{path}{message}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.code == 2


def test_the_command_tells_a_mistake_and_leaves(tmp_path, capsys):
    assert (
        main(
            ["proxy", "--listen", "127.0.0.1:0", "--script", os.devnull + "x", "http://127.0.0.1:1"]
        )
        == 2
    )
    assert "cannot read" in capsys.readouterr().err


def test_reload_needs_a_script(capsys):
    assert main(["proxy", "--reload", "http://127.0.0.1:1"]) == 2
    assert "--reload needs --script" in capsys.readouterr().err


def test_a_script_is_a_module_of_its_own(tmp_path):
    (tmp_path / "beside.py").write_text("NAME = 'x'\n")
    path = tmp_path / "script.py"
    path.write_text(
        "import dataclasses\nfrom beside import NAME\nfrom rolo.proxy import Hooks\n"
        "@dataclasses.dataclass\nclass Tag(Hooks):\n    name: str = NAME\n"
        "    def on_request(self, context): ...\nhooks = [Tag('y')]\n"
    )
    (tag,) = load_script(str(path)).hooks
    assert tag.name == "y"
