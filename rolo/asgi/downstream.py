"""ASGI as the server below an exchange: scope, receive and send become a downstream."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import functools
import typing as t

from rolo.asgi.environ import Scope, head_from_scope
from rolo.bridge.admission import admit
from rolo.bridge.downstream import Capabilities, RawHeaders, RequestHead
from rolo.bridge.flow import Outlet, pour_read
from rolo.errors import ClientDisconnected, DownstreamError
from rolo.proxy.http1 import Framing, list_items
from rolo.websocket.errors import WebSocketDisconnectedError, WebSocketProtocolError

Event = t.MutableMapping[str, t.Any]
Receive = t.Callable[[], t.Awaitable[Event]]
Send = t.Callable[[Event], t.Awaitable[None]]

DEFAULT_SPOOL = 64 * 1024
_CONNECTION_FIELDS = (
    b"connection",
    b"keep-alive",
    b"proxy-connection",
    b"transfer-encoding",
    b"upgrade",
)
_TRAILERS = "http.response.trailers"
_INTERIM = "rolo.http.response.interim"
# RFC 9110 section 9.3: methods for whose body nothing is defined, so that hardly any has one.
_BODILESS = frozenset(("GET", "HEAD", "DELETE", "OPTIONS", "TRACE"))


class Sweeper:
    """Starts the watch for a leaving client, but only on exchanges that live long enough.

    A watch costs a task; most exchanges end before anyone could leave. So each exchange
    is looked at by the second tick of one common timer at the latest.
    """

    interval = 0.25
    """Seconds between two ticks."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._fresh: set[_Watched] = set()
        self._seen: set[_Watched] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, watched: _Watched) -> None:
        self._fresh.add(watched)
        if self._timer is None:
            self._timer = self._loop.call_later(self.interval, self._tick)

    def discard(self, watched: _Watched) -> None:
        self._fresh.discard(watched)
        self._seen.discard(watched)

    def _tick(self) -> None:
        waiting = {watched for watched in self._seen if not watched.start_watch()}
        self._seen = self._fresh | waiting
        self._fresh = set()
        self._timer = self._loop.call_later(self.interval, self._tick) if self._seen else None

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._fresh.clear()
        self._seen.clear()


class _Watched:
    """What both kinds of ASGI exchange share: the watch for a client that leaves."""

    __slots__ = ("_on_gone", "_watch", "gone")

    capabilities: Capabilities
    head: RequestHead

    def __init__(self) -> None:
        self.gone = False
        self._on_gone: t.Callable[[], None] | None = None
        self._watch: asyncio.Task[None] | None = None

    def watch_gone(self, callback: t.Callable[[], None]) -> None:
        self._on_gone = callback
        if self.gone:
            callback()

    def start_watch(self) -> bool:
        """Start watching; False if that cannot be done now and should be tried again."""
        raise NotImplementedError

    def _names_as_sent(self, headers: RawHeaders) -> RawHeaders:
        # The specification asks for lower-case names; servers on HTTP/2 insist.
        if self.capabilities.header_case:
            return headers
        lowered = [(name.lower(), value) for name, value in headers]
        if self.head.http_version[0] == "1":
            return lowered
        # RFC 9113 section 8.2.2: there is no such thing.
        return [field for field in lowered if field[0] not in _CONNECTION_FIELDS]

    def leave(self) -> None:
        """Note that the client has left."""
        if not self.gone:
            self.gone = True
            if self._on_gone is not None:
                self._on_gone()


class AsgiHttpDownstream(_Watched):
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
        "_sweeper",
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

    outlet: Outlet | None = None
    outstanding = None

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        sweeper: Sweeper,
        capabilities: Capabilities | None = None,
        spool: int = DEFAULT_SPOOL,
    ) -> None:
        super().__init__()
        self.head: RequestHead = head_from_scope(scope)
        self.capabilities = capabilities or capabilities_of(scope)
        self._spool_size = spool
        self.request_trailers: RawHeaders = []
        self.aborted: BaseException | None = None
        self.body_ended = False
        self._receive = receive
        self._send = send
        self._sweeper = sweeper
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
        sweeper.add(self)

    def _admit(self) -> None:
        head = self.head
        try:
            admitted = admit(head.method, head.headers, head.http_version)
        except DownstreamError as exc:
            self.fault = exc
        else:
            self.may_have_body = admitted.framing is not Framing.NONE
            self._expect = admitted.expect_continue

    async def settle(self) -> None:
        """Find out whether a body follows, where only its end can tell: a request in HTTP/2
        needs no fields to have one. Methods that usually come with one are not waited for."""
        head = self.head
        if head.http_version[0] == "1" or not self.may_have_body or head.method not in _BODILESS:
            return
        if any(name.lower() == b"content-length" for name, _ in head.headers):
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

    async def pour_body(self, outlet: Outlet) -> None:
        await pour_read(self, outlet)

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
        event: Event = {
            "type": "http.response.start",
            "status": status,
            "headers": self._names_as_sent(self._framed(status, headers, whole)),
        }
        if reason and self.capabilities.reason:
            event["reason"] = reason
        if self._wants_trailers(status, headers):
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
            drop = (b"transfer-encoding",)
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
        self._sweeper.discard(self)
        self._on_gone = None
        if self._watch is not None:
            await _end(self._watch)


def capabilities_of(scope: Scope) -> Capabilities:
    """Return what the server that made ``scope`` can do: by its word if an adapter of ours
    runs it, else by the extensions it names."""
    state = scope.get("state")
    if state is not None:
        known = state.get("rolo.capabilities")
        if known is not None:
            return t.cast(Capabilities, known)
    extensions = scope.get("extensions") or {}
    return _extensions_as_capabilities(
        "http.response.early_hint" in extensions, "websocket.http.response" in extensions
    )


@functools.cache
def _extensions_as_capabilities(interim: bool, denial: bool) -> Capabilities:
    return Capabilities(interim=interim, denial=denial)


def _is_chunked(headers: RawHeaders) -> bool:
    return any(name.lower() == b"transfer-encoding" for name, _ in headers)


async def _end(task: asyncio.Task[t.Any]) -> None:
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        if not task.cancelled():
            raise  # it is us who are being cancelled


class AsgiWebSocketDownstream(_Watched):
    """One ASGI ``websocket`` call as a ``WebSocketDownstream``."""

    __slots__ = (
        "_accepted",
        "_close_sent",
        "_closed",
        "_pending",
        "_receive",
        "_send",
        "_sweeper",
        "capabilities",
        "head",
        "subprotocols",
    )

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        sweeper: Sweeper | None,
        capabilities: Capabilities | None = None,
    ) -> None:
        super().__init__()
        self.head: RequestHead = head_from_scope(scope)
        self.capabilities = capabilities or capabilities_of(scope)
        self.subprotocols: list[str] = list(scope.get("subprotocols") or ())
        self._receive = receive
        self._send = send
        self._sweeper = sweeper
        self._accepted = False
        self._close_sent = False
        self._closed: WebSocketDisconnectedError | None = None
        self._pending: asyncio.Future[Event] | None = None
        if sweeper is not None:
            sweeper.add(self)

    async def connect(self) -> None:
        """Take the event that opens every websocket call.

        :raises WebSocketDisconnectedError: the client left first
        """
        event = await self.receive_event()
        if event["type"] == "websocket.disconnect":
            raise self._disconnected(event)

    async def receive_event(self, timeout: float | None = None) -> Event:
        """Return the next ASGI event.

        :param timeout: seconds; ``None`` waits for ever. An event that comes later is kept
            for the next call.
        :raises TimeoutError: nothing came in time
        """
        if self._pending is None:
            if timeout is None:
                return await self._receive()
            self._pending = asyncio.ensure_future(self._receive())
        pending = self._pending
        done, _ = await asyncio.wait((pending,), timeout=timeout)
        if not done:
            raise TimeoutError("no websocket message in time")
        self._pending = None
        return pending.result()

    async def send_event(self, event: Event) -> None:
        """Send one ASGI event."""
        await self._send(event)

    def start_watch(self) -> bool:
        if self._accepted or self._closed:
            return True
        if self._pending is None:
            self._pending = asyncio.ensure_future(self._receive())
            self._pending.add_done_callback(self._peek)
        return True

    def _peek(self, pending: asyncio.Future[Event]) -> None:
        if pending.cancelled() or pending.exception() or self._accepted:
            return
        if pending.result()["type"] == "websocket.disconnect":
            self.leave()

    async def accept(self, subprotocol: str | None, headers: RawHeaders) -> None:
        self._accepted = True
        await self.send_event(
            {
                "type": "websocket.accept",
                "subprotocol": subprotocol,
                "headers": self._names_as_sent(headers),
            }
        )

    async def reject(self, status: int, reason: bytes, headers: RawHeaders, body: bytes) -> None:
        if not self.capabilities.denial:
            # All that plain ASGI can say is "no", which servers turn into 403.
            await self.send_event({"type": "websocket.close", "code": 1000, "reason": ""})
            return
        await self.send_event(
            {
                "type": "websocket.http.response.start",
                "status": status,
                "headers": self._names_as_sent(headers),
            }
        )
        await self.send_event(
            {"type": "websocket.http.response.body", "body": body, "more_body": False}
        )

    async def receive(self, timeout: float | None = None) -> str | bytes:
        if self._closed is not None:
            raise self._closed
        event = await self.receive_event(timeout)
        if event["type"] == "websocket.disconnect":
            raise self._disconnected(event)
        text = event.get("text")
        return text if text is not None else bytes(event.get("bytes") or b"")

    async def send(self, message: str | bytes) -> None:
        if self._closed is not None:
            raise self._closed
        if self._close_sent:
            raise WebSocketProtocolError("the websocket is closed from our side")
        kind = "text" if isinstance(message, str) else "bytes"
        try:
            await self.send_event({"type": "websocket.send", kind: message})
        except OSError as exc:
            # The code it closed with, if it did, is for receive() to tell.
            raise WebSocketDisconnectedError(1006, "") from exc

    async def close(self, code: int | None, reason: str) -> None:
        if self._closed is None and not self._close_sent:
            self._close_sent = True
            with contextlib.suppress(OSError):  # the client was quicker
                await self.send_event({"type": "websocket.close", "code": code, "reason": reason})

    async def wait_closed(self, timeout: float) -> None:
        """After a close of ours, wait for the client's close frame, at most ``timeout``
        seconds; a server may otherwise cut the connection before the client has read ours."""
        if not self._close_sent or self._closed is not None:
            return
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        try:
            while True:
                event = await self.receive_event(max(0.0, deadline - loop.time()))
                if event["type"] == "websocket.disconnect":
                    self._disconnected(event)
                    return
        except TimeoutError:
            return

    async def finish(self) -> None:
        """End the watch. The websocket is over for the application."""
        if self._sweeper is not None:
            self._sweeper.discard(self)
        self._on_gone = None
        if self._pending is not None:
            pending, self._pending = self._pending, None
            await _end(t.cast("asyncio.Task[Event]", pending))

    def _disconnected(self, event: Event) -> WebSocketDisconnectedError:
        self._closed = WebSocketDisconnectedError(
            event.get("code", 1005), event.get("reason") or ""
        )
        return self._closed
