"""The command line without a server: what is refused, and how it is said."""

import gc
import importlib.metadata
import re
import socket
import subprocess
import sys

import pytest

from rolo._version import __version__
from rolo.bridge.access_log import line_of
from rolo.bridge.observer import Ended, Exchange
from rolo.cli import main
from rolo.cli.run import _rare_collections


def error_line(capsys):
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.endswith("\n")
    return err


# --- what needs no server ---------------------------------------------------------------


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"rolo {__version__}\n"


def test_version_loads_no_framework():
    code = (
        "import sys; from rolo.cli import main; main(['--version']); "
        "sys.exit(any(n in sys.modules for n in ('asyncio', 'hypercorn', 'pydantic')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_help_names_the_commands(capsys):
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert "proxy" in out
    assert "demo" in out
    assert main(["proxy", "--help"]) == 0
    assert "--parent-fd" not in capsys.readouterr().out


# --- what cannot be done ----------------------------------------------------------------


@pytest.mark.parametrize(
    "argv",
    [
        pytest.param([], id="no command"),
        pytest.param(["prox"], id="unknown command"),
        pytest.param(["proxy"], id="no upstream"),
        pytest.param(["proxy", "localhost:3000"], id="no scheme"),
        pytest.param(["proxy", "ftp://localhost"], id="unknown scheme"),
        pytest.param(["proxy", "http://localhost:x"], id="bad port in the URL"),
        pytest.param(["proxy", "http://localhost?x=1"], id="query in the URL"),
        pytest.param(["proxy", "http://localhost", "--listen", "nowhere"], id="bad address"),
        pytest.param(["proxy", "http://localhost", "--workers", "0"], id="no workers"),
        pytest.param(["proxy", "http://localhost", "--idle-timeout", "-1"], id="bad seconds"),
        pytest.param(["proxy", "http://localhost", "--server", "apache"], id="unknown server"),
        pytest.param(["proxy", "http://localhost", "--frobnicate"], id="unknown option"),
        pytest.param(["proxy", "http://localhost", "-q", "-v"], id="quiet and verbose"),
    ],
)
def test_wrong_command_lines_are_said_in_one_line(capsys, argv):
    assert main(argv) == 2
    assert "error: " in error_line(capsys)


def test_port_in_use(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        assert main(["proxy", "http://127.0.0.1:1", "--listen", listen]) == 1
    assert listen in error_line(capsys)


def test_unknown_host(capsys, monkeypatch):
    def resolve(*args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert main(["proxy", "http://nowhere.invalid"]) == 2
    assert "nowhere.invalid" in error_line(capsys)


def test_server_that_is_not_installed_names_the_extra(capsys, monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert main(["proxy", "http://127.0.0.1:1", "--server", "uvicorn"]) == 2
    assert "pip install rolo[fast]" in error_line(capsys)


# --- the access log ---------------------------------------------------------------------


def access_line(line=b"GET /x?a=1 HTTP/1.1", client=("10.0.0.1", 5), **fields):
    """Return what the access log writes for an exchange that ended like this."""
    given = {
        "outcome": "complete",
        "error": None,
        "detail": None,
        "status": 200,
        "upstream_status": None,
        "received": 0,
        "sent": 7,
        "answered": 3.0,
    }
    exchange = Exchange(1, "http", client, None, line, 2.5, 1_700_000_000.0)
    return line_of(Ended(exchange, 3.75, **{**given, **fields}))


def test_access_line_of_an_answer_of_our_own():
    line = access_line(status=418)
    assert re.match(r"10\.0\.0\.1 - - \[1[45]/Nov/2023:", line)
    assert line.endswith('] "GET /x?a=1 HTTP/1.1" 418 1.250 - 7 complete')


def test_access_line_of_an_upstream_answer():
    assert access_line(status=304, upstream_status=304).endswith(" 304 1.250 304 7 complete")


def test_access_line_of_what_went_wrong():
    line = access_line(client=None, outcome="refused", error="HeadTooLarge", status=431)
    assert line.startswith("- - - [")
    assert line.endswith(" 431 1.250 - 7 HeadTooLarge")
    assert access_line(outcome="client_left", status=None).endswith(" - 1.250 - 7 client_left")


def test_clients_cannot_write_into_the_access_log():
    line = access_line(b'GET /"\n\x1b[31m\xe9 HTTP/1.1')
    assert '"GET /\\x22\\n\\x1b[31m\\xe9 HTTP/1.1"' in line


def test_a_command_leaves_the_garbage_collection_of_its_process_as_it_was():
    before = gc.get_threshold(), gc.get_freeze_count()
    with _rare_collections():
        assert gc.get_threshold()[0] > before[0][0]
        assert gc.get_freeze_count() > before[1]
    assert (gc.get_threshold(), gc.get_freeze_count()) == (before[0], 0)
