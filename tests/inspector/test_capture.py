"""What the inspector remembers of what passes."""

import contextlib
import socket

import pytest
import requests
import websocket as websocket_client

from rolo import Response
from rolo.inspector.views import Masking, detail


@pytest.fixture
def seen(watch):
    """Return what serves, and what waits until the records are there and returns them."""

    def _seen(**options):
        watched = watch(**options)

        def records():
            watched.server.wait_observed()
            return watched.inspector.store.all()

        return watched, records

    return _seen


def shown(record, secrets=False):
    return detail(record, Masking(["X-Mine"]), secrets=secrets)


def test_a_proxied_exchange_has_both_heads_and_its_connection(seen):
    watched, records = seen()
    for _ in range(2):
        requests.get(f"{watched.url}/echo?a=1", headers={"X-Mine": "secret"})
    first, second = records()
    (attempt,) = shown(first)["tries"]
    assert attempt["origin"] == watched.origin.url
    assert attempt["request"]["line"] == "GET /echo?a=1 HTTP/1.1"
    assert ["X-Forwarded-For", "127.0.0.1", False] in attempt["request"]["fields"]
    assert attempt["answer"]["line"] == "HTTP/1.1 200 OK"
    assert not attempt["reused"]
    assert {"queue", "connect", "wait"} == attempt["phases"].keys()
    assert second.row()["conn"] == first.row()["conn"]
    assert second.row()["reused"]
    assert {"queue", "wait"} == second.tries[0].phases.keys()


def test_secrets_are_masked_until_they_are_asked_for(seen):
    watched, records = seen()
    requests.get(f"{watched.url}/echo", headers={"X-Mine": "s3cret", "Cookie": "a=s3cret"})
    (record,) = records()
    assert "s3cret" not in repr(shown(record))
    assert repr(shown(record, secrets=True)).count("s3cret") == 4


def test_local_endpoints_refusals_and_broken_answers_are_seen(seen):
    watched, records = seen()
    watched.router.add("/local", lambda request: Response("here"))

    def broken():
        yield b"some"
        raise RuntimeError("broken on purpose")

    watched.router.add("/broken", lambda request: Response(broken()))
    requests.get(f"{watched.url}/local")
    with pytest.raises(requests.RequestException):
        requests.get(f"{watched.url}/broken")
    with socket.create_connection(("127.0.0.1", watched.server.port)) as raw:
        raw.sendall(b"nonsense\r\n\r\n")
        while raw.recv(4096):
            pass
    watched.origin.shutdown()
    assert requests.get(f"{watched.url}/echo").status_code == 502
    local, aborted, refused, failed = (record.row() for record in records())
    assert (local["status"], local["conn"], local["outcome"]) == (200, None, "complete")
    assert (aborted["outcome"], aborted["error"], aborted["size"]) == ("aborted", "RuntimeError", 4)
    assert (refused["status"], refused["outcome"]) == (400, "refused")
    assert (failed["status"], failed["outcome"], failed["error"]) == (502, "failed", "ConnectError")


def test_a_failed_try_is_told_and_the_next_one_too(seen):
    watched, records = seen()

    def second(context, error):
        context.retry(watched.origin.url)

    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
    watched.handler.proxy.use(
        [watched.inspector.hooks],
        on_request=lambda context: setattr(context, "upstream", nobody),
        on_connect_failed=second,
    )
    assert requests.get(f"{watched.url}/echo").status_code == 200
    (record,) = records()
    first, last = record.tries
    assert first.answer is None
    assert first.error.startswith("ConnectError")
    assert last.answer.line == "HTTP/1.1 200 OK"
    assert record.row()["retried"]


def test_bodies_are_kept_to_their_bound_and_counted_beyond(seen):
    watched, records = seen(max_body=1000)
    requests.post(f"{watched.url}/upload", data=b"x" * 1500)
    requests.get(f"{watched.url}/download/2500")
    up, down = (shown(record) for record in records())
    assert (up["request"]["body"]["size"], up["request"]["body"]["kept"]) == (1500, 1000)
    assert down["answer"]["body"]["missing"] == "only the first 1000 bytes were kept"
    assert (up["row"]["up"], down["row"]["size"]) == (1500, 2500)


def test_large_bodies_are_whole_where_there_is_a_directory(seen, tmp_path):
    watched, records = seen(max_body=1000, directory=tmp_path / "bodies")
    requests.get(f"{watched.url}/download/2500")
    (record,) = records()
    assert len(record.answer_body.read()) == 2500
    assert len(list((tmp_path / "bodies").iterdir())) == 1
    watched.inspector.close()
    assert list((tmp_path / "bodies").iterdir()) == []


def test_a_websocket_has_its_messages_its_close_and_its_upstream(seen):
    watched, records = seen()
    chat = websocket_client.create_connection(watched.url.replace("http", "ws") + "/ws")
    chat.send("one")
    assert chat.recv() == "one"
    chat.send_binary(b"\x00")
    assert chat.recv() == b"\x00"
    chat.close(4000, b"bye")
    (record,) = records()
    assert [(item.by, item.data) for item in record.items] == [
        ("client", "one"),
        ("server", "one"),
        ("client", b"\x00"),
        ("server", b"\x00"),
    ]
    assert shown(record)["close"] == {"by": "client", "code": 4000, "reason": "bye"}
    (attempt,) = record.tries
    assert attempt.answer.line == "HTTP/1.1 101 Switching Protocols"


def test_while_it_is_paused_nothing_is_remembered(seen):
    watched, records = seen()
    watched.inspector.store.paused = True
    requests.get(f"{watched.url}/echo")
    assert records() == []
    watched.inspector.store.paused = False
    requests.get(f"{watched.url}/echo")
    assert [record.row()["status"] for record in records()] == [200]


def test_memory_is_bounded_whatever_passes(seen):
    watched, records = seen(max_bytes=200_000, max_exchanges=10)
    for _ in range(12):
        requests.get(f"{watched.url}/download/50000")
    assert 1 <= len(records()) <= 3
    assert watched.inspector.store.weight <= 200_000


def test_opening_a_har_file_shows_its_exchanges(seen, tmp_path):
    from rolo.har import Recorder

    watched, records = seen()
    recorder = Recorder()
    with contextlib.ExitStack() as stack:
        from rolo.serving import serve

        server = stack.enter_context(serve(watched.gateway, observers=[recorder]))
        requests.post(f"{server.url}/upload", data=b"body")
        server.wait_observed()
        recorder.write(tmp_path / "one.har")
    assert watched.inspector.load(tmp_path / "one.har") == 1
    (record,) = records()
    assert (record.row()["method"], record.request_body.read()) == ("POST", b"body")
    assert record.row()["file"]
