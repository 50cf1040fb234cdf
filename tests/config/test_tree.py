"""The trees of settings, and the page that is made from them."""

import importlib.util
import pathlib

import pytest

import rolo
from rolo.bridge.limits import Limits
from rolo.config import objects
from rolo.config.settings import Mistakes, fill, settings
from rolo.config.tree import CommandConfig, ProxyConfig
from rolo.proxy import ForwardedPolicy, PoolLimits, ProxyHandler, RequestRules, Timeouts, Tls
from rolo.upstream.settings import DEFAULT_WEBSOCKET_SETTINGS

URL = "https://localhost:3000"
DOCS = pathlib.Path(rolo.__file__).parent.parent / "docs"


def test_without_settings_the_defaults_of_the_library_hold():
    config = ProxyConfig(upstream=URL)
    assert objects.limits(config) == Limits()
    assert objects.pool_limits(config) == PoolLimits()
    assert objects.timeouts(config) == Timeouts()
    assert objects.tls(config) == Tls()
    assert objects.websocket_settings(config) == DEFAULT_WEBSOCKET_SETTINGS
    assert objects.forwarded_policy(config) == ForwardedPolicy()
    assert objects.request_rules(config) == RequestRules()
    assert config.requests.preserve_host == ProxyHandler(URL).proxy.preserve_host
    assert objects.proxy_status(config) is None


def test_a_tree_takes_values_as_well_as_their_text():
    texts = {"upstream": URL, "timeouts.idle": "none", "limits.max_head": "8k"}
    values = {"upstream": URL, "timeouts.idle": None, "limits.max_head": 8192}
    assert fill(ProxyConfig, texts) == fill(ProxyConfig, values)


def test_all_mistakes_are_told_at_once_and_each_with_its_key():
    with pytest.raises(Mistakes) as caught:
        fill(
            ProxyConfig,
            {
                "limits.max_head": 0,
                "limits.max_fields": True,
                "websockets.ping_timeout": "none",
                "serving.listen": "x{}",
                "tls.client_key": "k",
                "tls.server_nam": "x",
                "requests.preserve_host": "yes",
            },
        )
    keys = {mistake.keys for mistake in caught.value.mistakes}
    assert keys == {
        ("upstream",),
        ("limits.max_head",),
        ("limits.max_fields",),
        ("websockets.ping_timeout",),
        ("serving.listen",),
        ("tls.server_nam",),
        ("requests.preserve_host",),
    }
    assert "limits.max_head: not a size like 65536, 64k or 1g: 0" in str(caught.value)
    assert "serving.listen: not HOST:PORT with a port up to 65535: 'x{}'" in str(caught.value)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"tls.client_key": "k"}, "tls.client_key needs tls.client_cert"),
        ({"tls.insecure": True, "tls.ca_file": "f"}, "tls.insecure and tls.ca_file exclude"),
        ({"log.quiet": True, "log.verbose": True}, "log.quiet and log.verbose exclude each other"),
        ({"reload": True}, "reload needs script"),
    ],
)
def test_settings_that_do_not_go_together(values, said):
    with pytest.raises(Mistakes, match=said):
        fill(ProxyConfig, {"upstream": URL, **values})


def test_every_setting_is_explained_and_its_option_is_its_own():
    found = [setting for _, some in settings(ProxyConfig) for setting in some]
    assert all(setting.help and setting.allowed for setting in found)
    assert len({setting.option for setting in found}) == len(found)
    assert {section for section, _ in settings(CommandConfig)} - {CommandConfig} < {
        section for section, _ in settings(ProxyConfig)
    }


def test_the_page_of_options_says_what_the_tree_says():
    spec = importlib.util.spec_from_file_location("command_page", DOCS / "command_page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text() == module.page(), "run python docs/command_page.py"
