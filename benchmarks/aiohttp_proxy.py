"""The yardstick: a reverse proxy as a careful person writes it by hand with aiohttp.

Streams both ways, strips hop-by-hop fields, keeps the raw target and repeated fields, adds
``X-Forwarded-*``, relays websockets, decodes nothing, logs nothing, runs on uvloop, and takes
aiohttp's short cuts: its low-level server without an application, one write for a small body.

``python -m benchmarks.aiohttp_proxy UPSTREAM PORT``
"""

from __future__ import annotations

import asyncio
import signal
import sys

import aiohttp
import multidict
import yarl
from aiohttp import web

from benchmarks import eventloop

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
# Made anew on each leg (RFC 6455 section 4).
HANDSHAKE = (
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Version",
    "Sec-WebSocket-Extensions",
    "Sec-WebSocket-Protocol",
)
SMALL_BODY = 65536


def end_to_end(headers: multidict.CIMultiDictProxy[str]) -> multidict.CIMultiDict[str]:
    """Return the fields that may pass a proxy (RFC 9110 section 7.6.1)."""
    named = headers.get("Connection")
    drop = HOP_BY_HOP
    if named is not None:
        fields = ",".join(headers.getall("Connection")).split(",")
        drop = HOP_BY_HOP | {field.strip().lower() for field in fields}
    kept = ((name, value) for name, value in headers.items() if name.lower() not in drop)
    return multidict.CIMultiDict(kept)


class ReverseProxy:
    """Forwards every request to ``upstream``, a base URL without a path."""

    def __init__(self, upstream: str, session: aiohttp.ClientSession) -> None:
        self._upstream = upstream.rstrip("/")
        self._session = session

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        url = yarl.URL(self._upstream + request.raw_path, encoded=True)
        headers = end_to_end(request.headers)
        self._add_forwarded(request, headers)
        try:
            if request.headers.get("Upgrade", "").lower() == "websocket":
                return await self._relay(request, url, headers)
            return await self._forward(request, url, headers)
        except aiohttp.ClientConnectionError:
            return web.Response(status=502, text="Bad Gateway")

    @staticmethod
    def _add_forwarded(request: web.BaseRequest, headers: multidict.CIMultiDict[str]) -> None:
        if request.remote:
            before = headers.get("X-Forwarded-For")
            headers["X-Forwarded-For"] = f"{before}, {request.remote}" if before else request.remote
        headers.setdefault("X-Forwarded-Proto", request.scheme)
        headers.setdefault("X-Forwarded-Host", request.headers.get("Host", ""))

    async def _forward(
        self, request: web.BaseRequest, url: yarl.URL, headers: multidict.CIMultiDict[str]
    ) -> web.StreamResponse:
        async with self._session.request(
            request.method,
            url,
            headers=headers,
            data=request.content if request.body_exists else None,
            allow_redirects=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
        ) as upstream:
            fields = end_to_end(upstream.headers)
            length = upstream.content_length
            if length is not None and length <= SMALL_BODY and request.method != "HEAD":
                body = await upstream.read()
                return web.Response(
                    status=upstream.status, reason=upstream.reason, headers=fields, body=body
                )
            response = web.StreamResponse(
                status=upstream.status, reason=upstream.reason, headers=fields
            )
            await response.prepare(request)
            async for chunk in upstream.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response

    async def _relay(
        self, request: web.BaseRequest, url: yarl.URL, headers: multidict.CIMultiDict[str]
    ) -> web.StreamResponse:
        offered = request.headers.getall("Sec-WebSocket-Protocol", [])
        protocols = [name.strip() for line in offered for name in line.split(",") if name.strip()]
        for name in HANDSHAKE:
            headers.popall(name, None)
        async with self._session.ws_connect(
            url, protocols=protocols, headers=headers, max_msg_size=0, autoclose=False
        ) as upstream:
            chosen = [upstream.protocol] if upstream.protocol else []
            client = web.WebSocketResponse(protocols=chosen, max_msg_size=0, autoclose=False)
            await client.prepare(request)
            legs = [
                asyncio.create_task(_copy(client, upstream)),
                asyncio.create_task(_copy(upstream, client)),
            ]
            try:
                # Each ends the other: whoever sees a close closes both sockets.
                await asyncio.wait(legs)
            finally:
                for leg in legs:
                    leg.cancel()
            return client


Leg = web.WebSocketResponse | aiohttp.ClientWebSocketResponse


async def _copy(source: Leg, sink: Leg) -> None:
    while True:
        message = await source.receive()
        if message.type is aiohttp.WSMsgType.TEXT:
            await sink.send_str(message.data)
        elif message.type is aiohttp.WSMsgType.BINARY:
            await sink.send_bytes(message.data)
        elif message.type is aiohttp.WSMsgType.CLOSE:
            await sink.close(code=message.data or 1000, message=(message.extra or "").encode())
            await source.close(code=message.data or 1000)
            return
        else:
            if message.type is not aiohttp.WSMsgType.CLOSING:
                await sink.close(code=1011)
            return


async def main(upstream: str, port: int) -> None:
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
        auto_decompress=False,
    ) as session:
        # handler_cancellation: a client that leaves ends the upstream exchange too.
        server = web.Server(ReverseProxy(upstream, session), handler_cancellation=True)
        runner = web.ServerRunner(server, access_log=None, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
        await stopped.wait()
        await runner.cleanup()


if __name__ == "__main__":
    eventloop.run(main(sys.argv[1], int(sys.argv[2])))
