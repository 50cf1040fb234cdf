"""A websocket handshake, and the websocket it may become."""

from __future__ import annotations

import typing as t
from functools import wraps

from werkzeug.datastructures import Headers
from werkzeug.sansio.request import Request

from rolo.errors import Failure
from rolo.request import headers_from_environ
from rolo.websocket.adapter import (
    BytesMessage,
    CreateConnection,
    Message,
    Successor,
    TextMessage,
    WebSocketAdapter,
    WebSocketEnvironment,
    WebSocketListener,
)
from rolo.websocket.errors import WebSocketDisconnectedError, WebSocketProtocolError

if t.TYPE_CHECKING:
    from types import TracebackType

    from rolo.response import Response

__all__ = [
    "BytesMessage",
    "CreateConnection",
    "Message",
    "TextMessage",
    "WebSocket",
    "WebSocketAdapter",
    "WebSocketDisconnectedError",
    "WebSocketListener",
    "WebSocketProtocolError",
    "WebSocketRequest",
]


class WebSocket:
    """An accepted websocket.

    Iterating gives the messages and ends when the other side closes. As a context manager
    it closes on exit: with 1000, or with 1011 if an error leaves the block.
    """

    request: WebSocketRequest
    socket: WebSocketAdapter
    close_code: int | None
    """The code the other side closed with; ``None`` while it has not."""
    close_reason: str | None
    """The reason it gave."""

    def __init__(self, request: WebSocketRequest, socket: WebSocketAdapter) -> None:
        self.request = request
        self.socket = socket
        self.close_code = None
        self.close_reason = None
        self._closed = False
        self._received = False

    def __enter__(self) -> t.Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        failed = exc is not None and not isinstance(exc, WebSocketDisconnectedError)
        self.close(1011 if failed else 1000)

    def __iter__(self) -> t.Iterator[str | bytes]:
        while True:
            try:
                message = self.receive()
            except WebSocketDisconnectedError:
                return
            yield message

    def send(self, text_or_bytes: str | bytes, timeout: float | None = None) -> None:
        """Send a text message (str) or a binary one (bytes).

        :param timeout: seconds until :class:`TimeoutError`; ``None`` waits for ever
        :raises WebSocketDisconnectedError: the other side has closed or is gone
        :raises WebSocketProtocolError: neither str nor bytes
        """
        event: Message
        if isinstance(text_or_bytes, str):
            event = TextMessage(text_or_bytes)
        elif isinstance(text_or_bytes, bytes):
            event = BytesMessage(text_or_bytes)
        elif text_or_bytes is None:
            raise ValueError("text_or_bytes cannot be None")
        else:
            raise WebSocketProtocolError(
                f"Cannot send data type {type(text_or_bytes)} over websocket"
            )
        self._raise_if_disconnected()
        try:
            self.socket.send(event, timeout)
        except WebSocketDisconnectedError as exc:
            self._disconnected(exc)
            raise

    def receive(self, *, timeout: float | None = None) -> str | bytes:
        """Return the next message.

        :param timeout: seconds until :class:`TimeoutError`, which loses no message;
            ``None`` waits for ever
        :raises WebSocketDisconnectedError: the other side has closed or is gone
        """
        self._raise_if_disconnected()
        try:
            event = self.socket.receive(timeout)
            if isinstance(event, CreateConnection) and not self._received:
                event = self.socket.receive(timeout)
        except WebSocketDisconnectedError as exc:
            self._disconnected(exc)
            raise
        self._received = True
        if not isinstance(event, Message):
            raise WebSocketProtocolError(f"Unexpected websocket event type {type(event).__name__}.")
        return event.data

    def close(
        self, code: int = 1000, reason: str | None = None, timeout: float | None = None
    ) -> None:
        """Close with ``code`` and ``reason``; nothing if either side has closed already.

        :param timeout: seconds until :class:`TimeoutError`; ``None`` waits for ever
        """
        if self._closed:
            return
        self._closed = True
        self.socket.close(code, reason, timeout)

    @property
    def last_received_at(self) -> float:
        """When the last message came, or a ping where the server shows them; before the first,
        when the client connected. By the clock of :func:`time.monotonic`."""
        return self.socket.last_received_at

    def _disconnected(self, error: WebSocketDisconnectedError) -> None:
        self._closed = True
        self.close_code = error.code
        self.close_reason = error.reason

    def _raise_if_disconnected(self) -> None:
        if self.close_code is not None:
            raise WebSocketDisconnectedError(self.close_code, self.close_reason)


class WebSocketRequest(Request):
    """A handshake that waits for :meth:`accept` or :meth:`reject`.

    Its method is ``WEBSOCKET``, so that routes can ask for it.

    :param environ: a WSGI environment with the server's adapter under ``rolo.websocket``
        (or ``asgi.websocket``)
    """

    environ: WebSocketEnvironment

    def __init__(self, environ: WebSocketEnvironment) -> None:
        port = environ.get("SERVER_PORT")
        super().__init__(
            method=environ.get("REQUEST_METHOD", "WEBSOCKET"),
            scheme=environ.get("wsgi.url_scheme", "ws"),
            server=(environ["SERVER_NAME"], int(port) if port else None)
            if "SERVER_NAME" in environ
            else None,
            root_path=_decode(environ.get("SCRIPT_NAME") or ""),
            path=_decode(environ.get("PATH_INFO") or ""),
            query_string=environ.get("QUERY_STRING", "").encode("latin-1"),
            headers=headers_from_environ(environ),
            remote_addr=environ.get("REMOTE_ADDR"),
        )
        self.environ = environ
        self._websocket: WebSocket | None = None
        self._rejected = False
        self._handed_over = False
        self._rejection: Response | None = None
        """What the handshake was answered with instead of being accepted."""
        self._failure: Failure | None = None
        """The error that ended it, see :meth:`fail`."""

    @property
    def socket(self) -> WebSocketAdapter:
        """The server's side of the websocket.

        :raises WebSocketProtocolError: the environment has none
        """
        adapter = self.environ.get("rolo.websocket") or self.environ.get("asgi.websocket")
        if adapter is None:
            raise WebSocketProtocolError("The environment has no websocket")
        return t.cast("WebSocketAdapter", adapter)

    def is_upgraded(self) -> bool:
        """Whether the handshake was accepted."""
        return self._websocket is not None or self._handed_over

    def _is_handed_over(self) -> bool:
        """Whether it was accepted for somebody to serve after the handler, as a relay does."""
        return self._handed_over

    def is_rejected(self) -> bool:
        """Whether the handshake was answered with an HTTP response."""
        return self._rejected

    def reject(self, response: Response) -> None:
        """Answer the handshake with ``response`` (closed afterwards) and no websocket. A body
        that is not here yet is sent when the handler has returned.

        :raises ValueError: the handshake was accepted or rejected before
        """
        self._raise_if_decided()
        self._rejected = True
        self._rejection = response
        self.socket._refuse(response)

    def accept(
        self,
        subprotocol: str | None = None,
        headers: Headers | None = None,
        timeout: float | None = None,
    ) -> WebSocket:
        """Accept the handshake and return the websocket, which is yours to close.

        :param subprotocol: one of those the client offers, or ``None``
        :param headers: fields to add to the answer
        :param timeout: seconds until :class:`TimeoutError`; ``None`` waits for ever
        :raises WebSocketDisconnectedError: the client has left
        :raises ValueError: the handshake was accepted or rejected before
        """
        self._raise_if_decided()
        socket = self.socket
        socket.accept(subprotocol=subprotocol, extra_headers=headers, timeout=timeout)
        self._websocket = WebSocket(self, socket)
        return self._websocket

    def hand_over(
        self,
        successor: Successor,
        subprotocol: str | None = None,
        headers: Headers | None = None,
        timeout: float | None = None,
    ) -> None:
        """Accept the handshake as :meth:`accept` does, and leave the websocket to
        ``successor``, which runs on the server's event loop after the handler has returned.

        :raises WebSocketProtocolError: the server cannot do that
        """
        self._raise_if_decided()
        socket = self.socket
        socket.accept(subprotocol=subprotocol, extra_headers=headers, timeout=timeout)
        self._handed_over = True
        socket.hand_over(successor)

    def close(self, *, code: int = 1000, reason: str | None = None) -> None:
        """Close what is left open: an accepted websocket with ``code`` and ``reason``, a
        handshake that was not answered without an answer of ours. May be called again."""
        if self._rejected:
            return
        if self._websocket is not None:
            self._websocket.close(code, reason)
        else:
            self._rejected = not self._handed_over
            self.socket.close(code, reason)

    @classmethod
    def listener(cls, fn: t.Callable[[WebSocketRequest], None]) -> WebSocketListener:
        """Decorate a function of a request to be a listener that a server calls with an
        environment. A handshake that it leaves unanswered is closed; an error closes the
        websocket with 1011, or answers the handshake with 500, and is raised."""

        @wraps(fn)
        def listen(environ: WebSocketEnvironment) -> None:
            request = cls(environ)
            try:
                fn(request)
            except Exception as exc:
                request.fail(exc)
                raise
            if not request.is_upgraded():
                request.close()

        return listen

    def fail(self, error: BaseException) -> None:
        """End the websocket of a handler that raised ``error``: nothing more if the client
        had left, else close it with 1011, or answer an open handshake with 500."""
        from rolo.response import Response

        if isinstance(error, WebSocketDisconnectedError):
            return
        self._failure = Failure.of(error)
        try:
            if self.is_upgraded():
                self.close(code=1011)
            elif not self._rejected:
                self.reject(Response("500 Internal Server Error\n", status=500))
        except WebSocketDisconnectedError:
            pass  # the client left first

    def _raise_if_decided(self) -> None:
        if self.is_upgraded():
            raise ValueError("Websocket connection already upgraded")
        if self._rejected:
            raise ValueError("Websocket connection already rejected")


def _decode(text: str) -> str:
    return text if text.isascii() else text.encode("latin-1").decode("utf-8", "replace")
