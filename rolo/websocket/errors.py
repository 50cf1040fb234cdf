"""What goes wrong on a websocket.

::

    OSError
    └── WebSocketError
        ├── WebSocketDisconnectedError     the other side closed, or is gone
        └── WebSocketProtocolError         something that the protocol does not allow
"""

from __future__ import annotations


class WebSocketError(OSError):
    """Base of the errors of a websocket."""


class WebSocketDisconnectedError(WebSocketError):
    """The websocket is closed.

    :param code: close code (RFC 6455 section 7.4); ``None`` becomes 1005, closed without
        a code. 1006 stands for a connection that was lost.
    :param reason: the reason given with the code, ``None`` without one
    """

    default_code = 1005

    def __init__(self, code: int | None = None, reason: str | None = None) -> None:
        self.code = self.default_code if code is None else code
        self.reason = reason
        super().__init__(f"Websocket disconnected code={self.code}")


class WebSocketProtocolError(WebSocketError):
    """An event or a call that the state of the websocket does not allow."""
