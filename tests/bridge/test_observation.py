"""How events are handed to observers: in order, within bounds, and never waited for."""

import logging
import threading

import pytest
from looking_on import Seen

from rolo.bridge.downstream import RequestHead
from rolo.bridge.observation import Observation
from rolo.bridge.observed import Progress
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
    method = fields.pop("method", "GET")
    return RequestHead(method, b"/", **{**given, **fields})


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


class Slow(Seen):
    """Comes to each event only when it is let go."""

    def __init__(self):
        super().__init__()
        self.go = threading.Semaphore(0)

    def on_request(self, event):
        assert self.go.acquire(timeout=5)
        self.told(event)


def test_who_waits_goes_on_when_all_observers_were_told_what_was_before(observe):
    slow, quick = Slow(), Seen()
    observation = observe(slow, quick)
    observation.begin("http", head())
    observation.begin("http", head())
    assert not observation.wait_observed(timeout=0)
    slow.go.release()
    assert not observation.wait_observed(timeout=0)
    slow.go.release()
    assert observation.wait_observed()
    assert slow.queue.qsize() == quick.queue.qsize() == 2


def test_nothing_to_tell_is_not_waited_for(observe):
    observation = observe(Seen())
    assert observation.wait_observed(timeout=0)
    observation.begin("http", head())
    observation.close()
    assert observation.wait_observed(timeout=0)


def test_an_observer_that_waits_for_the_observers_does_not_wait_for_itself(observe):
    class Waiting(Seen):
        def on_request(self, event):
            self.told(observation.wait_observed(timeout=0))

    waiting = Waiting()
    observation = observe(waiting)
    observation.begin("http", head())
    assert waiting.next() is True


def test_who_waits_is_told_of_a_gap_first(observe):
    slow = Stuck()
    slow.max_events = 1
    observation = observe(slow)
    observation.begin("http", head())
    assert slow.entered.wait(5)
    for _ in range(3):
        observation.begin("http", head())
    slow.go.set()
    assert observation.wait_observed()
    assert Missed in [type(event) for event in slow.queue.queue]


@pytest.mark.parametrize(
    ("given", "headers", "sent", "ahead"),
    [
        pytest.param((200, "GET"), [(b"Content-Length", b"3")], b"ab", False, id="some is to come"),
        pytest.param((200, "GET"), [(b"content-length", b"3")], b"abc", True, id="all of a length"),
        pytest.param((200, "HEAD"), [(b"Content-Length", b"3")], b"", True, id="no body to HEAD"),
        pytest.param((304, "GET"), [(b"Content-Length", b"3")], b"", True, id="no body of a 304"),
        pytest.param((200, "GET"), [], b"abc", False, id="no length"),
    ],
)
def test_who_counts_bytes_knows_of_the_end_before_it_is_told(observe, given, headers, sent, ahead):
    status, method = given
    seen = Seen()
    observation = observe(seen)
    progress = Progress(observation, observation.begin("http", head(method=method)))
    progress.answer(status, b"", headers)
    progress.piece_out(sent)
    assert progress.is_ahead() is ahead
    progress.whole = True
    assert progress.is_ahead()
    waited = threading.Thread(target=lambda: seen.told(observation.wait_observed(5)))
    waited.start()
    progress.over(gone=False)
    waited.join(5)
    events = list(seen.queue.queue)
    assert events.pop() is True
    assert isinstance(events.pop(), Ended)


@pytest.mark.parametrize("bound", [{"max_events": 4}, {"max_bytes": 4000}])
def test_a_patient_observer_misses_nothing_as_whoever_is_over_its_bound_waits(observe, bound):
    class Patient(Stuck):
        patient = True

    slow = Patient()
    for name, value in bound.items():
        setattr(slow, name, value)
    observation = observe(slow)
    exchange = observation.begin("http", head())
    assert slow.entered.wait(5)
    told = []

    def tell():
        for number in range(10):
            observation.tell(RequestBody, exchange, b"%d" % number * 1000)
            told.append(number)
        observation.tell(RequestBody, exchange, b"x" * 10_000)  # larger than all that may wait

    telling = threading.Thread(target=tell)
    telling.start()
    telling.join(0.1)
    assert telling.is_alive()
    assert len(told) <= 4
    slow.go.set()
    telling.join(5)
    assert isinstance(slow.next(), RequestStarted)
    assert [slow.next().data[:1] for _ in range(10)] == [b"%d" % number for number in range(10)]
    assert len(slow.next().data) == 10_000


def test_an_observer_that_wants_it_at_once_is_told_on_the_spot(observe, caplog):
    class AtOnce(Seen):
        immediate = True

        def on_request_body(self, event):
            raise ValueError("no")

    seen = AtOnce()
    observation = observe(seen)
    exchange = observation.begin("http", head())
    assert isinstance(seen.queue.get_nowait(), RequestStarted)
    observation.tell(RequestBody, exchange, b"x")
    assert "AtOnce failed in on_request_body" in caplog.text
    assert observation.wait_observed(timeout=0)
    assert not [each for each in threading.enumerate() if "rolo-observer" in each.name]
    observation.close()
    assert seen.closed
