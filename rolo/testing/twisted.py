"""Runs the reactor of the process, and ports on it, for the fixtures of a test session."""

from __future__ import annotations

import contextlib
import threading
import typing as t

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.threads import blockingCallFromThread
from twisted.web.server import Site

from rolo.serving.twisted import (
    HeaderPreservingHTTPChannel,
    HeaderPreservingWSGIResource,
    TwistedGateway,
    TwistedRequestAdapter,
    WebsocketResourceDecorator,
)
from rolo.websocket.adapter import WebSocketListener

if t.TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

STOP_TIMEOUT = 10.0
"""Seconds the reactor gets to stop."""


@contextlib.contextmanager
def running_reactor() -> t.Iterator[t.Any]:
    """Run the reactor of the process in a thread, unless it runs already."""
    from twisted.internet import reactor

    reactor = t.cast(t.Any, reactor)
    if reactor.running:
        yield reactor
        return
    running = threading.Event()
    reactor.callWhenRunning(running.set)
    thread = threading.Thread(
        target=reactor.run,
        kwargs={"installSignalHandlers": False},
        name="rolo-test-reactor",
        daemon=True,
    )
    thread.start()
    running.wait(STOP_TIMEOUT)
    try:
        yield reactor
    finally:
        reactor.callFromThread(reactor.stop)
        thread.join(STOP_TIMEOUT)


def listen(reactor: t.Any, factory: t.Any) -> tuple[int, t.Callable[[], None]]:
    """Serve ``factory`` on a free port; return the port and what stops it."""
    port = blockingCallFromThread(reactor, reactor.listenTCP, 0, factory, 2048, "127.0.0.1")

    def close() -> Deferred[t.Any]:
        closed = maybeDeferred(port.stopListening)
        if isinstance(factory, TwistedGateway):
            closed.addCallback(lambda _: factory.stop())
        return t.cast("Deferred[t.Any]", closed)

    return port.getHost().port, lambda: blockingCallFromThread(reactor, close)


def websocket_site(reactor: t.Any, listener: WebSocketListener) -> Site:
    """Return a site whose websockets go to ``listener``, and which has nothing else."""

    def nothing(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"404 Not Found\n"]

    original = HeaderPreservingWSGIResource(reactor, reactor.getThreadPool(), nothing)
    site = Site(
        WebsocketResourceDecorator(original=original, websocketListener=listener),
        requestFactory=TwistedRequestAdapter,
        reactor=reactor,
    )
    site.protocol = HeaderPreservingHTTPChannel.protocol_factory
    return site
