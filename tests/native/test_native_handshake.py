"""The native server's websockets before they are open, without sockets."""

import asyncio

import pytest
from in_memory import HANDSHAKE, Client, passes, serving, turns

from rolo.errors import ClientDisconnected
from rolo.websocket.errors import WebSocketProtocolError

CLOSED_1001 = b"\x88\x02\x03\xe9"


async def waits(d):
    await asyncio.get_running_loop().create_future()


def fields(sent):
    """Return (status line, [field line]) of the answer in ``sent``."""
    line, *lines = sent.partition(b"\r\n\r\n")[0].split(b"\r\n")
    return line, lines


@serving()
async def test_what_is_accepted_has_the_fields_of_a_handshake_once(state, handler, clock):
    async def accept(d):
        await d.accept("two", [(b"X-A", b"1"), (b"Sec-WebSocket-Accept", b"x"), (b"Upgrade", b"y")])
        await waits(d)

    handler.websocket = accept
    client = Client(state)
    client.send(HANDSHAKE)
    await turns()
    assert fields(client.sent) == (
        b"HTTP/1.1 101 Switching Protocols",
        [
            b"Upgrade: websocket",
            b"Connection: Upgrade",
            b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
            b"Sec-WebSocket-Protocol: two",
            b"X-A: 1",
        ],
    )


@pytest.mark.parametrize("compression", [True, False])
def test_compression_is_agreed_upon_where_it_is_on(compression):
    @serving(websocket_compression=compression)
    async def test(state, handler, clock):
        async def accept(d):
            await d.accept(None, [])
            await d.send("a" * 100)

        handler.websocket = accept
        offer = b"\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
        client = Client(state)
        client.send(HANDSHAKE.replace(b"\r\n\r\n", offer))
        await turns()
        head, _, frames = client.sent.partition(b"\r\n\r\n")
        assert (b"permessage-deflate" in head) == compression
        assert (frames[0] == 0xC1) == compression

    test()


@pytest.mark.parametrize("ends", ["close", "returns", "raises", "is cancelled"])
def test_what_is_never_accepted_is_refused_once(ends):
    @serving()
    async def test(state, handler, clock):
        async def never_accepts(d):
            if ends == "close":
                await d.close(1000, "")
                await d.close(1000, "")
            elif ends == "raises":
                raise ValueError("on purpose")
            elif ends == "is cancelled":
                raise asyncio.CancelledError

        handler.websocket = never_accepts
        client = Client(state)
        client.send(HANDSHAKE)
        await turns()
        if ends == "is cancelled":
            assert (client.sent, client.done) == (b"", ["abort"])
        else:
            assert client.sent.count(b"HTTP/1.1") == 1
            assert client.status == (500 if ends == "raises" else 403)
            assert client.done == ["eof"]
        passes(state, clock, 100)
        assert client.done[-1] != "eof"

    test()


@serving()
async def test_a_refusal_is_framed_by_us_whatever_its_fields_say(state, handler, clock):
    async def refuse(d):
        headers = [(b"Content-Length", b"9"), (b"Connection", b"x"), (b"X-A", b"1")]
        if d.head.query:
            headers.append((b"Date", b"then"))
        status = int(d.head.path[1:])
        await d.reject(status, b"Why not" if status == 200 else b"", headers, b"no")

    handler.websocket = refuse
    found = {}
    for path in (b"/200", b"/403?dated", b"/204"):
        client = Client(state)
        client.send(HANDSHAKE.replace(b"GET /", b"GET " + path))
        await turns()
        found[path] = client.sent.replace(state.date, b"now").split(b"\r\n")
        assert client.done == ["eof"]
    assert found == {
        b"/200": [
            *(b"HTTP/1.1 200 Why not", b"X-A: 1", b"Content-Length: 2", b"Date: now"),
            *(b"Connection: close", b"", b"no"),
        ],
        b"/403?dated": [
            *(b"HTTP/1.1 403 Forbidden", b"X-A: 1", b"Date: then", b"Content-Length: 2"),
            *(b"Connection: close", b"", b"no"),
        ],
        b"/204": [
            *(b"HTTP/1.1 204 No Content", b"X-A: 1", b"Date: now"),
            *(b"Connection: close", b"", b""),
        ],
    }


@serving()
async def test_a_handshake_is_answered_once(state, handler, clock):
    async def answers(d):
        for use in (d.receive, lambda: d.send("x")):
            with pytest.raises(WebSocketProtocolError, match="not accepted"):
                await use()
        assert d.end is None
        await d.accept(None, [])
        for again in (d.accept(None, []), d.reject(403, b"", [], b"")):
            with pytest.raises(WebSocketProtocolError, match="answered already"):
                await again
        assert d.end is not None
        done.set()

    done = asyncio.Event()
    handler.websocket = answers
    client = Client(state)
    client.send(HANDSHAKE)
    await turns()
    assert done.is_set()
    assert client.sent.count(b"HTTP/1.1") == 1


@serving()
async def test_who_leaves_within_the_handshake_is_told_of_and_gets_nothing(state, handler, clock):
    gone = []

    async def late(d):
        d.watch_gone(lambda: gone.append("at once"))
        left.set()
        await go_on.wait()
        d.watch_gone(lambda: gone.append("afterwards"))
        for answer in (d.accept(None, []), d.reject(403, b"", [], b"")):
            with pytest.raises(ClientDisconnected, match="during the handshake"):
                await answer
        await d.close(1000, "")
        gone.append("over")

    left, go_on = asyncio.Event(), asyncio.Event()
    handler.websocket = late
    client = Client(state)
    client.send(HANDSHAKE)
    await left.wait()
    client.leave()
    client.connection._lose()  # whoever says so a second time
    go_on.set()
    await turns()
    assert gone == ["at once", "afterwards", "over"]
    assert client.sent == b""


@serving(head_timeout=10.0)
async def test_a_handshake_has_all_the_time_that_its_handler_takes(state, handler, clock):
    handler.websocket = waits
    client = Client(state)
    client.send(HANDSHAKE)
    passes(state, clock, 10_000)
    assert client.done == []


@serving(websocket_ping_interval=10.0, websocket_ping_timeout=4.0)
async def test_a_client_that_is_silent_is_pinged_and_then_given_up(state, handler, clock):
    async def accept(d):
        await d.accept(None, [])
        await waits(d)

    handler.websocket = accept
    client = Client(state)
    client.send(HANDSHAKE)
    passes(state, clock, 100)  # before it is open there is nobody to ping
    await turns()
    client.take()
    passes(state, clock, 0)
    passes(state, clock, 9.5)
    assert client.take() == b""
    passes(state, clock, 0.5)
    assert client.take()[:1] == b"\x89"
    client.send(b"\x8a\x80" + bytes(4))
    passes(state, clock, 1)
    passes(state, clock, 9.5)
    assert client.take() == b""
    passes(state, clock, 0.5)
    assert client.take()[:1] == b"\x89"
    passes(state, clock, 3.5)
    assert client.done == []
    passes(state, clock, 0.5)
    assert client.done == ["abort"]


@serving(websocket_close_timeout=7.0)
async def test_a_server_that_stops_closes_websockets_and_waits_for_the_answer(
    state, handler, clock
):
    async def accept(d):
        await d.accept(None, [])
        await waits(d)

    handler.websocket = accept
    client = Client(state)
    client.send(HANDSHAKE)
    await turns()
    client.take()
    client.connection.drain_out()
    assert client.sent == CLOSED_1001
    passes(state, clock, 6.75)
    assert client.done == []
    passes(state, clock, 0.25)
    assert client.done == ["abort"]
