"""hypercorn's inside, mended. The only file that knows it.

hypercorn's classes are subclassed; nothing of the library is changed for others in the
process. Each mend has a test:

* an application that fails after the head resets its HTTP/2 stream, and the connection
  of an HTTP/1.0 client, so that nobody takes half an answer for a whole one;
* the client's websocket close code and reason reach the application (hypercorn says 1000
  or 1006), as do messages that are too large; broken frames are answered with a close;
* ``Upgrade: h2c`` is ignored, and prior-knowledge HTTP/2 accepted at the start of a
  connection only: both are ways to smuggle requests past a proxy in front;
* an unread HTTP/2 upload holds up its own stream, not its connection, and an early answer
  ends the upload instead of killing the connection;
* ``100 Continue`` is sent when the application asks for the body, not before;
* sending to a client that has left raises ``OSError``, as ASGI 2.4 asks;
* a client that resets stream after stream is sent away;
* permessage-deflate is not accepted, as nothing bounds what a read inflates to;
* stopping has a deadline on every Python, and closes websockets with 1001.

Beyond plain ASGI, ``http.response.start`` may carry a ``reason``, HTTP/1.1 gets trailers,
``rolo.http.response.interim`` (``status``, ``headers``) sends any 1xx answer, and a
``websocket.close`` with the code ``None`` sends a close frame without one.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import copy
import functools
import http
import logging
import socket
import struct
import typing as t

import h2.errors
import h2.events
import h2.exceptions
import h11
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol.events import Body, InformationalResponse, StreamClosed, Trailers
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H2ProtocolAssumedError, H11Protocol
from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream
from hypercorn.protocol.ws_stream import ASGIWebsocketState, FrameTooLargeError, WSStream
from hypercorn.typing import ConnectionState
from hypercorn.utils import parse_socket_addr
from wsproto.connection import ConnectionState as WebSocketState
from wsproto.events import CloseConnection, Message, Ping
from wsproto.frame_protocol import CloseReason

from rolo.serving.base import CAPABILITIES, AsgiApp, Settings
from rolo.serving.hypercorn import HTTP1, HTTP2
from rolo.serving.listener import Listener
from rolo.serving.loop import Lifetime

LOG = logging.getLogger(__name__)

#: seconds a peer gets to answer the end of TLS, or to take the last bytes of a broken answer
_TIME_TO_FLUSH = 0.5

#: streams that a client may reset at any rate on a connection, and beyond that half of all:
#: resetting is cheaper for the client than what it has begun is for us (CVE-2023-44487)
_FREE_RESETS = 100

_RESET = struct.pack("ii", 1, 0)


class ClientLeft(ConnectionError):
    """Raised by ``send`` once the client is gone."""


class MendedServer:
    """Accepts connections, knows them, and ends them."""

    def __init__(self, app: AsgiApp, config: Config) -> None:
        self._app = ASGIWrapper(t.cast(t.Any, app))
        self._config = config
        self._context = WorkerContext(None)
        self._connections: dict[asyncio.Task[t.Any], _Connection] = {}

    async def run(self, settings: Settings, lifetime: Lifetime) -> None:
        tls: dict[str, t.Any] = {}
        if settings.tls is not None:
            tls["ssl"] = settings.tls.context(("h2", "http/1.1"))
            tls["ssl_shutdown_timeout"] = _TIME_TO_FLUSH
        listener = Listener(self._protocol, settings.sock, **tls)
        lifetime.ready()
        grace = await lifetime.stopping()
        await listener.close()
        await self._stop(grace)

    def _protocol(self) -> asyncio.StreamReaderProtocol:
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(), self._accepted)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = t.cast("asyncio.Task[t.Any]", asyncio.current_task())
        loop = asyncio.get_running_loop()
        connection = _Connection(self._app, loop, self._config, self._context, {}, reader, writer)
        self._connections[task] = connection
        try:
            await connection
        except asyncio.CancelledError:
            pass  # the deadline of the shutdown; nobody waits for this task but _stop
        except Exception:
            LOG.exception("a connection failed")
        finally:
            del self._connections[task]

    async def _stop(self, grace: float | None) -> None:
        await self._context.terminated.set()
        for connection in list(self._connections.values()):
            await connection.go_away()
        if self._connections:
            await asyncio.wait(list(self._connections), timeout=grace)
        left = dict(self._connections)
        for task in left:
            task.cancel()
        for connection in left.values():
            connection.writer.transport.abort()
        if left:
            await asyncio.wait(list(left), timeout=1.0)


class _Connection(TCPServer):
    """One connection of a client."""

    _aborted = False

    async def run(self) -> None:
        try:
            raw = self.writer.get_extra_info("socket")
            client = parse_socket_addr(raw.family, raw.getpeername())
            server = parse_socket_addr(raw.family, raw.getsockname())
            tls = self.writer.get_extra_info("ssl_object")
            async with _TaskGroup(self.loop) as group:
                self._task_group = group
                make = functools.partial(
                    self._make_protocol, group=group, tls=tls, client=client, server=server
                )
                alpn = tls.selected_alpn_protocol() if tls is not None else None
                self.protocol = t.cast(t.Any, _Protocols(make, alpn))
                await self.protocol.initiate()
                await self.idle_task.restart(group, self._idle_timeout)
                await self._read_data()
        except OSError:
            pass  # the client is gone; the application heard it as a disconnect
        finally:
            await self._close()

    def _make_protocol(
        self, kind: type[t.Any], *, group: TaskGroup, tls: t.Any, client: t.Any, server: t.Any
    ) -> t.Any:
        protocol = kind(
            self.app,
            self.config,
            self.context,
            group,
            ConnectionState(self.state),
            tls is not None,
            client,
            server,
            self.protocol_send,
        )
        protocol.reset_connection = self.reset
        return protocol

    def reset(self) -> None:
        """End with a reset, which nobody takes for an end (RFC 9112 section 8)."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.writer.transport.abort()
        self._aborted = True

    async def _close(self) -> None:
        if self._aborted:  # uvloop would still send an end
            await self.idle_task.stop()
        else:
            with contextlib.suppress(TimeoutError):  # the peer did not answer the end of TLS
                await super()._close()

    async def go_away(self) -> None:
        """Close the websockets: the server is going down (RFC 6455 section 7.4.1)."""
        protocol = getattr(getattr(self, "protocol", None), "protocol", None)
        streams = [getattr(protocol, "stream", None), *getattr(protocol, "streams", {}).values()]
        for stream in streams:
            if isinstance(stream, _WebSocket):
                await stream.go_away()


class _Protocols:
    """HTTP/1.1 or HTTP/2, by ALPN or by how the client begins."""

    def __init__(self, make: t.Callable[[type[t.Any]], t.Any], alpn: str | None) -> None:
        self._make = make
        self.protocol = make(_Http2 if alpn == "h2" else _Http11)

    async def initiate(self) -> None:
        await self.protocol.initiate()

    async def handle(self, event: Event) -> None:
        try:
            await self.protocol.handle(event)
        except H2ProtocolAssumedError as assumed:
            self.protocol = self._make(_Http2)
            await self.protocol.initiate()
            await self.protocol.handle(RawData(data=assumed.data))


class _TaskGroup(TaskGroup):
    """Starts the application, and gives its stream the mended class.

    hypercorn names the classes of its streams in the middle of longer methods. This is
    the first place where a new stream passes through our hands, before its application
    runs and before any event but the request head.
    """

    async def spawn_app(
        self, app: t.Any, config: Config, scope: t.Any, send: t.Any
    ) -> t.Callable[[t.Any], t.Awaitable[None]]:
        stream = send.__self__
        scope["state"][CAPABILITIES] = HTTP2 if scope["http_version"] == "2" else HTTP1
        if isinstance(stream, WSStream):
            stream.__class__ = _WebSocket
            # Not offered, permessage-deflate is not accepted: wsproto inflates all of a read,
            # 1000 times its size, before anybody looks at limits.
            stream.handshake.extensions = None
        else:
            stream.__class__ = _Stream
            scope["extensions"]["http.response.trailers"] = {}
            scope["extensions"]["rolo.http.response.interim"] = {}
            if scope["http_version"] == "2":
                config, app = _unbounded(config), functools.partial(_acknowledging, app, stream)
            else:
                if _expects_continue(scope):
                    app = functools.partial(_continuing, app, stream)
                inbox = _Inbox(config.max_app_queue_size)
                run = functools.partial(inbox.run, app)
                put = await super().spawn_app(run, _unbounded(config), scope, stream.app_send)
                return functools.partial(inbox.put, put)
        return await super().spawn_app(app, config, scope, stream.app_send)


class _Inbox:
    """What waits for the application of an HTTP/1 exchange: pieces of its request body wait for
    room, but the end of the exchange does not. hypercorn would wait with that, too, and for
    ever if the application has answered without reading them.
    """

    def __init__(self, size: int) -> None:
        self._room = asyncio.Semaphore(size)
        self._over = False

    async def put(self, put: t.Callable[[t.Any], t.Awaitable[None]], event: t.Any) -> None:
        if event["type"] == "http.disconnect":
            self._over = True
            self._room.release()  # to whoever waits with a piece
        else:
            await self._room.acquire()
            if self._over:
                return
        await put(event)

    async def run(
        self, app: t.Any, scope: t.Any, receive: t.Any, send: t.Any, *hooks: t.Any
    ) -> None:
        async def receive_and_make_room() -> t.Any:
            event = await receive()
            if event["type"] == "http.request":
                self._room.release()
            return event

        await app(scope, receive_and_make_room, send, *hooks)


def _unbounded(config: Config) -> Config:
    """The same, but others bound what waits for the application: HTTP/2's flow control, or
    an :class:`_Inbox`."""
    unbounded = copy.copy(config)
    unbounded.max_app_queue_size = 0
    return unbounded


async def _acknowledging(
    app: t.Any, stream: _Stream, scope: t.Any, receive: t.Any, send: t.Any, *hooks: t.Any
) -> None:
    """Open the client's window for a piece when the application takes it, not before."""

    async def receive_and_acknowledge() -> t.Any:
        event = await receive()
        if event["type"] == "http.request" and event["body"]:
            await t.cast(_Http2, stream.send.__self__).acknowledge(stream.stream_id)  # type: ignore[attr-defined]
        return event

    await app(scope, receive_and_acknowledge, send, *hooks)


def _expects_continue(scope: t.Any) -> bool:
    return scope["http_version"] == "1.1" and any(
        name.lower() == b"expect" and value.lower() == b"100-continue"
        for name, value in scope["headers"]
    )


async def _continuing(
    app: t.Any, stream: _Stream, scope: t.Any, receive: t.Any, send: t.Any, *hooks: t.Any
) -> None:
    """Tell the client to send its body when the application asks for it, not before."""
    protocol = t.cast(_Http11, stream.send.__self__)  # type: ignore[attr-defined]

    async def receive_after_continue() -> t.Any:
        await protocol.send_continue()
        return await receive()

    await app(scope, receive_after_continue, send, *hooks)


class _Stream(HTTPStream):
    """One HTTP exchange."""

    async def app_send(self, message: t.Any) -> None:
        if message is None:
            await super().app_send(message)
        elif self.closed and self.state is not ASGIHTTPState.CLOSED:
            raise ClientLeft("the client has left")
        elif message["type"] == "rolo.http.response.interim":
            await self._send_interim(message)
        elif (
            message["type"] == "http.response.trailers"
            and self.state is ASGIHTTPState.TRAILERS
            and not (message["headers"] and self.scope["http_version"] == "2")
        ):
            await self._send_trailers(message)
        else:
            await super().app_send(message)

    async def _send_interim(self, message: t.Any) -> None:
        # RFC 9110 section 15.2: not to HTTP/1.0 clients, and not after the answer.
        if self.state is ASGIHTTPState.REQUEST and self.scope["http_version"] != "1.0":
            await self.send(
                InformationalResponse(
                    stream_id=self.stream_id,
                    headers=list(message["headers"]),
                    status_code=message["status"],
                )
            )

    async def _send_trailers(self, message: t.Any) -> None:
        wanted = any(
            name.lower() == b"te" and b"trailers" in value.lower()
            for name, value in self.scope["headers"]
        )
        if wanted and message["headers"]:
            await self.send(Trailers(stream_id=self.stream_id, headers=list(message["headers"])))
        if not message.get("more_trailers", False):
            await self._send_closed()


class _WebSocket(WSStream):
    """One websocket."""

    close_seen: tuple[int, str] | None = None
    deaf = False

    async def handle(self, event: StreamEvent) -> None:
        if isinstance(event, StreamClosed) and not self.closed:
            self.closed = True
            await self._tell_closed()
        else:
            await super().handle(event)

    async def app_send(self, message: t.Any) -> None:
        if message is not None and self.closed:
            raise ClientLeft("the websocket is closed")
        if (
            message is not None
            and message["type"] == "websocket.close"
            and message.get("code", 1000) is None
            and self.state is ASGIWebsocketState.CONNECTED
        ):
            self.state = ASGIWebsocketState.CLOSED
            await self._send_wsproto_event(CloseConnection(code=CloseReason.NO_STATUS_RCVD))
        else:
            await super().app_send(message)

    async def go_away(self) -> None:
        if self.state is ASGIWebsocketState.CONNECTED and self.close_seen is None:
            self.close_seen = (1001, "")
            await self._send_wsproto_event(CloseConnection(code=CloseReason.GOING_AWAY))
            await self._tell_closed()

    async def _handle_events(self) -> None:
        for event in self.connection.events():
            if isinstance(event, Message):
                await self._take(event)
            elif isinstance(event, Ping):
                await self._send_wsproto_event(event.response())
            elif isinstance(event, CloseConnection):
                await self._take_close(event)

    async def _take(self, event: Message[t.Any]) -> None:
        if self.deaf:
            return
        try:
            self.buffer.extend(event)
        except FrameTooLargeError:
            # Read on, as the client may need to finish before it sees our close.
            self.deaf = True
            self.buffer.clear()
            self.close_seen = (1009, "message too large")
            await self._send_wsproto_event(CloseConnection(code=CloseReason.MESSAGE_TOO_BIG))
            await self._tell_closed()
            return
        if event.message_finished:
            assert self.app_put is not None
            await self.app_put(self.buffer.to_message())
            self.buffer.clear()

    async def _take_close(self, event: CloseConnection) -> None:
        if self.close_seen is None:
            self.close_seen = (int(event.code), event.reason or "")
        if self.connection.state is WebSocketState.REMOTE_CLOSING:
            await self._send_wsproto_event(event.response())
        elif self.connection.state is WebSocketState.OPEN:
            # No close frame of the client: wsproto could not parse what it sent.
            await self._send_wsproto_event(CloseConnection(code=event.code))
        await self.send(StreamClosed(stream_id=self.stream_id))

    async def _tell_closed(self) -> None:
        code, reason = self.close_seen or (int(CloseReason.ABNORMAL_CLOSURE), "")
        if self.app_put is not None:
            await self.app_put({"type": "websocket.disconnect", "code": code, "reason": reason})


class _Http11(H11Protocol):
    reset_connection: t.Callable[[], None]
    _continuing = False

    async def stream_send(self, event: StreamEvent) -> None:
        if isinstance(event, InformationalResponse):
            await self._send_h11_event(
                h11.InformationalResponse(headers=event.headers, status_code=event.status_code)
            )
        elif isinstance(event, Trailers):
            await self._send_h11_event(h11.EndOfMessage(headers=event.headers))
        elif isinstance(event, StreamClosed):
            self._reset_if_cut_short()
            await super().stream_send(event)
        else:
            await super().stream_send(event)

    def _reset_if_cut_short(self) -> None:
        """An answer without length or chunks ends with the connection; half of one must
        not end the same way."""
        connection = self.connection
        if (
            isinstance(connection, h11.Connection)
            and connection.our_state is h11.SEND_BODY
            and connection.their_http_version == b"1.0"
        ):
            self.reset_connection()

    async def _send_h11_event(self, event: t.Any) -> None:
        if isinstance(event, h11.Response | h11.InformationalResponse) and not event.reason:
            if event.status_code == 100 and not self._continuing:
                return  # hypercorn says it unasked; see send_continue
            event = type(event)(
                status_code=event.status_code,
                headers=event.headers.raw_items(),
                reason=self._reason(event.status_code),
            )
        elif isinstance(event, h11.EndOfMessage) and self.connection.our_state is h11.DONE:
            return  # trailers have ended the message already
        await super()._send_h11_event(event)

    async def send_continue(self) -> None:
        """Answer ``Expect: 100-continue``, unless it has been answered or overtaken."""
        if self.connection.they_are_waiting_for_100_continue:
            self._continuing = True
            await self._send_h11_event(h11.InformationalResponse(headers=[], status_code=100))
            self._continuing = False

    def _reason(self, status: int) -> bytes:
        given = getattr(self.stream, "response", {}).get("reason")
        if given is not None:
            return bytes(given)
        try:
            return http.HTTPStatus(status).phrase.encode()
        except ValueError:
            return b""

    async def _check_protocol(self, event: h11.Request) -> None:
        if event.method == b"PRI" and self.keep_alive_requests:
            return  # HTTP/2 begins a connection or is not spoken on it
        for name, value in event.headers:
            if name == b"upgrade" and value.strip().lower() == b"h2c":
                return  # RFC 9113 section 3.1 has made this way to HTTP/2 obsolete
        await super()._check_protocol(event)


def _is_tunnel(request: h2.events.RequestReceived) -> bool:
    """A plain CONNECT has no path (RFC 9113 section 8.5), which hypercorn does not expect."""
    return all(name != b":path" for name, _ in request.headers or ())


class _Http2(H2Protocol):
    reset_connection: t.Callable[[], None]

    def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:
        super().__init__(*args, **kwargs)
        self._unread: dict[int, collections.deque[int]] = {}
        self._answered: set[int] = set()
        self._begun = self._resets = 0

    async def initiate(self, *args: t.Any, **kwargs: t.Any) -> None:
        # The windows of the streams bound what is held; that of the connection must not
        # let one slow upload starve the others.
        await super().initiate(*args, **kwargs)
        window = (
            self.config.h2_max_concurrent_streams
            * self.connection.local_settings.initial_window_size
        )
        self.connection.increment_flow_control_window(window)
        await self._flush()

    async def acknowledge(self, stream_id: int) -> None:
        """Say that the application has taken one piece of an upload."""
        unread = self._unread.get(stream_id)
        if unread:
            self.connection.acknowledge_received_data(unread.popleft(), stream_id)
            await self._flush()

    async def _handle_events(self, events: list[h2.events.Event]) -> None:
        for event in events:
            if isinstance(event, h2.events.RequestReceived):
                self._begun += 1
            elif isinstance(event, h2.events.StreamReset):
                self._resets += 1
                if self._resets > max(_FREE_RESETS, self._begun // 2):
                    await self._calm_down()
                    return
            if isinstance(event, h2.events.DataReceived):
                await self._take_data(event)
            elif isinstance(event, h2.events.RequestReceived) and _is_tunnel(event):
                await self._refuse_tunnel(event.stream_id)
            elif isinstance(event, h2.events.StreamEnded) and event.stream_id not in self.streams:
                pass  # the end of what was refused
            else:
                await super()._handle_events([event])
        await self._flush()

    async def _calm_down(self) -> None:
        LOG.info("HTTP/2 connection ended: its client has reset %d streams", self._resets)
        self.connection.close_connection(h2.errors.ErrorCodes.ENHANCE_YOUR_CALM)
        await self._flush()
        await self.send(Closed())

    async def _refuse_tunnel(self, stream_id: int) -> None:
        self.connection.send_headers(stream_id, [(b":status", b"501")], end_stream=True)
        await self._reset(stream_id, h2.errors.ErrorCodes.NO_ERROR)

    async def _take_data(self, event: h2.events.DataReceived) -> None:
        stream = self.streams.get(event.stream_id)
        length = event.flow_controlled_length
        if isinstance(stream, HTTPStream) and event.data:
            self._unread.setdefault(event.stream_id, collections.deque()).append(length)
            await stream.handle(Body(stream_id=event.stream_id, data=event.data))
            return
        if stream is not None:
            await stream.handle(Body(stream_id=event.stream_id, data=event.data))
        self.connection.acknowledge_received_data(length, event.stream_id)

    async def stream_send(self, event: StreamEvent) -> None:
        if not isinstance(event, StreamClosed):
            await super().stream_send(event)
            return
        buffer = self.stream_buffers.get(event.stream_id)
        if buffer is not None and not buffer._complete:
            if buffer.buffer:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(buffer.drain(), _TIME_TO_FLUSH)
            await self._reset(event.stream_id, h2.errors.ErrorCodes.INTERNAL_ERROR)
        await super().stream_send(event)
        self._answered.add(event.stream_id)
        await self._end_upload(event.stream_id)

    async def _send_data(self, stream_id: int) -> None:
        await super()._send_data(stream_id)
        await self._end_upload(stream_id)

    async def _end_upload(self, stream_id: int) -> None:
        """Once an answer is out whole, ask for no more of the upload (RFC 9113 8.1)."""
        if stream_id not in self._answered or stream_id in self.stream_buffers:
            return
        self._answered.discard(stream_id)
        for length in self._unread.pop(stream_id, ()):
            self.connection.acknowledge_received_data(length, stream_id)
        stream = self.connection.streams.get(stream_id)
        if stream is not None and not stream.closed:
            await self._reset(stream_id, h2.errors.ErrorCodes.NO_ERROR)

    async def _reset(self, stream_id: int, code: h2.errors.ErrorCodes) -> None:
        try:
            self.connection.reset_stream(stream_id, code)
        except h2.exceptions.ProtocolError:
            return  # the client was quicker
        await self._flush()
