"""Who answers, as one switch: captured, replayed, and compared with what was recorded."""

import itertools
import json

import pytest
from websocket_origin import Client
from werkzeug import Request, Response
from wire import Truncated, Wire, fetch

from rolo.har import Player, Redaction, read_har
from rolo.harness import Harness, Unverified, expect, gate, lose, send, sse

JSON = [("Content-Type", "application/json")]


def counting():
    """A service whose answers are others each time."""
    count = itertools.count(1)

    @Request.application
    def app(request):
        return Response(json.dumps({"n": next(count)}), mimetype="application/json")

    return app


def test_what_was_captured_is_replayed(tmp_path):
    file = tmp_path / "orders.har"
    with Harness(counting(), mode="capture", recording=file) as api:
        api.get("/n").returns("not asked for")
        assert fetch(api.url, "/n").body == b'{"n": 1}'
        assert fetch(api.url, "/n").body == b'{"n": 2}'
        assert "sent on" in api.transcript()
    assert [entry.method for entry in read_har(file)] == ["GET", "GET"]
    with Harness(recording=file) as api:
        api.get("/stub").returns("stubbed")
        assert api.mode == "replay"
        assert [fetch(api.url, "/n").body for _ in range(2)] == [b'{"n": 1}', b'{"n": 2}']
        assert fetch(api.url, "/stub").body == b"stubbed"
        assert api.unused == []
        assert "replayed" in api.transcript()


def test_what_is_not_recorded_is_a_miss_and_fails_the_test(tmp_path):
    with Harness(counting(), mode="spy") as api:
        fetch(api.url, "/n")
        recording = api.recording
        api.save(tmp_path / "orders.har")
    assert len(read_har(tmp_path / "orders.har")) == len(recording) == 1
    with Harness(recording=recording) as api:
        assert fetch(api.url, "/m").status == 404
        assert [entry.method for entry in api.unused] == ["GET"]
        with pytest.raises(Unverified, match="Not recorded: GET /m"):
            api.verify()
        api.strict = False


def test_what_is_not_recorded_may_go_on_to_the_upstream():
    with Harness(counting(), mode="spy") as api:
        fetch(api.url, "/n")
        recording = api.recording
    player = Player(recording, missing="pass")
    with Harness(counting(), mode="replay", recording=player) as api:
        assert fetch(api.url, "/n").body == b'{"n": 1}'
        assert fetch(api.url, "/m").body == b'{"n": 1}'
        assert [record.upstream_status for record in api.records][1] == 200


def test_answers_that_differ_from_the_recording_fail_the_test():
    with Harness(counting(), mode="capture") as api:
        for _ in range(2):
            fetch(api.url, "/n")
        recording = api.recording
    with Harness(counting(), mode="diff", recording=recording) as api:
        assert fetch(api.url, "/n").body == b'{"n": 1}'
        api.verify()
        assert fetch(api.url, "/n").body == b'{"n": 2}'
        api.verify()
    with Harness(counting(), mode="diff", recording=recording) as api:
        for _ in range(2):
            fetch(api.url, "/other")
        fetch(api.url, "/n")
        with pytest.raises(Unverified) as caught:
            api.verify()
        api.strict = False
    text = str(caught.value)
    assert "GET /n is not answered as recorded.\n\n     json.n\n       wanted  1" in text
    assert "Not recorded: GET /other" in text


def test_streams_websockets_and_breaks_are_captured_and_replayed():
    with Harness() as origin, Harness(origin.url, mode="capture") as api:
        origin.get("/events").streams(sse("1"), gate(), sse("2"), lose())
        origin.websocket("/chat").plays(send("hi"), expect("hello"))
        with Wire(api.url) as wire:
            wire.request("GET", "/events")
            head = wire.head()
            assert wire.piece(head) == b"data: 1\n\n"
            origin.step()
            with pytest.raises(Truncated):
                wire.body(head)
        with Client(api.url, "/chat") as client:
            client.open()
            assert client.message() == "hi"
            client.text("hello")
            client.closing()
            client.close(1000)
        api.received("WEBSOCKET").once().wait_ended()
        recording = api.recording
    player = Player(recording, pace="gated")
    with Harness(recording=player) as api:
        with Wire(api.url) as wire:
            wire.request("GET", "/events")
            head = wire.head()
            api.step()
            assert wire.piece(head) == b"data: 1\n\n"
            api.step(5)
            with pytest.raises(Truncated):
                wire.body(head)
        player.open()
        with Client(api.url, "/chat") as client:
            client.open()
            assert client.message() == "hi"
            client.text("hello")
            client.closing()
        assert api.unused == []


def test_secrets_are_not_in_what_is_saved(tmp_path):
    file = tmp_path / "x.har"
    redaction = Redaction(json=["$.n"])
    with Harness(counting(), mode="capture", recording=file, redaction=redaction) as api:
        fetch(
            api.url, "/n", "POST", [*JSON, ("Authorization", "Bearer s3cret")], b'{"n": "s3cret"}'
        )
    assert "s3cret" not in file.read_text()


def test_an_exchange_that_began_before_the_switch_stays_as_it_was():
    with Harness(counting(), mode="stubs") as api:
        api.get("/x").streams("a", gate(), lose())
        with Wire(api.url) as wire:
            wire.request("GET", "/x")
            head = wire.head()
            api.mode = "capture"
            api.step()
            with pytest.raises(Truncated):
                wire.body(head)
        assert fetch(api.url, "/n").status == 200
        assert [entry.url.rpartition("/")[2] for entry in api.recording] == ["n"]


def test_a_mode_without_what_it_needs_is_told():
    for mode, says in (
        ("replay", "there is no recording"),
        ("diff", "there is no recording"),
        ("capture", "nowhere to pass"),
        ("other", "the mode is one of"),
    ):
        with pytest.raises(ValueError, match=says):
            Harness(mode=mode)
