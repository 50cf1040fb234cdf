"""werkzeug's own server: a thread per connection, WSGI, no event loop.

For handlers under a debugger and for programs that must not depend on anything else. It
closes the connection after each answer and cannot carry websockets. An application that
fails in the middle of its answer breaks it off here; under ``run_simple`` alone, werkzeug
would make half an answer look whole.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import socket
import ssl
import struct
import threading
import time
import typing as t

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from rolo.bridge.downstream import Capabilities
from rolo.bridge.limits import DEFAULT_LIMITS, Limits
from rolo.bridge.observer import Observer
from rolo.errors import DownstreamError, describe
from rolo.net.body import close_given
from rolo.portal.containment import contained
from rolo.serving.base import (
    HEAD_TIMEOUT,
    Adapter,
    App,
    Fitted,
    Mode,
    RunningServer,
    Settings,
    is_asgi,
)
from rolo.serving.listener import EXHAUSTED, NOT_ACCEPTING, RETRY_DELAY
from rolo.serving.versions import why_not
from rolo.serving.wsgi_input import RequestInput
from rolo.wire.admission import admit
from rolo.wire.error_page import CONTENT_TYPE, error_text
from rolo.wire.http1 import Framing, body_decoder

if t.TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from rolo.gateway.gateway import Gateway

LOG = logging.getLogger(__name__)


class WerkzeugAdapter(Adapter):
    """HTTP/1.1, one request per connection."""

    name = "werkzeug"
    protocols = frozenset({"http/1.1", "tls"})
    apps = frozenset({"gateway", "wsgi"})
    capabilities = Capabilities(request_trailers=True, header_case=True, reason=True, expect=True)

    def available(self) -> str | None:
        return why_not("werkzeug")

    def fit_gateway(
        self,
        gateway: Gateway,
        *,
        mode: Mode,
        threads: int | None,
        limits: Limits = DEFAULT_LIMITS,
        proxy_status: str | None = None,
        observers: t.Sequence[Observer] = (),
    ) -> Fitted:
        from rolo.gateway.wsgi import WsgiGateway

        app = WsgiGateway(gateway, observers=observers)
        return Fitted(app, app.close, observation=app.observation)

    def fit_app(self, app: App, *, threads: int | None) -> Fitted:
        if is_asgi(app):
            raise TypeError("werkzeug serves WSGI applications and gateways, not ASGI")
        return Fitted(app)

    def launch(self, fitted: Fitted, settings: Settings) -> RunningServer:
        return ThreadServer(self.name, fitted, settings)


class ThreadServer(RunningServer):
    """werkzeug's server, accepting in a thread of its own."""

    def __init__(self, name: str, fitted: Fitted, settings: Settings) -> None:
        super().__init__(name, settings, fitted.observation)
        self._fitted = fitted
        self._settings = settings
        self._lock = threading.Lock()
        self._closed = False
        try:
            self._server = _make_server(fitted.app, settings)
        except BaseException:
            self._release()
            raise
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.1},
            name=f"rolo-{name}-{self.port}",
            daemon=True,
        )
        self._thread.start()

    def shutdown(self, timeout: float | None = None) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            grace = self._settings.shutdown_timeout if timeout is None else timeout
            self._server.stop_accepting()
            self._thread.join()
            # Now, not after the drain: who connects meanwhile would wait for nobody.
            self._settings.sock.close()
            self._server.drain(grace)
            self._release()

    def wait(self, timeout: float | None = None) -> bool:
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _release(self) -> None:
        self._settings.sock.close()
        if self._fitted.close is not None:
            self._fitted.close()


def _make_server(app: App, settings: Settings) -> _Server:
    """Build the server on ``settings.sock``.

    A subclass rather than ``make_server``: that one leaves its threads behind.
    """
    if settings.options:
        raise TypeError(f"werkzeug has no option {', '.join(sorted(settings.options))}")
    return _Server(
        settings.host,
        settings.sock.getsockname()[1],
        _Aborting(app),
        handler=_LoggingHandler if settings.access_log else _Handler,
        ssl_context=None if settings.tls is None else settings.tls.context(),
        fd=settings.sock.fileno(),
    )


class _Aborting:
    """Breaks off the answer when the application fails after the head.

    werkzeug would put an error page where the rest of the body belongs and end it as if
    nothing had happened. It takes a ``ConnectionError`` for a client that left, and stops.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    def __call__(
        self, environ: dict[str, t.Any], start_response: t.Any
    ) -> t.Generator[bytes, None, None]:
        started = begun = False

        def start(*args: t.Any) -> t.Any:
            nonlocal started
            started = True
            return start_response(*args)

        body: t.Any = None
        try:
            body = self._app(environ, start)
            if started:
                yield b""  # sends the head, which need not wait for the first bytes
                begun = True
            for chunk in body:
                yield chunk
                begun = True
        except ConnectionError:
            raise
        except BaseException as exc:
            # SystemExit would end the thread, and the connection without an answer.
            error = contained(exc)
            if not begun and error is exc:
                raise
            if not begun:
                raise error from exc
            LOG.error("the application failed in the middle of its answer", exc_info=error)
            if environ["SERVER_PROTOCOL"] == "HTTP/1.0":
                _reset(environ["werkzeug.socket"])
            raise ConnectionAbortedError("the answer is broken off") from error
        finally:
            _close(body)


def _close(body: t.Any) -> None:
    """Close a body, of which all has been sent that will be: nothing is to follow it."""
    try:
        close_given(body)
    except BaseException as exc:
        LOG.error("error while closing an answer", exc_info=contained(exc))


class _Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"
    error_content_type = CONTENT_TYPE
    error_message_format = "%(explain)s"
    _volunteering = False

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        super().send_error(code, message, error_text(code))

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        if self.request_version == "HTTP/1.0":
            self.protocol_version = "HTTP/1.0"  # whose clients cannot read chunks
        t.cast(_Server, self.server).head_is_there(self.connection)
        headers = self.headers
        folded = any("\n" in value for value in headers.values())
        if folded or headers.defects or headers.get_payload():
            # http.client gives up at a line it does not know, and keeps the ones before it.
            self.send_error(400)
            return False
        return True

    def handle_expect_100(self) -> bool:
        return True  # said when the application asks for the body

    def run_wsgi(self) -> None:
        self._raw_headers = [
            (name.encode("latin-1"), value.strip(" \t").encode("latin-1"))
            for name, value in self.headers.items()
        ]
        try:
            self._admitted = admit(
                self.command,
                self.path.encode("latin-1"),
                self._raw_headers,
                self.request_version.removeprefix("HTTP/"),
            )
        except DownstreamError as error:
            LOG.warning("%s refused: %s", ascii(self.requestline)[1:-1], describe(error))
            self.send_error(error.status)
            return
        del self.headers["Expect"]  # or werkzeug would answer it at once
        with t.cast(_Server, self.server).exchange(self.connection):
            super().run_wsgi()

    def make_environ(self) -> WSGIEnvironment:
        environ = super().make_environ()
        environ["rolo.headers"] = self._raw_headers
        # http.server makes one slash of several at the beginning.
        environ["RAW_URI"] = environ["REQUEST_URI"] = self.requestline.split()[1]
        framing, length, expects = self._admitted
        decoder = body_decoder(framing or Framing.NONE, length, side="request")
        environ["wsgi.input"] = RequestInput(
            self.rfile, decoder, self._send_continue if expects else None
        )
        environ["wsgi.input_terminated"] = True
        if expects:
            environ["HTTP_EXPECT"] = "100-continue"
        return environ

    def _send_continue(self) -> None:
        self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def send_response(self, code: int, message: str | None = None) -> None:
        self._volunteering = True
        super().send_response(code, message)
        self._volunteering = False

    def send_header(self, keyword: str, value: str) -> None:
        # http.server volunteers Date and Server; a proxied answer brings its own.
        if not self._volunteering:
            super().send_header(keyword, value)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


class _LoggingHandler(_Handler):
    log_request = WSGIRequestHandler.log_request


class _Server(ThreadedWSGIServer):
    """Knows its connections and whether they are in the middle of an exchange."""

    def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:
        self._guard = threading.Lock()
        self._open: dict[socket.socket, threading.Thread] = {}
        self._busy: set[socket.socket] = set()
        self._headless: dict[socket.socket, float] = {}
        self._stopping = threading.Event()
        super().__init__(*args, **kwargs)
        if isinstance(self.socket, ssl.SSLSocket):
            # Else one client that is silent in its TLS handshake would hold up all others: it
            # would be waited for where connections are accepted, not in a thread of its own.
            t.cast(t.Any, self.socket).do_handshake_on_connect = False

    def stop_accepting(self) -> None:
        """End ``serve_forever``, which closes its listening socket."""
        self._stopping.set()
        self.shutdown()

    def get_request(self) -> t.Any:
        try:
            return super().get_request()
        except OSError as error:
            if error.errno in EXHAUSTED:  # socketserver would try again at once, and for ever
                LOG.error(NOT_ACCEPTING, RETRY_DELAY, error.strerror)
                self._stopping.wait(RETRY_DELAY)
            raise

    def process_request_thread(self, request: t.Any, client_address: t.Any) -> None:
        with self._guard:
            self._open[request] = threading.current_thread()
            self._headless[request] = time.monotonic() + HEAD_TIMEOUT
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._guard:
                self._open.pop(request, None)
                self._headless.pop(request, None)

    def service_actions(self) -> None:
        """Cut who has had time enough for a request head; ``serve_forever`` calls it often."""
        now = time.monotonic()
        with self._guard:
            # In the order of their deadlines: the first that is not due ends the search.
            due = list(itertools.takewhile(lambda c: self._headless[c] <= now, self._headless))
            for connection in due:
                del self._headless[connection]
        _cut(due)

    def head_is_there(self, request: socket.socket) -> None:
        with self._guard:
            self._headless.pop(request, None)

    @contextlib.contextmanager
    def exchange(self, request: socket.socket) -> t.Iterator[None]:
        """Note that ``request`` is in the middle of an exchange."""
        with self._guard:
            self._busy.add(request)
        try:
            yield
        finally:
            with self._guard:
                self._busy.discard(request)

    def drain(self, grace: float | None) -> None:
        """Close idle connections, wait for the others; after ``grace`` seconds cut them."""
        with self._guard:
            idle = self._open.keys() - self._busy
        _cut(idle)
        self._join(grace)
        with self._guard:
            left = set(self._open)
        _cut(left)
        self._join(1.0)

    def _join(self, grace: float | None) -> None:
        with self._guard:
            threads = list(self._open.values())
        deadline = None if grace is None else time.monotonic() + grace
        for thread in threads:
            thread.join(None if deadline is None else max(0, deadline - time.monotonic()))


def _reset(connection: socket.socket) -> None:
    """End with a reset: to a client of HTTP/1.0, a mere end is the end of the answer."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    os.close(connection.detach())


def _cut(connections: t.Iterable[socket.socket]) -> None:
    for connection in connections:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
