"""WSGI's ``start_response`` and ``write`` over an ASGI ``send``."""

from __future__ import annotations

import asyncio
import typing as t

from rolo.asgi.input import portal_to
from rolo.asgi.watch import Send


class WsgiStartResponse:
    """A ``start_response`` callable whose answer goes out through ``send``.

    The head is sent with the first piece of the body. The methods ending in ``_sync`` may
    be called from any thread but the loop's; ``write`` and ``close`` on the loop.
    """

    def __init__(self, send: Send, event_loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.send = send
        self._portal = portal_to(event_loop)
        self._head: dict[str, t.Any] | None = None
        self._sent_head = False

    def __call__(
        self, status: str, headers: list[tuple[str, str]], exec_info: t.Any = None
    ) -> t.Callable[[bytes], t.Any]:
        return self.start_response_sync(status, headers, exec_info)

    def start_response_sync(
        self, status: str, headers: list[tuple[str, str]], exec_info: t.Any = None
    ) -> t.Callable[[bytes], t.Any]:
        """Take the head (PEP 3333). With ``exec_info`` it may replace an earlier one, as
        long as that was not sent.

        :raises RuntimeError: the head was given already and there is no ``exec_info``
        """
        if exec_info is not None and self._sent_head:
            raise exec_info[1].with_traceback(exec_info[2])
        if self._head is not None and exec_info is None:
            raise RuntimeError("start_response was called twice")
        self._head = {
            "type": "http.response.start",
            "status": int(status.split(" ", 1)[0]),
            "headers": [
                (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers
            ],
        }
        return self.write_sync

    def write_sync(self, data: bytes) -> None:
        """Send ``data`` and wait until the server has taken it."""
        self._portal.call(self.write(data))

    async def write(self, data: bytes) -> None:
        """Send ``data``, the head before the first."""
        await self._send_head()
        await self.send({"type": "http.response.body", "body": data, "more_body": True})

    async def close(self) -> None:
        """End the answer."""
        await self._send_head()
        await self.send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_head(self) -> None:
        if self._sent_head:
            return
        if self._head is None:
            raise RuntimeError("write called before start_response")
        self._sent_head = True
        await self.send(self._head)
