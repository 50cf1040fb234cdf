"""Recordings are written and read: nothing is lost, and a crash loses nothing either."""

import base64
import gzip
import json
import os
import pathlib
import stat

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rolo.har import (
    Answer,
    Close,
    Entry,
    Interim,
    Message,
    Pieces,
    Recording,
    read_har,
    write_har,
)
from rolo.har.content import InMemory

GOLDEN = pathlib.Path(__file__).parent / "golden"
STARTED = 1772359200.25


def everything():
    """One entry of each kind, with all that an entry may have."""
    body = b'event: price\nid: 7\ndata: {"price": 42}\n\ndata: bye\n\n'
    stream = Entry(
        "POST",
        "http://api.example/events?a=1&b=%C3%BC",
        [("Host", "api.example"), ("Cookie", "a=1; b"), ("Content-Type", "application/json")],
        InMemory(b'{"from": 7}'),
        trailers=[("X-Up", "1")],
        started=STARTED,
        sent=0.001,
        interims=[Interim(0.002, 103, [("Link", "</a>")])],
        answer=Answer(
            200,
            "Fine",
            [
                ("Content-Type", "text/event-stream"),
                (
                    "Set-Cookie",
                    "s=1; Path=/; Domain=x; Secure; HttpOnly; SameSite=Lax; "
                    "Expires=Wed, 21 Oct 2026 07:28:00 GMT",
                ),
            ],
            InMemory(body),
            at=0.003,
            pieces=Pieces([(0.004, 30), (0.5, len(body) - 30)]),
            trailers=[("X-Sum", "9")],
        ),
        ended=0.6,
        extra={"_mine": {"a": [1, "x"]}},
    )
    plain = b"text " * 20
    packed = base64.b64decode("H4sIAAAAAAACAytJrShRKKEtAQCkIiHCZAAAAA==")  # as one zlib does it
    assert gzip.decompress(packed) == plain
    coded = Entry(
        "GET",
        "http://api.example/coded",
        answer=Answer(
            302,
            "Found",
            [("Content-Type", "text/plain"), ("Content-Encoding", "gzip"), ("Location", "/x")],
            InMemory(packed),
            pieces=Pieces([(0.1, len(packed))]),
        ),
        started=STARTED + 1,
    )
    binary = Entry(
        "PUT",
        "http://api.example/binary",
        body=InMemory(b"\x00\xff"),
        answer=Answer(200, "OK", [("Content-Length", "9")], InMemory(b"\xff\x00")),
        started=STARTED + 2,
        outcome="aborted",
        error="BodyInterrupted",
        detail="BodyInterrupted: the upstream left",
        missed=True,
        comment="the answer's body cut after 2 bytes",
    )
    lost = Entry("GET", "http://api.example/lost", body=None, outcome="client_left", ended=0.1)
    lacking = Entry("GET", "http://api.example/lacking", answer=Answer(200, body=None))
    websocket = Entry(
        "GET",
        "ws://api.example/chat",
        answer=Answer(101, "Switching Protocols", [("Sec-WebSocket-Protocol", "chat")], at=0.25),
        messages=[Message(0.5, "client", "hé"), Message(0.75, "server", b"\x00\x01")],
        close=Close(1.0, "server", 4001, "go"),
        started=STARTED + 3,
        ended=1.0,
    )
    entries = [stream, coded, binary, lost, lacking, websocket]
    return Recording(entries, missed_events=3, missed_bytes=100, extra={"_x": 1})


@pytest.mark.parametrize("embed", [1024, 3])
@pytest.mark.parametrize("name", ["x.har", "x.zip"])
def test_what_is_written_is_read_as_it_was(tmp_path, name, embed):
    recording = everything()
    recording.creator = ("somebody", "1")
    write_har(recording, tmp_path / name, embed=embed)
    assert read_har(tmp_path / name) == recording
    # And once more, over itself, with its own files.
    again = read_har(tmp_path / name)
    write_har(again, tmp_path / name, embed=embed)
    assert read_har(tmp_path / name) == recording
    assert (tmp_path / "x.files").exists() == (name == "x.har" and embed == 3)


def test_the_file_looks_like_this(tmp_path):
    recording = everything()
    recording.creator = ("rolo", "1.0")
    write_har(recording, tmp_path / "x.har")
    written = (tmp_path / "x.har").read_text()
    golden = GOLDEN / "everything.har"
    if os.environ.get("ROLO_WRITE_GOLDEN"):
        golden.write_text(written)
    assert written == golden.read_text()


text = st.text(
    st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\n"), max_size=8
)
fields = st.lists(
    st.tuples(st.sampled_from(["X-A", "x-a", "Cookie", "Set-Cookie"]), text), max_size=4
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    fields,
    st.binary(max_size=20) | st.text(max_size=8).map(str.encode),
    st.sampled_from(
        ["", "text/plain", "text/plain; charset=utf-16", "application/json", "a;charset=x"]
    ),
    st.lists(st.text(max_size=4) | st.binary(max_size=4), max_size=4),
    st.integers(1, 10),
)
def test_any_bytes_texts_and_fields_come_back(tmp_path, heads, body, kind, messages, embed):
    kinds = [("Content-Type", kind)] if kind else []
    entry = Entry("GET", "http://h/", [*heads, *kinds], InMemory(body), started=STARTED)
    entry.answer = Answer(200, "x", [*kinds, *heads], InMemory(body), trailers=heads)
    socket = Entry("GET", "ws://h/", answer=Answer(101), started=STARTED)
    socket.messages = [Message(n / 2, "client", data) for n, data in enumerate(messages)]
    recording = Recording([entry, socket], ("me", "1"))
    write_har(recording, tmp_path / "x.har", embed=embed)
    again = read_har(tmp_path / "x.har")
    assert again == recording


def test_timings_are_never_negative(tmp_path):
    early = Entry("POST", "http://h/", sent=0.5, ended=0.2, answer=Answer(413, at=0.3))
    write_har(Recording([early]), tmp_path / "x.har")
    entry = json.loads((tmp_path / "x.har").read_text())["log"]["entries"][0]
    timings = entry["timings"]
    assert (timings["send"], timings["wait"], timings["receive"]) == (500.0, 0.0, 0.0)


def test_a_crash_while_writing_leaves_the_old_recording_and_nothing_else(tmp_path):
    write_har(everything(), tmp_path / "x.har", embed=3)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    crashing = everything()

    class Gone(InMemory):
        def open(self):
            raise OSError("the disk is gone")

        read = open

    crashing.entries[2].body = Gone(b"12345")
    for embed in (3, 100):
        with pytest.raises(OSError, match="the disk is gone"):
            write_har(crashing, tmp_path / "x.har", embed=embed)
        after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        assert after == before


def test_bodies_that_are_not_of_the_recording_any_more_are_removed(tmp_path):
    write_har(everything(), tmp_path / "x.har", embed=3)
    folder = tmp_path / "x.files"
    (folder / "notes.txt").write_text("mine")
    assert len(list(folder.iterdir())) > 3
    write_har(everything(), tmp_path / "x.har")
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    (folder / "notes.txt").unlink()
    write_har(everything(), tmp_path / "x.har")
    assert not folder.exists()


def test_a_new_file_is_as_readable_as_others_and_an_old_one_keeps_its_mode(tmp_path):
    (tmp_path / "other").write_text("")
    write_har(everything(), tmp_path / "x.har")
    mode = stat.S_IMODE((tmp_path / "x.har").stat().st_mode)
    assert mode == stat.S_IMODE((tmp_path / "other").stat().st_mode)
    (tmp_path / "x.har").chmod(0o600)
    write_har(everything(), tmp_path / "x.har")
    assert stat.S_IMODE((tmp_path / "x.har").stat().st_mode) == 0o600


# What HAR 1.2 requires, and of which type; "?" stands for what may be left out.
CONTENT = {"size": int, "mimeType": str, "?text": str, "?encoding": str, "?compression": int}
POST = {"mimeType": str, "params": list, "text": str}
PAIR = {"name": str, "value": str}
COOKIE = {**PAIR, "?path": str, "?domain": str, "?expires": str, "?httpOnly": bool, "?secure": bool}
COOKIE["?sameSite"] = str  # younger than HAR, and written by everybody
MESSAGE = {
    "httpVersion": str,
    "cookies": [COOKIE],
    "headers": [PAIR],
    "headersSize": int,
    "bodySize": int,
}
REQUEST = {"method": str, "url": str, "queryString": [PAIR], "?postData": POST, **MESSAGE}
RESPONSE = {"status": int, "statusText": str, "redirectURL": str, "content": CONTENT, **MESSAGE}
TIMINGS = dict.fromkeys(("blocked", "dns", "connect", "send", "wait", "receive", "ssl"), float)
ENTRY = {
    "startedDateTime": str,
    "time": float,
    "request": REQUEST,
    "response": RESPONSE,
    "cache": dict,
    "timings": TIMINGS,
    "?comment": str,
}
LOG = {
    "version": str,
    "creator": {"name": str, "version": str},
    "pages": list,
    "entries": [ENTRY],
    "?comment": str,
}


def faults(value, wanted, place=""):
    if isinstance(wanted, list):
        for number, each in enumerate(value):
            yield from faults(each, wanted[0], f"{place}[{number}]")
    elif isinstance(wanted, dict):
        for name, kind in wanted.items():
            member = name.removeprefix("?")
            if member in value:
                yield from faults(value[member], kind, f"{place}.{member}")
            elif name == member:
                yield f"{place}.{member} is missing"
        known = {name.removeprefix("?") for name in wanted}
        yield from (f"{place}.{n}" for n in value if n not in known and not n.startswith("_"))
    elif not isinstance(value, (int, float) if wanted is float else wanted):
        yield f"{place} is {value!r}"


@pytest.mark.parametrize("embed", [1024, 3])
def test_what_is_written_has_all_that_har_1_2_requires_and_nothing_that_it_does_not_know(
    tmp_path, embed
):
    write_har(everything(), tmp_path / "x.har", embed=embed)
    document = json.loads((tmp_path / "x.har").read_text())
    assert list(faults(document["log"], LOG)) == []
    for entry in document["log"]["entries"]:
        timings = entry["timings"]
        total = timings["send"] + timings["wait"] + timings["receive"]
        assert entry["time"] == pytest.approx(total, abs=0.01)
