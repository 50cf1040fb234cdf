"""What the bridge promises for HTTP, on every server and in both modes."""

import asyncio
import concurrent.futures
import contextlib
import selectors
import threading

import pytest
from leaks import Nothing, needs_proc
from wire import Truncated, Wire, chunked, fetch

from rolo.errors import ClientDisconnected
from rolo.portal import current_portal


def echo(chain, context, response):
    request = context.request
    response.set_json(
        {
            "method": request.method,
            "path": request.path,
            "query": request.query_string.decode(),
            "body": request.get_data(as_text=True),
            "headers": [[k, v] for k, v in request.headers],
        }
    )


class Closing:
    """An iterable body that counts how often it is closed and says when."""

    def __init__(self, pieces):
        self.pieces = iter(pieces)
        self.closed = 0
        self.over = threading.Event()

    def __iter__(self):
        return self

    def __next__(self):
        piece = next(self.pieces)
        if isinstance(piece, Exception):
            raise piece
        return piece() if callable(piece) else piece

    def close(self):
        self.closed += 1
        self.over.set()


def answering(body, status=200, headers=()):
    def handler(chain, context, response):
        response.status_code = status
        response.response = body
        for name, value in headers:
            response.headers[name] = value

    return handler


def test_a_small_request_is_answered(start):
    answer = fetch(start(echo).url, "/some/path?a=b", headers=[("X-One", "1")])
    assert answer.status == 200
    assert b'"path": "/some/path"' in answer.body
    assert b'"query": "a=b"' in answer.body


def test_a_connection_serves_many_requests_in_order(start):
    with Wire(start(echo).url) as wire:
        for n in range(20):
            assert f'"path": "/{n}"'.encode() in wire.get(f"/{n}").body


def test_a_small_body_reaches_the_handler(start):
    answer = fetch(start(echo).url, "/", "POST", body=b"some body")
    assert b'"body": "some body"' in answer.body


def test_a_chunked_body_reaches_the_handler_whole(start):
    with Wire(start(echo).url) as wire:
        wire.request("PUT", "/", [("Transfer-Encoding", "chunked")])
        wire.send(chunked(b"some ", b"chunked ", b"body"))
        assert b'"body": "some chunked body"' in wire.answer().body


def test_a_large_body_is_pulled_in_pieces(start):
    total = 5_000_000

    def count(chain, context, response):
        size, largest = 0, 0
        while piece := context.request.stream.read(100_000):
            size += len(piece)
            largest = max(largest, len(piece))
        response.data = f"{size} {largest <= 100_000}"

    answer = fetch(start(count).url, "/", "POST", body=b"x" * total)
    assert answer.body == b"5000000 True"


def test_a_handler_reads_the_first_bytes_before_the_last_are_sent(start):
    first = threading.Event()

    def handler(chain, context, response):
        got = context.request.stream.read(5)
        first.set()
        response.data = got + b"|" + context.request.stream.read()

    with Wire(start(handler).url) as wire:
        wire.request("POST", "/", [("Content-Length", "1000005")])
        wire.send(b"first")
        assert first.wait(5)
        wire.send(b"y" * 1_000_000)
        assert wire.answer().body == b"first|" + b"y" * 1_000_000


def test_a_client_leaving_within_its_body_is_an_error_to_the_reader(start):
    seen = []
    over, reading = threading.Event(), threading.Event()

    def handler(chain, context, response):
        try:
            context.request.stream.read(1)
            reading.set()
            seen.append(context.request.stream.read())
        except BaseException as exc:
            seen.append(type(exc))
            raise
        finally:
            over.set()

    with Wire(start(handler).url) as wire:
        wire.request("POST", "/", [("Content-Length", "1000000")])
        wire.send(b"part")
        assert reading.wait(5)
    assert over.wait(5)
    assert seen == [ClientDisconnected]


def test_a_generator_streams_and_its_first_piece_arrives_before_the_last_is_made(start):
    go_on = threading.Event()

    def handler(chain, context, response):
        def generate():
            yield b"first"
            wait_for(go_on)
            yield b"second"

        response.response = generate()

    with Wire(start(handler).url) as wire:
        wire.request("GET", "/")
        head = wire.head()
        assert wire.piece(head) == b"first"
        go_on.set()
        assert wire.body(head) == b"second"


def wait_for(event):
    """Wait in a handler of either mode, through the portal as the contract asks."""
    with concurrent.futures.ThreadPoolExecutor(1) as waiting:
        current_portal().call(until(waiting.submit(event.wait, 5)))


async def until(future):
    return await asyncio.wrap_future(future)


def test_a_body_is_closed_exactly_once_after_success(start):
    body = Closing([b"a", b"b"])
    assert fetch(start(answering(body)).url).body == b"ab"
    assert body.over.wait(5)
    assert body.closed == 1


def test_a_body_is_closed_exactly_once_for_an_answer_without_body(start):
    body = Closing([b"a", b"b"])
    assert fetch(start(answering(body)).url, method="HEAD").body == b""
    assert body.over.wait(5)
    assert body.closed == 1


def test_a_body_is_closed_exactly_once_when_the_client_leaves(start):
    body = Closing(b"x" * 10_000 for _ in iter(int, 1))
    server = start(answering(body))
    wire = Wire(server.url)
    wire.request("GET", "/")
    wire.head()
    wire.reset()
    assert body.over.wait(5)
    assert body.closed == 1


def test_what_a_close_runs_may_wait_however_the_body_is_dropped(start, served_on):
    """On a thread it may block, and in a greenlet wait through the portal."""
    mode, left = served_on[1], threading.Event()
    closed = []

    class Waiting(Closing):
        def close(self):
            closed.append(threading.current_thread().name.startswith("rolo-worker"))
            current_portal().call(asyncio.sleep(0))
            super().close()

    bodies = {}

    def handler(chain, context, response):
        path = context.request.path
        body = bodies[path]
        if path == "/whole":
            response.response = [b"whole"]
            response.call_on_close(body.close)
            return
        response.response = body
        if path == "/204":
            response.status_code = 204
        elif path == "/unsendable":
            response.status = "200 OK\r\nX: y"
        elif path == "/failed":
            chain.throw(KeyError("on purpose"))
        elif path == "/gone":
            left.set()
            with contextlib.suppress(ClientDisconnected):
                current_portal().call(asyncio.sleep(60))

    url = start(handler).url
    expected = {"/head": 200, "/204": 204, "/unsendable": 500, "/failed": 500, "/whole": 200}
    for path, status in expected.items():
        body = bodies[path] = Waiting([b"x"])
        assert fetch(url, path, "HEAD" if path == "/head" else "GET").status == status
        assert body.over.wait(5), path
        assert body.closed == 1
    body = bodies["/gone"] = Waiting([b"x"])
    with contextlib.closing(Wire(url)) as wire:
        wire.request("GET", "/gone")
        assert left.wait(5)
        wire.reset()
    assert body.over.wait(5)
    assert closed == [mode == "threads"] * 6


@pytest.mark.parametrize(
    "headers", [[], [("Content-Length", "100")]], ids=["chunked", "with a length"]
)
def test_a_body_that_fails_is_an_aborted_answer(start, headers):
    body = Closing([b"a", RuntimeError("broken on purpose")])
    server = start(answering(body, headers=headers))
    with pytest.raises(Truncated):
        fetch(server.url)
    assert body.over.wait(5)
    assert body.closed == 1


def test_other_exchanges_go_on_after_one_failed(start):
    def handler(chain, context, response):
        if context.request.path == "/broken":
            response.response = Closing([b"a", RuntimeError("broken on purpose")])
        else:
            response.data = b"fine"

    server = start(handler)
    for _ in range(3):
        with pytest.raises(Truncated):
            fetch(server.url, "/broken")
        assert fetch(server.url, "/fine").body == b"fine"


def test_an_error_of_a_handler_is_a_500_that_tells_nothing(start):
    def handler(chain, context, response):
        raise RuntimeError("secret detail")

    answer = fetch(start(handler).url)
    assert answer.status == 500
    assert b"secret" not in answer.body
    assert "secret" not in str(answer.headers)


def test_a_blocking_call_of_the_portal_works_in_a_handler(start):
    def handler(chain, context, response):
        portal = context.request.environ["rolo.portal"]
        response.data = portal.call(asyncio.sleep(0.001, b"waited"))

    assert fetch(start(handler).url).body == b"waited"


def send_until_nobody_takes_more(wire):
    wire.socket.setblocking(False)
    with selectors.DefaultSelector() as selector:
        selector.register(wire.socket, selectors.EVENT_WRITE)
        while selector.select(0.1):
            with contextlib.suppress(BlockingIOError):
                wire.socket.send(bytes(65536))
    wire.socket.settimeout(5)


@needs_proc
def test_uploads_that_no_handler_reads_leave_nothing_behind(start):
    stuck = threading.Event()

    def refuse(chain, context, response):
        current_portal().call(asyncio.to_thread(stuck.wait, 5))
        response.status_code = 413

    def refused(count):
        for _ in range(count):
            stuck.clear()
            with Wire(url) as wire:
                wire.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n")
                send_until_nobody_takes_more(wire)
                stuck.set()
                with contextlib.suppress(ConnectionError):  # it need not arrive
                    assert wire.head().status == 413

    url = start(refuse).url
    refused(1)
    with Nothing(slack=2):
        refused(3)


def test_a_handler_that_waits_is_interrupted_when_the_client_leaves(start):
    started, over = threading.Event(), threading.Event()
    seen = []

    async def for_ever():
        started.set()
        await asyncio.get_running_loop().create_future()

    def handler(chain, context, response):
        try:
            current_portal().call(for_ever())
        except BaseException as exc:
            seen.append(type(exc))
            raise
        finally:
            over.set()

    wire = Wire(start(handler).url)
    wire.request("GET", "/")
    assert started.wait(5)
    wire.close()
    assert over.wait(5)
    assert seen == [ClientDisconnected]


def test_repeated_header_lines_stay_apart_and_in_order(start):
    def handler(chain, context, response):
        response.set_json(context.request.headers.getlist("X-Twice"))
        response.headers.add("Set-Cookie", "a=1")
        response.headers.add("Set-Cookie", "b=2")

    answer = fetch(
        start(handler).url, headers=[("X-Twice", "1"), ("X-Other", "x"), ("X-Twice", "2")]
    )
    assert answer.body == b'["1", "2"]'
    assert answer.all("set-cookie") == ["a=1", "b=2"]


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body_leave_the_connection_usable(start, status):
    def handler(chain, context, response):
        response.status_code = status

    with Wire(start(handler).url) as wire:
        for _ in range(3):
            assert wire.get("/").status == status


def test_a_date_is_sent_at_most_once(start, served_on):
    def handler(chain, context, response):
        response.headers["Date"] = "Sun, 06 Nov 1994 08:49:37 GMT"

    answer = fetch(start(handler).url)
    assert answer.all("date") == ["Sun, 06 Nov 1994 08:49:37 GMT"]
    assert len(answer.all("server")) == (served_on[0] == "granian")


def test_the_raw_target_is_seen_by_the_handler(start):
    def handler(chain, context, response):
        response.data = context.request.environ["RAW_URI"]

    assert fetch(start(handler).url, "/a%2Fb//c/?x=%20y").body == b"/a%2Fb//c/?x=%20y"


def test_the_method_name_of_websockets_is_refused(start, served_on):
    # uvicorn's parser knows the methods that there are.
    expected = 400 if served_on[0] == "uvicorn" else 501
    assert fetch(start(echo).url, method="WEBSOCKET").status == expected


def test_an_answer_that_no_head_can_hold_is_a_500(start, caplog):
    def handler(chain, context, response):
        if context.request.path == "/bad":
            response.status = "200 OK\r\nSet-Cookie: evil=1"
            response.set_response(Closing([b"x"]))

    server = start(handler)
    answer = fetch(server.url, "/bad")
    assert (answer.status, answer.get("set-cookie")) == (500, None)
    assert "cannot be sent" in caplog.text
    assert fetch(server.url, "/good").status == 200
