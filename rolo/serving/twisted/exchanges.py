"""Where the exchanges of a Twisted factory are served: on an event loop, by our own server.

A reactor that runs on an event loop (``asyncioreactor``) shares it. For every other reactor
there is a thread with a loop of its own, from the first connection to the end of the last
port.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import typing as t

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from rolo.bridge.bridge import Bridge
from rolo.bridge.downstream import HttpDownstream, WebSocketDownstream
from rolo.bridge.observation import Observation
from rolo.native.connection import ExchangeHandler, NativeSettings, ServerState
from rolo.serving.loop import Lifetime, LoopThread, loop_factory
from rolo.serving.twisted.transport import TOGETHER, Meeting, ReactorTransport, is_tls
from rolo.wire.received import ReceivedFields

ALPN = (b"h2", b"http/1.1")
"""What a TLS client may choose, best first."""


class FirstSpellings:
    """Hands on each exchange with field names that are spelled, wherever they repeat, as they
    were first. Twisted keeps the values of a name together; programs on it know no other way."""

    def __init__(self, handler: ExchangeHandler) -> None:
        self._handler = handler

    def handle_http(self, downstream: HttpDownstream) -> t.Coroutine[t.Any, t.Any, None]:
        downstream.head.headers = first_spellings(downstream.head.headers)
        return self._handler.handle_http(downstream)

    def handle_websocket(self, downstream: WebSocketDownstream) -> t.Coroutine[t.Any, t.Any, None]:
        downstream.head.headers = first_spellings(downstream.head.headers)
        return self._handler.handle_websocket(downstream)


def first_spellings(headers: ReceivedFields) -> ReceivedFields:
    """Return ``headers`` with one spelling of each name, the first."""
    spellings: dict[bytes, bytes] = {}
    for name, _ in headers:
        spellings.setdefault(name.lower(), name)
    if len(spellings) == len(headers):
        return headers
    return ReceivedFields((spellings[name.lower()], value) for name, value in headers)


class Place(t.NamedTuple):
    """Where connections are served."""

    state: ServerState
    meeting: Meeting
    """Of the loop of ``state`` and the reactor of the connections."""


class Exchanges:
    """Serves the connections of one factory of a program's. The reactor's thread only."""

    def __init__(self, reactor: t.Any, bridge: Bridge, settings: NativeSettings) -> None:
        self._reactor = reactor
        self._bridge = bridge
        self._settings = settings
        self._place: Place | None = None
        self._thread: LoopThread | None = None

    def place(self) -> Place:
        """Return where a new connection is served, which begins with the first of them."""
        if self._place is None:
            try:
                asyncio.get_running_loop()
            except RuntimeError:
                self._thread = LoopThread("rolo-twisted", self._run, loop_factory())
                self._thread.start()
            else:
                self._place = Place(self._new_state(), TOGETHER)
        assert self._place is not None
        return self._place

    def _new_state(self) -> ServerState:
        return new_state(self._bridge, self._settings, self._bridge.observation)

    async def _run(self, lifetime: Lifetime) -> None:
        """The thread's."""
        loop = asyncio.get_running_loop()

        def call_loop(function: t.Callable[..., object], *args: t.Any) -> None:
            with contextlib.suppress(RuntimeError):  # it has stopped
                loop.call_soon_threadsafe(function, *args)

        state = self._new_state()
        self._place = Place(state, Meeting(call_loop, self._reactor.callFromThread))
        lifetime.ready()
        await self._end(state, await lifetime.stopping())

    async def _end(self, state: ServerState, grace: float | None) -> None:
        await state.shutdown(grace)
        await self._bridge.aclose()

    def stop(self, grace: float | None, then: t.Callable[[], None]) -> Deferred[None]:
        """Let running exchanges finish, then break off what is left.

        :param grace: seconds for what runs; ``None`` waits for it for ever
        :param then: is called when all is over, on a thread that may block
        :return: fires when that has returned
        """
        stopped: Deferred[None] = Deferred()
        place, thread = self._place, self._thread

        def finish() -> None:
            try:
                if thread is not None:
                    thread.stop(grace)
                then()
            finally:
                self._reactor.callFromThread(fire, threading.current_thread())

        def fire(finisher: threading.Thread) -> None:
            finisher.join()
            stopped.callback(None)

        def finish_on_thread(_: object = None) -> None:
            threading.Thread(target=finish, name="rolo-twisted-stop", daemon=True).start()

        if thread is None and place is not None:
            ending = asyncio.ensure_future(self._end(place.state, grace))
            ending.add_done_callback(finish_on_thread)
        else:
            finish_on_thread()
        return stopped


def new_state(
    handler: ExchangeHandler, settings: NativeSettings, observation: Observation | None
) -> ServerState:
    """Return what connections share that Twisted carries. On its loop."""
    return ServerState(FirstSpellings(handler), settings, observation=observation, http2=True)


@implementer(IHalfCloseableProtocol)
class GatewayProtocol(Protocol):
    """One connection, which is served elsewhere.

    :param place: is asked for where when the connection is made

    A factory of Twisted's web server sets more than is needed here.
    """

    callLater: t.Any = None
    timeOut: float | None = None
    requestFactory: t.Any = None
    site: t.Any = None

    def __init__(self, place: t.Callable[[], Place]) -> None:
        self._place = place
        self._link: ReactorTransport

    @property
    def _channel(self) -> t.Self:
        """Under which programs written for 0.8 look for what reads the requests."""
        return self

    def connectionMade(self) -> None:
        state, meeting = self._place()
        transport = t.cast(t.Any, self.transport)
        link = self._link = ReactorTransport(transport, meeting)
        if hasattr(transport, "setTcpNoDelay"):
            transport.setTcpNoDelay(True)
        transport.registerProducer(link, True)
        scheme = "https" if is_tls(transport) else "http"
        meeting.call_loop(_begin, state, link, scheme)

    def dataReceived(self, data: bytes) -> None:
        self._link.dataReceived(data)

    def readConnectionLost(self) -> None:
        self._link.readConnectionLost()

    def writeConnectionLost(self) -> None:
        pass

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._link.connectionLost(reason)


def _begin(state: ServerState, link: ReactorTransport, scheme: str) -> None:
    link.begin(state.connection(scheme))
