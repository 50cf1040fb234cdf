"""The servers under test, and proxies on them that are built as the command builds them."""

import contextlib

import pytest

from rolo.cli.arguments import parse
from rolo.cli.run import proxy_gateway, proxy_handler
from rolo.config.objects import server_settings
from rolo.serving import SERVERS, serve

LOOP_SERVERS = ["native", "uvicorn", "hypercorn", "granian", "twisted"]
MODES = ["threads", "loop"]


def installed(name):
    reason = SERVERS[name].available()
    if reason:
        pytest.skip(reason)
    return name


class Commanded:
    """Proxies built as ``rolo proxy`` builds them, in this process."""

    def __init__(self, server, mode, running):
        self.server = server
        self.mode = mode
        self._running = running

    def __call__(self, upstream, *options, tls=None, threads=None):
        """Start a proxy in front of ``upstream`` with ``options`` of the command line."""
        options = ["--mode", self.mode, "--no-access-log", *options]
        config = parse(["proxy", upstream, *options]).config
        handler = self._running.enter_context(contextlib.closing(proxy_handler(config)))
        return self._running.enter_context(
            serve(
                proxy_gateway([handler], config),
                server=self.server,
                tls=tls,
                threads=threads,
                **{**server_settings(config), "shutdown_timeout": 0.5},
            )
        )


def lines_about_the_upstream(caplog):
    """What rolo's loggers warned of."""
    return [r.message for r in caplog.records if r.name.startswith("rolo") and r.levelno >= 30]
