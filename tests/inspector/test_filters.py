"""The filter language, as breakpoints read it. The page's own reader has the same table."""

import json
import pathlib

import pytest

from rolo.inspector.filters import FilterError, parse

CASES = json.loads((pathlib.Path(__file__).parent / "filter_cases.json").read_text())


@pytest.mark.parametrize(("line", "names"), CASES["matches"])
def test_a_filter_lets_the_right_rows_through(line, names):
    test = parse(line)
    assert [name for name, row in CASES["rows"].items() if test(row)] == names


@pytest.mark.parametrize(("line", "told"), CASES["mistakes"])
def test_a_filter_that_cannot_be_read_says_why(line, told):
    with pytest.raises(FilterError) as caught:
        parse(line)
    assert str(caught.value).startswith(told)


def test_what_is_held_is_not_chosen_by_text():
    with pytest.raises(FilterError, match="text:"):
        parse("text:secret")
