"""``make mutants``: what it changes, which tests it asks, and what it knows to be equivalent."""

import pathlib

import mutants
import pytest


def changes(source):
    return {mutant.now for mutant in mutants.mutants_of("m.py", source)}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = a < b", {"x = (a <= b)", "pass"}),
        (
            "x = 1 <= b < c",
            {"x = (1 < b < c)", "x = (1 <= b <= c)", "pass"}
            | {"x = (2) <= b < c", "x = (0) <= b < c"},
        ),
        (
            "if a and not b: f()",
            {"if (a or not b): f()", "if a and (b): f()", "if a and not b: pass"}
            | {"if (not (a and (not b))): f()"},
        ),
        ("while True: break", {"while (False): break", "while True: continue"}),
        ("f(a, b=c)", {"(f(b=c))", "(f(a))", "pass"}),
        ("def f():\n    return a + b", {"return (a - b)", "pass"}),
    ],
)
def test_each_kind_of_mistake_is_made_once_at_each_place(source, expected):
    assert changes(source) == expected


def test_words_for_people_and_types_are_left_alone():
    source = (
        '"""A"""\ndef f(a: t.Literal["x"]) -> "X":\n    "B"\n    raise ValueError(f"bad {1}")\n'
    )
    assert changes(source) == {"pass"}


def test_the_tests_nearest_to_a_module_are_named_after_it():
    assert mutants.nearest("rolo/wire/target.py") == ("tests/wire/test_target.py",)
    assert mutants.nearest("rolo/errors.py") == ("tests/test_errors.py",)


def test_what_is_named_as_equivalent_or_as_a_test_exists():
    assert mutants.outdated() == set()
    tests = {
        test
        for table in (mutants.WIDER, mutants.NEAREST, {"": mutants.EVERYWHERE})
        for tests in table.values()
        for test in tests
    }
    assert {
        module for module in mutants.NEAREST if not pathlib.Path(mutants.ROOT, module).exists()
    } == set()
    assert {test for test in tests if not pathlib.Path(mutants.ROOT, test).exists()} == set()
