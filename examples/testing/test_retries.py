"""A client that tries again, tested against a service that fails on the wire.

pytest test_retries.py
"""

import http.client
import urllib.error
import urllib.request

import pytest

from rolo import Response
from rolo.faults import Faults, cut, reset, status
from rolo.gateway import Gateway
from rolo.gateway.handlers import RouterHandler
from rolo.routing import Router
from rolo.serving import serve

FAILURES = (urllib.error.URLError, http.client.HTTPException, ConnectionError)


def download(url, tries=3):
    """The client under test."""
    for left in reversed(range(tries)):
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.read()
        except FAILURES:
            if not left:
                raise


@pytest.fixture
def faults():
    return Faults(seed=1)


@pytest.fixture
def url(faults):
    router = Router()
    router.add("/file", lambda request: Response(b"x" * 5000))
    gateway = Gateway(request_handlers=[faults.handler, RouterHandler(router)])
    with serve(gateway) as server:
        yield f"{server.url}/file"


@pytest.mark.parametrize("fault", [reset(), cut(after=1000), status(503)], ids=repr)
def test_two_failures_are_borne(faults, url, fault):
    rule = faults.add(fault, first=2)
    assert len(download(url)) == 5000
    assert (rule.seen, rule.hits) == (3, 2)


def test_an_outage_is_not(faults, url):
    with faults.outage(), pytest.raises(FAILURES):
        download(url)
    assert len(download(url)) == 5000
