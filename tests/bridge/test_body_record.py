"""What is kept of a body: all of it from its beginning, or nothing."""

import pytest

from rolo.bridge.body_record import ALWAYS_KEPT, BodyRecord
from rolo.errors import BodyNotKept, ReplayLimitExceeded

PIECE = bytes(range(256)) * 256


@pytest.fixture
def record():
    record = BodyRecord()
    yield record
    record.close()


def test_a_small_body_is_kept_unasked_and_nothing_of_a_larger_one(record):
    assert len(PIECE) == ALWAYS_KEPT
    record.add(PIECE)
    assert record.read(0) == PIECE
    assert record.read(5, 3) == PIECE[5:8]
    record.add(b"x")
    assert (record.size, record.is_kept) == (ALWAYS_KEPT + 1, False)
    record.keep(2**20)  # too late
    for again in (record.check, lambda: record.read(0)):
        with pytest.raises(BodyNotKept) as caught:
            again()
        assert type(caught.value) is BodyNotKept


def test_a_large_one_is_kept_on_demand_up_to_a_limit(record):
    record.keep(3 * 2**20)
    for _ in range(48):
        record.add(PIECE)
    assert record.read(2**20 + 7, 300) == (PIECE[7:] + PIECE)[:300]
    assert record.read(0, -1) == PIECE * 48
    record.add(b"x")
    with pytest.raises(ReplayLimitExceeded):
        record.check()
