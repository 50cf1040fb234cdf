"""From the request that came in to the head that goes out."""

import pytest

from rolo.bridge.downstream import RequestHead
from rolo.bridge.request import BridgeRequest
from rolo.proxy.client import portal_of
from rolo.proxy.forwarded_fields import ForwardedPolicy
from rolo.proxy.outgoing import outgoing_request, raw_tail
from rolo.request import Request
from rolo.response import Response
from rolo.routing import Router
from rolo.wire.http1 import parse_request_head
from rolo.wire.target import parse_upstream

UPSTREAM = parse_upstream("http://origin:9000/base")


@pytest.mark.parametrize(
    ("path", "captured", "forwarded"),
    [
        ("/a/b%20c", "b%20c", "b%20c"),
        ("/a/b%20c", "b c", "b%20c"),
        ("/a/b%2Fc", "b/c", "b%2Fc"),
        ("/a/%2541", "%41", "%2541"),
        ("/a/%311", "11", "%311"),
        ("/a/%41A", "1A", "1A"),
        ("/a/b%", "b%", "b%"),
        ("/a/%c3%a9", "é", "%c3%a9"),
        ("/a/é", "é", "%C3%A9"),
        ("/a/é", "%C3%A9", "%C3%A9"),
        ("/a/b", "other é", "other%20%C3%A9"),
    ],
)
def test_what_a_route_captured_is_forwarded_as_it_was_written(path, captured, forwarded):
    assert raw_tail(Request(raw_path=path), captured) == forwarded


def test_bytes_beyond_ascii_that_a_route_captured_are_encoded_once():
    request = Request()
    request.environ["RAW_URI"] = "/t/caf\xc3\xa9/%C3%A9"  # as servers write it: PEP 3333
    captured = []
    router = Router()
    router.add("/<tenant>/<path:path>", lambda request, args: captured.append(args) or Response())
    router.dispatch(request)
    assert captured == [{"tenant": "t", "path": "caf%C3%A9/%C3%A9"}]
    path = raw_tail(request, captured[0]["path"])
    outgoing = outgoing_request(request, UPSTREAM, path=path)
    assert outgoing.target == b"/base/caf%C3%A9/%C3%A9"


def test_edits_replace_all_fields_of_their_name_and_host_only_if_it_is_not_preserved():
    request = Request(headers=[("X-A", "1"), ("B", "2"), ("x-a", "3"), ("Host", "client")])
    edits = {"X-a": "new", "HOST": "edited", "C": "4"}
    for preserve, host in ((True, b"client"), (False, b"edited")):
        outgoing = outgoing_request(
            request,
            UPSTREAM,
            edits=edits,
            preserve_host=preserve,
            policy=ForwardedPolicy(mode="off"),
        )
        fields = sorted((name.lower(), value) for name, value in outgoing.headers)
        assert fields == [(b"b", b"2"), (b"c", b"4"), (b"host", host), (b"x-a", b"new")]


def test_a_path_that_is_only_known_decoded_is_encoded():
    outgoing = outgoing_request(Request(path="/a b/€"), UPSTREAM)
    assert outgoing.target == b"/base/a%20b/%E2%82%AC"


def test_the_way_to_the_loop_is_found_without_an_environment():
    """To build one costs more than all the rest of a small exchange, and makes a cycle."""
    portal = object()
    request = BridgeRequest(RequestHead("GET", b"/", [], "1.1", "http", "/", b""), None, portal)
    assert portal_of(request) is portal
    assert "environ" not in vars(request)


def test_what_needs_no_edit_goes_out_as_the_lines_it_came_in():
    block = b"GET /a?b HTTP/1.1\r\nhOST: h\r\nA: 1\r\nConnection: keep-alive\r\n\r\n"
    parsed = parse_request_head(block)
    head = RequestHead(
        "GET", parsed.target, parsed.headers, "1.1", "http", None, None, framing=parsed.framing
    )
    outgoing = outgoing_request(BridgeRequest(head, None, None), UPSTREAM)
    added = b"X-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\n"
    expected = b"GET /base/a?b HTTP/1.1\r\nhOST: h\r\nA: 1\r\n" + added + b"\r\n"
    assert outgoing.encoded_head() == expected
    outgoing.headers.append((b"B", b"2"))  # whoever looks at them may edit them
    assert outgoing.encoded_head() == expected[:-2] + b"B: 2\r\n\r\n"
