import functools
import gc
import typing as t
from unittest.mock import MagicMock

import pytest

from rolo import Request, Response, Router, route
from rolo.routing.dispatcher import takes_names
from rolo.routing.memo import Memo

DICT, NAMES = False, True


class Callable:
    def __call__(self, request, user_id):
        return {"id": user_id}

    def classic(self, request, args):
        return Response()

    def by_name(self, request, user_id=None):
        return None


def wrapped_classic():
    def inner(request, args):
        return Response()

    @functools.wraps(inner)
    def outer(*args, **kwargs):
        return inner(*args, **kwargs)

    return outer


def annotated(request, item: dict[str, t.Any]): ...
def annotated_mapping(request, item: t.Mapping[str, int] | None = None): ...
def annotated_any(request, item: t.Any): ...
def annotated_str(request, q: str | None = None): ...
def annotated_forward(request, item: "Request"): ...
def annotated_text(request, item: "dict[str, t.Any]"): ...
def annotated_unknown(request, item: "Nowhere"): ...  # noqa: F821


@pytest.mark.parametrize(
    ("endpoint", "variables", "style"),
    [
        pytest.param(lambda request, args: 0, [], DICT, id="request, args"),
        pytest.param(lambda request, args: 0, ["args"], DICT, id="a variable called args"),
        pytest.param(lambda request, params: 0, ["x"], DICT, id="a name that is no variable"),
        pytest.param(lambda request, args, more=1: 0, ["x"], DICT, id="optional third"),
        pytest.param(lambda *args: 0, ["x"], DICT, id="any positional"),
        pytest.param(lambda *a, **kw: 0, ["x"], DICT, id="anything"),
        pytest.param(lambda request, *a: 0, ["x"], DICT, id="request and any positional"),
        pytest.param(MagicMock(), ["x"], DICT, id="mock"),
        pytest.param(print, ["x"], DICT, id="builtin"),
        pytest.param(wrapped_classic(), ["x"], DICT, id="wrapped"),
        pytest.param(Callable().classic, [], DICT, id="method"),
        pytest.param(annotated, ["x"], DICT, id="dict annotation"),
        pytest.param(annotated_mapping, ["x"], DICT, id="optional mapping annotation"),
        pytest.param(annotated_any, ["x"], DICT, id="any annotation"),
        pytest.param(annotated_text, ["item"], DICT, id="dict annotation as text"),
        pytest.param(annotated_unknown, ["x"], DICT, id="annotation nobody knows"),
        pytest.param(lambda request: 0, [], NAMES, id="request alone"),
        pytest.param(lambda request, x: 0, ["x"], NAMES, id="variable"),
        pytest.param(lambda request, x=1: 0, ["x"], NAMES, id="optional variable"),
        pytest.param(lambda request, a, b: 0, ["a", "b"], NAMES, id="two variables"),
        pytest.param(lambda request, **kw: 0, ["x"], NAMES, id="keywords"),
        pytest.param(lambda request, *, x: 0, ["x"], NAMES, id="keyword only"),
        pytest.param(Callable(), ["user_id"], NAMES, id="callable object"),
        pytest.param(Callable().by_name, ["user_id"], NAMES, id="method with variable"),
        pytest.param(annotated_str, [], NAMES, id="annotation that is no mapping"),
        pytest.param(annotated_forward, [], NAMES, id="annotation as text"),
    ],
)
def test_style_is_read_from_the_signature(endpoint, variables, style):
    assert takes_names(endpoint, variables) is style


def test_router_calls_both_styles():
    router = Router()
    router.add("/classic/<x>", lambda request, args: Response(f"{args}"))
    router.add("/named/<x>", lambda request, x: {"x": x})
    assert router.dispatch(Request(path="/classic/1")).data == b"{'x': '1'}"
    assert router.dispatch(Request(path="/named/1")).json == {"x": "1"}


def test_function_with_a_variable_in_one_of_its_rules():
    @route("/")
    @route("/<path:path>")
    def endpoint(request, path="none"):
        return path

    router = Router()
    router.add(endpoint)
    assert router.dispatch(Request(path="/")).data == b"none"
    assert router.dispatch(Request(path="/a/b")).data == b"a/b"


def test_signature_is_read_once(monkeypatch):
    import rolo.routing.dispatcher as module

    router = Router()
    router.add("/<x>", lambda request, x: x)
    monkeypatch.setattr(module, "takes_names", MagicMock(side_effect=AssertionError))
    assert router.dispatch(Request(path="/1")).data == b"1"


class Unhashable:
    __hash__ = None  # type: ignore[assignment]


def test_memo_forgets_objects_that_are_gone():
    memo: Memo[int] = Memo()
    key = Unhashable()
    memo.put(key, 1)
    assert memo.get(key) == 1
    del key
    gc.collect()
    assert memo._entries == {}
    memo.put(5, 1)
    assert memo.get(5) is None
