"""rolo 0.8.9 as a reverse proxy, put together the way its users do.

Run by path (``python benchmarks/old_rolo.py UPSTREAM PORT``) with the Python of an environment
that holds that version; see ``subjects.old_rolo``.
"""

from __future__ import annotations

import asyncio
import signal
import sys

from hypercorn.asyncio import serve
from hypercorn.config import Config

from rolo import Router
from rolo.gateway import Gateway
from rolo.gateway.asgi import AsgiGateway
from rolo.gateway.handlers import RouterHandler
from rolo.proxy import ProxyHandler
from rolo.routing import handler_dispatcher


async def run(app: AsgiGateway, port: int) -> None:
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.graceful_timeout = 1
    config.backlog = 4096
    # Otherwise its connections end after 1,000 requests and the load tool counts errors.
    config.keep_alive_max_requests = 1_000_000_000
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await serve(app, config, shutdown_trigger=stopped.wait)


def main(upstream: str, port: int) -> None:
    router = Router(handler_dispatcher())
    router.add("/<path:path>", ProxyHandler(upstream))
    gateway = Gateway(request_handlers=[RouterHandler(router, respond_not_found=True)])
    loop = asyncio.new_event_loop()
    loop.run_until_complete(run(AsgiGateway(gateway, event_loop=loop), port))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
