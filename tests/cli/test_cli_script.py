"""A script of the user's: what is taken of it, and how another version of it takes over."""

import os
import sys

import pytest

from rolo.cli.errors import CommandError
from rolo.cli.script import ScriptedHandler, load_script, readable
from rolo.cli.stop import StopNow
from rolo.proxy import ProxyHandler

HOOKS = """
from rolo.proxy import Hooks
import builtins
class Noted(Hooks):
    def start(self): ...
    def on_request(self, context): ...
    def close(self): builtins.script_notes.append("closed NAME")
"""


@pytest.fixture(autouse=True)
def no_trace_of_scripts(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("rolo_script", None)


@pytest.fixture
def notes(monkeypatch):
    notes = []
    monkeypatch.setattr("builtins.script_notes", notes, raising=False)
    return notes


@pytest.fixture
def script(tmp_path):
    """A file, and what writes its next version: ``(path, write)``."""
    path = tmp_path / "script.py"
    versions = iter(range(1, 100))

    def write(source):
        path.write_text(source)
        at = next(versions)
        os.utime(path, (at, at))  # however soon it comes after the one before

    return path, write


@pytest.fixture
def handled(script):
    """Makes the handler of the script; returns it and what was made, ``(handler, made)``."""
    handlers = []

    def handled(source, kind=ProxyHandler):
        path, write = script
        write(source)
        made = []

        def make(kind, hooks):
            made.append(kind("http://127.0.0.1:1", hooks=hooks))
            return made[-1]

        handler = ScriptedHandler(str(path), make)
        handlers.append(handler)
        return handler, made

    yield handled
    for handler in handlers:
        handler.close()


def enter(handler):
    """Begin an exchange; returns what ends it."""
    life = handler._handler.proxy.phases.life
    life.enter(None)
    return life.leave


# --- a file that changes ----------------------------------------------------------------


def test_a_file_that_did_not_change_is_not_loaded_again(handled):
    handler, made = handled(HOOKS)
    handler.reload_if_changed()
    assert len(made) == 1


def test_another_version_takes_over_with_the_connections_of_the_one_before(
    handled, script, notes, caplog
):
    handler, made = handled(HOOKS.replace("NAME", "one"))
    proxy = handler._handler.proxy
    enter(handler)()
    script[1](HOOKS.replace("NAME", "two"))
    handler.reload_if_changed()
    assert (len(made), handler._handler) == (2, made[1])
    assert handler._handler.proxy is proxy
    assert notes == ["closed one"]
    assert caplog.messages == [f"{script[0]}: loaded again"]
    enter(handler)()
    handler.close()
    assert notes == ["closed one", "closed two"]


def test_the_version_before_is_closed_when_its_last_exchange_is_over(handled, script, notes):
    handler, _ = handled(HOOKS.replace("NAME", "one"))
    first, second = enter(handler), enter(handler)
    script[1](HOOKS.replace("NAME", "two"))
    handler.reload_if_changed()
    first()
    assert notes == []
    second()
    assert notes == ["closed one"]


def test_a_version_with_a_mistake_is_told_once_and_the_one_before_goes_on(
    handled, script, notes, caplog
):
    handler, made = handled(HOOKS.replace("NAME", "one"))
    enter(handler)()
    module = sys.modules["rolo_script"]
    script[1]("\n1 / 0\n")
    for _ in range(3):
        handler.reload_if_changed()
    assert caplog.messages == [
        f"{script[0]}:2: ZeroDivisionError: division by zero; the version before goes on"
    ]
    assert (handler._handler, notes) == (made[0], [])
    assert sys.modules["rolo_script"] is module  # whose classes are in use
    script[1](HOOKS.replace("NAME", "three"))
    handler.reload_if_changed()
    assert (handler._handler, notes) == (made[1], ["closed one"])


def test_a_file_that_is_gone_for_a_moment_is_no_change(handled, script, caplog):
    handler, made = handled(HOOKS)
    script[0].unlink()
    handler.reload_if_changed()
    assert (len(made), caplog.messages) == (1, [])
    script[1](HOOKS + "\n")
    handler.reload_if_changed()
    assert len(made) == 2


def test_a_version_of_the_same_size_is_seen_by_its_time_and_of_the_same_time_by_its_size(
    handled, script
):
    handler, made = handled(HOOKS)
    script[1](HOOKS)
    handler.reload_if_changed()
    assert len(made) == 2
    before = script[0].stat()
    script[0].write_text(HOOKS + "\n")
    os.utime(script[0], ns=(before.st_atime_ns, before.st_mtime_ns))
    handler.reload_if_changed()
    assert len(made) == 3


def test_a_handler_of_the_files_own_is_made_with_its_hooks(handled):
    source = "from rolo.proxy import ProxyHandler\nclass Mine(ProxyHandler):\n    pass\n"
    handler, made = handled(HOOKS + source)
    assert type(made[0]).__name__ == "Mine"
    assert [type(each).__name__ for each in load_script(handler._path).hooks] == ["Noted"]


# --- what a file holds ------------------------------------------------------------------


def test_only_the_leaves_among_its_classes_are_used_in_their_order(script):
    path, write = script
    write(
        "from rolo.proxy import Hooks, ProxyHandler\n"
        "class Base(Hooks):\n    def on_request(self, context): ...\n"
        "class B(Base): ...\nclass A(Base): ...\nagain = A\n"
        "class Handler(ProxyHandler): ...\nclass Own(Handler): ...\n"
        "def on_request(context): ...\n"
    )
    script = load_script(str(path))
    assert [type(each).__name__ for each in script.hooks] == ["B", "A", "HookFunctions"]
    assert (script.path, script.handler.__name__) == (str(path), "Own")


def test_a_list_of_hooks_stands_for_the_classes_and_functions_come_behind_it(script):
    path, write = script
    write(HOOKS + "class Other(Noted): ...\nhooks = (Noted(),)\ndef on_request(context): ...\n")
    names = [type(each).__name__ for each in load_script(str(path)).hooks]
    assert names == ["Noted", "HookFunctions"]


def test_without_a_class_of_its_own_the_handler_is_the_usual_one(script):
    path, write = script
    write("on_response = None\ndef on_request(context): ...\n")
    script = load_script(str(path))
    assert (script.handler, len(script.hooks)) == (ProxyHandler, 1)


def test_what_lies_beside_it_comes_first_and_is_named_once(script, monkeypatch):
    path, write = script
    write(HOOKS)
    for _ in range(2):
        load_script(str(path))
    assert sys.path[0] == str(path.parent)
    assert sys.path.count(str(path.parent)) == 1
    assert sys.modules["rolo_script"].__file__ == str(path)


def test_a_mistake_leaves_the_module_of_the_version_before(script):
    path, write = script
    write(HOOKS)
    load_script(str(path))
    module = sys.modules["rolo_script"]
    write("1 / 0")
    with pytest.raises(CommandError):
        load_script(str(path))
    assert sys.modules["rolo_script"] is module


# --- how a mistake is said --------------------------------------------------------------


def test_a_syntax_error_in_a_file_beside_it_names_the_line_that_imports_it(script):
    path, write = script
    (path.parent / "broken_beside.py").write_text("def f(:\n")
    write("\nimport broken_beside\n")
    with pytest.raises(CommandError) as caught:
        load_script(str(path))
    assert str(caught.value).startswith(f"{path}:2: SyntaxError: ")
    assert caught.value.code == 2


def test_the_signal_to_stop_passes_through(script):
    with pytest.raises(StopNow), readable("script.py"):
        raise StopNow


def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path):
    with pytest.raises(CommandError, match=f"cannot read {tmp_path}: Is a directory") as caught:
        load_script(str(tmp_path))
    assert caught.value.code == 2
