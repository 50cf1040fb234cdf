"""The pytest plugin, from inside a test and from outside."""

import asyncio
import subprocess
import sys
import threading

import pytest
import requests
from inner_pytest import PLAIN_PYTEST
from werkzeug import Request as WerkzeugRequest
from werkzeug import Response as WerkzeugResponse

from rolo.gateway import Gateway
from rolo.gateway.asgi import AsgiGateway
from rolo.testing import pytest as plugin
from rolo.testing.pytest import (
    Server,
    ServerInfo,
    _ServerInfo,
    get_random_tcp_port,
    is_server_up,
    poll_condition,
    wait_server_is_up,
)


@WerkzeugRequest.application
def wsgi_app(request):
    return WerkzeugResponse(f"{request.method} {request.path}")


async def asgi_app(scope, receive, send):
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    name = threading.current_thread().name.encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": name})


def answering(text):
    return Gateway(request_handlers=[lambda chain, context, response: chain.respond(200, text)])


def fetch(server, path="/"):
    return requests.get(server.url + path, timeout=10).text


# --- fixtures ---------------------------------------------------------------------------


def test_wsgi_apps_each_on_a_port_of_its_own(serve_wsgi_app):
    first, second = serve_wsgi_app(wsgi_app), serve_wsgi_app(wsgi_app)
    assert first.port != second.port
    assert first.url == f"http://localhost:{first.port}"
    assert first.host == "localhost"
    assert fetch(first, "/a") == "GET /a"
    assert fetch(second, "/b") == "GET /b"


def test_wsgi_app_on_a_given_host_and_port(serve_wsgi_app):
    port = get_random_tcp_port()
    server = serve_wsgi_app(wsgi_app, host="127.0.0.1", port=port)
    assert server.url == f"http://127.0.0.1:{port}"
    assert fetch(server) == "GET /"


def test_shutdown_stops_the_server_and_may_be_repeated(serve_wsgi_app):
    server = serve_wsgi_app(wsgi_app)
    assert is_server_up(server)
    server.shutdown()
    server.shutdown()
    assert not is_server_up(server)


def test_router(wsgi_router_server):
    router, server = wsgi_router_server
    router.add("/hello/<name>", lambda request, name: {"hello": name})
    assert requests.get(server.url + "/hello/you", timeout=10).json() == {"hello": "you"}


def test_asgi_app(serve_asgi_app):
    assert fetch(serve_asgi_app(asgi_app))


def test_asgi_app_with_a_configuration_and_a_loop(serve_asgi_app):
    from hypercorn import Config

    config = Config()
    config.include_server_header = False
    loop = asyncio.new_event_loop()
    server = serve_asgi_app(asgi_app, config=config, event_loop=loop)
    response = requests.get(server.url, timeout=10)
    assert response.text == "rolo-test-server"
    assert "server" not in response.headers
    server.shutdown()
    assert loop.is_closed()
    assert not is_server_up(server)


def test_asgi_app_where_the_configuration_says(serve_asgi_app):
    from hypercorn import Config

    config = Config()
    config.bind = [f"127.0.0.1:{get_random_tcp_port()}"]
    port = int(config.bind[0].rpartition(":")[2])
    server = serve_asgi_app(asgi_app, config=config)
    assert server.port == port
    assert fetch(server)


def test_gateway_on_a_loop_that_was_made_for_it(serve_asgi_app):
    loop = asyncio.new_event_loop()
    app = AsgiGateway(answering("mine"), event_loop=loop, threads=2)
    server = serve_asgi_app(app, event_loop=loop)
    assert fetch(server) == "mine"
    server.shutdown()
    app.close()


def test_asgi_adapter(serve_asgi_adapter):
    from rolo.asgi import ASGILifespanListener

    told = []

    class Listener(ASGILifespanListener):
        def on_startup(self):
            told.append("up")

        def on_shutdown(self):
            told.append("down")

    server = serve_asgi_adapter(wsgi_app, Listener(), None)
    assert fetch(server, "/x") == "GET /x"
    server.shutdown()
    assert told == ["up", "down"]


def test_wsgi_gateway(serve_wsgi_gateway):
    assert fetch(serve_wsgi_gateway(answering("wsgi"))) == "wsgi"


def test_asgi_gateway(serve_asgi_gateway):
    assert fetch(serve_asgi_gateway(answering("asgi"))) == "asgi"


# --- helpers ----------------------------------------------------------------------------


def test_poll_condition():
    answers = iter([False, False, True])
    assert poll_condition(lambda: next(answers), timeout=10, interval=0.001)
    assert not poll_condition(lambda: False, timeout=0.01, interval=0.001)


def test_waiting_for_nobody_ends():
    info = _ServerInfo("localhost", get_random_tcp_port(), "http://localhost")
    assert not wait_server_is_up(info, timeout=0.05, interval=0.01)


# --- the module -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "ASGIAdapter",
        "ASGILifespanListener",
        "AsgiGateway",
        "Gateway",
        "Router",
        "WebSocketListener",
        "WsgiGateway",
        "handler_dispatcher",
    ],
)
def test_names_are_importable_from_the_plugin(name):
    assert getattr(plugin, name).__name__ == name


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="nothing"):
        _ = plugin.nothing
    assert Server.__mro__[1] is ServerInfo


def test_names_of_what_is_not_installed_are_attribute_errors_that_say_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "twisted", None)
    assert not hasattr(plugin, "TwistedGateway")
    with pytest.raises(AttributeError, match=r"TwistedGateway.*twisted"):
        _ = plugin.TwistedGateway


def test_importing_the_plugin_loads_no_framework():
    code = (
        "import sys; import rolo; before = set(sys.modules); import pytest, socket, time, asyncio\n"
        "known = set(sys.modules); import rolo.testing.pytest\n"
        "new = {name for name in set(sys.modules) - known if not name.startswith('rolo.testing')}\n"
        "sys.exit(str(sorted(new)) if new else 0)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


TEST_FILE = """
{head}
import sys
sys.modules["twisted"] = None  # as if it were not installed

def test_it(serve_wsgi_app):
    assert serve_wsgi_app(lambda environ, start_response: []).port

def test_twisted(serve_twisted_gateway):
    assert False
"""


@pytest.mark.parametrize(
    ("head", "options"),
    [
        pytest.param("", [], id="entry point"),
        pytest.param('pytest_plugins = ["rolo.testing.pytest"]', [], id="named in the file"),
        pytest.param("", ["-p", "rolo.testing.pytest"], id="named in the command"),
    ],
)
def test_plugin_is_loaded_once_however_it_is_named(tmp_path, head, options):
    file = tmp_path / "test_it.py"
    file.write_text(TEST_FILE.format(head=head))
    command = [*PLAIN_PYTEST, "-W", "error"]
    result = subprocess.run(
        [*command, *options, str(file)], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert "1 passed, 1 skipped" in result.stdout, result.stdout + result.stderr


TWISTED_FILE = """
import http.client

import pytest
from rolo.gateway import Gateway

@pytest.mark.parametrize("text", ["one", "two"])
def test_it(text, serve_twisted_gateway, twisted_reactor):
    assert twisted_reactor.running
    answering = Gateway([lambda chain, context, response: chain.respond(200, text)])
    for server in [serve_twisted_gateway(answering), serve_twisted_gateway(answering)]:
        connection = http.client.HTTPConnection(server.host, server.port, timeout=10)
        connection.request("GET", "/")
        assert connection.getresponse().read().decode() == text
        connection.close()

def test_echo(serve_twisted_tcp_server):
    import socket
    from twisted.internet.protocol import Factory, Protocol

    class Echo(Protocol):
        def dataReceived(self, data):
            self.transport.write(data)

    server = serve_twisted_tcp_server(Factory.forProtocol(Echo))
    with socket.create_connection((server.host, server.port), 10) as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
    server.shutdown()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((server.host, server.port), 10)
"""


def test_the_reactor_of_a_session_runs_once_and_ends_with_it(tmp_path):
    pytest.importorskip("twisted")
    file = tmp_path / "test_it.py"
    file.write_text(TWISTED_FILE)
    command = [*PLAIN_PYTEST, "-W", "error", str(file)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert "3 passed" in result.stdout, result.stdout + result.stderr
    assert result.returncode == 0
