"""The Proxy-Status field: which kind of error, and nothing else."""

import pytest

from rolo.errors import BadRequest, BadResponse, RoloError
from rolo.wire.proxy_status import check_name, proxy_status


class Unsaid(RoloError):
    proxy_status = None


@pytest.mark.parametrize(
    ("name", "error", "value"),
    [
        ("rolo", BadResponse("x"), "rolo; error=http_protocol_error"),
        ("rolo", BadRequest("x"), "rolo; error=http_request_error; status-code=400"),
        ("rolo", ValueError("x"), "rolo; error=proxy_internal_error"),
        ("rolo", Unsaid("x"), None),
        ("*a!#:/-9", BadResponse("x"), "*a!#:/-9; error=http_protocol_error"),
        ("9a", BadResponse("x"), '"9a"; error=http_protocol_error'),
        ("an edge", BadResponse("x"), '"an edge"; error=http_protocol_error'),
        ('a"b\\', BadResponse("x"), '"a\\"b\\\\"; error=http_protocol_error'),
    ],
)
def test_the_kind_is_named_and_neither_address_nor_message(name, error, value):
    assert proxy_status(name, error) == value


@pytest.mark.parametrize("name", ["", "caf\xe9", "a\nb", "a\x7f"])
def test_a_name_that_no_field_can_hold_is_refused(name):
    with pytest.raises(ValueError, match="not a name for Proxy-Status"):
        check_name(name)


@pytest.mark.parametrize("name", [None, "rolo", "an edge", "~"])
def test_any_other_name_will_do(name):
    assert check_name(name) == name
