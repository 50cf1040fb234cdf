"""The page on security names only what there is."""

import dataclasses
import pathlib
import re

import pytest

import rolo.proxy
import rolo.serving
from rolo.cli.arguments import parse

ROOT = pathlib.Path(rolo.proxy.__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()
CODE = sorted(set(re.findall(r"`([^`]+)`", PAGE)))
OPTIONS = sorted({word for text in CODE for word in re.findall(r"--[a-z-]+", text)})
FILES = sorted(text for text in CODE if re.fullmatch(r"(rolo|tests)/[\w/]+\.py", text))
SETTINGS = [text.split(".") for text in CODE if re.fullmatch(r"[A-Z]\w+\.\w+", text)]
LINKS = sorted(set(re.findall(r"\]\(([^)]+)\)", PAGE)))


def test_every_file_exists():
    assert len(FILES) > 30
    assert [name for name in FILES if not (ROOT / name).is_file()] == []


def test_every_option_exists(capsys):
    with pytest.raises(SystemExit):
        parse(["proxy", "--help"])
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    assert len(OPTIONS) > 15
    assert set(OPTIONS) - known == set()


def test_every_setting_exists():
    def fields(name):
        kind = getattr(rolo.proxy, name, None) or getattr(rolo.serving, name)
        return {field.name for field in dataclasses.fields(kind)}

    assert len(SETTINGS) > 10
    assert [(kind, name) for kind, name in SETTINGS if name not in fields(kind)] == []


def test_every_link_leads_to_a_heading():
    for link in LINKS:
        page, _, anchor = link.partition("#")
        text = (ROOT / "docs" / page).read_text()
        headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        anchors = {re.sub(r"[^\w-]", "", h.lower().replace(" ", "-")) for h in headings}
        assert not anchor or anchor in anchors, link


def test_every_class_of_fault_names_a_test():
    table = PAGE.partition("## How each class")[2]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 10
    assert [row for row in rows if "`tests/" not in row] == []
