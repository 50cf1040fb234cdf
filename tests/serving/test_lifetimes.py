"""The loop in its thread, the lifespan protocol, the listening socket."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import typing as t

import pytest
from serving_support import DEADLINE

from rolo.serving.lifespan import Lifespan, LifespanError
from rolo.serving.loop import Lifetime, LoopThread, loop_factory
from rolo.serving.sockets import listen, url_host


def test_a_loop_thread_is_named_ready_and_stopped() -> None:
    seen: list[t.Any] = []

    async def main(lifetime: Lifetime) -> None:
        seen.append(threading.current_thread().name)
        lifetime.ready()
        seen.append(await lifetime.stopping())

    thread = LoopThread("rolo-test", main)
    thread.start()
    assert not thread.join(0)
    thread.stop(1.5)
    assert thread.join(DEADLINE)
    assert seen == ["rolo-test", 1.5]


def test_what_fails_before_it_is_ready_is_raised_by_start() -> None:
    async def main(lifetime: Lifetime) -> None:
        raise ValueError("early")

    with pytest.raises(ValueError, match="early"):
        LoopThread("rolo-test", main).start()


def test_what_fails_later_is_logged_and_raised_by_join(caplog: pytest.LogCaptureFixture) -> None:
    async def main(lifetime: Lifetime) -> None:
        lifetime.ready()
        raise ValueError("late")

    thread = LoopThread("rolo-test", main)
    thread.start()
    with pytest.raises(ValueError, match="late"):
        thread.join(DEADLINE)
    assert "rolo-test died" in caplog.text


def test_tasks_left_behind_are_cancelled() -> None:
    cancelled = threading.Event()

    async def forgotten() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    tasks: list[asyncio.Task[None]] = []

    async def main(lifetime: Lifetime) -> None:
        tasks.append(asyncio.create_task(forgotten()))
        lifetime.ready()
        await lifetime.stopping()

    thread = LoopThread("rolo-test", main)
    thread.start()
    thread.stop(0)
    assert cancelled.is_set()


def test_an_unknown_kind_of_loop_is_refused() -> None:
    with pytest.raises(ValueError, match="choose auto, uvloop or asyncio"):
        loop_factory("trio")


def run_lifespan(app: t.Any, within: float | None = DEADLINE) -> None:
    async def main() -> None:
        lifespan = Lifespan(app)
        await lifespan.startup(within)
        await lifespan.shutdown(within)

    asyncio.run(main())


async def ignores(scope: t.Any, receive: t.Any, send: t.Any) -> None:
    return


async def refuses(scope: t.Any, receive: t.Any, send: t.Any) -> None:
    raise NotImplementedError(scope["type"])


@pytest.mark.parametrize("app", [ignores, refuses])
def test_an_application_without_lifespan_is_served_all_the_same(app: t.Any) -> None:
    run_lifespan(app)


def test_an_application_that_never_starts_is_given_up() -> None:
    async def silent(scope: t.Any, receive: t.Any, send: t.Any) -> None:
        await receive()
        await receive()

    with pytest.raises(LifespanError, match=r"more than 0.05 s for its startup"):
        run_lifespan(silent, 0.05)


def test_an_application_that_starts_and_returns_has_started() -> None:
    async def brief(scope: t.Any, receive: t.Any, send: t.Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})

    run_lifespan(brief)


def test_a_failing_shutdown_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def failing(scope: t.Any, receive: t.Any, send: t.Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        raise ValueError("cannot stop")

    with caplog.at_level(logging.ERROR):
        run_lifespan(failing)
    assert "failed to shut down" in caplog.text
    assert "cannot stop" in caplog.text


def test_listen_takes_a_free_port_and_keeps_it() -> None:
    with listen("127.0.0.1", 0) as sock:
        host, port = sock.getsockname()
        assert host == "127.0.0.1"
        with pytest.raises(OSError, match=r"cannot listen on 127\.0\.0\.1"):
            listen("127.0.0.1", port)


def test_listen_names_a_host_it_cannot_find() -> None:
    with pytest.raises(OSError, match=r"cannot listen on no\.such\.host\.invalid"):
        listen("no.such.host.invalid", 0)


def test_listen_does_not_block() -> None:
    with listen("localhost", 0) as sock:
        assert not sock.getblocking()
        assert sock.type == socket.SOCK_STREAM


@pytest.mark.parametrize(
    ("bound", "reached"),
    [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("::1", "[::1]")],
)
def test_the_host_in_a_url_can_be_reached(bound: str, reached: str) -> None:
    assert url_host(bound) == reached
