"""Everything that a stub may answer with, as a client sees it on the wire."""

import pathlib
import threading
import time

import pydantic
import pytest
from werkzeug.exceptions import Conflict
from wire import Truncated, Wire, fetch

from rolo import Response
from rolo.harness import Harness, between, lognormal, normal
from rolo.harness.delays import seconds_of
from rolo.matching import ANY

JSON = [("Content-Type", "application/json")]


class Order(pydantic.BaseModel):
    id: int
    note: str = ""


@pytest.fixture
def api():
    with Harness() as api:
        yield api


@pytest.mark.parametrize(
    ("given", "status", "content_type", "body"),
    [
        pytest.param((), 200, None, b"", id="nothing"),
        pytest.param((204,), 204, None, b"", id="a status without a body"),
        pytest.param(("text",), 200, "text/plain; charset=utf-8", b"text", id="text"),
        pytest.param((b"\0",), 200, "application/octet-stream", b"\0", id="bytes"),
        pytest.param(({"a": [1]},), 200, "application/json", b'{"a": [1]}', id="a dict"),
        pytest.param((201, [1, 2]), 201, "application/json", b"[1, 2]", id="status and list"),
        pytest.param(
            (Order(id=3),), 200, "application/json", b'{"id": 3, "note": ""}', id="a model"
        ),
        pytest.param(
            (Response("hi", 418, mimetype="text/x"),),
            418,
            "text/x; charset=utf-8",
            b"hi",
            id="a response",
        ),
        pytest.param((299,), 299, None, b"", id="a status that nobody knows"),
    ],
)
def test_what_an_endpoint_may_return(api, given, status, content_type, body):
    api.get("/x").returns(*given)
    for _ in range(2):
        answer = fetch(api.url, "/x")
        assert (answer.status, answer.get("content-type"), answer.body) == (
            status,
            content_type,
            body,
        )


@pytest.mark.parametrize("value", [None, 7, "text", [None], {"a": 1}])
def test_any_json_value_is_an_answer(api, value):
    import json

    api.get("/x").returns(json=value)
    assert json.loads(fetch(api.url, "/x").body) == value


def test_fields_a_reason_phrase_interim_answers_and_trailers(api):
    api.get("/x").returns(
        "body",
        headers={"X-A": ["1", "2"], "content-type": "text/x"},
        reason="Fine By Me",
        interim=[(103, {"Link": "</a>; rel=preload"}), 102],
        trailers={"X-Sum": "9"},
    )
    with Wire(api.url) as wire:
        wire.request("GET", "/x")
        interim = [wire.head(), wire.head()]
        assert [(each.status, each.get("link")) for each in interim] == [
            (103, "</a>; rel=preload"),
            (102, None),
        ]
        head = wire.head()
        assert (head.status, head.reason) == (200, "Fine By Me")
        assert (head.all("x-a"), head.all("content-type")) == (["1", "2"], ["text/x"])
        assert head.get("trailer") == "X-Sum"
        wire.read_until(b"0\r\n")
        assert wire.read_until(b"\r\n\r\n") == b"X-Sum: 9\r\n\r\n"


def test_a_file_and_ranges_of_it(api, tmp_path):
    file = tmp_path / "a.json"
    file.write_bytes(b"0123456789" * 100_000)
    api.get("/x").returns(file=file)
    api.get("/y").returns(pathlib.Path(file), headers={"Content-Type": "text/y"})
    whole = fetch(api.url, "/x")
    assert (whole.get("content-type"), len(whole.body)) == ("application/json", 1_000_000)
    part = fetch(api.url, "/x", headers=[("Range", "bytes=5-9")])
    assert (part.status, part.body, part.get("content-range")) == (
        206,
        b"56789",
        "bytes 5-9/1000000",
    )
    file.write_bytes(b"new")
    assert fetch(api.url, "/y").body == b"new"
    assert fetch(api.url, "/y").get("content-type") == "text/y"


def test_generators(api):
    def pieces():
        yield "one"
        yield b"two"

    async def later():
        yield "three"

    api.get("/again").returns(pieces)
    api.get("/once").returns(pieces())
    api.get("/async").returns(later)
    assert [fetch(api.url, "/again").body for _ in range(2)] == [b"onetwo"] * 2
    assert fetch(api.url, "/once").body == b"onetwo"
    assert fetch(api.url, "/async").body == b"three"
    assert api.strict
    assert fetch(api.url, "/once").status == 404
    api.forgive()


def test_a_response_that_streams(api):
    api.get("/x").returns(Response(iter([b"a", b"b"]), 201))
    answer = fetch(api.url, "/x")
    assert (answer.status, answer.body) == (201, b"ab")


def test_functions_are_called_as_endpoints_are(api):
    def typed(request, id: int, order: Order):
        return {"id": id, "order": order}

    def reading(request):
        return request.get_json()

    api.get("/users/<int:id>").calls(lambda request, id: {"id": id})
    api.get("/args/<name>").calls(lambda request, args: Response(args["name"]))
    api.put("/orders/<int:id>").calls(typed)
    api.post("/read", json={"a": ANY}).calls(reading)
    api.get("/conflict").calls(lambda request: (_ for _ in ()).throw(Conflict("twice")))

    @api.get("/decorated").calls
    def decorated(request):
        return "yes"

    assert fetch(api.url, "/users/7").body == b'{"id": 7}'
    assert fetch(api.url, "/args/x").body == b"x"
    sent = b'{"id": 1, "note": "n"}'
    answer = fetch(api.url, "/orders/3", "PUT", JSON, sent)
    assert answer.body == b'{"id": 3, "order": {"id": 1, "note": "n"}}'
    assert fetch(api.url, "/read", "POST", JSON, b'{"a": 1}').body == b'{"a": 1}'
    assert fetch(api.url, "/conflict").status == 409
    assert fetch(api.url, "/decorated").body == b"yes"


def test_a_function_that_raises_is_a_500_and_fails_the_test():
    api = Harness()
    with api:
        api.get("/x").calls(lambda request: 1 / 0)
        assert fetch(api.url, "/x").status == 500
        assert "ZeroDivisionError" in api.problems()[0]
        api.forgive()


def test_functions_and_generators_that_block_hold_up_nobody(api):
    go, reached = threading.Event(), threading.Semaphore(0)

    def blocking(request):
        reached.release()
        assert go.wait(5)
        return "late"

    def pieces():
        reached.release()
        assert go.wait(5)
        yield b"late"

    api.get("/function").calls(blocking)
    api.get("/generator").returns(pieces)
    api.get("/quick").returns("quick")
    answers = []
    threads = [
        threading.Thread(target=lambda path=path: answers.append(fetch(api.url, path).body))
        for path in ("/function", "/generator")
    ]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert reached.acquire(timeout=5)
    assert fetch(api.url, "/quick").body == b"quick"
    go.set()
    for thread in threads:
        thread.join(5)
    assert answers == [b"late", b"late"]


def test_a_function_may_answer_before_the_body_has_come(api):
    api.post("/x").calls(lambda request: Response((piece for piece in [b"early"]), 413))
    with Wire(api.url) as wire:
        wire.send(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf.")
        assert wire.head().status == 413


def test_a_delay_comes_before_the_head(api):
    api.get("/x").returns("late").delayed(0.05)
    began = time.monotonic()
    assert fetch(api.url, "/x").body == b"late"
    assert time.monotonic() - began >= 0.05


def test_delays_are_drawn_from_the_seed():
    import random

    for distribution in (between(0.1, 0.2), normal(0.1, 0.05), lognormal(0.1)):
        drawn = [
            [seconds_of(distribution, rng) for _ in range(5)]
            for rng in map(random.Random, [1, 1, 2])
        ]
        assert drawn[0] == drawn[1] != drawn[2]
        assert min(map(min, drawn)) >= 0
    assert seconds_of(2, random.Random()) == 2.0


def test_a_broken_generator_breaks_the_answer_off(api):
    def broken():
        yield b"some"
        raise ValueError("no more")

    api.get("/x").returns(broken)
    with pytest.raises(Truncated):
        fetch(api.url, "/x")
