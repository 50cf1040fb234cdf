"""What the server below an ASGI call can do."""

from __future__ import annotations

import functools
import typing as t

from rolo.asgi.environ import Scope
from rolo.bridge.downstream import Capabilities


def capabilities_of(scope: Scope) -> Capabilities:
    """Return what the server that made ``scope`` can do: by its word if an adapter of ours
    runs it, else by the extensions it names."""
    state = scope.get("state")
    if state is not None:
        known = state.get("rolo.capabilities")
        if known is not None:
            return t.cast(Capabilities, known)
    extensions = scope.get("extensions") or {}
    return _of_extensions(
        "http.response.early_hint" in extensions, "websocket.http.response" in extensions
    )


@functools.cache
def _of_extensions(interim: bool, denial: bool) -> Capabilities:
    return Capabilities(interim=interim, denial=denial)
