"""A gateway as a site of Twisted's web server."""

from __future__ import annotations

import concurrent.futures
import typing as t

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Protocol
from twisted.web.server import Site

from rolo.bridge.bridge import Bridge
from rolo.bridge.handlers import Mode
from rolo.bridge.limits import DEFAULT_LIMITS, Limits
from rolo.bridge.observer import Observer
from rolo.gateway.gateway import Gateway
from rolo.portal.workers import ExecutorWorkers
from rolo.serving.native import native_settings
from rolo.serving.twisted.exchanges import ALPN, Exchanges, GatewayProtocol
from rolo.serving.twisted.requests import TwistedRequestAdapter
from rolo.serving.twisted.resources import GatewayResource
from rolo.serving.twisted.transport import reactor_of_process


class TwistedGateway(Site):
    """Serves a gateway on the ports that it is given to listen on.

    ::

        reactor.listenTCP(8080, TwistedGateway(gateway))

    HTTP/1.1, HTTP/2 and websockets, as on the native server, whose protocol this is; with TLS
    where the factory is wrapped in TLS. Exchanges begin with the first connection and end with
    the last port, or with the reactor: idle connections close, what runs may finish.

    :param reactor: runs the ports; ``None`` for the reactor of the process
    :param mode: ``threads`` runs handlers on threads, they may block; ``loop`` runs them on the
        event loop, where they may wait only through rolo's own calls
    :param threads: how many HTTP handlers may run at once in ``threads`` mode, on threads of
        their own; ``None`` runs them on the reactor's thread pool, whose size
        ``reactor.suggestThreadPoolSize`` sets
    :param limits: what clients may ask; the rest is refused without asking a handler
    :param proxy_status: the name under which answers to errors that no handler deals with
        carry Proxy-Status (RFC 9209); ``None`` leaves it out
    :param observers: are told of everything that is served, see :mod:`rolo.observing`
    :param shutdown_timeout: seconds that running exchanges get to finish at the end; ``None``
        waits for them for ever
    """

    noisy = False

    def __init__(
        self,
        gateway: Gateway,
        *,
        reactor: t.Any = None,
        mode: Mode = "threads",
        threads: int | None = None,
        limits: Limits = DEFAULT_LIMITS,
        proxy_status: str | None = None,
        observers: t.Iterable[Observer] = (),
        shutdown_timeout: float | None = 5.0,
    ) -> None:
        reactor = reactor or reactor_of_process()
        super().__init__(
            GatewayResource(gateway, reactor, reactor.getThreadPool()),
            requestFactory=TwistedRequestAdapter,
            reactor=reactor,
        )
        self.gateway = gateway
        self.protocol = self._protocol
        self._limits = limits
        self._proxy_status = proxy_status
        self._shutdown_timeout = shutdown_timeout
        self._options: dict[str, t.Any] = {
            "mode": mode,
            "threads": threads,
            "limits": limits,
            "proxy_status": proxy_status,
            "observers": tuple(observers),
        }
        self._bridge: Bridge | None = Bridge(gateway, **self._options)
        self._exchanges: Exchanges | None = None
        self._trigger: t.Any = None
        self._stopped: Deferred[None] | None = None

    def acceptableProtocols(self) -> list[bytes]:
        return list(ALPN)

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        """Return the protocol of a new connection; ``None`` once the gateway has ended."""
        if self._stopped is not None:
            return None
        return t.cast("Protocol | None", super().buildProtocol(addr))

    def _protocol(self) -> GatewayProtocol:
        if self._exchanges is None:
            self._exchanges = self._begin()
        return GatewayProtocol(self._exchanges.place)

    def _begin(self) -> Exchanges:
        reactor = t.cast(t.Any, self.reactor)
        if self._bridge is None:
            self._bridge = Bridge(self.gateway, **self._options)
        bridge = self._bridge
        if self._options["threads"] is None:
            bridge.workers = ExecutorWorkers(_ReactorThreads(reactor.getThreadPool()))
        settings = native_settings(
            self._limits, self._proxy_status, {"keep_alive_timeout": self.timeOut}
        )
        self._trigger = reactor.addSystemEventTrigger("before", "shutdown", self._shutdown)
        return Exchanges(reactor, bridge, settings)

    def startFactory(self) -> None:
        super().startFactory()
        self._stopped = None

    def stopFactory(self) -> None:
        """The last port is closed."""
        super().stopFactory()
        self.stop()

    def stop(self) -> Deferred[None]:
        """End the exchanges that there are: what runs may finish, for ``shutdown_timeout``.

        Called when the last port closes; a port that opens later begins anew.

        :return: fires when their threads are gone
        """
        exchanges, bridge = self._exchanges, self._bridge
        if bridge is None:
            return self._stopped or succeed(None)
        self._exchanges = self._bridge = None
        if exchanges is None:  # nobody has come
            bridge.close()
            self._stopped = succeed(None)
            return self._stopped
        if self._trigger is not None:
            t.cast(t.Any, self.reactor).removeSystemEventTrigger(self._trigger)
        self._stopped = exchanges.stop(self._shutdown_timeout, bridge.close)
        return self._stopped

    def _shutdown(self) -> Deferred[None]:
        self._trigger = None  # it has fired
        return self.stop()


class _ReactorThreads(concurrent.futures.Executor):
    """The threads of a reactor, which stay the reactor's to stop."""

    def __init__(self, pool: t.Any) -> None:
        self._pool = pool

    def submit(
        self, fn: t.Callable[..., t.Any], /, *args: t.Any, **kwargs: t.Any
    ) -> concurrent.futures.Future[t.Any]:
        future: concurrent.futures.Future[t.Any] = concurrent.futures.Future()

        def run() -> None:
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as exc:  # noqa: BLE001 - the future carries it
                future.set_exception(exc)

        self._pool.callInThread(run)
        return future
