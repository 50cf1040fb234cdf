"""A relayed websocket, as hooks and anybody else may speak into it."""

from __future__ import annotations

import threading
import typing as t

from rolo.portal.portal import Portal
from rolo.wire.fields import HeaderFields

Message = str | bytes


class RelayLike(t.Protocol):
    """What a relay can be told; on the loop."""

    async def send_to_client(self, message: Message) -> None: ...

    async def send_to_origin(self, message: Message) -> None: ...

    async def close(self, code: int, reason: str = "") -> None: ...


class RelayedWebSocket:
    """Both legs of a relayed websocket. Any thread may call its methods, and any hook that
    may wait: they return when the message is on its way.

    What is sent before the relay runs, in ``on_accepted`` say, goes before all else.
    """

    subprotocol: str | None
    """The one the upstream chose, and the client will be told; free to change in
    ``on_accepted``."""
    headers: HeaderFields
    """Further fields of the acceptance; free to change in ``on_accepted``."""

    def __init__(
        self, relay: RelayLike, portal: Portal, subprotocol: str | None, headers: HeaderFields
    ) -> None:
        self.relay = relay
        self.subprotocol = subprotocol
        self.headers = headers
        self._portal = portal
        self._lock = threading.Lock()
        self._early: list[t.Callable[[], t.Coroutine[t.Any, t.Any, None]]] | None = []

    def send_to_client(self, message: Message) -> None:
        """Send a text message (str) or a binary one (bytes) to the client.

        :raises WebSocketError: closed or lost
        """
        self._do(lambda: self.relay.send_to_client(message))

    def send_to_upstream(self, message: Message) -> None:
        """The same to the upstream."""
        self._do(lambda: self.relay.send_to_origin(message))

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close both legs."""
        self._do(lambda: self.relay.close(code, reason))

    def _do(self, action: t.Callable[[], t.Coroutine[t.Any, t.Any, None]]) -> None:
        with self._lock:
            if self._early is not None:
                self._early.append(action)
                return
        self._portal.call(action())

    async def start(self) -> None:
        """Send what has waited for the relay to run. The loop's thread only."""
        while True:
            with self._lock:
                early, self._early = self._early, [] if self._early else None
            if not early:
                return
            for action in early:
                await action()
