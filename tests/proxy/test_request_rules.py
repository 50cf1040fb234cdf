"""What of a client's request does not reach the upstream."""

import io

import pytest

from rolo.bridge.downstream import RequestHead
from rolo.bridge.environ import wsgi_environ
from rolo.errors import BadRequest
from rolo.proxy.outgoing import outgoing_request
from rolo.proxy.request_rules import RequestRules, has_dot_segment
from rolo.request import Request, dummy_wsgi_environment
from rolo.wire.target import parse_upstream

UPSTREAM = parse_upstream("http://origin/base")
REAL = [(b"Host", b"h"), (b"Content-Length", b"2"), (b"Content-Type", b"text/plain"),
        (b"X-Forwarded-For", b"1.2.3.4"), (b"X-One", b"1")]  # fmt: skip
VOUCHED_FOR = [
    b"Content_Length", b"CONTENT_TYPE", b"X_Forwarded_For", b"X-Forwarded_Proto", b"Transfer_Encoding",
    b"x_forwarded_host", b"Proxy_Connection", b"Proxy_Authorization", b"Keep_Alive",
]  # fmt: skip
OTHERS = [b"X_One", b"api_key", b"_", b"a_b-c"]


def request_of(fields):
    head = RequestHead(
        method="GET", target=b"/", headers=fields, http_version="1.1", scheme="http", path="/",
        query=b"", root_path="", client=("10.0.0.1", 1), server=None, extensions={},
    )  # fmt: skip
    return Request.from_environ(wsgi_environ(head) | {"wsgi.input": io.BytesIO()})


def forwarded(request, rules):
    return {name for name, _ in outgoing_request(request, UPSTREAM, rules=rules).headers}


@pytest.mark.parametrize("order", [1, -1], ids=["before the real one", "behind it"])
def test_a_name_with_underscores_never_shadows_in_the_environment(order):
    aliases = [(name, b"evil") for name in VOUCHED_FOR + OTHERS]
    for environ in (
        request_of((aliases + REAL)[::order]).environ,
        dummy_wsgi_environment(
            headers={n.decode(): v.decode() for n, v in (aliases + REAL)[::order]}
        ),
    ):
        assert (environ["CONTENT_LENGTH"], environ["CONTENT_TYPE"]) == ("2", "text/plain")
        assert environ["HTTP_X_FORWARDED_FOR"] == "1.2.3.4"
        assert environ["HTTP_X_ONE"] == "1"
        assert "evil" not in [v for k, v in environ.items() if isinstance(v, str)]


def test_names_with_underscores_are_not_forwarded_unless_wanted():
    request = request_of([(name, b"x") for name in VOUCHED_FOR + OTHERS] + REAL)
    kept = forwarded(request, RequestRules())
    assert kept.isdisjoint(VOUCHED_FOR + OTHERS)
    assert kept >= {b"X-One", b"Host", b"Content-Type"}
    kept = forwarded(request, RequestRules(underscores_in_headers=True))
    assert kept.isdisjoint(VOUCHED_FOR)
    assert kept >= set(OTHERS)


def test_names_of_our_own_may_have_underscores():
    request = request_of([(b"Host", b"h"), (b"theirs_x", b"1")])
    request.headers["our_key"] = "2"
    assert b"our_key" in forwarded(request, RequestRules())
    assert b"our_key" in forwarded(Request(headers={"our_key": "1"}), RequestRules())


DOTS = [
    "/..", "/.", "/../admin", "/a/../b", "/a/./b", "/a/..", "/%2e%2e/b", "/a/%2E./b", "/.%2e", "/a\\..\\b",
    "/a/..%5cb", "/a%5C..%5Cb", "/a%2f..%2fb", "/a/%2e%2e%2Fb", "/a/..;/b", "/a/..;x=1/b", "/a/..%3bx/b",
    "/%2e",
]  # fmt: skip
NO_DOTS = ["/", "/a.b", "/a/...", "/..a/b..", "/.well-known/x", "/%2ea", "//", "/a;x=../b..c"]


@pytest.mark.parametrize("path", DOTS)
def test_dot_segments_are_refused_where_that_is_asked_for(path):
    request = Request(raw_path=path)
    assert outgoing_request(request, UPSTREAM).target.endswith(path.replace("\\", "%5C").encode())
    for given in (None, path, path[1:]):
        with pytest.raises(BadRequest, match="dot segment"):
            outgoing_request(
                request, UPSTREAM, path=given, rules=RequestRules(refuse_dot_segments=True)
            )


@pytest.mark.parametrize("path", NO_DOTS)
def test_other_dots_pass(path):
    assert not has_dot_segment(path.encode())
