"""Secrets are taken out, and nothing else changes."""

import gzip
import json
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rolo.har import (
    REDACTED,
    Answer,
    Entry,
    Interim,
    Message,
    Pieces,
    Recording,
    Redaction,
    write_har,
)
from rolo.har.content import InMemory
from rolo.har.json_paths import locate, parse_path
from rolo.har.patterns import values_at
from rolo.har.redact import apply, moved


def exchange(body=b"", kind="application/json", *, sent=b"", pieces=(), fields=()):
    return Entry(
        "POST",
        "http://h/",
        [("Content-Type", kind)],
        InMemory(sent),
        answer=Answer(
            200, "OK", [("Content-Type", kind), *fields], InMemory(body), pieces=Pieces(pieces)
        ),
    )


def redacted(entry, **names):
    Redaction(**names).entry(entry)
    return entry


# --- heads and URLs


def test_what_is_always_a_secret():
    entry = redacted(
        Entry(
            "GET",
            "https://ada:pw@h/x?a=1",
            [
                ("Authorization", "Bearer abc.def"),
                ("proxy-authorization", "abc"),
                ("Cookie", "a=1; b=2=3;c"),
                ("X-Api-Key", "k"),
                ("Accept", "*/*"),
            ],
            answer=Answer(
                200,
                headers=[("Set-Cookie", "s=1; Path=/; HttpOnly"), ("Set-Cookie", "t=2")],
            ),
        )
    )
    assert entry.url == "https://REDACTED@h/x?a=1"
    assert entry.headers == [
        ("Authorization", "Bearer REDACTED"),
        ("proxy-authorization", "REDACTED"),
        ("Cookie", "a=REDACTED; b=REDACTED; REDACTED"),
        ("X-Api-Key", "REDACTED"),
        ("Accept", "*/*"),
    ]
    assert entry.answer.headers == [
        ("Set-Cookie", "s=REDACTED; Path=/; HttpOnly"),
        ("Set-Cookie", "t=REDACTED"),
    ]


def test_named_fields_of_every_head():
    entry = Entry("GET", "http://h/", [("X-Me", "1")], trailers=[("x-me", "2")])
    entry.interims = [Interim(0.0, 103, [("X-Me", "3")])]
    entry.answer = Answer(200, headers=[("X-Me", "4")], trailers=[("X-Me", "5"), ("X-You", "6")])
    redacted(entry, headers=["X-ME"])
    assert entry.headers == [("X-Me", REDACTED)]
    assert entry.trailers == [("x-me", REDACTED)]
    assert entry.interims[0].headers == [("X-Me", REDACTED)]
    assert entry.answer.headers == [("X-Me", REDACTED)]
    assert entry.answer.trailers == [("X-Me", REDACTED), ("X-You", "6")]


def test_query_parameters_wherever_a_url_stands():
    entry = Entry("GET", "http://h/x?a=1&to%6ben=x&token=y&b=%20", [("Referer", "/r?token=1")])
    entry.answer = Answer(302, headers=[("Location", "http://h/y?token=1#f")])
    redacted(entry, query=["token"])
    assert entry.url == "http://h/x?a=1&to%6ben=REDACTED&token=REDACTED&b=%20"
    assert entry.headers == [("Referer", "/r?token=REDACTED")]
    assert entry.answer.headers == [("Location", "http://h/y?token=REDACTED#f")]


# --- paths


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("$.a", ["1"]),
        ("a", ["1"]),
        ("$.b.c[1]", ["3"]),
        ("b['c'][0]", ["2"]),
        ("$.b.c[*]", ["2", "3"]),
        ("$.b.*", ["[2, 3]", '{"a": 4}']),
        ("$..a", ["1", "4"]),
        ("$..c[1]", ["3"]),
        ("$.none", []),
        ("$[0]", []),
        ("$.\u00fc", ['"x\\"y"']),
    ],
)
def test_where_a_path_leads(path, found):
    text = '{"a": 1, "b": {"c": [2, 3], "d": {"a": 4}}, "\\u00fc": "x\\"y"}'
    spans = locate(text.encode(), [parse_path(path)])
    assert [text[start:end] for start, end in spans] == found
    assert [json.loads(each) for each in found] == values_at(json.loads(text), parse_path(path))


@pytest.mark.parametrize("wrong", ["", "$", "a..", "a[", "a[x]", "a b", "[-1]"])
def test_what_is_no_path(wrong):
    with pytest.raises(ValueError, match="not a JSON path"):
        Redaction(json=[wrong])


@pytest.mark.parametrize("wrong", [b"", b"{", b"[1,]", b'{"a" 1}', b"1 2", b"nul", b'"a', b"\xff"])
def test_what_is_no_json(wrong):
    with pytest.raises(ValueError, match="not JSON"):
        locate(wrong, [parse_path("a")])


QUICK = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
texts = st.text('ab é"\\\U0001f600\0', max_size=4)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=20,
)


@QUICK
@given(json_values, st.booleans(), st.sampled_from(["$..a", "a", "$.a[*]", "$.*.b", "$..[0]"]))
def test_after_a_redaction_every_place_of_a_path_holds_nothing_else(value, ascii_, path):
    data = json.dumps(value, ensure_ascii=ascii_).encode("utf-8", "surrogatepass")
    steps = parse_path(path)
    spans = locate(data, [steps])
    result = apply(data, [(start, end, b'"REDACTED"') for start, end in spans])
    assert all(each == REDACTED for each in values_at(json.loads(result), steps)), result
    if not values_at(value, steps):
        assert result == data


def test_the_work_grows_with_the_document_only():
    def seconds(count):
        document = (b'{"a":' * count) + b"1" + b"}" * count + b" " * count
        started = time.process_time()
        locate(document, [parse_path("$..b.c"), parse_path("$..a.b")])
        return time.process_time() - started

    seconds(100)
    assert min(seconds(4_000) for _ in range(3)) < 12 * min(seconds(1_000) for _ in range(3))


# --- bodies


def test_json_bodies_keep_everything_else_byte_for_byte():
    body = b'{ "token":  "abc",\n "items": [{"key": {"x": 1}}, {"key": null}], "n": 1.50 }'
    entry = redacted(exchange(body, sent=body), json=["token", "items[*].key"])
    wanted = (
        b'{ "token":  "REDACTED",\n "items": [{"key": "REDACTED"}, {"key": "REDACTED"}],'
        b' "n": 1.50 }'
    )
    assert entry.answer.body.read() == entry.body.read() == wanted


def test_pieces_keep_their_times_and_cover_the_body():
    pieces = [(0.1, 5), (0.2, 10), (0.3, 9)]
    entry = redacted(exchange(b'{"a": "0123456789", "b":1}'[:24] + b"}", pieces=pieces), json=["a"])
    assert entry.comment  # that was no JSON: nothing of it stays
    assert entry.answer.body is None
    body = b'{"a":"0123456789","b":1}'
    entry = redacted(exchange(body, pieces=pieces), json=["a"])
    assert entry.answer.body.read() == b'{"a":"REDACTED","b":1}'
    assert list(entry.answer.pieces) == [(0.1, 5), (0.3, 17)]


@QUICK
@given(
    st.lists(st.integers(1, 9)),
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.binary(max_size=6))),
)
def test_moved_pieces_cover_what_the_edits_make(sizes, gaps):
    data = bytes(sum(sizes))
    edits, at = [], 0
    for gap, length, text in gaps:
        if at + gap + length > len(data):
            break
        edits.append((at + gap, at + gap + length, text))
        at += gap + length
    result = moved(Pieces((float(n), size) for n, size in enumerate(sizes)), edits)
    if sizes:
        assert sum(piece.size for piece in result) == len(apply(data, edits))
    assert all(piece.size > 0 for piece in result)
    assert [piece.at for piece in result] == sorted(piece.at for piece in result)


def test_a_compressed_body_is_redacted_and_then_plain():
    body = gzip.compress(b'{"token": "abc"}')
    fields = [("Content-Encoding", "gzip")]
    entry = redacted(exchange(body, fields=fields, pieces=[(0.5, len(body))]), json=["token"])
    assert entry.answer.is_decoded
    assert entry.answer.body.read() == b'{"token": "REDACTED"}'
    assert list(entry.answer.pieces) == [(0.5, 21)]


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b'{"token": "abc"', []),
        (b"\x1f\x8b broken", [("Content-Encoding", "gzip")]),
        (b"whatever", [("Content-Encoding", "unheard-of")]),
    ],
)
def test_a_body_that_cannot_be_searched_is_left_out(body, fields):
    entry = redacted(exchange(body, fields=fields, sent=b"{"), json=["token"])
    assert entry.answer.body is None
    assert entry.body is None
    assert "the answer's body is left out: " in entry.comment
    assert "the request's body is left out: not JSON from byte 1 on" in entry.comment


def test_what_is_of_another_kind_is_left_alone():
    entry = redacted(exchange(b'{"token": "', "text/plain"), json=["token"])
    assert entry.answer.body.read() == b'{"token": "'


def test_what_is_replaced_goes_with_the_piece_in_which_it_ends():
    edits = [(2, 4, b""), (10, 20, b"REDACTED"), (25, 26, b"xyz")]
    pieces = Pieces([(0.1, 5), (0.2, 7), (0.3, 3), (0.4, 9), (0.5, 6)])
    assert list(moved(pieces, edits)) == [(0.1, 3), (0.2, 5), (0.4, 12), (0.5, 8)]


@pytest.mark.parametrize(
    "kind", ["application/x-ndjson", "application/ndjson", "application/jsonl"]
)
def test_lines_of_json(kind):
    body = b'{"a": 1}\n{"a": 2, "b": 3}\n\n'
    entry = redacted(exchange(body, kind), json=["a"])
    assert entry.answer.body.read() == b'{"a": "REDACTED"}\n{"a": "REDACTED", "b": 3}\n\n'


def test_data_of_events():
    body = b'id: 1\ndata: {"a": 1}\n\ndata: [DONE]\n\r\n: x\r\ndata:{"a":\r\ndata: "x"}\r\n\r\n'
    entry = redacted(exchange(body, "text/event-stream"), json=["a"])
    assert entry.answer.body.read() == (
        b'id: 1\ndata: {"a": "REDACTED"}\n\ndata: [DONE]\n\r\n: x\r\ndata:{"a": "REDACTED"}\r\n\r\n'
    )


def test_messages():
    entry = Entry("GET", "ws://h/", messages=[])
    entry.messages = [
        Message(0.0, "client", '{"a": "é", "b": 1}'),
        Message(0.0, "server", "no json"),
        Message(0.0, "server", b'{"a": 1}'),
    ]
    redacted(entry, json=["a"])
    assert [each.data for each in entry.messages] == [
        '{"a": "REDACTED", "b": 1}',
        "no json",
        b'{"a": 1}',
    ]


def test_fields_of_forms():
    entry = redacted(
        exchange(kind="application/x-www-form-urlencoded", sent=b"a=1&pass%77ord=x%20y&password="),
        form=["password"],
    )
    assert entry.body.read() == b"a=1&pass%77ord=REDACTED&password=REDACTED"


def test_parts_of_multipart_forms():
    def body(value):
        return (
            b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
            b"--b\r\nContent-Type: text/plain\r\n"
            b'Content-Disposition: form-data; name="password"\r\n\r\n%s\r\n--b--\r\n' % value
        )

    kind = "multipart/form-data; boundary=b"
    entry = redacted(exchange(kind=kind, sent=body(b"my\r\nsecret")), form=["password"])
    assert entry.body.read() == body(b"REDACTED")
    entry = redacted(exchange(kind="multipart/form-data", sent=body(b"s")), form=["password"])
    assert (entry.body, "without a boundary" in entry.comment) == (None, True)


def test_nothing_of_a_secret_is_in_the_file(tmp_path):
    secret = "s3cr3t"
    body = json.dumps({"token": secret, "list": [{"token": secret}]}).encode()
    entry = exchange(body, sent=body, fields=[("Set-Cookie", f"a={secret}")])
    entry.url = f"http://u:{secret}@h/?token={secret}"
    entry.headers += [("Cookie", f"a={secret}"), ("Authorization", f"Basic {secret}")]
    redacted(entry, query=["token"], json=["$..token"])
    write_har(Recording([entry]), tmp_path / "x.har")
    assert secret not in (tmp_path / "x.har").read_text()
