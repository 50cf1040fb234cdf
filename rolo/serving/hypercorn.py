"""hypercorn: the server with the widest range of protocols.

What a proxy cannot live with is mended in ``rolo.serving._hypercorn``.
"""

from __future__ import annotations

import logging
import sys

from hypercorn.config import Config

from rolo.bridge.downstream import Capabilities
from rolo.bridge.limits import Limits
from rolo.serving.base import Fitted, LoopAdapter, Settings
from rolo.serving.loop import Lifetime
from rolo.serving.versions import why_not

#: seconds an idle connection is kept; nginx's figure, longer than most clients keep theirs
KEEP_ALIVE = 75.0

HTTP1 = Capabilities(
    interim=True,
    trailers=True,
    header_case=True,
    reason=True,
    denial=True,
    expect=True,
    framing=True,
)
HTTP2 = Capabilities(interim=True, trailers=True, denial=True)


class HypercornAdapter(LoopAdapter):
    """HTTP/1.1, HTTP/2 and websockets, with and without TLS."""

    name = "hypercorn"
    protocols = frozenset({"http/1.1", "h2", "h2c", "websocket", "tls"})
    capabilities = HTTP1

    def available(self) -> str | None:
        return why_not("hypercorn")

    async def run(self, fitted: Fitted, settings: Settings, lifetime: Lifetime) -> None:
        # Here, not above: of an unknown version it could not even be imported.
        from rolo.serving._hypercorn import MendedServer

        await MendedServer(fitted.app, _config(fitted.limits, settings)).run(settings, lifetime)


def _config(limits: Limits, settings: Settings) -> Config:
    config = Config()
    config.websocket_max_message_size = (
        sys.maxsize if limits.max_message is None else limits.max_message
    )
    config.websocket_ping_interval = limits.ping_interval
    config.errorlog = logging.getLogger("hypercorn.error")
    config.accesslog = logging.getLogger("hypercorn.access") if settings.access_log else None
    config.h11_pass_raw_headers = True
    # A proxied answer brings its own; who answers locally may add them.
    config.include_date_header = False
    config.include_server_header = False
    config.keep_alive_timeout = KEEP_ALIVE
    # Cuts connections, and HTTP/2 ones in mid-flight, for no gain in a process of ours.
    config.keep_alive_max_requests = sys.maxsize
    # Above our own limit, which answers for itself.
    head_size = limits.max_head + 16 * 1024
    config.h11_max_incomplete_size = config.h2_max_header_list_size = head_size
    # Pieces of 64 KiB that may wait for the application before reading stops.
    config.max_app_queue_size = 3
    config.backlog = 2048
    for name, value in settings.options.items():
        if not hasattr(Config, name):
            raise TypeError(f"hypercorn has no option {name}")
        setattr(config, name, value)
    return config
