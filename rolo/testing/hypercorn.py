"""Runs hypercorn with a configuration and an event loop of the caller's.

``rolo.serving`` chooses both itself; programs written for earlier versions bring theirs.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import typing as t

from hypercorn.asyncio import serve
from hypercorn.config import Config

STOP_TIMEOUT = 10.0
"""Seconds the server gets to stop."""


def run_hypercorn(
    app: t.Any, config: Config | None, loop: asyncio.AbstractEventLoop | None
) -> tuple[int, t.Callable[[], None]]:
    """Serve ``app`` in a new thread; return the port and what stops it.

    :param config: ``None`` for hypercorn's defaults. Where it names no address of its own,
        a free port is put into it.
    :param loop: runs in the new thread and is closed at the end; ``None`` for a new one
    :raises OSError: the address cannot be had
    """
    config = config or Config()
    sock = _listen(config)
    config.bind = [f"fd://{sock.detach()}"]
    runner = _Runner(app, config, loop or asyncio.new_event_loop())
    runner.start()
    return runner.port, runner.stop


def _listen(config: Config) -> socket.socket:
    """Bind the first address of ``config``; listening makes it reachable at once."""
    host, port = "127.0.0.1", 0
    if config.bind != Config().bind:
        name, _, number = config.bind[0].rpartition(":")
        host, port = name.strip("[]"), int(number)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family)


class _Runner:
    def __init__(self, app: t.Any, config: Config, loop: asyncio.AbstractEventLoop) -> None:
        fd = int(config.bind[0].removeprefix("fd://"))
        with socket.socket(fileno=fd) as sock:
            self.port = int(sock.getsockname()[1])
            sock.detach()
        self._app = app
        self._config = config
        self._loop = loop
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="rolo-test-server", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._stopping.set)
        except RuntimeError:
            pass  # the server has failed and its loop is closed
        self._thread.join(STOP_TIMEOUT)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(
                serve(self._app, self._config, shutdown_trigger=self._triggered)
            )
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    async def _triggered(self) -> None:
        await self._stopping.wait()
