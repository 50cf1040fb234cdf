"""A proxy as a handler, in front of an upstream in memory: what the client gets, and the log."""

import pytest
from memory_upstream import URL, Proxied, Upstream, answer

from rolo import Request, Response
from rolo.errors import (
    BadResponse,
    ClientDisconnected,
    ConnectError,
    HookError,
    ResponseHeadTimeout,
)
from rolo.gateway import Gateway, RequestContext
from rolo.gateway.chain import HandlerChain
from rolo.proxy import Hooks, ProxyHandler
from rolo.proxy.helpers import RewriteHost, SetHeaders


def handler(*answers, **options):
    return ProxyHandler(URL, Upstream(*answers), **options)


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (ConnectError("refused", target=URL), 502, "connection_refused"),
        (BadResponse("no HTTP", target=URL), 502, "http_protocol_error"),
        (ResponseHeadTimeout("late", target=URL), 504, "http_response_timeout"),
    ],
)
def test_an_error_is_an_answer_that_tells_its_status_and_no_more(error, status, kind, caplog):
    for name in (None, "edge"):
        caplog.clear()
        response = handler(error, proxy_status=name).forward(
            Request("GET", "/a b", raw_path="/a%20b")
        )
        assert response.status_code == status
        assert str(error) not in response.get_data(as_text=True)
        field = response.headers.get("Proxy-Status")
        assert field == (None if name is None else f"edge; error={kind}")
        (line,) = caplog.messages
        assert line.startswith("GET /a%20b: upstream error in phase ")
        assert URL in line


def test_clients_cannot_write_lines_of_their_own_into_the_log(caplog):
    error = ConnectError("refused", target=URL)
    handler(error).forward(Request("GET", "/", raw_path="/\n\x1b[1m"))
    assert caplog.messages[0].startswith("GET /\\n\\x1b[1m: ")


def test_a_client_that_has_left_gets_no_answer():
    with pytest.raises(ClientDisconnected):
        handler(ClientDisconnected("gone")).forward(Request("GET", "/"))


def test_an_error_of_a_hook_is_logged_once(caplog):
    def fails(context):
        raise ValueError("on purpose")

    response = handler(on_request=fails).forward(Request("GET", "/"))
    assert response.status_code == 500
    assert len(caplog.messages) == 1
    assert "on_request of " in caplog.messages[0]
    assert HookError.status == 500


def test_as_a_handler_of_a_chain_it_fills_the_response_and_stops():
    seen = []

    class Seeing(Hooks):
        def on_response(self, context, response):
            seen.append(context)

    for hooks in ([], [Seeing()]):
        forwarding = handler(answer(b"ok", status=201), hooks=hooks)
        chain = HandlerChain([forwarding, lambda *args: pytest.fail("it stops")])
        context, response = RequestContext(Request("GET", "/x", raw_path="/x")), Response()
        chain.handle(context, response)
        assert (response.status_code, response.get_data(), chain.stopped) == (201, b"ok", True)
        assert forwarding.proxy.client.last.target == b"/x"
    assert vars(seen[0]) is vars(context)


@pytest.mark.parametrize(
    ("arguments", "target"),
    [
        (({"path": "b c"},), b"/b%20c"),
        (({},), b"/"),
        (({"path": ""},), b"/"),
    ],
)
def test_as_an_endpoint_it_forwards_the_path_that_was_captured(arguments, target):
    forwarding = handler()
    request = Request("GET", "/a/b c", raw_path="/a/b%20c")
    assert forwarding(request, *arguments).status_code == 200
    assert forwarding.proxy.client.last.target == target
    forwarding(request, **arguments[0])
    assert forwarding.proxy.client.last.target == target


def test_a_gateway_forwards_with_it():
    gateway = Gateway([handler(answer(b"ok", headers=[(b"X-A", b"1")]))])
    response = Response()
    gateway.process(Request("GET", "/"), response)
    assert (response.get_data(), response.headers["X-A"]) == (b"ok", "1")


def test_fields_are_set_and_removed_without_code():
    proxied = Proxied(
        SetHeaders({"X-Out": "1", "X-Gone": None}, {"X-Back": "2", "Server": None}),
        answers=[answer(headers=[(b"Server", b"theirs"), (b"X-Back", b"theirs")])],
    )
    response = proxied.ask(headers={"X-Gone": "x", "X-Out": "theirs"})
    assert (proxied.upstream.field(b"x-out"), proxied.upstream.field(b"x-gone")) == ([b"1"], [])
    assert response.headers.getlist("X-Back") == ["2"]
    assert "Server" not in response.headers
    assert Proxied(SetHeaders()).ask().whole == b"ok"


def test_the_host_is_the_one_that_is_given():
    proxied = Proxied(RewriteHost("inside.test:81"))
    proxied.ask(headers={"Host": "outside.test"})
    assert proxied.upstream.field(b"host") == [b"inside.test:81"]


def test_the_host_is_the_clients_unless_it_is_not_to_be_preserved():
    for preserve, host in [(True, b"outside.test"), (False, b"origin.test")]:
        forwarding = handler(preserve_host=preserve)
        forwarding.forward(Request("GET", "/", headers={"Host": "outside.test"}))
        fields = dict(forwarding.proxy.client.last.headers)
        assert fields[b"Host"] == host
