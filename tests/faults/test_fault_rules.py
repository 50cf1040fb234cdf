"""When faults happen: scopes, seeds and rules, without a socket."""

import random
import threading

import pytest

from rolo import Request
from rolo.faults import Faults, Scope, close_with, cut, lose, rate, status
from rolo.matching import RequestPattern, subset
from rolo.websocket import WebSocketRequest


def hit(scope, count=12, seed=1):
    draw = random.Random(seed)
    return [number for number in range(1, count + 1) if scope.hits(number, draw)]


@pytest.mark.parametrize(
    ("scope", "hits"),
    [
        (Scope(), list(range(1, 13))),
        (Scope(every=3), [3, 6, 9, 12]),
        (Scope(first=2), [1, 2]),
        (Scope(after=9), [10, 11, 12]),
        (Scope(every=2, after=5, first=4), [7, 9]),
        (Scope(flapping=(3, 2)), [4, 5, 9, 10]),
        (Scope(probability=0.0), []),
        (Scope(probability=1.0, first=1), [1]),
    ],
    ids=str,
)
def test_a_scope_says_which_of_many(scope, hits):
    assert hit(scope) == hits


def test_chance_is_that_of_the_seed():
    scope = Scope(probability=0.5)
    assert hit(scope, 1000, seed=1) == hit(scope, 1000, seed=1) != hit(scope, 1000, seed=2)
    assert 400 < len(hit(scope, 1000)) < 600


@pytest.mark.parametrize(
    "given",
    [{"every": 0}, {"first": 0}, {"after": -1}, {"probability": 1.5}, {"flapping": (0, 1)}],
    ids=str,
)
def test_a_scope_that_makes_no_sense_is_an_error(given):
    with pytest.raises(ValueError, match=next(iter(given))):
        Faults().add(cut(), **given)


def get(path="/", **given):
    return Request("GET", path, **given)


def handshake(path="/"):
    return WebSocketRequest({"REQUEST_METHOD": "WEBSOCKET", "PATH_INFO": path, "HTTP_HOST": "x"})


def fates(faults, requests):
    """Return for each request what happens to it, with a number that is drawn."""
    return [
        [(shot.fault, shot.draw().random()) for shot in faults.shots(request, "down")]
        for request in requests
    ]


def test_the_same_seed_repeats_the_same_faults_whatever_else_goes_on():
    def run(order):
        faults = Faults(seed=7)
        faults.add(cut(), when="/a", probability=0.5)
        faults.add(rate("1k/s", jitter=0.5), when="/b", probability=0.5)
        happened = {"/a": [], "/b": []}
        for path in order:
            happened[path] += fates(faults, [get(path)])
        return happened

    first = run(["/a"] * 20 + ["/b"] * 20)
    assert first == run(["/a", "/b"] * 20)
    assert [] in first["/a"]
    assert any(first["/a"])


def test_another_seed_draws_other_numbers_and_one_is_drawn_if_none_is_given():
    def drawn(seed):
        faults = Faults(seed)
        faults.add(cut(), probability=0.5)
        return fates(faults, [get() for _ in range(40)])

    assert drawn(1) == drawn(1) != drawn(2)
    assert drawn(faults_seed := Faults().seed) == drawn(faults_seed)


def test_rules_are_added_and_removed_while_requests_run():
    faults = Faults()
    rule = faults.add(cut(), every=2)
    assert [bool(each) for each in fates(faults, [get(), get(), get()])] == [False, True, False]
    assert (rule.seen, rule.hits) == (3, 1)
    rule.remove()
    rule.remove()
    assert faults.shots(get(), "down") == ()
    faults.add(cut())
    faults.clear()
    assert faults.rules == ()


def test_an_outage_lasts_as_long_as_its_block():
    faults = Faults()
    with faults.outage(when="/a") as rule:
        assert [shot.fault.why for shot in faults.shots(get("/a"), "down")] == [
            "refused by a fault"
        ]
        assert faults.shots(get("/b"), "down") == ()
    assert faults.shots(get("/a"), "down") == ()
    assert rule.hits == 1
    with pytest.raises(KeyError), faults.outage(status(503)):
        raise KeyError
    assert faults.rules == ()


@pytest.mark.parametrize(
    ("when", "hits"),
    [
        (None, ["/", "/items/3", "ws /items/3"]),
        ("/items/<int:id>", ["/items/3", "ws /items/3"]),
        (RequestPattern("GET", "/items/<int:id>"), ["/items/3"]),
        (RequestPattern("WEBSOCKET", "/items/<int:id>"), ["ws /items/3"]),
        (lambda request: request.path == "/", ["/"]),
        (RequestPattern(when=lambda seen: "3" in seen.path), ["/items/3"]),
    ],
    ids=["all", "path", "pattern", "websocket", "predicate", "predicate of a pattern"],
)
def test_a_rule_is_about_some_requests(when, hits):
    faults = Faults()
    faults.add(cut(), when=when)
    requests = {"/": get("/"), "/items/3": get("/items/3"), "ws /items/3": handshake("/items/3")}
    assert [name for name, each in requests.items() if faults.shots(each, "down")] == hits


def test_a_pattern_may_be_about_the_body():
    faults = Faults()
    faults.add(cut(), when=RequestPattern(json=subset({"id": 1})))
    assert faults.shots(Request("POST", "/", body=b'{"id": 1, "x": 2}'), "down")
    assert not faults.shots(Request("POST", "/", body=b'{"id": 2}'), "down")


def test_faults_of_the_other_protocol_do_not_count():
    faults = Faults()
    rule = faults.add(lose(), close_with(4000))
    assert faults.shots(get(), "down") == ()
    assert rule.seen == 0
    assert len(faults.shots(handshake(), "down")) == 2


def test_each_request_counts_once_downwards_and_each_try_upwards():
    faults = Faults()
    down, up = faults.add(cut()), faults.add(cut(), direction="up")
    request = get()
    for _ in range(2):
        faults.shots(request, "down")
        faults.shots(request, "up")
    assert (down.seen, up.seen) == (1, 2)


def test_many_threads_may_ask_at_once():
    faults = Faults()
    rule = faults.add(cut(), every=2)

    def ask():
        for _ in range(200):
            faults.shots(get(), "down")

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (rule.seen, rule.hits) == (800, 400)


def test_mistakes_are_named_when_they_are_made():
    faults = Faults()
    with pytest.raises(ValueError, match="no direction 'up'"):
        faults.add(status(503), direction="up")
    with pytest.raises(TypeError, match="wants a fault"):
        faults.add()
    with pytest.raises(TypeError, match="what cut"):
        faults.add(503)
    assert faults.rules == ()
