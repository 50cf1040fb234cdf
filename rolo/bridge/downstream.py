"""The narrow seam between an exchange and the server that carries it.

Everything above this file sees the client only through :class:`HttpDownstream` or
:class:`WebSocketDownstream`. ASGI implements it (``rolo.asgi.http``), the native
server implements it straight on asyncio protocols. What a server cannot do is said in
its :class:`Capabilities`, never by asking which server it is.
"""

from __future__ import annotations

import dataclasses
import typing as t

from rolo.errors import DownstreamError
from rolo.net.body_stream import Sink
from rolo.wire.fields import RawHeaders
from rolo.wire.http1 import Framing, declared_length, wants_continue
from rolo.wire.received import received
from rolo.wire.target import decoded_path

if t.TYPE_CHECKING:
    from rolo.bridge.answer import Answer
    from rolo.bridge.websocket import PortalWebSocketAdapter
    from rolo.portal.portal import Portal


@dataclasses.dataclass(frozen=True, slots=True)
class Capabilities:
    """What the server below an exchange can carry to the client."""

    interim: bool = False
    """1xx answers other than 100 can be sent."""
    trailers: bool = False
    """Trailer fields can be sent after a body."""
    request_trailers: bool = False
    """Trailer fields of the request are seen."""
    header_case: bool = False
    """Field names are given, and sent, in the case in which they were written."""
    reason: bool = False
    """The reason phrase reaches an HTTP/1 client."""
    denial: bool = False
    """A websocket handshake can be refused with any status, fields and body."""
    expect: bool = False
    """``100 Continue`` is sent when the body is first asked for, not before."""
    framing: bool = False
    """Framing fields of the answer are ours to choose (else the server adds its own)."""
    wire: bool = False
    """The connection itself can be had, to break the protocol on purpose (:class:`Wire`)."""


class RequestHead:
    """A request head as it came from the client.

    :param path: percent-decoded and without the query; ``None`` takes it from ``target``,
        which is then a path
    :param query: as ``path``; without the question mark
    """

    __slots__ = (
        "_extensions",
        "_path",
        "_query",
        "client",
        "expects_continue",
        "framing",
        "headers",
        "http_version",
        "length",
        "method",
        "root_path",
        "scheme",
        "server",
        "size",
        "target",
    )

    def __init__(
        self,
        method: str,
        target: bytes,
        headers: RawHeaders,
        http_version: str,
        scheme: str,
        path: str | None,
        query: bytes | None,
        root_path: str = "",
        client: tuple[str, int] | None = None,
        server: tuple[str, int | None] | None = None,
        extensions: dict[str, t.Any] | None = None,
        size: int = 0,
        framing: Framing | None = None,
        length: int | None = None,
        expects_continue: bool = False,
    ) -> None:
        self.method = method
        self.target = target
        """The request target, byte for byte where the server gives it."""
        self.headers = received(headers)
        self.http_version = http_version
        self.scheme = scheme
        self._path = path
        self._query = query
        self.root_path = root_path
        self.client = client
        self.server = server
        self._extensions = extensions
        self.size = size
        """Bytes of the whole head; 0 where the server does not tell."""
        self.framing = framing
        """How the end of the body is known; ``None`` where the head does not say."""
        if framing is None:
            # Whoever has checked the head puts in the place of these what it has found.
            length = declared_length(self.headers)
            expects_continue = http_version != "1.0" and wants_continue(self.headers)
        self.length = length
        """Bytes of the body that the head declares, ``None`` if it does not."""
        self.expects_continue = expects_continue
        """The client waits for 100 (Continue) before it sends the body."""

    @property
    def path(self) -> str:
        """The path of the target, percent-decoded and without the query."""
        if self._path is None:
            self._path = decoded_path(self.target.partition(b"?")[0])
        return self._path

    @property
    def query(self) -> bytes:
        """The query of the target, without the question mark."""
        if self._query is None:
            self._query = self.target.partition(b"?")[2]
        return self._query

    @property
    def extensions(self) -> dict[str, t.Any]:
        """Where the server leaves more, e.g. ``{"asgi.scope": scope}``."""
        if self._extensions is None:
            self._extensions = {}
        return self._extensions


class Wire(t.Protocol):
    """The connection of one HTTP answer, bare: for whoever breaks the protocol on purpose.

    The loop's thread only. Bytes may be written between, or in the place of, what the calls of
    :class:`HttpDownstream` write. Nobody checks them.
    """

    def head(self, status: int, reason: bytes, headers: RawHeaders) -> bytes:
        """Return the head that ``send_head`` would send, which is not sent; what is sent of
        the body afterwards is framed as this head says.

        :raises ClientDisconnected: the client left
        """

    def write_head(self, block: bytes) -> None:
        """Send what stands for the head, or a part of it.

        :raises ClientDisconnected: the client left
        """

    def write(self, *data: bytes) -> bool:
        """Send bytes as they are. ``False`` asks to wait for :meth:`drained`.

        :raises ClientDisconnected: the client left
        """

    async def drained(self) -> None:
        """Wait until the client's side can take more.

        :raises ClientDisconnected: the client left
        """

    async def flushed(self) -> None:
        """Wait until all that was written is on its way, be it that a reset follows.

        :raises ClientDisconnected: the client left
        """

    def close(self) -> None:
        """End the connection in order (FIN) once all that was written is sent. The answer is
        over, whatever it lacks."""

    def reset(self) -> None:
        """Break the connection (RST) at once. The answer is over."""


class Spoiler(t.Protocol):
    """Stands between an answer and its downstream, for the worse."""

    def spoil(self, downstream: HttpDownstream, portal: Portal) -> HttpDownstream:
        """Return what the answer is sent to in the place of ``downstream``: of its calls,
        only those that send are made.

        :raises FaultUnavailable: the server cannot do it; nothing is sent yet
        """

    def spoil_blocking(self, answer: Answer) -> Answer:
        """Return ``answer`` as it is sent where there is no event loop; its head may take its
        time.

        :raises FaultUnavailable: it cannot be done there
        """


class AnswerDownstream(t.Protocol):
    """Where one answer is sent, seen from the loop that carries it.

    Only the loop's thread may call these: ``send_head`` once, ``send_body`` any number of times,
    and at last ``end`` or ``abort``; ``send_complete`` is all of these in one step.
    """

    @property
    def gone(self) -> bool:
        """True once the client is known to have left."""

    @property
    def sink(self) -> Sink | None:
        """Where pieces of the answer's body can be written without waiting, after its head;
        ``None`` where the server takes each by a call that waits."""

    @property
    def unacknowledged(self) -> int | None:
        """Bytes of the answer that the client has not taken yet; ``None`` if nobody knows."""

    async def send_head(self, status: int, reason: bytes, headers: RawHeaders) -> None:
        """Send, and flush, the final head. ``headers`` says how the body is framed:
        Content-Length, ``Transfer-Encoding: chunked``, or neither (the server chooses).

        :raises ClientDisconnected: the client left
        """

    async def send_body(self, chunk: bytes) -> None:
        """Send one piece of the body; returns when the client's side can take more.

        :raises ClientDisconnected: the client left
        """

    async def end(self, trailers: RawHeaders | None = None) -> None:
        """Complete the answer."""

    async def send_complete(
        self, status: int, reason: bytes, headers: RawHeaders, body: bytes
    ) -> None:
        """Send a whole answer in one step."""

    def abort(self, error: BaseException | None = None) -> None:
        """Break the answer off so that the client cannot take it for complete."""


class HttpDownstream(AnswerDownstream, t.Protocol):
    """One HTTP exchange, seen from the loop that carries it.

    Only the loop's thread may call these; any number of ``receive_body`` and ``send_interim``
    come before the answer.
    """

    head: RequestHead
    capabilities: Capabilities

    @property
    def fault(self) -> DownstreamError | None:
        """Why the request must be refused, though the server below let it through."""

    @property
    def may_have_body(self) -> bool:
        """False if the head says that no body follows."""

    @property
    def has_whole_body(self) -> bool:
        """The whole body is here, to be received without waiting for the client; ``False``
        where the server does not tell."""

    @property
    def request_trailers(self) -> RawHeaders:
        """Trailer fields of the request; empty before the end of the body."""

    @property
    def wire(self) -> Wire | None:
        """The connection itself, bare; ``None`` without ``capabilities.wire``."""

    async def receive_body(self) -> bytes:
        """Return the next piece of the request body, ``b""`` at its end (and ever after).

        :raises ClientDisconnected: the client left before the end of the body
        :raises BadRequest: the body's framing is broken
        """

    async def pipe_body(self, sink: Sink) -> None:
        """Hand the rest of the request body to ``sink`` as it comes; return at its end.

        :raises: as ``receive_body``, and whatever ``sink`` raises
        """

    def watch_gone(self, callback: t.Callable[[], None]) -> None:
        """Call ``callback`` once, on the loop, as soon as the client is known to have left.

        May be called again to replace the callback. Called at once if already gone.
        """

    async def send_interim(self, status: int, headers: RawHeaders) -> None:
        """Send a 1xx answer; silently nothing without ``capabilities.interim``."""


class WebSocketWire(t.Protocol):
    """The connection of one websocket, bare: for whoever breaks the protocol on purpose. The
    loop's thread only."""

    def write(self, *data: bytes) -> None:
        """Send bytes as they are, once the handshake is accepted; they are frames, or not."""

    def wrote(self, message: str | bytes) -> None:
        """Say that what was written makes this message; for observers."""

    async def drained(self) -> None:
        """As :meth:`Wire.drained`."""

    def withhold(self, pongs: bool = False, closes: bool = False) -> None:
        """Answer no ping, or send no close frame: where one is due the connection ends."""

    async def flushed(self) -> None:
        """As :meth:`Wire.flushed`."""

    def watch_end(self, callback: t.Callable[[], None]) -> None:
        """Call ``callback`` once the websocket is over, by whosever close; it is accepted."""

    def lose(self, error: BaseException, *, reset: bool = False) -> None:
        """End the connection without a close frame, at any time: in order (FIN), or with
        ``reset`` at once (RST).

        :param error: why, for observers
        """


class WebSocketDownstream(t.Protocol):
    """One websocket handshake and what follows, seen from the loop that carries it."""

    head: RequestHead
    capabilities: Capabilities
    subprotocols: list[str]
    """What the client offers, in its order."""

    @property
    def gone(self) -> bool:
        """True once the client is known to have left."""

    def make_adapter(self, outer: WebSocketDownstream, portal: Portal) -> PortalWebSocketAdapter:
        """Return what handlers get, over ``outer``: this, or what stands before it."""

    @property
    def pinged_at(self) -> float:
        """When the last ping came (``time.monotonic()``); 0 if none did, or nobody can tell."""

    def watch_gone(self, callback: t.Callable[[], None]) -> None:
        """As in :class:`HttpDownstream`; a close frame counts as leaving only before
        ``accept``."""

    @property
    def wire(self) -> WebSocketWire | None:
        """The connection itself, bare; ``None`` without ``capabilities.wire``."""

    @property
    def end(self) -> t.Any:
        """The open websocket itself, as a :class:`~rolo.net.websocket.WebSocketPeer`, for whoever
        needs no task to carry messages between two; ``None`` before it is accepted, and where
        the server has none or somebody stands in front of it."""

    async def accept(self, subprotocol: str | None, headers: RawHeaders) -> None: ...

    async def reject(self, status: int, reason: bytes, headers: RawHeaders, body: bytes) -> None:
        """Refuse the handshake with an HTTP answer (403 where the server can say no more)."""

    async def refusal(self) -> AnswerDownstream:
        """Return where such an answer can be sent as it comes. Only with
        ``capabilities.denial``, and for answers that :meth:`reject` does not send."""

    async def receive(self) -> str | bytes:
        """Return the next message.

        :raises WebSocketDisconnectedError: closed or lost, with the close code and reason;
            code 1005 stands for a close without code, 1006 for a lost connection
        """

    async def send(self, message: str | bytes) -> None:
        """Send one message; returns when the client's side can take more.

        :raises WebSocketDisconnectedError: closed or lost
        """

    async def close(self, code: int | None, reason: str) -> None:
        """Start the closing handshake; ``None`` sends a close frame without a code."""
