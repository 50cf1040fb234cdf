import dataclasses
import datetime
import json
import typing as t

import pydantic
import pytest
import werkzeug

import rolo.routing.handler
from rolo import Request, Response, Router
from rolo.routing import handler_dispatcher
from rolo.routing.handler import HandlerDispatcher
from rolo.routing.pydantic import PydanticHandlerDispatcher


class Item(pydantic.BaseModel):
    name: str
    price: float


class Dated(pydantic.BaseModel):
    when: datetime.datetime


@pydantic.dataclasses.dataclass
class Point:
    x: int


@dataclasses.dataclass
class Plain:
    x: int


ITEM = b'{"name":"a","price":1}'
JSON = "application/json"


def call(endpoint, args=None, body=b"", content_type=JSON, dispatcher=None):
    request = Request("POST", "/", {"Content-Type": content_type}, body)
    return (dispatcher or handler_dispatcher())(request, endpoint, args or {})


@pytest.mark.parametrize(
    ("value", "data", "mimetype"),
    [
        pytest.param(None, b"", "text/plain", id="none"),
        pytest.param("ü", "ü".encode(), "text/plain", id="text"),
        pytest.param(b"b", b"b", "text/plain", id="bytes"),
        pytest.param({"a": 1}, b'{"a": 1}', JSON, id="dict"),
        pytest.param([1], b"[1]", JSON, id="list"),
        pytest.param({"q": b"x=1"}, b'{"q": "x=1"}', JSON, id="bytes inside"),
        pytest.param(Item(name="a", price=1), b'{"name": "a", "price": 1.0}', JSON, id="model"),
        pytest.param(
            [Item(name="a", price=1)], b'[{"name": "a", "price": 1.0}]', JSON, id="models in a list"
        ),
        pytest.param(
            {"i": Item(name="a", price=1)},
            b'{"i": {"name": "a", "price": 1.0}}',
            JSON,
            id="model in a dict",
        ),
        pytest.param(
            Dated(when=datetime.datetime(2020, 1, 1)),
            b'{"when": "2020-01-01T00:00:00"}',
            JSON,
            id="date in a model",
        ),
    ],
)
def test_return_values(value, data, mimetype):
    response = call(lambda request: value)
    assert (response.status_code, response.data, response.mimetype) == (200, data, mimetype)


@pytest.mark.parametrize("response", [Response("r", 201), werkzeug.Response("w", 202)])
def test_responses_are_passed_on(response):
    assert call(lambda request: response) is response


@pytest.mark.parametrize("value", [5, True, object(), iter([b"x"]), {1}])
def test_other_values_are_errors(value):
    with pytest.raises(ValueError, match="unhandled result type"):
        call(lambda request: value)


def test_json_encoder():
    class Encoder(json.JSONEncoder):
        def default(self, o):
            return "odd"

    assert call(lambda request: {"o": object()}, dispatcher=handler_dispatcher(Encoder)).json == {
        "o": "odd"
    }


def one(request, item: Item):
    return item.name


def optional(request, item: Item | None):
    return item and item.name


def defaulted(request, item: t.Optional[Item] = None):  # noqa: UP045
    return item and item.name


def listed(request, items: list[Item]):
    return [each.name for each in items]


def quoted(request, item: "Item"):
    return item.name


def noted(request, item: t.Annotated[Item, "note"]):
    return item.name


def pair(request, a: Item, b: Item | None = None):
    return a.name + (b.name if b else "-")


def mixed(request, item_id: int, item: Item):
    return f"{item_id}{item.name}"


def point(request, p: Point):
    return {"x": p.x}


@pytest.mark.parametrize(
    ("endpoint", "args", "body", "answer"),
    [
        pytest.param(one, {}, ITEM, b"a", id="model"),
        pytest.param(optional, {}, ITEM, b"a", id="optional"),
        pytest.param(optional, {}, b"null", b"", id="null"),
        pytest.param(optional, {}, b"", b"", id="optional without body"),
        pytest.param(defaulted, {}, b"", b"", id="default without body"),
        pytest.param(listed, {}, b"[%b,%b]" % (ITEM, ITEM), b'["a", "a"]', id="list of models"),
        pytest.param(quoted, {}, ITEM, b"a", id="annotation as text"),
        pytest.param(noted, {}, ITEM, b"a", id="annotated"),
        pytest.param(pair, {}, b'{"a":%b,"b":%b}' % (ITEM, ITEM), b"aa", id="two models by name"),
        pytest.param(pair, {}, b'{"a":%b}' % ITEM, b"a-", id="two models, one left out"),
        pytest.param(mixed, {"item_id": 3}, ITEM, b"3a", id="beside a variable"),
        pytest.param(point, {}, b'{"x":"1"}', b'{"x": 1}', id="dataclass"),
    ],
)
def test_models_come_from_the_body(endpoint, args, body, answer):
    response = call(endpoint, args, body)
    assert (response.status_code, response.data) == (200, answer)


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded"])
def test_content_type_is_not_asked_for(content_type):
    assert call(one, body=ITEM, content_type=content_type).data == b"a"


@pytest.mark.parametrize(
    ("endpoint", "body", "kind", "where"),
    [
        pytest.param(one, b'{"name":"a","price":"x"}', "float_parsing", ["price"], id="wrong type"),
        pytest.param(one, b'{"name":"a"}', "missing", ["price"], id="missing field"),
        pytest.param(one, b"", "json_invalid", [], id="no body"),
        pytest.param(one, b"[1]", "model_type", [], id="not an object"),
        pytest.param(one, b"null", "model_type", [], id="null"),
        pytest.param(
            listed, b'[%b,{"name":"b"}]' % ITEM, "missing", [1, "price"], id="inside a list"
        ),
        pytest.param(pair, b'{"b":%b}' % ITEM, "missing", ["a"], id="one of two"),
    ],
)
def test_bad_body_is_400_and_says_where_and_why(endpoint, body, kind, where):
    response = call(endpoint, body=body)
    assert (response.status_code, response.mimetype) == (400, JSON)
    (error,) = response.json
    assert (error["type"], error["loc"]) == (kind, where)
    assert error["msg"]


def test_validation_errors_of_the_endpoint_itself_are_not_the_clients():
    def endpoint(request, item: Item):
        return Item.model_validate({})

    with pytest.raises(pydantic.ValidationError):
        call(endpoint, body=ITEM)


def test_without_models_arguments_are_passed_as_they_are():
    assert call(lambda request, a, b=2: {"a": a, "b": b}, {"a": 1}).json == {"a": 1, "b": 2}
    assert call(lambda request, **kw: kw, {"a": 1}).json == {"a": 1}


def test_pydantic_can_be_switched_off(monkeypatch):
    assert isinstance(handler_dispatcher(), PydanticHandlerDispatcher)
    monkeypatch.setattr(rolo.routing.handler, "ENABLE_PYDANTIC", False)
    dispatcher = handler_dispatcher()
    assert type(dispatcher) is HandlerDispatcher
    with pytest.raises(TypeError):
        call(one, body=ITEM, dispatcher=dispatcher)


def test_default_router_knows_models():
    router = Router()
    router.add("/<int:item_id>", mixed, methods=["PUT"])
    router.add("/items", one)
    assert router.dispatch(Request("PUT", "/3", body=ITEM)).data == b"3a"
    assert router.dispatch(Request("PUT", "/items", body=ITEM)).data == b"a"
    assert router.dispatch(Request("PUT", "/3", body=b"{}")).status_code == 400
