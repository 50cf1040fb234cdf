"""Websocket messages as tests write them."""

from __future__ import annotations

import json
import typing as t


def message_of(message: t.Any) -> str | bytes:
    """Return what is sent for ``message``."""
    if isinstance(message, str | bytes):
        return message
    if hasattr(message, "model_dump_json"):
        return str(message.model_dump_json())
    return json.dumps(message)


def as_wanted(message: str | bytes, wanted: t.Any) -> t.Any:
    """Return the message itself, or the JSON in it if that is what is wanted."""
    is_model = isinstance(wanted, type) and not issubclass(wanted, str | bytes)
    if isinstance(wanted, dict | list | int | float) or is_model:
        try:
            return json.loads(message)
        except (ValueError, RecursionError):
            return message
    return message
