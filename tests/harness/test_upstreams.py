"""A harness in front of something real: what passes, what is edited, what is stubbed."""

import threading
import time

import pytest
from websocket_origin import Client
from werkzeug import Request, Response
from wire import fetch

from rolo import Router
from rolo.gateway import Gateway
from rolo.harness import Harness, send
from rolo.proxy import Hooks
from rolo.serving import serve


@Request.application
def wsgi_app(request):
    return Response(f"{request.method} {request.path}", headers={"X-Host": request.host})


async def asgi_app(scope, receive, send):
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"asgi " + scope["path"].encode()})


def gateway():
    return Gateway([lambda chain, context, response: chain.respond(200, context.request.path)])


def router():
    made = Router()
    made.add("/<path:path>", lambda request, args: Response(args["path"]))
    return made


@pytest.fixture
def service():
    with serve(wsgi_app, server="werkzeug") as server:
        yield server


@pytest.mark.parametrize(
    ("upstream", "body"),
    [
        pytest.param(lambda: wsgi_app, b"GET /x", id="WSGI"),
        pytest.param(lambda: asgi_app, b"asgi /x", id="ASGI"),
        pytest.param(gateway, b"/x", id="gateway"),
        pytest.param(router, b"x", id="router"),
    ],
)
def test_an_application_is_served_for_as_long_as_the_harness_is(upstream, body):
    before = set(threading.enumerate())
    with Harness(upstream()) as api:
        assert fetch(api.url, "/x").body == body
        assert api.received("GET", "/x").once().upstream_status == 200
    left = set(threading.enumerate()) - before
    for thread in left:
        thread.join(2)
    assert not [thread for thread in left if thread.is_alive()]


def test_a_service_elsewhere_gets_its_own_host(service):
    with Harness(service.url) as api:
        answer = fetch(api.url, "/x")
        assert answer.body == b"GET /x"
        assert answer.get("x-host") == service.url.removeprefix("http://")
    with Harness(wsgi_app) as api:
        assert fetch(api.url, "/x").get("x-host") == api.url.removeprefix("http://")


def test_stubs_come_before_the_upstream(service):
    with Harness(service.url) as api:
        api.get("/x").returns("stubbed")
        assert fetch(api.url, "/x").body == b"stubbed"
        assert fetch(api.url, "/y").body == b"GET /y"
        stubbed, passed = api.records
        assert (stubbed.upstream_status, passed.upstream_status) == (None, 200)
        assert "sent on" in api.transcript()


def test_the_mode_says_what_becomes_of_the_rest_and_may_change(service):
    with Harness(service.url, mode="stubs", strict=False) as api:
        assert fetch(api.url, "/y").status == 404
        api.mode = "spy"
        assert fetch(api.url, "/y").body == b"GET /y"
        api.mode = "stubs"
        assert api.mode == "stubs"
        assert fetch(api.url, "/y").status == 404
        with pytest.raises(ValueError, match="the mode is one of"):
            api.mode = "other"
    with pytest.raises(ValueError, match="nowhere to pass"):
        Harness(mode="spy")


def test_what_passes_is_edited_by_hooks_that_may_block(service):
    def brand(context, response):
        time.sleep(0.001)
        response.headers["X-Edge"] = "rolo"

    class Upper(Hooks):
        def on_response(self, context, response):
            response.transform_text(str.upper)

    with Harness(service.url) as api:
        api.any("/legacy/<path:_>").passes().edit(on_response=brand).times(1)
        api.get("/upper").passes().edit([Upper()])
        answer = fetch(api.url, "/legacy/a/b")
        assert (answer.get("x-edge"), answer.body) == ("rolo", b"GET /legacy/a/b")
        assert fetch(api.url, "/upper").body == b"GET /UPPER"
        assert fetch(api.url, "/legacy/a/b").get("x-edge") is None


def test_a_stub_passes_where_it_says(service):
    with Harness() as api:
        api.get("/x").passes(service.url).then(503).forever()
        assert fetch(api.url, "/x").body == b"GET /x"
        assert fetch(api.url, "/x").status == 503


def test_uploads_that_a_stub_looked_at_still_pass_whole(service):
    with Harness(wsgi_app) as api:
        api.post("/x", json={"a": 1}).returns(201).optional()
        assert fetch(api.url, "/x", "POST", [], b"no json").body == b"POST /x"
        assert api.received("POST", "/x").once().body == b"no json"


def test_websockets_pass_too():
    with Harness() as origin, Harness(origin.url) as api:
        origin.websocket("/chat").plays(send("from the origin"))
        with Client(api.url, "/chat") as client:
            client.open()
            assert client.message() == "from the origin"
            assert client.closing() == (1000, "")
        with Client(api.url, "/other") as client:
            assert client.answer().status == 404
        origin.forgive()
        assert api.wait_for("WEBSOCKET", "/chat").once().sent_messages == ["from the origin"]


def test_what_is_no_upstream_is_told():
    with pytest.raises(TypeError, match="upstream is a URL"):
        Harness(3)
