"""hypercorn: the server with the widest range of protocols.

What a proxy cannot live with is mended in ``rolo.serving._hypercorn``. A hypercorn newer
than those it was written for runs as it is, with a warning.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import logging
import os
import sys
import typing as t

import hypercorn.asyncio
from hypercorn.config import Config

from rolo.bridge.downstream import Capabilities
from rolo.bridge.limits import DEFAULT_LIMITS, Limits
from rolo.serving.base import AsgiApp, LoopAdapter, Settings
from rolo.serving.loop import Lifetime

LOG = logging.getLogger(__name__)

#: versions whose inside the classes below were written for and tested with
KNOWN = ("0.18",)

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
        return None

    async def run(self, app: AsgiApp, settings: Settings, lifetime: Lifetime) -> None:
        version = importlib.metadata.version("hypercorn")
        if not version.startswith(KNOWN):
            LOG.warning("hypercorn %s is newer than rolo knows and is not mended", version)
            await _run_plain(app, settings, lifetime)
            return
        # Here, not above: of an unknown version it could not even be imported.
        from rolo.serving._hypercorn import MendedServer

        await MendedServer(app, _config(app, settings)).run(settings, lifetime)


def _config(app: AsgiApp, settings: Settings) -> Config:
    config = Config()
    bridge = getattr(app, "bridge", None)
    limits: Limits = DEFAULT_LIMITS if bridge is None else bridge.limits
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


async def _run_plain(app: AsgiApp, settings: Settings, lifetime: Lifetime) -> None:
    """Run hypercorn through its public interface alone."""

    async def without_lifespan(scope: t.Any, receive: t.Any, send: t.Any) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)

    config = _config(app, settings)
    config.bind = [f"fd://{os.dup(settings.sock.fileno())}"]
    if settings.tls is not None:
        config.certfile, config.keyfile = str(settings.tls.cert), str(settings.tls.key)
        config.keyfile_password = settings.tls.password
    stopping = asyncio.create_task(lifetime.stopping())
    serving = asyncio.create_task(
        hypercorn.asyncio.serve(
            t.cast(t.Any, without_lifespan),
            config,
            shutdown_trigger=lambda: asyncio.wait({stopping}),
        )
    )
    # The kernel queues connections from before the start; nothing more to wait for.
    lifetime.ready()
    await asyncio.wait({stopping, serving}, return_when=asyncio.FIRST_COMPLETED)
    grace = stopping.result() if stopping.done() else 0
    await asyncio.wait({serving}, timeout=grace)
    for task in (stopping, serving):
        task.cancel()
    if serving.done() and not serving.cancelled():
        serving.result()
