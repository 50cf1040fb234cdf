"""What code of the user's raises ends its own exchange, and nothing more."""

import asyncio
import contextlib
import threading

import pytest
from threaded_origin import ThreadedOrigin
from websocket_origin import Client, WebSocketOrigin, echo
from wire import Truncated, Wire, fetch

from rolo.bridge.bridge import Bridge
from rolo.gateway import Gateway
from rolo.portal.containment import ProgramExit
from rolo.portal.portal import current_portal
from rolo.proxy import Hooks, ProxyHandler
from rolo.proxy.websocket_proxy import relay_websocket

EXITS = [SystemExit, KeyboardInterrupt]


@pytest.fixture(params=["native-loop", "native-threads", "uvicorn-loop", "uvicorn-threads"])
def served_on(request):
    """Two servers stand for all: what runs is the bridge's."""
    return tuple(request.param.split("-"))


def ends(*args):
    raise SystemExit("ended on purpose")


def interrupts(*args):
    raise KeyboardInterrupt


def stays(*args):
    """As a generator whose ``finally`` yields, which nobody can close."""
    raise RuntimeError("generator ignored GeneratorExit")


both_exits = pytest.mark.parametrize("raises", [ends, interrupts])


class Body:
    """A body of which some part raises."""

    def __init__(self, pieces=(b"piece",), close=lambda: None):
        self.pieces = iter(pieces)
        self.close_with = close

    def __iter__(self):
        return self

    def __next__(self):
        piece = next(self.pieces)
        return piece() if callable(piece) else piece

    def close(self):
        self.close_with()


async def in_a_coroutine(raises):
    raises()


class Places:
    """A gateway with something that raises wherever a handler may."""

    def __init__(self, raises):
        self.raises = raises
        self.gateway = Gateway([self.handle], [self.respond], [self.finish], [self.told])
        self.errors = []

    def handle(self, chain, context, response):
        place, raises = context.request.path, self.raises
        context.place = place
        response.response = [b"fine"]
        if place in ("/handler", "/exception-handler"):
            raises()
        elif place == "/awaited":
            current_portal().call(in_a_coroutine(raises))
        elif place == "/first-piece":
            response.response = Body([raises])
        elif place == "/second-piece":
            response.response = Body([b"piece", raises])
        elif place == "/close":
            response.response = Body(close=raises)
        elif place == "/call-on-close":
            response.call_on_close(raises)

    def respond(self, chain, context, response):
        if context.place == "/response-handler":
            self.raises()

    def finish(self, chain, context, response):
        if context.place == "/finalizer":
            self.raises()

    def told(self, chain, exception, context, response):
        self.errors.append(exception)
        if context.place == "/exception-handler":
            self.raises()


@both_exits
def test_a_handler_that_ends_the_program_ends_its_exchange(start, raises, caplog):
    places = Places(raises)
    url = start(places.gateway).url
    for place in ("/handler", "/awaited", "/exception-handler"):
        assert fetch(url, place).status == 500
    assert [type(error.__cause__ or error).__name__ for error in places.errors] == (
        [raises_name(raises)] * 3
    )
    for place in ("/first-piece", "/second-piece"):
        with pytest.raises(Truncated):
            fetch(url, place)
        assert f"answer to GET {place} broken off" in caplog.text
    for place in ("/response-handler", "/finalizer", "/call-on-close"):
        assert fetch(url, place).body == b"fine"
    assert fetch(url, "/close").body == b"piece"
    assert fetch(url).body == b"fine"
    assert raises_name(raises) in caplog.text


def raises_name(raises):
    try:
        raises()
    except BaseException as exc:  # noqa: BLE001
        return type(exc).__name__


@pytest.mark.parametrize("raises", [stays, ends])
def test_bodies_that_fail_to_close_take_no_thread_with_them(start, raises, caplog):
    closed = threading.Semaphore(0)

    def close():
        closed.release()
        raises()

    def handler(chain, context, response):
        if context.request.path == "/endless":
            response.response = Body(iter(lambda: b"x" * 10_000, b""), close)
        elif context.request.path == "/bodiless":
            response.response, response.status_code = Body(close=close), 204
        else:
            response.response = Body(close=close)

    url = start(handler, threads=2).url
    for _ in range(2):
        with contextlib.closing(Wire(url)) as wire:
            wire.request("GET", "/endless")
            wire.head()
            wire.reset()
        assert closed.acquire(timeout=5)
        assert fetch(url, "/bodiless").status == 204
        assert closed.acquire(timeout=5)
        assert fetch(url).body == b"piece"
        assert closed.acquire(timeout=5)
    for target in ("/endless", "/bodiless", "/"):
        assert f"error while closing the answer to GET {target}" in caplog.text


class Ends(Hooks):
    """Ends the program in the phase that the request names."""

    def __init__(self, raises):
        self.finished = threading.Semaphore(0)

        for phase in (
            "on_request", "on_outgoing", "on_request_chunk", "on_response", "on_response_chunk",
            "on_trailers", "on_error", "on_handshake", "on_accepted", "on_client_message",
            "on_upstream_message", "on_closed",
        ):  # fmt: skip
            setattr(self, phase, self.hook(phase, raises))
        self.raises = raises

    def hook(self, phase, raises):
        def hook(context, *args):
            if f"/{phase}" == context.request.path:
                raises()

        return hook

    def on_finished(self, context):
        self.finished.release()
        if context.request.path == "/on_finished":
            self.raises()


@both_exits
def test_a_hook_that_ends_the_program_ends_its_exchange(start, raises, caplog):
    hooks = Ends(raises)
    with (
        ThreadedOrigin() as origin,
        contextlib.closing(ProxyHandler(origin.url, hooks=[hooks])) as handler,
    ):
        url = start(handler).url
        for phase in ("on_request", "on_outgoing", "on_request_chunk", "on_response"):
            assert fetch(url, f"/{phase}", "POST", body=b"body").status == 500
        for phase in ("on_response_chunk", "on_trailers"):
            with pytest.raises(Truncated):
                fetch(url, f"/{phase}")
        assert fetch(url, "/on_finished").body == b"ok"
        assert fetch(url, "/").body == b"ok"
    for _ in range(8):
        assert hooks.finished.acquire(timeout=5)
    for phase in ("on_request", "on_request_chunk", "on_response_chunk", "on_finished"):
        assert f"{phase} of Ends raised" in caplog.text


@both_exits
def test_a_websocket_hook_that_ends_the_program_ends_its_websocket(start, raises):
    hooks = Ends(raises)
    with (
        contextlib.closing(WebSocketOrigin(echo)) as origin,
        contextlib.closing(ProxyHandler(origin.url, hooks=[hooks])) as handler,
    ):
        url = start(handler).url
        for phase in ("on_handshake", "on_accepted"):
            with Client(url, f"/{phase}") as client:
                assert client.answer().status == 500
        for phase in ("on_client_message", "on_upstream_message"):
            with Client(url, f"/{phase}") as client:
                client.open()
                client.text("hello")
                assert client.closing()[0] == 1011
        for phase in ("on_closed", "on_finished", ""):
            with Client(url, f"/{phase}") as client:
                client.open()
                client.text("hello")
                assert client.message() == "hello"
                client.close(1000)
                assert client.closing()[0] == 1000
        for _ in range(7):
            assert hooks.finished.acquire(timeout=5)


@pytest.mark.parametrize("direction", ["to_origin", "to_client"])
@pytest.mark.parametrize("raises", [ends, stays])
def test_what_looks_at_a_relay_and_raises_closes_both_legs(start, raises, direction):
    def handler(chain, context, response):
        relay_websocket(context.request, origin.url, **{direction: raises})

    with contextlib.closing(WebSocketOrigin(echo)) as origin:
        url = start(handler).url
        for _ in range(2):
            with Client(url) as client:
                client.open()
                client.text("hello")
                assert client.closing()[0] == 1011


@both_exits
def test_a_websocket_handler_that_ends_the_program_ends_its_websocket(start, raises):
    def handler(chain, context, response):
        if context.request.path == "/open":
            context.request.accept()
        raises()

    url = start(handler).url
    with Client(url, "/") as client:
        assert client.answer().status == 500
    with Client(url, "/open") as client:
        client.open()
        assert client.closing()[0] == 1011
    with Client(url, "/") as client:
        assert client.answer().status == 500


@pytest.mark.parametrize("mode", ["threads", "loop"])
@both_exits
def test_a_listener_of_the_lifespan_that_ends_the_program_fails(raises, mode):
    async def main():
        bridge = Bridge(Gateway(), mode=mode)
        try:
            with pytest.raises(ProgramExit):
                await bridge.run_sync(raises)
        finally:
            await bridge.aclose()
            bridge.close()

    asyncio.run(main())
