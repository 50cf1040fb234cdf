"""HTTP and websocket clients from the registry, all asked in the same words.

Each is a class with ``errors`` (what it raises when an answer breaks off), and is used in a
``with`` block. Of clients that are coroutines each word runs until it is done, on a loop that
lasts as long as the block.
"""

import asyncio
import contextlib
import ssl
import typing as t

import aiohttp
import httpx
import requests
import urllib3
import websocket
import websockets.asyncio.client
import websockets.exceptions
import websockets.sync.client

TIMEOUT = 10


def context_of(ca: str | None) -> ssl.SSLContext | None:
    return ssl.create_default_context(cafile=ca) if ca else None


class Answered(t.NamedTuple):
    status: int
    version: str
    json: t.Any


class Client(contextlib.ExitStack):
    """
    ``post(url, json)`` returns what was answered; ``pieces(url)`` yields the body as it comes;
    ``upload(url, pieces)`` sends an iterable of bytes and returns the status.

    :param ca: the file of the authority to trust, if it is TLS
    """

    errors: tuple[type[Exception], ...]
    tls_errors: tuple[type[Exception], ...]

    def __init__(self, ca: str | None = None) -> None:
        super().__init__()
        self.ca = ca

    def post(self, url: str, json: t.Any) -> Answered:
        raise NotImplementedError

    def pieces(self, url: str) -> t.Iterator[bytes]:
        raise NotImplementedError

    def upload(self, url: str, pieces: t.Iterable[bytes]) -> int:
        raise NotImplementedError

    def body(self, url: str) -> bytes:
        return b"".join(self.pieces(url))


class TidyLoop(asyncio.SelectorEventLoop):
    """Knows its connections: aiohttp does not wait until a websocket over TLS is closed."""

    def __init__(self) -> None:
        super().__init__()
        self._transports_made: list[asyncio.Transport] = []

    async def create_connection(self, *args, **options):
        transport, protocol = await super().create_connection(*args, **options)
        self._transports_made.append(transport)
        return transport, protocol

    async def tidy(self) -> None:
        """Drop those that are still closing."""
        for transport in self._transports_made:
            transport.abort()


class AsyncClient(Client):
    """A client whose words are coroutines, to be written with ``a`` in front."""

    def __init__(self, ca: str | None = None) -> None:
        super().__init__(ca)
        self.runner = self.enter_context(asyncio.Runner(loop_factory=TidyLoop))
        self.callback(lambda: self.runner.run(t.cast(TidyLoop, self.runner.get_loop()).tidy()))

    def enter_async(self, context: t.Any) -> t.Any:
        """Enter it on the loop, and leave it there when the block ends."""

        async def enter() -> t.Any:
            return await context.__aenter__()

        async def leave() -> None:
            await context.__aexit__(None, None, None)

        entered = self.runner.run(enter())
        self.callback(lambda: self.runner.run(leave()))
        return entered

    def post(self, url, json):
        return self.runner.run(self.apost(url, json))

    def upload(self, url, pieces):
        async def one_by_one():
            for piece in pieces:
                yield piece

        return self.runner.run(self.aupload(url, one_by_one()))

    def pieces(self, url):
        found = self.apieces(url)
        try:
            while (piece := self.runner.run(anext_or_none(found))) is not None:
                yield piece
        finally:
            self.runner.run(found.aclose())


async def anext_or_none(iterator: t.AsyncIterator[bytes]) -> bytes | None:
    return await anext(iterator, None)


class Requests(Client):
    errors = (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)
    tls_errors = (requests.exceptions.SSLError,)

    def __init__(self, ca=None):
        super().__init__(ca)
        self.session = self.enter_context(requests.Session())
        self.options = {"timeout": TIMEOUT, "verify": ca or True}

    def post(self, url, json):
        answer = self.session.post(url, json=json, **self.options)
        return Answered(answer.status_code, f"{answer.raw.version / 10}", answer.json())

    def pieces(self, url):
        with self.session.get(url, stream=True, **self.options) as answer:
            yield from answer.iter_content(None)

    def upload(self, url, pieces):
        return self.session.put(url, data=iter(pieces), **self.options).status_code


class Urllib3(Client):
    errors = (urllib3.exceptions.HTTPError,)
    tls_errors = (urllib3.exceptions.SSLError,)

    def __init__(self, ca=None):
        super().__init__(ca)
        self.pool = self.enter_context(
            urllib3.PoolManager(ca_certs=ca, timeout=TIMEOUT, retries=False)
        )

    def post(self, url, json):
        answer = self.pool.request("POST", url, json=json)
        return Answered(answer.status, f"{answer.version / 10}", answer.json())

    def pieces(self, url):
        with self.pool.request("GET", url, preload_content=False) as answer:
            yield from answer.stream(None)

    def upload(self, url, pieces):
        return self.pool.request("PUT", url, body=iter(pieces)).status


class Httpx(Client):
    errors = (httpx.TransportError,)
    tls_errors = (httpx.ConnectError,)
    versions: t.ClassVar = {}

    def __init__(self, ca=None):
        super().__init__(ca)
        options = {"verify": context_of(ca) or True, "timeout": TIMEOUT, "trust_env": False}
        self.client = self.enter_context(httpx.Client(**options, **self.versions))

    def post(self, url, json):
        answer = self.client.post(url, json=json)
        return Answered(answer.status_code, answer.http_version[5:], answer.json())

    def pieces(self, url):
        with self.client.stream("GET", url) as answer:
            yield from answer.iter_bytes()

    def upload(self, url, pieces):
        return self.client.put(url, content=iter(pieces)).status_code


class Httpx2(Httpx):
    """HTTP/2; without TLS by prior knowledge."""

    versions: t.ClassVar = {"http1": False, "http2": True}


class HttpxAsync(AsyncClient):
    errors = Httpx.errors
    tls_errors = Httpx.tls_errors
    versions: t.ClassVar = {}

    def __init__(self, ca=None):
        super().__init__(ca)
        options = {"verify": context_of(ca) or True, "timeout": TIMEOUT, "trust_env": False}
        self.client = self.enter_async(httpx.AsyncClient(**options, **self.versions))

    async def apost(self, url, json):
        answer = await self.client.post(url, json=json)
        return Answered(answer.status_code, answer.http_version[5:], answer.json())

    async def apieces(self, url):
        async with self.client.stream("GET", url) as answer:
            async for piece in answer.aiter_bytes():
                yield piece

    async def aupload(self, url, pieces):
        return (await self.client.put(url, content=pieces)).status_code


class HttpxAsync2(HttpxAsync):
    versions: t.ClassVar = Httpx2.versions


class Aiohttp(AsyncClient):
    errors = (aiohttp.ClientError,)
    tls_errors = (aiohttp.ClientSSLError,)

    def __init__(self, ca=None):
        super().__init__(ca)
        self.session = self.enter_async(self.open())

    @contextlib.asynccontextmanager
    async def open(self):
        connector = aiohttp.TCPConnector(ssl=context_of(self.ca) or True)
        timeout = aiohttp.ClientTimeout(TIMEOUT)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            yield session

    async def apost(self, url, json):
        async with self.session.post(url, json=json) as answer:
            version = ".".join(map(str, answer.version))
            return Answered(answer.status, version, await answer.json())

    async def apieces(self, url):
        async with self.session.get(url) as answer:
            async for piece in answer.content.iter_any():
                yield piece

    async def aupload(self, url, pieces):
        async with self.session.put(url, data=pieces) as answer:
            return answer.status


HTTP_1 = [Requests, Urllib3, Httpx, HttpxAsync, Aiohttp]
HTTP_2 = [Httpx2, HttpxAsync2]


class Closed(Exception):
    """The websocket is over.

    :param code: of the close frame, 1006 if there was none
    """

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class WebsocketClient(contextlib.ExitStack):
    """websocket-client; ``receive()`` returns a message or raises :class:`Closed`."""

    def __init__(self, url, ca=None):
        super().__init__()
        self.client = websocket.create_connection(
            url, timeout=TIMEOUT, subprotocols=["chat"], sslopt={"ca_certs": ca} if ca else None
        )
        self.callback(self.client.shutdown)
        self.subprotocol = self.client.getsubprotocol()

    def send(self, message):
        if isinstance(message, bytes):
            self.client.send_binary(message)
        else:
            self.client.send(message)

    def receive(self):
        try:
            opcode, data = self.client.recv_data()
        except (websocket.WebSocketConnectionClosedException, ConnectionError):
            raise Closed(1006) from None
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            raise Closed(int.from_bytes(data[:2], "big"), data[2:].decode())
        return data.decode() if opcode == websocket.ABNF.OPCODE_TEXT else data


def closed(error: websockets.exceptions.ConnectionClosed) -> Closed:
    return Closed(error.rcvd.code, error.rcvd.reason) if error.rcvd else Closed(1006)


class Websockets(contextlib.ExitStack):
    """websockets, which compresses."""

    def __init__(self, url, ca=None):
        super().__init__()
        self.client = self.enter_context(
            websockets.sync.client.connect(
                url, ssl=context_of(ca), subprotocols=["chat"], open_timeout=TIMEOUT
            )
        )
        self.subprotocol = self.client.subprotocol
        self.send = self.client.send

    def receive(self):
        try:
            return self.client.recv(timeout=TIMEOUT)
        except websockets.exceptions.ConnectionClosed as error:
            raise closed(error) from None


class WebsocketsAsync(AsyncClient):
    """websockets on asyncio."""

    def __init__(self, url, ca=None):
        super().__init__(ca)
        self.client = self.enter_async(
            websockets.asyncio.client.connect(
                url, ssl=context_of(ca), subprotocols=["chat"], open_timeout=TIMEOUT
            )
        )
        self.subprotocol = self.client.subprotocol

    def send(self, message):
        self.runner.run(self.client.send(message))

    def receive(self):
        try:
            return self.runner.run(asyncio.wait_for(self.client.recv(), TIMEOUT))
        except websockets.exceptions.ConnectionClosed as error:
            raise closed(error) from None


class AiohttpWebsocket(Aiohttp):
    """aiohttp's websocket, asked to compress."""

    def __init__(self, url, ca=None):
        super().__init__(ca)
        self.client = self.enter_async(
            self.session.ws_connect(url, protocols=["chat"], compress=15)
        )
        self.subprotocol = self.client.protocol

    def send(self, message):
        word = self.client.send_bytes if isinstance(message, bytes) else self.client.send_str
        self.runner.run(word(message))

    def receive(self):
        got = self.runner.run(self.client.receive(TIMEOUT))
        if got.type is aiohttp.WSMsgType.CLOSE:
            raise Closed(got.data, got.extra)
        if got.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR):
            raise Closed(1006)
        return got.data


WEBSOCKETS = [WebsocketClient, Websockets, WebsocketsAsync, AiohttpWebsocket]
