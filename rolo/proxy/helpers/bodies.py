"""Bodies of some media types through a function."""

from __future__ import annotations

import typing as t

from rolo.proxy.hooks.context import ProxyContext
from rolo.proxy.hooks.editable import DEFAULT_WHOLE_LIMIT, OutboundRequest, ProxiedResponse
from rolo.proxy.hooks.hooks import Hooks
from rolo.proxy.hooks.transform import (
    ChunkFunction,
    ChunkGenerator,
    LineFunction,
    LineGenerator,
    wants_parts,
)


class TransformBodies(Hooks):
    """Passes bodies of answers through functions; give one of them.

    Requests are made fit for it: codings that cannot be undone are not asked for, nor parts,
    unless the function is marked :func:`~rolo.proxy.takes_parts`. A part that comes all the
    same is an error, of whatever media type: several parts come as ``multipart/byteranges``.

    :param media_types: of the bodies concerned; ``text/`` stands for all that begin so,
        none given for all
    :param chunks: see :meth:`ProxiedResponse.transform`
    :param lines: see :meth:`ProxiedResponse.transform_lines`
    :param text: see :meth:`ProxiedResponse.transform_text`
    :param json: see :meth:`ProxiedResponse.transform_json`
    :param limit: bytes of a whole body, for ``text`` and ``json``; ``None`` is no limit
    """

    def __init__(
        self,
        *media_types: str,
        chunks: ChunkFunction | ChunkGenerator | None = None,
        lines: LineFunction | LineGenerator | None = None,
        text: t.Callable[[str], str | None] | None = None,
        json: t.Callable[[t.Any], t.Any] | None = None,
        limit: int | None = DEFAULT_WHOLE_LIMIT,
    ) -> None:
        given = [function for function in (chunks, lines, text, json) if function is not None]
        if len(given) != 1:
            raise TypeError("give one of chunks, lines, text and json")
        self._function = given[0]
        self.media_types = media_types
        self._chunks = chunks
        self._lines = lines
        self._text = text
        self._json = json
        self._limit = limit

    def on_outgoing(self, context: ProxyContext, outbound: OutboundRequest) -> None:
        if not wants_parts(self._function):
            outbound.refuse_ranges()
        outbound.accept_known_codings()

    def on_response(self, context: ProxyContext, response: ProxiedResponse) -> None:
        response.refuse_part(self._function)
        media_type = response.media_type
        # 304 tells of a body, often without its type, and its validators are that body's.
        unknown = response.status == 304 and not media_type
        if not unknown and not self._concerns(media_type):
            return
        if self._chunks is not None:
            response.transform(self._chunks)
        elif self._lines is not None:
            response.transform_lines(self._lines)
        elif self._text is not None:
            response.transform_text(self._text, self._limit)
        elif self._json is not None:
            response.transform_json(self._json, self._limit)

    def _concerns(self, media_type: str) -> bool:
        return not self.media_types or any(
            media_type.startswith(wanted) if wanted.endswith("/") else media_type == wanted
            for wanted in self.media_types
        )
