"""Ready hooks in front of an upstream in memory."""

import pytest
from memory_upstream import Proxied, answer

from rolo import Response
from rolo.errors import PartOfBody, UpstreamClosed
from rolo.proxy import Hooks, takes_parts
from rolo.proxy.helpers import (
    AddPrefix,
    BasicAuth,
    Copy,
    Cors,
    Mirror,
    RequireBasicAuth,
    ReverseUrls,
    RewritePath,
    StripPrefix,
    TransformBodies,
    basic_auth,
)


def asked(hooks, path="/", **request):
    """The answer, and the target that the upstream was asked for (``None``: it was not)."""
    proxied = Proxied(*hooks)
    response = proxied.ask(path=path, raw_path=path, **request)
    return response, proxied.upstream.last.target if proxied.upstream.requests else None


# --- paths and logins -------------------------------------------------------------------


def test_paths_are_rewritten():
    assert asked([StripPrefix("/api")], "/api/x")[1] == b"/x"
    response, target = asked([StripPrefix("/api")], "/apis")
    assert (response.status_code, response.mimetype, target) == (404, "text/plain", None)
    assert asked([AddPrefix("/v1")], "/x")[1] == b"/v1/x"
    assert asked([RewritePath("[0-9]", "n")], "/1/2")[1] == b"/n/n"
    assert asked([RewritePath("[0-9]", "n", count=1)], "/1/2")[1] == b"/n/2"


@pytest.mark.parametrize(
    "check", [{"ada": "secret", "": ""}, lambda *pair: pair in [("ada", "secret"), ("", "")]]
)
def test_only_who_may_is_let_through(check):
    users = []
    hooks = [RequireBasicAuth(check, 'the "realm"'), Noting(users)]
    for user, password, let in [
        ("ada", "secret", True),
        ("", "", True),
        ("ada", "", False),
        ("ada", "Secret", False),
        ("bob", "", False),
        ("bob", "secret", False),
    ]:
        headers = {"Authorization": basic_auth(user, password)}
        proxied = Proxied(*hooks)
        response = proxied.ask(headers=headers)
        assert (response.status_code == 200) == let
        if let:
            assert users.pop() == user
            assert proxied.upstream.field(b"authorization") == []
        else:
            assert response.headers["WWW-Authenticate"] == (
                'Basic realm="the \\"realm\\"", charset="UTF-8"'
            )
            assert proxied.upstream.requests == []
    assert asked(hooks)[0].status_code == 401


class Noting(Hooks):
    def __init__(self, users):
        self.users = users

    def on_response(self, context, response):
        self.users.append(context.user)


def test_the_proxy_logs_in_itself():
    proxied = Proxied(BasicAuth("ada", "secret"))
    proxied.ask(headers={"Authorization": "Bearer theirs"})
    assert proxied.upstream.field(b"authorization") == [basic_auth("ada", "secret").encode()]


# --- other origins ----------------------------------------------------------------------

PREFLIGHT = {
    "Origin": "https://a.test",
    "Access-Control-Request-Method": "PUT",
    "Access-Control-Request-Headers": "x-one, x-two",
}


def marks(response):
    return {
        name.removeprefix("Access-Control-"): value
        for name, value in response.headers
        if name.startswith("Access-Control-")
    }


def test_a_preflight_is_answered_here():
    response, target = asked([Cors(max_age=5)], method="OPTIONS", headers=PREFLIGHT)
    assert (response.status_code, target) == (204, None)
    assert marks(response) == {
        "Allow-Origin": "*",
        "Allow-Methods": "PUT, PATCH, DELETE",
        "Allow-Headers": "x-one, x-two",
        "Max-Age": "5",
    }
    assert "Vary" not in response.headers
    named = Cors(["https://a.test"], methods=["PUT"], headers=["X"], credentials=True)
    response, _ = asked([named], method="OPTIONS", headers=PREFLIGHT)
    assert marks(response) == {
        "Allow-Origin": "https://a.test",
        "Allow-Credentials": "true",
        "Allow-Methods": "PUT",
        "Allow-Headers": "X",
        "Max-Age": "600",
    }
    assert response.headers["Vary"] == "Origin"
    response, _ = asked([Cors(["https://b.test"])], method="OPTIONS", headers=PREFLIGHT)
    assert (response.status_code, marks(response)) == (204, {})
    assert response.headers["Vary"] == "Origin"


@pytest.mark.parametrize("without", ["method", "Origin", "Access-Control-Request-Method"])
def test_what_is_no_preflight_is_forwarded(without):
    headers = {name: value for name, value in PREFLIGHT.items() if name != without}
    method = "GET" if without == "method" else "OPTIONS"
    assert asked([Cors()], method=method, headers=headers)[1] == b"/"


def test_a_preflight_that_asks_for_no_fields_is_told_of_none():
    headers = {name: PREFLIGHT[name] for name in ("Origin", "Access-Control-Request-Method")}
    response, _ = asked([Cors()], method="OPTIONS", headers=headers)
    assert "Allow-Headers" not in marks(response)


@pytest.mark.parametrize(
    ("cors", "origin", "expected", "vary"),
    [
        (Cors(), "https://a.test", {"Allow-Origin": "*"}, "Accept"),
        (Cors(), None, {}, "Accept"),
        (Cors(expose=["X", "Y"]), "a", {"Allow-Origin": "*", "Expose-Headers": "X, Y"}, "Accept"),
        (Cors(["a"]), "a", {"Allow-Origin": "a"}, "Accept, Origin"),
        (
            Cors(["a"], credentials=True),
            "a",
            {"Allow-Origin": "a", "Allow-Credentials": "true"},
            "Accept, Origin",
        ),
        (Cors(["a"], expose=["X"]), "b", {}, "Accept, Origin"),
        (Cors(["a"]), None, {}, "Accept, Origin"),
    ],
)
def test_answers_are_marked_and_what_the_upstream_says_is_replaced(cors, origin, expected, vary):
    theirs = [(b"Access-Control-Allow-Origin", b"theirs"), (b"Vary", b"Accept")]
    proxied = Proxied(cors, answers=[answer(headers=theirs)])
    response = proxied.ask(headers={} if origin is None else {"Origin": origin})
    assert marks(response) == expected
    assert ", ".join(response.headers.getlist("Vary")) == vary


def test_that_answers_vary_is_said_once():
    proxied = Proxied(Cors(["a"]), answers=[answer(headers=[(b"Vary", b"Accept, ORIGIN")])])
    assert proxied.ask(headers={"Origin": "a"}).headers.getlist("Vary") == ["Accept, ORIGIN"]


# --- addresses of the upstream ----------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "outside", "value", "expected"),
    [
        ("http://origin.test", None, "http://origin.test/x", "http://me.test/x"),
        ("http://origin.test", None, "/x", "/x"),
        ("http://origin.test", None, "//origin.test/x", "//me.test/x"),
        ("http://origin.test", None, "//other.test/x", "//other.test/x"),
        ("http://origin.test/base", None, "/base/x", "/x"),
        ("http://origin.test/base", None, "/else", "/else"),
        ("http://origin.test/base", "https://out.test/api", "/base/x", "/api/x"),
        (
            *("http://origin.test/base", "https://out.test/api"),
            *("http://origin.test/base/x", "https://out.test/api/x"),
        ),
        ("http://origin.test", "https://out.test/api", "/x", "/api/x"),
        ("http://origin.test", "/api", "//origin.test/x", "/api/x"),
    ],
)
def test_where_answers_point_to_is_below_the_proxy(base, outside, value, expected):
    fields = [
        (b"Location", value.encode()),
        (b"Content-Location", value.encode()),
        (b"Refresh", b"5; url=" + value.encode()),
    ]

    class Based(Hooks):
        def on_request(self, context):
            context.upstream = base

    proxied = Proxied(ReverseUrls(outside), Based(), answers=[answer(headers=fields)])
    response = proxied.ask(headers={"Host": "me.test"})
    assert [response.headers[name] for name in ("Location", "Content-Location", "Refresh")] == [
        *(expected, expected, f"5; url={expected}")
    ]


def test_cookies_of_the_upstream_are_those_of_the_proxy():
    class Based(Hooks):
        def on_request(self, context):
            context.upstream = "http://origin.test/base"

    cookies = [
        (b"Set-Cookie", b"a=1; Domain=origin.test; Path=/base/x"),
        (b"Set-Cookie", b"b=2; Path=/"),
    ]
    proxied = Proxied(ReverseUrls("/api"), Based(), answers=[answer(headers=cookies)])
    assert proxied.ask(headers={"Host": "me.test"}).headers.getlist("Set-Cookie") == [
        *("a=1; Path=/api/x", "b=2; Path=/")
    ]


# --- bodies -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "changed"),
    [
        ({"chunks": bytes.upper}, b'{"A": 1}'),
        ({"lines": lambda line: line + "!"}, b'{"a": 1}!'),
        ({"text": str.upper}, b'{"A": 1}'),
        ({"json": lambda document: {**document, "b": 2}}, b'{"a": 1, "b": 2}'),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
@pytest.mark.parametrize(
    ("types", "concerned"),
    [
        ((), True),
        (("text/", "application/json"), True),
        (("application/",), True),
        (("application/jso",), False),
        (("text/",), False),
    ],
)
def test_bodies_of_the_types_that_are_named_are_changed(function, changed, types, concerned):
    given = answer(b'{"a": 1}', headers=[(b"Content-Type", b"application/json; x=y")])
    proxied = Proxied(TransformBodies(*types, **function), answers=[given])
    response = proxied.ask(headers={"Range": "bytes=0-1", "Accept-Encoding": "gzip, x"})
    assert response.whole == (changed if concerned else b'{"a": 1}')
    assert proxied.upstream.field(b"range") == []
    assert proxied.upstream.field(b"accept-encoding") == [b"gzip"]


def test_parts_pass_what_takes_them_only():
    for function, passes in [(bytes.upper, False), (takes_parts(lambda piece: piece), True)]:
        proxied = Proxied(
            TransformBodies("text/", chunks=function), answers=[answer(b"pa", status=206)]
        )
        response = proxied.ask(headers={"Range": "bytes=0-1"})
        assert (type(response) is PartOfBody) == (not passes)
        assert proxied.upstream.field(b"range") == ([b"bytes=0-1"] if passes else [])


def test_the_head_of_an_unchanged_document_tells_of_the_changed_one():
    tag = [(b"ETag", b'"x"')]
    for headers, weak in [(tag, True), ([*tag, (b"Content-Type", b"image/png")], False)]:
        given = answer(status=304, headers=headers, length=False)
        proxied = Proxied(TransformBodies("text/", chunks=bytes.upper), answers=[given])
        assert proxied.ask().headers["ETag"] == ('W/"x"' if weak else '"x"')


def test_a_whole_body_may_be_as_long_as_the_limit():
    for size, whole in [(5, b"AAAAA"), (6, None)]:
        proxied = Proxied(TransformBodies(text=str.upper, limit=5), answers=[answer(b"a" * size)])
        assert getattr(proxied.ask(), "whole", None) == whole


# --- a second upstream ------------------------------------------------------------------


class Second:
    """Stands for the client of the second upstream; ``done`` once it was asked."""

    def __init__(self, given):
        self.given = given
        self.requests = []
        self.closed = 0

    def send(self, request, portal):
        self.requests.append(request)
        if isinstance(self.given, Exception):
            raise self.given
        return self.given

    def close(self):
        self.closed += 1


@pytest.fixture
def mirrored(monkeypatch):
    """Mirror requests; what is done aside is done at once."""
    monkeypatch.setattr(
        "rolo.proxy.hooks.context.ProxyContext.start_aside", lambda self, function: function()
    )

    def mirrored(given, compare=None, **options):
        mirror = Mirror("http://second.test/copy", compare, **options)
        mirror._client.close()
        mirror._client = Second(given)
        return mirror, mirror._client

    return mirrored


def test_a_copy_goes_to_the_second_upstream_and_both_answers_are_compared(mirrored):
    compared = []
    copy = answer(b"sec", b"ond", status=201, headers=[(b"X-Two", b"2")])
    mirror, second = mirrored(copy, lambda *args: compared.append(args))
    first = answer(b"fi", b"rst", headers=[(b"X-One", b"1")])
    proxied = Proxied(mirror, answers=[first])
    response = proxied.ask("POST", "/x", body=b"upload", headers={"X-Sent": "1"}, query_string="q")
    assert response.whole == b"first"
    (request,) = second.requests
    assert (request.method, request.target, request.body) == ("POST", b"/copy/x?q", b"upload")
    assert str(request.origin) == "http://second.test"
    assert (b"X-Sent", b"1") in request.headers
    ((context, ours, theirs),) = compared
    assert context.outcome == "complete"
    assert ours == Copy(200, [(b"X-One", b"1"), (b"Content-Length", b"5")], b"first")
    assert theirs == Copy(201, [(b"X-Two", b"2"), (b"Content-Length", b"6")], b"second")
    assert copy.body.closed == 1
    assert mirror._pending == 0


@pytest.mark.parametrize(
    ("sent", "received", "copied", "compared"),
    [(5, 5, 5, 1), (6, 5, 5, None), (5, 6, 5, None), (5, 5, 6, 0)],
)
def test_what_is_larger_than_the_bound_is_not_copied(mirrored, sent, received, copied, compared):
    seen = []
    given = answer(b"c" * copied)
    mirror, second = mirrored(given, lambda *args: seen.append(args), max_body=5)
    proxied = Proxied(mirror, answers=[answer(b"r" * received)])
    assert proxied.ask("POST", body=b"s" * sent).whole == b"r" * received
    assert (len(second.requests), len(seen)) == ((0, 0) if compared is None else (1, compared))
    assert given.body.closed == len(second.requests)


def test_without_anybody_to_compare_answers_are_not_kept(mirrored):
    mirror, second = mirrored(answer(b"copy"))
    assert Proxied(mirror, answers=[answer(b"r" * 10)]).ask().whole == b"r" * 10
    assert len(second.requests) == 1


def test_errors_of_the_second_upstream_are_logged_and_change_nothing(mirrored, caplog):
    mirror, _ = mirrored(UpstreamClosed("gone", target="http://second.test"))
    assert Proxied(mirror).ask().whole == b"ok"
    assert caplog.messages == ["not mirrored: gone (http://second.test)"]
    assert mirror._pending == 0


def test_one_copy_more_than_allowed_is_not_sent(mirrored, caplog):
    mirror, second = mirrored(answer(b"copy"), max_pending=2)
    proxied = Proxied(mirror)
    for pending, sent in [(1, 1), (2, 1)]:
        mirror._pending = pending
        proxied.ask()
        assert (len(second.requests), mirror._pending) == (sent, pending)
    assert caplog.messages == ["not mirrored: 2 copies are on their way"]


@pytest.mark.parametrize("outcome", ["answered", "refused"])
def test_what_the_first_upstream_did_not_answer_is_not_copied(mirrored, outcome):
    def answers(context, *_):
        if outcome == "refused":
            raise UpstreamClosed("gone")
        return Response("mine")

    mirror, second = mirrored(answer(b"copy"))
    Proxied(mirror, on_response=answers).ask()
    assert second.requests == []


def test_the_second_upstreams_connections_are_closed_with_the_hooks(mirrored):
    mirror, second = mirrored(answer(b"copy"))
    proxied = Proxied(mirror)
    proxied.ask()
    proxied.handler.close()
    assert second.closed == 1


def test_a_copy_is_given_a_minute_unless_told_otherwise():
    mirror = Mirror("http://second.test")
    assert (mirror._client.timeouts.total, mirror.max_body, mirror.max_pending) == (
        *(60.0, 1 << 20, 100),
    )
    mirror.close()
