"""A client of a shop, tested against stubs: answers, a sequence, what it sent."""

import requests


class Shop:
    """The code under test."""

    def __init__(self, url):
        self.url = url

    def order(self, item, tries=3):
        for _ in range(tries):
            answer = requests.post(f"{self.url}/orders", json={"item": item}, timeout=5)
            if answer.status_code != 503:
                answer.raise_for_status()
                return answer.json()["id"]
        raise RuntimeError("the shop is closed")


def test_an_order_is_tried_again_when_the_shop_is_busy(harness):
    api = harness()
    api.post("/orders", json={"item": "tea"}).returns(503).times(2).then(201, {"id": 7})

    assert Shop(api.url).order("tea") == 7

    assert len(api.received("POST", "/orders")) == 3
