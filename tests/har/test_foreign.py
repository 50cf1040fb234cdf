"""What Chrome, Playwright and mitmproxy export is read, and replayed. The samples are written by
hand, after what these programs write."""

import base64
import pathlib
import zipfile
import zlib

import pytest
from wire import fetch

from rolo.har import HarError, Message, read_har, write_har

SAMPLES = pathlib.Path(__file__).parent / "samples"
PLAYWRIGHT_FILES = {
    "d9a7c1e2f000000000000000000000000000beef.dat": b"\x00\x01\x02",
    "a1b2000000000000000000000000000000000000.html": "<p>grüß</p>".encode(),
    "0f0f.jsonl": (
        b'{"type": "send", "time": 1772359201250, "opcode": 1, "data": "hi"}\n'
        b'{"type": "receive", "time": 1772359201500, "opcode": 2, "data": "AAE="}\n'
    ),
}


@pytest.fixture(params=["beside", "zip"])
def playwright(request, tmp_path):
    """A recording of Playwright with attached files, beside it or with it in a zip."""
    files = {"har.har": (SAMPLES / "playwright.har").read_bytes(), **PLAYWRIGHT_FILES}
    if request.param == "beside":
        for name, data in files.items():
            (tmp_path / name).write_bytes(data)
        return tmp_path / "har.har"
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return tmp_path / "x.zip"


def test_chrome():
    recording = read_har(SAMPLES / "chrome.har")
    orders, logo, evicted, dead, live = recording
    assert recording.creator == ("WebInspector", "537.36")
    assert (orders.method, orders.target) == ("GET", "/api/orders?page=1")
    assert orders.headers == [("accept", "*/*")]
    assert (orders.started, orders.ended) == (1772359200.1, 0.0425)
    answer = orders.answer
    assert (answer.status, answer.at, answer.http_version) == (200, 0.04, "http/2.0")
    assert [value for name, value in answer.headers if name == "set-cookie"] == [
        "a=1",
        "b=2; Path=/",
    ]
    assert answer.body.read() == '{"orders": ["süß"]}'.encode()
    assert answer.is_decoded
    assert orders.extra["_initiator"]["type"] == "script"
    assert logo.answer.body.read() == b"\x89PNG"
    assert evicted.answer.body is None
    assert (dead.answer, dead.outcome, dead.error) == (None, "aborted", "net::ERR_CONNECTION_RESET")
    assert dead.body.read() == b"a=1&b=%20"
    assert live.messages == [
        Message(0.5, "client", "hello"),
        Message(0.75, "server", "wörld"),
        Message(1.0, "server", b"\x00\x01\x02\xff"),
    ]
    assert live.close is None


def test_chrome_is_replayed(replayed):
    _, url = replayed(read_har(SAMPLES / "chrome.har"), pace="at_once")
    answer = fetch(url, "/api/orders?page=1")
    assert answer.body.decode() == '{"orders": ["süß"]}'
    assert answer.get("content-encoding") is None
    assert answer.get("content-length") == "21"
    assert answer.all("set-cookie") == ["a=1", "b=2; Path=/"]
    assert b"the recording has no body" in fetch(url, "/evicted.png").body


def test_mitmproxy(tmp_path):
    plain = SAMPLES / "mitmproxy.har"
    (tmp_path / "x.zhar").write_bytes(zlib.compress(plain.read_bytes()))
    for path in (plain, tmp_path / "x.zhar"):
        items, dead, ws = read_har(path)
        assert items.url == "http://api.example:8000/items?x=1"
        assert items.body.read() == b'{"a": 1}'
        assert items.answer.body.read() == "café".encode("latin-1")
        assert items.answer.is_decoded
        assert (items.sent, items.answer.at) == (0.0105, 0.0255)
        assert (dead.answer, dead.error) == (None, "Connection refused")
        assert (ws.url, ws.answer.status) == ("ws://api.example:8000/ws", 101)
        assert ws.messages == [Message(0.5, "server", "hi"), Message(1.0, "client", b"\1\2")]


def test_playwright(playwright):
    upload, ws, gone = read_har(playwright)
    assert upload.body.read() == b"\x00\x01\x02"
    assert upload.answer.body.read().decode() == "<p>grüß</p>"
    assert upload.answer.is_decoded
    assert ws.messages == [Message(0.25, "client", "hi"), Message(0.5, "server", b"\x00\x01")]
    assert ws.error == "went away"
    assert (gone.answer, gone.outcome, gone.error) == (None, "aborted", "net::ERR_ABORTED")


@pytest.mark.parametrize("sample", ["chrome", "mitmproxy"])
def test_what_was_read_is_the_same_when_it_is_written_and_read_again(sample, tmp_path):
    first = read_har(SAMPLES / f"{sample}.har")
    write_har(first, tmp_path / "x.har")
    second = read_har(tmp_path / "x.har")
    assert second.entries == first.entries
    assert second.extra == first.extra
    assert second.creator == first.creator


def test_an_attached_file_must_lie_beside_the_recording(tmp_path):
    (tmp_path / "secret").write_text("x")
    (tmp_path / "in").mkdir()
    text = (SAMPLES / "playwright.har").read_text()
    for name, said in [
        ("../secret", "not beside"),
        ("/etc/passwd", "not beside"),
        ("x", "No such"),
    ]:
        wrong = text.replace("d9a7c1e2f000000000000000000000000000beef.dat", name)
        (tmp_path / "in" / "x.har").write_text(wrong)
        with pytest.raises(HarError, match=rf"entries\[0\].request.postData._file: .*{said}"):
            read_har(tmp_path / "in" / "x.har")


def test_a_close_frame_among_the_messages(tmp_path):
    payload = base64.b64encode(b"\x0f\xa1bye").decode()
    frame = f'{{"type": "receive", "time": 1772359202.5, "opcode": 8, "data": "{payload}"}},'
    text = (SAMPLES / "chrome.har").read_text()
    at = text.index('{"type": "send"')
    (tmp_path / "x.har").write_text(text[:at] + frame + text[at:])
    close = read_har(tmp_path / "x.har").entries[-1].close
    assert (close.at, close.by, close.code, close.reason) == (1.5, "server", 4001, "bye")


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (b"", "line 1 column 1: Expecting value"),
        (b"\xff\xfe\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "a list where an object should be"),
        (b"{}", "log: missing"),
        (b'{"log": {"entries": {}}}', "log.entries: an object where a list should be"),
        (b'{"log": {"entries": [1]}}', r"log.entries\[0\]: a number where an object"),
        (b"\x78\x9cbroken", "neither JSON nor compressed JSON"),
        (b"PK\x03\x04", "File is not a zip file"),
    ],
)
def test_what_is_no_recording_is_told_with_the_place(tmp_path, broken, said):
    (tmp_path / "x.har").write_bytes(broken)
    with pytest.raises(HarError, match=f"x.har: {said}"):
        read_har(tmp_path / "x.har")


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ('"method": "GET"', '"method": 1', r"entries\[0\].request.method: a number where a text"),
        (
            '"url": "https://shop.example/api',
            '"url": "shop',
            r"entries\[0\].request.url: not a URL",
        ),
        ("2026-03-01T10:00:00.100Z", "soon", r"entries\[0\].startedDateTime: not a time"),
        (
            '"status": 200',
            '"status": "200"',
            r"entries\[0\].response.status: a text where a number",
        ),
        ("iVBORw==", "iVBORw=", r"entries\[1\].response.content.text: not base64"),
        ('"name": "accept"', '"nam": 1', r"entries\[0\].request.headers\[2\].name: missing"),
    ],
)
def test_what_is_broken_is_told_with_the_place(tmp_path, old, new, place):
    text = (SAMPLES / "chrome.har").read_text()
    assert old in text
    (tmp_path / "x.har").write_text(text.replace(old, new, 1))
    with pytest.raises(HarError, match=f"x.har: log.{place}"):
        read_har(tmp_path / "x.har")
