"""The frame codec: compared with wsproto where both accept, and by its own rules."""

import itertools
import os
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websocket_origin import BINARY, CLOSE, PING, PONG, TEXT, close_payload, frame
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, TextMessage
from wsproto.events import Ping as WsprotoPing
from wsproto.events import Pong as WsprotoPong

from rolo.wire import masking
from rolo.wire.close_codes import is_sendable
from rolo.wire.permessage_deflate import Deflate, Parameters, accept_offer, accepted_by_server
from rolo.wire.websocket_frames import (
    Close,
    FrameReader,
    Ping,
    Pong,
    encode_close,
    encode_message,
    encode_ping,
    encode_pong,
)

KEY = b"abcd"

LONG = st.integers(0, 255).map(lambda byte: bytes([byte]) * 70_000)
payloads = st.one_of(st.text(max_size=200), st.binary(max_size=200), LONG)
pieces = st.lists(
    st.one_of(
        st.tuples(st.just("message"), payloads, st.lists(st.integers(0, 200), max_size=3)),
        st.tuples(st.just("ping"), st.binary(max_size=125)),
        st.tuples(st.just("pong"), st.binary(max_size=125)),
    ),
    max_size=8,
)


def wire_of(piece, key):
    """The frames of one piece, and what they mean."""
    if piece[0] == "ping":
        return frame(PING, piece[1], key=key), [Ping(piece[1])]
    if piece[0] == "pong":
        return frame(PONG, piece[1], key=key), [Pong(piece[1])]
    _, message, cuts = piece
    raw = message.encode() if isinstance(message, str) else message
    opcode = TEXT if isinstance(message, str) else BINARY
    edges = [0, *sorted(min(cut, len(raw)) for cut in cuts), len(raw)]
    parts = [raw[a:b] for a, b in itertools.pairwise(edges)]
    frames = [
        frame(0 if n else opcode, part, key=key, final=n == len(parts) - 1)
        for n, part in enumerate(parts)
    ]
    return b"".join(frames), [message]


def fed(reader, data):
    """All that ``data`` completes."""
    events = reader.feed(data)
    while reader.more:
        events += reader.feed(b"")
    return events


def wsproto_reads(connection, data):
    connection.receive_data(data)
    found, parts = [], []
    for event in connection.events():
        if isinstance(event, TextMessage | BytesMessage):
            parts.append(event.data)
            if event.message_finished:
                whole = parts[0][:0].join(parts)
                found.append(whole if isinstance(whole, str) else bytes(whole))
                parts = []
        elif isinstance(event, WsprotoPing):
            found.append(Ping(bytes(event.payload)))
        elif isinstance(event, WsprotoPong):
            found.append(Pong(bytes(event.payload)))
    return found


@given(pieces, st.booleans(), st.data())
def test_what_is_read_is_what_wsproto_reads_however_it_is_cut(traffic, client, data):
    key = None if client else KEY
    wired = b"".join(wire_of(piece, key)[0] for piece in traffic)
    meant = [event for piece in traffic for event in wire_of(piece, key)[1]]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wired)), max_size=6)))
    reader = FrameReader(client=client)
    found = []
    for start, end in zip([0, *cuts], [*cuts, len(wired)], strict=True):
        found += fed(reader, wired[start:end])
    assert reader.failure is None
    assert found == meant
    kind = ConnectionType.CLIENT if client else ConnectionType.SERVER
    assert wsproto_reads(Connection(kind), wired) == meant


@given(st.lists(payloads, max_size=6), st.booleans())
def test_what_is_written_is_read_by_wsproto(messages, client):
    wired = b"".join(b"".join(encode_message(m, client=client)) for m in messages)
    kind = ConnectionType.SERVER if client else ConnectionType.CLIENT
    assert wsproto_reads(Connection(kind), wired) == messages


@given(st.lists(st.one_of(st.text(), st.binary()), max_size=6), st.booleans(), st.booleans())
def test_deflated_messages_come_back(messages, takeover, client):
    parameters = Parameters(server_takeover=takeover, client_takeover=takeover)
    writer = Deflate(parameters, client=client)
    reader = FrameReader(client=not client, deflate=Deflate(parameters, client=not client))
    found = []
    for message in messages:
        for part in encode_message(message, client=client, deflate=writer):
            found += fed(reader, part)
    assert found == messages


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
def test_masking_is_the_same_with_and_without_c(data, key):
    expected = bytes(byte ^ key[n % 4] for n, byte in enumerate(data))
    assert masking.mask_in_python(data, key) == expected
    assert bytes(masking.apply_mask(memoryview(bytearray(data)), key)) == expected


def test_keys_are_never_used_twice_and_not_shared_with_a_child():
    keys = [masking.fresh_key() for _ in range(2000)]
    assert len(set(keys)) > 1990
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, masking.fresh_key())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reading, 4)
    os.close(reading)
    os.close(writing)
    assert theirs not in [masking.fresh_key() for _ in range(300)]


@given(st.integers(0, 65535))
def test_close_codes_that_are_read_are_those_that_may_be_sent(code):
    reader = FrameReader(client=True)
    events = reader.feed(frame(CLOSE, close_payload(code, "x")))
    if is_sendable(code):
        assert events == [Close(code, "x")]
    else:
        assert (events, reader.failure.code) == ([], 1002)


@pytest.mark.parametrize(
    ("code", "reason", "payload"),
    [
        (None, "ignored", b""),
        (1005, "ignored", b""),
        (1000, "", b"\x03\xe8"),
        (4999, "caf\xe9", b"\x13\x87caf\xc3\xa9"),
        (1006, "never sent", b"\x03\xf3never sent"),
        (1000, "\xe9" * 62, b"\x03\xe8" + b"\xc3\xa9" * 61),
    ],
)
def test_close_frames(code, reason, payload):
    assert encode_close(code, reason, client=False) == frame(CLOSE, payload)


def test_control_frames():
    assert encode_ping(b"x" * 125, client=False) == frame(PING, b"x" * 125)
    assert encode_pong(b"", client=False) == frame(PONG, b"")
    assert FrameReader(client=False).feed(encode_ping(b"a", client=True)) == [Ping(b"a")]


VIOLATIONS = {
    "unmasked": (1002, frame(TEXT, b"x")),
    "reserved bit": (1002, frame(TEXT, b"x", key=KEY, reserved=4)),
    "opcode 3": (1002, frame(3, b"x", key=KEY)),
    "opcode 15": (1002, frame(15, b"x", key=KEY)),
    "fragmented close": (1002, frame(CLOSE, b"", key=KEY, final=False)),
    "long ping": (1002, frame(PING, b"x" * 126, key=KEY)),
    "continuation of nothing": (1002, frame(0, b"x", key=KEY)),
    "text within text": (
        1002,
        frame(TEXT, b"x", key=KEY, final=False) + frame(TEXT, b"y", key=KEY),
    ),
    "length of two bytes for 1": (1002, b"\x81\xfe\x00\x01" + KEY + b"x"),
    "length of eight bytes for 126": (1002, b"\x81\xff" + (126).to_bytes(8, "big") + KEY),
    "length with the first bit": (1002, b"\x81\xff" + b"\x80" + bytes(7) + KEY),
    "close of one byte": (1002, frame(CLOSE, b"x", key=KEY)),
    "close reason": (1007, frame(CLOSE, b"\x03\xe8\xff", key=KEY)),
    "text": (1007, frame(TEXT, b"\xed\xa0\x80", key=KEY)),
    "text over two frames": (
        1007,
        frame(TEXT, b"\xc3", key=KEY, final=False) + frame(0, b"\x28", key=KEY),
    ),
    "text cut short": (1007, frame(TEXT, b"ok\xf0\x9f", key=KEY)),
    "too big": (1009, frame(BINARY, b"x" * 1001, key=KEY)),
    "too big in parts": (
        1009,
        frame(BINARY, b"x" * 600, key=KEY, final=False) + frame(0, b"x" * 401, key=KEY),
    ),
}


@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "byte by byte"])
@pytest.mark.parametrize("name", VIOLATIONS)
def test_violations_end_the_reading_after_what_came_before(name, bytewise):
    code, wired = VIOLATIONS[name]
    wired = frame(TEXT, "before", key=KEY) + wired + frame(TEXT, "after", key=KEY)
    reader = FrameReader(client=False, max_message=1000)
    step = 1 if bytewise else len(wired)
    events = [e for n in range(0, len(wired), step) for e in reader.feed(wired[n : n + step])]
    assert events == ["before"]
    assert reader.failure.code == code
    assert reader.feed(frame(TEXT, "more", key=KEY)) == []


@pytest.mark.parametrize(
    ("codes", "sendable"),
    [
        ((1000, 1003, 1007, 1014, 3000, 4999), True),
        ((0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535), False),
    ],
)
def test_which_codes_may_be_sent(codes, sendable):
    assert {is_sendable(code) for code in codes} == {sendable}


def test_a_reader_that_was_dropped_has_nothing_more():
    reader = FrameReader(client=True, max_message=10**6)
    reader.feed(frame(BINARY, b"x" * 100) * 4000)
    assert reader.more
    reader.drop()
    assert not reader.more


def test_too_big_is_known_by_the_header_alone():
    reader = FrameReader(client=True, max_message=1000)
    reader.feed(b"\x82\x7e\x03\xe9")
    assert reader.failure.code == 1009


@pytest.mark.parametrize("cuts", [[], [10], [3, 10, 11]], ids=["whole", "two", "four"])
@pytest.mark.parametrize("deflate", [False, True], ids=["plain", "deflated"])
def test_a_message_may_be_as_large_as_the_limit_and_no_larger(deflate, cuts):
    """However it is cut, and measured when it is inflated."""
    for size in (1000, 1001):
        message = (bytes(range(256)) * 4)[:size]
        data = deflated(message) if deflate else message
        reader = FrameReader(
            client=True,
            max_message=1000,
            deflate=Deflate(Parameters(), client=True) if deflate else None,
        )
        edges = [0, *cuts, len(data)]
        parts = [data[a:b] for a, b in itertools.pairwise(edges)]
        events = []
        for number, part in enumerate(parts):
            opcode, reserved = (0, 0) if number else (BINARY, 4 * deflate)
            events += fed(
                reader, frame(opcode, part, reserved=reserved, final=number == len(parts) - 1)
            )
        if size == 1000:
            assert (events, reader.failure) == ([message], None)
        else:
            assert (events, reader.failure.code) == ([], 1009)


def test_what_follows_a_close_is_not_read():
    reader = FrameReader(client=True)
    wired = frame(CLOSE, close_payload(1000)) + frame(TEXT, "x") + b"\xff\xff"
    assert reader.feed(wired) == [Close(1000, "")]
    assert reader.failure is None


@pytest.mark.parametrize("fragmented", [False, True])
def test_a_bomb_is_not_inflated(fragmented):
    data = deflated(bytes(200 * 1024 * 1024))
    reader = FrameReader(
        client=True, max_message=1024 * 1024, deflate=Deflate(Parameters(), client=True)
    )
    tracemalloc.start()
    half = len(data) // 2 if fragmented else len(data)
    reader.feed(frame(BINARY, data[:half], reserved=4, final=not fragmented))
    if fragmented:
        reader.feed(frame(0, data[half:]))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert reader.failure.code == 1009
    assert peak < 8 * 1024 * 1024


@pytest.mark.parametrize("fragmented", [False, True])
def test_a_message_may_expand_250_times_beyond_its_first_mebibyte(fragmented):
    def read(message):
        data = deflated(message)
        half = len(data) // 2 if fragmented else len(data)
        reader = FrameReader(client=True, deflate=Deflate(Parameters(), client=True))
        events = reader.feed(frame(BINARY, data[:half], reserved=4, final=not fragmented))
        if fragmented:
            events += reader.feed(frame(0, data[half:]))
        return events, reader.failure and reader.failure.code

    free, noise = bytes(1024 * 1024), os.urandom(50_000)
    assert read(free) == ([free], None)
    assert read(free + b"x") == ([], 1009)
    dense = noise + free * 12  # over 50 KB on the wire
    assert read(dense) == ([dense], None)
    assert read(noise + free * 16) == ([], 1009)


def test_a_message_may_have_so_many_final_blocks():
    final = b"\x03\x00"
    reader = FrameReader(client=True, deflate=Deflate(Parameters(), client=True))
    for _ in range(3):  # counted for each message, over its fragments
        few = frame(BINARY, final * 40, reserved=4, final=False) + frame(0, final * 24 + b"\0")
        assert reader.feed(few) == [b""]
    assert reader.feed(frame(BINARY, final * 65, reserved=4)) == []
    assert reader.failure.code == 1007


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_tiny_fragments_are_joined_as_they_come(opcode):
    count = 50_000
    data = frame(opcode, b"ab", final=False) + frame(0, b"ab", final=False) * count
    reader = FrameReader(client=True)
    tracemalloc.start()
    for start in range(0, len(data), 4096):
        reader.feed(data[start : start + 4096])
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 2 * 2 * count
    assert 2 * count < reader.held <= 2 * count + 6
    whole = "ab" * (count + 1)
    assert reader.feed(frame(0, b"")) == [whole if opcode == TEXT else whole.encode()]
    assert reader.held == 0


def test_no_more_is_read_at_once_than_may_be_held():
    """A read of 256 KiB may be thousands of messages, and each of them a mebibyte."""
    deflate = Deflate(Parameters(server_takeover=False), client=True)
    bomb = frame(BINARY, deflated(bytes(1024 * 1024)), reserved=4)
    for wired in (bomb * 50, frame(TEXT, b"") * 50_000):
        reader = FrameReader(client=True, deflate=deflate)
        events = reader.feed(wired)
        assert sum(len(event) + 64 for event in events) <= 256 * 1024 + 1024 * 1024 + 64
        turns = 1
        while reader.more:
            events += reader.feed(b"")
            turns += 1
        assert len(events) in (50, 50_000)
        assert turns > 10
        assert reader.held == 0


def test_what_is_discarded_is_checked_but_not_inflated():
    reader = FrameReader(client=True, deflate=Deflate(Parameters(), client=True))
    reader.discarding = True
    wired = frame(BINARY, b"no deflated data", reserved=4, final=False)
    wired += frame(PING, b"x") + frame(0, b"", final=False) + frame(0, b"end")
    assert reader.feed(wired + frame(CLOSE, close_payload(1000))) == [Ping(b"x"), Close(1000, "")]
    assert reader.held == 0
    reader = FrameReader(client=True)
    reader.discarding = True
    reader.feed(frame(0, b"of nothing"))
    assert reader.failure.code == 1002


def test_what_is_no_deflated_data_is_1007():
    reader = FrameReader(client=True, deflate=Deflate(Parameters(), client=True))
    assert reader.feed(frame(BINARY, b"\xff\xff\xff", reserved=4)) == []
    assert reader.failure.code == 1007


def deflated(data):
    deflater = zlib.compressobj(wbits=-15)
    return (deflater.compress(data) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]


def test_a_final_block_ends_the_stream_but_not_the_message():
    """RFC 7692 section 7.2.3.4."""
    reader = FrameReader(client=True, deflate=Deflate(Parameters(), client=True))
    hello = bytes.fromhex("f348cdc9c9070000")
    assert reader.feed(frame(TEXT, hello, reserved=4)) == ["Hello"]
    assert reader.feed(frame(TEXT, bytes.fromhex("f248cdc9c90700"), reserved=4)) == ["Hello"]


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        ("permessage-deflate", "permessage-deflate"),
        ("x-other, Permessage-Deflate; client_max_window_bits", "permessage-deflate"),
        (
            "permessage-deflate; server_max_window_bits=10; client_max_window_bits=9",
            "permessage-deflate; server_max_window_bits=10; client_max_window_bits=9",
        ),
        (
            'permessage-deflate; server_no_context_takeover; client_max_window_bits="12"',
            "permessage-deflate; server_no_context_takeover; client_max_window_bits=12",
        ),
        (
            "permessage-deflate; server_max_window_bits=8, permessage-deflate",
            "permessage-deflate",
        ),
        ("permessage-deflate; unknown", None),
        ("permessage-deflate; server_max_window_bits", None),
        ("permessage-deflate; server_max_window_bits=16", None),
        ("permessage-deflate; client_max_window_bits=010", None),
        ("permessage-deflate; server_no_context_takeover=1", None),
        ("x-webkit-deflate-frame", None),
        ("", None),
    ],
)
def test_offers_of_clients(offer, answer):
    accepted = accept_offer(offer)
    assert (accepted and accepted[1]) == answer


def test_answers_of_servers():
    assert accepted_by_server("") is None
    assert accepted_by_server("permessage-deflate; client_max_window_bits=9") == Parameters(
        client_bits=9
    )
    for wrong in (
        "x-other",
        "permessage-deflate, permessage-deflate",
        "permessage-deflate; unknown",
        "permessage-deflate; client_max_window_bits=7",
    ):
        with pytest.raises(ValueError, match=r"extension|bad"):
            accepted_by_server(wrong)


def test_wsproto_reads_our_close():
    connection = Connection(ConnectionType.CLIENT)
    connection.receive_data(encode_close(4001, "b\xfce", client=False))
    (event,) = connection.events()
    assert event == CloseConnection(4001, "b\xfce")
