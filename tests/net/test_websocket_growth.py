"""What a stranger sends costs as much as it is long: four times of it, four times the work."""

import asyncio
import base64
import contextlib
import hashlib
import time
import types
import zlib

import pytest
from websocket_origin import BINARY, PING, TEXT, frame

from rolo.errors import RoloError
from rolo.native.websocket import ClientHandshake
from rolo.net.ledger import Ledger
from rolo.net.websocket import WebSocketPeer
from rolo.upstream.connection import Connection
from rolo.upstream.exchange import Exchange, ExchangeSettings
from rolo.upstream.request import UpstreamRequest
from rolo.upstream.settings import PoolLimits, Timeouts, WebSocketSettings
from rolo.upstream.websocket import Handshake, agreed
from rolo.websocket.errors import WebSocketDisconnectedError
from rolo.wire.http1 import HeadLimits, parse_request_head
from rolo.wire.permessage_deflate import Deflate, Parameters, accept_offer, accepted_by_server
from rolo.wire.target import parse_upstream
from rolo.wire.websocket_frames import FrameReader

KEY = b"\0\0\0\0"
FINAL = b"\x03\x00"
"""A final block of deflated data without content."""
WIDE = HeadLimits(max_head=2**30, max_fields=2**20)


def one(opcode, payload, **options):
    return frame(opcode, payload, key=KEY, **options)


def fragments(opcode, part, count, **options):
    first = one(opcode, part, final=False, **options)
    return first + one(0, part, final=False) * count + one(0, b"")


def deflated(data):
    deflater = zlib.compressobj(wbits=-15)
    return deflater.compress(data) + deflater.flush(zlib.Z_SYNC_FLUSH)[:-4]


SMALL = one(TEXT, deflated(b"x" * 100), reserved=4)


def read(data, pieces=1):
    reader = FrameReader(client=False, deflate=Deflate(Parameters(), client=False))
    size = len(data) // pieces
    for start in range(0, len(data), size):
        reader.feed(data[start : start + size])
        while reader.more:
            reader.feed(b"")


def read_bytewise(data):
    read(data, len(data))


def read_in_thousand_pieces(data):
    read(data, 1000)


def receive_late(data):
    """Nobody waits for the messages when they come."""
    channel = types.SimpleNamespace(
        writing_paused=False, pause_reading=lambda: None, resume_reading=lambda: None
    )

    async def main():
        end = WebSocketPeer(
            channel,
            client=False,
            max_message=None,
            buffer=1000,
            close_timeout=1,
            ledger=Ledger(),
            max_held=None,
            deflate=Deflate(Parameters(), client=False),
        )
        end.feed(data)
        end.lost()
        with contextlib.suppress(WebSocketDisconnectedError):
            while True:
                await end.receive()

    asyncio.run(main())


def head_of(*fields):
    start = [
        b"GET / HTTP/1.1",
        b"Host: a",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: " + base64.b64encode(bytes(16)),
    ]
    return b"\r\n".join([*start, *fields, b"", b""])


def shake_hands(head):
    ClientHandshake.read(parse_request_head(head, WIDE))


def agree(headers):
    """Read the origin's 101."""
    digest = hashlib.sha1(b"key258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    accept = (b"Sec-WebSocket-Accept", base64.b64encode(digest))
    asked = Handshake(parse_upstream("http://a").origin, b"/", [], ["a"])
    agreed([*headers, accept], b"key", asked, WebSocketSettings(compression=True))


def read_answer(data):
    """The head of an answer, as it comes in a thousand pieces."""

    async def main():
        loop, limits = asyncio.get_running_loop(), HeadLimits(2**30, 2**20)
        connection = Connection(loop, memoryview(bytearray(2**20)), None)
        request = UpstreamRequest(None, "GET", b"/", [], upgrade=b"websocket")
        settings = ExchangeSettings(Timeouts(), PoolLimits(), limits, False, 2**20)
        exchange = Exchange(loop, connection, request, settings, None)
        reading = asyncio.ensure_future(exchange.answer(b"", None))
        await asyncio.sleep(0)
        size = len(data) // 1000
        for start in range(0, len(data), size):
            exchange.received(data[start : start + size])
        await reading
        assert exchange.switched is not None

    asyncio.run(main())


CASES = [
    ("final blocks", lambda n: one(BINARY, FINAL * 10 * n, reserved=4), read),
    (
        "final blocks in messages",
        lambda n: one(BINARY, FINAL * 20 + b"\0", reserved=4) * (n // 10),
        read,
    ),
    ("final blocks in fragments", lambda n: fragments(BINARY, FINAL, n, reserved=4), read),
    ("stored blocks", lambda n: one(BINARY, b"\0\0\0\xff\xff" * 10 * n, reserved=4), read),
    ("a deflated message", lambda n: one(TEXT, deflated(b"ab" * 100 * n), reserved=4), read),
    ("deflated messages", lambda n: SMALL * n, read),
    ("fragments", lambda n: fragments(BINARY, b"x", n), read),
    ("fragments of text", lambda n: fragments(TEXT, b"\xc3\xa4", n), read),
    ("empty fragments", lambda n: fragments(TEXT, b"", n), read),
    ("empty messages", lambda n: one(TEXT, b"") * n, read),
    ("pings", lambda n: one(PING, b"x") * n, read),
    ("a frame byte by byte", lambda n: one(BINARY, b"x" * 10 * n), read_bytewise),
    ("frames byte by byte", lambda n: one(BINARY, b"xx") * n, read_bytewise),
    ("a large frame in pieces", lambda n: one(BINARY, b"x" * 100 * n), read_in_thousand_pieces),
    ("messages received late", lambda n: one(TEXT, b"") * n, receive_late),
    ("deflated ones received late", lambda n: SMALL * n, receive_late),
    ("offers", lambda n: "permessage-deflate; x, " * n, accept_offer),
    ("parameters of an offer", lambda n: "permessage-deflate" + "; x=1" * n, accept_offer),
    (
        "long numbers",
        lambda n: ("permessage-deflate; client_max_window_bits=" + "1" * n + ",") * 10,
        accept_offer,
    ),
    ("quotes", lambda n: 'permessage-deflate; x="' + '"' * 100 * n, accept_offer),
    ("an answer", lambda n: "permessage-deflate" + "; x=1" * n, accepted_by_server),
    ("subprotocols", lambda n: head_of(b"Sec-WebSocket-Protocol: " + b"a, " * n), shake_hands),
    ("handshake fields", lambda n: head_of(*[b"Sec-WebSocket-Protocol: a"] * n), shake_hands),
    (
        "options of a 101",
        lambda n: [(b"Upgrade", b"websocket"), (b"Connection", b"upgrade" + b", x" * n)],
        agree,
    ),
    (
        "fields of a 101",
        lambda n: [
            (b"Upgrade", b"websocket"),
            (b"Connection", b"upgrade"),
            *[(b"Sec-WebSocket-Protocol", b"a")] * n,
        ],
        agree,
    ),
    (
        "an answer in pieces",
        lambda n: b"HTTP/1.1 101 X\r\nX: " + b"a" * 100 * n + b"\r\n\r\n",
        read_answer,
    ),
]


def cost(work, data):
    """The least CPU time of a few runs; refusing counts as work, too."""
    least = float("inf")
    for _ in range(3):
        begun = time.thread_time()
        with contextlib.suppress(RoloError, ValueError):
            work(data)
        least = min(least, time.thread_time() - begun)
    return least


@pytest.mark.parametrize(("make", "work"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_work_grows_no_faster_than_what_is_sent(make, work):
    # Nine rather than four for what a short run may suffer; the square would be sixteen.
    assert cost(work, make(16_000)) < 9 * cost(work, make(4_000))
