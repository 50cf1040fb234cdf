"""Reading bodies off the wire: whole, byte by byte, with bytes left over, and broken."""

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolo import errors
from rolo.wire.http1 import (
    LAST_CHUNK,
    Framing,
    HeadLimits,
    body_decoder,
    encode_chunk,
    encode_last_chunk,
)


def chunked(side="response", limits=HeadLimits()):  # noqa: B008
    return body_decoder(Framing.CHUNKED, None, limits, side=side)


def feed(decoder, data, sizes=None):
    """ThreadReader ``data`` in pieces of the given size; return the body."""
    size = sizes or max(1, len(data))
    pieces = []
    for i in range(0, len(data), size):
        pieces += decoder.feed(data[i : i + size])
    assert b"" not in pieces
    return b"".join(pieces)


BODY = b'5\r\nhello\r\n1;ext="a b"\r\n \r\n00A\r\n0123456789\r\n0\r\nX-Sum: 1\r\nx-sum:2 \r\n\r\n'


@pytest.mark.parametrize("size", [None, 1, 2, 3, 5, 7, 11])
def test_a_chunked_body_is_the_same_however_it_is_cut(size):
    decoder = chunked()
    assert feed(decoder, BODY + b"GET", size) == b"hello 0123456789"
    assert decoder.done
    assert decoder.leftover == b"GET"
    assert decoder.trailers == [(b"X-Sum", b"1"), (b"x-sum", b"2")]
    decoder.eof()


@pytest.mark.parametrize("size", [None, 1, 4])
def test_a_body_with_a_length_is_the_same_however_it_is_cut(size):
    decoder = body_decoder(Framing.LENGTH, 5)
    assert feed(decoder, b"helloGET /", size) == b"hello"
    assert decoder.done
    assert decoder.leftover == b"GET /"
    decoder.eof()


def test_a_body_until_the_end_of_the_connection():
    decoder = body_decoder(Framing.CLOSE, None)
    assert feed(decoder, b"hello", 2) == b"hello"
    assert not decoder.done
    decoder.eof()
    assert decoder.done


@pytest.mark.parametrize(
    "decoder", [body_decoder(Framing.NONE, None), body_decoder(Framing.LENGTH, 0)]
)
def test_no_body_is_done_at_once(decoder):
    assert decoder.done
    assert decoder.feed(b"GET") == []
    assert decoder.leftover.startswith(b"GET")


def test_data_that_is_all_body_is_not_copied():
    data = b"x" * 1000
    assert body_decoder(Framing.LENGTH, 1000).feed(data)[0] is data
    assert body_decoder(Framing.CLOSE, None).feed(data)[0] is data
    decoder = chunked()
    decoder.feed(b"1000\r\n")
    assert decoder.feed(data)[0] is data


@pytest.mark.parametrize(
    "data",
    [
        b"+5\r\nhello\r\n",
        b"-5\r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b" 5\r\nhello\r\n",
        b"5 \r\nhello\r\n",
        b"5_0\r\nhello\r\n",
        b"5\nhello\r\n",
        b"5\r\nhello\n",
        b"5\r\nhello!\r\n",
        b"5\r\nhello\r\r\n",
        b"5\r\rhello",
        b"\r\n5\r\nhello\r\n",
        b";a=b\r\nhello",
        b"5;a\nb\r\nhello\r\n",
        b"5;a\rb\r\nhello\r\n",
        b"5;a\0\r\nhello\r\n",
        b"g\r\n",
        b"ffffffffffffffff\r\n",
        b"8000000000000000\r\n",
        b"10000000000000005\r\nhello\r\n",
        b"5;" + b"a" * 5000,
        (b"1;" + b"a" * 2000 + b"\r\nx\r\n") * 20,
        b"0\r\nX : 1\r\n\r\n",
        b"0\r\n X: 1\r\n\r\n",
        b"0\r\nX: 1\n\r\n",
        b"0\r\nX: 1\r\n b\r\n\r\n",
        b"0\r\n\n",
        b"0\r\nnonsense\r\n\r\n",
        b"0\n\n",
        b"0\r\nX: " + b"a" * 70000,
    ],
    ids=lambda data: ascii(data[:20])[2:-1],
)
@pytest.mark.parametrize("size", [None, 1])
def test_broken_chunks_are_refused(data, size):
    with pytest.raises(errors.BadResponse):
        feed(chunked(), data, size)
    with pytest.raises(errors.RoloError) as caught:
        feed(chunked("request"), data, size)
    assert caught.value.side == "downstream"
    assert caught.value.status == 400


# What stands in the body may have so many bytes and no more, less what is around it.
BOUNDED = {
    "the line of a chunk": (4096, lambda n: b"1;" + b"a" * (n - 4) + b"\r\nx\r\n"),
    "the extensions of all chunks": (
        16 * 1024,
        lambda n: (b"1;" + b"a" * 1020 + b"\r\nx\r\n") * 15
        + b"1;" + b"a" * (n - 15 * 1024 - 4) + b"\r\nx\r\n",
    ),
    "trailers": (300, lambda n: b"0\r\nX: " + b"a" * (n - 9) + b"\r\n\r\n"),
}  # fmt: skip


@pytest.mark.parametrize("size", [None, 1])
@pytest.mark.parametrize("name", BOUNDED)
def test_what_surrounds_the_chunks_may_be_as_large_as_its_bound_and_no_larger(name, size):
    bound, data = BOUNDED[name]
    feed(chunked(limits=HeadLimits(max_head=300)), data(bound), size)
    with pytest.raises(errors.BadResponse):
        feed(chunked(limits=HeadLimits(max_head=300)), data(bound + 1), size)


def test_trailers_may_be_as_many_as_fields_of_a_head_and_no_more():
    limits = HeadLimits(max_fields=3)
    feed(chunked("request", limits), b"0\r\n" + b"X: 1\r\n" * 3 + b"\r\n")
    for side, error in (("request", errors.HeadTooLarge), ("response", errors.BadResponse)):
        with pytest.raises(error):
            feed(chunked(side, limits), b"0\r\n" + b"X: 1\r\n" * 4 + b"\r\n")


def test_a_chunk_may_have_63_bits():
    feed(chunked(), b"7fffffffffffffff\r\nx")
    with pytest.raises(errors.BadResponse):
        feed(chunked(), b"8000000000000000\r\nx")


@pytest.mark.parametrize("cut", range(1, len(BODY)))
def test_a_connection_that_ends_early_is_an_error(cut):
    for side, error in (
        ("request", errors.ClientDisconnected),
        ("response", errors.BodyInterrupted),
    ):
        decoder = chunked(side)
        decoder.feed(BODY[:cut])
        with pytest.raises(error):
            decoder.eof()


def test_a_short_body_with_a_length_is_an_error():
    decoder = body_decoder(Framing.LENGTH, 5, side="request")
    decoder.feed(b"hell")
    with pytest.raises(errors.ClientDisconnected):
        decoder.eof()


def test_trailers_that_would_change_framing_or_routing_are_dropped():
    decoder = chunked()
    decoder.feed(b"0\r\nContent-Length: 5\r\nhost: x\r\nX: 1\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert decoder.trailers == [(b"X", b"1")]


def test_chunks_are_written_so_that_they_can_be_read():
    assert encode_chunk(b"") == b""
    assert encode_last_chunk() == encode_last_chunk([]) == LAST_CHUNK
    decoder = chunked()
    data = encode_chunk(b"a" * 300) + encode_last_chunk([(b"X", b"1")])
    assert feed(decoder, data) == b"a" * 300
    assert decoder.trailers == [(b"X", b"1")]
    with pytest.raises(ValueError, match="CR"):
        encode_last_chunk([(b"X", b"1\r\n\r\nGET")])


@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=6),
    st.lists(st.integers(1, 30), min_size=1, max_size=5),
    st.binary(max_size=5),
)
def test_any_body_in_any_chunks_and_cuts_is_read_back(body, cuts, rest):
    data = b"".join(map(encode_chunk, body)) + LAST_CHUNK + rest
    decoder, pieces, position, turn = chunked(), [], 0, 0
    while position < len(data):
        size = cuts[turn % len(cuts)]
        pieces += decoder.feed(data[position : position + size])
        position, turn = position + size, turn + 1
    assert b"".join(pieces) == b"".join(body)
    assert decoder.done
    assert decoder.leftover == rest


small_chunks = st.lists(
    st.tuples(
        st.binary(min_size=1, max_size=18), st.sampled_from([b"%x", b"%X", b"0%x", b"%016x"])
    ),
    min_size=30,
    max_size=60,
)


@given(
    small_chunks, st.sampled_from([b"", b"1\r\nab\r\n", b"2\r\na\r\n", b"1\r\nab", b"x", b"1;a\n"])
)
def test_many_small_chunks_are_read_like_few(chunks, broken):
    data = b"".join(size % len(piece) + b"\r\n" + piece + b"\r\n" for piece, size in chunks)
    body = b"".join(piece for piece, _ in chunks)
    assert feed(chunked(), data) == feed(chunked(), data, 1) == body
    data += broken or LAST_CHUNK
    if broken:
        with pytest.raises(errors.BadResponse):
            feed(chunked(), data)
        return
    decoder = chunked()
    assert feed(decoder, data + b"rest") == body
    assert decoder.done
    assert decoder.leftover == b"rest"


fragments = st.lists(
    st.sampled_from(
        [b"0", b"1", b"3", b"a", b"F", b"\r\n", b"\r", b"\n", b" ", b";", b"x", b"X: 1", b"abc",
         b"1\r\na\r\n", b"0\r\n\r\n", b"0\r\n", b"\0", b"+", b"\t"]
    ),
    max_size=12,
)  # fmt: skip


@given(fragments, st.integers(1, 9))
def test_random_chunk_streams_mean_the_same_as_for_h11_and_in_any_cut(parts, size):
    data = b"".join(parts)
    ours = _read_ours(data, len(data) or 1)
    assert _read_ours(data, size) == ours
    theirs = h11.Connection(h11.SERVER)
    theirs.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + data)
    theirs.next_event()
    body = b""
    try:
        while not isinstance(event := theirs.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return
            body += bytes(event.data)
    except h11.RemoteProtocolError:
        return
    if ours is not None and ours[1]:
        assert ours[0] == body
        assert ours[2] == theirs.trailing_data[0]


def _read_ours(data, size):
    decoder = chunked("request")
    try:
        body = feed(decoder, data, size)
    except errors.DownstreamError:
        return None
    return body, decoder.done, decoder.leftover
