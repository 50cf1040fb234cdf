"""Gateways, routers and WSGI applications on every server."""

from __future__ import annotations

import threading
import typing as t

import pytest
from choosing import OWN_HTTP
from serving_support import fetch, need

from rolo import Response, Router
from rolo.gateway import Gateway
from rolo.gateway.handlers import RouterHandler
from rolo.serving import SERVERS, Limits, serve


@pytest.fixture(params=sorted(SERVERS))
def any_server(request: pytest.FixtureRequest) -> str:
    return need(request.param)


def router() -> Router[t.Any]:
    made: Router[t.Any] = Router()
    made.add("/hello", lambda request, args: Response(threading.current_thread().name))
    return made


@pytest.mark.parametrize("mode", ["threads", "loop"])
def test_a_gateway_is_served(any_server: str, mode: t.Literal["threads", "loop"]) -> None:
    gateway = Gateway(request_handlers=[RouterHandler(router(), respond_not_found=True)])
    with serve(gateway, server=any_server, mode=mode) as server:
        assert fetch(server.port, "/hello").startswith(b"HTTP/1.1 200 ")
        assert fetch(server.port, "/nothing").startswith(b"HTTP/1.1 404 ")


def test_loop_mode_runs_handlers_on_the_thread_of_the_server() -> None:
    with serve(router(), server="hypercorn", mode="loop") as server:
        body = fetch(server.port, "/hello").partition(b"\r\n\r\n")[2]
        assert body == f"rolo-hypercorn-{server.port}".encode()


def test_a_router_is_served(any_server: str) -> None:
    with serve(router(), server=any_server) as server:
        assert fetch(server.port, "/hello").startswith(b"HTTP/1.1 200 ")
        assert fetch(server.port, "/nothing").startswith(b"HTTP/1.1 404 ")


def test_a_wsgi_application_is_served(any_server: str) -> None:
    def application(environ: dict[str, t.Any], start_response: t.Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ["PATH_INFO"].encode()]

    if any_server in OWN_HTTP:
        pytest.skip("serves gateways only")
    with serve(application, server=any_server) as server:
        assert b"/some/path" in fetch(server.port, "/some/path")


def test_limits_of_a_gateway_are_handed_to_the_server_with_it(any_server: str) -> None:
    adapter, limits = SERVERS[any_server], Limits(max_fields=7)
    if any_server == "werkzeug":
        pytest.skip("has bounds of its own")
    fitted = adapter.fit_gateway(
        Gateway(), mode="loop", threads=None, limits=limits, proxy_status="edge"
    )
    ready = adapter.fit_app(fitted.app, threads=None)
    for each in (fitted, ready):
        assert (each.limits, each.proxy_status) == (limits, "edge")
    fitted.close()
