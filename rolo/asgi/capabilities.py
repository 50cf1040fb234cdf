"""What the server below an ASGI call can do."""

from __future__ import annotations

import functools
import typing as t

from rolo.asgi.environ import Scope
from rolo.asgi.watch import Send
from rolo.bridge.downstream import Capabilities

# Servers, by the module of their ``send``, that write field names to HTTP/1 as they are given.
_AS_GIVEN = ("hypercorn.protocol.", "uvicorn.protocols.http.h11_impl")


def capabilities_of(scope: Scope, send: Send) -> Capabilities:
    """Return what the server that made ``scope`` can do: by its word if an adapter of ours
    runs it, else by the extensions it names.

    :param send: the server's own, or that of a middleware, which may look for names in lower
        case as the specification has them
    """
    state = scope.get("state")
    if state is not None:
        known = state.get("rolo.capabilities")
        if known is not None:
            return t.cast(Capabilities, known)
    extensions = scope.get("extensions") or {}
    return _of_extensions(
        "http.response.early_hint" in extensions,
        "websocket.http.response" in extensions,
        scope.get("http_version", "1.1")[0] == "1" and _sends_names_as_given(send),
    )


def _sends_names_as_given(send: Send) -> bool:
    return type(getattr(send, "__self__", None)).__module__.startswith(_AS_GIVEN)


@functools.cache
def _of_extensions(interim: bool, denial: bool, header_case: bool) -> Capabilities:
    return Capabilities(interim=interim, denial=denial, header_case=header_case)
