"""Websockets of the native server, on raw sockets with frames by wsproto."""

import asyncio
import contextlib
import socket
import struct
import threading

import pytest
from native_support import DEADLINE, Running, wait_until
from wsproto.connection import Connection as Frames
from wsproto.connection import ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.extensions import PerMessageDeflate

from rolo.errors import ClientDisconnected
from rolo.websocket.errors import WebSocketDisconnectedError, WebSocketProtocolError

KEY = "dGhlIHNhbXBsZSBub25jZQ=="


@pytest.fixture(autouse=True)
def no_thread_left():
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) == before


class Client:
    """A websocket client that shows every event."""

    def __init__(self, server, headers=(), early=b""):
        self.wire = server.wire()
        fields = [
            ("Upgrade", "WebSocket"),
            ("Connection", "keep-alive, Upgrade"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", KEY),
            *headers,
        ]
        lines = ["GET /chat?a=b HTTP/1.1", "Host: a", *(f"{n}: {v}" for n, v in fields)]
        self.wire.send("\r\n".join(lines).encode() + b"\r\n\r\n" + early)
        self.extension = PerMessageDeflate()
        self.frames = Frames(ConnectionType.CLIENT)
        self.events = []

    def answer(self):
        answer = self.wire.head()
        if answer.get("sec-websocket-extensions"):
            self.extension.finalize(answer.get("sec-websocket-extensions"))
            self.frames = Frames(ConnectionType.CLIENT, [self.extension])
        return answer

    def send(self, event):
        self.wire.send(self.frames.send(event))

    def next(self):
        """The next event, messages whole."""
        parts = []
        while True:
            while not self.events:
                if self.wire.buffer:
                    data, self.wire.buffer = self.wire.buffer, b""
                else:
                    data = self.wire.socket.recv(65536)
                    assert data, "the connection ended"
                self.frames.receive_data(data)
                self.events += self.frames.events()
            event = self.events.pop(0)
            if not isinstance(event, TextMessage | BytesMessage):
                return event
            parts.append(event.data)
            if event.message_finished:
                return type(event)(data=event.data[:0].join(parts))

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.wire.close()


@pytest.fixture(params=["asyncio", "uvloop"])
def server(request):
    with Running(kind=request.param) as server:
        server.websocket = echo
        yield server


async def echo(server, ws):
    await ws.accept(ws.subprotocols[0] if ws.subprotocols else None, [(b"Set-Cookie", b"a=b")])
    try:
        while True:
            await ws.send(await ws.receive())
    except WebSocketDisconnectedError as e:
        server.seen.put((e.code, e.reason))


def test_messages_come_back_whole_and_in_order(server):
    with Client(server) as client:
        answer = client.answer()
        assert (answer.status, answer.reason) == (101, "Switching Protocols")
        assert answer.get("sec-websocket-accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert answer.get("sec-websocket-protocol") is None
        assert answer.get("sec-websocket-extensions") is None
        assert answer.get("set-cookie") == "a=b"
        for data in ["", "h\xe4llo", b"", b"\x00\xff" * 50_000, "x" * 200_000]:
            event = TextMessage if isinstance(data, str) else BytesMessage
            client.send(event(data=data))
            assert client.next() == event(data=data)
        client.send(TextMessage(data="a", message_finished=False))
        client.send(Ping(payload=b"p" * 125))
        client.send(TextMessage(data="b", message_finished=True))
        assert client.next() == Pong(payload=b"p" * 125)
        assert client.next() == TextMessage(data="ab")


def test_the_head_and_the_subprotocols(server):
    async def handler(server, ws):
        server.seen.put((ws.head.path, ws.head.query, ws.head.method, ws.subprotocols))
        await ws.accept("two", [(b"Upgrade", b"x"), (b"Sec-WebSocket-Accept", b"x")])

    server.websocket = handler
    headers = [("Sec-WebSocket-Protocol", "one, two"), ("Sec-WebSocket-Protocol", "three")]
    with Client(server, headers) as client:
        answer = client.answer()
        assert answer.all("sec-websocket-protocol") == ["two"]
        assert answer.all("upgrade") == ["websocket"]
        assert answer.all("sec-websocket-accept") == ["s3pPLMBiTxaQ9kYGzzhZRbK+xOo="]
    assert server.next() == ("/chat", b"a=b", "GET", ["one", "two", "three"])


@pytest.mark.parametrize(
    ("close", "told", "answered"),
    [
        (CloseConnection(code=1000, reason=""), (1000, ""), (1000, None)),
        (CloseConnection(code=4321, reason="b\xfce"), (4321, "b\xfce"), (4321, "b\xfce")),
        (CloseConnection(code=None), (1005, ""), (1005, None)),
    ],
)
def test_the_close_of_the_client_is_told_and_answered(server, close, told, answered):
    with Client(server) as client:
        client.answer()
        client.send(TextMessage(data="last"))
        client.send(close)
        assert client.next() == TextMessage(data="last")
        assert server.next() == told
        event = client.next()
        assert isinstance(event, CloseConnection)
        assert (event.code, event.reason or None) == answered
        assert client.wire.read_rest() == b""
    wait_until(lambda: not server.server_state.connections)


@pytest.mark.parametrize(
    ("code", "reason", "seen"), [(4001, "over", (4001, "over")), (None, "", (1005, None))]
)
def test_our_close_is_sent_and_the_answer_told(server, code, reason, seen):
    async def handler(server, ws):
        await ws.accept(None, [])
        await ws.close(code, reason)
        with pytest.raises(WebSocketProtocolError):
            await ws.send("late")
        try:
            await ws.receive()
        except WebSocketDisconnectedError as e:
            server.seen.put(e.code)

    server.websocket = handler
    with Client(server) as client:
        client.answer()
        client.send(TextMessage(data="crossing"))
        event = client.next()
        assert (event.code, event.reason or None) == seen
        client.send(event.response())
        assert server.next() == (code or 1005)
        assert client.wire.read_rest() == b""


def test_a_lost_connection_is_1006(server):
    for leave in ("close", "reset"):
        with Client(server) as client:
            client.answer()
            getattr(client.wire, leave)()
            assert server.next() == (1006, "")
    wait_until(lambda: not server.server_state.connections)


@pytest.mark.parametrize("failed", [False, True])
def test_a_handler_that_returns_leaves_nothing_open(server, failed):
    async def handler(server, ws):
        await ws.accept(None, [])
        if failed:
            raise LookupError("internal")

    server.websocket = handler
    with Client(server) as client:
        client.answer()
        event = client.next()
        assert event.code == (1011 if failed else 1000)
        client.send(event.response())
        assert client.wire.read_rest() == b""


@pytest.mark.parametrize(("failed", "status"), [(False, 403), (True, 500)])
def test_an_unanswered_handshake_is_refused(server, failed, status):
    async def handler(server, ws):
        if failed:
            raise LookupError("internal")

    server.websocket = handler
    with Client(server) as client:
        assert client.answer().status == status


def test_a_handshake_is_refused_with_any_answer(server):
    async def handler(server, ws):
        with pytest.raises(WebSocketProtocolError):
            await ws.send("too early")
        await ws.reject(401, b"No", [(b"WWW-Authenticate", b"x"), (b"content-length", b"9")], b"hm")
        with pytest.raises(WebSocketProtocolError):
            await ws.accept(None, [])

    server.websocket = handler
    with Client(server) as client:
        answer = client.wire.answer()
        assert (answer.status, answer.reason, answer.body) == (401, "No", b"hm")
        assert answer.get("www-authenticate") == "x"
        assert client.wire.read_rest() == b""


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ("Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short", 400),
        ("Sec-WebSocket-Version: 13", 400),
        (f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Key: {KEY}", 400),
        (f"Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: {KEY}", 426),
        (f"Sec-WebSocket-Key: {KEY}", 426),
        (f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\nContent-Length: 0", 400),
    ],
)
def test_broken_handshakes_are_refused(server, headers, status):
    with server.wire() as wire:
        wire.send(
            f"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n{headers}"
            "\r\n\r\n".encode()
        )
        answer = wire.answer()
        assert answer.status == status
        assert answer.get("sec-websocket-version") == ("13" if status == 426 else None)


def test_other_upgrades_are_plain_requests(server):
    with server.wire() as wire:
        headers = [("Upgrade", "h2c"), ("Connection", "Upgrade, HTTP2-Settings")]
        assert wire.get("/", headers).body == b"hello"
        wire.request("POST", "/", [("Upgrade", "websocket"), ("Connection", "Upgrade")], b"x")
        assert wire.answer().body == b"hello"


def test_frames_sent_before_the_answer_are_not_lost(server):
    early = Frames(ConnectionType.CLIENT).send(TextMessage(data="eager"))
    with Client(server, early=early) as client:
        assert client.answer().status == 101
        assert client.next() == TextMessage(data="eager")


def test_leaving_during_the_handshake_is_told(server):
    async def handler(server, ws):
        gone = asyncio.Event()
        ws.watch_gone(gone.set)
        server.seen.put("started")
        await gone.wait()
        with pytest.raises(ClientDisconnected):
            await ws.accept(None, [])
        server.seen.put("gone")

    server.websocket = handler
    with Client(server):
        assert server.next() == "started"
    assert server.next() == "gone"


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x81\x03abc", 1002),  # not masked
        (b"\xc1\x80\0\0\0\0", 1002),  # reserved bit
        (b"\x83\x80\0\0\0\0", 1002),  # reserved opcode
        (b"\x81\x81\0\0\0\0\xff", 1007),  # not UTF-8
        (b"\x80\x80\0\0\0\0", 1002),  # continues nothing
        (b"\x88\x81\0\0\0\0a", 1002),  # close with half a code
        (b"\x88\x82\0\0\0\0\x03\xed", 1002),  # close with 1005
    ],
    ids=["unmasked", "reserved bit", "reserved opcode", "utf-8", "continuation", "short", "1005"],
)
def test_broken_frames_fail_the_connection(server, frame, code):
    with Client(server) as client:
        client.answer()
        client.wire.send(frame)
        event = client.next()
        assert event.code == code
        assert server.next()[0] == code
        assert client.wire.read_rest() == b""


@pytest.mark.parametrize("deflate", [False, True])
def test_a_message_over_the_limit_is_1009(deflate):
    headers = [("Sec-WebSocket-Extensions", "permessage-deflate")] if deflate else []
    with Running(websocket_max_message=100_000) as server:
        server.websocket = echo
        with Client(server, headers) as client:
            client.answer()
            client.send(BytesMessage(data=b"x" * 100_000))
            assert client.next() == BytesMessage(data=b"x" * 100_000)
            client.send(BytesMessage(data=b"x" * 100_001))
            assert client.next().code == 1009
            assert server.next()[0] == 1009


def test_compression_is_negotiated(server):
    offer = "x-unknown, permessage-deflate; client_max_window_bits=12"
    with Client(server, [("Sec-WebSocket-Extensions", offer)]) as client:
        answer = client.answer()
        assert answer.get("sec-websocket-extensions").startswith("permessage-deflate")
        for _ in range(3):
            client.send(TextMessage(data="abc" * 10_000))
            assert client.next() == TextMessage(data="abc" * 10_000)


def test_compression_can_be_declined():
    with Running(websocket_compression=False) as server:
        server.websocket = echo
        with Client(server, [("Sec-WebSocket-Extensions", "permessage-deflate")]) as client:
            assert client.answer().get("sec-websocket-extensions") is None


def test_a_client_that_does_not_read_holds_the_sender(server):
    async def handler(server, ws):
        await ws.accept(None, [])
        sent = 0
        try:
            while sent < 100_000_000:
                await asyncio.wait_for(ws.send(b"x" * 65536), 0.3)
                sent += 65536
        except TimeoutError:
            server.seen.put(sent)
            ws.abort()

    server.websocket = handler
    with Client(server) as client:
        client.wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.answer()
        assert server.next() < 20_000_000


def test_a_handler_that_does_not_receive_holds_the_client(server):
    async def handler(server, ws):
        await ws.accept(None, [])
        await server.go.wait()
        count = 0
        while await ws.receive() != "end":
            count += 1
        server.seen.put(count)

    server.websocket = handler
    server.go = asyncio.Event()
    with Client(server) as client:
        client.answer()
        frame = b"\x82\xff" + struct.pack("!Q", 65536) + b"\0\0\0\0" + b"\0" * 65536
        sent = 0
        client.wire.socket.settimeout(0.3)
        rest = b""
        while not rest and sent < 1000:
            view = memoryview(frame)
            try:
                while view:
                    view = view[client.wire.socket.send(view) :]
            except TimeoutError:
                rest = bytes(view)
            sent += 1
        assert sent < 1000
        client.wire.socket.settimeout(DEADLINE)
        server.loop.call_soon_threadsafe(server.go.set)
        client.wire.send(rest)
        client.send(TextMessage(data="end"))
        assert server.next() == sent


def test_stopping_closes_websockets_with_1001():
    with Running() as server:
        server.websocket = echo
        with Client(server) as client:
            client.answer()
            stopper = threading.Thread(target=server.stop, args=(DEADLINE,))
            stopper.start()
            event = client.next()
            assert event.code == 1001
            client.send(event.response())
            assert client.wire.read_rest() == b""
            stopper.join(DEADLINE)
        assert server.next() == (1001, "")
        assert server.next() == ("connections left", 0)


def test_a_client_that_does_not_answer_a_close_is_cut_off():
    async def handler(server, ws):
        await ws.accept(None, [])
        await ws.close(1000, "")

    with Running(websocket_close_timeout=0.1) as server:
        server.websocket = handler
        with Client(server) as client:
            client.answer()
            assert client.next().code == 1000
            assert client.wire.read_rest() == b""
            wait_until(lambda: not server.server_state.connections)


def test_waits_for_a_client_that_does_not_read_leave_nothing_when_given_up(server):
    async def handler(server, ws):
        await ws.accept(None, [])
        connection = ws._connection
        while not connection.writing_paused:
            connection.write(b"\x82\x7e\xff\xff" + bytes(65535))
        for _ in range(100):
            waiting = asyncio.ensure_future(connection.drained())
            await asyncio.sleep(0)
            waiting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await waiting
        waiting = asyncio.ensure_future(connection.drained())
        await asyncio.sleep(0)
        server.seen.put(len(connection._drains))
        waiting.cancel()
        ws.abort()

    server.websocket = handler
    with Client(server) as client:
        client.answer()
        assert server.next() == 1
