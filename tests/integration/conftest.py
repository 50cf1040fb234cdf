"""Servers under test: every conformance test meets each of them (see ``tests/choosing.py``)."""

import contextlib
import pathlib
import ssl
import threading

import pytest
import trustme
from choosing import case_of, chosen
from commanded import LOOP_SERVERS, MODES, Commanded, installed
from relays import relayed, relaying  # noqa: F401 - fixtures
from threaded_origin import ThreadedOrigin

from rolo.gateway import Gateway
from rolo.proxy import ProxyHandler
from rolo.serving import ServerTls, serve

HERE = pathlib.Path(__file__).parent


def pytest_collection_modifyitems(config, items):
    if config.getoption("--everywhere"):
        return
    tests = {}
    for item in items:
        if HERE in item.path.parents and hasattr(item, "callspec"):
            case = case_of(item.callspec.params, item.callspec.id)
            if case is not None:
                test = f"{item.path.name}::{item.originalname}"
                tests.setdefault(test, []).append((item, case))
    left_out = set()
    for test, cases in tests.items():
        mark = cases[0][0].get_closest_marker("all_variations_on")
        kept = chosen(test, [case for _, case in cases], mark.args if mark else ())
        left_out |= {item for item, case in cases if case not in kept}
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=list(left_out))


@pytest.fixture(params=[f"{server}-{mode}" for server in LOOP_SERVERS for mode in MODES])
def served_on(request):
    """Return (server name, mode), for each pair."""
    name, mode = request.param.split("-")
    return installed(name), mode


@pytest.fixture
def start(served_on):
    """Serve handlers as a gateway on the server under test; returns the running server."""
    name, mode = served_on
    with contextlib.ExitStack() as running:

        def start(*handlers, **options):
            gateway = handlers[0] if isinstance(handlers[0], Gateway) else Gateway(list(handlers))
            return running.enter_context(serve(gateway, server=name, mode=mode, **options))

        yield start


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive(), f"left behind: {thread}"


@pytest.fixture
def proxy(served_on):
    """Return what starts proxies on the server under test, on each and in both modes."""
    with contextlib.ExitStack() as running:
        yield Commanded(*served_on, running)


@pytest.fixture(params=[f"{name}-{mode}" for name in LOOP_SERVERS for mode in MODES] + ["werkzeug"])
def any_proxy(request):
    """As ``proxy``, and under WSGI, where another client forwards."""
    name, _, mode = request.param.partition("-")
    with contextlib.ExitStack() as running:
        yield Commanded(installed(name), mode or "threads", running)


@pytest.fixture
def origin():
    with ThreadedOrigin() as origin:
        yield origin


@pytest.fixture(scope="session")
def authority():
    return trustme.CA()


@pytest.fixture(scope="session")
def server_tls(authority, tmp_path_factory):
    """Certificate and key of a server that :func:`trusting` clients believe."""
    directory = tmp_path_factory.mktemp("tls")
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    certificate.private_key_pem.write_to_path(str(directory / "key.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(directory / "cert.pem"))
    return ServerTls(directory / "cert.pem", directory / "key.pem")


@pytest.fixture
def trusting(authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture(params=["native-loop", "native-threads", "werkzeug-threads"])
def each_client(request):
    """As ``proxy``, for what the server plays no part in: once for each way to forward."""
    with contextlib.ExitStack() as running:
        yield Commanded(*request.param.split("-"), running)


@pytest.fixture
def rewriting(start, origin):
    """Serve a proxy with hooks in front of ``origin``; returns its URL."""
    handlers = []

    def rewriting(*hooks, **functions):
        handler = ProxyHandler(origin.url, hooks=hooks, **functions)
        handlers.append(handler)
        return start(handler).url

    yield rewriting
    for handler in handlers:
        handler.close()
