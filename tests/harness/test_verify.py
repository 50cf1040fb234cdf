"""What a harness complains of at the end, and the texts of it: golden files."""

import pathlib
import re

import pytest
from websocket_origin import Client
from wire import fetch

from rolo.harness import Harness, Unverified, expect, send
from rolo.matching import contains

GOLDEN = pathlib.Path(__file__).parent / "golden"
JSON = [("Content-Type", "application/json")]


def golden(name, text):
    """Compare ``text``, times and line numbers aside, with the file ``name``."""
    text = re.sub(r"\d+\.\d{3} s", "0.000 s", text)
    text = re.sub(r"(\w+\.py):\d+", r"\1:1", text)
    assert max(map(len, text.splitlines())) <= 80
    file = GOLDEN / f"{name}.txt"
    if not file.exists():
        file.write_text(text)
        pytest.fail(f"{file} is new: read it")
    assert text == file.read_text()


def complaint_of(act):
    with pytest.raises(Unverified) as caught, Harness() as api:
        act(api)
    return str(caught.value)


def test_a_request_that_nothing_matched_gets_the_miss_and_fails_the_test():
    answers = []

    def act(api):
        api.get("/price").returns({"price": 42}).optional()
        api.post("/orders", json={"id": 1, "to": {"city": "Bern"}}).returns(201).optional()
        answers.append(
            fetch(api.url, "/orders", "POST", JSON, b'{"id": 1, "to": {"city": "Basel"}}')
        )

    text = complaint_of(act)
    assert answers[0].status == 404
    assert answers[0].get("content-type") == "text/plain; charset=utf-8"
    assert answers[0].body.decode() == text
    golden("miss", text)


def test_stubs_that_were_not_called_as_often_as_they_say_fail_the_test():
    def act(api):
        api.get("/a").returns(200)
        api.get("/b").returns(200).times(2)
        api.get("/c")
        api.get("/d").returns(200).optional()
        api.get("/e").returns(200).remove()
        api.get("/f").returns(200).then(500)
        fetch(api.url, "/b")
        fetch(api.url, "/f")

    golden("unused", complaint_of(act))


def test_a_stub_that_is_used_up_or_in_another_state_is_named_in_the_miss():
    def act(api):
        api.get("/x").returns(200).times(1)
        api.get("/y").given(cart="full").returns(200).optional()
        fetch(api.url, "/x")
        fetch(api.url, "/x")
        fetch(api.url, "/y")

    golden("used_up", complaint_of(act))


def test_a_body_that_no_stub_asks_for_is_in_the_miss_all_the_same():
    def act(api):
        fetch(api.url, "/x", "POST", JSON, b"[1]")

    assert "POST /x (application/json, 3 bytes)" in complaint_of(act)


def test_many_misses_are_counted():
    def act(api):
        for number in range(25):
            fetch(api.url, f"/{number}")

    assert "and 5 more problems" in complaint_of(act)


def test_an_error_of_the_test_goes_before_complaints():
    def act():
        with Harness() as api:
            api.get("/x").returns(200)
            raise KeyError("the test's own")

    with pytest.raises(KeyError):
        act()


def test_who_is_not_strict_or_forgives_is_not_failed():
    with Harness(strict=False) as api:
        api.get("/x").returns(200)
        fetch(api.url, "/y")
        assert [record.path for record in api.unmatched] == ["/y"]
    with Harness() as api:
        fetch(api.url, "/y")
        assert len(api.problems()) == 1
        api.forgive()
        assert api.problems() == []


def test_what_was_wanted_and_did_not_come_is_shown_beside_what_came():
    with Harness() as api:
        api.post("/orders").returns(201)
        fetch(api.url, "/orders", "POST", JSON, b'{"id": 2}')
        with pytest.raises(AssertionError) as caught:
            api.received("POST", "/orders", json={"id": 1}).once()
        golden("not_received", str(caught.value))
        with pytest.raises(AssertionError) as caught:
            api.received("POST", "/orders").times(2)
        golden("too_few", str(caught.value))


def test_the_transcript_reads_well():
    with Harness(seed=1, strict=False) as api:
        api.post("/orders").returns({"id": 7}, status=201, interim=[103])
        api.get("/long").returns("very long text " * 100)
        api.websocket("/chat").plays(send("hi"), expect(contains("hello")))
        fetch(api.url, "/orders", "POST", JSON, b'{"a": "\xc3\xa9\\n"}\n')
        fetch(api.url, "/long?" + "q" * 100)
        fetch(api.url, "/nowhere")
        with Client(api.url, "/chat") as client:
            client.open()
            client.message()
            client.text("oh, hello\x1b[31m")
            client.closing()
            client.close(1000)
        api.received("WEBSOCKET").once().wait_ended()
        golden("transcript", api.transcript())
