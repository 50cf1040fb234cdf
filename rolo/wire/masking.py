"""Masking of frames (RFC 6455 section 5.3): the keys, and the exclusive or."""

from __future__ import annotations

import os
import typing as t

Buffer = bytes | bytearray | memoryview

_KEYS_AT_ONCE = 256
_keys: list[bytes] = []
# A child process must not go on with the keys of its parent.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keys.clear)


def fresh_key() -> bytes:
    """Return a key that nobody can predict and that was never used before.

    Any thread. The system is asked for many at a time, since asking costs more than
    masking a small message does.
    """
    while True:
        try:
            return _keys.pop()
        except IndexError:
            random = os.urandom(4 * _KEYS_AT_ONCE)
            _keys.extend(random[i : i + 4] for i in range(0, len(random), 4))


def mask_in_python(data: Buffer, key: bytes) -> bytes:
    """As :func:`apply_mask`, without help from C."""
    length = len(data)
    pad = key * (length // 4) + key[: length % 4]
    return (int.from_bytes(data, "little") ^ int.from_bytes(pad, "little")).to_bytes(
        length, "little"
    )


def _fastest() -> t.Callable[[Buffer, bytes], bytes]:
    try:
        # A hundred times faster for 64 KiB, where that library happens to be installed.
        from websockets.speedups import apply_mask
    except ImportError:
        return mask_in_python
    sample, key = memoryview(bytes(range(67))), b"\x01\x80\xfe\x7f"
    try:
        fits = apply_mask(sample, key) == mask_in_python(sample, key)
    except Exception:  # noqa: BLE001 - whatever it is, we do without
        fits = False
    return apply_mask if fits else mask_in_python


apply_mask: t.Callable[[Buffer, bytes], bytes] = _fastest()
"""Mask or unmask: return ``data`` exclusive-or'ed with the four bytes of ``key``, repeated."""
