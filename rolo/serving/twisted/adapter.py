"""Twisted as one of the servers that ``serve`` starts. Imports nothing of it before it runs."""

from __future__ import annotations

import importlib.util
import re

from rolo.serving.base import Fitted, Settings
from rolo.serving.loop import Lifetime
from rolo.serving.native import NativeAdapter

_OLDEST = 24


class TwistedAdapter(NativeAdapter):
    """Serves gateways by our own HTTP on a reactor of Twisted's, which none of the process sees:
    the reactor that a program installs, or runs already, is left to it.

    Options are the fields of :class:`~rolo.native.connection.NativeSettings`.
    """

    name = "twisted"
    protocols = frozenset({"http/1.1", "h2", "h2c", "websocket", "tls"})
    extra = "twisted"
    auto_loop = "asyncio"  # that of uvloop does not watch files as Twisted's reactor asks it to

    def available(self) -> str | None:
        return why_not()

    async def run(self, fitted: Fitted, settings: Settings, lifetime: Lifetime) -> None:
        from rolo.serving.twisted.served import run

        await run(fitted, settings, lifetime)


def why_not() -> str | None:
    """Return why Twisted cannot be used, in one line; ``None`` if it can be. The distribution
    may have another name: programs bring forks."""
    if importlib.util.find_spec("twisted") is None:
        return "Twisted is not installed"
    import twisted

    version = str(twisted.__version__)
    year = re.match(r"\d+", version)
    if year is None or int(year[0]) < _OLDEST:
        return f"Twisted {version} is too old: {_OLDEST} or later is needed"
    return None
