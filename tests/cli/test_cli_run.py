"""What the commands do with the server they have started, and how they fail."""

import contextlib
import gc
import socket
import sys
import types

import pytest

from rolo.cli import main, run
from rolo.cli.arguments import parse
from rolo.cli.errors import CommandError
from rolo.cli.run import _check_alive, _run, _start
from rolo.cli.stop import StopNow
from rolo.gateway import Gateway
from rolo.serving import LifespanError, ServerUnavailable


class Server:
    """A server that runs until it is told otherwise."""

    def __init__(self, ended=False, error=None, stops=None):
        self.ended, self.error, self.stops = ended, error, stops
        self.done = []

    def wait(self, timeout):
        assert timeout == 0
        if self.error is not None:
            raise self.error
        return self.ended

    def shutdown(self):
        self.done.append("shutdown")
        if self.stops is not None:
            raise self.stops


class Signals:
    """Gives a signal at the wait of this number."""

    def __init__(self, at, error=None):
        self.waits, self.at, self.error = 0, at, error
        self.seen = []

    def wait(self, timeout):
        assert 0 < timeout <= 1
        self.waits += 1
        self.seen.append((gc.get_threshold()[0], gc.get_freeze_count() > 0))
        if self.error is not None:
            raise self.error
        return self.waits == self.at


def test_it_looks_after_the_server_and_its_script_until_the_signal():
    before = gc.get_threshold()
    server, signals = Server(), Signals(at=3)
    scripted = types.SimpleNamespace(reloads=0)
    scripted.reload_if_changed = lambda: setattr(scripted, "reloads", scripted.reloads + 1)
    assert _run(server, signals, scripted) == 0
    assert (signals.waits, scripted.reloads, server.done) == (3, 2, ["shutdown"])
    assert set(signals.seen) == {(20_000, True)}
    assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)
    assert _run(Server(), Signals(at=2)) == 0  # without a script


@pytest.mark.parametrize(
    ("server", "said"),
    [
        (Server(ended=True), "the server stopped by itself"),
        (Server(error=ValueError("on purpose")), "the server died: on purpose"),
    ],
)
def test_a_server_that_does_not_run_any_more_ends_the_command(server, said):
    with pytest.raises(CommandError, match=f"^{said}$") as caught:
        _run(server, Signals(at=2))
    assert caught.value.code == 1
    _check_alive(Server())


def test_exchanges_that_do_not_end_in_time_are_said():
    with pytest.raises(CommandError, match="3 exchanges") as caught:
        _run(Server(stops=TimeoutError("3 exchanges left")), Signals(at=1))
    assert caught.value.code == 1


@pytest.mark.parametrize("when", ["running", "stopping"])
def test_the_second_signal_leaves_without_any_cleaning_up(monkeypatch, when):
    left = []
    monkeypatch.setattr(run.os, "_exit", left.append)
    server = Server(stops=StopNow() if when == "stopping" else None)
    _run(server, Signals(at=1, error=StopNow() if when == "running" else None))
    assert left == [1]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ServerUnavailable("not installed"), 2),
        (OSError("in use"), 1),
        (LifespanError("start-up failed"), 1),
    ],
)
def test_a_server_that_does_not_start_is_said_in_one_line(monkeypatch, error, code):
    def serve(gateway, **settings):
        raise error

    monkeypatch.setattr(run, "serve", serve)
    config = parse(["proxy", "http://127.0.0.1:1"]).config
    with pytest.raises(CommandError, match=str(error)) as caught:
        _start(Gateway(), config, "native", None)
    assert caught.value.code == code


# --- the command as a whole, but for the server -----------------------------------------


@pytest.fixture
def commanded(monkeypatch, capsys):
    """Run the command with these words up to where it would wait. Returns what was seen: the
    settings of the server, what was written, and the exit code."""
    seen = types.SimpleNamespace(closed=[])

    def serve(gateway, **settings):
        seen.gateway, seen.settings = gateway, settings
        seen.address = settings["sock"].getsockname()
        return Server()

    def wait(server, signals, scripted=None):
        seen.scripted, seen.parent_fd = scripted, signals._parent_fd
        seen.sock_open = seen.settings["sock"].fileno() >= 0
        return 5

    class Supervisor:
        def __init__(self, argv, sock, count, timeout):
            seen.supervised = argv, sock.getsockname()[0], count, timeout

        def run(self, signals):
            return 6

    monkeypatch.setattr(run, "serve", serve)
    monkeypatch.setattr(run, "_run", wait)
    monkeypatch.setattr("rolo.cli.workers.Supervisor", Supervisor)
    close = run.ProxyHandler.close
    monkeypatch.setattr(
        run.ProxyHandler, "close", lambda self: (seen.closed.append(self), close(self))
    )

    def commanded(*words):
        listen = () if "--fd" in words else ("--listen", "127.0.0.1:0")
        seen.code = main([*words, *listen])
        seen.out, seen.err = capsys.readouterr()
        return seen

    return commanded


def test_it_says_where_it_listens_and_how_it_serves(commanded):
    seen = commanded("proxy", "http://127.0.0.1:1", "--mode", "threads", "--server", "native")
    (line,) = seen.out.splitlines()
    where = f"listens on http://127.0.0.1:{seen.address[1]}, forwarding to http://127.0.0.1:1 "
    assert line.endswith(where + "(native, threads mode)")
    assert (seen.code, seen.err, seen.scripted, seen.parent_fd) == (5, "", None, None)
    assert seen.settings["server"] == "native"
    (handler,) = seen.gateway.request_handlers
    assert seen.closed == [handler]
    assert seen.sock_open
    assert seen.settings["sock"].fileno() == -1


def test_quiet_it_says_nothing(commanded):
    assert commanded("proxy", "http://127.0.0.1:1", "-q").out == ""


def test_an_upstream_that_anybody_may_pass_for_is_warned_of(commanded):
    seen = commanded("proxy", "https://127.0.0.1:1", "--insecure", "--shutdown-timeout", "3")
    assert "--insecure: anybody may pass for https://127.0.0.1:1" in seen.err
    assert seen.settings["shutdown_timeout"] == 3


def test_a_worker_serves_the_socket_it_is_given_and_says_nothing(commanded):
    with (
        socket.create_server(("127.0.0.1", 0)) as sock,
        contextlib.closing(socket.socket()) as parent,
    ):
        address = sock.getsockname()
        fds = ("--fd", str(sock.detach()), "--parent-fd", str(parent.fileno()))
        # What only the first process of all looks at.
        seen = commanded("proxy", "https://no.such.host.invalid:1", "--insecure", *fds)
        assert (seen.code, seen.out, seen.err) == (5, "", "")
        assert (seen.address, seen.parent_fd) == (address, parent.fileno())


def test_workers_are_started_with_the_same_words(commanded):
    words = ("proxy", "http://127.0.0.1:1", "--workers", "3", "--shutdown-timeout", "4")
    seen = commanded(*words)
    listens = ("--listen", "127.0.0.1:0")
    assert seen.supervised == ((*words, *listens), "127.0.0.1", 3, 4.0)
    assert seen.code == 6
    assert seen.out.endswith(" mode, 3 workers)\n")
    assert not hasattr(seen, "settings")


def test_a_mistake_in_a_script_is_told_before_any_worker_starts(commanded, tmp_path):
    script = tmp_path / "script.py"
    script.write_text("1 / 0")
    seen = commanded("proxy", "http://127.0.0.1:1", "--workers", "2", "--script", str(script))
    assert (seen.code, seen.out) == (2, "")
    assert f"{script}:1: ZeroDivisionError" in seen.err
    assert not hasattr(seen, "supervised")


def test_hooks_of_a_script_have_a_context_of_their_own_and_reload_is_asked_for(
    commanded, tmp_path, monkeypatch
):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "rolo_script", raising=False)
    script = tmp_path / "script.py"
    script.write_text("def on_request(context): pass")
    words = ("proxy", "http://127.0.0.1:1", "--script", str(script))
    seen = commanded(*words)
    assert seen.scripted is None
    assert seen.gateway.context_class is run.ProxyContext
    assert len(seen.closed) == 1
    seen = commanded(*words, "--reload")
    assert seen.gateway.request_handlers == [seen.scripted]
    assert commanded("proxy", "http://127.0.0.1:1").gateway.context_class is not run.ProxyContext


def test_the_demo_forwards_to_an_origin_of_its_own_and_says_what_to_try(monkeypatch, capsys):
    def wait(server, signals, scripted=None):
        assert signals._parent_fd is None
        server.shutdown()
        return 5

    monkeypatch.setattr(run, "_run", wait)
    assert main(["demo", "--listen", "127.0.0.1:0", "--server", "native"]) == 5
    first, *tries = capsys.readouterr().out.splitlines()
    assert "forwarding to the demo origin at http://127.0.0.1:" in first
    assert first.endswith("(native, loop mode); try")
    assert {line[:2] for line in tries} == {"  "}
    assert any(line.startswith("  curl ") for line in tries)
