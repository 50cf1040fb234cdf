"""What of a client's request does not reach the upstream. Pure."""

from __future__ import annotations

import dataclasses

from rolo.errors import BadRequest
from rolo.wire.fields import RawHeaders
from rolo.wire.received import ReceivedFields, received

# What CGI-like origins would merge these names into: fields that we write, remove, or that
# say what a message is. Whoever lets other names with underscores pass keeps these out.
_VOUCHED_FOR = frozenset(
    b"connection content-encoding content-length content-range content-type expect forwarded "
    b"host http2-settings keep-alive proxy-authorization proxy-connection te trailer "
    b"transfer-encoding upgrade via x-forwarded-for x-forwarded-host x-forwarded-port "
    b"x-forwarded-prefix x-forwarded-proto x-forwarded-server".split()
)


@dataclasses.dataclass(frozen=True, slots=True)
class RequestRules:
    """Which requests, and which of their fields, are passed on."""

    underscores_in_headers: bool = False
    """Let fields pass whose names have underscores, but for those that a CGI-like origin
    takes for one we vouch for (``X_Forwarded_For``). As nginx, by default none passes."""
    refuse_dot_segments: bool = False
    """Answer 400 to paths with ``.`` and ``..`` segments, however they are written."""

    def passed(self, headers: RawHeaders, came: RawHeaders | None) -> RawHeaders:
        """Return those of ``headers`` that may pass.

        :param came: what the client sent; a name that it did not send is ours, and passes
        """
        names = received(came).underscored if came else None
        if not names:
            return headers
        if self.underscores_in_headers:
            names = {name for name in names if name.replace(b"_", b"-") in _VOUCHED_FOR}
        if isinstance(headers, ReceivedFields):
            return headers.without(names)
        return [field for field in headers if field[0].lower() not in names]

    def check_path(self, path: bytes) -> None:
        """:raises BadRequest: ``path`` has a dot segment, and such are refused"""
        if self.refuse_dot_segments and has_dot_segment(path):
            raise BadRequest("a dot segment in the path")


DEFAULT_RULES = RequestRules()


def has_dot_segment(path: bytes) -> bool:
    """Whether somebody may read a segment of ``path`` as ``.`` or ``..``: percent-encoded,
    between encoded slashes or backslashes, or with parameters behind it (``..;x``)."""
    read = path.lower().replace(b"%2e", b".").replace(b"%2f", b"/")
    read = read.replace(b"%5c", b"/").replace(b"\\", b"/").replace(b"%3b", b";")
    return any(segment.partition(b";")[0] in (b".", b"..") for segment in read.split(b"/"))
