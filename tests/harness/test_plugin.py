"""The fixtures from outside: a pytest of its own runs tests, and its report is read."""

import re
import subprocess
import sys

import pytest
from inner_pytest import PLAIN_PYTEST

TESTS = """
import asyncio
import http.client
import unittest

import pytest

urls = set()


def fetch(url, path="/"):
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=5)
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body


def test_miss(harness):
    api = harness()
    api.get("/price").returns({"price": 42})
    assert fetch(api.url, "/price")[0] == 200
    assert fetch(api.url, "/prices")[0] == 404


def test_error(harness):
    api = harness()
    api.get("/unused").returns(200)
    fetch(api.url, "/broken")
    raise KeyError("mine")


def test_in_a_loop(harness):
    api = harness()
    api.get("/x").returns("x")

    async def client():
        waiting = asyncio.create_task(api.wait_for_async("GET", "/x"))
        await asyncio.to_thread(fetch, api.url, "/x")
        return (await waiting).once().status

    assert asyncio.run(client()) == 200


class Case(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def _api(self, harness):
        self.api = harness()

    def test_in_unittest(self):
        self.api.get("/x").returns("x")
        assert fetch(self.api.url, "/x") == (200, "x")

    def test_miss_in_unittest(self):
        fetch(self.api.url, "/in-unittest")


@pytest.fixture(scope="session")
def service(harness_session):
    api = harness_session()
    api.get("/health").returns("up")
    return api


@pytest.fixture
def shared(harness, service):
    return harness(service)


def test_shared_one(shared):
    urls.add(shared.url)
    shared.get("/x").returns("one")
    assert fetch(shared.url, "/x") == (200, "one")
    assert fetch(shared.url, "/health") == (200, "up")
    assert len(shared.records) == 2


def test_shared_two(shared):
    urls.add(shared.url)
    assert len(urls) == 1
    assert shared.records == []
    shared.get("/y").returns("two")
    assert fetch(shared.url, "/y") == (200, "two")


def test_shared_three(shared):
    fetch(shared.url, "/of-another-test")


@pytest.mark.parametrize("number", range(4))
def test_drawn(harness, number):
    api = harness()
    api.get("/x").returns(str(number))
    assert fetch(api.url, "/x") == (200, str(number))
    fetch(api.url, f"/seed{number}-{api.seed}")
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    directory = tmp_path_factory.mktemp("inner")
    (directory / "test_it.py").write_text(TESTS)

    def run(*command):
        result = subprocess.run(
            [*command, "-W", "error", "-p", "no:cacheprovider", "test_it.py"],
            capture_output=True,
            text=True,
            cwd=directory,
            check=False,
        )
        return result.stdout + result.stderr

    return run


@pytest.fixture(scope="module")
def report(run):
    return run(*PLAIN_PYTEST, "--rolo-seed=7")


def test_who_ought_to_pass_passes(report):
    assert "8 failed, 4 passed" in report


def test_a_test_fails_where_it_is_called_with_the_miss_and_a_transcript(report):
    shown = report[report.index("_ test_miss _") : report.index("_ test_error _")]
    lines = shown.splitlines()
    assert lines[1] == "No stub matches GET /prices."
    assert re.search(r"-+ rolo harness at http://127.0.0.1:\d+ \(--rolo-seed=7\) -+", shown)
    assert "  1 GET /price  at 0.000 s\n      < 200 OK" in shown
    assert "wrapper" not in shown


def test_an_error_of_the_test_is_shown_with_the_transcript_and_alone(report):
    shown = report[report.index("_ test_error _") : report.index("_ Case.")]
    assert "KeyError: 'mine'" in shown
    assert "  1 GET /broken" in shown
    assert "/unused" not in shown.partition("raise KeyError")[2]


def test_classes_of_unittest_fail_too(report):
    assert "No stub matches GET /in-unittest." in report


def test_a_server_of_the_session_has_one_url_and_each_test_its_own_stubs(report):
    shown = report[report.index("_ test_shared_three _") :]
    assert "No stub matches GET /of-another-test." in shown


def test_a_seed_repeats_what_is_drawn_test_by_test_and_on_workers_of_xdist(report, run):
    def drawn(text):
        return set(re.findall(r"No stub matches GET /(seed\d-\d+)\.$", text, re.MULTILINE))

    first = drawn(report)
    assert len({each.partition("-")[2] for each in first}) == 4
    command = [sys.executable, "-m", "pytest", "-q", "-n2", "-k", "drawn"]
    assert drawn(run(*command, "--rolo-seed=7")) == first


def test_without_a_seed_one_is_taken(pytestconfig):
    assert isinstance(pytestconfig.option.rolo_seed, int)
