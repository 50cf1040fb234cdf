"""Four times the body is about four times the work, whatever a stranger puts into it.

Each case is a name, a function that makes an input of size ``n``, and what is fed with it.
"""

import gzip
import time

import pytest

from rolo.errors import BodyFault
from rolo.proxy.hooks.documents import load_json
from rolo.proxy.hooks.sse import blocks
from rolo.proxy.hooks.transform import event_stage
from rolo.wire.charsets import Lines, charset_parameter, codec_of, one_type
from rolo.wire.content_codings import decode, encode
from rolo.wire.fields import HeaderFields

LINEAR = 9
"""Times the work of ``n`` that ``4 * n`` may take: linear is 4, quadratic 16."""
NOTHING = 0.002
"""Seconds that are too short to be compared."""


def decoded(*names):
    def function(pieces):
        try:
            for _ in decode(pieces, names):
                pass
        except BodyFault:
            pass

    return function


def lines(label):
    def function(pieces):
        try:
            for _ in Lines(pieces, codec_of(label)):
                pass
        except BodyFault:
            pass

    return function


def whole(data):
    for label in ("utf-8", "latin1", "utf-16", "shift_jis", "gb18030", "big5", "euc-kr", "euc-jp"):
        data.decode(codec_of(label).name, "surrogateescape" if "16" not in label else "replace")


def events(pieces):
    for _ in blocks(pieces):
        pass


def staged(pieces):
    for _ in event_stage(lambda event: event)(pieces):
        pass


def document(data):
    try:
        load_json(data, "utf-8")
    except BodyFault:
        pass


def fields(pairs):
    view = HeaderFields(pairs)
    view["X-A"] = "1"
    view.replace("X-B", lambda value: value + "!")
    view.remove("X-C", "X-D")
    view.setlist("X-E", view.getlist("X-B"))
    return view.items()


def by_bytes(data):
    return [data[at : at + 1] for at in range(len(data))]


ZSTD_START = b"\x28\xb5\x2f\xfd\x00\x58"
SKIPPED = b"\x50\x2a\x4d\x18" + bytes(4)

CASES = [
    ("gzip members in one piece", lambda n: [gzip.compress(b"") * 40 * n], decoded("gzip")),
    ("gzip by bytes", lambda n: by_bytes(gzip.compress(b"x") * n), decoded("gzip")),
    ("gzip, one large piece", lambda n: [gzip.compress(bytes(n * 8_000))], decoded("gzip")),
    ("deflate, empty blocks", lambda n: [b"\0\0\0\xff\xff" * 50 * n], decoded("deflate")),
    ("zstd frames", lambda n: [SKIPPED * 4 * n], decoded("zstd")),
    ("zstd, empty blocks", lambda n: [ZSTD_START + bytes(12 * n)], decoded("zstd")),
    ("zstd, a head without end", lambda n: by_bytes(b"\x28" * 4 * n), decoded("zstd")),
    (
        "br, one large piece",
        lambda n: [b"".join(encode([bytes(n * 16_000)], ["br"]))],
        decoded("br"),
    ),
    (
        "members within a layer",
        lambda n: [b"".join(encode([gzip.compress(b"") * 4 * n], ["gzip"]))],
        decoded("gzip", "gzip"),
    ),
    ("parameters", lambda n: "a/b" + ";a=b" * 20 * n, charset_parameter),
    ("media types", lambda n: ["a/b," * 50 * n], one_type),
    ("quotes of a media type", lambda n: ['a/b;"' + '\\"' * 50 * n + ","], one_type),
    ("parameters without names", lambda n: "a/b" + "; " * 20 * n, charset_parameter),
    ("spaces in front of no parameter", lambda n: "a/b;" + " " * 50 * n, charset_parameter),
    ("quotes without an end", lambda n: "a/b" + ';a="\\"' * 20 * n, charset_parameter),
    ("a quote, and parameters", lambda n: 'a/b;a="' + "\\\\;" * 20 * n, charset_parameter),
    ("a line by bytes", lambda n: by_bytes(b"x" * 40 * n), lines("utf-8")),
    ("a line of UTF-16 by bytes", lambda n: by_bytes(b"x\0" * 20 * n), lines("utf-16")),
    ("no text, in lines", lambda n: [b"\xff\n" * 100 * n], lines("shift_jis")),
    ("no text", lambda n: b"a\xff\xfe\x80" * 3 * n, whole),
    ("an event by bytes", lambda n: by_bytes(b"data: x" * 5 * n), events),
    ("an event of empty lines", lambda n: [b"data\n" * 20 * n + b"\n"], staged),
    ("an event of comments", lambda n: [b":\n" * 20 * n + b"data\n\n"], staged),
    ("events in one piece", lambda n: [b"data\n\n" * 4 * n], staged),
    ("ends of lines by bytes", lambda n: by_bytes(b"\r" * 4 * n), events),
    ("ends of lines in one piece", lambda n: [b"\r\n\r" * 3 * n], events),
    ("a time of many digits", lambda n: [b"retry:" + b"9" * 50 * n + b"\ndata\n\n"], events),
    ("a deep document", lambda n: b"[" * 100 * n, document),
    ("a number of many digits", lambda n: b"9" * 50 * n, document),
    ("a fraction of many digits", lambda n: b"0." + b"9" * 50 * n, document),
    ("fields", lambda n: [(b"X-B", b"x")] * 20 * n, fields),
]


@pytest.mark.parametrize(
    ("make", "function"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_work_grows_with_the_input_and_not_faster(make, function):
    pytest.importorskip("brotli")
    pytest.importorskip("zstandard")
    n = 400
    small, large = make(n), make(4 * n)
    # The machine may be busy at one time: any of three may show it.
    for _ in range(3):
        least, most = spent(function, small), spent(function, large)
        if most < LINEAR * max(least, NOTHING):
            return
    pytest.fail(f"{least * 1000:.1f} ms for n, {most * 1000:.1f} ms for 4 n")


def spent(function, data):
    best = float("inf")
    for _ in range(2):
        begun = time.thread_time()
        function(data)
        best = min(best, time.thread_time() - begun)
    return best
