"""ASGI as the server below an exchange: scope, receive and send become a downstream."""

from __future__ import annotations

import asyncio
import collections
import typing as t

from rolo.asgi.capabilities import capabilities_of
from rolo.asgi.environ import Scope, head_from_scope
from rolo.asgi.watch import Event, Receive, Send, Watched, end_task
from rolo.bridge.downstream import Capabilities, RequestHead
from rolo.errors import ClientDisconnected, DownstreamError
from rolo.net.body_stream import Sink
from rolo.net.ticker import Ticker
from rolo.wire.admission import BODILESS_METHODS, admit
from rolo.wire.fields import RawHeaders
from rolo.wire.http1 import Framing, list_items
from rolo.wire.trailers import without_trailer_field

DEFAULT_SPOOL = 64 * 1024
_TRAILERS = "http.response.trailers"
_INTERIM = "rolo.http.response.interim"
_CONNECTION_FIELDS = (b"transfer-encoding", b"connection")


class AsgiHttpDownstream(Watched):
    """One ASGI ``http`` call as an ``HttpDownstream``.

    :param spool: bytes of a request body received ahead of its reader, so that a client
        that leaves is noticed; one piece of the server's may come on top

    Call :meth:`close` when the exchange is over. After :meth:`abort`, ``aborted`` holds
    the error that the application callable has to raise: to an ASGI server that is how
    an application says that its answer is broken.
    """

    __slots__ = (
        "_asked",
        "_expect",
        "_extensions",
        "_receive",
        "_receiving",
        "_room",
        "_send",
        "_spool",
        "_spool_size",
        "_spooled",
        "_started",
        "_trailers_promised",
        "_woken",
        "aborted",
        "body_ended",
        "capabilities",
        "fault",
        "head",
        "may_have_body",
        "request_trailers",
    )

    sink = unacknowledged = wire = None

    has_whole_body = False

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        ticker: Ticker,
        capabilities: Capabilities | None = None,
        spool: int = DEFAULT_SPOOL,
    ) -> None:
        super().__init__()
        self.head: RequestHead = head_from_scope(scope)
        self.capabilities = capabilities or capabilities_of(scope, send)
        self._spool_size = spool
        self.request_trailers: RawHeaders = []
        self.aborted: BaseException | None = None
        self.body_ended = False
        self._receive = receive
        self._send = send
        self.fault: DownstreamError | None = None
        self._asked = self._expect = False
        self.may_have_body = False
        self._admit()
        self._receiving = False
        self._extensions: t.Container[str] = scope.get("extensions") or ()
        self._started = self._trailers_promised = False
        self._spool: collections.deque[bytes] | None = None
        self._spooled = 0
        self._woken: asyncio.Event | None = None
        self._room: asyncio.Event | None = None
        self.look_from_now(ticker)

    def _admit(self) -> None:
        head = self.head
        try:
            admitted = admit(head.method, head.target, head.headers, head.http_version)
        except DownstreamError as exc:
            self.fault = exc
        else:
            head.framing, head.length = admitted.framing, admitted.length
            head.expects_continue = self._expect = admitted.expect_continue
            self.may_have_body = admitted.framing is not Framing.NONE

    async def settle(self) -> None:
        """Find out whether a body follows, where only its end can tell: a request in HTTP/2
        needs no fields to have one. Methods that usually come with one are not waited for."""
        head = self.head
        if (
            head.http_version[0] == "1"
            or not self.may_have_body
            or head.method not in BODILESS_METHODS
        ):
            return
        if head.length is not None:
            return
        event = await self._receive()
        if event["type"] == "http.disconnect":
            self.leave()
            return
        piece = bytes(event.get("body", b""))
        self.body_ended = not event.get("more_body", False)
        self.may_have_body = bool(piece) or not self.body_ended
        if piece:
            self._spool = collections.deque((piece,))
            self._spooled = len(piece)

    # -- receiving

    async def receive_body(self) -> bytes:
        while True:
            if self._spool:
                return self._take_spooled()
            if self.body_ended:
                return b""
            if self.gone:
                raise ClientDisconnected("the client left before the end of its request body")
            if self._watch is not None:
                await self._wait_for_spool()
                continue
            self._receiving = self._asked = True
            try:
                event = await self._receive()
            finally:
                self._receiving = False
            if event["type"] == "http.disconnect":
                self.leave()
                continue
            self.body_ended = not event.get("more_body", False)
            if piece := event.get("body", b""):
                return bytes(piece)

    async def pipe_body(self, sink: Sink) -> None:
        while piece := await self.receive_body():
            if not sink.write(piece):
                await sink.drained()

    def _take_spooled(self) -> bytes:
        assert self._spool is not None
        piece = self._spool.popleft()
        self._spooled -= len(piece)
        if self._room is not None and self._spooled < self._spool_size:
            self._room.set()
        return piece

    async def _wait_for_spool(self) -> None:
        self._woken = asyncio.Event()
        try:
            await self._woken.wait()
        finally:
            self._woken = None

    def start_watch(self) -> bool:
        if self._receiving:
            return False  # whoever receives will see the client leave
        if self._expect and not self._asked:
            return False  # receiving would tell the client to go on
        if self._watch is None:
            if self._spool is None:
                self._spool = collections.deque()
            self._watch = asyncio.get_running_loop().create_task(self._pump())
        return True

    async def _pump(self) -> None:
        """Receive ahead of the reader, within bounds, so that a disconnect is seen even
        while nobody reads."""
        assert self._spool is not None
        while True:
            if self._spooled >= self._spool_size:
                self._room = asyncio.Event()
                await self._room.wait()
            event = await self._receive()
            if event["type"] == "http.disconnect":
                break
            if piece := event.get("body", b""):
                self._spool.append(bytes(piece))
                self._spooled += len(piece)
            self.body_ended = not event.get("more_body", False)
            if self._woken is not None:
                self._woken.set()
        if self._woken is not None:
            self._woken.set()
        self.leave()

    # -- sending

    async def send_interim(self, status: int, headers: RawHeaders) -> None:
        if self._started or self.gone or not self.capabilities.interim:
            return
        if _INTERIM in self._extensions:
            await self._tell(
                {"type": _INTERIM, "status": status, "headers": self._names_as_sent(headers)}
            )
        elif status == 103:
            links = [value for name, value in headers if name.lower() == b"link"]
            await self._tell({"type": "http.response.early_hint", "links": links})

    async def send_head(self, status: int, reason: bytes, headers: RawHeaders) -> None:
        await self._start(status, reason, headers)
        # Some servers hold the head back until a body event comes.
        await self._body(b"", True)

    async def send_body(self, chunk: bytes) -> None:
        await self._body(chunk, True)

    async def end(self, trailers: RawHeaders | None = None) -> None:
        await self._body(b"", False)
        if self._trailers_promised:
            fields = [(name.lower(), value) for name, value in trailers or ()]
            await self._tell({"type": _TRAILERS, "headers": fields})

    async def send_complete(
        self, status: int, reason: bytes, headers: RawHeaders, body: bytes
    ) -> None:
        await self._start(status, reason, headers, body)
        if _is_chunked(headers):
            # A server that was given all at once would send a length instead.
            await self._body(body, True)
            await self.end()
        else:
            await self._body(body, False)

    def abort(self, error: BaseException | None = None) -> None:
        self.aborted = error or ClientDisconnected("the answer was broken off")

    async def _start(
        self, status: int, reason: bytes, headers: RawHeaders, whole: bytes | None = None
    ) -> None:
        trailers = self._wants_trailers(status, headers)
        if not trailers:
            headers = without_trailer_field(headers)
        event: Event = {
            "type": "http.response.start",
            "status": status,
            "headers": self._names_as_sent(self._framed(status, headers, whole)),
        }
        if reason and self.capabilities.reason:
            event["reason"] = reason
        if trailers:
            event["trailers"] = self._trailers_promised = True
        self._started = True
        await self._tell(event)

    def _framed(self, status: int, headers: RawHeaders, whole: bytes | None) -> RawHeaders:
        """Return the fields that the server below is to see."""
        drop: tuple[bytes, ...] = ()
        add: RawHeaders = []
        version = self.head.http_version
        if status == 304 and not self.capabilities.framing:
            # Servers that frame by themselves take it for the length of what follows.
            drop = (b"content-length",)
        elif version != "1.1":
            # RFC 9113 section 8.2.2: nothing of a connection in later versions. Other texts are
            # of request lines that are refused, over a connection that has to end ("2.0").
            drop = _CONNECTION_FIELDS if version in ("2", "3") else (b"transfer-encoding",)
            if version == "1.0" and whole is not None and _is_chunked(headers):
                add.append((b"Content-Length", b"%d" % len(whole)))
        if version[0] == "1" and self._expect and not self._asked:
            # The client may send its body or not; nobody could tell it from a next request.
            add.append((b"Connection", b"close"))
        if drop:
            headers = [field for field in headers if field[0].lower() not in drop]
        return [*headers, *add] if add else headers

    def _wants_trailers(self, status: int, headers: RawHeaders) -> bool:
        if not self.capabilities.trailers or _TRAILERS not in self._extensions:
            return False
        if status in (204, 304) or self.head.method == "HEAD":
            return False
        if any(name.lower() == b"content-length" for name, _ in headers):
            return False
        return any(
            name.lower() == b"te" and b"trailers" in list_items(value)
            for name, value in self.head.headers
        )

    async def _body(self, chunk: bytes, more: bool) -> None:
        if self.gone:
            raise ClientDisconnected("the client left")
        await self._tell({"type": "http.response.body", "body": chunk, "more_body": more})

    async def _tell(self, event: Event) -> None:
        try:
            await self._send(event)
        except OSError as exc:
            # The specification lets servers raise OSError once the client is gone.
            self.leave()
            raise ClientDisconnected("the client left") from exc

    async def close(self) -> None:
        """End the watch. The exchange is over."""
        self.look_no_more()
        self._on_gone = None
        if self._watch is not None:
            await end_task(self._watch)


def _is_chunked(headers: RawHeaders) -> bool:
    return any(name.lower() == b"transfer-encoding" for name, _ in headers)
