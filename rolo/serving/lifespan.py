"""The lifespan protocol of ASGI, spoken by us so that it is the same on every server."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import typing as t

LOG = logging.getLogger(__name__)


class LifespanError(RuntimeError):
    """The application refused to start; ``__cause__`` holds its exception, if it raised."""


class Lifespan:
    """Starts and stops one ASGI application (ASGI lifespan specification 2.0).

    An application that raises, or returns, before it asks for the first event does not
    speak the protocol and is served without it. One that fails later has failed to start.
    """

    def __init__(self, app: t.Callable[..., t.Awaitable[None]]) -> None:
        self._app = app
        self._state: dict[str, t.Any] = {}
        self._events: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        self._answers: asyncio.Queue[dict[str, t.Any]] = asyncio.Queue()
        self._spoken = False
        self._task: asyncio.Task[None] | None = None

    @property
    def app(self) -> t.Callable[..., t.Awaitable[None]]:
        """The application, with the state it left at start in every scope."""
        return self._app if not self._state else self._with_state

    async def startup(self, within: float | None = None) -> None:
        """Start the application.

        :param within: seconds it gets; ``None`` for no limit
        :raises LifespanError: it failed, or took too long
        """
        self._task = asyncio.create_task(self._run(), name="rolo-lifespan")
        answer = await self._ask("startup", within)
        if answer is not None and answer["type"] == "lifespan.startup.complete":
            return
        failure = await self._end()
        if answer is None and not self._spoken:
            return
        reason = (answer or {}).get("message") or failure or "it gave no reason"
        raise LifespanError(f"the application failed to start: {reason}") from failure

    async def shutdown(self, within: float | None = None) -> None:
        """Stop the application. Its failures are logged: nobody could act on them.

        :param within: seconds it gets; ``None`` for no limit
        """
        if self._task is None:
            return
        try:
            answer = await self._ask("shutdown", within)
        except LifespanError as error:
            LOG.error("%s", error)
            answer = None
        failure = await self._end()
        if failure is not None:
            LOG.error("the application failed to shut down", exc_info=failure)
        elif answer is not None and answer["type"] == "lifespan.shutdown.failed":
            LOG.error("the application failed to shut down: %s", answer.get("message", ""))

    async def _ask(self, what: str, within: float | None) -> dict[str, t.Any] | None:
        """Send one event; return the answer, ``None`` if the application ended instead."""
        assert self._task is not None
        self._events.put_nowait({"type": f"lifespan.{what}"})
        answer = asyncio.create_task(self._answers.get())
        try:
            done, _ = await asyncio.wait(
                {answer, self._task}, timeout=within, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            answer.cancel()
        if answer in done:
            return answer.result()
        if not self._answers.empty():  # said and returned in one step
            return self._answers.get_nowait()
        if not done:
            self._task.cancel()
            raise LifespanError(f"the application took more than {within} s for its {what}")
        return None

    async def _end(self) -> Exception | None:
        """Let the application return; return what it raised."""
        task, self._task = self._task, None
        assert task is not None
        await asyncio.wait({task}, timeout=1.0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            try:
                await task
            except Exception as error:  # noqa: BLE001 - the caller decides what it means
                return error
        return None

    async def _run(self) -> None:
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self._state,
        }
        await self._app(scope, self._receive, self._send)

    async def _receive(self) -> dict[str, str]:
        self._spoken = True
        return await self._events.get()

    async def _send(self, message: dict[str, t.Any]) -> None:
        self._answers.put_nowait(message)

    async def _with_state(self, scope: dict[str, t.Any], receive: t.Any, send: t.Any) -> None:
        scope["state"] = {**scope.get("state", {}), **self._state}
        await self._app(scope, receive, send)
