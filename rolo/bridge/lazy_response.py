"""Responses that cost nothing until somebody looks at them.

A gateway hands an empty response to its chain, and a proxy fills it with an upstream's
answer. When no handler looks at it, neither werkzeug's headers nor its status are ever
built: the raw pairs go out as they came.
"""

from __future__ import annotations

import dataclasses
import typing as t

from werkzeug.datastructures import Headers
from werkzeug.wrappers import Response as WerkzeugResponse

from rolo.net.body import body_of
from rolo.response import Response
from rolo.wire.fields import RawHeaders


@dataclasses.dataclass(slots=True, eq=False)
class UpstreamAnswer:
    """An answer as an upstream gave it. Whoever has it closes ``body``."""

    status: int
    reason: bytes
    headers: RawHeaders
    """On its way to the client hop-by-hop fields are gone; before, they are as received."""
    body: t.Any  # Body | list[bytes]
    version: str = "1.1"
    """``"1.0"`` or ``"1.1"``."""
    reused: bool = False
    """It came over a connection that had carried others before."""
    retried: str | None = None
    """Why the request was sent twice; ``None`` if it was not."""
    as_received: bool = False
    """Head and framing are those that our codec has read, hop-by-hop fields apart: there is
    nothing to check. Whoever lets others edit them says that it is so no more."""
    made_here: bool = False
    """It comes from no upstream: a handler made it, and its head is as it is to be sent."""


class LazyResponse(Response):
    """A :class:`Response` that becomes one when an attribute is read or set.

    Until then it is either empty (as ``Response()``) or holds an untouched
    :class:`UpstreamAnswer`.
    """

    _answer: UpstreamAnswer | None
    _built: bool
    _is_forwarded: bool

    def __init__(self, answer: UpstreamAnswer | None = None) -> None:
        # Deliberately not the base class's __init__: that is what _build does, later.
        own = self.__dict__
        own["_answer"] = answer
        own["_built"] = False
        own["_is_forwarded"] = answer is not None and not answer.made_here

    @property
    def _untouched_answer(self) -> UpstreamAnswer | None:
        """The upstream's answer, if that is what this response holds and nobody has
        looked at it."""
        return None if self._built else self._answer

    def _hold(self, answer: UpstreamAnswer) -> None:
        """Become ``answer``, as if new. A body held before is closed."""
        own = self.__dict__
        if own["_built"] or own["_answer"] is not None:
            self.close()
            own.clear()
            own["_built"] = False
        own["_answer"] = answer
        own["_is_forwarded"] = not answer.made_here

    def update_from(self, other: t.Any) -> None:
        answer = other._untouched_answer if isinstance(other, LazyResponse) else None
        if answer is not None and not self._built:
            self._hold(answer)
            return
        self._build()
        super().update_from(other)
        self.__dict__["_is_forwarded"] = isinstance(other, LazyResponse) and other._is_forwarded

    def close(self) -> None:
        if self._built:
            super().close()
        elif self._answer is not None:
            body_of(self._answer.body).close()

    def _build(self) -> None:
        own = self.__dict__
        if own["_built"]:
            return
        own["_built"] = True
        answer = own["_answer"]
        if answer is None:
            super().__init__()
            return
        super().__init__(
            answer.body,
            status=f"{answer.status} {answer.reason.decode('latin-1')}",
            headers=Headers(
                [
                    (name.decode("latin-1"), value.decode("latin-1"))
                    for name, value in answer.headers
                ]
            ),
            direct_passthrough=False,
        )
        if not any(name.lower() == b"content-type" for name, _ in answer.headers):
            # werkzeug adds a default that the upstream did not send.
            self.headers.pop("Content-Type", None)
        # A handler may replace the body; the upstream's still has to be closed.
        WerkzeugResponse.call_on_close(self, lambda: body_of(answer.body).close())

    def __getattr__(self, name: str) -> t.Any:
        # Only called when the attribute is missing, which it is before _build.
        if self.__dict__.get("_built", True):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        self._build()
        return getattr(self, name)

    def __setattr__(self, name: str, value: t.Any) -> None:
        if not self.__dict__["_built"]:
            self._build()
        super().__setattr__(name, value)
