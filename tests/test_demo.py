"""The demo origin's endpoints, without a server."""

import json

import pytest

from rolo import Request, Response
from rolo.demo import demo_origin, local_router


def ask(method, path, **options):
    response = Response()
    demo_origin().process(Request(method, path, **options), response)
    return response


def test_echo_gives_back_what_was_sent():
    response = ask("PATCH", "/echo/a", headers={"X-A": "1"}, body="text", query_string="q=1")
    document = json.loads(response.get_data())
    assert document["method"] == "PATCH"
    assert document["url"].endswith("/echo/a?q=1")
    assert ["X-A", "1"] in document["headers"]
    assert document["body"] == "text"


def test_echo_of_binary():
    assert json.loads(ask("POST", "/echo", body=b"\xff\x00").get_data())["body_base64"] == "/wA="


def test_events():
    response = ask("GET", "/events", query_string="count=2&interval=0")
    assert response.content_type == "text/event-stream"
    assert response.get_data() == (b"id: 0\ndata: event 0 of 2\n\nid: 1\ndata: event 1 of 2\n\n")


@pytest.mark.parametrize("query", ["count=x", "count=-1", "interval=nan", "count=inf"])
def test_events_with_a_bad_number(query):
    assert ask("GET", "/events", query_string=query).status_code == 400


@pytest.mark.parametrize("size", [0, 1, 65536, 100_001])
def test_download(size):
    response = ask("GET", f"/download/{size}")
    assert response.headers["Content-Length"] == str(size)
    assert len(response.get_data()) == size


def test_upload():
    assert json.loads(ask("PUT", "/upload", body=b"x" * 100_000).get_data())["bytes"] == 100_000


def test_local_endpoint():
    request = Request(
        "POST", "/local/price", {"Content-Type": "application/json"}, '{"name": "x", "price": 2}'
    )
    assert local_router().dispatch(request).json == {"name": "x", "total": 2.0}
