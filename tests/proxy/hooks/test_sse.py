"""Server-sent events, taken apart and put together."""

import pytest

from rolo.errors import BodyTooLarge
from rolo.proxy.hooks.sse import MAX_EVENT, Event, blocks, event_stream, events, parse_event

STREAM = (
    b"\xef\xbb\xbfdata: first\n\n: comment\nevent: tick\ndata:1\ndata\ndata:  2\n\n"
    b":\n\nid: 7\r\nretry: 1000\r\ndata: x\r\n\r\ndata: old\r\rdata: last"
)


def splits(data):
    yield "whole", [data]
    yield "byte by byte", [data[i : i + 1] for i in range(len(data))]
    yield "in two", [data[: len(data) // 2], data[len(data) // 2 :]]


@pytest.mark.parametrize(
    "pieces", [p for _, p in splits(STREAM)], ids=[n for n, _ in splits(STREAM)]
)
def test_events_are_found_and_nothing_is_lost(pieces):
    found = list(blocks(pieces))
    assert b"".join(block.raw for block in found) == STREAM
    assert [block.event for block in found if block.event] == [
        Event("first"),
        Event("1\n\n 2", event="tick", comments=[" comment"]),
        Event("x", id="7", retry=1000),
        Event("old"),
    ]


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r\n"], ids=repr)
def test_the_last_event_needs_its_empty_line(end):
    assert list(events([b"data: x" + end])) == [Event("x")]
    assert list(events([b"data: x" + end[:1]])) == []


@pytest.mark.parametrize(
    ("event", "raw", "read"),
    [
        (Event("x"), b"data: x\n\n", Event("x")),
        (Event("a\nb\r\nc"), b"data: a\ndata: b\ndata: c\n\n", Event("a\nb\nc")),
        (
            Event("", event="e", id="", retry=5),
            b"event: e\nid: \nretry: 5\ndata: \n\n",
            Event("", event="e", id="", retry=5),
        ),
        (Event(comments=[" ping"]), b": ping\n\n", None),  # without data nothing is told
        (Event("\u00fc"), b"data: \xc3\xbc\n\n", Event("\u00fc")),
    ],
    ids=["data", "lines", "all", "comment", "unicode"],
)
def test_events_are_written_and_read_back(event, raw, read):
    assert event.to_bytes() == raw
    assert parse_event(raw) == read


def test_a_name_of_two_lines_is_refused():
    with pytest.raises(ValueError, match="one line"):
        Event("x", event="a\ndata: forged").to_bytes()


def test_an_event_without_end_is_not_held():
    with pytest.raises(BodyTooLarge):
        list(blocks(b"data: " + b"x" * 100_000 for _ in range(MAX_EVENT // 100_000 + 1)))


def test_a_stream_is_made_of_events_and_text_and_closes_its_source():
    closed = []

    def source():
        try:
            yield "one"
            yield Event("two", id="2")
        finally:
            closed.append(True)

    response = event_stream(source())
    assert response.mimetype == "text/event-stream"
    iterator = iter(response.response)
    assert next(iterator) == b"data: one\n\n"
    response.close()
    assert closed == [True]


@pytest.mark.parametrize("digits", ["9" * 5000, "9" * 16, "0" * 5000 + "7", "1 ", "\u0661"])
def test_a_time_that_is_no_number_says_nothing(digits):
    (block,) = blocks([f"retry: {digits}\ndata: x\n\n".encode()])
    assert block.event.retry == (7 if digits.endswith("7") else None)
    assert block.event.data == "x"
