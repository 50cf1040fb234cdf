"""Each example of docs/coming-from.md is a file of tests that pass, and its tables name what
there is."""

import pathlib
import re

from inner_pytest import check_page

from rolo import faults, har, harness, matching

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "coming-from.md"


def code_in_our_columns():
    """The code in the last column of each table that has "here" at its head."""
    ours = False
    for line in PAGE.read_text().splitlines():
        last = line.strip("| ").rpartition(" | ")[2]
        ours = line.startswith("|") and (ours or last == "here")
        if ours:
            yield from re.findall(r"`([^`]+)`", last)


def test_every_example_passes_and_the_recording_holds_no_secret(tmp_path):
    check_page(PAGE, tmp_path)
    assert "secret" not in (tmp_path / "orders.har").read_text()


def test_calls_and_conditions_in_the_tables_can_be_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.json").write_text("{}")
    names = {
        name: getattr(module, name)
        for module in (faults, har, matching, harness)
        for name in module.__all__
    }
    made = 0
    with harness.Harness(strict=False) as api:
        stub = api.get("/").returns("x")
        verbs = {"calls": stub.calls, "delayed": stub.delayed, "returns": stub.returns}
        for code in code_in_our_columns():
            if re.match("(headers|json|parts)=", code):
                code = f"api.get('/', {code})"
            if re.match(r"[a-z_.]+\(", code):
                eval(code, {**names, **verbs, "api": api, "function": print})
                made += 1
    assert made >= 15
