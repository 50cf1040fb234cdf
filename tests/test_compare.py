"""``make compare`` and the table of docs/compatibility.md are one."""

import re

from compare import KNOWN, TABLE, Difference, rows
from compare_cases import http1_cases


def test_what_the_comparison_knows_is_in_the_table():
    assert [
        known.row for known in KNOWN if not any(row.startswith(known.row) for row in rows())
    ] == []


def test_each_row_of_the_table_has_its_cells():
    table = [line for line in TABLE.read_text().splitlines() if line.startswith("| ")]
    assert len(table) > 40
    assert [line for line in table if len(re.split(r"(?<!\\)\|", line)) != 6] == []


def test_no_row_tells_of_everything():
    nothing = Difference("hypercorn", "GET /text", "status", "200", "500")
    assert [known for known in KNOWN if known.tells_of(nothing)] == []


def test_cases_have_names_of_their_own():
    names = [name for name, _ in http1_cases()]
    assert len(names) > 300
    assert len(set(names)) == len(names)
