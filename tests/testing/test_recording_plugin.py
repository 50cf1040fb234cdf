"""``rolo_record``: what a test's harnesses record and replay, and what the report says."""

import subprocess
import types

import pytest
from inner_pytest import PLAIN_PYTEST
from werkzeug import Response
from wire import fetch

from rolo.har import Redaction, read_har
from rolo.testing.harness import Harnesses
from rolo.testing.recording import Tapes, record_mode


class Service:
    """Counts what it was asked."""

    def __init__(self):
        self.asked = 0

    def __call__(self, environ, start_response):
        self.asked += 1
        path = environ["PATH_INFO"]
        answer = Response(f"{path} {self.asked}", headers={"Set-Cookie": "s=secret"})
        return answer(environ, start_response)


def item(folder, *marks, name="test_x", config=None, **options):
    """What pytest knows of a test."""
    options = {"rolo_record": None, **options}
    config = config or types.SimpleNamespace(stash=pytest.Stash(), rootpath=folder)
    config.option = types.SimpleNamespace(**options)
    marks = [getattr(mark, "mark", mark) for mark in marks]
    return types.SimpleNamespace(
        name=name,
        nodeid=f"test_it.py::{name}",
        path=folder / "test_it.py",
        config=config,
        get_closest_marker=lambda name: next((each for each in marks if each.name == name), None),
    )


@pytest.fixture(autouse=True)
def _on_somebodys_machine(monkeypatch):
    """And not in CI, where nothing is recorded unless somebody says so."""
    monkeypatch.delenv("CI", raising=False)


@pytest.fixture
def run(tmp_path):
    """Let a test ask for some paths; returns what it complains of and how often the service
    was asked."""

    def run(*paths, mode=None, failing=False, mark=None, **options):
        mark = mark or pytest.mark.rolo_record("orders.har", pace="at_once", **options)
        service = Service()
        harnesses = Harnesses(1, "", Tapes(item(tmp_path, mark, rolo_record=mode)))
        try:
            api = harnesses.make(service)
            for path in paths:
                fetch(api.url, path, headers=[("X-Me", "secret")])
            complaint = harnesses.complaint()
            if failing or complaint:
                assert list(harnesses.failed()) == []
        finally:
            harnesses.close()
        return complaint, service.asked

    return run


@pytest.fixture
def recorded(tmp_path):
    return lambda name="orders.har": [str(entry) for entry in read_har(tmp_path / name)]


def test_the_first_run_records_and_others_replay(run, recorded, tmp_path):
    secrets = Redaction(headers=["X-Me"])
    assert run("/a", "/b", redaction=secrets) == ("", 2)
    assert recorded() == ["GET /a", "GET /b"]
    assert "secret" not in (tmp_path / "orders.har").read_text()
    assert run("/b", "/a") == ("", 0)


def test_where_nothing_is_to_be_recorded_a_missing_recording_fails(run, monkeypatch):
    with pytest.raises(pytest.fail.Exception, match=r"orders\.har: there is no such recording"):
        run("/a", mode="none")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="--rolo-record=none"):
        run("/a")


def test_what_is_asked_and_not_recorded_fails_and_the_other_way_round(run, recorded):
    run("/a", "/b")
    complaint, asked = run("/a", "/c")
    assert asked == 0
    assert "Not recorded: GET /c" in complaint
    assert "orders.har: 1 recorded requests were not made:\n  GET /b" in complaint
    assert recorded() == ["GET /a", "GET /b"]


def test_new_requests_are_recorded_behind_the_others(run, recorded):
    run("/a", "/b")
    assert run("/c", "/a", mode="new") == ("", 1)
    assert recorded() == ["GET /a", "GET /b", "GET /c"]
    assert run("/a", "/b", "/c") == ("", 0)


def test_all_is_recorded_anew(run, recorded):
    run("/a", "/b")
    assert run("/c", mode="all") == ("", 1)
    assert recorded() == ["GET /c"]


def test_what_a_failing_test_records_is_not_kept(run, tmp_path):
    run("/a", failing=True)
    assert not (tmp_path / "orders.har").exists()


def test_only_what_went_to_the_upstream_is_recorded(tmp_path):
    tapes = Tapes(item(tmp_path, pytest.mark.rolo_record("x.har")))
    harnesses = Harnesses(1, "", tapes)
    api = harnesses.make(Service())
    api.get("/stub").returns("stubbed")
    assert fetch(api.url, "/stub").body == b"stubbed"
    fetch(api.url, "/a")
    harnesses.close()
    assert [str(entry) for entry in read_har(tmp_path / "x.har")] == ["GET /a"]


def test_each_harness_has_a_file_of_its_own_and_without_a_name_each_test(tmp_path):
    harnesses = Harnesses(1, "", Tapes(item(tmp_path, pytest.mark.rolo_record, name="test_x[a/b]")))
    for path in ("/1", "/2"):
        fetch(harnesses.make(Service()).url, path)
    harnesses.close()
    folder = tmp_path / "recordings" / "test_it"
    assert [str(entry) for entry in read_har(folder / "test_x_a_b.har")] == ["GET /1"]
    assert [str(entry) for entry in read_har(folder / "test_x_a_b-2.har")] == ["GET /2"]


def test_two_tests_do_not_write_the_same_file(tmp_path):
    mark = pytest.mark.rolo_record("orders.har")
    first = item(tmp_path, mark, rolo_record="all")
    Tapes(first).next()
    with pytest.raises(pytest.fail.Exception, match=r"is recorded by test_it\.py::test_x already"):
        Tapes(item(tmp_path, mark, name="other", config=first.config, rolo_record="all")).next()


def test_without_a_mark_or_with_a_recording_of_its_own_a_test_is_left_alone(tmp_path):
    assert Tapes(item(tmp_path)).next() is None
    harnesses = Harnesses(1, "", Tapes(item(tmp_path, pytest.mark.rolo_record("x.har"))))
    assert harnesses.make(Service(), mode="stubs").mode == "stubs"
    harnesses.close()
    assert not (tmp_path / "x.har").exists()


def test_the_mode_is_what_is_asked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("CI", "1")
    assert record_mode(item(tmp_path).config) == "none"
    assert record_mode(item(tmp_path, rolo_record="all").config) == "all"
    monkeypatch.delenv("CI")
    assert record_mode(item(tmp_path).config) == "once"


TESTS = """
import urllib.request

import pytest
from werkzeug import Response

service = Response("live")


@pytest.mark.rolo_record("orders.har")
def test_orders(harness):
    api = harness(service)
    assert urllib.request.urlopen(api.url + "/a").read() == b"live"


@pytest.mark.rolo_record
def test_failing(harness):
    api = harness(service)
    urllib.request.urlopen(api.url + "/b").read()
    assert False
"""


def test_pytest_records_and_keeps_what_came_to_a_failing_test(tmp_path):
    (tmp_path / "test_it.py").write_text(TESTS)
    options = ["--strict-markers", "--rolo-record=once", "--rolo-keep-har=failed", "test_it.py"]
    done = subprocess.run(
        [*PLAIN_PYTEST, *options], cwd=tmp_path, capture_output=True, text=True, timeout=50
    )
    assert "1 failed, 1 passed" in done.stdout
    assert [str(entry) for entry in read_har(tmp_path / "orders.har")] == ["GET /a"]
    assert not (tmp_path / "recordings").exists()
    kept = tmp_path / "rolo-har" / "test_it.py.test_failing.har"
    assert str(kept) in done.stdout
    assert [str(entry) for entry in read_har(kept)] == ["GET /b"]
    assert len(list(kept.parent.iterdir())) == 1
