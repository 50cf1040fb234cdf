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

from rolo.bridge.observation import Observation
from rolo.native.connection import ExchangeHandler, NativeSettings, ServerState
from rolo.serving.loop import Lifetime, LoopThread, loop_factory
from rolo.serving.twisted.transport import TOGETHER, Meeting, ReactorTransport, is_tls

ALPN = (b"h2", b"http/1.1")
"""What a TLS client may choose, best first."""


class Exchanges:
    """Serves the connections of one factory. The reactor's thread only.

    :param handler: gets every exchange: a :class:`rolo.bridge.bridge.Bridge`
    :param observation: is told of requests that are refused before there is an exchange
    """

    def __init__(
        self,
        reactor: t.Any,
        handler: ExchangeHandler,
        settings: NativeSettings,
        observation: Observation | None = None,
    ) -> None:
        self._reactor = reactor
        self._handler = handler
        self._settings = settings
        self._observation = observation
        self._state: ServerState | None = None
        self._thread: LoopThread | None = None
        self.meeting: Meeting = TOGETHER

    def state(self) -> ServerState:
        """Return what the connections share, which begins with the first of them."""
        if self._state is None:
            try:
                asyncio.get_running_loop()
            except RuntimeError:
                self._start_thread()
            else:
                self._state = self._new_state()
        assert self._state is not None
        return self._state

    def _new_state(self) -> ServerState:
        return ServerState(self._handler, self._settings, observation=self._observation, http2=True)

    def _start_thread(self) -> None:
        self._thread = LoopThread("rolo-twisted", self._run, loop_factory())
        self._thread.start()

    async def _run(self, lifetime: Lifetime) -> None:
        """The thread's."""
        loop = asyncio.get_running_loop()

        def call_loop(function: t.Callable[..., object], *args: t.Any) -> None:
            with contextlib.suppress(RuntimeError):  # it has stopped
                loop.call_soon_threadsafe(function, *args)

        self.meeting = Meeting(call_loop, self._reactor.callFromThread)
        state = self._state = self._new_state()
        lifetime.ready()
        await self._end(state, await lifetime.stopping())

    async def _end(self, state: ServerState, grace: float | None) -> None:
        await state.shutdown(grace)
        aclose = getattr(self._handler, "aclose", None)
        if aclose is not None:
            await aclose()

    def stop(self, grace: float | None, then: t.Callable[[], None]) -> Deferred[None]:
        """Let running exchanges finish, then break off what is left.

        :param grace: seconds for what runs; ``None`` waits for it for ever
        :param then: is called when all is over, on a thread that may block
        :return: fires when that has returned
        """
        stopped: Deferred[None] = Deferred()
        state, thread = self._state, self._thread

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

        if thread is None and state is not None:
            ending = asyncio.ensure_future(self._end(state, grace))
            ending.add_done_callback(finish_on_thread)
        else:
            finish_on_thread()
        return stopped


@implementer(IHalfCloseableProtocol)
class GatewayProtocol(Protocol):
    """One connection, which is served elsewhere.

    A factory of Twisted's web server sets more than is needed here.
    """

    callLater: t.Any = None
    timeOut: float | None = None
    requestFactory: t.Any = None
    site: t.Any = None

    def __init__(self, exchanges: Exchanges) -> None:
        self._exchanges = exchanges
        self._link: ReactorTransport

    @property
    def _channel(self) -> t.Self:
        """Under which programs written for 0.8 look for what reads the requests."""
        return self

    def connectionMade(self) -> None:
        exchanges = self._exchanges
        state = exchanges.state()
        link = self._link = ReactorTransport(self.transport, exchanges.meeting)
        transport = t.cast(t.Any, self.transport)
        if hasattr(transport, "setTcpNoDelay"):
            transport.setTcpNoDelay(True)
        transport.registerProducer(link, True)
        scheme = "https" if is_tls(transport) else "http"
        exchanges.meeting.call_loop(_begin, state, link, scheme)

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
