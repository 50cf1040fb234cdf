"""One endpoint of a real service mocked, in a pytest test; all others are the service's.

pytest test_mock_endpoint.py
"""

import json
import urllib.request

import pytest

from rolo import Response
from rolo.demo import demo_origin
from rolo.gateway import Gateway
from rolo.proxy import ProxyHandler
from rolo.serving import serve


@pytest.fixture
def service():
    """The URL of a real service; here one of rolo's own."""
    with serve(demo_origin()) as server:
        yield server.url


@pytest.fixture
def mocked(service):
    def price(context):
        if context.path == "/price":
            return Response.for_json({"price": 42})

    handler = ProxyHandler(service, on_request=price)
    with serve(Gateway(request_handlers=[handler])) as server:
        yield server.url
    handler.close()


def test_only_the_price_is_mocked(mocked):
    with urllib.request.urlopen(f"{mocked}/price", timeout=5) as answer:
        assert json.load(answer) == {"price": 42}
    with urllib.request.urlopen(f"{mocked}/", timeout=5) as answer:
        assert answer.status == 200
