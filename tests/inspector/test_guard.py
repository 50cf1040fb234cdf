"""Who may look: a browser that was given the token, on our own page, and nobody else."""

import re

import pytest
import requests
import websocket as websocket_client

from rolo.inspector import Inspector


@pytest.fixture
def page():
    with Inspector().open() as page:
        yield page


@pytest.fixture
def browser(page):
    """A session that has entered with the token."""
    with requests.Session() as session:
        answer = session.get(page.url)
        assert answer.status_code == 200
        yield session


def test_without_the_token_nothing_is_shown(page):
    for path in ("/", "/main.js", "/api/search", "/?token=wrong", "/?token=" + "é" * 43):
        answer = requests.get(page.address + path, timeout=5)
        assert answer.status_code == 403
        assert "token" in answer.text


def test_the_token_becomes_a_cookie_that_scripts_and_other_sites_do_not_get(page):
    answer = requests.get(page.url, allow_redirects=False, timeout=5)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    attributes = re.split("; *", answer.headers["Set-Cookie"])
    assert {"HttpOnly", "SameSite=Strict"} <= set(attributes)
    token = page.url.partition("token=")[2]
    assert token not in answer.headers["Set-Cookie"]


def test_who_has_the_cookie_is_shown_the_page(browser, page):
    assert "<title>rolo inspector</title>" in browser.get(page.address, timeout=5).text
    assert browser.get(f"{page.address}/api/search", timeout=5).json() == {"ids": []}


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:80"},
        {"Host": "127.0.0.1.evil.example"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_request_of_another_site_is_refused_even_with_the_cookie(browser, page, headers):
    assert browser.get(f"{page.address}/api/search", headers=headers, timeout=5).status_code == 403


def test_a_change_needs_the_origin(browser, page):
    clear = f"{page.address}/api/clear"
    assert browser.post(clear, json={}, timeout=5).status_code == 403
    assert browser.post(clear, json={}, headers={"Origin": page.address}, timeout=5).ok


@pytest.mark.parametrize("origin", ["http://evil.example", None])
def test_the_feed_is_for_our_page_only(browser, page, origin):
    cookie = "; ".join(f"{each.name}={each.value}" for each in browser.cookies)
    url = page.address.replace("http", "ws") + "/feed"
    with pytest.raises(websocket_client.WebSocketBadStatusException):
        websocket_client.create_connection(
            url, cookie=cookie, origin=origin, suppress_origin=origin is None, timeout=5
        )
    feed = websocket_client.create_connection(url, cookie=cookie, origin=page.address, timeout=5)
    assert '"is": "rows"' in feed.recv()
    feed.close()


def test_everything_that_is_served_is_hardened(browser, page):
    for path in ("/", "/main.js", "/api/search", "/nothing"):
        headers = browser.get(page.address + path, timeout=5).headers
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert headers["Referrer-Policy"] == "no-referrer"


def test_a_path_that_climbs_is_no_file(browser, page):
    for path in ("/..%2fguard.py", "/%2e%2e%2fapp.py", "/page%2f..%2fapp.py"):
        assert browser.get(page.address + path, timeout=5).status_code == 404


def test_it_listens_on_loopback_only(page):
    assert page.address.startswith("http://127.0.0.1:")
