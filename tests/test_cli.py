"""The command line without a server: what is refused, and how it is said."""

import argparse
import contextlib
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
from rolo.cli.arguments import Address, address, count, parse, seconds
from rolo.cli.run import _rare_collections, proxy_handler
from rolo.proxy import ForwardedPolicy


def error_line(capsys):
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.endswith("\n")
    return err


# --- arguments --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        pytest.param("127.0.0.1:80", "127.0.0.1", 80, id="IPv4"),
        pytest.param("[::1]:8080", "::1", 8080, id="IPv6"),
        pytest.param("localhost:0", "localhost", 0, id="name, free port"),
        pytest.param(":8080", "0.0.0.0", 8080, id="every interface"),
        pytest.param("8080", "127.0.0.1", 8080, id="port only"),
    ],
)
def test_addresses(text, host, port):
    assert address(text) == Address(host, port)


@pytest.mark.parametrize("text", ["", "host", "host:", "host:x", "host:65536", "::1:80", "h:-1"])
def test_what_is_no_address(text):
    with pytest.raises(argparse.ArgumentTypeError):
        address(text)


def test_seconds_and_counts():
    assert seconds("0.5") == 0.5
    assert seconds("none") is None
    assert count("3") == 3
    for text in ("0", "-1", "x", "nan", "inf", ""):
        with pytest.raises(argparse.ArgumentTypeError):
            seconds(text)
    for text in ("0", "-1", "1.5", "x", ""):
        with pytest.raises(argparse.ArgumentTypeError):
            count(text)


def test_defaults():
    args = parse(["proxy", "http://localhost:3000"])
    assert args.listen == Address("127.0.0.1", 8080)
    assert (args.server, args.mode, args.workers) == ("auto", "loop", 1)
    assert args.preserve_host
    assert args.access_log
    assert (args.connect_timeout, args.response_timeout, args.idle_timeout) == (10, 60, 300)


def test_options_of_the_forwarded_fields_make_one_policy():
    args = parse(["proxy", "http://localhost:3000"])
    with contextlib.closing(proxy_handler(args)) as handler:
        assert handler.proxy.forwarded == ForwardedPolicy()
    options = ["--forwarded", "replace", "--forwarded-header", "--via", "edge-1"]
    options += ["--trusted-proxies", "10.0.0.0/8, 192.168.1.7,fd00::/8"]
    with contextlib.closing(proxy_handler(parse(["proxy", "http://x", *options]))) as handler:
        assert handler.proxy.forwarded == ForwardedPolicy.trusting(
            "10.0.0.0/8", "192.168.1.7/32", "fd00::/8", mode="replace", forwarded=True, via="edge-1"
        )


@pytest.mark.parametrize("option", ["--trusted-proxies=here", "--via=a b", "--via=a,b", "--via="])
def test_options_of_the_forwarded_fields_that_make_no_sense(option, capsys):
    with pytest.raises(SystemExit) as stop:
        parse(["proxy", "http://x", option])
    assert stop.value.code == 2
    assert option.partition("=")[0] in error_line(capsys)


def test_quiet_has_no_access_log_unless_asked_for():
    assert not parse(["proxy", "http://x", "-q"]).access_log
    assert parse(["proxy", "http://x", "-q", "--access-log"]).access_log


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
