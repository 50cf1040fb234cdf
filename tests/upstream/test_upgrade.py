"""A websocket is opened by a request that asks for another protocol: the connection of the 101
changes hands, and any other answer is one like every other."""

import asyncio
import ssl

import pytest
import trustme
from websocket_origin import BINARY, TEXT, accept_key, frame

from rolo.errors import BadResponse, ResponseHeadTimeout, UpstreamClosed
from rolo.upstream.request import UpstreamRequest
from rolo.upstream.settings import PoolLimits, Timeouts, Tls
from rolo.upstream.switched import SwitchedConnection
from rolo.upstream.transport import LoopTransport
from rolo.upstream.websocket import Handshake, UpstreamWebSocket, open_websocket
from rolo.websocket import WebSocketDisconnectedError
from rolo.wire.target import Origin
from tests.origins import OK, answering, run, scripted_origin


def accepting(*then):
    """Accept a websocket, and send ``then`` in the same breath."""

    async def script(wire):
        await wire.send(switching(await wire.head()) + b"".join(then))
        await wire.gone()

    return script


def switching(head):
    fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
    key = accept_key(fields[b"Sec-WebSocket-Key"].decode()).encode()
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + key + b"\r\n\r\n"
    )


def asked_of(origin):
    place = Origin("http", origin.host, origin.port)
    return Handshake(place, b"/chat", [(b"Host", b"a")])


def get(origin):
    return UpstreamRequest(Origin("http", origin.host, origin.port), "GET", b"/", [(b"Host", b"a")])


def with_transport(script, test, **settings):
    async def main():
        async with scripted_origin(script) as origin:
            transport = LoopTransport(**settings)
            try:
                await test(transport, origin)
            finally:
                await transport.close()

    run(main)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_the_connection_of_a_101_changes_hands_with_what_came_on_it(loop, tls, tmp_path):
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)

    async def main():
        async def serve(reader, writer):
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(switching(head) + frame(TEXT, "early") + frame(TEXT, "half")[:2])
            await writer.drain()
            await taken.wait()
            writer.write(frame(TEXT, "half")[2:] + frame(BINARY, b"x" * 300_000))
            answer = await reader.readexactly(2 + 4 + 5)
            writer.write(frame(TEXT, f"{len(answer)}"))
            await writer.drain()
            writer.transport.abort()

        taken = asyncio.Event()
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context if tls else None)
        port = server.sockets[0].getsockname()[1]
        transport = LoopTransport(tls=Tls(ca_file=str(tmp_path / "ca.pem")))
        origin = Origin("https" if tls else "http", "127.0.0.1", port)
        try:
            opened = await open_websocket(transport, Handshake(origin, b"/", [(b"Host", b"a")]))
            assert isinstance(opened, UpstreamWebSocket)
            assert await opened.receive() == "early"
            taken.set()
            assert await opened.receive() == "half"
            assert await opened.receive() == b"x" * 300_000
            await opened.send("hello")
            assert await opened.receive() == "11"
            with pytest.raises(WebSocketDisconnectedError) as caught:
                await opened.receive()
            assert caught.value.code == 1006
        finally:
            await transport.close()
            server.close()
            await server.wait_closed()

    factory = pytest.importorskip("uvloop").new_event_loop if loop == "uvloop" else None
    run(main, loop_factory=factory)


def test_an_open_websocket_takes_no_place_in_the_pool():
    async def test(transport, origin):
        opened = [await open_websocket(transport, asked_of(origin)) for _ in range(2)]
        assert transport.stats() == {}
        assert len(transport.websockets) == 2
        for each in opened:
            each.abort()

    with_transport(
        accepting(), test, limits=PoolLimits(max_connections=1), timeouts=Timeouts(connect=5)
    )


def test_a_transport_that_closes_says_so_on_its_websockets():
    heard = []

    async def script(wire):
        await wire.send(switching(await wire.head()))
        heard.append(await wire.reader.read(100))
        await wire.gone()

    async def test(transport, origin):
        await open_websocket(transport, asked_of(origin))
        await transport.close()
        await origin.until(lambda: heard)
        assert heard[0][:2] == b"\x88\x82"  # a masked close with a code
        assert len(transport.websockets) == 0

    with_transport(script, test)


def test_a_handshake_takes_an_idle_connection():
    async def script(wire):
        await wire.head()
        await wire.send(OK)
        await wire.send(switching(await wire.head()))
        await wire.gone()

    async def test(transport, origin):
        answer = await transport.send(get(origin))
        assert b"".join([piece async for piece in answer.body]) == b"ok"
        opened = await open_websocket(transport, asked_of(origin))
        assert origin.connections == 1
        opened.abort()

    with_transport(script, test)


def test_a_handshake_on_a_connection_that_was_dead_already_is_tried_again():
    async def script(wire):
        head = await wire.head()
        if head.startswith(b"GET /chat"):
            await wire.send(switching(head))
            await wire.gone()
            return
        await wire.send(OK)
        await wire.head()  # and closes

    async def test(transport, origin):
        answer = await transport.send(get(origin))
        assert b"".join([piece async for piece in answer.body]) == b"ok"
        opened = await open_websocket(transport, asked_of(origin))
        assert isinstance(opened, UpstreamWebSocket)
        assert origin.connections == 2
        opened.abort()

    with_transport(script, test)


def test_a_refusal_streams_and_leaves_its_connection_for_the_next():
    async def script(wire):
        await wire.head()
        await wire.send(b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nnot\r\n")
        await asked.wait()
        await wire.send(b"4\r\n you\r\n0\r\n\r\n")
        await wire.head()
        await wire.send(OK)

    asked = asyncio.Event()

    async def test(transport, origin):
        refusal = await open_websocket(transport, asked_of(origin))
        assert refusal.status == 403
        pieces = aiter(refusal.body)
        assert await anext(pieces) == b"not"
        asked.set()
        assert [piece async for piece in pieces] == [b" you"]
        answer = await transport.send(get(origin))
        assert (answer.reused, origin.connections) == (True, 1)
        answer.body.close()

    with_transport(script, test)


@pytest.mark.parametrize(
    ("answer", "then", "error", "retry_safe"),
    [
        (b"", "close", UpstreamClosed, True),
        (b"HTTP/1.1 101 Swi", "close", UpstreamClosed, False),
        (
            b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
            "wait",
            BadResponse,
            False,
        ),
    ],
    ids=["nothing", "half a head", "no accept"],
)
def test_a_handshake_without_a_proper_answer_leaves_no_connection(answer, then, error, retry_safe):
    async def test(transport, origin):
        with pytest.raises(error) as caught:
            await open_websocket(transport, asked_of(origin))
        assert caught.value.target == f"http://{origin.host}:{origin.port}"
        assert caught.value.retry_safe is retry_safe
        await origin.until(lambda: origin.open == 0)

    with_transport(answering(answer, then=then), test)


def test_a_handshake_is_bounded_like_a_request():
    async def test(transport, origin):
        with pytest.raises(ResponseHeadTimeout):
            await open_websocket(transport, asked_of(origin))

    with_transport(answering(b"", then="wait"), test, timeouts=Timeouts(response=0.05))


@pytest.mark.parametrize("way", ["closed", "cancelled"])
def test_a_connection_that_nobody_takes_over_is_dropped(way):
    async def test(transport, origin):
        request = get(origin)
        request.upgrade = b"other"
        sending = asyncio.create_task(transport.send(request))
        if way == "cancelled":
            await origin.until(lambda: origin.heads)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
        else:
            answer = await sending
            assert isinstance(answer.body, SwitchedConnection)
            assert list(answer.body) == []
            answer.body.close()
            answer.body.close()
        await origin.until(lambda: origin.open == 0)
        assert transport.stats() == {}

    async def script(wire):
        await wire.head()
        if way == "closed":
            await wire.send(b"HTTP/1.1 101 X\r\nUpgrade: other\r\nConnection: Upgrade\r\n\r\nxyz")
        await wire.gone()

    with_transport(script, test)
