"""The texts of misses, as people read them: golden files."""

import pathlib

import pytest
from test_pattern import FORM, pattern, seen

from rolo.matching import ABSENT, contains, miss_report, nearest_report, regex

GOLDEN = pathlib.Path(__file__).parent / "golden"
ORDER = seen(
    "POST",
    "/orders?dry=1",
    {"Content-Type": "application/json", "X-Tenant": "b"},
    b'{"id": true, "tags": ["old"], "to": {"city": "Bern", "zip": 3000}}',
)
STUBS = [
    ("test_shop.py:9", pattern(None, "/users/<path:rest>")),
    ("test_shop.py:12", pattern("GET", "/orders/<int:id>")),
    (
        "test_shop.py:14",
        pattern(
            "POST",
            "/orders",
            query={"dry": ABSENT},
            headers={"X-Tenant": "a"},
            json={"id": int, "tags": contains("new"), "to": {"city": "Basel"}},
        ),
    ),
    ("test_shop.py:20", pattern("PUT", "/orders")),
]
LONG = seen(
    "POST",
    "/form/" + "very-long-segment/" * 12,
    FORM,
    b"text=" + b"word+" * 300 + b"&control=%1b%5b31m%0aline",
)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("nearest_stubs", miss_report(ORDER, STUBS)),
        ("no_stubs", miss_report(ORDER, [])),
        (
            "long_values",
            miss_report(
                LONG,
                [("", pattern("POST", LONG.raw_path, form={"text": "x", "control": regex("a*")}))],
            ),
        ),
        ("nearest_requests", nearest_report(STUBS[2][1], [("first", ORDER), ("second", LONG)])),
        (
            "many_differences",
            miss_report(
                seen(body=b'{"a": 1}'), [("", pattern(json={f"k{i}": i for i in range(20)}))]
            ),
        ),
    ],
)
def test_it_reads_as_in_the_golden_file(name, text):
    assert text == (GOLDEN / f"{name}.txt").read_text()
    assert all(len(line) <= 80 for line in text.splitlines())
    assert all(each.isprintable() for line in text.splitlines() for each in line)


def test_a_pattern_that_matches_is_not_among_the_misses():
    assert miss_report(seen(target="/x"), [("", pattern(None, "/x"))]).endswith("no stub.\n")
