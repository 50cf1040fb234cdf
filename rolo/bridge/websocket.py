"""The sync face of a websocket: blocking calls of a handler, carried to the loop."""

from __future__ import annotations

import asyncio
import time
import typing as t

from werkzeug.datastructures import Headers

from rolo.bridge.downstream import RequestHead, WebSocketDownstream
from rolo.bridge.environ import wsgi_environ
from rolo.errors import BadRequest, UnsendableAnswer
from rolo.portal.portal import Portal
from rolo.response import Response
from rolo.websocket.adapter import (
    BytesMessage,
    CreateConnection,
    Message,
    Successor,
    TextMessage,
    WebSocketAdapter,
)
from rolo.wire.fields import RESERVED, RawHeaders
from rolo.wire.handshake import is_key
from rolo.wire.http1 import check_head
from rolo.wire.received import received
from rolo.wire.reserved_fields import answer_fields
from rolo.wire.target import refuse_fragment

# What the 101 itself says (RFC 6455 section 4.2.2).
_OF_THE_HANDSHAKE = RESERVED.union(
    b"sec-websocket-accept sec-websocket-extensions sec-websocket-protocol "
    b"sec-websocket-version".split()
)

T = t.TypeVar("T")


class PortalWebSocketAdapter(WebSocketAdapter):
    """A :class:`WebSocketAdapter` over a downstream. Timeouts are in seconds; ``None``
    waits for ever; one that runs out raises :class:`TimeoutError`. The first event is
    :class:`~rolo.websocket.adapter.CreateConnection`, the handshake."""

    def __init__(self, downstream: WebSocketDownstream, portal: Portal) -> None:
        self._downstream = downstream
        self._portal = portal
        self._successor: Successor | None = None
        """Who goes on once the handler has returned; ``None`` if it serves to the end."""
        self._refusal: Response | None = None
        """What to refuse the handshake with once the handler has returned."""
        self._last_received_at = time.monotonic()
        self._receiving: asyncio.Task[str | bytes] | None = None
        self._opening = True  # the handshake has not been received

    @property
    def last_received_at(self) -> float:
        return max(self._last_received_at, self._downstream.pinged_at)

    def accept(
        self,
        subprotocol: str | None = None,
        extensions: list[str] | None = None,
        extra_headers: Headers | None = None,
        timeout: float | None = None,
    ) -> None:
        self._call(self._downstream.accept(subprotocol, accept_fields(extra_headers)), timeout)

    def reject(
        self,
        status_code: int,
        headers: Headers | None = None,
        body: t.Iterable[bytes] | None = None,
        timeout: float | None = None,
    ) -> None:
        whole = b"".join(body or ())
        fields = refusal_fields(status_code, headers, whole)
        self._call(self._downstream.reject(status_code, b"", fields, whole), timeout)

    def _refuse(self, response: Response) -> None:
        if response.is_sequence or not self._downstream.capabilities.denial:
            super()._refuse(response)
        else:
            self._refusal = response

    def receive(self, timeout: float | None = None) -> CreateConnection | Message:
        if self._opening:
            self._opening = False
            return CreateConnection()
        message = self._portal.call(self._receive(timeout))
        self._last_received_at = time.monotonic()
        if isinstance(message, str):
            return TextMessage(message)
        return BytesMessage(message)

    def send(self, event: Message, timeout: float | None = None) -> None:
        self._call(self._downstream.send(event.data), timeout)

    def close(
        self, code: int = 1001, reason: str | None = None, timeout: float | None = None
    ) -> None:
        self._call(self._downstream.close(code, reason or ""), timeout)

    def hand_over(self, successor: Successor) -> None:
        self._successor = successor

    def _put_in_front(
        self, make: t.Callable[[WebSocketDownstream, Portal], WebSocketDownstream]
    ) -> None:
        """Let what ``make`` returns stand in front of the downstream, for all that follows; not
        once the handshake is answered. For faults; not public, as handlers see this object."""
        self._downstream = make(self._downstream, self._portal)

    def _call(self, coroutine: t.Coroutine[t.Any, t.Any, T], timeout: float | None) -> T:
        if timeout is not None:
            coroutine = asyncio.wait_for(coroutine, timeout)
        return self._portal.call(coroutine)

    async def _receive(self, timeout: float | None) -> str | bytes:
        if self._receiving is None:
            if timeout is None:
                return await self._downstream.receive()
            self._receiving = asyncio.get_running_loop().create_task(self._downstream.receive())
            self._portal.track(self._receiving)
            # A handler may leave without asking again: then nobody is to hear how it ended.
            self._receiving.add_done_callback(lambda task: task.cancelled() or task.exception())
        # A wait that runs out must not lose the message that comes right after it.
        done, _ = await asyncio.wait((self._receiving,), timeout=timeout)
        if not done:
            raise TimeoutError("no websocket message in time")
        receiving, self._receiving = self._receiving, None
        return receiving.result()


def accept_fields(headers: Headers | None) -> RawHeaders:
    """Return what handlers add to a 101: nothing that the handshake itself says.

    :raises UnsendableAnswer: as :func:`raw_headers`
    """
    return [field for field in raw_headers(headers) if field[0].lower() not in _OF_THE_HANDSHAKE]


def refusal_fields(status: int, headers: Headers | None, body: bytes) -> RawHeaders:
    """Return the fields of an answer that refuses a websocket, with the length of ``body``.

    :raises UnsendableAnswer: as :func:`raw_headers`
    """
    bodiless = status in (204, 304)
    try:
        return answer_fields(
            raw_headers(headers), None if bodiless else len(body), bodiless=bodiless
        )
    except ValueError as exc:
        raise UnsendableAnswer(str(exc)) from None


def raw_headers(headers: Headers | None) -> RawHeaders:
    """Return ``headers`` as raw pairs, in order.

    :raises UnsendableAnswer: they would not come out as these fields
    """
    try:
        pairs = [(n.encode("latin-1"), str(v).encode("latin-1")) for n, v in headers or ()]
        check_head(b"", pairs)
    except ValueError as exc:
        raise UnsendableAnswer(str(exc)) from None
    return pairs


def check_handshake(head: RequestHead) -> None:
    """Refuse what RFC 6455 section 4.2.1 does, and not every server does.

    :raises BadRequest: the key is not 16 bytes in base64, there are several keys or versions,
        a body, or a fragment in the target
    """
    refuse_fragment(head.target)
    fields = received(head.headers).special
    if b"content-length" in fields or b"transfer-encoding" in fields:
        raise BadRequest("websocket handshake with a body")
    if b"," in fields.get(b"sec-websocket-version", b""):
        raise BadRequest("several Sec-WebSocket-Version")
    key = fields.get(b"sec-websocket-key")
    if key is not None and not is_key(key):  # as several are none
        raise BadRequest("malformed Sec-WebSocket-Key")


def websocket_environ(
    head: RequestHead, adapter: WebSocketAdapter, portal: Portal
) -> dict[str, t.Any]:
    """Return the environment of a :class:`~rolo.websocket.WebSocketRequest`."""
    environ = wsgi_environ(head)
    environ["REQUEST_METHOD"] = "WEBSOCKET"
    environ["rolo.websocket"] = environ["asgi.websocket"] = adapter
    environ["rolo.portal"] = portal
    return environ
