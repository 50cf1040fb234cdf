"""Content codings, whole, byte by byte, cut short and exploding."""

import gzip
import zlib

import pytest

from rolo.errors import BodyFault, ExpandsTooFar, UndecodableBody, UnknownCoding
from rolo.wire import content_codings as codings
from rolo.wire.content_codings import decode, encode, known_codings, parse_codings
from rolo.wire.zstd_frames import ZstdFrames

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


@pytest.mark.parametrize("name", ["gzip", "deflate", "br", "zstd"])
def test_a_body_cut_short_anywhere_is_an_error(name):
    coded = b"".join(encode([TEXT[:300], TEXT[300:600]], [name]))
    for end in range(1, len(coded)):
        for pieces in ([coded[:end]], by_bytes(coded[:end])):
            with pytest.raises(UndecodableBody, match="ends early"):
                list(decode(pieces, [name]))


@pytest.mark.parametrize("checksum", [False, True], ids=["without checksum", "checksum"])
@pytest.mark.parametrize("sized", [False, True], ids=["size unknown", "size known"])
def test_the_frames_of_zstd_are_followed_to_their_end(sized, checksum):
    zstandard = pytest.importorskip("zstandard")
    compressor = zstandard.ZstdCompressor(write_content_size=sized, write_checksum=checksum)
    skippable = b"\x5a\x2a\x4d\x18" + (3).to_bytes(4, "little") + b"abc"
    bodies = [b"", b"x", TEXT[:300], bytes(70_000), TEXT]
    frames = [*map(compressor.compress, bodies), skippable]
    coded = b"".join(frames)
    assert b"".join(decode([coded], ["zstd"])) == b"".join(bodies)
    ends, at = {0}, 0
    for frame in frames:
        at += len(frame)
        ends.add(at)
    followed = ZstdFrames()
    for at, byte in enumerate(by_bytes(coded)):
        assert followed.complete == (at in ends)
        followed.feed(byte)
    assert followed.complete


@pytest.mark.parametrize("name", ["gzip", "br", "zstd"])
def test_nonsense_is_an_error(name):
    with pytest.raises(UndecodableBody):
        list(decode([b"\x07nonsense that is no coding at all"], [name]))


def test_gzip_members_follow_each_other_and_padding_is_ignored():
    body = gzip.compress(b"one") + gzip.compress(b"two")
    assert b"".join(decode([body], ["gzip"])) == b"onetwo"
    assert b"".join(decode(by_bytes(body), ["gzip"])) == b"onetwo"
    for padding in (bytes(10), b"\x1f", b"\x1f\x1f", b"junk"):
        assert b"".join(decode([body + padding], ["gzip"])) == b"onetwo"
        assert b"".join(decode(by_bytes(body + padding), ["gzip"])) == b"onetwo"


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
    with pytest.raises(ExpandsTooFar, match="expands more than"):
        seen.extend(map(len, decode([bomb], [name])))
    assert max(seen) <= 2 * codings.PIECE
    assert sum(seen) <= codings.RATIO_FREE + 64 * 1024 * 1024


def work_of(monkeypatch, names, pieces):
    """Decode ``pieces``; return how many bytes all decoders made, and the error."""
    made = []
    for name, decoder in codings._DECODERS.items():

        def counted(pieces, budget, decoder=decoder):
            for piece in decoder(pieces, budget):
                made.append(len(piece))
                yield piece

        monkeypatch.setitem(codings._DECODERS, name, counted)
    with pytest.raises(UndecodableBody) as caught:
        list(decode(pieces, names))
    return sum(made), caught.value


@pytest.mark.parametrize(
    "names", [["gzip"] * 3, ["br"] * 3, ["zstd"] * 3, ["deflate", "gzip", "br"]], ids=str
)
def test_layers_of_codings_share_one_bound(monkeypatch, names):
    bomb = b"".join(encode((bytes(1024 * 1024) for _ in range(64)), names))
    made, error = work_of(monkeypatch, names, [bomb])
    assert isinstance(error, ExpandsTooFar)
    assert made <= codings.RATIO_FREE + codings.PIECE * 2


def test_what_is_made_between_two_layers_counts(monkeypatch):
    nameless = b"\x1f\x8b\x08\x08" + bytes(6)  # a member whose name has no end
    body = b"".join(encode([nameless, b"x" * 32 * 1024 * 1024], ["gzip"]))
    made, error = work_of(monkeypatch, ["gzip", "gzip"], [body])
    assert isinstance(error, ExpandsTooFar)
    assert made <= codings.RATIO_FREE + codings.PIECE * 2


@pytest.mark.parametrize(
    ("name", "part"),
    [("gzip", gzip.compress(b"")), ("zstd", bytes(3)), ("zstd", b"\x50\x2a\x4d\x18" + bytes(4))],
    ids=["gzip members", "zstd blocks", "zstd frames"],
)
def test_empty_parts_without_number_within_a_layer_are_a_bomb(name, part):
    start = b"\x28\xb5\x2f\xfd\x00\x58" if part == bytes(3) else b""
    body = b"".join(encode([start + part * 100_000], ["gzip"]))
    with pytest.raises(ExpandsTooFar):
        list(decode([body], [name, "gzip"]))


def test_more_layers_than_anybody_needs_are_refused_before_anything_is_decoded():
    coded = b"".join(encode([TEXT], ["gzip"] * 3))
    assert b"".join(decode([coded], ["gzip"] * 3)) == TEXT
    with pytest.raises(UnknownCoding, match="500 content codings"):
        decode(iter([]), ["gzip"] * 500)


def test_who_sent_a_bad_body_is_to_blame():
    bomb = b"".join(encode((bytes(1024 * 1024) for _ in range(64)), ["gzip"]))
    for pieces, names, status in [
        ([b"nonsense"], ["gzip"], 400),
        ([bomb], ["gzip"], 413),
        ([b"x"], ["exi"], 415),
        ([b"x"], ["gzip"] * 4, 415),
    ]:
        for of_request, expected in ((False, ("upstream", 502)), (True, ("downstream", status))):
            with pytest.raises(BodyFault) as caught:
                list(decode(pieces, names, of_request=of_request))
            assert (caught.value.side, caught.value.status) == expected


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
