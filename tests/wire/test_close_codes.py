"""The table of close codes, every code."""

import pytest

from rolo.wire.close_codes import passed_on

SENDABLE = [*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)]


def test_what_may_be_sent_passes_with_its_reason():
    for code in SENDABLE:
        assert passed_on(code, "why", "client") == (code, "why")
        assert passed_on(code, "why", "upstream") == (code, "why")


def test_no_code_stays_no_code():
    assert passed_on(1005, "why", "client") == (None, "")
    assert passed_on(1005, None, "upstream") == (None, "")


@pytest.mark.parametrize(("to", "code"), [("client", 1011), ("upstream", 1001)])
def test_everything_else_is_a_lost_leg(to, code):
    for other in set(range(6000)) - set(SENDABLE) - {1005}:
        assert passed_on(other, "why", to) == (code, "")


def test_a_reason_may_be_missing():
    assert passed_on(1000, None, "client") == (1000, "")
