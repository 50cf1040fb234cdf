"""Answers made step by step: pieces, server-sent events, pauses, and how they break."""

import pytest
from wire import Truncated, Wire, fetch

from rolo.harness import Harness, gate, lose, pause, send, some, sse, stay


@pytest.fixture
def api():
    with Harness() as api:
        yield api


def test_events_are_written_as_the_standard_says(api):
    api.get("/events").streams(
        sse("1"),
        sse("two\nlines", id="7", event="news", retry=10, comment="hello"),
        sse({"a": 1}),
        sse(comment="still here"),
    )
    answer = fetch(api.url, "/events")
    assert answer.get("content-type") == "text/event-stream"
    assert answer.body.decode() == (
        "data: 1\n\n"
        ":hello\nevent: news\nid: 7\nretry: 10\ndata: two\ndata: lines\n\n"
        'data: {"a": 1}\n\n'
        ":still here\n\n"
    )


def test_pieces_leave_when_their_step_is_taken(api):
    api.get("/x").streams(b"one", gate(), "two", gate(), some(b"three"), pause(0.001))
    with Wire(api.url) as wire:
        wire.request("GET", "/x")
        head = wire.head()
        assert wire.piece(head) == b"one"
        api.step()
        assert wire.piece(head) == b"two"
        api.step()
        assert wire.piece(head) == b"three"
    pieces = api.wait_for("GET", "/x").once().answer.pieces
    assert [piece.size for piece in pieces] == [3, 3, 5]
    assert pieces[0].at <= pieces[1].at <= pieces[2].at


def test_steps_taken_ahead_are_kept(api):
    api.step(2)
    api.get("/x").streams("a", gate(), "b", gate(), "c")
    assert fetch(api.url, "/x").body == b"abc"


def test_a_lost_client_sees_that_something_is_missing(api):
    api.get("/x").streams("some", lose(), "never")
    with pytest.raises(Truncated):
        fetch(api.url, "/x")
    record = api.received("GET", "/x").once()
    assert (record.outcome, record.answer.body) == ("aborted", b"some")


def test_a_stream_may_have_status_fields_and_trailers(api):
    api.get("/x").streams("a", status=206, headers={"X-A": "1"}, trailers={"X-Sum": "1"})
    with Wire(api.url) as wire:
        wire.request("GET", "/x")
        head = wire.head()
        assert (head.status, head.get("x-a"), head.get("trailer")) == (206, "1", "X-Sum")
        assert wire.read_until(b"\r\n\r\n").endswith(b"0\r\nX-Sum: 1\r\n\r\n")


def test_a_client_that_leaves_is_seen_to_have_left(api):
    api.get("/x").streams("a", stay())
    with Wire(api.url) as wire:
        wire.request("GET", "/x")
        head = wire.head()
        assert wire.piece(head) == b"a"
    record = api.received("GET", "/x").once().wait_ended()
    assert record.client_left
    assert record.outcome == "client_left"


def test_steps_of_websockets_are_none_of_a_stream(api):
    with pytest.raises(TypeError, match="no step of a stream"):
        api.get("/x").streams(send("x"))
    api.reset()
