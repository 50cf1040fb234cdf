"""What happens to events and messages, without a socket."""

import random

import pytest

from rolo.faults import corrupt, delay, drop, duplicate, reorder, silence
from rolo.faults.units import MAX_EVENT, EventSplitter, Pause, corrupted


def passed(fault, units, seed=1):
    """Return what passes of ``units``; what is held back at the end comes after None."""
    changer = fault.changer(random.Random(seed))
    out = [new for unit in units for new in changer.feed(unit)]
    rest = changer.flush()
    return [*out, None, *rest] if rest else out


@pytest.mark.parametrize(
    ("fault", "comes"),
    [
        (drop(every=2), ["1", "3", "5"]),
        (drop(), []),
        (duplicate(first=1), ["1", "1", "2", "3", "4", "5"]),
        (duplicate(after=3), ["1", "2", "3", "4", "4", "5", "5"]),
        (reorder(every=2), ["1", "3", "2", "5", "4"]),
        (reorder(every=None), ["2", "1", "4", "3", None, "5"]),
        (reorder(by=2, first=1, every=None), ["2", "3", "1", "4", "5"]),
        (delay(0.5, every=4), ["1", "2", "3", Pause(0.5), "4", "5"]),
        (silence(2, 7), ["1", "2", Pause(7), "3", "4", "5"]),
        (silence(0), [Pause(None), "1", "2", "3", "4", "5"]),
        (corrupt(every=5), ["1", "2", "3", "4", "#"]),
    ],
    ids=repr,
)
def test_units_are_changed(fault, comes):
    assert passed(fault, "12345") == comes


def test_chance_is_that_of_the_seed():
    units = [str(number) for number in range(200)]
    fault = drop(probability=0.3)
    assert passed(fault, units, 1) == passed(fault, units, 1) != passed(fault, units, 2)
    assert 110 < len(passed(fault, units)) < 170


@pytest.mark.parametrize("unit", ["text", "#", "", b"bytes\n", b"data: x\r\n\r\n"])
def test_what_is_corrupted_is_another_one_of_the_same_kind(unit):
    for seed in range(50):
        new = corrupted(unit, random.Random(seed))
        assert new != unit
        assert type(new) is type(unit)
        if isinstance(unit, bytes):
            assert len(new) == len(unit)
            ends = [at for at, byte in enumerate(unit) if byte in b"\r\n"]
            assert [at for at, byte in enumerate(new) if byte in b"\r\n"] == ends


def test_what_is_only_line_ends_is_left_as_it_is():
    assert corrupted(b"\n\n", random.Random(1)) == b"\n\n"


EVENTS = [b"data: 1\n\n", b": note\r\n\r\n", b"id: 2\rdata: x\r\r", b"data: 3\r\n\n"]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_a_stream_is_cut_into_events_however_it_comes(size):
    stream = b"".join(EVENTS) + b"data: rest"
    splitter = EventSplitter()
    found = []
    for start in range(0, len(stream), size):
        found += splitter.feed(stream[start : start + size])
    assert found == EVENTS
    assert splitter.rest() == b"data: rest"
    assert splitter.rest() == b""


def test_a_line_end_in_two_pieces_is_one():
    splitter = EventSplitter()
    assert splitter.feed(b"data: 1\r") == []
    assert splitter.feed(b"\ndata: 2\r\n\r") == []
    assert splitter.feed(b"\n") == [b"data: 1\r\ndata: 2\r\n\r\n"]


def test_what_has_no_end_passes_at_some_point():
    splitter = EventSplitter()
    piece = b"x" * 1000
    found = []
    while not found:
        found = splitter.feed(piece)
    assert MAX_EVENT < len(found[0]) <= MAX_EVENT + 1000
