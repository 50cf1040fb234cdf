"""Which requests a pattern matches, and where others differ."""

import pytest
from werkzeug.datastructures import Headers

from rolo import Request
from rolo.matching import ABSENT, ANY, RequestPattern, Seen, contains, only, part, regex, subset
from rolo.routing import Router

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
MULTIPART = {"Content-Type": "multipart/form-data; boundary=B"}
UPLOAD = (
    b'--B\r\nContent-Disposition: form-data; name="note"\r\n\r\nhello\r\n'
    b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n'
    b"Content-Type: text/plain\r\n\r\nfile's bytes\r\n--B--\r\n"
)


def seen(method="GET", target="/", headers=None, body=b"", **more):
    path, _, query = target.partition("?")
    headers = Headers(headers or {})
    return Seen(method, headers.pop("Host", "localhost"), path, query, headers, body, **more)


def pattern(*args, **conditions):
    return RequestPattern(*args, **conditions)


MATCHED = [
    (pattern(), seen("BREW", "/any/thing"), {}),
    (pattern(), seen("OPTIONS", "*"), {}),
    (pattern("get", "/x"), seen("GET", "/x"), {}),
    (pattern("GET", "/x"), seen("HEAD", "/x"), {}),
    (pattern(["PUT", "POST"], "/x"), seen("POST", "/x"), {}),
    (pattern("GET", "/x"), seen("GET", "/x/"), {}),
    (pattern("GET", "/x/"), seen("GET", "/x"), {}),
    (pattern("GET", "/"), seen("GET", "/"), {}),
    (pattern(None, "/a b"), seen("GET", "/a%20b"), {}),
    (pattern(None, "/u/<int:id>"), seen("GET", "/u/3"), {"id": 3}),
    (pattern(None, "/u/<name>/x"), seen("GET", "/u/a%2Fb/x"), {"name": "a%2Fb"}),
    (pattern(None, "/<path:rest>"), seen("GET", "/a/b"), {"rest": "a/b"}),
    (pattern(None, "/<regex('[a-c]+'):word>"), seen("GET", "/abc"), {"word": "abc"}),
    (pattern(host="a.org"), seen(headers={"Host": "a.org:81"}), {}),
    (pattern(host="a.org:81"), seen(headers={"Host": "a.org:81"}), {}),
    (
        pattern(None, "/<p>", host="<t>.a.org"),
        seen("GET", "/q", {"Host": "x.a.org"}),
        {"p": "q", "t": "x"},
    ),
    (pattern(query={"page": 2}), seen(target="/?page=2&more=1"), {}),
    (pattern(query={"a": ""}), seen(target="/?a="), {}),
    (pattern(query={"a": "2"}), seen(target="/?a=1&a=2"), {}),
    (pattern(query={"a": [1, 2]}), seen(target="/?a=1&a=2"), {}),
    (pattern(query={"a": ANY, "b": ABSENT}), seen(target="/?a=1"), {}),
    (pattern(query=only({"a": "1"})), seen(target="/?a=1"), {}),
    (pattern(None, "/x?page=2"), seen(target="/x?page=2"), {}),
    (pattern(headers={"x-tenant": "a"}), seen(headers={"X-Tenant": "a"}), {}),
    (pattern(headers={"X-A": regex("b.*")}), seen(headers=[("X-A", "a"), ("X-A", "bc")]), {}),
    (pattern(cookies={"sid": contains("1")}), seen(headers={"Cookie": "sid=a1; t=2"}), {}),
    (pattern(json={"a": 1}), seen(body=b'{"a": 1}'), {}),
    (pattern(json=None), seen(body=b"null"), {}),
    (pattern(json=subset({"a": 1})), seen(body=b'{"a": 1, "b": 2}'), {}),
    (pattern(form={"a": "1"}), seen("POST", headers=FORM, body=b"a=1&b=2"), {}),
    (pattern(form={"note": "hello"}), seen("POST", headers=MULTIPART, body=UPLOAD), {}),
    (pattern(parts={"file": b"file's bytes"}), seen("POST", headers=MULTIPART, body=UPLOAD), {}),
    (
        pattern(
            parts={"file": part(contains("bytes"), filename="a.txt", content_type="text/plain")}
        ),
        seen("POST", headers=MULTIPART, body=UPLOAD),
        {},
    ),
    (pattern(parts={"other": ABSENT}), seen("POST", headers=MULTIPART, body=UPLOAD), {}),
    (pattern(body="é"), seen(body="é".encode()), {}),
    (pattern(body=b"\xff"), seen(body=b"\xff"), {}),
    (pattern(body=contains(b"x")), seen(body=b"axb"), {}),
    (pattern(when=lambda request: request.json["id"] > 2), seen(body=b'{"id": 3}'), {}),
    (pattern("WEBSOCKET", "/ws"), seen("WEBSOCKET", "/ws"), {}),
    (
        pattern("WEBSOCKET", subprotocol="v2"),
        seen("WEBSOCKET", headers={"Sec-WebSocket-Protocol": "v1, v2"}),
        {},
    ),
]

MISSED = [
    (pattern("GET"), seen("POST"), [("method", "GET", "POST")]),
    (pattern("HEAD"), seen("GET"), [("method", "HEAD", "GET")]),
    (pattern(), seen("WEBSOCKET"), [("method", "another method", "WEBSOCKET")]),
    (pattern(None, "/x"), seen(target="/y"), [("path", "/x", "/y")]),
    (pattern(None, "/x"), seen(target="/x//"), [("path", "/x", "/x//")]),
    (pattern(None, "/a/b"), seen(target="/a%2Fb"), [("path", "/a/b", "/a%2Fb")]),
    (pattern(None, "/u/<int:id>"), seen(target="/u/x"), [("path", "/u/<int:id>", "/u/x")]),
    (pattern(host="a.org"), seen(headers={"Host": "b.org"}), [("host", "a.org", "b.org")]),
    (pattern(host="a.org:1"), seen(headers={"Host": "a.org"}), [("host", "a.org:1", "a.org")]),
    (pattern(query={"a": 1}), seen(), [("query.a", '"1"', "absent")]),
    (pattern(query={"a": "3"}), seen(target="/?a=1&a=2"), [("query.a", '"3"', '["1", "2"]')]),
    (pattern(query={"a": ["1"]}), seen(target="/?a=1&a=2"), [("query.a[1]", "absent", '"2"')]),
    (
        pattern(query={"a": ~contains("2")}),
        seen(target="/?a=1&a=2"),
        [("query.a", 'not contains("2")', '"2"')],
    ),
    (pattern(query=only({})), seen(target="/?a=1"), [("query.a", "absent", '"1"')]),
    (pattern(headers={"X": "a"}), seen(headers={"X": "b"}), [("headers.X", '"a"', '"b"')]),
    (pattern(headers={"X": ABSENT}), seen(headers={"X": "b"}), [("headers.X", "absent", '"b"')]),
    (pattern(cookies={"s": "1"}), seen(), [("cookies.s", '"1"', "absent")]),
    (
        pattern(json={"a": [1, 2]}),
        seen(body=b'{"a": [1, 3]}'),
        [("json.a[1]", "2", "3")],
    ),
    (pattern(json={"a": 1}), seen(), [("json", '{"a": 1}', '"" (no body)')]),
    (
        pattern(json=1),
        seen(body=b"<x>"),
        [("json", "1", '"<x>" (the body is no JSON: Expecting value: line 1 column 1 (char 0))')],
    ),
    (
        pattern(json=1),
        seen(body=b"1", cut=True),
        [("json", "1", '"1" (only the first 1 bytes of the body were kept)')],
    ),
    (
        pattern(form={"a": "1"}),
        seen("POST", body=b"a=1"),
        [("form", '{"a": "1"}', "the body is no form: no Content-Type")],
    ),
    (
        pattern(parts={"file": part(filename="b.txt")}),
        seen("POST", headers=MULTIPART, body=UPLOAD),
        [("parts.file.filename", '"b.txt"', '"a.txt"')],
    ),
    (
        pattern(parts={"x": "y"}),
        seen("POST", headers=MULTIPART, body=UPLOAD),
        [("parts.x", 'part(content="y")', "absent")],
    ),
    (pattern(body="x"), seen(body=b"y"), [("body", '"x"', '"y"')]),
    (
        pattern(body="x"),
        seen(body=b"x", cut=True),
        [("body", '"x"', "only its first 1 bytes were kept")],
    ),
    (
        pattern("WEBSOCKET", subprotocol="v2"),
        seen("WEBSOCKET"),
        [("subprotocol", '"v2"', "absent")],
    ),
]


@pytest.mark.parametrize(("wanted", "came", "values"), MATCHED, ids=lambda each: str(each)[:60])
def test_it_matches(wanted, came, values):
    assert wanted.match(came).values == values
    assert wanted.matched(came).values == values


@pytest.mark.parametrize(("wanted", "came", "told"), MISSED, ids=lambda each: str(each)[:60])
def test_it_does_not_match_and_each_difference_is_told(wanted, came, told):
    miss = wanted.match(came)
    assert not miss
    assert [(each.place, each.wanted, each.got) for each in miss.differences] == told
    assert wanted.matched(came) is None


def test_a_predicate_is_named_and_its_error_told():
    def is_large(request):
        return request.json["size"] > 9

    (refused,) = pattern(when=is_large).match(seen(body=b'{"size": 1}')).differences
    (raised,) = pattern(when=is_large).match(seen(body=b"{}")).differences
    assert (refused.wanted, refused.got) == ("what is_large() accepts", "not accepted")
    assert raised.got == "KeyError: 'size'"


@pytest.mark.parametrize(
    ("conditions", "told"),
    [
        ({"path": "x"}, "begins with a slash"),
        ({"path": "/<nothing:x>"}, "nothing"),
        ({"path": "/<x"}, "/<x"),
        ({"query": ["a"]}, "query: a mapping"),
        ({"headers": "X: a"}, "headers: a mapping"),
        ({"path": "/x?a=1", "query": only({})}, "given twice"),
    ],
)
def test_a_condition_that_cannot_be_read_is_refused_by_name(conditions, told):
    with pytest.raises((TypeError, ValueError), match=told):
        RequestPattern(**conditions)


@pytest.mark.parametrize("path", ["/x", "/x/", "/u/<int:id>", "/u/<name>", "/<path:p>", "/a b/é"])
@pytest.mark.parametrize(
    "target", ["/x", "/x/", "/x//", "/u/3", "/u/3/", "/u/a%2fb", "/a%20b/%C3%A9", "/%78", "//x"]
)
def test_paths_match_as_the_routers_do(path, target):
    router = Router(dispatcher=lambda request, endpoint, args: dict(args))
    router.add(path, "endpoint")
    request = Request("GET", path="", raw_path=target)
    try:
        values = router.dispatch(request)
    except Exception:  # noqa: BLE001 - 404
        values = None
    matched = pattern("GET", path).matched(seen("GET", target))
    assert (matched and matched.values) == values


def test_the_more_specific_has_the_greater_rank():
    in_order = [
        pattern(),
        pattern("GET"),
        pattern(None, "/<path:p>"),
        pattern(None, "/a/<path:p>"),
        pattern(None, "/<p>"),
        pattern(None, "/a/<p>"),
        pattern("GET", "/a/<p>"),
        pattern(None, "/a/b"),
        pattern("GET", "/a/b"),
        pattern("GET", "/a/b", query={"x": 1}),
        pattern("GET", "/a/b", query=only({"x": 1})),
        pattern("GET", "/a/b", query={"x": 1}, headers={"X": "1"}, json={}),
    ]
    assert sorted(in_order, key=lambda each: each.rank) == in_order


def test_the_values_of_a_live_request_are_its_own():
    request = Request(
        "POST",
        "/a b",
        query_string="x=1",
        headers={"Host": "h:1", "Content-Type": "application/json; charset=utf-8"},
        raw_path="/a%20b?x=1",
    )
    came = Seen.of(request, b"[1]")
    assert (came.method, came.host, came.raw_path, came.path) == ("POST", "h:1", "/a%20b", "/a b")
    assert (came.target, came.args["x"], came.json) == ("/a%20b?x=1", "1", [1])
    assert (came.content_type, came.text) == ("application/json", "[1]")


def test_a_pattern_describes_itself():
    described = pattern("POST", "/o/<int:id>", json={}, headers={"X": "1"}, when=len).describe()
    assert described == "POST /o/<int:id> with headers, json, when"
    assert pattern().describe() == "any method any path"


@pytest.mark.parametrize("deep", [b"[" * 200_000, b'{"a":' * 200_000])
def test_json_that_is_nested_too_deep_to_be_read_is_a_difference(deep):
    assert pattern(json={"a": 1}).matched(seen(body=deep)) is None
    (difference,) = pattern(json={"a": 1}).match(seen(body=deep)).differences
    assert "the body is no JSON: maximum recursion" in difference.got
