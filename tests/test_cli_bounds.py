"""The options for TLS to the upstream and for limits."""

import argparse
import contextlib
import logging

import pytest

from rolo.bridge.limits import Limits
from rolo.cli import main
from rolo.cli.arguments import parse
from rolo.cli.bounds import limits_of, pool_of, size, tls_of, websockets_of
from rolo.cli.logs import logging_to_the_terminal
from rolo.cli.run import proxy_handler, server_settings
from rolo.errors import describe
from rolo.proxy import ForwardedPolicy, PoolLimits, Tls

URL = "https://localhost:3000"


def test_without_options_the_defaults_of_the_library_hold():
    args = parse(["proxy", URL])
    assert limits_of(args) == Limits()
    assert pool_of(args) == PoolLimits()
    assert tls_of(args) == Tls()
    assert server_settings(args) == {"limits": Limits(), "proxy_status": None}


def test_every_option_of_websockets_reaches_the_relay():
    options = ["--websocket-ping-interval", "3", "--websocket-ping-timeout", "4"]
    options += ["--websocket-close-timeout", "5", "--websocket-idle-timeout", "6"]
    args = parse(["proxy", URL, *options, "--buffer", "7k", "--websocket-compression"])
    settings = websockets_of(args)
    with contextlib.closing(proxy_handler(args)) as handler:
        assert handler.proxy.websockets.settings == settings
    assert (settings.ping_interval, settings.ping_timeout) == (3, 4)
    assert (settings.close_timeout, settings.idle_timeout) == (5, 6)
    assert (settings.buffer, settings.compression) == (7 * 1024, True)
    assert pool_of(args).max_buffer == limits_of(args).buffer == 7 * 1024


def test_every_limit_has_its_option():
    options = {
        "--max-head": "8k",
        "--max-fields": "50",
        "--max-target": "2k",
        "--max-body": "1m",
        "--max-exchanges": "none",
        "--max-connections": "7",
        "--buffer": "16k",
        "--idle-timeout": "9",
    }
    args = parse(["proxy", URL, *(word for pair in options.items() for word in pair)])
    assert limits_of(args) == Limits(
        max_head=8192,
        max_fields=50,
        max_target=2048,
        max_body=1 << 20,
        max_exchanges=None,
        send_timeout=9,
        buffer=16384,
    )
    assert pool_of(args) == PoolLimits(max_connections=7, max_buffer=16384)


def test_options_for_tls_reach_the_handler():
    options = ["--ca-file", "ca", "--client-cert", "c", "--client-key", "k"]
    args = parse(["proxy", URL, *options, "--tls-server-name", "name", "--proxy-status"])
    with contextlib.closing(proxy_handler(args)) as handler:
        assert handler.proxy.client.tls == Tls("ca", "c", "k", "name")
        assert handler.proxy_status == "rolo"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--client-key", "k"], "--client-key needs --client-cert"),
        (["--insecure", "--ca-file", "f"], "exclude each other"),
        (["--ca-file", "/no/such/file"], "/no/such/file"),
    ],
)
def test_tls_options_that_cannot_work_are_said_before_anything_runs(options, said, capsys):
    assert main(["proxy", URL, *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_tls_options_without_tls_make_no_sense(capsys):
    assert main(["proxy", "http://localhost:3000", "--insecure"]) == 2
    assert "not an https URL" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "value"), [("1", 1), ("64k", 65536), ("2M", 2 << 20), ("1g", 1 << 30)]
)
def test_sizes(text, value):
    assert size(text) == value


@pytest.mark.parametrize("text", ["", "0", "-1", "k", "1t", "1.5k", "0x10", "1 k"])
def test_sizes_that_are_none(text):
    with pytest.raises(argparse.ArgumentTypeError):
        size(text)


@pytest.mark.parametrize("networks", ["", ",", " "])
def test_a_list_of_no_networks_is_refused_and_does_not_trust_everybody(networks, capsys):
    assert main(["proxy", "http://localhost:3000", "--trusted-proxies", networks]) == 2
    assert "empty list" in capsys.readouterr().err
    with pytest.raises(ValueError, match="replace"):
        ForwardedPolicy.trusting()


def test_what_others_said_cannot_write_lines_of_the_log(capsys):
    args = parse(["proxy", "http://localhost:3000"])
    with logging_to_the_terminal(args):
        try:
            raise ValueError("\x1b[2J\r\n2026-01-01 ERROR rolo: all is well\x85")
        except ValueError as error:
            logging.getLogger("rolo.x").error("failed: %s", describe(error), exc_info=error)
    written = capsys.readouterr().err
    assert not any(c in written for c in "\x1b\r\x85")
    assert not any(line.startswith("2026-01-01 ERROR") for line in written.splitlines())
    assert "all is well" in written
