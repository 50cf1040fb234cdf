"""Accepting connections on an event loop: at a bounded pace, and to the last one.

Event loops have ``create_server`` for this. asyncio's, when the process has no file left,
tries and logs as many times a wake as the backlog is long, and neither it nor uvloop's
answers the connections that still wait in the kernel when it stops.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import typing as t

from rolo.serving.sockets import BACKLOG

LOG = logging.getLogger(__name__)

RETRY_DELAY = 1.0
"""Seconds without accepting after the process has run out of files or memory."""

_KEPT = (
    (socket.SOL_SOCKET, socket.SO_REUSEADDR),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY),
    (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY),
)
"""Options of the listening socket that one in its place has too."""

_BATCH = 64
"""Connections accepted in one turn of the loop; those that are open have their turn, too."""

_HANDOVER = 1.0
"""Seconds that connections which were accepted last get to become ready (TLS handshakes)."""

EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
"""What ``accept`` says when the process, or the machine, has no room for a connection."""

NOT_ACCEPTING = "no connection is accepted for %g s: %s"


class Listener:
    """Accepts on a listening socket, from now on. Made, used and closed on its loop.

    :param factory: makes the protocol of each connection
    :param sock: listening and non-blocking; closed with the listener
    :param options: of ``loop.connect_accepted_socket``, such as ``ssl``
    """

    def __init__(
        self,
        factory: t.Callable[[], asyncio.BaseProtocol],
        sock: socket.socket,
        **options: t.Any,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._factory = factory
        self._options = options
        self._pending: set[asyncio.Task[None]] = set()
        self._retry: asyncio.TimerHandle | None = None
        self.sock = sock
        self._refusing = False
        self._loop.add_reader(sock, self._accept)

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """The listening socket; empty once closed."""
        return () if self.sock.fileno() < 0 else (self.sock,)

    async def close(self) -> None:
        """Accept what waits in the kernel, then refuse: nobody who connects is left waiting.

        Returns when the last ones are in the hands of their protocols. Calling it again does
        nothing.
        """
        if self.sock.fileno() < 0:
            return
        if self._retry is not None:
            self._retry.cancel()
        while not self._refusing and self._accept_batch():
            pass
        self._loop.remove_reader(self.sock)
        self.sock.close()
        if self._pending:
            await asyncio.wait(self._pending, timeout=_HANDOVER)
        for task in self._pending:
            task.cancel()

    def refuse(self, refusing: bool) -> None:
        """Have the system refuse whoever connects, or accept again. The port stays ours: a
        socket that is bound and does not listen keeps it.

        :raises OSError: the address was lost in the moment between two sockets
        """
        if refusing is self._refusing or self.sock.fileno() < 0:
            return
        self._refusing = refusing
        if not refusing:
            self.sock.listen(BACKLOG)
            self._loop.add_reader(self.sock, self._accept)
            return
        if self._retry is not None:
            self._retry.cancel()
        listening, address = self.sock, self.sock.getsockname()
        self.sock = socket.socket(listening.family, listening.type, listening.proto)
        self.sock.setblocking(False)
        for level, option in _KEPT:
            if level != socket.IPPROTO_IPV6 or listening.family == socket.AF_INET6:
                self.sock.setsockopt(level, option, listening.getsockopt(level, option))
        self._loop.remove_reader(listening)
        listening.close()
        self.sock.bind(address)

    def _accept(self) -> None:
        self._accept_batch()

    def _accept_batch(self) -> bool:
        """Accept some; False if there are no more for now."""
        for _ in range(_BATCH):
            try:
                connection, _address = self.sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return False
            except OSError as error:
                if error.errno not in EXHAUSTED:
                    raise
                self._pause(error)
                return False
            connection.setblocking(False)
            task = self._loop.create_task(self._hand_over(connection))
            self._pending.add(task)
            task.add_done_callback(self._pending.discard)
        return True

    async def connect(self, connection: socket.socket) -> None:
        """Put ``connection`` into the hands of its protocol; for subclasses to do otherwise."""
        await self._loop.connect_accepted_socket(self._factory, connection, **self._options)

    async def _hand_over(self, connection: socket.socket) -> None:
        try:
            await self.connect(connection)
        except (OSError, asyncio.CancelledError) as error:  # TLS errors are OSErrors
            LOG.debug("a connection ended before it began: %r", error)
            connection.close()

    def _pause(self, error: OSError) -> None:
        LOG.error(NOT_ACCEPTING, RETRY_DELAY, error.strerror)
        self._loop.remove_reader(self.sock)
        self._retry = self._loop.call_later(RETRY_DELAY, self._resume)

    def _resume(self) -> None:
        self._loop.add_reader(self.sock, self._accept)
