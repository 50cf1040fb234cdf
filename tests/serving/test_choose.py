"""Which server is taken, and how it is refused."""

from __future__ import annotations

import functools
import importlib.machinery
import importlib.metadata
import pathlib
import subprocess
import sys
import tomllib
import types
import typing as t

import pytest
from serving_support import App, hello

from rolo.serving import SERVERS, ServerUnavailable, choose, serve, twisted
from rolo.serving.base import is_asgi
from rolo.serving.versions import KNOWN


def available(name: str, reason: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(SERVERS[name]), "available", lambda self: reason)


def test_auto_takes_the_first_that_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SERVERS:
        available(name, None, monkeypatch)
    first = next(iter(SERVERS))
    assert choose("auto").name == first
    available(first, "not here", monkeypatch)
    assert choose("auto").name != first


def test_auto_takes_only_what_can_do_what_is_needed() -> None:
    assert choose("auto", ["h2"]).name == "hypercorn"
    with pytest.raises(ServerUnavailable, match="no installed server speaks h3"):
        choose("auto", ["h3"])


def test_auto_takes_only_what_carries_the_application(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SERVERS:
        available(name, None if name == "werkzeug" else "not here", monkeypatch)
    assert choose("auto", app="wsgi").name == "werkzeug"
    with pytest.raises(ServerUnavailable):
        choose("auto", app="asgi")


@pytest.mark.parametrize("name", sorted(KNOWN))
@pytest.mark.parametrize("version", ["0.1", "99.0"])
def test_a_version_whose_inside_is_not_known_is_refused(
    name: str, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _: version)
    with pytest.raises(ServerUnavailable, match=f"{name} {version} is not known"):
        choose(name)


def test_what_is_asked_for_at_installation_is_what_is_known() -> None:
    text = (pathlib.Path(__file__).parents[2] / "pyproject.toml").read_text()
    project = tomllib.loads(text)["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["fast"]]
    least, _ = KNOWN["werkzeug"]  # more than a server to us, and so without an upper bound
    assert f"werkzeug>={least}" in asked
    for name in set(KNOWN) - {"werkzeug"}:
        least, below = KNOWN[name]
        assert f"{name}>={least},<{below}" in asked


def test_a_missing_server_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    available("uvicorn", "uvicorn is not installed", monkeypatch)
    with pytest.raises(ServerUnavailable) as info:
        serve(App(http=hello), server="uvicorn")
    assert str(info.value) == "uvicorn is not installed: pip install rolo[fast]"


def test_missing_twisted_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "twisted", None)
    with pytest.raises(ServerUnavailable) as info:
        choose("twisted")
    assert str(info.value) == "Twisted is not installed: pip install rolo[twisted]"
    for name in twisted.__all__:
        if name != "TwistedAdapter":
            with pytest.raises(
                ModuleNotFoundError, match=rf"^{name}: .*: pip install rolo\[twisted"
            ):
                getattr(twisted, name)
    with pytest.raises(AttributeError, match="no attribute 'Missing'"):
        _ = twisted.Missing


def test_twisted_is_taken_by_its_version_whatever_brings_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = types.ModuleType("twisted")
    module.__spec__ = importlib.machinery.ModuleSpec("twisted", None)
    monkeypatch.setitem(sys.modules, "twisted", module)
    for version, reason in [
        ("24.3.0", None),
        ("25.5.0+program.1", None),
        ("23.10.0", "Twisted 23.10.0 is too old: 24 or later is needed"),
        ("unknown", "Twisted unknown is too old: 24 or later is needed"),
    ]:
        module.__version__ = version  # type: ignore[attr-defined]
        assert SERVERS["twisted"].available() == reason


def test_a_server_that_lacks_something_says_what() -> None:
    pytest.importorskip("uvicorn")
    with pytest.raises(ServerUnavailable, match="uvicorn does not speak h2"):
        choose("uvicorn", ["h2"])


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown server 'apache': choose auto, .*hypercorn"):
        choose("apache")


def test_every_adapter_answers_to_its_name() -> None:
    for name, adapter in SERVERS.items():
        assert adapter.name == name
        assert "http/1.1" in adapter.protocols


def test_asgi_and_wsgi_are_told_apart() -> None:
    async def asgi(scope: t.Any, receive: t.Any, send: t.Any) -> None: ...

    def wsgi(environ: t.Any, start_response: t.Any) -> t.Any: ...

    assert is_asgi(asgi)
    assert is_asgi(App())
    assert is_asgi(functools.partial(asgi))
    assert not is_asgi(wsgi)
    assert not is_asgi(functools.partial(wsgi))


def test_importing_it_imports_no_server() -> None:
    program = """
import sys, rolo.serving
servers = {"uvicorn", "hypercorn", "granian", "twisted"} & set(sys.modules)
assert not servers, servers
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
