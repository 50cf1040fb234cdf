"""The Proxy-Status field (RFC 9209): on the wire, what kind of error a proxy met."""

from __future__ import annotations

import re

from rolo.errors import RoloError

_TOKEN = re.compile(r"[A-Za-z*][!#$%&'*+\-.^_`|~:/0-9A-Za-z]*")
_TEXT = re.compile(r"[\x20-\x7e]+")


def proxy_status(name: str, error: BaseException) -> str | None:
    """Return the value of Proxy-Status for the answer that stands for ``error``, ``None``
    if there is nothing to say.

    It names the kind of error only: neither addresses nor messages, which are not for
    clients to know.

    :param name: what this proxy calls itself (RFC 9209 section 2)
    """
    kind = error.proxy_status if isinstance(error, RoloError) else "proxy_internal_error"
    if kind is None:
        return None
    value = f"{_item(name)}; error={kind}"
    if kind == "http_request_error" and isinstance(error, RoloError):
        value += f"; status-code={error.status}"
    return value


def check_name(name: str | None) -> str | None:
    """Return ``name``.

    :raises ValueError: it cannot stand in a Proxy-Status field
    """
    if name is not None and _TEXT.fullmatch(name) is None:
        raise ValueError(f"not a name for Proxy-Status: {name!r}")
    return name


def _item(name: str) -> str:
    """``name`` as a token, or a string, of RFC 8941."""
    if _TOKEN.fullmatch(name):
        return name
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
