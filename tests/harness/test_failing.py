"""Stubs and passing traffic that go wrong: the words for it, and where they reach."""

import pytest
from websocket_origin import Client
from wire import Truncated, Wire, fetch

from rolo import Response
from rolo.faults import close_with, cut, faulty, raw, reset, status
from rolo.harness import Harness, Unverified, lose, send
from rolo.harness.failing import slowness


def outcomes(url, target, count):
    """Return status and size of each answer, or the error in its place."""
    got = []
    for _ in range(count):
        try:
            answer = fetch(url, target)
        except (Truncated, ConnectionError) as exc:
            got.append(type(exc).__name__)
        else:
            got.append((answer.status, len(answer.body)))
    return got


def test_an_answer_fails_each_nth_time():
    with Harness() as api:
        api.get("/x").returns("y" * 5000).fails(cut(after=1000), every=3)
        well = (200, 5000)
        assert outcomes(api.url, "/x", 4) == [well, well, "Truncated", well]
        assert "went wrong: Cut(" in api.transcript()
        assert api.received("GET", "/x")[2].outcome == "aborted"


def test_a_stub_may_do_nothing_but_fail_and_then_recover():
    with Harness() as api:
        api.get("/x").fails(reset()).times(2).then("well").forever()
        assert outcomes(api.url, "/x", 3) == ["ConnectionResetError"] * 2 + [(200, 4)]
        api.get("/y").returns("a").then().fails(status(503)).then("b")
        assert [each[0] for each in outcomes(api.url, "/y", 3)] == [200, 503, 200]


def test_whatever_a_stub_does_may_fail():
    with Harness() as api:
        api.get("/calls").calls(lambda request: "x" * 100).fails(cut(after=10))
        api.get("/streams").streams("x" * 50, "x" * 50).fails(cut(after=10))
        for path in ("/calls", "/streams"):
            with pytest.raises(Truncated):
                fetch(api.url, path)


def test_websockets_fail_too():
    with Harness() as api:
        api.websocket("/lost").plays(send("hi"), lose())
        api.websocket("/closed").fails(close_with(4002))
        with Client(api.url, "/lost") as client:
            client.open()
            assert client.message() == "hi"
            with pytest.raises((Truncated, ConnectionResetError)):
                client.frame()
        with Client(api.url, "/closed") as client:
            client.open()
            assert client.closing()[0] == 4002
        assert api.wait_for("WEBSOCKET", "/lost").once().wait_ended().closed.code == 1006


def test_raw_bytes_and_answers_that_fail_are_answers():
    with Harness() as api:
        api.get("/raw").returns(raw(b"HTTP/1.1 200 Sure\r\nX: 1\r\n\r\nrest"))
        api.get("/faulty").returns(faulty(Response("y" * 5000, 201), cut(after=1000)))
        for _ in range(2):
            with Wire(api.url) as wire:
                wire.request("GET", "/raw")
                head = wire.head()
                assert (head.reason, head.get("x"), wire.read_rest()) == ("Sure", "1", b"rest")
            assert outcomes(api.url, "/faulty", 1) == ["Truncated"]


def test_what_passes_fails_and_what_is_stubbed_does_not():
    with Harness() as origin, Harness(origin.url) as api:
        origin.any("/<path:_>").returns("x" * 5000)
        api.get("/c/stub").returns("x" * 5000)
        traffic = api.passing("/c/<path:_>").fails(cut(after=10), every=2)
        assert outcomes(api.url, "/c/1", 3) == [(200, 5000), "Truncated", (200, 5000)]
        assert outcomes(api.url, "/c/stub", 2) == [(200, 5000)] * 2
        assert outcomes(api.url, "/d", 2) == [(200, 5000)] * 2
        assert (traffic.rules[0].seen, traffic.rules[0].hits) == (3, 1)
        traffic.heal()
        assert outcomes(api.url, "/c/1", 2) == [(200, 5000)] * 2


def test_requests_fail_on_their_way_up():
    with Harness(strict=False) as origin, Harness(origin.url) as api:
        origin.post("/x").returns(200)
        api.passing("/x", "POST").fails(cut(after=10), direction="up")
        assert fetch(api.url, "/x", "POST", [], b"y" * 100).status == 502
        record = origin.wait_for("POST", "/x", whole=False).once().wait_ended()
        assert (record.size, record.outcome) == (10, "client_left")


def test_an_outage_is_a_block():
    with Harness() as api:
        api.get("/x").returns("well")
        with api.everything("/x").outage():
            assert outcomes(api.url, "/x", 1)[0] in ("ConnectionResetError", "Truncated")
        assert outcomes(api.url, "/x", 1) == [(200, 4)]
        with api.everything().outage(status(503)):
            assert fetch(api.url, "/nowhere").status == 503
            with Client(api.url, "/chat") as client:
                assert client.answer().status == 503
        api.forgive()


def test_chance_comes_from_the_seed():
    def drawn(seed):
        with Harness(seed=seed) as api:
            api.get("/x").returns("well").fails(status(503), probability=0.5)
            return [code for code, _ in outcomes(api.url, "/x", 20)]

    first = drawn(1)
    assert drawn(1) == first != drawn(2)
    assert {200, 503} == set(first)


def test_slowness_is_a_late_head_or_a_rate():
    assert [type(each).__name__ for each in slowness(0.5, "10k/s", 0.1)] == ["Late", "Rate"]
    with pytest.raises(TypeError, match="slowed"):
        slowness(None, None, 0.0)
    with Harness() as origin, Harness(origin.url) as api:
        origin.get("/x").returns("late")
        api.get("/y").returns("late").slowed(head=0.01)
        api.passing("/x").slowed(head=0.01, rate="1M/s")
        for path in ("/x", "/y"):
            assert fetch(api.url, path).body == b"late"
            assert api.received("GET", path).once().answer.at >= 0.009


def test_mistakes_are_told_where_they_are_made():
    with Harness() as api:
        for wrong in (
            lambda: api.get("/x").fails(),
            lambda: api.get("/x").fails("cut"),
            lambda: api.passing("/x").fails(cut(after=1), every=0),
        ):
            with pytest.raises((TypeError, ValueError)):
                wrong()
        api.reset()


def test_a_fault_that_the_server_cannot_do_fails_the_test():
    with Harness(server="uvicorn") as api:
        api.get("/x").returns("x").fails(reset())
        assert fetch(api.url, "/x").status == 500
        with pytest.raises(Unverified, match="the native server gives it"):
            api.verify()
        api.forgive()
