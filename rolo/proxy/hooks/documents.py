"""JSON documents, read and written so that JSON stays JSON (RFC 8259)."""

from __future__ import annotations

import json
import math
import typing as t

from rolo.errors import NotJson
from rolo.wire.charsets import UTF_8, codec_of, marked


def load_json(data: bytes, charset: str) -> t.Any:
    """Return the document in ``data``.

    :param charset: the label of the body; ``utf-8`` believes what the bytes themselves say,
        as RFC 8259 knows no such label
    :raises NotJson: there is none, or one that Python cannot hold
    :raises UnknownCharset: the label is not one of the web's
    """
    codec = codec_of(charset)
    try:
        text: str | bytes = data
        if codec is not UTF_8:
            text = data.decode(marked(data, codec).name).removeprefix("\ufeff")
        return json.loads(text, parse_float=_finite, parse_constant=_refused)
    except (ValueError, RecursionError) as exc:
        raise NotJson(f"no JSON document: {exc}") from exc


def dump_json(document: t.Any, encoding: str) -> bytes:
    """Return ``document`` as bytes, without a byte order mark.

    :raises ValueError: JSON has no such number
    """
    if encoding == UTF_8.name:
        try:
            return json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
        except UnicodeEncodeError:
            pass  # Half a surrogate pair, which only an escape can write.
    return json.dumps(document, allow_nan=False).encode(encoding)


def _finite(digits: str) -> float:
    # Written again it would be "Infinity", which is no JSON.
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"the number {digits[:40]} is out of range")
    return number


def _refused(name: str) -> t.NoReturn:
    raise ValueError(f"{name} is not JSON")
