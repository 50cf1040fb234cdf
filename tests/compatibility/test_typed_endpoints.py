"""Endpoints with pydantic models, and what clients and programs are told of bad bodies."""

import pydantic
import pytest
from werkzeug.exceptions import BadRequest
from werkzeug.test import Client

from rolo import Request, Router
from rolo.gateway import Gateway
from rolo.gateway.handlers import RouterHandler, WerkzeugExceptionHandler
from rolo.gateway.wsgi import WsgiGateway
from rolo.routing import handler_dispatcher


class Item(pydantic.BaseModel):
    name: str
    price: float


def put(request: Request, item_id: str, item: Item) -> str:
    return f"{item_id} {item.name}"


@pytest.fixture
def router():
    router = Router(handler_dispatcher())
    router.add("/items/<item_id>", put, methods=["PUT"])
    return router


def ask(router, body, **headers):
    return router.dispatch(Request("PUT", "/items/7", headers, body=body))


EOF = "EOF while parsing a value at line 1 column 0"
ERRORS = {
    "no body": (
        b"",
        {"type": "json_invalid", "loc": [], "msg": f"Invalid JSON: {EOF}", "input": ""}
        | {"ctx": {"error": EOF}},
    ),
    "a field missing": (
        b'{"name": "a"}',
        {"type": "missing", "loc": ["price"], "msg": "Field required", "input": {"name": "a"}},
    ),
    "no object": (
        b"[1]",
        {"type": "model_type", "loc": [], "input": [1], "ctx": {"class_name": "Item"}}
        | {"msg": "Input should be a valid dictionary or instance of Item"},
    ),
}


@pytest.mark.parametrize(("body", "error"), ERRORS.values(), ids=ERRORS)
def test_a_body_that_does_not_fit_is_told_by_pydantics_list(router, body, error):
    response = ask(router, body)
    assert (response.status_code, response.mimetype) == (400, "application/json")
    (told,) = response.get_json()
    assert told.pop("url").startswith("https://errors.pydantic.dev/")
    assert told == error


@pytest.mark.parametrize(
    ("body", "what"),
    [(b"{", "Expecting property name"), (b"a=b", "Expecting value"), (b'"\xff"', "'utf-8' codec")],
    ids=["cut short", "a form", "no UTF-8"],
)
def test_a_body_that_is_not_json_raises_werkzeugs_error_at_dispatch(router, body, what):
    with pytest.raises(BadRequest) as caught:
        ask(router, body)
    assert caught.value.description.startswith(f"Failed to decode JSON object: {what}")
    # New: where nobody handles it, the client gets the list, too.
    (told,) = caught.value.get_response().get_json()
    assert told["type"] == "json_invalid"


@pytest.mark.parametrize("handlers", [[], [WerkzeugExceptionHandler()]], ids=["none", "werkzeug's"])
def test_the_client_is_told_in_json_whatever_handles_errors(router, handlers):
    gateway = Gateway([RouterHandler(router)], exception_handlers=handlers)
    for app in (WsgiGateway(gateway), router.wsgi()):
        response = Client(app).put("/items/7", data=b"{")
        assert response.status_code == 400
        assert response.get_json()[0]["type"] == "json_invalid"


def test_a_body_that_is_nested_too_deeply_is_the_clients_fault(router):
    """Python's reader of JSON gives up with an error of its own."""
    with pytest.raises(BadRequest, match="recursion"):
        ask(router, b"[" * 100_000 + b"]" * 100_000)


def test_json_in_other_encodings_of_unicode_is_read(router):
    body = '{"name": "ä", "price": 1}'.encode("utf-16")
    assert ask(router, body).get_data(as_text=True) == "7 ä"
