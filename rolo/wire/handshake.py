"""The opening handshake of websockets: what its own fields say (RFC 6455 sections 1.3, 4)."""

from __future__ import annotations

import base64
import binascii
import hashlib

from rolo.wire.fields import RawHeaders
from rolo.wire.received import received

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def is_key(key: bytes) -> bool:
    """Whether ``key`` may stand in Sec-WebSocket-Key: 16 bytes in base64."""
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except binascii.Error:
        return False


def accept_value(key: bytes) -> bytes:
    """Return the Sec-WebSocket-Accept that answers ``key``."""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


def subprotocols(headers: RawHeaders) -> list[str]:
    """Return what Sec-WebSocket-Protocol lists, in order."""
    listed = _joined(headers, b"sec-websocket-protocol").split(",")
    return [name.strip() for name in listed if name.strip()]


def extensions(headers: RawHeaders) -> str:
    """Return Sec-WebSocket-Extensions as one line, ``""`` if there is none."""
    return _joined(headers, b"sec-websocket-extensions").strip()


def _joined(headers: RawHeaders, name: bytes) -> str:
    return received(headers).special.get(name, b"").decode("latin-1")
