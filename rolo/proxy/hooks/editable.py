"""What hooks see and edit: the request that goes out, and the answer that comes back."""

from __future__ import annotations

import json
import typing as t

from werkzeug.http import parse_options_header

from rolo.bridge.lazy_response import UpstreamAnswer
from rolo.errors import BodyTooLarge
from rolo.portal.portal import Portal
from rolo.proxy.hooks.bodies import (
    TransformedUpload,
    UploadPieces,
    pipeline,
    tap_upload,
    tapped,
    upload_pieces,
)
from rolo.proxy.hooks.transform import (
    ChunkFunction,
    ChunkGenerator,
    EventFunction,
    EventGenerator,
    LineFunction,
    LineGenerator,
    Stage,
    call,
    chunk_stage,
    event_stage,
    is_generator,
    line_stage,
    name_of,
)
from rolo.upstream.request import AsyncBody, UpstreamRequest
from rolo.wire.content_codings import decode, encode, known_codings, parse_codings
from rolo.wire.fields import HeaderFields

if t.TYPE_CHECKING:
    from rolo.upstream.websocket import Handshake

DEFAULT_WHOLE_LIMIT = 16 * 1024 * 1024
"""Bytes of a body that is read whole, after decoding."""

# Checksums of the bytes that were there before (RFC 9530, RFC 3230, RFC 1864).
_DIGESTS = ("Content-Digest", "Repr-Digest", "Digest", "Content-MD5")


class _Body:
    """A body that hooks read whole or pass through functions."""

    headers: HeaderFields

    # Most bodies need none of these: what an instance does not set costs it nothing.
    stages: t.Sequence[Stage] = ()
    plain: bytes | None = None
    """What was put in the place of the body, before any coding."""
    prompt = True
    """No stage may wait or go on for ever: a small body is one step."""

    @property
    def media_type(self) -> str:
        """``Content-Type`` without its parameters, in lower case; empty if there is none."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    @property
    def charset(self) -> str:
        """The charset that ``Content-Type`` names, ``utf-8`` if it names none."""
        return parse_options_header(self.headers.get("Content-Type", ""))[1].get("charset", "utf-8")

    @property
    def codings(self) -> list[str]:
        """The content codings of the body, in the order they were applied."""
        return parse_codings(self.headers.get("Content-Encoding"))

    def transform(self, function: ChunkFunction | ChunkGenerator) -> None:
        """Pass the body, decoded, through ``function``, as it comes: ``function(piece)``
        for each piece of bytes, or a generator function over all pieces.

        Functions given one after the other see what the one before has made.
        """
        self._add(chunk_stage(function), function)

    def transform_lines(self, function: LineFunction | LineGenerator) -> None:
        """As :meth:`transform`, by lines of text, each with its ``\\n``."""
        self._add(line_stage(function, self.charset), function)

    def read(self, limit: int | None = DEFAULT_WHOLE_LIMIT) -> bytes:
        """Wait for the whole body and return it, decoded, as earlier hooks have left it.
        What is sent stays the same.

        :param limit: bytes, ``None`` for no limit
        :raises BodyTooLarge: it is longer
        """
        if self.plain is None:
            raw = self._read_raw(limit)
            decoded = decode([raw] if raw else [], self.codings)
            if not self.stages:
                return _joined(decoded, limit)
            self.plain = _joined(pipeline(decoded, [], self.stages), limit)
            self.stages = ()
        elif self.stages:
            self.plain = _joined(pipeline([self.plain], [], self.stages), limit)
            self.stages = ()
        return self.plain

    def text(self, limit: int | None = DEFAULT_WHOLE_LIMIT) -> str:
        """As :meth:`read`, as text; what is not in its charset reads as U+FFFD."""
        return self.read(limit).decode(self.charset, "replace")

    def json(self, limit: int | None = DEFAULT_WHOLE_LIMIT) -> t.Any:
        """As :meth:`read`, as a JSON document.

        :raises ValueError: it is none
        """
        return json.loads(self.read(limit))

    def set_data(self, data: bytes | str) -> None:
        """Send ``data`` in the place of the body, in its charset and content coding."""
        self.plain = data.encode(self.charset) if isinstance(data, str) else bytes(data)

    def set_json(self, document: t.Any) -> None:
        """Send ``document`` as JSON in the place of the body."""
        self.plain = json.dumps(document, ensure_ascii=False).encode("utf-8")
        if "json" not in self.media_type:
            self.headers["Content-Type"] = "application/json"

    def transform_json(
        self,
        function: t.Callable[[t.Any], t.Any],
        limit: int | None = DEFAULT_WHOLE_LIMIT,
    ) -> None:
        """Wait for the whole body and send ``function(document)`` in its place; what it
        returns is the new document, ``None`` the one it was given, as it changed it."""
        document = self.json(limit)
        changed = function(document)
        self.set_json(document if changed is None else changed)

    def transform_text(
        self,
        function: t.Callable[[str], str | None],
        limit: int | None = DEFAULT_WHOLE_LIMIT,
    ) -> None:
        """Wait for the whole body and send ``function(text)`` in its place; ``None``
        leaves it."""
        changed = function(self.read(limit).decode(self.charset, "surrogateescape"))
        if changed is not None:
            self.set_data(changed.encode(self.charset, "surrogateescape"))

    @property
    def is_rewritten(self) -> bool:
        """Other bytes than those that came will be sent."""
        return bool(self.stages) or self.plain is not None

    def _add(self, stage: Stage, function: t.Any) -> None:
        self.stages = [*self.stages, stage]
        self.prompt = self.prompt and not is_generator(function)

    def _read_raw(self, limit: int | None) -> bytes:
        raise NotImplementedError


class OutboundRequest(_Body):
    """The request as it will go to the upstream. Hop-by-hop fields are gone, Host and
    ``X-Forwarded-*`` are what the proxy's settings make of them; the framing fields
    (Content-Length, Transfer-Encoding) are written after the hooks."""

    def __init__(self, outgoing: UpstreamRequest, portal: Portal | None) -> None:
        self.outgoing = outgoing
        self.headers = HeaderFields(outgoing.headers)
        self._portal = portal

    @property
    def method(self) -> str:
        return self.outgoing.method

    @method.setter
    def method(self, method: str) -> None:
        self.outgoing.method = method

    @property
    def target(self) -> str:
        """Path and query as on the wire, the upstream's base path included."""
        return self.outgoing.target.decode("latin-1")

    @target.setter
    def target(self, target: str) -> None:
        self.outgoing.target = target.encode("latin-1")

    def refuse_ranges(self) -> None:
        """Ask for the whole representation: a part of it cannot be transformed."""
        self.headers.remove("Range", "If-Range")

    def accept_known_codings(self) -> None:
        """Ask for content codings only that can be decoded here."""
        accepted = self.headers.get("Accept-Encoding")
        if accepted is None:
            return
        known = {*known_codings(), "identity"}
        wanted = (
            item.strip() for item in ",".join(self.headers.getlist("Accept-Encoding")).split(",")
        )
        kept = [item for item in wanted if item.partition(";")[0].strip().lower() in known]
        self.headers["Accept-Encoding"] = ", ".join(kept) or "identity"

    def tap(self, function: t.Callable[[bytes], t.Any]) -> None:
        """Show the body to ``function`` as it comes from the client, piece by piece, coded
        as it is; nothing else changes. It is called on the loop, and must not wait."""
        label = f"tap {name_of(function)}"
        tap_upload(self.outgoing, lambda piece: call(label, function, piece), self._portal)

    def transform_with(self, stage: Stage) -> None:
        """Pass the body through one more stage."""
        self.stages = [*self.stages, stage]

    def apply(self) -> None:
        """Put what was done to the body into the request that goes out."""
        outgoing = self.outgoing
        if not self.is_rewritten:
            return
        self.headers.remove(*_DIGESTS)
        if self.plain is not None or isinstance(outgoing.body, bytes):
            if self.plain is None:
                assert isinstance(outgoing.body, bytes)
                whole = b"".join(pipeline([outgoing.body], self.codings, self.stages))
            else:
                whole = b"".join(_encode([self.plain], self.stages, self.codings))
            outgoing.body, outgoing.length, outgoing.expect_continue = whole, len(whole), False
        elif outgoing.body is not None:
            source = upload_pieces(outgoing.body, self._portal)
            pieces = pipeline(source, self.codings, self.stages)
            outgoing.length = None
            # Without a loop the client takes an iterable.
            outgoing.body = t.cast(AsyncBody, pieces)
            if isinstance(source, UploadPieces):
                outgoing.body = TransformedUpload(pieces, source)
        # They are in the body now, and know the context, which knows this.
        self.stages = ()

    def _read_raw(self, limit: int | None) -> bytes:
        outgoing = self.outgoing
        if outgoing.body is None:
            return b""
        if not isinstance(outgoing.body, bytes):
            pieces = upload_pieces(outgoing.body, self._portal)
            try:
                whole = _joined(pieces, limit)
            except BaseException:
                if isinstance(pieces, UploadPieces):
                    pieces.portal.post(pieces.cancel)
                raise
            outgoing.body, outgoing.length, outgoing.expect_continue = whole, len(whole), False
        return outgoing.body


class OutboundHandshake:
    """A websocket's handshake as it will go to the upstream: an ordinary request but for
    the fields of the handshake itself, which are written after the hooks."""

    def __init__(self, handshake: Handshake) -> None:
        self._handshake = handshake
        self.headers = HeaderFields(handshake.headers)

    @property
    def target(self) -> str:
        """Path and query as on the wire, the upstream's base path included."""
        return self._handshake.target.decode("latin-1")

    @target.setter
    def target(self, target: str) -> None:
        self._handshake.target = target.encode("latin-1")

    @property
    def subprotocols(self) -> list[str]:
        """What is offered, most wanted first; free to change."""
        return self._handshake.subprotocols

    @subprotocols.setter
    def subprotocols(self, subprotocols: list[str]) -> None:
        self._handshake.subprotocols = subprotocols


class ProxiedResponse(_Body):
    """The upstream's answer on its way to the client, hop-by-hop fields gone."""

    status: int
    raw_reason: bytes
    body: t.Any
    """An iterable of the body's bytes, as they came, with ``close()``. To send another body,
    use :meth:`set_data`, or return a :class:`~rolo.Response` from the hook."""

    def __init__(self, answer: UpstreamAnswer, method: str) -> None:
        self._answer = answer
        status = self.status = answer.status
        self.raw_reason = answer.reason
        self.headers = HeaderFields(answer.headers)
        self.body = answer.body
        self.stages = ()  # here, as they are looked at for each answer: above it costs more
        self.plain = None
        self.has_body = method != "HEAD" and status != 204 and status != 304
        """False where no body follows the head, whatever the head says."""

    @property
    def reason(self) -> str:
        """The reason phrase."""
        return self.raw_reason.decode("latin-1")

    @reason.setter
    def reason(self, reason: str) -> None:
        self.raw_reason = reason.encode("latin-1", "replace")

    def tap(self, function: t.Callable[[bytes], t.Any]) -> None:
        """Show the body to ``function`` as it comes from the upstream, piece by piece, coded
        as it is; nothing else changes. It may be called on the loop, and must not wait."""
        label = f"tap {name_of(function)}"
        self.body = tapped(self.body, lambda piece: call(label, function, piece))

    @property
    def is_event_stream(self) -> bool:
        return self.media_type == "text/event-stream"

    def transform(self, function: ChunkFunction | ChunkGenerator) -> None:
        self._refuse_part()
        super().transform(function)

    def transform_lines(self, function: LineFunction | LineGenerator) -> None:
        self._refuse_part()
        super().transform_lines(function)

    transform.__doc__ = _Body.transform.__doc__
    transform_lines.__doc__ = _Body.transform_lines.__doc__

    def transform_events(self, function: EventFunction | EventGenerator) -> None:
        """As :meth:`transform`, by server-sent events."""
        self._refuse_part()
        self._add(event_stage(function), function)
        self.prompt = False

    def _refuse_part(self) -> None:
        if self.status == 206:
            raise ValueError(
                "a part of a body (206) cannot be transformed: call "
                "context.outbound.refuse_ranges() in on_outgoing"
            )

    def answer(self, body: t.Any) -> UpstreamAnswer:
        """Return the answer as the hooks have left it, with ``body``."""
        answer = self._answer
        if body is not answer.body:
            # Not in the same one: a body that knows its exchange would make a circle.
            return UpstreamAnswer(self.status, self.raw_reason, self.headers.pairs, body)
        answer.status = self.status
        answer.reason = self.raw_reason
        answer.headers = self.headers.pairs
        return answer

    def fix_head(self) -> None:
        """Make the fields right that describe another body than the one that is sent."""
        self.headers.remove("Content-Length", "Accept-Ranges", *_DIGESTS)
        # RFC 9110 section 8.8.3: no longer the same bytes, but still the same thing.
        self.headers.replace("ETag", lambda tag: tag if tag.startswith("W/") else f"W/{tag}")

    def encoded(self, stages: list[Stage]) -> bytes:
        """Return the body that :meth:`set_data` was given, through ``stages`` and encoded."""
        return b"".join(_encode([self.plain or b""], stages, self.codings))

    def _read_raw(self, limit: int | None) -> bytes:
        if isinstance(self.body, WholeBody):
            return self.body.data
        source = self.body
        data = _joined(source, limit)
        self.body = WholeBody(data, source)
        return data


class WholeBody:
    """A body that was read to its end, to be sent as it came."""

    def __init__(self, data: bytes, source: t.Any) -> None:
        self.data = data
        self._source = source

    def __iter__(self) -> t.Iterator[bytes]:
        return iter([self.data])

    async def __aiter__(self) -> t.AsyncIterator[bytes]:
        yield self.data

    def read_whole_nowait(self) -> bytes:
        """Return the whole body: it is here."""
        return self.data

    @property
    def trailers(self) -> list[tuple[bytes, bytes]]:
        return getattr(self._source, "trailers", [])

    def close(self) -> None:
        close = getattr(self._source, "close", None)
        if close is not None:
            close()


def _encode(
    pieces: list[bytes], stages: t.Sequence[Stage], codings: t.Sequence[str]
) -> t.Iterable[bytes]:
    """Return decoded pieces through ``stages`` and in ``codings``."""
    return encode(pipeline(pieces, [], stages), codings)


def _joined(pieces: t.Iterable[bytes], limit: int | None) -> bytes:
    taken, size = [], 0
    for piece in pieces:
        taken.append(piece)
        size += len(piece)
        if limit is not None and size > limit:
            raise BodyTooLarge(f"a body of more than {limit} bytes was to be read whole")
    return b"".join(taken)
