"""What came: looked up, counted, put in order, waited for, and kept within bounds."""

import asyncio
import threading

import pytest
from websocket_origin import Client
from wire import Wire, fetch

from rolo.harness import Harness
from rolo.matching import ANY, contains

JSON = [("Content-Type", "application/json")]


@pytest.fixture
def api():
    with Harness(strict=False) as api:
        api.any().returns(200, "ok")
        yield api


def test_a_request_is_looked_up_by_what_it_is_like(api):
    fetch(api.url, "/orders?dry=1", "POST", [*JSON, ("X-A", "1"), ("Cookie", "s=2")], b'{"id": 1}')
    fetch(api.url, "/orders", "POST", JSON, b'{"id": 2}')
    fetch(api.url, "/other")
    record = api.received("POST", "/orders", json={"id": 1}).once()
    assert (record.method, record.path, record.target) == ("POST", "/orders", "/orders?dry=1")
    assert record.query["dry"] == "1"
    assert record.headers["x-a"] == "1"
    assert record.cookies == {"s": "2"}
    assert (record.json, record.body, record.text) == ({"id": 1}, b'{"id": 1}', '{"id": 1}')
    assert (record.status, record.answer.body, record.answer.text) == (200, b"ok", "ok")
    assert record.answer.headers["content-length"] == "2"
    assert record.stub in api.stubs
    assert record.client[0] == "127.0.0.1"
    assert len(api.received("POST")) == 2
    assert [each.number for each in api.received()] == [1, 2, 3]
    assert api.received(json={"id": ANY}).last.json == {"id": 2}
    assert api.received(path="/orders").first is record


def test_counts(api):
    for _ in range(3):
        fetch(api.url, "/x")
    api.received("GET", "/x").times(3).at_least(3).at_most(3)
    api.received("GET", "/y").never()
    for wrong in (
        lambda: api.received("GET", "/x").once(),
        lambda: api.received("GET", "/x").never(),
        lambda: api.received("GET", "/x").at_most(2),
        lambda: api.received("GET", "/x").at_least(4),
        lambda: api.received("GET", "/y").once(),
        lambda: api.received("GET", "/y").first,
    ):
        with pytest.raises(AssertionError, match=r"Wanted .* of GET /[xy]"):
            wrong()


def test_order_across_endpoints(api):
    for path in ("/login", "/me", "/login"):
        fetch(api.url, path)
    login, me = api.received("GET", "/login"), api.received("GET", "/me")
    api.in_order(login, me)
    api.in_order(login, me, login)
    with pytest.raises(AssertionError, match="in this order") as caught:
        api.in_order(me, login, me)
    assert "1 GET /login -> 200\n" in str(caught.value)


def test_in_how_many_pieces_a_body_came_and_when(api):
    with Wire(api.url) as wire:
        wire.send(b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        arriving = api.wait_for("POST", "/x", whole=False).once()
        api.wait_until(lambda: arriving.pieces)
        wire.send(b"3\r\ntwo\r\n0\r\nX-Sum: 1\r\n\r\n")
        assert wire.head().status == 200
    record = api.received("POST", "/x").once()
    assert [piece.size for piece in record.pieces] == [3, 3]
    assert 0 <= record.pieces[0].at < record.pieces[1].at
    assert record.trailers["x-sum"] == "1"
    assert record.body == b"onetwo"


def test_waiting_for_a_request_ends_when_it_comes(api):
    later = threading.Thread(target=lambda: [fetch(api.url, "/x") for _ in range(2)])
    waited = api.wait_for
    later.start()
    assert len(waited("GET", "/x", count=2)) == 2
    later.join(5)
    with pytest.raises(AssertionError, match="Wanted at least 1, received none of PUT /x"):
        api.wait_for("PUT", "/x", timeout=0.01)
    with pytest.raises(AssertionError, match=r"not so after 0\.01 s"):
        api.wait_until(lambda: False, timeout=0.01)


def test_who_waits_for_a_request_gets_all_of_it(api):
    with Wire(api.url) as wire:
        wire.send(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\none")
        arriving = api.wait_for("POST", "/x", whole=False).once()
        api.wait_until(lambda: arriving.size == 3)
        with pytest.raises(AssertionError):
            api.wait_for("POST", "/x", count=2, timeout=0.01)
        assert not arriving.whole
        later = threading.Thread(target=wire.send, args=(b"two",))
        later.start()
        assert api.wait_for("POST", "/x").once().body == b"onetwo"
        later.join(5)


def test_waiting_in_a_coroutine_leaves_its_loop_alone(api):
    async def client():
        reader, writer = await asyncio.open_connection(api.host, api.port)
        writer.write(b"GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        data = await reader.read()
        writer.close()
        await writer.wait_closed()
        return data

    async def test():
        waiting = asyncio.create_task(api.wait_for_async("GET", "/x"))
        assert (await client()).startswith(b"HTTP/1.1 200")
        assert (await waiting).once().status == 200

    asyncio.run(test())


def test_a_request_is_seen_before_its_answer_is(api):
    for number in range(1, 30):
        fetch(api.url, "/x")
        assert len(api.received("GET", "/x")) == number
        assert api.records[-1].ended


def test_bodies_are_kept_up_to_a_bound_and_what_is_cut_says_so():
    with Harness(max_body=10) as api:
        api.post("/x").returns(200, json=["x" * 100])
        fetch(api.url, "/x", "POST", JSON, b'{"a": "long enough"}')
        record = api.received("POST", "/x").once()
        assert (record.body, record.size, record.cut) == (b'{"a": "lon', 20, True)
        assert (len(record.answer.body), record.answer.size, record.answer.cut) == (10, 104, True)
        for value in (lambda: record.json, lambda: record.answer.json):
            with pytest.raises(ValueError, match=r"only the first 10 of \d+ bytes .*max_body"):
                value()
        with pytest.raises(AssertionError, match="only the first 10 bytes of the body were kept"):
            api.received("POST", "/x", json={"a": 1}).once()


def test_all_bodies_together_have_a_bound_and_the_oldest_go_first():
    with Harness(max_kept=1000) as api:
        api.post("/x").returns(204)
        for number in range(30):
            fetch(api.url, f"/x?{number}", "POST", [], b"y" * 100)
        records = api.records
        assert sum(len(record.body) for record in records) <= 1000
        assert records[-1].body == b"y" * 100
        assert (records[0].body, records[0].size, records[0].cut) == (b"", 100, True)
        with pytest.raises(ValueError, match="no longer kept"):
            _ = records[0].json


def test_exchanges_have_a_bound_too():
    with Harness(max_records=5) as api:
        api.get("/x").returns(204)
        for _ in range(8):
            fetch(api.url, "/x")
        assert [record.number for record in api.records] == [4, 5, 6, 7, 8]
        with pytest.raises(AssertionError, match="first 3 requests are not kept"):
            api.received("GET", "/x").times(8)


def test_messages_are_looked_up_and_bounded_as_bodies_are():
    with Harness(max_body=10, strict=False) as api:
        api.websocket().calls(lambda request: [None for _ in request.accept()] and None)
        with Client(api.url, "/chat") as client:
            client.open()
            client.text("short")
            client.text("much too long")
            client.close(1000)
            client.closing()
        record = api.wait_for("WEBSOCKET", message=contains("hor")).once().wait_ended()
        assert record.received_messages == ["short", ""]
        assert [message.size for message in record.messages] == [5, 13]
        api.received("WEBSOCKET", message="other").never()


def test_what_cannot_be_read_is_noted_too(api):
    with Wire(api.url) as wire:
        wire.send(b"NONSENSE\r\n\r\n")
        assert wire.head().status == 400
    record = api.records[0]
    assert (record.outcome, record.status, record.line) == ("refused", 400, "NONSENSE")
    assert "NONSENSE" in api.transcript()


def test_a_reset_forgets_everything(api):
    fetch(api.url, "/x")
    api.reset()
    assert (api.records, api.stubs) == ([], [])
    fetch(api.url, "/x")
    assert [record.number for record in api.records] == [1]
