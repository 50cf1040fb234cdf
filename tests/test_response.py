import json

import pytest
import werkzeug
from werkzeug.exceptions import NotFound

import rolo
from rolo import Response


class Stream:
    def __init__(self):
        self.closed = 0

    def __iter__(self):
        return iter([b"a", b"b"])

    def close(self):
        self.closed += 1


@pytest.mark.parametrize(
    ("value", "data", "length"),
    [
        pytest.param("ü", "ü".encode(), "2", id="text"),
        pytest.param(b"b", b"b", "1", id="bytes"),
        pytest.param(bytearray(b"c"), b"c", "1", id="bytearray"),
        pytest.param(None, b"", None, id="none"),
        pytest.param([b"a", b"b"], b"ab", None, id="list"),
        pytest.param((b"x" for _ in range(3)), b"xxx", None, id="generator"),
    ],
)
def test_set_response(value, data, length):
    response = Response()
    response.set_response(value)
    assert response.headers.get("Content-Length") == length
    assert response.data == data


def test_set_response_with_none_drops_the_body_and_its_length():
    response = Response("old")
    response.set_response(None)
    assert response.data == b""
    assert "Content-Length" not in response.headers


def test_set_json_takes_an_encoder():
    class Encoder(json.JSONEncoder):
        def default(self, o):
            return "odd"

    response = Response()
    response.set_json({"a": object()}, cls=Encoder)
    assert response.json == {"a": "odd"}
    assert response.content_type == "application/json"


def test_for_json_passes_the_rest_to_the_constructor():
    response = Response.for_json([1], status=202, headers={"x": "1"})
    assert (response.status_code, response.json, response.headers["x"]) == (202, [1], "1")


def test_status_zero_is_allowed():
    response = Response()
    response.status_code = 0
    assert response.status_code == 0


def test_readonly_dict():
    assert Response("ä", headers={"a": "b"}).to_readonly_response_dict() == {
        "body": "ä".encode(),
        "status_code": 200,
        "headers": {"a": "b", "Content-Type": "text/plain; charset=utf-8", "Content-Length": "2"},
    }


def test_update_takes_status_body_and_fields_in_order_with_repeats():
    other = Response("x", "299 Fine", [("A", "1"), ("B", "b"), ("a", "2"), ("Content-Type", "x/y")])
    response = Response("old", headers={"Keep": "me", "A": "0"})
    response.update_from(other)
    assert response.status == "299 Fine"
    assert response.data == b"x"
    assert list(response.headers) == [
        ("Keep", "me"),
        ("A", "1"),
        ("B", "b"),
        ("a", "2"),
        ("Content-Type", "x/y"),
        ("Content-Length", "1"),
    ]


def test_update_drops_the_length_of_the_old_body():
    response = Response("old")
    other = werkzeug.Response(iter([b"longer"]))
    del other.headers["Content-Type"]
    response.update_from(other)
    assert list(response.headers) == []


def test_update_closes_the_body_once_and_runs_callbacks():
    stream, called = Stream(), []
    other = Response(stream, direct_passthrough=True)
    other.call_on_close(lambda: called.append(1))
    response = Response()
    response.update_from(other)
    assert response.direct_passthrough
    response.close()
    assert (stream.closed, called) == (1, [1])
    assert other.response is stream


def test_update_from_itself_changes_nothing():
    response = Response("x", headers={"A": "1"})
    response.update_from(response)
    assert response.data == b"x"
    assert response.headers["A"] == "1"


def test_resource_of_a_package():
    response = Response.for_resource(rolo, "errors.py", status=201, headers={"x": "y"})
    try:
        assert response.status_code == 201
        assert response.headers["x"] == "y"
        assert response.mimetype == "text/x-python"
        assert b"class RoloError" in response.data
    finally:
        response.close()


@pytest.mark.parametrize("path", ["nope.py", "../pyproject.toml", "/etc/hosts", "routing", ""])
def test_resource_that_is_no_file_of_the_package(path):
    with pytest.raises(NotFound):
        Response.for_resource(rolo, path)
