"""Which cases of a test run: rules of ``choosing.py``."""

from choosing import Case, case_of, chosen

SERVERS = ["native", "uvicorn", "hypercorn"]
MODES = ["threads", "loop"]
VARIATIONS = ["a", "b", "c"]
ALL = [Case(s, m, v) for s in SERVERS for m in MODES for v in VARIATIONS]
TESTS = [f"test_{number}" for number in range(50)]


def test_native_meets_each_variation_once_and_both_modes():
    for test in TESTS:
        kept = [case for case in chosen(test, ALL, ()) if case.server == "native"]
        assert sorted(case.variation for case in kept) == VARIATIONS
        assert {case.mode for case in kept} == set(MODES)


def test_every_other_server_meets_one_variation_which_differs_from_test_to_test():
    met = set()
    for test in TESTS:
        kept = [case for case in chosen(test, ALL, ()) if case.server == "uvicorn"]
        assert len(kept) == 1
        met.update(kept)
    assert met == {case for case in ALL if case.server == "uvicorn"}


def test_a_test_without_variations_meets_native_in_both_modes_and_the_others_in_one():
    cases = [case for case in ALL if case.variation == "a"]
    kept = chosen("test", cases, ())
    assert sorted(case.server for case in kept) == ["hypercorn", "native", "native", "uvicorn"]


def test_servers_that_are_named_meet_every_variation():
    kept = [case for case in chosen("test", ALL, ["uvicorn"]) if case.server == "uvicorn"]
    assert sorted(case.variation for case in kept) == VARIATIONS


def test_without_native_every_server_meets_every_variation():
    kept = chosen("test", [case for case in ALL if case.server != "native"], ())
    assert sorted((case.server, case.variation) for case in kept) == [
        (server, variation) for server in sorted(SERVERS[1:]) for variation in VARIATIONS
    ]


def test_what_is_chosen_does_not_depend_on_the_order():
    assert chosen("test", ALL, ()) == chosen("test", ALL[::-1], ())


def test_server_and_mode_may_be_one_parameter_or_two():
    one = case_of({"where": "granian-loop", "size": 3}, "granian-loop-3")
    two = case_of({"mode": "loop", "server": "granian", "size": 3}, "loop-granian-3")
    assert one is not None
    assert two is not None
    assert one[:2] == two[:2] == ("granian", "loop")
    assert case_of({"mode": "loop"}, "loop") is None
