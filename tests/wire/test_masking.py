"""The keys of frames, and masking with and without C."""

import sys
import types

import pytest

from rolo.wire import masking
from rolo.wire.masking import _KEYS_AT_ONCE, _fastest, fresh_key, mask_in_python


def test_the_system_is_asked_for_many_keys_at_once_and_each_is_used_once(monkeypatch):
    asked = []
    monkeypatch.setattr(masking, "_keys", keys := [])
    random = bytes(range(256)) * 4

    def urandom(count):
        asked.append(count)
        return random[:count]

    monkeypatch.setattr(masking.os, "urandom", urandom)
    given = [fresh_key() for _ in range(_KEYS_AT_ONCE)]
    assert (asked, keys) == ([4 * _KEYS_AT_ONCE], [])
    assert sorted(given) == sorted(random[i : i + 4] for i in range(0, len(random), 4))
    fresh_key()
    assert len(asked) == 2


@pytest.mark.parametrize("length", [0, 1, 3, 4, 5, 8, 67])
def test_each_byte_is_masked_with_its_byte_of_the_key(length):
    data, key = bytes(range(100, 100 + length)), b"\x01\x80\xfe\x7f"
    expected = bytes(byte ^ key[place % 4] for place, byte in enumerate(data))
    assert mask_in_python(data, key) == expected
    assert masking.apply_mask(memoryview(data), key) == expected
    assert mask_in_python(expected, key) == data


def fails(data, key):
    raise TypeError


@pytest.mark.parametrize(
    ("theirs", "taken"),
    [
        (lambda data, key: mask_in_python(data, key), True),
        (lambda data, key: bytes(data), False),
        (fails, False),
        (None, False),
    ],
    ids=["right", "wrong", "fails", "not installed"],
)
def test_a_function_of_others_is_taken_if_it_does_the_same(monkeypatch, theirs, taken):
    module = None if theirs is None else types.SimpleNamespace(apply_mask=theirs)
    monkeypatch.setitem(sys.modules, "websockets.speedups", module)
    assert (_fastest() is theirs) == (taken and theirs is not None)
    if not taken:
        assert _fastest() is mask_in_python
