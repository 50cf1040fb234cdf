"""Recorded from real sockets, and replayed on real sockets: clients see the same."""

import gzip
import threading

import pytest
from raw_origin import RawOrigin
from websocket_origin import BINARY, Client
from wire import Truncated, Wire, fetch

from rolo import Response
from rolo.har import Answer, Close, Entry, Message, Recording, compare
from rolo.har.content import InMemory
from rolo.har.model import Pieces
from rolo.proxy import ProxyHandler

H = "http://h"


def entry(target="/", body=b"", *, method="GET", sent=b"", headers=(), **answer):
    fields = answer.pop("fields", [])
    return Entry(
        method,
        f"{H}{target}",
        list(headers),
        InMemory(sent),
        answer=Answer(200, "OK", [*fields], InMemory(body), **answer),
    )


def streamed(*pieces, outcome="complete", ended=0.0):
    found = entry("/", b"".join(pieces), fields=[("Transfer-Encoding", "chunked")])
    found.answer.pieces = Pieces((0.0, len(piece)) for piece in pieces)
    found.outcome, found.ended = outcome, ended
    return Recording([found])


def talk(*messages, close=None):
    said = [Message(0.0, by, data) for by, data in messages]
    return Recording([Entry("GET", "ws://h/", messages=said, answer=Answer(101), close=close)])


# --- what was recorded is what is replayed


def test_heads_interims_pieces_and_trailers_of_a_proxied_exchange(recorded, replayed):
    def script(origin, connection, number):
        origin.head(connection)
        connection.sendall(
            b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
            b"HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n"
            b"Date: Wed, 21 Oct 2026 07:28:00 GMT\r\nx-a: 1\r\nX-A: 2\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\nX-Sum: 6\r\n\r\n"
        )
        while connection.recv(65536):
            pass

    def ask(url):
        with Wire(url) as wire:
            wire.send(
                b"POST /up HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nConnection: TE\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Up: 1\r\n\r\n"
            )
            interim, answer = wire.head(), wire.head()
            body = b"".join(iter(wire.chunk, b""))
            trailers = wire.read_until(b"\r\n\r\n")
            heads = (interim.status, interim.headers, answer.status, answer.reason)
            return (*heads, answer.headers, body, trailers)

    seen = []
    with RawOrigin(script) as origin:
        recording = recorded(ProxyHandler(origin.url), lambda url: seen.append(ask(url)))
    (only,) = recording
    assert (only.body.read(), only.trailers) == (b"hello", [("X-Up", "1")])
    player, url = replayed(recording)
    assert ask(url) == seen[0]
    replayed.stop()
    player.check()


def test_an_answer_that_broke_off_breaks_off_at_the_same_byte(recorded, replayed):
    def broken(chain, context, response):
        def pieces():
            yield b"a" * 10
            raise ValueError("no")

        response.update_from(Response(pieces(), headers={"Content-Length": "20"}))
        chain.stop()

    def ask(url):
        with Wire(url) as wire:
            wire.request("GET", "/")
            assert wire.head().get("content-length") == "20"
            return wire.read_rest()

    recording = recorded(broken, ask)
    assert (recording.entries[0].outcome, recording.entries[0].error) == ("aborted", "ValueError")
    player, url = replayed(recording)
    assert ask(url) == b"a" * 10
    replayed.stop()
    player.check()


def test_an_answer_that_never_came_is_a_connection_that_breaks(replayed):
    only = Entry("GET", f"{H}/", outcome="aborted", error="net::ERR_EMPTY_RESPONSE")
    _, url = replayed(Recording([only]))
    with Wire(url) as wire, pytest.raises((Truncated, ConnectionResetError)):
        wire.get("/")


def test_a_server_without_a_loop_replays_what_it_can(replayed):
    never = Entry("GET", f"{H}/never", outcome="aborted")
    broken = streamed(b"one", b"two", outcome="aborted").entries[0]
    recording = Recording([*streamed(b"a", b"b"), never, broken])
    player, url = replayed(recording, server="werkzeug", pace="gated", match=["method", "path"])
    player.step(2)
    assert fetch(url).body == b"ab"
    assert fetch(url, "/never").status == 502
    player.open()
    with pytest.raises(Truncated):
        fetch(url)


def test_a_stream_that_the_client_left_ends_when_it_left(recorded, replayed):
    left = threading.Event()

    def endless(chain, context, response):
        def pieces():
            yield b"data: 1\n\n"
            left.wait(5)
            while True:
                yield b":\n"

        response.update_from(Response(pieces(), mimetype="text/event-stream"))
        chain.stop()

    def leave(url):
        with Wire(url) as wire:
            wire.request("GET", "/")
            assert wire.chunk_of_head() == b"data: 1\n\n"
        left.set()

    Wire.chunk_of_head = lambda wire: (wire.head(), wire.chunk())[1]
    try:
        recording = recorded(endless, leave)
    finally:
        del Wire.chunk_of_head
    assert recording.entries[0].outcome == "client_left"
    _, url = replayed(recording, pace="at_once")
    with Wire(url) as wire:
        wire.request("GET", "/")
        wire.head()
        assert wire.chunk() == b"data: 1\n\n"
        with pytest.raises(Truncated):
            list(iter(wire.chunk, b""))


def test_a_websocket_with_its_subprotocol_fields_messages_and_close(recorded, replayed):
    def served(chain, context, response):
        from werkzeug.datastructures import Headers

        with context.request.accept("chat", Headers([("X-A", "1")])) as ws:
            ws.send("welcome")
            for message in ws:
                ws.send(message)
                if message == b"close":
                    ws.close(4000, "asked")
                    return

    def ask(url):
        with Client(url, headers=[("Sec-WebSocket-Protocol", "chat")]) as client:
            head = client.open().handshake
            heard = [head.get("sec-websocket-protocol"), client.message()]
            client.text('{"a": 1, "b": 2}')
            heard.append(client.message())
            client.send(BINARY, b"close")
            return [head.get("x-a"), *heard, client.message(), client.closing()]

    seen = []
    recording = recorded(served, lambda url: seen.append(ask(url)))
    assert seen[0][0] == "1"
    player, url = replayed(recording)
    assert ask(url) == seen[0]
    replayed.stop()
    player.check()


def test_a_refused_websocket_is_refused(recorded, replayed):
    def refusing(chain, context, response):
        chain.respond(402, b"pay")

    def ask(url):
        with Client(url) as client:
            answer = client.answer()
            return answer.status, answer.body

    seen = []
    recording = recorded(refusing, lambda url: seen.append(ask(url)))
    player, url = replayed(recording)
    assert ask(url) == seen[0] == (402, b"pay")
    replayed.stop()
    player.check()


# --- which answer is given


def test_the_same_request_gets_its_answers_in_order_each_once(replayed):
    player, url = replayed(Recording([entry("/a", b"1"), entry("/b", b"x"), entry("/a", b"2")]))
    assert [fetch(url, path).body for path in ("/a", "/a", "/b")] == [b"1", b"2", b"x"]
    player.check()
    miss = fetch(url, "/a")
    assert miss.status == 404
    assert miss.body == b"GET /a was recorded 2 times, and is asked once more.\n"
    with pytest.raises(AssertionError, match="once more"):
        player.check()


@pytest.mark.parametrize(("repeat", "then"), [("last", b"222"), ("again", b"121")])
def test_after_the_last_one(replayed, repeat, then):
    _, url = replayed(Recording([entry("/", b"1"), entry("/", b"2")]), repeat=repeat)
    assert b"".join(fetch(url).body for _ in range(5)) == b"12" + then


def test_what_nobody_asked_for_is_told(replayed):
    player, url = replayed(Recording([entry("/a"), entry("/b?x=1", method="POST")]))
    fetch(url, "/a")
    assert [str(each) for each in player.unused] == ["POST /b?x=1"]
    with pytest.raises(AssertionError, match="1 recorded requests were not made:\n  POST /b"):
        player.check()


def test_a_request_that_is_not_recorded_fails_with_the_nearest(replayed):
    player, url = replayed(Recording([entry("/orders?page=1"), entry("/users")]))
    miss = fetch(url, "/orders?page=2")
    assert (miss.status, miss.get("content-type")) == (404, "text/plain; charset=utf-8")
    assert miss.body.decode() == player.problems[0]
    assert miss.body.decode().startswith("Not recorded: GET /orders?page=2.\n")
    assert 'query.page\n       wanted  "1"\n       got     "2"' in miss.body.decode()


def test_what_is_not_recorded_may_be_left_to_the_handlers_behind(replayed):
    player, url = replayed(
        Recording([entry("/a", b"recorded")]),
        lambda chain, context, response: chain.respond(200, context.request.get_data()),
        missing="pass",
        match=["method", "path", "body"],
    )
    assert fetch(url, "/a").body == b"recorded"
    assert fetch(url, "/a", "POST", body=b"live").body == b"live"
    assert player.problems == []


def test_what_is_replayed_is_not_recorded_again(replayed):
    recording = Recording([entry("/a"), *talk(("server", "x"))])
    _, url = replayed(recording, hello, missing="pass")
    fetch(url, "/a")
    fetch(url, "/live")
    with Client(url) as client:
        client.open()
        client.message()
    replayed.stop()
    assert [str(each) for each in replayed.recorder.recording] == ["GET /live"]


def hello(chain, context, response):
    chain.respond(200, b"hello")


def test_a_recording_with_a_gap_is_not_replayed(replayed):
    gap, empty = entry("/gap"), entry("/empty")
    gap.missed, gap.comment = True, "the answer's body cut after 5 bytes"
    empty.answer.body = None
    _, url = replayed(Recording([gap, empty]))
    assert fetch(url, "/gap").body.endswith(b"replayed: the answer's body cut after 5 bytes\n")
    assert fetch(url, "/empty").status == 404


def test_head_is_answered_by_what_get_was(replayed):
    recording = Recording([entry("/", b"hello", fields=[("Content-Length", "5")])])
    _, url = replayed(recording)
    with Wire(url) as wire:
        wire.request("HEAD", "/")
        assert wire.answer("HEAD").get("content-length") == "5"


def test_a_body_that_somebody_has_edited_has_its_own_length(replayed):
    _, url = replayed(Recording([entry("/", b"longer", fields=[("Content-Length", "5")])]))
    assert fetch(url).body == b"longer"


# --- when


def test_each_piece_waits_for_a_step(replayed):
    player, url = replayed(streamed(b"one", b"two", b"three"), pace="gated")
    with Wire(url) as wire:
        wire.request("GET", "/")
        wire.head()
        for piece in (b"one", b"two"):
            player.step()
            assert wire.chunk() == piece
        wire.socket.settimeout(0.05)
        with pytest.raises(TimeoutError):
            wire.chunk()
        wire.socket.settimeout(5)
        player.step(2)
        assert (wire.chunk(), wire.chunk()) == (b"three", b"")
    replayed.stop()
    player.check()


def test_each_message_waits_for_a_step_and_a_close_is_heard_meanwhile(replayed):
    player, url = replayed(talk(("server", "a"), ("client", "b"), ("server", "c")), pace="gated")
    with Client(url) as client:
        client.open()
        player.step()
        assert client.message() == "a"
        client.text("b")
        client.close(1000)
        assert client.closing()[0] == 1000
    replayed.stop()
    assert player.problems == ["the client closed / with 1000 after 2 of 3 messages"]


def test_pieces_come_when_they_came(replayed):
    recording = streamed(b"a", b"b", b"c", ended=0.25)
    answer = recording.entries[0].answer
    answer.at, answer.pieces = 0.05, Pieces([(0.1, 1), (0.2, 2)])
    waited = []
    with pytest.MonkeyPatch.context() as patch:
        import asyncio

        sleep = asyncio.sleep
        patch.setattr(
            "rolo.har.pace.asyncio.sleep",
            lambda seconds: waited.append(seconds) or sleep(0),
        )
        patch.setattr("rolo.har.pace.time.monotonic", lambda: 100.0)
        _, url = replayed(recording, pace=2)
        assert fetch(url).body == b"abc"
    assert waited == pytest.approx([0.1, 0.2, 0.4, 0.5])


# --- websockets


def test_a_client_that_says_something_else_is_closed_and_told_of(replayed):
    player, url = replayed(talk(("client", '{"a": 1, "b": "REDACTED"}'), ("client", "two")))
    with Client(url) as client:
        client.open()
        client.text('{"b": "x", "a": 1}')
        client.text("three")
        assert client.closing() == (1008, "message 2 is not as recorded")
    replayed.stop()
    assert player.problems == [
        'message 2 of / is not as recorded: wanted "two" of the client, got "three"'
    ]


@pytest.mark.parametrize(
    ("close", "code"),
    [
        (Close(0.0, "server", 4001, "go"), (4001, "go")),
        (Close(0.0, "server", 1005), (None, "")),
    ],
)
def test_the_close_of_the_server_is_sent_again(replayed, close, code):
    player, url = replayed(talk(("server", "x"), close=close))
    with Client(url) as client:
        client.open()
        assert client.message() == "x"
        assert client.closing() == code
    replayed.stop()
    player.check()


def test_a_lost_connection_is_lost_again(replayed):
    player, url = replayed(talk(("server", "x"), close=Close(0.0, "server", 1006)))
    with Client(url) as client:
        client.open()
        assert client.message() == "x"
        with pytest.raises((Truncated, ConnectionResetError)):
            client.closing()
    replayed.stop()
    player.check()


def test_another_close_of_the_client_is_told_of(replayed):
    player, url = replayed(talk(close=Close(0.0, "client", 1000)))
    with Client(url) as client:
        client.open()
        client.text("more")
        client.close(4002)
        client.closing()
    replayed.stop()
    assert player.problems == [
        'the client sent / a message more than was recorded: "more"',
        "the client closed / with 4002, and not with 1000 as recorded",
    ]


# --- comparing


def test_what_is_the_same_has_no_differences(recorded, replayed):
    def answer(chain, context, response):
        chain.respond(200, b'{"a": 1}', {"Content-Type": "application/json", "X-A": "1"})

    first = recorded(answer, fetch)
    second = recorded(answer, fetch)
    assert compare(first.entries[0], second.entries[0]) == []


def test_each_difference_has_its_place():
    kind = ("Content-Type", "application/json")
    first = entry(
        "/", b'{"a": [1, 2], "s": "REDACTED"}', fields=[kind, ("X-A", "1"), ("Date", "x")]
    )
    second = entry("/", b'{"a": [1, 3], "s": 5}', fields=[kind, ("X-B", "2")])
    second.answer.status, second.outcome = 201, "aborted"
    assert [(each.place, each.wanted, each.got) for each in compare(first, second)] == [
        ("status", "200", "201"),
        ("headers.x-a", '"1"', "absent"),
        ("headers.x-b", "absent", '"2"'),
        ("json.a[1]", "2", "3"),
        ("end", "complete", "aborted"),
    ]


def test_messages_and_closes_are_compared():
    def places(first, second):
        return [(each.place, each.wanted, each.got) for each in compare(first, second)]

    (one,) = talk(("server", "a"), ("client", "x"), ("server", "b"))
    (two,) = talk(("server", "a"), close=Close(0.0, "server", 1000))
    assert places(one, two) == [("messages[1]", '"b"', "absent")]
    assert places(two, one) == [("messages[1]", "absent", '"b"')]
    (three,) = talk(("server", "c"), close=Close(0.0, "server", 4000))
    assert places(two, three) == [("messages[0]", '"a"', '"c"'), ("close code", "1000", "4000")]
    refused = Entry("GET", "ws://h/", answer=Answer(403))
    assert places(one, refused) == [("status", "101", "403")]


def test_an_answer_that_is_missing_and_bodies_in_codings():
    nothing = Entry("GET", f"{H}/", outcome="aborted")
    assert [each.place for each in compare(entry(), nothing)] == ["answer", "end"]
    assert compare(nothing, nothing) == []
    kind = [("Content-Type", "text/plain"), ("Content-Encoding", "gzip")]
    one, two = entry("/", gzip.compress(b"same"), fields=kind), entry("/", b"same", fields=kind)
    two.answer.is_decoded = True
    assert compare(one, two) == []
    two.answer.body = InMemory(b"\xff")
    assert [(each.place, each.got) for each in compare(one, two)] == [("body", "b'\\xff'")]
