"""What goes without the connection itself goes on every server; the rest says where it goes."""

import pytest
from faults_support import BODY, answering, whole
from h2.events import ResponseReceived, StreamEnded, StreamReset
from h2wire import H2Client
from wire import Truncated, Wire, fetch

from rolo import faults
from rolo.faults import Faults, faulty, raw
from rolo.gateway import Gateway
from rolo.response import Response
from rolo.serving import SERVERS, serve


@pytest.fixture(params=["uvicorn", "hypercorn", "granian", "twisted"])
def server(request):
    if reason := SERVERS[request.param].available():
        pytest.skip(reason)
    return request.param


def test_a_body_is_cut(start, server, seen):
    rules = Faults()
    rules.add(faults.cut(after=30))
    with Wire(start(rules.handler, whole, server=server)) as wire:
        wire.request("GET", "/")
        with pytest.raises(Truncated):
            wire.answer()
        assert wire.buffer.endswith(BODY[:30])
    end = seen.end()
    assert (end.outcome, end.error, end.sent) == ("aborted", "InjectedFault", 30)


@pytest.mark.parametrize("fault", [faults.hang(), faults.hang(after=30)], ids=["before", "within"])
def test_a_hang_ends_when_the_server_stops(server, seen, fault):
    rules = Faults()
    rules.add(fault)
    gateway = Gateway([rules.handler, whole])
    with serve(gateway, server=server, observers=[seen], shutdown_timeout=50) as running:
        with Wire(running.url) as wire:
            wire.request("GET", "/")
            seen.before.append(seen.next())
            running.shutdown()
        assert seen.end().error == "InjectedFault"


def test_a_head_is_too_long(start, server):
    response = [faulty(Response(BODY), faults.oversized_head(5000))]
    answer = fetch(start(answering(lambda: response[0]), server=server))
    assert len([name for name, _ in answer.headers if name.lower().startswith("x-fault")]) == 5
    assert answer.body == BODY


@pytest.mark.parametrize("server", ["native", "twisted"])
def test_a_connection_is_reset_or_closed_in_order(start, server):
    rules = Faults()
    rules.add(faults.reset(after=30), when="/reset")
    rules.add(faults.cut(after=12, within="head"), when="/cut")
    url = start(rules.handler, whole, server=server, loop="asyncio")
    with Wire(url) as wire:
        wire.request("GET", "/reset")
        with pytest.raises(ConnectionResetError):
            wire.read_rest_strictly()
        assert wire.buffer.endswith(b"\r\n" + BODY[:30])
    with Wire(url) as wire:
        wire.request("GET", "/cut")
        assert wire.read_rest_strictly() == b"HTTP/1.1 200"


WANT_THE_CONNECTION = [
    faults.refuse(),
    faults.reset(),
    faults.empty(),
    faults.cut(after=3, within="head"),
    faults.hang(after=3, within="head"),
    faults.garbage(),
    faults.malformed_head(),
    faults.bad_chunk(),
    faults.wrong_length(1),
]


@pytest.mark.parametrize("fault", WANT_THE_CONNECTION, ids=repr)
def test_what_wants_the_connection_is_an_error_that_says_where_it_goes(start, caplog, fault):
    rules = Faults()
    rules.add(fault)
    assert fetch(start(rules.handler, whole, server="uvicorn")).status == 500
    assert "which is not to be had here: the native server gives it, in HTTP/1.1" in caplog.text


@pytest.mark.parametrize("server", ["hypercorn", "granian"])
def test_so_it_is_on_the_others(start, caplog, server):
    rules = Faults()
    rules.add(faults.reset())
    assert fetch(start(rules.handler, whole, server=server)).status == 500
    assert "which is not to be had here: the native server gives it, in HTTP/1.1" in caplog.text


def test_in_http2_a_stream_breaks_and_its_connection_goes_on(start, caplog):
    rules = Faults()
    rules.add(faults.cut(after=30), when="/cut")
    rules.add(faults.reset(), when="/reset")
    url = start(rules.handler, whole, server="twisted", needs=["h2c"])
    with H2Client(int(url.rpartition(":")[2])) as client:
        stream = client.request("/cut")
        client.until(StreamReset, stream)
        assert client.body(stream) == BODY[:30]
        stream = client.request("/reset")
        headers = client.until(ResponseReceived, stream).headers
        assert dict(headers)[b":status"] == b"500"
        stream = client.request("/")
        client.until(StreamEnded, stream)
        assert client.body(stream) == BODY
    assert "in HTTP/1.1" in caplog.text


def test_so_it_is_with_an_answer_of_a_handler(start, caplog, seen):
    url = start(answering(lambda: raw(b"x")), server="uvicorn")
    assert fetch(url).status == 500
    assert "the native server gives it" in caplog.text
    assert seen.end().error == "FaultUnavailable"


def test_under_wsgi_bodies_are_cut_and_statuses_come(start, seen):
    rules = Faults()
    rules.add(faults.status(503), when="/status")
    rules.add(faults.cut(after=30), faults.late(0.001), when="/cut")
    url = start(rules.handler, whole, server="werkzeug")
    assert fetch(url, "/status").status == 503
    seen.end()
    with Wire(url) as wire:
        wire.request("GET", "/cut")
        with pytest.raises(Truncated):
            wire.answer()
        assert wire.buffer.endswith(BODY[:30])
    end = seen.end()
    assert (end.outcome, end.error, end.sent) == ("aborted", "InjectedFault", 30)
    assert fetch(url).body == BODY


def test_under_wsgi_bodies_are_slow_piece_by_piece(start, monkeypatch):
    slept = []
    monkeypatch.setattr("rolo.faults.blocking.time.sleep", slept.append)
    answers = {
        "/drip": faulty(Response(BODY), faults.drip(size=30, every=0.5)),
        "/events": faulty(
            Response(iter([b"data: 1\n\nda", b"ta: 2\n\n"]), mimetype="text/event-stream"),
            faults.duplicate(),
            faults.late(2),
        ),
        "/head": faulty(Response(BODY), faults.oversized_head(3000)),
    }

    def answer(chain, context, response):
        response.update_from(answers[context.request.path])
        chain.stop()

    url = start(answer, server="werkzeug")
    assert fetch(url, "/drip").body == BODY
    assert slept == [0.5] * 4
    assert fetch(url, "/events").body == b"data: 1\n\n" * 2 + b"data: 2\n\n" * 2
    assert slept[4:] == [2]
    assert len(fetch(url, "/head").all("X-Fault-0")) == 1
    assert fetch(url, "/drip", "HEAD").get("content-length") == "100"


@pytest.mark.parametrize(
    "fault", [faults.reset(), faults.hang(), faults.hang(after=3), faults.silence(1)], ids=repr
)
def test_what_is_not_to_be_had_under_wsgi_says_so(start, caplog, fault):
    rules = Faults()
    rules.add(fault)
    assert fetch(start(rules.handler, whole, server="werkzeug")).status == 500
    assert "is not to be had under WSGI" in caplog.text
