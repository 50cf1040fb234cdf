import sys
import threading

import pytest
from werkzeug.exceptions import Forbidden, MethodNotAllowed, NotFound
from werkzeug.routing import Map, Rule, Submount
from werkzeug.test import Client

from rolo import Request, Resource, Response, Router, resource, route
from rolo.routing import PortConverter, RegexConverter, RuleAdapter, RuleGroup, WithHost
from rolo.routing.router import Dispatcher, call_endpoint


def named(name):
    return lambda request, args: Response(f"{name} {dict(args)}")


def ask(router, path="/", method="GET", host=None, raw=None):
    headers = {"Host": host} if host is not None else None
    return router.dispatch(Request(method, path, headers, raw_path=raw)).data.decode()


@route("/one", methods=["GET"])
def one(request, args):
    return Response("one")


@route("/two")
@route("/three", defaults={"z": 1})
def two(request, args):
    return Response(f"two {dict(args)}")


class Things:
    @route("/t1")
    def first(self, request, args):
        return Response("first")

    @route("/t2", methods=["POST"])
    def second(self, request, args):
        return Response("second")

    @route("/t3")
    @staticmethod
    def static(request, args):
        return Response("static")

    @property
    def computed(self):
        raise RuntimeError("nobody may look")

    def other(self):
        pass


@pytest.mark.parametrize(
    ("paths", "path", "answer"),
    [
        pytest.param(["/foo"], "/foo", "/foo {}", id="plain"),
        pytest.param(["/foo"], "/foo/", "/foo {}", id="trailing slash more"),
        pytest.param(["/foo/"], "/foo", "/foo/ {}", id="trailing slash less"),
        pytest.param(["/<path:p>"], "/a//b", "/<path:p> {'p': 'a//b'}", id="double slash stays"),
        pytest.param(["/<x>", "/s"], "/s", "/s {}", id="static before variable"),
        pytest.param(["/<path:p>", "/<x>"], "/s", "/<x> {'x': 's'}", id="segment before path"),
        pytest.param(["/<x>", "/<int:i>"], "/12", "/<int:i> {'i': 12}", id="int before text"),
        pytest.param(
            ['/<regex("[a-f]+"):h>'], "/abc", "/<regex(\"[a-f]+\"):h> {'h': 'abc'}", id="regex"
        ),
        pytest.param(["/"], "", "/ {}", id="no path at all"),
    ],
)
def test_paths(paths, path, answer):
    router = Router()
    for each in paths:
        router.add(each, named(each))
    assert ask(router, path) == answer


@pytest.mark.parametrize(
    ("path", "raw", "answer"),
    [
        pytest.param(
            "/x/a/b", "/x/a%2Fb", "seg {'v': 'a%2Fb'}", id="encoded slash separates nothing"
        ),
        pytest.param("/x/a b", "/x/a%20b", "seg {'v': 'a%20b'}", id="values are not decoded"),
        pytest.param("/x/%", "/x/%25", "seg {'v': '%25'}", id="percent"),
        pytest.param("/x/..//y", "/x/..%2fy", "seg {'v': '..%2fy'}", id="dots"),
        pytest.param("/x/\x00", "/x/%00", "seg {'v': '%00'}", id="nul"),
        pytest.param("/admin", "/%61dmin", "admin {}", id="encoded letters are letters"),
        pytest.param("/café", "/caf%C3%A9", "cafe {}", id="static text beyond ASCII"),
        pytest.param("/p/a/b", "/p/a%2Fb", "path {'p': 'a%2Fb'}", id="path converter"),
        pytest.param("/x/y", "http://h/x/y?q", "seg {'v': 'y'}", id="absolute form"),
        pytest.param("/x/?", "/x/%3F", "seg {'v': '%3F'}", id="question mark"),
        pytest.param("/r/ ", "/r/%20", "raw {'v': '%20'}", id="regex for what is on the wire"),
    ],
)
def test_raw_paths(path, raw, answer):
    router = Router()
    router.add("/x/<v>", named("seg"))
    router.add("/p/<path:p>", named("path"))
    router.add("/<any>", named("any"))
    router.add("/admin", named("admin"))
    router.add("/café", named("cafe"))
    router.add('/r/<regex("[%0-9]+"):v>', named("raw"))
    assert ask(router, path, raw=raw) == answer


@pytest.mark.parametrize("order", [("GET", "HEAD"), ("HEAD", "GET")])
def test_head_wins_over_get(order):
    router = Router()
    for method in order:
        router.add("/x", named(method), methods=[method])
    router.add("/y", named("only get"), methods=["get"])
    assert ask(router, "/x", "HEAD") == "HEAD {}"
    assert ask(router, "/x", "GET") == "GET {}"
    assert ask(router, "/y", "HEAD") == "only get {}"


def test_first_rule_wins_also_after_a_rebuild():
    router = Router()
    router.add("/x", named("first"))
    gone = router.add("/y", named("gone"))
    router.add("/x", named("second"), methods=["GET"])
    router.add("/h", named("get"), methods=["GET"])
    router.add("/h", named("head"), methods=["HEAD"])
    router.remove(gone)
    assert ask(router, "/x") == "first {}"


def test_method_not_allowed_lists_methods():
    router = Router()
    router.add("/x", named("x"), methods=["POST"])
    with pytest.raises(MethodNotAllowed) as caught:
        ask(router, "/x")
    assert caught.value.valid_methods == ["POST"]


@pytest.mark.parametrize(
    ("host", "path", "answer"),
    [
        ("foo.com", "/a", "foo {}"),
        ("FOO.com:80", "/a", "foo {}"),
        ("foo.com:81", "/a", "any {}"),
        ("x.foo.com", "/c", "sub {'sub': 'x'}"),
        ("loc:70", "/p", "port {'p': 70}"),
        ("loc", "/p", "port {'p': None}"),
        ("other", "/a", "any {}"),
        ("[::1]:80", "/a", "any {}"),
        ("under_score", "/a", "any {}"),
        ("", "/a", "any {}"),
        (None, "/a", "any {}"),
    ],
)
def test_hosts(host, path, answer):
    router = Router()
    router.add("/a", named("any"))
    router.add("/a", named("foo"), host="foo.com")
    router.add("/c", named("sub"), host="<sub>.foo.com")
    router.add("/p", named("port"), host="loc<port:p>")
    assert ask(router, path, host=host) == answer


@pytest.mark.parametrize(
    ("host", "found"),
    [("loc:1", 1), ("loc:65535", 65535), ("loc:", None), ("loc:123456", None), ("loc:a", None)],
)
def test_a_port_has_one_to_five_digits(host, found):
    router = Router()
    router.add("/", named("any"))
    router.add("/", named("port"), host="loc<port:p>")
    # What is no port is no such host, not one without a port.
    expected = f"port {{'p': {found}}}" if found is not None else "any {}"
    assert ask(router, host=host) == expected


def test_urls_are_built_with_the_port_that_was_matched():
    converter = PortConverter(Map())
    for text, value in ((":80", 80), ("", None)):
        assert converter.to_python(text) == value
        assert converter.to_url(value) == text


def test_an_expression_stays_within_its_segment_and_matches_it_whole():
    router = Router()
    router.add('/<regex("[a-z]+"):name>/x', named("one"))
    assert ask(router, "/ab/x") == "one {'name': 'ab'}"
    for path in ("/ab1/x", "/a/b/x", "/A/x", "//x"):
        with pytest.raises(NotFound):
            ask(router, path)


def test_rule_for_a_host_matches_no_other():
    router = Router()
    router.add("/b", named("b"), host="foo.com")
    with pytest.raises(NotFound):
        ask(router, "/b", host="bar.com")


@pytest.mark.parametrize(
    ("source", "rules"),
    [
        pytest.param(one, ["/one"], id="function"),
        pytest.param(two, ["/three", "/two"], id="function with two routes"),
        pytest.param([one, two], ["/one", "/three", "/two"], id="list"),
        pytest.param(Things(), ["/t1", "/t2", "/t3"], id="object"),
        pytest.param(object(), [], id="object without routes"),
        pytest.param(Rule("/r", endpoint=one), ["/r"], id="rule"),
        pytest.param(Submount("/s", [Rule("/r", endpoint=one)]), ["/s/r"], id="factory"),
        pytest.param([Rule("/q", endpoint=one), Things()], ["/q", "/t1", "/t2", "/t3"], id="mixed"),
        pytest.param(RuleAdapter("/ra", one), ["/ra"], id="adapter"),
        pytest.param(RuleGroup([RuleAdapter(two)]), ["/three", "/two"], id="group"),
    ],
)
def test_forms_of_add(source, rules):
    router = Router()
    added = router.add(source)
    assert [rule.rule for rule in added] == rules
    assert list(router.url_map.iter_rules()) == added


def test_add_of_a_path_returns_one_rule():
    router = Router()
    rule = router.add("/x", one, "h.com", ["GET"], defaults={"a": 1})
    assert isinstance(rule, Rule)
    assert (rule.host, rule.endpoint, rule.defaults) == ("h.com", one, {"a": 1})


@pytest.mark.parametrize(
    "args",
    [("/x",), (), (Things,), (lambda request, args: None,)],
    ids=["path", "nothing", "class", "bare function"],
)
def test_add_of_what_is_no_route(args):
    with pytest.raises(TypeError):
        Router().add(*args)


def test_members_are_called_with_their_object():
    router = Router()
    router.add(Things())
    assert ask(router, "/t1") == "first"
    assert ask(router, "/t3") == "static"


def test_with_host():
    router = Router()
    router.add(WithHost("h.com", [RuleAdapter(one)]))
    assert ask(router, "/one", host="h.com") == "one"
    with pytest.raises(NotFound):
        ask(router, "/one", host="other")


def test_remove_and_add_again():
    router = Router()
    rules = router.add([one, two])
    router.remove(rules[0])
    with pytest.raises(NotFound):
        ask(router, "/one")
    assert ask(router, "/two") == "two {}"
    router.remove(rules[1:])
    assert list(router.url_map.iter_rules()) == []
    router.add(rules[0])
    assert ask(router, "/one") == "one"


def test_remove_of_unknown_rules_removes_none():
    router = Router()
    rule = router.add("/x", named("x"))
    with pytest.raises(KeyError):
        router.remove([rule, Rule("/y", endpoint=one)])
    assert ask(router, "/x") == "x {}"


def test_router_route_decorator():
    router = Router()

    @router.route("/dec", methods=["GET"])
    def endpoint(request, args):
        return Response("dec")

    other = Router()
    other.add(endpoint)
    assert ask(router, "/dec") == ask(other, "/dec") == "dec"


def test_route_leaves_the_function_alone():
    def function(request, args):
        return Response()

    assert len(Router().add([route("/a")(function), route("/b")(function)])) == 2


def test_converters_may_be_added_later():
    class Upper(RegexConverter):
        def __init__(self, map, *args, **kwargs):
            super().__init__(map, "[A-Z]+")

    router = Router(converters={"up": Upper})
    router.url_map.converters["late"] = Upper
    first = router.add("/<up:x>", named("up"))
    router.remove(router.add("/gone", one))
    router.add("/l/<late:x>", named("late"))
    assert ask(router, "/ABC") == "up {'x': 'ABC'}"
    assert ask(router, "/l/ABC") == "late {'x': 'ABC'}"
    assert first.map is router.url_map


def test_port_converter_builds_urls():
    rules = Map(
        [Rule("/", endpoint="e", host="h<port:p>")],
        host_matching=True,
        converters={"port": PortConverter},
    )
    adapter = rules.bind("other")
    assert adapter.build("e", {"p": 80}) == "http://h:80/"


def test_dispatcher_is_called_with_endpoint_and_values():
    calls = []

    def dispatcher(request, endpoint, args):
        calls.append((endpoint, args))
        return Response()

    router: Router[str] = Router(dispatcher=dispatcher)
    router.add("/<x>", "an endpoint of any kind")
    router.dispatch(Request(path="/1"))
    assert calls == [("an endpoint of any kind", {"x": "1"})]
    assert Dispatcher[str] is not None


def test_call_endpoint():
    assert call_endpoint(Request(), named("x"), {"a": 1}).data == b"x {'a': 1}"


def test_routes_may_change_while_requests_are_dispatched():
    router = Router()
    router.add("/<x>", named("variable"))
    router.add("/fixed/<int:i>", named("int"))
    stop, wrong = threading.Event(), []

    def dispatch():
        while not stop.is_set():
            try:
                if ask(router, "/fixed/1") != "int {'i': 1}":
                    wrong.append("other rule")
            except Exception as exc:  # noqa: BLE001
                wrong.append(exc)

    threads = [threading.Thread(target=dispatch) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for i in range(40):
            rules = router.add(
                [RuleAdapter(f"/fixed/{i}/<x>", one), RuleAdapter("/fixed/<x>", one)]
            )
            router.remove(rules)
    finally:
        stop.set()
        for thread in threads:
            thread.join(10)
    assert wrong == []


class Book:
    def on_get(self, request, args):
        return Response(f"get {dict(args)}")

    def on_head(self, request, args):
        return Response("head")

    def on_websocket(self, request, args):
        return Response("socket")

    def on_wonder(self, request, args):
        raise AssertionError


def test_resource_routes_methods():
    router = Router()
    router.add(Resource("/book/<b>", Book()))
    assert ask(router, "/book/1") == "get {'b': '1'}"
    assert ask(router, "/book/1", "HEAD") == "head"
    assert ask(router, "/book/1", "WEBSOCKET") == "socket"
    with pytest.raises(MethodNotAllowed):
        ask(router, "/book/1", "WONDER")


def test_resource_decorator():
    @resource("/a", host="h.com")
    @resource("/b")
    class Twice(Book):
        @route("/more")
        def more(self, request, args):
            return Response("more")

    router = Router()
    router.add(Twice())
    assert ask(router, "/a", host="h.com") == ask(router, "/b") == "get {}"
    assert ask(router, "/more") == "more"
    with pytest.raises(NotFound):
        ask(router, "/a")


def test_wsgi_answers_errors(caplog):
    def forbidden(request, args):
        raise Forbidden

    router = Router()
    router.add("/forbidden", forbidden)
    router.add("/bug", lambda request, args: 1 / 0)
    router.add("/lines/<path:path>", lambda request, args: 1 / 0)
    router.add("/exit", lambda request, args: sys.exit("on purpose"))
    router.add("/stream", lambda request, args: Response(b"x" for _ in range(3)))
    router.add("/here", one, redirect_to="/there")
    client = Client(router.wsgi())
    assert client.get("/nope").status_code == 404
    assert client.get("/forbidden").status_code == 403
    assert client.get("/stream").data == b"xxx"
    assert client.get("/here").location == "http://localhost/there"
    answer = client.get("/bug")
    assert answer.status_code == 500
    assert b"division" not in answer.data
    assert "ZeroDivisionError" in caplog.text
    assert client.get("/exit").status_code == 500
    assert client.get("/lines/%0a%1b").status_code == 500
    assert "\x1b" not in caplog.text
    assert "handling GET /lines/%0a%1b" in caplog.text
