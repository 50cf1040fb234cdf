"""What matchers accept, and which differences they tell."""

import re
import unittest.mock

import pydantic
import pytest

from rolo.matching import (
    ABSENT,
    ANY,
    contains,
    each,
    one_of,
    regex,
    satisfies,
    subset,
    unordered,
)
from rolo.matching.differences import MISSING, described
from rolo.matching.matchers import differences, matches


class Order(pydantic.BaseModel):
    id: int
    tags: list[str] = []


def is_even(value):
    return value % 2 == 0


ACCEPTED = [
    ("x", "x"),
    (1, 1.0),
    (True, True),
    (None, None),
    ({"a": [1, {"b": None}]}, {"a": [1, {"b": None}]}),
    ((1, 2), [1, 2]),
    (ANY, None),
    (ANY, 0),
    (ABSENT, MISSING),
    (contains("b"), "abc"),
    (contains("a", "c"), "abc"),
    (contains(b"b"), b"abc"),
    (contains("b"), b"abc"),
    (contains("new"), ["old", "new"]),
    (contains({"id": ANY}), [1, {"id": 3}]),
    (contains("key"), {"key": 1}),
    (regex("a.c"), "abc"),
    (regex("a.c"), b"abc"),
    (regex(b"a.c"), b"abc"),
    (regex("A", re.IGNORECASE), "a"),
    (re.compile("a+"), "aaa"),
    (one_of(1, "x"), "x"),
    (one_of(ABSENT, "x"), MISSING),
    (ABSENT | contains("x"), MISSING),
    (subset({"a": 1}), {"a": 1, "b": 2}),
    (subset({"a": {"b": 1}}), {"a": {"b": 1, "c": 2}, "d": 3}),
    (subset({}), {}),
    (unordered([1, 2, 2]), [2, 1, 2]),
    (unordered([ANY, 1]), [1, 2]),
    (each({"id": int}), [{"id": 1}, {"id": 2}]),
    (each("x"), []),
    (contains("a") & ~contains("b"), "ac"),
    (~contains("b"), "ac"),
    (~contains("b"), MISSING),
    (~ABSENT, "x"),
    (int, 3),
    (bool, True),
    (str, "x"),
    (is_even, 4),
    (satisfies(is_even), 4),
    (Order, {"id": 3}),
    (unittest.mock.ANY, "x"),
    (pytest.approx(0.3), 0.1 + 0.2),
]

REFUSED = [
    ("x", "y", [("", '"x"', '"y"')]),
    ("x", MISSING, [("", '"x"', "absent")]),
    (1, True, [("", "1", "true")]),
    (True, 1, [("", "true", "1")]),
    (None, False, [("", "null", "false")]),
    ({"a": 1}, {"a": 2, "b": 3}, [("a", "1", "2"), ("b", "absent", "3")]),
    ({"a": {"b": 1}}, {"a": {}}, [("a.b", "1", "absent")]),
    ({"a": 1}, [], [("", '{"a": 1}', "[]")]),
    ({"odd key": 1}, {"odd key": 2}, [('["odd key"]', "1", "2")]),
    ([1, 2], [1], [("[1]", "2", "absent")]),
    ([1], [1, 2], [("[1]", "absent", "2")]),
    ([1], "1", [("", "[1]", '"1"')]),
    ({"a": [{"b": 1}]}, {"a": [{"b": 2}]}, [("a[0].b", "1", "2")]),
    (ANY, MISSING, [("", "ANY", "absent")]),
    (ABSENT, "x", [("", "absent", '"x"')]),
    (contains("b", "z"), "abc", [("", 'contains("z")', '"abc"')]),
    (contains("1"), 1, [("", 'contains("1")', "1")]),
    (contains(1), "1", [("", "contains(1)", '"1"')]),
    (contains("b"), MISSING, [("", 'contains("b")', "absent")]),
    (regex("b"), "abc", [("", "regex('b')", '"abc"')]),
    (regex("1"), 1, [("", "regex('1')", "1")]),
    (regex(b"a"), "a", [("", "regex(b'a')", '"a"')]),
    (one_of(1, 2), 3, [("", "one_of(1, 2)", "3")]),
    (one_of(1, 2), MISSING, [("", "one_of(1, 2)", "absent")]),
    (subset({"a": {"b": 1}}), {"a": {"b": 2}}, [("a.b", "1", "2")]),
    (subset({"a": 1}), {}, [("a", "1", "absent")]),
    (unordered([1, 2]), [1, 3], [("", "contains(2)", "[1, 3]"), ("[1]", "absent", "3")]),
    (unordered([1]), 1, [("", "unordered([1])", "1")]),
    (each(int), [1, "x"], [("[1]", "a value of int", '"x"')]),
    (each(int), 1, [("", "each(a value of int)", "1")]),
    (contains("a") & contains("b"), "a", [("", 'contains("b")', '"a"')]),
    (~contains("a"), "a", [("", 'not contains("a")', '"a"')]),
    (~ABSENT, MISSING, [("", "not absent", "absent")]),
    (int, True, [("", "a value of int", "true")]),
    (bool, 1, [("", "a value of bool", "1")]),
    (is_even, 3, [("", "what is_even() accepts", "3")]),
    (satisfies(is_even, "an even number"), 3, [("", "an even number", "3")]),
    (
        Order,
        {"id": "x", "tags": [1]},
        [
            (
                "id",
                "Input should be a valid integer, unable to parse string as an integer",
                '"x"',
            ),
            ("tags[0]", "Input should be a valid string", "1"),
        ],
    ),
]


@pytest.mark.parametrize(("wanted", "got"), ACCEPTED, ids=described)
def test_it_is_accepted(wanted, got):
    assert list(differences(wanted, got)) == []
    assert matches(wanted, got)


@pytest.mark.parametrize(("wanted", "got", "told"), REFUSED, ids=described)
def test_each_difference_is_told_with_its_place(wanted, got, told):
    assert [(each.place, each.wanted, each.got) for each in differences(wanted, got)] == told
    assert not matches(wanted, got)


def test_a_predicate_that_raises_does_not_match_and_the_error_is_told():
    (difference,) = differences(is_even, "x")
    assert difference.got.startswith('"x" (TypeError: ')


def test_matchers_stand_in_asserts():
    assert {"id": ANY, "at": regex(r"\d{4}-\d\d-\d\d")} == {"id": 7, "at": "2026-01-02"}
    assert unordered([2, 2]) != [1, 2]
    assert contains("x") != "abc"


def test_in_any_order_the_strict_one_gets_what_the_other_took_first():
    assert matches(unordered([ANY, ANY, 1]), [1, 2, 3])
    assert not matches(unordered([1, 1, ANY]), [1, 2, 3])


@pytest.mark.parametrize(
    "make",
    [contains, one_of, lambda: regex("(")],
    ids=["contains", "one_of", "regex"],
)
def test_a_matcher_that_makes_no_sense_is_refused(make):
    with pytest.raises(TypeError):
        make()
