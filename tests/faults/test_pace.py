"""Answers that are right, and too slow: how long they sleep, and what comes."""

import pytest
from faults_support import BODY, answering
from wire import Wire, fetch

from rolo import faults
from rolo.faults import Faults, faulty
from rolo.gateway import Gateway
from rolo.portal.portal import LoopScope
from rolo.response import Response
from rolo.serving import Limits, serve


@pytest.fixture
def slept(monkeypatch):
    """What faults would have slept, in order."""
    slept = []

    async def sleep(self, seconds):
        slept.append(seconds)
        return self.stopping

    monkeypatch.setattr(LoopScope, "sleep", sleep)
    return slept


@pytest.fixture(params=["native-loop", "native-threads", "uvicorn-threads", "hypercorn-loop"])
def served(request, start):
    """Serve an answer with a fault in it, on a server of each kind."""
    server, mode = request.param.split("-")

    def served(fault, body=BODY, seed=1):
        rules = Faults(seed)
        rules.add(fault)
        return start(rules.handler, answering(lambda: Response(body)), server=server, mode=mode)

    return served


def test_a_head_is_late(served, slept):
    url = served(faults.late(0.5, jitter=0.2))
    assert fetch(url).body == BODY
    assert fetch(url).body == BODY
    assert len(set(slept)) == 2
    assert all(0.3 <= seconds <= 0.7 for seconds in slept)


def test_a_body_drips(served, slept):
    assert fetch(served(faults.drip(size=30, every=0.1))).body == BODY
    assert slept == [0.1] * 4


def test_a_body_has_a_bandwidth(served, slept):
    # Each part is due when the ones before it are over; no time passes here between them.
    assert fetch(served(faults.rate("1k/s"))).body == BODY
    assert len(slept) == 2  # a twentieth of a second at once
    assert slept[-1] == pytest.approx(0.1, abs=0.02)


def test_a_bandwidth_may_jitter_by_the_seed(start, slept):
    def totals(seed):
        slept.clear()
        response = faulty(Response(BODY * 10), faults.rate("1k/s", jitter=0.5), seed=seed)
        fetch(start(answering(lambda: response)))
        return slept[-1]

    first = totals(1)
    assert first != pytest.approx(1.0, abs=0.001)
    assert first == pytest.approx(totals(1), abs=0.05)


def test_a_slow_answer_holds_up_nobody(start):
    rules = Faults()
    rules.add(faults.drip(size=1, every=60), when="/slow")
    url = start(rules.handler, answering(lambda: Response(BODY)), mode="loop")
    with Wire(url) as slow:
        slow.request("GET", "/slow")
        assert slow.head().status == 200
        assert fetch(url, "/quick").body == BODY


def test_a_slow_answer_is_no_client_that_takes_nothing(start):
    url = start(
        # Of a body that is here at once nobody waits for the client.
        answering(lambda: faulty(Response(iter([BODY])), faults.drip(size=50, every=0.3))),
        limits=Limits(send_timeout=0.1),
    )
    assert fetch(url).body == BODY


def test_what_sleeps_goes_on_at_once_when_the_server_stops():
    rules = Faults()
    rules.add(faults.drip(size=10, every=60))
    gateway = Gateway([rules.handler, answering(lambda: Response(BODY))])
    with serve(gateway, server="native", shutdown_timeout=50) as server, Wire(server.url) as wire:
        wire.request("GET", "/")
        head = wire.head()
        server.shutdown()
        assert wire.body(head) == BODY
