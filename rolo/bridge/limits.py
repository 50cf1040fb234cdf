"""How much one client may ask of a server."""

from __future__ import annotations

import dataclasses
import typing as t

from rolo.errors import ContentTooLarge, HeadTooLarge, TargetTooLong, TooManyExchanges

if t.TYPE_CHECKING:
    from rolo.bridge.downstream import RequestHead


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of what clients send and of how much is served at once. ``None`` is no limit.

    They hold on every server; where a server has bounds of its own, the smaller ones win.
    """

    max_head: int = 64 * 1024
    """Bytes of a request head; more is answered 431."""
    max_fields: int = 1000
    """Header fields of a request; more is answered 431."""
    max_target: int = 16 * 1024
    """Bytes of a request target; more is answered 414."""
    max_body: int | None = None
    """Bytes of a request body; more is answered 413: before any handler runs if the length
    is declared, else as soon as more has come."""
    max_exchanges: int | None = 10_000
    """HTTP exchanges under way at once, streams included; one more is answered 503."""
    max_queued: int | None = 1000
    """Requests that wait for a thread in ``threads`` mode; one more is answered 503."""
    send_timeout: float | None = 300.0
    """Seconds a client may take over one piece (64 KiB at most) of a streamed answer before
    the answer is broken off."""

    buffer: int = 64 * 1024
    """Bytes of a request body that wait for whoever reads it, before the client is made to
    wait. One read may come on top (64 KiB on the native server, 112 KiB while a body is
    piped), and what the server itself holds."""
    max_message: int | None = 16 * 1024 * 1024
    """Bytes of one websocket message, inflated; a larger one closes with 1009. Not on granian,
    whose bound is its own."""
    max_websocket_memory: int | None = 256 * 1024 * 1024
    """Bytes that all websockets of an event loop (``rolo proxy`` has one a process) hold
    together: unfinished and unread messages, and what slow sides have not taken. When it is
    exceeded, those that hold most are closed with 1013, or cut off if they do not even take
    that. Of clients on the native server, and of origins on every server."""
    ping_interval: float | None = None
    """Seconds of silence on a websocket after which its client is pinged; ``None`` for never.
    Not on granian."""
    ping_timeout: float = 20.0
    """Seconds from such a ping until something must come, else the client counts as lost. Not
    on hypercorn and granian."""
    close_timeout: float = 10.0
    """Seconds for the client of a websocket to answer a close frame."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None and value <= 0:
                raise ValueError(f"{field.name} must be more than 0, not {value!r}")

    def check_head(self, head: RequestHead) -> None:
        """Measure a request head, and the length it declares for its body.

        :raises TargetTooLong, HeadTooLarge, ContentTooLarge: it is over a limit
        """
        headers = head.headers
        if len(head.target) > self.max_target:
            raise TargetTooLong(f"request target of {len(head.target)} bytes")
        if len(headers) > self.max_fields:
            raise HeadTooLarge(f"{len(headers)} header fields")
        size = head.size or _estimated_size(head)
        if size > self.max_head:
            raise HeadTooLarge(f"request head of {size} bytes")
        if head.length is not None:
            self.check_body(head.length)

    def check_body(self, size: int) -> None:
        """:raises ContentTooLarge: ``size`` bytes of body are over the limit"""
        if self.max_body is not None and size > self.max_body:
            raise ContentTooLarge(f"request body of more than {self.max_body} bytes")

    def check_exchanges(self, count: int) -> None:
        """:raises TooManyExchanges: ``count`` exchanges at once are over the limit"""
        if self.max_exchanges is not None and count > self.max_exchanges:
            raise TooManyExchanges(f"{self.max_exchanges} exchanges are under way")

    def check_queued(self, count: int) -> None:
        """:raises TooManyExchanges: with ``count`` requests that wait for a thread, another
        must not"""
        if self.max_queued is not None and count >= self.max_queued:
            raise TooManyExchanges(f"{count} requests wait for a thread")


def _estimated_size(head: RequestHead) -> int:
    return len(head.target) + sum(len(name) + len(value) + 4 for name, value in head.headers)


DEFAULT_LIMITS = Limits()
