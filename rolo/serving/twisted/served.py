"""A reactor of Twisted's on the loop of one server that ``serve`` started."""

from __future__ import annotations

import asyncio
import socket
import typing as t

from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import ServerFactory
from twisted.python.failure import Failure

from rolo.serving.base import Fitted, Settings
from rolo.serving.listener import Listener
from rolo.serving.loop import Lifetime
from rolo.serving.native import native_settings
from rolo.serving.twisted.exchanges import GatewayProtocol, Place, new_state
from rolo.serving.twisted.tls import with_tls
from rolo.serving.twisted.transport import TOGETHER


async def run(fitted: Fitted, settings: Settings, lifetime: Lifetime) -> None:
    """As :meth:`rolo.serving.base.LoopAdapter.run`."""
    assert fitted.exchanges is not None
    if settings.access_log:
        raise TypeError("an AsgiGateway is given its access log: observers=[AccessLog()]")
    bounds = native_settings(fitted.limits, fitted.proxy_status, settings.options)
    if settings.loop == "uvloop":
        raise TypeError("a reactor of Twisted's does not run on uvloop: leave loop= out")
    # Neither installed nor started: that would make it the reactor of the process.
    reactor = AsyncioSelectorReactor(asyncio.get_running_loop())
    try:
        state = new_state(fitted.exchanges, bounds, fitted.observation)
        factory: t.Any = _Factory(Place(state, TOGETHER))
        if settings.tls is not None:
            factory = with_tls(factory, settings.tls, reactor)
        listener = _Listener(reactor, factory, settings.sock)
        lifetime.ready()
        grace = await lifetime.stopping()
        state.draining = True  # who still waits to be accepted is told so (503)
        await listener.close()
        await state.shutdown(grace)
    finally:
        _close(reactor)


class _Factory(ServerFactory):
    noisy = False

    def __init__(self, place: Place) -> None:
        self._place = place

    def buildProtocol(self, addr: IAddress | None) -> GatewayProtocol:
        return GatewayProtocol(lambda: self._place)


class _Listener(Listener):
    def __init__(self, reactor: t.Any, factory: t.Any, sock: socket.socket) -> None:
        super().__init__(asyncio.Protocol, sock)
        self._reactor = reactor
        self._protocols = factory

    async def connect(self, connection: socket.socket) -> None:
        with connection:  # of which the reactor takes a copy
            self._reactor.adoptStreamConnection(
                connection.fileno(), connection.family, self._protocols
            )


def _close(reactor: AsyncioSelectorReactor) -> None:
    """Close what a reactor opens for itself, and what is left on it."""
    for reader in [*reactor.getReaders(), *reactor.getWriters()]:
        reactor.removeReader(reader)
        reactor.removeWriter(reader)
        reader.connectionLost(Failure(ConnectionDone()))
