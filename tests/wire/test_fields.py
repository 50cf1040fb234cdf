"""A light view on header pairs."""

import pytest

from rolo.proxy import HeaderFields


@pytest.fixture
def fields():
    return HeaderFields([(b"A", b"1"), (b"Set-Cookie", b"x"), (b"a", b"2"), (b"set-cookie", b"y")])


def test_reading(fields):
    assert (fields["a"], fields.get("SET-COOKIE"), fields.get("b"), fields.get("b", "-")) == (
        *("1", "x", None),
        "-",
    )
    assert fields.getlist("a") == ["1", "2"]
    assert ("A" in fields, "b" in fields, len(fields)) == (True, False, 4)
    assert next(iter(fields)) == ("A", "1")
    with pytest.raises(KeyError):
        fields["b"]


def test_setting_replaces_in_the_place_of_the_first_and_keeps_its_case(fields):
    fields["a"] = "3"
    fields["B"] = "4"
    assert fields.pairs == [
        *((b"A", b"3"), (b"Set-Cookie", b"x"), (b"set-cookie", b"y")),
        (b"B", b"4"),
    ]


def test_adding_removing_and_replacing(fields):
    fields.add("Set-Cookie", "z")
    fields.replace("set-cookie", lambda value: None if value == "y" else value.upper())
    assert fields.getlist("set-cookie") == ["X", "Z"]
    assert fields.setdefault("a", "9") == "1"
    assert fields.setdefault("c", "9") == "9"
    assert fields.pop("a") == "1"
    del fields["c"]
    fields.setlist("set-cookie", ["only"])
    assert fields.items() == [("set-cookie", "only")]


@pytest.mark.parametrize(
    ("name", "value"),
    [("A", "1\r\nB: 2"), ("A", "1\n"), ("A", "\0"), ("A B", "1"), ("", "1"), ("A:", "1")],
    ids=["field", "line", "nul", "space", "empty", "colon"],
)
@pytest.mark.parametrize("method", ["__setitem__", "add"])
def test_what_would_be_another_field_is_refused(fields, method, name, value):
    with pytest.raises(ValueError, match=r"header field|value of"):
        getattr(fields, method)(name, value)


def test_a_carriage_return_alone_is_refused_and_a_tab_is_part_of_the_value(fields):
    with pytest.raises(ValueError, match="value of"):
        fields["A"] = "1\r2"
    fields["A"] = "1\t\xe9"
    assert fields["a"] == "1\t\xe9"


def test_fields_are_taken_out_and_counted():
    fields = HeaderFields([(b"A", b"1"), (b"a", b"2"), (b"B", b"3")])
    assert (len(fields), repr(fields)) == (3, f"HeaderFields({fields.pairs!r})")
    assert fields.pop("a") == "1"
    assert fields.pop("a") is None
    assert fields.pop("a", "default") == "default"
    assert fields.pairs == [(b"B", b"3")]
    del fields["b"]
    assert list(fields) == []
