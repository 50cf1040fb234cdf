"""A client of a service that streams, tested against what the service once answered.

pytest test_recorded.py                     records it the first time, and replays it from then on
pytest test_recorded.py --rolo-record=all   records it again
"""

import json
import time
import urllib.request

import pytest

from rolo import Response
from rolo.har import Redaction
from rolo.routing import Router


def prices(url, token):
    """The client under test: yields the prices that a service sends as events."""
    request = urllib.request.Request(f"{url}/prices", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=5) as answer:
        for line in answer:
            if line.startswith(b"data: "):
                yield json.loads(line.removeprefix(b"data: "))["price"]


def service():
    """What runs elsewhere, and is asked only while something is recorded."""

    def events(request):
        for price in (41, 42):
            yield b'data: {"price": %d, "account": "4711"}\n\n' % price
            time.sleep(0.01)

    router = Router()
    router.add("/prices", lambda request: Response(events(request), mimetype="text/event-stream"))
    return router


@pytest.mark.rolo_record("prices.har", redaction=Redaction(json=["$.account"]))
def test_prices_come_as_they_did(harness):
    api = harness(upstream=service())
    assert list(prices(api.url, "my-token")) == [41, 42]


@pytest.mark.rolo_record("prices_at_once.har", pace="at_once")
def test_prices_come_without_waiting(harness):
    api = harness(upstream=service())
    assert sum(prices(api.url, "my-token")) == 83
