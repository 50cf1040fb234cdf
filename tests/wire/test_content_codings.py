"""Content codings, whole, byte by byte, cut short and exploding."""

import gzip
import zlib

import pytest

from rolo.errors import UndecodableBody, UnknownCoding
from rolo.wire import content_codings as codings
from rolo.wire.content_codings import decode, encode, known_codings, parse_codings

TEXT = b"".join(b"line %d of some text\n" % n for n in range(20_000))
CODINGS = [["gzip"], ["deflate"], ["br"], ["zstd"], ["gzip", "br"], []]


@pytest.fixture(autouse=True)
def extras():
    pytest.importorskip("brotli")
    pytest.importorskip("zstandard")


def by_bytes(data):
    return [data[i : i + 1] for i in range(len(data))]


@pytest.mark.parametrize("names", CODINGS, ids=str)
def test_what_is_encoded_is_decoded(names):
    pieces = [TEXT[:10], b"", TEXT[10:300_000], TEXT[300_000:]]
    coded = list(encode(pieces, names))
    assert b"".join(decode(coded, names)) == TEXT
    assert b"".join(decode([b"".join(coded)], names)) == TEXT


@pytest.mark.parametrize("names", CODINGS, ids=str)
def test_bodies_come_byte_by_byte(names):
    coded = b"".join(encode([TEXT[:500]], names))
    assert b"".join(decode(by_bytes(coded), names)) == TEXT[:500]


@pytest.mark.parametrize("names", CODINGS[:-1], ids=str)
def test_nothing_waits_for_the_next_piece(names):
    sent = []

    def pieces():
        for piece in encode(source(), names):
            sent.append("coded")
            yield piece

    def source():
        for number in range(3):
            sent.append(f"piece {number}")
            yield b"event %d\n" % number

    for number, piece in zip(range(3), decode(pieces(), names), strict=False):
        assert piece == b"event %d\n" % number
        assert sent.count("piece 2") == (number == 2)


@pytest.mark.parametrize("names", CODINGS[:-1], ids=str)
def test_empty_bodies(names):
    assert b"".join(decode(encode([], names), names)) == b""
    assert list(decode([], names)) == []


@pytest.mark.parametrize("name", ["gzip", "deflate", "br"])
def test_a_body_cut_short_is_an_error(name):
    coded = b"".join(encode([TEXT], [name]))
    with pytest.raises(UndecodableBody, match="ends early"):
        list(decode([coded[:-20]], [name]))


@pytest.mark.parametrize("name", ["gzip", "br", "zstd"])
def test_nonsense_is_an_error(name):
    with pytest.raises(UndecodableBody):
        list(decode([b"\x07nonsense that is no coding at all"], [name]))


def test_gzip_members_follow_each_other_and_padding_is_ignored():
    body = gzip.compress(b"one") + gzip.compress(b"two")
    assert b"".join(decode([body], ["gzip"])) == b"onetwo"
    assert b"".join(decode(by_bytes(body), ["gzip"])) == b"onetwo"
    assert b"".join(decode([body + bytes(10)], ["gzip"])) == b"onetwo"


def test_bare_deflate_is_understood():
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = deflater.compress(TEXT) + deflater.flush()
    assert b"".join(decode([body], ["deflate"])) == TEXT
    assert b"".join(decode([body[:1], body[1:]], ["deflate"])) == TEXT


@pytest.mark.parametrize("name", ["gzip", "deflate", "br", "zstd"])
def test_a_bomb_is_cut_off_in_small_pieces(name):
    million = bytes(1024 * 1024)
    bomb = b"".join(encode((million * 16 for _ in range(6)), [name]))
    seen = []
    with pytest.raises(UndecodableBody, match="expands more than"):
        seen.extend(map(len, decode([bomb], [name])))
    assert max(seen) <= 2 * codings.PIECE
    assert sum(seen) <= codings.RATIO_FREE + 64 * 1024 * 1024


def test_lists_of_codings():
    assert parse_codings(None) == []
    assert parse_codings(" GZIP , br,identity, x-gzip") == ["gzip", "br", "gzip"]
    assert set(known_codings()) == {"gzip", "deflate", "br", "zstd"}


def test_unknown_codings_are_refused_and_known_ones_named(monkeypatch):
    with pytest.raises(UnknownCoding, match="'exi'"):
        decode([], ["exi"])
    monkeypatch.setattr(codings.importlib.util, "find_spec", lambda name: None)
    assert known_codings() == ["gzip", "deflate"]
    with pytest.raises(UnknownCoding, match=r"install rolo\[codings\]"):
        decode([], ["br"])
