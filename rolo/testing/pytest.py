"""Pytest fixtures that serve apps, routers and gateways on a free port.

Each fixture is a factory: call it as often as you like; what it started is shut down when
the test ends. The plugin is loaded with rolo's pytest entry point; naming it in
``pytest_plugins`` as well does no harm. Importing it imports no server and no framework,
because it is loaded into every test run of an environment that has rolo.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import importlib
import random
import socket
import time
import typing as t

import pytest

if t.TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication
    from hypercorn.config import Config

    from rolo.asgi import ASGIAdapter, ASGILifespanListener
    from rolo.gateway import Gateway
    from rolo.gateway.asgi import AsgiGateway
    from rolo.gateway.wsgi import WsgiGateway
    from rolo.harness import Harness
    from rolo.routing import Router, handler_dispatcher
    from rolo.testing.harness import Harnesses
    from rolo.websocket.adapter import WebSocketListener

__all__ = [
    "ASGIAdapter",
    "ASGILifespanListener",
    "AsgiGateway",
    "Gateway",
    "Router",
    "Server",
    "ServerInfo",
    "WebSocketListener",
    "WsgiGateway",
    "get_random_tcp_port",
    "handler_dispatcher",
    "is_server_up",
    "poll_condition",
    "wait_server_is_up",
]

_ELSEWHERE = {
    "ASGIAdapter": "rolo.asgi",
    "ASGILifespanListener": "rolo.asgi",
    "AsgiGateway": "rolo.gateway.asgi",
    "Gateway": "rolo.gateway",
    "HeaderPreservingHTTPChannel": "rolo.serving.twisted",
    "Router": "rolo.routing",
    "TwistedGateway": "rolo.serving.twisted",
    "WebSocketListener": "rolo.websocket.adapter",
    "WsgiGateway": "rolo.gateway.wsgi",
    "handler_dispatcher": "rolo.routing",
}
"""Names importable from here that are imported when somebody asks for them."""


def __getattr__(name: str) -> t.Any:
    if name not in _ELSEWHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(_ELSEWHERE[name]), name)
    except ModuleNotFoundError as exc:
        # Whoever asks with hasattr wants an answer, not an error of the import.
        raise AttributeError(f"{name} is not to be had here: {exc}", name=name) from exc


class ServerInfo(t.Protocol):
    """Where a server listens."""

    url: str
    """Without a path and without a slash at the end."""
    host: str
    port: int


class Server(ServerInfo, t.Protocol):
    """A server that runs."""

    def shutdown(self) -> None:
        """Stop it and wait for its threads. Calling it again does nothing."""


@dataclasses.dataclass
class _ServerInfo:
    host: str
    port: int
    url: str
    _stop: t.Callable[[], None] | None = dataclasses.field(
        default=None, init=False, repr=False, compare=False
    )

    def shutdown(self) -> None:
        stop, self._stop = self._stop, None
        if stop is not None:
            stop()


# --- helpers ----------------------------------------------------------------------------


def get_random_tcp_port() -> int:
    """Return a TCP port of the loopback interface that was free a moment ago.

    Somebody else may take it before you do. Where you can, bind to port 0 instead.
    """
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def is_server_up(srv: ServerInfo) -> bool:
    """Tell whether ``srv`` accepts TCP connections."""
    try:
        with socket.create_connection((srv.host, srv.port), timeout=1):
            return True
    except OSError:
        return False


def poll_condition(
    condition: t.Callable[[], bool], timeout: float | None = None, interval: float = 0.5
) -> bool:
    """Ask ``condition`` until it is true; return False if ``timeout`` passed before.

    :param timeout: seconds, ``None`` for no limit
    :param interval: seconds between two questions
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    while not condition():
        left = interval if deadline is None else min(interval, deadline - time.monotonic())
        if left <= 0:
            return False
        time.sleep(left)
    return True


def wait_server_is_up(srv: ServerInfo, timeout: float = 10, interval: float = 0.1) -> bool:
    """Wait until ``srv`` accepts connections; False if ``timeout`` seconds passed before."""
    return poll_condition(lambda: is_server_up(srv), timeout, interval)


class _Servers:
    """What the factories of one test have started."""

    def __init__(self) -> None:
        self._started: list[_ServerInfo] = []

    def start(self, app: t.Any, *, server: str, host: str = "localhost", port: int = 0) -> Server:
        """Serve ``app`` on ``server``; see ``rolo.serving.serve``."""
        from rolo.serving import serve

        # Bound to IPv4 whatever the resolver prefers, so that clients that try only the
        # first address of "localhost" and those that try 127.0.0.1 both get through.
        running = serve(
            app, server=server, host="127.0.0.1" if host == "localhost" else host, port=port
        )
        return self.add(host, running.port, running.shutdown)

    def add(self, host: str, port: int, stop: t.Callable[[], None]) -> Server:
        info = _ServerInfo(host, port, f"http://{host}:{port}")
        info._stop = stop
        self._started.append(info)
        return info

    def shutdown(self) -> None:
        while self._started:
            self._started.pop().shutdown()


@pytest.fixture
def _rolo_servers() -> t.Iterator[_Servers]:
    servers = _Servers()
    try:
        yield servers
    finally:
        servers.shutdown()


# --- fixtures ---------------------------------------------------------------------------


@pytest.fixture
def serve_wsgi_app(_rolo_servers: _Servers) -> t.Callable[..., Server]:
    """Serve a WSGI app: ``serve_wsgi_app(app, host="localhost", port=None)``."""

    def _serve(app: WSGIApplication, host: str = "localhost", port: int | None = None) -> Server:
        return _rolo_servers.start(app, server="werkzeug", host=host, port=port or 0)

    return _serve


@pytest.fixture
def wsgi_router_server(serve_wsgi_app: t.Callable[..., Server]) -> tuple[Router[t.Any], Server]:
    """A new router with the handler dispatcher, and the server that serves it."""
    from rolo.routing import Router, handler_dispatcher

    router: Router[t.Any] = Router(dispatcher=handler_dispatcher())
    return router, serve_wsgi_app(router.wsgi())


@pytest.fixture
def serve_asgi_app(_rolo_servers: _Servers) -> t.Callable[..., Server]:
    """Serve an ASGI 3 app on hypercorn:
    ``serve_asgi_app(app, config=None, event_loop=None)``.

    With a ``config`` or an ``event_loop`` of yours these are used as they are, but for the
    address where ``config`` has its default one. The loop is closed afterwards.
    """

    def _create(
        app: t.Any,
        config: Config | None = None,
        event_loop: asyncio.AbstractEventLoop | None = None,
    ) -> Server:
        if config is None and event_loop is None:
            return _rolo_servers.start(app, server="hypercorn")
        from rolo.testing.hypercorn import run_hypercorn

        return _rolo_servers.add("localhost", *run_hypercorn(app, config, event_loop))

    return _create


@pytest.fixture
def serve_asgi_adapter(_rolo_servers: _Servers) -> t.Callable[..., Server]:
    """Serve a WSGI app through ``rolo.asgi.ASGIAdapter`` on hypercorn:
    ``serve_asgi_adapter(wsgi_app, lifespan_listener=None, websocket_listener=None)``."""

    def _create(
        wsgi_app: WSGIApplication,
        lifespan_listener: ASGILifespanListener | None = None,
        websocket_listener: WebSocketListener | None = None,
    ) -> Server:
        from rolo.asgi import ASGIAdapter

        adapter = ASGIAdapter(
            wsgi_app,
            lifespan_listener=lifespan_listener,
            websocket_listener=websocket_listener,
        )
        return _rolo_servers.start(adapter, server="hypercorn")

    return _create


@pytest.fixture
def serve_wsgi_gateway(_rolo_servers: _Servers) -> t.Callable[..., Server]:
    """Serve a gateway on werkzeug's server, without websockets: ``serve_wsgi_gateway(gateway)``."""

    def _serve(gateway: Gateway) -> Server:
        return _rolo_servers.start(gateway, server="werkzeug")

    return _serve


@pytest.fixture
def serve_asgi_gateway(_rolo_servers: _Servers) -> t.Callable[..., Server]:
    """Serve a gateway on hypercorn: ``serve_asgi_gateway(gateway)``."""

    def _serve(gateway: Gateway) -> Server:
        return _rolo_servers.start(gateway, server="hypercorn")

    return _serve


# --- the harness ------------------------------------------------------------------------

_HARNESSES: pytest.StashKey[Harnesses] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("rolo")
    group.addoption(
        "--rolo-seed",
        type=int,
        metavar="N",
        help="repeat what was drawn by chance (delays, faults): the seed that a failing test shows",
    )
    group.addoption(
        "--rolo-record",
        choices=("none", "once", "new", "all"),
        help="of tests marked rolo_record: replay only (none), record what has no recording yet "
        "(once), record requests that are not in it, too (new), record everything anew (all); "
        "without it none if the variable CI is set, else once",
    )
    group.addoption(
        "--rolo-keep-har",
        choices=("none", "failed"),
        default="none",
        help="failed: write what came to the harnesses of failing tests as HAR files, into the "
        "folder rolo-har",
    )


def pytest_configure(config: pytest.Config) -> None:
    # Here, so that all workers of xdist get the same.
    config.addinivalue_line(
        "markers",
        "rolo_record(file, match=, pace=, repeat=, redaction=): replay what the harness's upstream "
        "answered when this was recorded, see --rolo-record",
    )
    if config.option.rolo_seed is None:
        config.option.rolo_seed = random.randrange(2**32)


@pytest.fixture(scope="session")
def _rolo_ground() -> t.Iterator[None]:
    """Keeps the event loop of harnesses between tests."""
    from rolo.testing.harness import hold, release

    ground = hold()
    try:
        yield
    finally:
        release(ground)


@pytest.fixture(scope="session")
def harness_session(
    request: pytest.FixtureRequest, _rolo_ground: None
) -> t.Iterator[t.Callable[..., Harness]]:
    """Make a :class:`rolo.harness.Harness` for the whole session, with one URL for all tests.
    Tests take it by ``harness(it)``, and do not see what others have stubbed."""
    from rolo.testing.harness import Harnesses

    seed: int = request.config.option.rolo_seed
    harnesses = Harnesses(seed, f"--rolo-seed={seed}")
    try:
        yield harnesses.make
    finally:
        harnesses.close()


@pytest.fixture
def harness(
    request: pytest.FixtureRequest, _rolo_ground: None
) -> t.Iterator[t.Callable[..., Harness]]:
    """Make a :class:`rolo.harness.Harness`: ``harness(upstream=None, **options)``. The test fails
    at its end if a request matched no stub or a stub was not called; its report shows what
    happened."""
    from rolo.testing.harness import Harnesses, seed_for
    from rolo.testing.recording import Tapes, kept_path

    item: pytest.Item = request.node
    seed: int = request.config.option.rolo_seed
    harnesses = Harnesses(
        seed_for(seed, item.nodeid),
        f"--rolo-seed={seed}",
        Tapes(item),
        functools.partial(kept_path, item)
        if request.config.option.rolo_keep_har == "failed"
        else None,
    )
    request.node.stash[_HARNESSES] = harnesses
    try:
        yield harnesses.make
    finally:
        harnesses.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> t.Generator[None, t.Any, t.Any]:
    result = yield
    harnesses = item.stash.get(_HARNESSES, None)
    if harnesses is not None and (complaint := harnesses.complaint()):
        pytest.fail(complaint, pytrace=False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> t.Generator[None, t.Any, t.Any]:
    report = yield
    if report.failed and _HARNESSES in item.stash:
        report.sections += item.stash[_HARNESSES].sections()
        report.sections += item.stash[_HARNESSES].failed()
    return report


# --- Twisted ----------------------------------------------------------------------------


@pytest.fixture(scope="session")
def twisted_reactor() -> t.Iterator[t.Any]:
    """The reactor of the process, which runs in a thread from the first test that needs it to
    the end of the session; a reactor cannot be started twice. One that runs already is used as
    it is. Without Twisted the test is skipped, as with the three fixtures below."""
    pytest.importorskip("twisted")
    from rolo.testing.twisted import running_reactor

    with running_reactor() as reactor:
        yield reactor


@pytest.fixture
def serve_twisted_tcp_server(
    twisted_reactor: t.Any, _rolo_servers: _Servers
) -> t.Callable[..., Server]:
    """Serve a protocol factory of Twisted's: ``serve_twisted_tcp_server(protocol_factory)``."""
    from rolo.testing.twisted import listen

    def _create(protocol_factory: t.Any) -> Server:
        return _rolo_servers.add("localhost", *listen(twisted_reactor, protocol_factory))

    return _create


@pytest.fixture
def serve_twisted_gateway(
    serve_twisted_tcp_server: t.Callable[..., Server],
) -> t.Callable[..., Server]:
    """Serve a gateway on a reactor of Twisted's: ``serve_twisted_gateway(gateway)``."""

    def _create(gateway: Gateway) -> Server:
        from rolo.serving.twisted import TwistedGateway

        return serve_twisted_tcp_server(TwistedGateway(gateway))

    return _create


@pytest.fixture
def serve_twisted_websocket_listener(
    twisted_reactor: t.Any, serve_twisted_tcp_server: t.Callable[..., Server]
) -> t.Callable[..., Server]:
    """Serve a websocket listener on a site of Twisted's web server, which answers 404 to
    everything else: ``serve_twisted_websocket_listener(websocket_listener)``."""

    def _create(websocket_listener: WebSocketListener) -> Server:
        from rolo.testing.twisted import websocket_site

        return serve_twisted_tcp_server(websocket_site(twisted_reactor, websocket_listener))

    return _create
