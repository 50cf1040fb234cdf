"""What the inspector remembers is bounded, and the oldest go first."""

import pathlib

from rolo.har.model import Entry
from rolo.inspector.kept import OVERHEAD, Kept
from rolo.inspector.records import Body, EventReader, Record
from rolo.inspector.store import Store
from rolo.observing import AnswerBody


def record(store, size=0, **more):
    number = store.new_number()
    body = Body(1 << 20, store.file(number, "request"))
    if size:
        body.write(b"x" * size)
    made = Record(number, "http", Entry("GET", "http://h/"), body)
    made.open = False
    for name, value in more.items():
        setattr(made, name, value)
    kept = Kept.of(made, store)
    store.add(kept)
    if made.pinned:
        store.pin(made, True)
    return kept


def numbers(store):
    return [each.id for each in store.all()]


def test_the_oldest_go_when_there_are_too_many():
    store = Store(max_exchanges=3)
    for _ in range(5):
        record(store)
    assert numbers(store) == [3, 4, 5]


def test_the_oldest_go_when_they_are_too_heavy():
    store = Store(max_bytes=2 * (OVERHEAD + 10_000))
    for _ in range(3):
        record(store, 10_000)
    assert numbers(store) == [2, 3]
    assert store.weight <= store.max_bytes


def test_exactly_as_heavy_as_allowed_stays():
    store = Store(max_bytes=2 * (OVERHEAD + 10_000))
    for _ in range(2):
        record(store, 10_000)
    assert numbers(store) == [1, 2]


def test_one_that_grows_makes_room_for_itself():
    store = Store(max_bytes=2 * OVERHEAD + 5000)
    first, second = record(store), record(store)
    second.grow(6000)
    assert numbers(store) == [2]
    assert first.id not in store


def test_what_is_pinned_stays():
    store = Store(max_exchanges=2)
    record(store, pinned=True)
    for _ in range(3):
        record(store)
    assert numbers(store) == [1, 4]


def test_clearing_leaves_what_is_pinned_or_open():
    store = Store()
    record(store, pinned=True)
    record(store, open=True)
    record(store)
    store.clear()
    assert numbers(store) == [1, 2]


def test_a_change_of_one_that_is_forgotten_changes_nothing():
    store = Store(max_exchanges=1)
    first = record(store)
    record(store)
    weight = store.weight
    first.add(AnswerBody, 0.0, (b"x" * 5000,))
    store.changed(first)
    assert (store.weight, numbers(store)) == (weight, [2])


def test_a_page_is_told_of_each_change_once_and_of_what_is_gone():
    store = Store(max_exchanges=2)
    record(store)
    page = store.watch()
    second = record(store)
    store.changed(second)
    record(store)
    assert page.take(10) == ([2, 3], [1])
    assert page.take(10) == ([], [])
    store.unwatch(page)
    record(store)
    assert page.take(10) == ([], [])


def test_a_body_is_kept_to_its_bound_and_counted_beyond():
    body = Body(10)
    for piece in (b"abcdef", b"ghijkl", b"mno"):
        body.write(piece)
    assert (body.read(), body.size, body.kept, body.held) == (b"abcdefghij", 15, 10, 10)


def test_a_large_body_goes_into_a_file_whole_and_the_file_goes_with_it(tmp_path):
    store = Store(directory=tmp_path / "bodies")
    path = pathlib.Path(store.file(1, "answer"))
    body = Body(10, path)
    body.write(b"abcdefgh")
    assert not path.exists()
    body.write(b"ijklmnop")
    body.write(b"q")
    assert (body.read(), body.size, body.kept, body.held) == (b"abcdefghijklmnopq", 17, 17, 0)
    body.discard()
    assert not path.exists()


def test_events_are_read_however_they_are_cut():
    stream = (
        b"data: one\n\nevent: tick\r\ndata: two\r\ndata: three\r\n\r\n: nothing\n\ndata: four\r\r"
    )
    for size in range(1, len(stream)):
        reader = EventReader()
        pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
        found = [(event.event, event.data) for piece in pieces for event, _ in reader.feed(piece)]
        assert found[:2] == [(None, "one"), ("tick", "two\nthree")]
    reader = EventReader()
    assert [event.data for event, _ in reader.feed(stream + b"\n")][-1] == "four"
