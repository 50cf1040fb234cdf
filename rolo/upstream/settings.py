"""What may be set about the way to an origin: times, bounds, TLS."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Timeouts:
    """How long each wait of an exchange may take, in seconds; ``None`` is no limit.

    None of the defaults ends a live stream: ``idle`` counts from the last byte that
    moved in either direction, and ``total`` is off.
    """

    connect: float | None = 10.0
    """From the start of dialling, all addresses and TLS included."""
    response: float | None = 60.0
    """From the last byte of the request that was sent to the end of the response head."""
    idle: float | None = 300.0
    """Without a byte moving while a body is under way."""
    total: float | None = None
    """The whole exchange."""


@dataclasses.dataclass(frozen=True, slots=True)
class PoolLimits:
    """How many connections are held per origin, and for how long."""

    max_connections: int | None = None
    """Open connections per origin; ``None`` is no limit. A request over it waits."""
    max_idle: int = 128
    """Idle connections kept per origin."""
    idle_timeout: float | None = 30.0
    """Seconds after which an idle connection is closed; ``None`` keeps it."""
    max_buffer: int = 64 * 1024
    """Bytes of a response body held for a slow reader; one read of 112 KiB may come on top."""
    max_head: int = 64 * 1024
    """Bytes of a response head (or of trailers)."""
    max_fields: int = 1000
    """Fields in a response head (or in trailers)."""


@dataclasses.dataclass(frozen=True, slots=True)
class Tls:
    """How an ``https`` upstream is verified. Verification is on unless ``insecure``."""

    ca_file: str | None = None
    """PEM file of trusted roots instead of the system's."""
    client_cert: str | None = None
    """PEM file of a client certificate (with its chain)."""
    client_key: str | None = None
    """PEM file of its key; ``None`` if the certificate's file holds it."""
    server_hostname: str | None = None
    """Name for SNI and verification instead of the host of the URL."""
    insecure: bool = False
    """Do not verify at all."""


@dataclasses.dataclass(frozen=True, slots=True)
class WebSocketSettings:
    """How websockets are relayed. Times are in seconds; ``None`` is no limit."""

    idle_timeout: float | None = None
    """Without a message in either direction; both legs are then closed with 1001."""
    ping_interval: float | None = None
    """Of silence, after which the origin is sent a ping; ``None`` sends none. Clients are
    pinged by the server, see :class:`~rolo.bridge.limits.Limits`."""
    ping_timeout: float = 20.0
    """From a ping of ours until something must come, else the origin counts as lost."""
    close_timeout: float = 10.0
    """For the answer to a close frame."""
    max_message: int | None = 16 * 1024 * 1024
    """Bytes of one message from the origin, inflated. Messages from clients are limited by
    the server that takes them."""
    max_memory: int | None = 256 * 1024 * 1024
    """Bytes that all websockets of an event loop hold together, those of clients included,
    before those that hold most are closed, see :class:`~rolo.bridge.limits.Limits`."""
    compression: bool = False
    """Offer permessage-deflate to origins. What clients get is the server's choice."""
    buffer: int = 64 * 1024
    """Bytes held unread, and unsent, before the origin is made to wait."""
    max_refusal: int = 1024 * 1024
    """Bytes of the body of an origin's answer that is no websocket, where it is for code of
    ours to look at (``connect_websocket``); to clients it goes on as it comes."""


DEFAULT_WEBSOCKET_SETTINGS = WebSocketSettings()
