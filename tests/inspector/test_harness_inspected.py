"""A harness whose traffic is shown."""

import pytest
import requests

from rolo.harness import Harness


def test_what_a_harness_answers_is_shown():
    with Harness(inspect=True) as api, requests.Session() as browser:
        api.get("/price").returns(json={"price": 42})
        assert requests.get(f"{api.url}/price", timeout=5).json() == {"price": 42}
        browser.get(api.inspector_url, timeout=5)
        page = api.inspector_url.partition("/?")[0]
        assert browser.get(f"{page}/api/search?text=/price", timeout=5).json() == {"ids": [1]}
        detail = browser.get(f"{page}/api/exchanges/1", timeout=5).json()
        assert detail["row"]["status"] == 200


def test_without_an_inspector_there_is_no_page():
    with Harness() as api, pytest.raises(RuntimeError, match="inspect=True"):
        _ = api.inspector_url
