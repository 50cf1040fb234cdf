"""Faults are values: what they take, and what they say of mistakes."""

import random

import pytest

from rolo import faults
from rolo.faults.fault import jittered


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("10k/s", 10_000),
        ("1.5 MB/s", 1_500_000),
        ("64Ki/s", 65_536),
        ("2KiB/s", 2048),
        ("1G/s", 10**9),
        ("800/s", 800),
        (12.5, 12.5),
    ],
)
def test_a_rate_is_written_as_people_write_it(written, meant):
    assert faults.bytes_per_second(written) == meant


@pytest.mark.parametrize("written", ["10k", "fast", "10 k / s", "-1/s", 0, -1, float("inf")])
def test_a_rate_that_means_nothing_is_an_error(written):
    with pytest.raises(ValueError, match="a rate is"):
        faults.bytes_per_second(written)


@pytest.mark.parametrize(
    "make",
    [
        lambda: faults.cut(after=-1),
        lambda: faults.cut(within="tail"),
        lambda: faults.hang(after=1.5),
        lambda: faults.late(-1),
        lambda: faults.late(1, jitter=float("nan")),
        lambda: faults.drip(size=0),
        lambda: faults.rate("1k/s", jitter=2),
        lambda: faults.garbage(0),
        lambda: faults.malformed_head("nonsense"),
        lambda: faults.oversized_head(0),
        lambda: faults.bad_chunk("nonsense"),
        lambda: faults.wrong_length(0),
        lambda: faults.status(99),
        lambda: faults.reorder(by=0),
        lambda: faults.delay(-1),
        lambda: faults.silence(-1),
        lambda: faults.silence(1, seconds=-1),
        lambda: faults.drop(every=0),
        lambda: faults.lose(-1),
        lambda: faults.close_with(1006),
        lambda: faults.fragment(0),
    ],
)
def test_a_fault_that_makes_no_sense_is_an_error(make):
    with pytest.raises(ValueError, match=r"is|are"):
        make()


def test_equal_faults_are_equal_and_may_be_kept_in_sets():
    assert {faults.cut(3), faults.cut(3), faults.drop(every=2)} == {
        faults.cut(3),
        faults.drop(every=2),
    }
    assert repr(faults.cut(3)) == "Cut(after=3, within='body')"


def test_jitter_is_drawn_evenly_around_and_never_below_zero():
    draw = random.Random(1)
    drawn = [jittered(0.1, 0.2, draw) for _ in range(1000)]
    assert min(drawn) == 0
    assert 0.29 < max(drawn) <= 0.3
    assert jittered(0.1, 0, draw) == 0.1
