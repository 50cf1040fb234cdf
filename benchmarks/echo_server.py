"""A synchronous websocket echo handler of rolo's, the handler that is held ten thousand times.

``python -m benchmarks.echo_server SERVER MODE PORT``
"""

from __future__ import annotations

import sys

from rolo import Request, Router
from rolo.gateway import Gateway
from rolo.gateway.handlers import RouterHandler
from rolo.routing import handler_dispatcher
from rolo.serving import serve
from rolo.websocket import WebSocketRequest


def hello(request: Request) -> str:
    return "Hello, world!"


def echo(request: WebSocketRequest) -> None:
    with request.accept() as websocket:
        for message in websocket:
            websocket.send(message)


def main(server: str, mode: str, port: int) -> None:
    router = Router(handler_dispatcher())
    router.add("/hello", hello)
    router.add("/ws", echo, methods=["WEBSOCKET"])
    gateway = Gateway(request_handlers=[RouterHandler(router, respond_not_found=True)])
    with serve(gateway, port=port, server=server, mode=mode) as running:
        running.wait()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
