"""Text in the encodings of the web, and nothing else."""

import codecs

import pytest

from rolo.errors import AmbiguousType, NotJson, UndecodableBody, UnknownCharset
from rolo.proxy.hooks.documents import dump_json, load_json
from rolo.proxy.hooks.transform import line_stage
from rolo.wire import charsets
from rolo.wire.charsets import Lines, charset_parameter, codec_of, marked, one_type


@pytest.mark.parametrize("codec", sorted(set(charsets._CODECS.values())), ids=lambda c: c.name)
def test_each_codec_is_pythons_and_gives_back_what_it_cannot_read(codec):
    text = "abc\n+x/\n"
    assert text.encode(*codec).decode(*codec) == text
    if codec.errors == "surrogateescape":
        for data in (b"\x80", b"\xff", b"a\xfe\xff"):
            assert data.decode(*codec).encode(*codec) == data


@pytest.mark.parametrize("label", ["UTF-8", " utf8 ", "Latin1", "us-ascii", "Shift_JIS", "utf-16"])
def test_labels_of_the_web_are_known(label):
    assert codecs.lookup(codec_of(label).name)


@pytest.mark.parametrize(
    "label",
    [
        *("punycode", "idna", "unicode_escape", "raw_unicode_escape", "utf-7", "utf-32", "hex"),
        *("zip", "undefined", "mbcs", "rot13", "iso-2022-jp", "hz", "../x", "", "x" * 5000),
    ],
)
def test_other_codecs_of_python_are_not(label):
    with pytest.raises(UnknownCharset):
        codec_of(label)


@pytest.mark.parametrize(
    ("field", "charset"),
    [
        ("text/html", None),
        ("", None),
        ("text/html; charset=UTF-8", "utf-8"),
        ('text/html;Charset="utf-8" ;x=y', "utf-8"),
        ("text/html; a=b; charset=latin1; charset=utf-8", "latin1"),
        ('text/html; a="; charset=punycode"; charset=utf-8', "utf-8"),
        ('text/html; a="\\"; charset=x"; charset=utf-8', "utf-8"),
        ("text/html; junk; charset=utf-8", "utf-8"),
        ('text/html; charset="utf-8', None),
        ("text/html; charset=", None),
    ],
)
def test_the_charset_of_a_content_type(field, charset):
    assert charset_parameter(field) == charset


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (codecs.BOM_UTF8 + b"x", "utf-8"),
        (codecs.BOM_UTF16_LE + b"x\0", "utf-16-le"),
        (codecs.BOM_UTF16_BE + b"\0x", "utf-16-be"),
        (b"\xff", "cp1252"),
        (b"", "cp1252"),
        (b"x", "cp1252"),
    ],
)
def test_a_byte_order_mark_is_believed_before_a_label(data, name):
    assert marked(data, codec_of("latin1")).name == name


@pytest.mark.parametrize("mark", [codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, b""])
def test_lines_of_utf_16_keep_their_byte_order(mark):
    codec = "utf-16-be" if mark == codecs.BOM_UTF16_BE else "utf-16-le"
    data = mark + "eins\nzwei".encode(codec)
    for pieces in ([data], [data[at : at + 1] for at in range(len(data))]):
        stage = line_stage(str.upper, "utf-16")
        assert b"".join(stage(pieces)) == mark + "EINS\nZWEI".encode(codec)


def test_half_a_character_is_an_error():
    with pytest.raises(UndecodableBody):
        list(Lines([b"a\0b"], codec_of("utf-16")))


@pytest.mark.parametrize("charset", ["utf-8", "utf-16", "latin1", "shift_jis"])
def test_a_document_keeps_its_charset(charset):
    document = {"ü": "€\ud800", "n": [1, 2.5, 10**30]}
    codec = codec_of(charset).name
    assert load_json(dump_json(document, codec), charset) == document


def test_a_document_may_begin_with_a_byte_order_mark():
    for data in (b"\xef\xbb\xbf[1]", codecs.BOM_UTF16_LE + "[1]".encode("utf-16-le")):
        assert load_json(data, "utf-8") == load_json(data, "utf-16") == [1]


@pytest.mark.parametrize("data", [b"", b"1e400", b"[NaN]", b"-Infinity", b"[" * 100_000, b"\xff"])
def test_what_would_not_stay_json_is_none(data):
    with pytest.raises(NotJson):
        load_json(data, "utf-8")


def test_numbers_that_json_has_not_are_not_written():
    with pytest.raises(ValueError, match="JSON"):
        dump_json(float("nan"), "utf-8")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([], ""),
        ([""], ""),
        (["text/html; a=b"], "text/html; a=b"),
        (["text/html", "text/html"], "text/html"),
        (["text/html, text/html,"], "text/html"),
        (['a/b; c="d, e/f"'], 'a/b; c="d, e/f"'),
        (['a/b; c="\\", e/f'], 'a/b; c="\\", e/f'),
        (["text/plain", "text/event-stream"], None),
        (["text/plain, text/event-stream"], None),
        (["text/html", "text/html; charset=utf-16le"], None),
        (['a/b; c="d", e/f'], None),
    ],
)
def test_one_media_type_or_none_is_believed(values, said):
    if said is None:
        with pytest.raises(AmbiguousType, match="media types"):
            one_type(values)
    else:
        assert one_type(values) == said


def test_half_a_character_is_no_text():
    with pytest.raises(UndecodableBody, match="the text is no utf-16"):
        charsets.decode_text(b"a", codec_of("utf-16le"))
    assert charsets.decode_text(b"a\0", codec_of("utf-16le")) == "a"
