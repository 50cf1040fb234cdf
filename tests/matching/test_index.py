"""The patterns that a request may match, without asking all of them."""

import random
import threading

import pytest
from test_pattern import pattern, seen

from rolo.matching import Index


def index_of(*patterns):
    index = Index()
    for each in patterns:
        index.add(each, each.describe())
    return index


def names(index, came):
    return [name for _, name in index.candidates(came)]


def test_the_most_specific_comes_first_then_the_latest():
    index = index_of(pattern(), pattern("GET", "/<a>"), pattern("GET", "/x"), pattern("PUT", "/x"))
    assert names(index, seen(target="/x")) == [
        "PUT /x",
        "GET /x",
        "GET /<a>",
        "any method any path",
    ]


def test_whatever_a_pattern_matches_it_is_a_candidate_for():
    paths = [None, "/", "/a", "/a/", "/a/b", "/<x>", "/a/<x>", "/a/b<x>", "/<path:p>", "/é"]
    targets = ["*", "/", "/a", "/a/", "/a/b", "/a%2Fb", "/a/bc", "/a/b/c", "/%C3%A9", "/%61"]
    patterns = [pattern(None, path) for path in paths]
    index = index_of(*patterns)
    for target in targets:
        came = seen(target=target)
        matching = {each for each in patterns if each.matched(came)}
        assert matching <= {each for each, _ in index.candidates(came)}


def test_other_paths_are_no_candidates():
    index = index_of(*(pattern("GET", f"/item/{i}") for i in range(1000)))
    index.add(pattern("GET", "/user/<int:id>"), "user")
    assert names(index, seen(target="/item/7")) == ["GET /item/7"]
    assert names(index, seen(target="/user/7")) == ["user"]


def test_what_was_removed_is_gone_and_cannot_be_removed_again():
    first, second = pattern("GET", "/x"), pattern("GET", "/x")
    index = Index()
    index.add(first, 1)
    index.add(second, 2)
    index.remove(first, 1)
    assert [item for _, item in index.candidates(seen(target="/x"))] == [2]
    with pytest.raises(KeyError):
        index.remove(first, 1)
    index.remove(second, 2)
    assert list(index) == []


def test_all_are_listed_in_the_order_in_which_they_came():
    index = index_of(pattern("GET", "/<a>"), pattern(), pattern("GET", "/b"))
    assert [item for _, item in index] == ["GET /<a>", "any method any path", "GET /b"]


def test_it_can_be_asked_while_it_is_changed():
    index = index_of(pattern("GET", "/x"))
    wrong = []
    done = threading.Event()

    def ask():
        while not done.is_set():
            if "GET /x" not in names(index, seen(target="/x")):
                wrong.append(1)

    asking = threading.Thread(target=ask)
    asking.start()
    generator = random.Random(7)
    added = []
    for number in range(500):
        if added and generator.random() < 0.5:
            index.remove(*added.pop())
        else:
            added.append((pattern("PUT", "/x"), number))
            index.add(*added[-1])
    done.set()
    asking.join()
    assert not wrong
