"""Each option of the command reaches the object that acts by it."""

import asyncio
import logging
import types

import pytest

import rolo.cli.run
import rolo.cli.workers
from rolo.cli import main
from rolo.cli.logs import logging_to_the_terminal
from rolo.cli.script import ScriptedHandler
from rolo.config.settings import settings
from rolo.config.tree import LogConfig, ProxyConfig
from rolo.errors import describe
from rolo.inspector import Inspector, InspectorPage
from rolo.portal.portal import LoopScope
from rolo.proxy import ProxyHandler
from rolo.serving import native
from rolo.serving.base import LoopAdapter
from rolo.serving.hypercorn import _config as hypercorn_config

URL = "https://127.0.0.1:3000"


class Acting:
    """What the command would run, stopped right before its first exchange."""

    supervisor = scripted = fitted = settings = adapter = None
    inspector, inspector_at = Inspector(), (None, None)

    @property
    def handler(self):
        (handler,) = (
            h
            for h in self.gateway.request_handlers
            if isinstance(h, ScriptedHandler | ProxyHandler)
        )
        return handler

    @property
    def gateway(self):
        return self.fitted.app.gateway

    @property
    def proxy(self):
        return self.handler.proxy

    @property
    def transport(self):
        loop = asyncio.new_event_loop()
        loop.close()
        return self.proxy.client._new_transport(LoopScope(loop, 0))

    @property
    def exchange(self):
        return self.transport._settings

    @property
    def blocking(self):
        return self.proxy.client._blocking

    @property
    def tls(self):
        return self.transport._dialer._tls

    @property
    def websockets(self):
        return self.proxy.websockets

    @property
    def bridge(self):
        return self.fitted.exchanges

    @property
    def native(self):
        fitted = self.fitted
        return native.native_settings(fitted.limits, fitted.proxy_status, self.settings.options)

    @property
    def uvicorn(self):
        pytest.importorskip("uvicorn")
        from rolo.serving.uvicorn import _config

        return _config(self.fitted, self.settings)

    @property
    def hypercorn(self):
        return hypercorn_config(self.fitted.limits, self.settings)


@pytest.fixture
def acting(monkeypatch, tmp_path, capsys):
    """Returns what ``rolo proxy`` with these words would run."""
    script = tmp_path / "script.py"
    script.write_text("def on_response(response, context): pass")

    def act(words, url=URL):
        acting = Acting()

        def launch(adapter, fitted, settings):
            acting.adapter, acting.fitted, acting.settings = adapter.name, fitted, settings
            acting.address = settings.sock.getsockname()
            settings.sock.close()

        def run(server, signals, scripted=None):
            acting.scripted = scripted
            acting.level = logging.getLogger("rolo").level
            logging.getLogger("rolo.access").info("a line")
            return 0

        class Supervisor:
            def __init__(self, *arguments):
                acting.supervisor = arguments

            def run(self, signals):
                return 0

        def opened(inspector, *address):
            acting.inspector, acting.inspector_at = inspector, address
            return InspectorPage(inspector, types.SimpleNamespace(url="", shutdown=int), "")

        with monkeypatch.context() as patch:
            patch.setattr(Inspector, "open", opened)
            patch.setattr(LoopAdapter, "launch", launch)
            patch.setattr(rolo.cli.run, "_run", run)
            patch.setattr(rolo.cli.run, "tls_context", lambda tls: None)
            patch.setattr(rolo.cli.workers, "Supervisor", Supervisor)
            words = [word.replace("SCRIPT", str(script)) for word in words]
            listen = [] if "--listen" in words else ["--listen", "127.0.0.1:0"]
            assert main(["proxy", url, *listen, *words]) == 0
        if acting.fitted is not None:
            acting.fitted.close()
        acting.said, _ = capsys.readouterr()
        return acting

    return act


@pytest.fixture
def without(acting, made=[]):  # noqa: B006 - the same for all
    """What it would run without any option."""
    if not made:
        made.append(acting([]))
    return made[0]


ACTS = {
    "upstream": (
        "https://127.0.0.1:3001/base",
        ["proxy.forward_base_url"],
        "https://127.0.0.1:3001/base",
    ),
    "script": ("--script SCRIPT", ["handler.__class__.__name__"], "ScriptedHandler"),
    "reload": ("--script SCRIPT --reload", ["scripted.__class__.__name__"], "ScriptedHandler"),
    "workers": ("--workers 3", ["supervisor[2]"], 3),
    "inspector.on": ("--inspect", ["inspector_at[0]"], "127.0.0.1"),
    "inspector.listen": (
        "--inspect --inspect-listen 127.0.0.3:5",
        ["inspector_at"],
        ("127.0.0.3", 5),
    ),
    "inspector.memory": ("--inspect --inspect-memory 1m", ["inspector.store.max_bytes"], 2**20),
    "inspector.directory": (
        "--inspect --inspect-dir SCRIPT.d",
        ["inspector.store.directory and inspector.store.directory.name"],
        "script.py.d",
    ),
    "inspector.secrets": (
        "--inspect --inspect-secret X-Mine",
        ["'x-mine' in inspector._pages._masking.names"],
        True,
    ),
    "serving.listen": ("--listen 127.0.0.2:0", ["address[0]"], "127.0.0.2"),
    "serving.server": ("--server hypercorn", ["adapter"], "hypercorn"),
    "serving.mode": ("--mode threads", ["bridge._handlers.mode"], "threads"),
    "serving.shutdown_timeout": ("--shutdown-timeout 7s", ["settings.shutdown_timeout"], 7),
    "log.access": (
        "--no-access-log",
        ["'a line' in said", "bridge.observation is not None"],
        False,
    ),
    "log.quiet": ("--quiet", ["level"], logging.ERROR),
    "log.verbose": ("--verbose", ["level"], logging.DEBUG),
    "requests.preserve_host": (
        "--no-preserve-host",
        ["proxy.preserve_host", "proxy.websockets.preserve_host"],
        False,
    ),
    "requests.underscores_in_headers": (
        "--underscores-in-headers",
        ["proxy.rules.underscores_in_headers", "proxy.websockets.rules.underscores_in_headers"],
        True,
    ),
    "requests.refuse_dot_segments": (
        "--refuse-dot-segments",
        ["proxy.rules.refuse_dot_segments", "proxy.websockets.rules.refuse_dot_segments"],
        True,
    ),
    "requests.proxy_status": (
        "--proxy-status",
        ["handler.proxy_status", "bridge.proxy_status", "native.proxy_status"],
        "rolo",
    ),
    "forwarded.mode": (
        "--forwarded replace",
        ["proxy.forwarded.mode", "proxy.websockets.forwarded.mode"],
        "replace",
    ),
    "forwarded.trusted": (
        "--trusted-proxies 10.0.0.0/8,fd00::/8",
        ["[str(n) for n in proxy.forwarded.trusted]"],
        ["10.0.0.0/8", "fd00::/8"],
    ),
    "forwarded.header": ("--forwarded-header", ["proxy.forwarded.forwarded"], True),
    "forwarded.via": ("--via edge-1", ["proxy.forwarded.via"], "edge-1"),
    "timeouts.connect": (
        "--connect-timeout 4",
        [
            "exchange.timeouts.connect",
            "blocking.timeouts.connect",
            "websockets.client.timeouts.connect",
        ],
        4,
    ),
    "timeouts.response": (
        "--response-timeout 5",
        [
            "exchange.timeouts.response",
            "blocking.timeouts.response",
            "websockets.client.timeouts.response",
        ],
        5,
    ),
    "timeouts.idle": (
        "--idle-timeout 6",
        ["exchange.timeouts.idle", "blocking.timeouts.idle", "bridge.limits.send_timeout"],
        6,
    ),
    "tls.ca_file": ("--ca-file ca", ["tls.ca_file", "websockets.client.tls.ca_file"], "ca"),
    "tls.client_cert": (
        "--client-cert c",
        ["tls.client_cert", "websockets.client.tls.client_cert"],
        "c",
    ),
    "tls.client_key": (
        "--client-cert c --client-key k",
        ["tls.client_key", "websockets.client.tls.client_key"],
        "k",
    ),
    "tls.server_name": (
        "--tls-server-name name",
        ["tls.server_hostname", "websockets.client.tls.server_hostname"],
        "name",
    ),
    "tls.insecure": ("--insecure", ["tls.insecure", "websockets.client.tls.insecure"], True),
    "limits.max_head": (
        "--max-head 8k",
        [
            "bridge.limits.max_head",
            "native.limits.max_head",
            "hypercorn.h11_max_incomplete_size - 16 * 1024",
        ],
        8192,
    ),
    "limits.max_fields": (
        "--max-fields 50",
        ["bridge.limits.max_fields", "native.limits.max_fields"],
        50,
    ),
    "limits.max_target": (
        "--max-target 2k",
        ["bridge.limits.max_target", "native.limits.max_target"],
        2048,
    ),
    "limits.max_body": ("--max-body 1m", ["bridge.limits.max_body"], 1 << 20),
    "limits.max_exchanges": ("--max-exchanges none", ["bridge.limits.max_exchanges"], None),
    "limits.max_queued": ("--max-queued 9", ["bridge.limits.max_queued"], 9),
    "limits.max_connections": (
        "--max-connections 7",
        ["exchange.limits.max_connections", "blocking.limits.max_connections"],
        7,
    ),
    "limits.buffer": (
        "--buffer 16k",
        [
            "bridge.limits.buffer",
            "native.buffer",
            "exchange.limits.max_buffer",
            "websockets.settings.buffer",
        ],
        16384,
    ),
    "websockets.idle_timeout": (
        "--websocket-idle-timeout 3m",
        ["websockets.settings.idle_timeout"],
        180,
    ),
    "websockets.ping_interval": (
        "--websocket-ping-interval 11",
        [
            "websockets.settings.ping_interval",
            "native.websocket_ping_interval",
            "uvicorn.ws_ping_interval",
            "hypercorn.websocket_ping_interval",
        ],
        11,
    ),
    "websockets.ping_timeout": (
        "--websocket-ping-timeout 12",
        [
            "websockets.settings.ping_timeout",
            "native.websocket_ping_timeout",
            "uvicorn.ws_ping_timeout",
        ],
        12,
    ),
    "websockets.close_timeout": (
        "--websocket-close-timeout 13",
        [
            "websockets.settings.close_timeout",
            "bridge.limits.close_timeout",
            "native.websocket_close_timeout",
        ],
        13,
    ),
    "websockets.max_message": (
        "--max-message 1k",
        [
            "websockets.settings.max_message",
            "native.websocket_max_message",
            "uvicorn.ws_max_size",
            "hypercorn.websocket_max_message_size",
        ],
        1024,
    ),
    "websockets.max_memory": (
        "--max-websocket-memory 32m",
        ["websockets.settings.max_memory", "native.websocket_max_memory"],
        32 << 20,
    ),
    "websockets.compression": (
        "--websocket-compression",
        ["websockets.settings.compression"],
        True,
    ),
}
"""By setting: words of the command line, where the value then must be, and the value."""


class Names(dict):
    """The attributes of an object as the names of an expression."""

    def __init__(self, acting):
        super().__init__()
        self._acting = acting

    def __missing__(self, name):
        try:
            return getattr(self._acting, name)
        except AttributeError:
            raise KeyError(name) from None


def test_every_setting_is_in_the_table():
    assert set(ACTS) == {setting.key for _, found in settings(ProxyConfig) for setting in found}


@pytest.mark.parametrize("key", ACTS)
def test_what_the_command_line_says_the_object_that_acts_has(key, acting, without):
    words, places, value = ACTS[key]
    has = acting([], words) if key == "upstream" else acting(words.split())
    had = without if key != "workers" else None
    for place in places:
        assert eval(place, {}, Names(has)) == value, place
        assert had is None or eval(place, {}, Names(had)) != value, f"{place} has it anyway"


def test_a_quiet_command_has_an_access_log_only_if_asked(acting):
    assert "a line" not in acting(["-q"]).said
    assert "a line" in acting(["-q", "--access-log"]).said


# --- what makes no sense ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--client-key", "k"], "--client-key needs --client-cert"),
        (["--insecure", "--ca-file", "f"], "--insecure and --ca-file exclude each other"),
        (["-q", "-v"], "--quiet and --verbose exclude each other"),
        (["--reload"], "--reload needs --script"),
        (["--ca-file", "/no/such/file"], "/no/such/file"),
        (["--trusted-proxies", ""], "argument --trusted-proxies: an empty list"),
        (["--trusted-proxies", "here"], "argument --trusted-proxies: not a network"),
        (["--via", "a b"], "argument --via: not a name for Via: 'a b'"),
        (["--via="], "argument --via: not a name for Via: ''"),
        (["--max-head", "none"], "argument --max-head: not a size"),
        (
            ["--max-body", "0"],
            "argument --max-body: not a size like 65536, 64k or 1g, or none: '0'",
        ),
        (["--max-fields", "0", "--buffer", "x"], "argument --buffer: not a size"),
        (["--websocket-ping-timeout", "none"], "argument --websocket-ping-timeout: not a"),
    ],
)
def test_options_that_make_no_sense_are_said_in_one_line(words, said, capsys):
    assert main(["proxy", URL, *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_tls_options_without_tls_make_no_sense(capsys):
    assert main(["proxy", "http://localhost:3000", "--insecure"]) == 2
    assert "not an https URL" in capsys.readouterr().err


def test_what_others_said_cannot_write_lines_of_the_log(capsys):
    with logging_to_the_terminal(LogConfig()):
        try:
            raise ValueError("\x1b[2J\r\n2026-01-01 ERROR rolo: all is well\x85")
        except ValueError as error:
            logging.getLogger("rolo.x").error("failed: %s", describe(error), exc_info=error)
    written = capsys.readouterr().err
    assert not any(c in written for c in "\x1b\r\x85")
    assert not any(line.startswith("2026-01-01 ERROR") for line in written.splitlines())
    assert "all is well" in written
