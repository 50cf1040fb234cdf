"""Faults of server-sent events, as they are on the wire."""

import pytest
from faults_support import answering
from wire import Truncated, Wire, fetch

from rolo import faults
from rolo.faults import Faults
from rolo.proxy import ProxyHandler, event_stream
from rolo.response import Response

EVENTS = [f"data: {n}\n\n".encode() for n in "12345"]


def stream(pieces=None):
    return Response(iter(pieces or EVENTS), mimetype="text/event-stream")


@pytest.fixture
def events(start):
    """Return what comes of five events with a fault in them."""

    def events(fault, make=stream, **options):
        rules = Faults(seed=1)
        rules.add(fault)
        url = start(rules.handler, answering(make), **options)
        with Wire(url) as wire:
            wire.request("GET", "/")
            head = wire.head()
            pieces, broken = [], False
            try:
                while piece := wire.chunk():
                    pieces.append(piece)
            except Truncated:
                broken = True
            assert head.get("transfer-encoding") == "chunked"
            return b"".join(pieces).decode(), broken

    return events


def of(numbers):
    return "".join(f"data: {n}\n\n" for n in numbers)


@pytest.mark.parametrize(
    ("fault", "comes"),
    [
        (faults.drop(every=2), "135"),
        (faults.duplicate(first=1), "112345"),
        (faults.reorder(), "13254"),
        (faults.reorder(every=None), "21435"),
        (faults.delay(0.001, jitter=0.001), "12345"),
        (faults.silence(2, seconds=0.001), "12345"),
    ],
    ids=repr,
)
def test_events_are_changed(events, fault, comes):
    assert events(fault) == (of(comes), False)


@pytest.mark.parametrize("server", ["native", "uvicorn"])
def test_a_stream_is_cut_within_an_event(events, server):
    comes, broken = events(faults.cut(after=2, within="event"), server=server)
    assert broken
    assert comes == of("12") + "data"


def test_an_event_is_corrupted(events):
    comes, _ = events(faults.corrupt(every=3))
    assert comes != of("12345")
    assert len(comes) == len(of("12345"))
    assert comes.count("\n") == 10


def test_events_are_told_apart_however_they_come(events):
    whole = b"".join(EVENTS)
    pieces = [whole[at : at + 4] for at in range(0, len(whole), 4)]
    assert events(faults.drop(every=2), make=lambda: stream(pieces)) == (of("135"), False)


def test_a_stream_is_silent_for_ever_and_its_connection_open(start):
    rules = Faults()
    rules.add(faults.silence(after=2))
    with Wire(start(rules.handler, answering(stream))) as wire:
        wire.request("GET", "/")
        wire.read_until(b"data: 2\n\n")
        wire.socket.settimeout(0.1)
        wire.read_until(b"\r\n")  # of the chunk
        with pytest.raises(TimeoutError):
            wire.read_more()
        assert wire.buffer == b""


def test_a_stream_that_is_here_at_once_is_changed_as_well(events):
    body = b"".join(EVENTS)
    make = lambda: Response(body, mimetype="text/event-stream")  # noqa: E731
    assert events(faults.drop(every=2), make=make) == (of("135"), False)


def test_other_answers_pass_faults_of_events(start):
    rules = Faults()
    rules.add(faults.drop(), faults.cut(after=0, within="event"))
    url = start(rules.handler, answering(lambda: Response("plain\n\nx")))
    assert fetch(url).body == b"plain\n\nx"


def test_events_that_pass_a_proxy_are_asked_for_uncoded(start, origin):
    origin.answer(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 18\r\n\r\n"
        + b"".join(EVENTS[:2])
    )
    rules = Faults()
    rules.add(faults.duplicate())
    handler = ProxyHandler(origin.url, hooks=[rules.hooks])
    url = start(handler)
    answer = fetch(url, headers=[("Accept-Encoding", "gzip")])
    assert answer.body.decode() == of("1122")
    assert origin.last.get("accept-encoding") is None
    handler.close()


def test_a_real_client_sees_the_change():
    import requests

    from rolo.gateway import Gateway
    from rolo.serving import serve

    rules = Faults()
    rules.add(faults.reorder())
    gateway = Gateway([rules.handler, answering(lambda: event_stream(iter("123")))])
    with serve(gateway) as server, requests.get(server.url, stream=True, timeout=5) as answer:
        assert [line for line in answer.iter_lines() if line] == [
            b"data: 1",
            b"data: 3",
            b"data: 2",
        ]
