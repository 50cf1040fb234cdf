"""Which stub a request gets, how often, and in which order."""

import itertools

import pytest
from wire import Wire, fetch

from rolo.harness import Harness
from rolo.matching import ANY, contains

JSON = [("Content-Type", "application/json")]


@pytest.fixture
def api():
    with Harness(strict=False) as api:
        yield api


def statuses(api, *requests):
    return [fetch(api.url, target, method).status for method, target in requests]


@pytest.mark.parametrize(
    "method", ["get", "post", "put", "patch", "delete", "head", "options", "any"]
)
def test_each_method_has_its_word(api, method):
    getattr(api, method)("/x").returns(299)
    sent = "GET" if method == "any" else method.upper()
    assert statuses(api, (sent, "/x")) == [299]
    assert statuses(api, ("TRACE", "/x")) == [299 if method == "any" else 404]


def test_a_stub_for_get_answers_head_without_a_body(api):
    api.get("/x").returns("hello")
    answer = fetch(api.url, "/x", "HEAD")
    assert (answer.status, answer.get("content-length"), answer.body) == (200, "5", b"")


def test_what_a_request_must_be_like_is_looked_up_everywhere(api):
    api.post(
        "/orders",
        query={"dry": "1"},
        headers={"X-Tenant": "a"},
        cookies={"session": ANY},
        json={"id": int, "tags": contains("new")},
    ).returns(201)
    fields = [*JSON, ("X-Tenant", "a"), ("Cookie", "session=1")]
    good = b'{"id": 1, "tags": ["new"]}'
    assert fetch(api.url, "/orders?dry=1", "POST", fields, good).status == 201
    assert fetch(api.url, "/orders?dry=2", "POST", fields, good).status == 404
    assert fetch(api.url, "/orders?dry=1", "POST", fields[:-1], good).status == 404
    assert fetch(api.url, "/orders?dry=1", "POST", fields, b'{"id": 1, "tags": []}').status == 404


def test_the_host_a_form_and_a_predicate_are_conditions_too(api):
    api.get("/", host="a.example").returns(201)
    api.post("/", form={"name": "x"}).returns(202)
    api.put("/", when=lambda seen: len(seen.data) > 3).returns(203)
    form = [("Content-Type", "application/x-www-form-urlencoded")]
    with Wire(api.url) as wire:
        wire.host = "a.example"
        assert wire.get("/").status == 201
    assert fetch(api.url, "/").status == 404
    assert fetch(api.url, "/", "POST", form, b"name=x&more=y").status == 202
    assert fetch(api.url, "/", "PUT", [], b"1234").status == 203
    assert fetch(api.url, "/", "PUT", [], b"123").status == 404


def test_the_most_specific_stub_wins_and_of_equals_the_latest(api):
    api.any().returns(290)
    api.get("/a/<path:rest>").returns(291)
    api.get("/a/<name>").returns(292)
    api.get("/a/b").returns(293)
    api.get("/a/b", headers={"X": "1"}).returns(294)
    api.get("/a/<other>").returns(295)
    assert statuses(api, ("GET", "/z"), ("GET", "/a/b/c"), ("GET", "/a/x"), ("GET", "/a/b")) == [
        290,
        291,
        295,
        293,
    ]
    assert fetch(api.url, "/a/b", headers=[("X", "1")]).status == 294


def test_answers_come_one_after_the_other_and_then_the_stub_matches_no_more(api):
    api.get("/x").returns(500)
    api.get("/x").returns(201).then(202).times(2).then(203)
    assert statuses(api, *[("GET", "/x")] * 5) == [201, 202, 202, 203, 500]


def test_the_last_answer_may_be_given_for_ever(api):
    api.get("/flaky").returns(200).then(503).forever()
    assert statuses(api, *[("GET", "/flaky")] * 4) == [200, 503, 503, 503]


def test_then_without_an_answer_says_that_the_next_verb_comes_then(api):
    api.get("/x").returns(201).then().calls(lambda request: "called")
    assert fetch(api.url, "/x").status == 201
    assert fetch(api.url, "/x").body == b"called"
    assert fetch(api.url, "/x").status == 404


def test_scenarios_are_states_with_names(api):
    api.get("/cart").given(cart=None).returns({"items": 0})
    api.get("/cart").given(cart="full").returns({"items": 1})
    api.post("/cart").returns(201).sets(cart="full")
    assert fetch(api.url, "/cart").body == b'{"items": 0}'
    assert fetch(api.url, "/cart", "POST").status == 201
    assert api.states == {"cart": "full"}
    assert fetch(api.url, "/cart").body == b'{"items": 1}'
    api.states["cart"] = None
    assert fetch(api.url, "/cart").body == b'{"items": 0}'


def test_a_stub_changes_its_answer_and_is_removed_while_requests_are_under_way(api):
    stub = api.get("/x").returns(201)
    reached, answers = itertools.count(), []
    api.get("/slow").calls(lambda request: [next(reached)] and api.wait_for("GET", "/go") and "ok")
    import threading

    slow = threading.Thread(target=lambda: answers.append(fetch(api.url, "/slow").body))
    slow.start()
    api.wait_for("GET", "/slow")
    assert statuses(api, ("GET", "/x")) == [201]
    stub.returns(202)
    assert statuses(api, ("GET", "/x")) == [202]
    stub.remove()
    stub.remove()
    assert statuses(api, ("GET", "/x"), ("GET", "/go")) == [404, 404]
    slow.join(5)
    assert answers == [b"ok"]


def test_a_stub_of_a_with_block_ends_with_it(api):
    api.get("/x").returns(200)
    with api.get("/x").returns(503):
        assert statuses(api, ("GET", "/x")) == [503]
    assert statuses(api, ("GET", "/x")) == [200]


def test_many_threads_share_a_sequence_and_each_answer_is_given_once(api):
    import concurrent.futures

    stub = api.get("/x").returns(200)
    for number in range(1, 40):
        stub.then(200 + number)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda _: fetch(api.url, "/x").status, range(40)))
    assert sorted(got) == list(range(200, 240))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda api: api.get("x"), "begins with a slash"),
        (lambda api: api.get("/x").times(2), "say first what the stub does"),
        (lambda api: api.get("/x").then(200), "comes after an answer"),
        (lambda api: api.get("/x").returns(200).times(0), "1 or more"),
        (lambda api: api.get("/x").returns(99), "three digits"),
        (lambda api: api.get("/x").returns(print), "calls()"),
        (lambda api: api.get("/x").returns(200, 201), "given twice"),
        (lambda api: api.get("/x").returns("a", json={}), "one body"),
        (lambda api: api.get("/x").returns(headers={"Content-Length": 3}), "fault"),
        (lambda api: api.get("/x").returns(headers={"X": "a\nb"}), "head"),
        (lambda api: api.get("/x").returns(200, interim=[200]), "102 to 199"),
        (lambda api: api.get("/x").returns(file="/nowhere/at/all"), "nowhere"),
        (lambda api: api.get("/x").returns(200).delayed(-1), "0 seconds or more"),
        (lambda api: api.get("/x").plays(), "for websockets"),
        (lambda api: api.get("/x").streams(3), "no step"),
        (lambda api: api.get("/x").passes(), "nowhere to pass"),
        (lambda api: api.get("/x").returns(200).edit(), "after passes"),
        (lambda api: api.get("/x", query=3), "query"),
    ],
)
def test_mistakes_are_told_where_they_are_made(api, wrong, says):
    with pytest.raises((TypeError, ValueError, OSError), match=says):
        wrong(api)
