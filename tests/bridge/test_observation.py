"""How events are handed to observers: in order, within bounds, and never waited for."""

import logging
import threading

import pytest
from looking_on import Seen

from rolo.bridge.downstream import RequestHead
from rolo.bridge.observation import Observation
from rolo.observing import AnswerBody, Ended, Interim, Missed, Observer, RequestBody, RequestStarted


@pytest.fixture
def observe():
    made = []

    def observe(*observers):
        made.append(Observation(observers))
        return made[-1]

    yield observe
    for each in made:
        each.close()
    assert not [each for each in threading.enumerate() if "rolo-observer" in each.name]


def head(**fields):
    given = {"headers": [], "http_version": "1.1", "scheme": "http", "path": "/", "query": b""}
    return RequestHead("GET", b"/", **{**given, **fields})


class Stuck(Seen):
    """Hangs in the first event until it is let go."""

    def __init__(self):
        super().__init__()
        self.entered, self.go = threading.Event(), threading.Event()

    def on_request(self, event):
        self.entered.set()
        assert self.go.wait(5)
        self.told(event)


def test_events_come_in_order_and_close_comes_last(observe):
    seen = Seen()
    observation = observe(seen)
    exchange = observation.begin("http", head())
    for number in range(5):
        observation.tell(AnswerBody, exchange, b"%d" % number)
    observation.close()
    assert isinstance(seen.next(), RequestStarted)
    assert [seen.next().data for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]
    assert seen.closed


def test_what_nobody_overrides_is_not_even_made(observe):
    class Ends(Observer):
        def on_end(self, event): ...

    observation = observe(Ends())
    exchange = observation.begin("http", head())
    observation.tell(Interim, exchange, "neither", "the", "right", "number", "of", "fields")
    assert not [each for each in threading.enumerate() if "rolo-observer" in each.name]


@pytest.mark.parametrize("bound", [{"max_events": 4}, {"max_bytes": 4000}])
def test_a_slow_observer_misses_what_is_over_its_bound_and_is_told_how_much(observe, bound):
    slow, quick = Stuck(), Seen()
    for name, value in bound.items():
        setattr(slow, name, value)
    observation = observe(slow, quick)
    exchange = observation.begin("http", head())
    assert slow.entered.wait(5)
    for _ in range(10):
        observation.tell(RequestBody, exchange, b"x" * 1000)  # never waits: nobody takes them
    assert isinstance(quick.next(), RequestStarted)
    assert [quick.next().data for _ in range(10)] == [b"x" * 1000] * 10
    slow.go.set()
    assert isinstance(slow.next(), RequestStarted)
    pieces = []
    while isinstance(event := slow.next(), RequestBody):
        pieces.append(event)
    assert 0 < len(pieces) <= 4
    missed = 10 - len(pieces)
    assert event == Missed(missed, missed * 1000)
    observation.tell(RequestBody, exchange, b"and on")
    assert slow.next().data == b"and on"


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
def test_an_observer_that_raises_is_logged_once_and_told_on(observe, caplog, error):
    class Raising(Seen):
        def on_request_body(self, event):
            self.told(event)
            raise error("no")

    raising = Raising()
    observation = observe(raising)
    exchange = observation.begin("http", head())
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            observation.tell(RequestBody, exchange, b"x")
        observation.tell(Ended, exchange, "complete", None, None, 200, None, 0, 0, None)
        raising.end()
    (record,) = caplog.records
    assert "Raising failed in on_request_body" in record.getMessage()


def test_an_observer_that_hangs_is_left_behind(observe, caplog):
    stuck = Stuck()
    observation = observe(stuck)
    observation.begin("http", head())
    assert stuck.entered.wait(5)
    observation.close(timeout=0)
    assert "Stuck has not finished" in caplog.text
    stuck.go.set()


def test_only_observers_observe():
    with pytest.raises(TypeError, match="not an Observer"):
        Observation([print])
