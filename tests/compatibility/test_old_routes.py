"""Which route a request finds: as under 0.8.9, but for what docs/compatibility.md tells."""

from urllib.parse import unquote

import pytest
from werkzeug.exceptions import HTTPException

from rolo import Request, Router


def found(rules, path, method="GET", host="h", **options):
    """Return the rule that is found, with its variables; the status where none is."""
    router = Router(lambda request, endpoint, args: (endpoint, dict(args)), **options)
    for each in rules:
        rule, methods, where = (
            (*each, None, None)[:3] if isinstance(each, tuple) else (each, *[None] * 2)
        )
        router.add(rule, f"{rule} {methods}" if methods else rule, host=where, methods=methods)
    request = Request(method, unquote(path), {"Host": host}, raw_path=path)
    try:
        return router.dispatch(request)
    except HTTPException as exc:
        return f"308 {exc.new_url}" if exc.code == 308 else exc.code


NAMED = ["/<name>/<path:p>"]
SAME = [
    (["/<path:p>"], "/a//b", ("/<path:p>", {"p": "a//b"})),
    (["/<path:p>"], "/a/b/", ("/<path:p>", {"p": "a/b/"})),
    (["/<path:p>"], "/a///", ("/<path:p>", {"p": "a///"})),
    (["/<path:p>"], "//a", ("/<path:p>", {"p": "a"})),
    (["/<path:p>"], "/", 404),
    (["/<path:p>"], "/a%2Fb%20c", ("/<path:p>", {"p": "a%2Fb%20c"})),
    (["/<path:p>"], "/a/http://x/y", ("/<path:p>", {"p": "a/http://x/y"})),
    (["/", "/<path:p>"], "///", ("/", {})),
    (NAMED, "/a/b/c/", ("/<name>/<path:p>", {"name": "a", "p": "b/c/"})),
    (NAMED, "/a/b//c", ("/<name>/<path:p>", {"name": "a", "p": "b//c"})),
    (NAMED, "/a/", 404),
    (NAMED, "/a", 404),
    (["/<path:p>/end", "/<path:p>"], "/a//end", ("/<path:p>/end", {"p": "a/"})),
    (["/<path:p>/end", "/<path:p>"], "/a/end/", ("/<path:p>", {"p": "a/end/"})),
    (
        ["/a/<path:p>/b/<path:q>"],
        "/a/x/y/b/z/",
        ("/a/<path:p>/b/<path:q>", {"p": "x/y", "q": "z/"}),
    ),
    (["/a"], "/a/", ("/a", {})),
    (["/a/"], "/a", ("/a/", {})),
    (["/a/"], "/a//", ("/a/", {})),
    (["/<a>", "/x", "/<path:p>", "/<int:i>"], "/x", ("/x", {})),
    (["/<a>", "/x", "/<path:p>", "/<int:i>"], "/7", ("/<int:i>", {"i": 7})),
    (["/<a>/"], "/a/b", 404),
]


@pytest.mark.parametrize("like_0_8", [False, True])
@pytest.mark.parametrize(("rules", "path", "what"), SAME, ids=lambda value: str(value)[:40])
def test_paths_find_what_they_found(rules, path, what, like_0_8):
    assert found(rules, path, like_0_8=like_0_8) == what


# Older versions of werkzeug take any host for one.
ODD = 404 if not Request("GET", "/", {"Host": "x_y.z"}).host else ("/a", {})

# Rules, path, more of the request; what 0.8.9 found, and what we find unless told otherwise.
OTHER = {
    "a double slash that no rule has": (NAMED, "/a//b", {}, "308 http://h/a/b", 404),
    "one after an argument": (["/<a>/<b>"], "/a//b", {}, "308 http://h/a/b", 404),
    "a semicolon": (["/<a>"], "/x;y=1", {}, ("/<a>", {"a": "x"}), ("/<a>", {"a": "x;y=1"})),
    "an encoded path": (["/c d"], "/c%20d", {}, 404, ("/c d", {})),
    "an encoded argument": (["/<int:i>"], "/%31", {}, 404, ("/<int:i>", {"i": 1})),
    "a host with an underscore": (["/a"], "/a", {"host": "x_y.z"}, ODD, ("/a", {})),
    "HEAD after GET": (
        [("/a", ["GET"]), ("/a", ["HEAD"])],
        "/a",
        {"method": "HEAD"},
        ("/a ['GET']", {}),
        ("/a ['HEAD']", {}),
    ),
}


@pytest.mark.parametrize(("rules", "path", "more", "old", "new"), OTHER.values(), ids=OTHER)
def test_a_keyword_brings_back_what_was_found_otherwise(rules, path, more, old, new):
    assert found(rules, path, **more, like_0_8=True) == old
    assert found(rules, path, **more) == new


def test_a_rule_for_websockets_is_found_by_its_path():
    router = Router(lambda request, endpoint, args: endpoint)
    router.add("/ws", "endpoint", websocket=True)
    assert router.dispatch(Request("WEBSOCKET", "/ws", scheme="ws")) == "endpoint"
    assert router.dispatch(Request("GET", "/ws")) == "endpoint"
