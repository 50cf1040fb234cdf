"""Whatever sets framing fields, no wire sees two messages where there is one."""

import pytest
from threaded_origin import ThreadedOrigin
from werkzeug.datastructures import Headers
from wire import fetch

from rolo import Response
from rolo.errors import HookError, ReservedField
from rolo.gateway import Gateway
from rolo.gateway.handlers import RouterHandler
from rolo.proxy import Proxy, ProxyHandler
from rolo.proxy.helpers import SetHeaders
from rolo.routing import Router
from rolo.serving import serve


@pytest.fixture(params=["native-loop", "native-threads", "uvicorn-threads", "werkzeug-threads"])
def served_on(request):
    """Both ways to forward, an ASGI server and WSGI."""
    return tuple(request.param.split("-"))


FIELDS = {"Content-Length": "1", "Transfer-Encoding": "chunked", "Connection": "X-A", "TE": "x"}


@pytest.mark.parametrize("name", FIELDS)
def test_a_hook_that_sets_one_fails_by_name_before_a_byte_goes_out(rewriting, origin, name):
    errors = []
    url = rewriting(
        SetHeaders(request={name: FIELDS[name]}),
        on_error=lambda context, error: errors.append(error),
    )
    assert fetch(url, method="POST", body=b"abc").status == 500
    assert origin.requests == []
    [error] = errors
    assert isinstance(error, HookError)
    assert isinstance(error.__cause__, ReservedField)


def test_a_hook_that_sets_one_on_an_answer_fails_by_name_too(rewriting):
    assert fetch(rewriting(SetHeaders(response={"Content-Length": "1"}))).status == 500


def test_what_is_put_beneath_the_view_reaches_no_wire(rewriting, origin, served_on):
    def on_outgoing(context, outbound):
        if context.path == "/out":
            outbound.headers.pairs.append((b"Content-Length", b"1"))

    def on_response(context, response):
        if context.path == "/twice":
            response.headers.pairs.append((b"Content-Length", b"1"))
        response.headers.pairs += [(b"Upgrade", b"h2c"), (b"Connection", b"X-A"), (b"X-A", b"1")]

    url = rewriting(on_outgoing=on_outgoing, on_response=on_response)
    assert fetch(url, "/out", method="POST", body=b"abc").status == 500
    assert origin.requests == []
    answer = fetch(url, "/back")
    assert (answer.status, answer.body, answer.all("content-length")) == (200, b"ok", ["2"])
    assert [answer.get(name) for name in ("upgrade", "x-a")] == [None, None]
    # A blocking client has read no body yet, so that it has no length but the declared ones.
    answer = fetch(url, "/twice")
    assert len(answer.all("content-length")) == 1
    if served_on[0] == "werkzeug":
        assert answer.status == 500
    else:
        assert (answer.status, answer.body) == (200, b"ok")


def test_edits_of_the_request_that_came_leave_its_body_whole(rewriting, origin):
    """In a hook's ``context.request`` they are too late to mean the body."""

    def on_request(context):
        headers = context.request.headers
        if context.path == "/removed":
            del headers["Content-Length"]
            del headers["Transfer-Encoding"]
        else:
            headers["Content-Length"] = "1"
            headers["Transfer-Encoding"] = "chunked"

    url = rewriting(on_request=on_request)
    for path in ("/removed", "/set"):
        assert fetch(url, path, method="POST", body=b"abc").status == 200
        assert origin.last.body == b"abc"
        assert origin.last.all("content-length") == ["3"]
        assert origin.last.all("transfer-encoding") == []


def forwarding(proxy, headers):
    """An endpoint that forwards with ``headers=``."""

    def endpoint(request, **kwargs):
        return proxy.forward(request, headers=headers(request))

    router = Router()
    router.add("/<path:path>", endpoint=endpoint, methods=["GET", "POST"])
    return Gateway([RouterHandler(router)])


def test_a_copy_of_the_clients_head_as_headers_goes_on_as_the_head_would(start, origin):
    def copied(request):
        return Headers([*request.headers, ("X-More", "1")])

    proxy = Proxy(origin.url)
    url = start(forwarding(proxy, copied)).url
    headers = [("Connection", "X-Mine"), ("X-Mine", "1"), ("TE", "trailers")]
    assert fetch(url, "/a", method="POST", body=b"abc", headers=headers).status == 200
    seen = origin.last
    assert (seen.body, seen.get("x-more"), seen.get("x-mine")) == (b"abc", "1", None)
    assert seen.all("content-length") == ["3"]
    assert seen.all("te") == ["trailers"]
    proxy.close()


@pytest.mark.parametrize("name", FIELDS)
def test_headers_that_would_frame_are_refused(start, origin, name):
    proxy = Proxy(origin.url)
    url = start(forwarding(proxy, lambda request: {name: FIELDS[name]})).url
    assert fetch(url, "/a", method="POST", body=b"abc").status == 500
    assert origin.requests == []
    proxy.close()


def endpoints(request, path):
    headers = Headers()
    if path == "short":
        headers["Content-Length"] = "1"
    elif path == "both":
        headers["Content-Length"] = "9"
        headers["Transfer-Encoding"] = "chunked"
    elif path == "advice":
        for name, value in [("Keep-Alive", "timeout=5"), ("Upgrade", "h2c"), ("X-A", "1"),
                            ("Connection", "X-A, close")]:  # fmt: skip
            headers.add(name, value)
    elif path == "coded":
        headers["Transfer-Encoding"] = "gzip, chunked"
    elif path == "twice":
        headers.add("Content-Length", "3")
        headers.add("Content-Length", "4")
        return Response(iter([b"abc"]), headers=headers)
    return Response(b"abc", headers=headers)


def test_a_local_endpoint_that_sets_them_is_answered_whole(start):
    router = Router()
    router.add("/<path>", endpoint=endpoints)
    url = start(Gateway([RouterHandler(router)])).url
    for path, framing in [("short", "3"), ("both", "chunked"), ("advice", "3")]:
        answer = fetch(url, f"/{path}")
        assert (answer.status, answer.body) == (200, b"abc"), path
        framed = answer.all("content-length") + answer.all("transfer-encoding")
        assert framed == [framing], path
        assert len(answer.all("connection")) <= 1
        assert [answer.get(name) for name in ("keep-alive", "upgrade", "x-a")] == [None] * 3
    for path in ("coded", "twice"):
        assert fetch(url, f"/{path}").status == 500


@pytest.mark.parametrize("field", ["trailers", "websocket", "handshake"])
def test_other_heads_refuse_them_too(origin, field):
    """Trailers, handshakes and 101s are edited by the same view."""
    from rolo.proxy.hooks.editable import OutboundHandshake
    from rolo.proxy.hooks.websocket_handle import RelayedWebSocket
    from rolo.upstream.websocket import Handshake
    from rolo.wire.fields import HeaderFields

    views = {
        "trailers": HeaderFields([]),
        "websocket": RelayedWebSocket(None, None, None, HeaderFields([])).headers,
        "handshake": OutboundHandshake(Handshake(None, b"/", [])).headers,
    }
    with pytest.raises(ReservedField):
        views[field]["Connection"] = "close"


def test_a_client_of_the_users_gets_one_length():
    seen = []

    class Client:
        def request(self, request, server=None):
            seen.append(request.headers.getlist("content-length"))
            return Response("ok")

        def close(self):
            pass

    with (
        ThreadedOrigin() as origin,
        serve(Gateway([ProxyHandler(origin.url, Client())])) as server,
    ):
        assert fetch(server.url, method="POST", body=b"abc").status == 200
    assert seen == [["3"]]
