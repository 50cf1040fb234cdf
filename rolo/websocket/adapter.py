"""What a server gives us of a websocket: events, and the calls that answer them."""

from __future__ import annotations

import dataclasses
import typing as t

from rolo.websocket.errors import WebSocketProtocolError

if t.TYPE_CHECKING:
    from werkzeug.datastructures import Headers

    from rolo.response import Response

WebSocketEnvironment = dict[str, t.Any]
"""A WSGI environment whose ``rolo.websocket`` holds the adapter."""


class Event:
    """Something that happened on a websocket, or shall happen."""


@dataclasses.dataclass
class CreateConnection(Event):
    """The client asks for a websocket. An adapter may report it once, before all others."""


@dataclasses.dataclass
class AcceptConnection(Event):
    """The handshake is to be accepted."""

    subprotocol: str | None = None
    extensions: list[str] = dataclasses.field(default_factory=list)
    extra_headers: list[tuple[bytes, bytes]] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Message(Event):
    """A whole message."""

    data: bytes | str


@dataclasses.dataclass
class TextMessage(Message):
    data: str


@dataclasses.dataclass
class BytesMessage(Message):
    data: bytes


class Successor(t.Protocol):
    """Takes a websocket over from the handler that accepted it."""

    async def run(self, downstream: t.Any) -> None:
        """Serve the websocket to its end.

        :param downstream: a :class:`rolo.bridge.downstream.WebSocketDownstream`
        """

    def abandon(self) -> None:
        """Called instead of :meth:`run` if it comes to nothing. The loop's thread."""


class WebSocketAdapter:
    """One websocket of a server, seen from sync code.

    Each ``timeout`` is in seconds and raises :class:`TimeoutError` when it runs out;
    ``None`` waits for ever. Every call but ``close`` raises
    :class:`~rolo.websocket.WebSocketDisconnectedError` once the client is gone.
    """

    def accept(
        self,
        subprotocol: str | None = None,
        extensions: list[str] | None = None,
        extra_headers: Headers | None = None,
        timeout: float | None = None,
    ) -> None:
        """Accept the handshake.

        :param subprotocol: the one chosen of those offered, ``None`` for none
        :param extensions: extensions accepted, as the handshake writes them
        :param extra_headers: fields to add to the answer
        """
        raise NotImplementedError

    def reject(
        self,
        status_code: int,
        headers: Headers | None = None,
        body: t.Iterable[bytes] | None = None,
        timeout: float | None = None,
    ) -> None:
        """Answer the handshake with an HTTP response instead."""
        raise NotImplementedError

    def _refuse(self, response: Response) -> None:
        """Answer the handshake with ``response`` instead, and close that."""
        try:
            self.reject(response.status_code, response.headers, response.iter_encoded())
        finally:
            response.close()

    def receive(self, timeout: float | None = None) -> CreateConnection | Message:
        """Return the next event."""
        raise NotImplementedError

    def send(self, event: Message, timeout: float | None = None) -> None:
        """Send one message."""
        raise NotImplementedError

    def close(
        self, code: int = 1001, reason: str | None = None, timeout: float | None = None
    ) -> None:
        """Close with ``code``. Does nothing if the websocket is closed."""
        raise NotImplementedError

    def hand_over(self, successor: Successor) -> None:
        """Leave the accepted websocket to ``successor``: it runs on the server's event loop
        once the handler has returned. No further call on this adapter may follow."""
        raise WebSocketProtocolError("this server's websockets cannot be handed over")

    @property
    def last_received_at(self) -> float:
        """When the last message came, or a ping where the server shows them; before the first,
        when the client connected. By the clock of :func:`time.monotonic`."""
        raise NotImplementedError


class WebSocketListener(t.Protocol):
    """Called by a server with the environment of each websocket handshake."""

    def __call__(self, environ: WebSocketEnvironment) -> None: ...
