"""werkzeug's own server, started by ``serve``."""

from __future__ import annotations

import logging
import socket
import threading
import time
import typing as t

import pytest
from serving_support import DEADLINE, App, Client, fetch, hello

from rolo import Request, Response, Router
from rolo.serving import ServerUnavailable, serve

Start = t.Callable[..., t.Any]


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    for name in ("werkzeug", "rolo.serving.werkzeug"):
        caplog.set_level(logging.CRITICAL, logger=name)


def greeting(environ: dict[str, t.Any], start_response: Start) -> list[bytes]:
    start_response("200 Fine", [("X-Case", "1"), ("Content-Length", "5")])
    return [b"hello"]


def test_it_answers_and_volunteers_nothing() -> None:
    with serve(greeting, server="werkzeug") as server:
        received = fetch(server.port)
    assert received.startswith(b"HTTP/1.1 200 Fine\r\nX-Case: 1\r\n")
    assert received.endswith(b"\r\n\r\nhello")
    assert b"Date:" not in received
    assert b"Server:" not in received


@pytest.mark.parametrize("length", [None, "100"], ids=["chunked", "with a length"])
def test_an_answer_broken_off_after_the_head_cannot_be_taken_for_whole(
    length: str | None,
) -> None:
    closed = threading.Event()

    class Body:
        def __iter__(self) -> t.Iterator[bytes]:
            yield b"half"
            raise RuntimeError("on purpose")

        def close(self) -> None:
            closed.set()

    def broken(environ: dict[str, t.Any], start_response: Start) -> t.Iterable[bytes]:
        start_response("200 OK", [] if length is None else [("Content-Length", length)])
        return Body()

    with serve(broken, server="werkzeug") as server, Client(server.port) as client:
        client.get("/")
        received = client.all()
    assert received.rstrip().endswith(b"half")
    assert closed.is_set()


def test_failing_before_the_head_is_a_500() -> None:
    def failing(environ: dict[str, t.Any], start_response: Start) -> t.Iterable[bytes]:
        raise RuntimeError("secret")

    with serve(failing, server="werkzeug") as server:
        received = fetch(server.port)
    assert received.startswith(b"HTTP/1.1 500 ")
    assert b"secret" not in received


class Raising:
    """A body of which the part that the path names raises."""

    def __init__(self, place: str, error: type[BaseException]) -> None:
        self.place = place
        self.error = error

    def __iter__(self) -> t.Iterator[bytes]:
        for piece in ("/first", "/second"):
            if self.place == piece:
                raise self.error
            yield b"piece"

    def close(self) -> None:
        if self.place == "/close":
            raise self.error


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("kind", ["application", "router"])
def test_what_an_application_raises_ends_its_own_exchange(
    kind: str, error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, logger="rolo.serving.werkzeug")

    def application(environ: dict[str, t.Any], start_response: Start) -> t.Iterable[bytes]:
        if environ["PATH_INFO"] == "/call":
            raise error
        start_response("200 OK", [])
        return Raising(environ["PATH_INFO"], error)

    def endpoint(request: Request, args: t.Any) -> Response:
        if request.path == "/call":
            raise error
        return Response(t.cast(t.Any, Raising(request.path, error)))

    router = Router[t.Any]()
    router.add("/<path:path>", endpoint)
    app = application if kind == "application" else router.wsgi()
    received = {}
    with serve(app, server="werkzeug") as server:
        for place in ("/call", "/first", "/second", "/close", "/fine"):
            with Client(server.port) as client:
                client.get(place)
                received[place] = client.all()
    assert received["/call"].startswith(b"HTTP/1.1 500 ")
    # A head is out: what is honest is an end without the last chunk.
    for place in ("/first", "/second"):
        assert received[place].startswith(b"HTTP/1.1 200 ")
        assert not received[place].endswith(b"0\r\n\r\n")
    for place in ("/close", "/fine"):
        assert received[place].endswith(b"5\r\npiece\r\n5\r\npiece\r\n0\r\n\r\n")
    assert error.__name__ in caplog.text


def test_an_answer_of_a_router_that_no_head_can_hold_is_a_500() -> None:
    def endpoint(request: Request, args: t.Any) -> Response:
        return Response("x", status="200 fine\r\nX-Made: up")

    router = Router[t.Any]()
    router.add("/", endpoint)
    with serve(router.wsgi(), server="werkzeug") as server:
        received = fetch(server.port)
    assert received.startswith(b"HTTP/1.1 500 ")
    assert b"X-Made" not in received


def test_a_running_exchange_finishes_at_shutdown_and_an_idle_connection_does_not_hold_it_up() -> (
    None
):
    running, go_on = threading.Event(), threading.Event()

    def slow(environ: dict[str, t.Any], start_response: Start) -> t.Iterable[bytes]:
        running.set()
        go_on.wait(DEADLINE)
        return greeting(environ, start_response)

    server = serve(slow, server="werkzeug")
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE),
        Client(server.port) as client,
    ):
        client.get("/")
        assert running.wait(DEADLINE)
        stopper = threading.Thread(target=server.shutdown)
        stopper.start()
        go_on.set()
        assert client.all().endswith(b"hello")
        stopper.join(DEADLINE)
        assert not stopper.is_alive()


def test_what_does_not_finish_is_cut_at_the_deadline() -> None:
    def endless(environ: dict[str, t.Any], start_response: Start) -> t.Iterator[bytes]:
        start_response("200 OK", [])
        while True:
            yield b"x" * 65536

    server = serve(endless, server="werkzeug")
    with Client(server.port) as client:
        client.get("/")
        client.until(b"xxx")
        started = time.monotonic()
        server.shutdown(timeout=0.1)
        assert time.monotonic() - started < 3.0


def test_it_refuses_what_it_cannot_do() -> None:
    with pytest.raises(TypeError, match="not ASGI"):
        serve(App(http=hello), server="werkzeug")
    with pytest.raises(ServerUnavailable, match="does not speak websocket"):
        serve(greeting, server="werkzeug", needs=["websocket"])
    with pytest.raises(TypeError, match="no option reloader"):
        serve(greeting, server="werkzeug", reloader=True)
