"""The tests of examples/testing/test_retries.py, collected as if they stood here."""

import pathlib

EXAMPLE = pathlib.Path(__file__).parents[2] / "examples" / "testing" / "test_retries.py"

exec(compile(EXAMPLE.read_text(), str(EXAMPLE), "exec"), globals())


def test_the_example_has_tests():
    assert {"test_two_failures_are_borne", "test_an_outage_is_not"} <= set(globals())
