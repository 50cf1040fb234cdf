"""Each limit holds exactly: what is as large as it passes, what is one larger does not."""

import pytest

from rolo import errors
from rolo.bridge.downstream import RequestHead
from rolo.bridge.limits import Limits


def head(target=b"/", headers=(), size=0):
    return RequestHead("GET", target, list(headers), "1.1", "http", "/", b"", size=size)


@pytest.mark.parametrize(
    ("limits", "error", "of"),
    [
        (Limits(max_target=10), errors.TargetTooLong, lambda n: head(b"/" + b"a" * (9 + n))),
        (Limits(max_fields=2), errors.HeadTooLarge, lambda n: head(headers=[(b"A", b"")] * (2 + n))),
        (Limits(max_head=100), errors.HeadTooLarge, lambda n: head(size=100 + n)),
        # Where the server does not tell: the target, and each field with ": " and its line end.
        (Limits(max_head=100), errors.HeadTooLarge,
         lambda n: head(b"/", [(b"A", b"a" * 40), (b"B", b"b" * (49 + n))])),
        (Limits(max_body=10), errors.ContentTooLarge,
         lambda n: head(headers=[(b"CONTENT-length", b"%d" % (10 + n))])),
    ],
)  # fmt: skip
def test_a_head_may_be_as_large_as_each_limit_and_no_larger(limits, error, of):
    limits.check_head(of(0))
    with pytest.raises(error):
        limits.check_head(of(1))


def test_a_size_that_the_server_tells_is_believed():
    Limits(max_head=100).check_head(head(headers=[(b"A", b"a" * 200)], size=100))


@pytest.mark.parametrize(
    ("limits", "check", "most", "error"),
    [
        (Limits(max_body=10), Limits.check_body, 10, errors.ContentTooLarge),
        (Limits(max_exchanges=10), Limits.check_exchanges, 10, errors.TooManyExchanges),
        (Limits(max_queued=10), Limits.check_queued, 9, errors.TooManyExchanges),  # one more waits
    ],
)
def test_as_much_passes_as_each_limit_says_and_no_more(limits, check, most, error):
    check(limits, most)
    with pytest.raises(error):
        check(limits, most + 1)
    nothing = Limits(max_body=None, max_exchanges=None, max_queued=None)
    check(nothing, 2**63)


@pytest.mark.parametrize("value", [0, -1, 0.0])
def test_a_limit_below_anything_is_refused_and_none_is_not(value):
    with pytest.raises(ValueError, match="max_body"):
        Limits(max_body=value)
    Limits(max_body=None, send_timeout=0.1)
