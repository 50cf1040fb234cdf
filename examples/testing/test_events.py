"""A reader of server-sent events that goes on where it was when the stream breaks."""

import requests

from rolo.harness import lose, sse


def events(url):
    """The code under test."""
    last = None
    while last != "3":
        headers = {} if last is None else {"Last-Event-ID": last}
        try:
            with requests.get(url, headers=headers, stream=True, timeout=5) as answer:
                for line in answer.iter_lines():
                    if line.startswith(b"id: "):
                        last = line[4:].decode()
                    elif line.startswith(b"data: "):
                        yield line[6:].decode()
        except requests.exceptions.ChunkedEncodingError:
            pass


def test_events_go_on_after_a_break(harness):
    api = harness()
    api.get("/events").streams(sse("one", id="1"), sse("two", id="2"), lose())
    api.get("/events", headers={"Last-Event-ID": "2"}).streams(sse("three", id="3"))

    assert list(events(f"{api.url}/events")) == ["one", "two", "three"]
