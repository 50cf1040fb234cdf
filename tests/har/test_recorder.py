"""What a recorder makes of what it is told: bounds, gaps, secrets on the disk, memory."""

import os
import pathlib
import subprocess
import sys
import tempfile

import pytest
from websocket_origin import Client
from wire import Wire, fetch

from rolo.bridge.downstream import RequestHead
from rolo.bridge.observation import Observation
from rolo.har import Recorder, Redaction
from rolo.observing import Answer as Answered
from rolo.observing import AnswerBody, Ended, RequestBody


def head(target=b"/", headers=((b"Host", b"h"),), scheme="http"):
    return RequestHead("GET", target, list(headers), "1.1", scheme, "/", b"")


def told(recorder, *events, headers=(), head=head, kind="http"):
    """Tell a recorder of an exchange, without a server."""
    observation = Observation([recorder])
    exchange = observation.begin(kind, head())
    observation.tell(Answered, exchange, 200, b"OK", list(headers))
    for event, data in events:
        observation.tell(event, exchange, data)
    observation.tell(Ended, exchange, "complete", None, None, 200, None, 0, 0, None)
    observation.close()
    return recorder.recording


@pytest.fixture
def temporary(monkeypatch, tmp_path):
    """The folder of temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


# --- how an exchange is called


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ({}, "http://h/"),
        ({"target": b"/x?a=%20&b=\xfc"}, "http://h/x?a=%20&b=%FC"),
        ({"target": b"http://other/x?u=http://y"}, "http://h/x?u=http://y"),
        ({"target": b"*"}, "http://h/*"),
        ({"headers": [], "scheme": "https"}, "https://unknown/"),
    ],
)
def test_the_url_of_a_request(given, url):
    (entry,) = told(Recorder(), head=lambda: head(**given))
    assert entry.url == url


def test_the_url_begins_with_that_of_the_upstream_if_that_is_given():
    recorder = Recorder(base_url="https://api.example/v1/")
    assert told(recorder).entries[0].url == "https://api.example/v1/"
    recorder = Recorder(base_url="https://api.example")
    recording = told(recorder, head=lambda: head(scheme="ws"), kind="websocket")
    assert recording.entries[0].url == "wss://api.example/"


def test_a_request_that_could_not_be_read(recorded):
    def ask(url):
        with Wire(url) as wire:
            wire.send(b"GET /x y HTTP/1.1\r\n\r\n")
            assert wire.answer().status == 400

    (entry,) = recorded(lambda chain, context, response: None, ask)
    assert (entry.url, entry.outcome, entry.answer.status) == ("http://unknown/x", "refused", 400)


def test_entries_are_in_the_order_in_which_they_began(recorded):
    def ask(url):
        with Wire(url) as slow, Wire(url) as quick:
            slow.send(b"POST /slow HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n")
            quick.get("/quick")
            slow.send(b"x")
            slow.answer()

    def reading(chain, context, response):
        context.request.get_data()

    found = recorded(reading, ask).entries
    assert [entry.started for entry in found] == sorted(entry.started for entry in found)


# --- bounds


def test_a_body_over_the_bound_is_cut_and_says_so():
    recorder = Recorder(max_body=5)
    (entry,) = told(recorder, (RequestBody, b"123456"), (AnswerBody, b"123"), (AnswerBody, b"456"))
    assert (entry.body.read(), entry.answer.body.read()) == (b"12345", b"12345")
    assert entry.missed
    assert (
        entry.comment == "the request's body cut after 5 bytes; the answer's body cut after 5 bytes"
    )


def test_messages_over_the_bound_are_cut_and_say_so(recorded):
    def chatty(chain, context, response):
        with context.request.accept() as ws:
            for text in ("1234", "1234", "1234"):
                ws.send(text)

    def ask(url):
        with Client(url) as client:
            client.open().closing()

    (entry,) = recorded(chatty, ask, max_messages=8)
    assert [each.data for each in entry.messages] == ["1234", "1234"]
    assert (entry.missed, entry.comment) == (True, "the messages cut after 8 bytes")


def test_what_is_missed_is_said_and_the_rest_is_recorded():
    class Slow(Recorder):
        patient = False
        max_bytes = 2000

        def on_request(self, event):
            import time

            time.sleep(0.2)
            super().on_request(event)

    pieces = [(AnswerBody, b"x" * 1000)] * 5
    recording = told(Slow(), *pieces)
    assert recording.missed_events > 0
    assert all(entry.missed for entry in recording)


def test_a_large_piece_of_a_fast_handler_is_not_missed(recorded):
    body = os.urandom(4_500_000)

    def whole(chain, context, response):
        chain.respond(200, body)

    (entry,) = recorded(whole, fetch)
    assert not entry.missed
    assert entry.answer.body.read() == body


# --- secrets and the disk


def test_a_large_body_is_in_a_file_and_gone_with_the_recorder(temporary):
    recorder = Recorder()
    told(recorder, (AnswerBody, b"x" * 3_000_000), (AnswerBody, b"y"))
    (file,) = files(temporary)
    assert file.read_bytes() == b"x" * 3_000_000 + b"y"
    assert file.parent.stat().st_mode & 0o777 == 0o700
    recorder.discard()
    assert files(temporary) == []


def test_what_may_hold_secrets_is_never_on_the_disk_as_it_came(temporary):
    recorder = Recorder(redaction=Redaction(json=["token"]), max_searched=2_000_000)
    json = [(b"Content-Type", b"application/json")]
    body = b'{"token": "s3cr3t", "x": "%s"}' % (b"y" * 1_500_000)
    (entry,) = told(recorder, (AnswerBody, body), headers=json)
    assert files(temporary) == []
    assert entry.answer.body.read().startswith(b'{"token": "REDACTED", ')
    (_, entry) = told(recorder, (AnswerBody, body), (AnswerBody, body), headers=json)
    assert files(temporary) == []
    assert entry.answer.body is None
    assert "the answer's body is left out" in entry.comment


def test_bodies_that_together_are_too_large_for_memory_are_in_files(temporary):
    recorder = Recorder(max_memory=100_000)
    for _ in range(5):
        told(recorder, (AnswerBody, b"x" * 40_000))
    assert len(files(temporary)) == 2
    assert sum(entry.answer.body.in_memory for entry in recorder.recording) == 3


def test_a_body_that_cannot_be_written_is_said_to_be_missing(monkeypatch):
    def full(self):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rolo.har.content.SpillDirectory.new_file", full)
    pieces = [(AnswerBody, b"x" * 1_500_000)] * 2
    (entry,) = told(Recorder(), *pieces)
    assert entry.missed
    assert entry.comment.startswith("a body could not be kept: [Errno 28] No space left on device")
    assert entry.answer.body.size == 0


# --- memory

MEASURED = """
import pathlib, sys, tempfile
from rolo import Response
from rolo.gateway import Gateway
from rolo.har import Player, Recorder, read_har
from rolo.serving import serve
sys.path.insert(0, sys.argv[1])
from wire import Wire

def rss():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

def big(chain, context, response):
    pieces = (b"%07d." % number * 8192 for number in range(size // 65536))
    response.update_from(Response(pieces, headers={"Content-Length": str(size)}))
    chain.stop()

def read(url):
    with Wire(url) as wire:
        wire.request("GET", "/")
        wire.head()
        count = len(wire.buffer)
        while count < size:
            count += len(wire.socket.recv(65536))
            peaks.append(rss())

peaks, size = [], 655360
folder = tempfile.TemporaryDirectory()
file = pathlib.Path(folder.name, "x.har")
for size in (655360, int(sys.argv[2])):
    peaks = [rss()]
    recorder = Recorder()
    with serve(Gateway([big]), observers=[recorder]) as server:
        read(server.url)
    recorder.write(file)
    player = Player(read_har(file), pace="at_once")
    with serve(Gateway([player])) as server:
        read(server.url)
    player.check()
print(max(peaks) - peaks[0])
"""


@pytest.mark.skipif(not pathlib.Path("/proc/self/statm").exists(), reason="needs /proc")
def test_memory_is_flat_when_a_large_answer_is_recorded_and_replayed():
    here = str(pathlib.Path(__file__).parent.parent)
    run = [sys.executable, "-c", MEASURED, here, str(32 * 1024 * 1024)]
    grown = int(subprocess.run(run, capture_output=True, check=True, text=True).stdout)
    assert grown < 20 * 1024 * 1024
