"""What hooks see and edit: the request that goes out, and the answer that comes back."""

from __future__ import annotations

import contextlib
import itertools
import typing as t

from rolo.bridge.lazy_response import UpstreamAnswer
from rolo.errors import AmbiguousType, BodyFault, NoBodyInHandshake, PartOfBody, UnknownCharset
from rolo.net.body import Body, Upload, body_of
from rolo.portal.portal import Portal
from rolo.proxy.hooks.bodies import (
    BegunBody,
    TransformedUpload,
    UploadPieces,
    WholeBody,
    gathered,
    pipeline,
    tap_upload,
    tapped,
    upload_pieces,
)
from rolo.proxy.hooks.documents import dump_json, load_json
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
    wants_parts,
)
from rolo.upstream.request import UpstreamRequest
from rolo.wire.charsets import (
    UTF_8,
    charset_parameter,
    codec_of,
    decode_text,
    marked,
    one_type,
)
from rolo.wire.content_codings import decode, encode, known_codings, parse_codings
from rolo.wire.fields import HeaderFields

if t.TYPE_CHECKING:
    from rolo.upstream.websocket import Handshake

DEFAULT_WHOLE_LIMIT = 16 * 1024 * 1024
"""Bytes of a body that is read whole, after decoding."""

# Checksums of the bytes that were there before (RFC 9530, RFC 3230, RFC 1864).
_DIGESTS = ("Content-Digest", "Repr-Digest", "Digest", "Content-MD5")


_BODILESS = (204, 304)


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
        """``Content-Type`` without its parameters, in lower case; empty if there is none.

        :raises AmbiguousType: there are several
        """
        return self._content_type.partition(";")[0].strip().lower()

    @property
    def _content_type(self) -> str:
        with self._blaming():
            return one_type(self.headers.getlist("Content-Type"))

    @property
    def charset(self) -> str:
        """The charset that ``Content-Type`` names, in lower case; ``utf-8`` if it names none.
        The labels of the web are understood as browsers do; text with another is not
        rewritten (:class:`UnknownCharset`).

        :raises AmbiguousType: as :attr:`media_type`
        """
        return charset_parameter(self._content_type) or "utf-8"

    @property
    def codings(self) -> list[str]:
        """The content codings of the body, in the order they were applied."""
        # A list may go over several lines (RFC 9110 section 5.3).
        return parse_codings(",".join(self.headers.getlist("Content-Encoding")))

    def transform(self, function: ChunkFunction | ChunkGenerator) -> None:
        """Pass the body, decoded, through ``function``, as it comes: ``function(piece)``
        for each piece of bytes, or a generator function over all pieces.

        Functions given one after the other see what the one before has made.

        :raises PartOfBody: this is a part (206), and ``function`` not marked
            :func:`~rolo.proxy.takes_parts`
        """
        self._refuse_part(function)
        self._add(chunk_stage(function), function)

    def transform_lines(self, function: LineFunction | LineGenerator) -> None:
        """As :meth:`transform`, by lines of text, each with its ``\\n``.

        :raises UnknownCharset: see :attr:`charset`
        """
        self._refuse_part(function)
        with self._blaming():
            self._add(line_stage(function, self.charset), function)

    def read(self, limit: int | None = DEFAULT_WHOLE_LIMIT) -> bytes:
        """Wait for the whole body and return it, decoded, as earlier hooks have left it.
        What is sent stays the same, after an error too.

        :param limit: bytes, ``None`` for no limit
        :raises BodyTooLarge: it is longer
        :raises UndecodableBody: it is not in its content coding
        """
        with self._blaming():
            return self._read(limit)

    def _read(self, limit: int | None) -> bytes:
        if self.plain is None:
            raw = self._read_raw(limit)
            decoded = decode([raw] if raw else [], self.codings)
            if not self.stages:
                return gathered(decoded, limit)
            self.plain = gathered(pipeline(decoded, [], self.stages), limit)
            self.stages = ()
        elif self.stages:
            self.plain = gathered(pipeline([self.plain], [], self.stages), limit)
            self.stages = ()
        return self.plain

    def text(self, limit: int | None = DEFAULT_WHOLE_LIMIT) -> str:
        """As :meth:`read`, as text; what is not in its charset reads as U+FFFD.

        :raises UnknownCharset: see :attr:`charset`
        """
        with self._blaming():
            codec = codec_of(self.charset)
            data = self._read(limit)
            return data.decode(marked(data, codec).name, "replace")

    def json(self, limit: int | None = DEFAULT_WHOLE_LIMIT) -> t.Any:
        """As :meth:`read`, as a JSON document.

        :raises NotJson: it is none, or has a number that no float holds; a
            :class:`ValueError` too
        """
        with self._blaming():
            return load_json(self._read(limit), self.charset)

    def set_data(self, data: bytes | str) -> None:
        """Send ``data`` in the place of the body, in its charset and content coding.

        :raises PartOfBody: this is a part (206); set another status first
        """
        self._refuse_status()
        if isinstance(data, str):
            with self._blaming():
                data = data.encode(codec_of(self.charset).name)
        self.plain = bytes(data)

    @property
    def data(self) -> bytes:
        """The whole body, as :meth:`read`; setting it is :meth:`set_data`."""
        return self.read()

    @data.setter
    def data(self, data: bytes | str) -> None:
        self.set_data(data)

    def set_json(self, document: t.Any) -> None:
        """Send ``document`` as JSON in the place of the body.

        :raises ValueError: it has a number that JSON has not
        :raises PartOfBody: as :meth:`set_data`
        """
        self._refuse_status()
        try:
            codec = codec_of(self.charset)
        except UnknownCharset:
            codec = UTF_8
            self.headers["Content-Type"] = self.media_type
        except AmbiguousType:
            codec = UTF_8
            self.headers["Content-Type"] = "application/json"
        self.plain = dump_json(document, codec.name)
        if "json" not in self.media_type:
            self.headers["Content-Type"] = "application/json"

    def transform_json(
        self,
        function: t.Callable[[t.Any], t.Any],
        limit: int | None = DEFAULT_WHOLE_LIMIT,
    ) -> None:
        """Wait for the whole body and send ``function(document)`` in its place; what it
        returns is the new document, ``None`` the one it was given, as it changed it.
        Without a body, or with an empty one, ``function`` is not called.

        :raises NotJson: as :meth:`json`
        :raises PartOfBody: as :meth:`transform`
        """
        self._refuse_part(function)
        if not self.has_body:
            self._change_head()
        elif self.read(limit):
            document = self.json(limit)
            changed = function(document)
            self.set_json(document if changed is None else changed)

    def transform_text(
        self,
        function: t.Callable[[str], str | None],
        limit: int | None = DEFAULT_WHOLE_LIMIT,
    ) -> None:
        """Wait for the whole body and send ``function(text)`` in its place; ``None``
        leaves it. Without a body ``function`` is not called.

        :raises UnknownCharset: see :attr:`charset`
        :raises PartOfBody: as :meth:`transform`
        """
        self._refuse_part(function)
        if not self.has_body:
            self._change_head()
            return
        with self._blaming():
            codec = codec_of(self.charset)
            data = self._read(limit)
            codec = marked(data, codec)
            text = decode_text(data, codec)
        changed = function(text)
        if changed is not None:
            self.set_data(changed.encode(*codec))

    @property
    def has_body(self) -> bool:
        """Whether a body follows the head at all, be it an empty one."""
        raise NotImplementedError

    @property
    def is_rewritten(self) -> bool:
        """Other bytes than those that came will be sent."""
        return bool(self.stages) or self.plain is not None

    def _add(self, stage: Stage, function: t.Any) -> None:
        self.stages = [*self.stages, stage]
        self.prompt = self.prompt and not is_generator(function)

    def _change_head(self) -> None:
        """Let the head say what it would with a body, which would be another one."""
        self.stages = [*self.stages, iter]

    def _refuse_part(self, function: t.Any) -> None:
        """:raises PartOfBody: only a part is here, and ``function`` wants the whole"""

    def _refuse_status(self) -> None:
        """:raises PartOfBody: the status says that only a part is sent"""

    def _blaming(self) -> t.ContextManager[None]:
        """Say of body faults whose they are."""
        return contextlib.nullcontext()

    def _read_raw(self, limit: int | None) -> bytes:
        raise NotImplementedError


class OutboundHead(_Body):
    """What requests and handshakes on their way to the upstream have in common."""

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


class OutboundRequest(OutboundHead):
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

    def tap(self, function: t.Callable[[bytes], t.Any]) -> None:
        """Show the body to ``function`` as it comes from the client, piece by piece, coded
        as it is, no piece empty; nothing else changes. It is called on the loop, and must not
        wait."""
        label = f"tap {name_of(function)}"
        tap_upload(self.outgoing, lambda piece: call(label, function, piece), self._portal)

    def transform_with(self, stage: Stage) -> None:
        """Pass the body through one more stage."""
        self.stages = [*self.stages, stage]

    @property
    def has_body(self) -> bool:
        return self.outgoing.body is not None or self.plain is not None

    def apply(self) -> None:
        """Put what was done to the body into the request that goes out."""
        outgoing = self.outgoing
        if not self.is_rewritten:
            return
        self.headers.remove(*_DIGESTS)
        if self.plain is not None or isinstance(outgoing.body, bytes):
            if self.plain is None:
                assert isinstance(outgoing.body, bytes)
                with self._blaming():
                    whole = b"".join(pipeline([outgoing.body], self.codings, self.stages))
            else:
                with self._blaming():
                    whole = b"".join(_encode([self.plain], self.stages, self.codings))
            outgoing.body, outgoing.length, outgoing.expect_continue = whole, len(whole), False
        elif outgoing.body is not None:
            source = upload_pieces(outgoing.body, self._portal)
            pieces = pipeline(source, self.codings, self.stages, of_request=True)
            outgoing.length = None
            # Without a loop the client takes an iterable.
            outgoing.body = t.cast(Upload, pieces)
            if isinstance(source, UploadPieces):
                outgoing.body = TransformedUpload(pieces, source)
        # They are in the body now, and know the context, which knows this.
        self.stages = ()

    @contextlib.contextmanager
    def _blaming(self) -> t.Iterator[None]:
        try:
            yield
        except BodyFault as exc:
            exc.blame_client()
            raise

    def _read_raw(self, limit: int | None) -> bytes:
        outgoing = self.outgoing
        if outgoing.body is None:
            return b""
        if not isinstance(outgoing.body, bytes):
            pieces = upload_pieces(outgoing.body, self._portal)
            taken: list[bytes] = []
            try:
                whole = gathered(pieces, limit, taken)
            except BodyFault:
                # Whoever catches it sends all of it all the same.
                rest = itertools.chain(taken, pieces)
                outgoing.body = t.cast(Upload, rest)
                if isinstance(pieces, UploadPieces):
                    outgoing.body = TransformedUpload(rest, pieces)
                raise
            except BaseException:
                if isinstance(pieces, UploadPieces):
                    pieces.portal.post(pieces.cancel)
                raise
            outgoing.body, outgoing.length, outgoing.expect_continue = whole, len(whole), False
        return outgoing.body


class OutboundHandshake(OutboundHead):
    """A websocket's handshake as it will go to the upstream: an ordinary request without a
    body, but for the fields of the handshake itself, which are written after the hooks.

    A hook for requests serves handshakes as well: there is nothing to read, transform or
    tap; only to put a body there is an error.
    """

    def __init__(self, handshake: Handshake) -> None:
        self._handshake = handshake
        self.headers = HeaderFields(handshake.headers)

    @property
    def method(self) -> str:
        """``GET``, as every handshake's."""
        return "GET"

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

    def tap(self, function: t.Callable[[bytes], t.Any]) -> None:
        """Nothing: no piece ever passes."""

    def set_data(self, data: bytes | str) -> None:
        """:raises NoBodyInHandshake: always"""
        raise NoBodyInHandshake("a websocket's handshake has no body: data cannot be set")

    def set_json(self, document: t.Any) -> None:
        """:raises NoBodyInHandshake: always"""
        raise NoBodyInHandshake("a websocket's handshake has no body: JSON cannot be set")

    @property
    def has_body(self) -> bool:
        """False: none can follow."""
        return False

    def _add(self, stage: Stage, function: t.Any) -> None:
        pass

    def _change_head(self) -> None:
        pass

    def _read_raw(self, limit: int | None) -> bytes:
        return b""


class ProxiedResponse(_Body):
    """The upstream's answer on its way to the client, hop-by-hop fields gone."""

    status: int
    raw_reason: bytes
    body: Body
    """An iterable of the body's bytes, as they came, with ``close()``. To send another body,
    use :meth:`set_data`, or return a :class:`~rolo.Response` from the hook."""

    def __init__(self, answer: UpstreamAnswer, method: str) -> None:
        self._answer = answer
        self.status = answer.status
        self.raw_reason = answer.reason
        self.headers = HeaderFields(list(answer.headers))
        self.body = body_of(answer.body)
        self.stages = ()  # here, as they are looked at for each answer: above it costs more
        self.plain = None
        self._method = method

    @property
    def has_body(self) -> bool:
        """False where no body follows the head, whatever the head says."""
        if self._method == "HEAD":
            return False
        if self._answer.status not in _BODILESS:
            return True
        # A hook may put a body where there was none, with another status.
        return self.plain is not None and self.status not in _BODILESS

    @property
    def status_code(self) -> int:
        """The same as :attr:`status`, under werkzeug's name."""
        return self.status

    @status_code.setter
    def status_code(self, status: int) -> None:
        self.status = status

    @property
    def reused(self) -> bool:
        """It came over a connection that had carried others before."""
        return self._answer.reused

    @property
    def retried(self) -> str | None:
        """Why the request was sent twice; ``None`` if it was not."""
        return self._answer.retried

    @property
    def reason(self) -> str:
        """The reason phrase."""
        return self.raw_reason.decode("latin-1")

    @reason.setter
    def reason(self, reason: str) -> None:
        self.raw_reason = reason.encode("latin-1", "replace")

    def tap(self, function: t.Callable[[bytes], t.Any]) -> None:
        """Show the body to ``function`` as it comes from the upstream, piece by piece, coded
        as it is, no piece empty; nothing else changes. It may be called on the loop, and must
        not wait."""
        label = f"tap {name_of(function)}"
        self.body = tapped(self.body, lambda piece: call(label, function, piece))

    @property
    def is_event_stream(self) -> bool:
        return self.media_type == "text/event-stream"

    def transform_events(self, function: EventFunction | EventGenerator) -> None:
        """As :meth:`transform`, by server-sent events."""
        self._refuse_part(function)
        self._add(event_stage(function), function)
        self.prompt = False

    def refuse_part(self, *functions: t.Any) -> None:
        """Make sure that a part of a body does not pass ``functions`` as if it were one.

        :raises PartOfBody: this is one (206), whatever status hooks have given it, and one of
            ``functions`` is not marked :func:`~rolo.proxy.takes_parts`
        """
        if not self._is_part:
            return
        for function in functions:
            if not wants_parts(function):
                raise PartOfBody(
                    f"a part of a body (206) does not pass {name_of(function)}, which changes "
                    "whole ones: call outbound.refuse_ranges() in on_outgoing, or mark it "
                    "with takes_parts"
                )

    @property
    def _is_part(self) -> bool:
        return self._answer.status == 206 and self._method != "HEAD"

    def _refuse_part(self, function: t.Any) -> None:
        self.refuse_part(function)

    def _refuse_status(self) -> None:
        if self.status == 206:
            raise PartOfBody("another body is no part (206): set response.status first")

    def answer(self, body: t.Any) -> UpstreamAnswer:
        """Return the answer as the hooks have left it, with ``body``."""
        answer = self._answer
        if body is not answer.body:
            # Not in the same one: a body that knows its exchange would make a cycle.
            headers = self.headers.pairs
            return UpstreamAnswer(
                self.status,
                self.raw_reason,
                headers,
                body,
                answer.version,
                answer.reused,
                answer.retried,
            )
        answer.as_received = False
        answer.status = self.status
        answer.reason = self.raw_reason
        answer.headers = self.headers.pairs
        return answer

    def set_length(self, length: int) -> None:
        """Say how long the body is that is sent; :meth:`fix_head` has been called."""
        self.headers.pairs.append((b"Content-Length", b"%d" % length))

    def fix_head(self) -> None:
        """Make the fields right that describe another body than the one that is sent."""
        self.headers.remove("Content-Length", "Accept-Ranges", *_DIGESTS)
        if self._is_part and self.status != 206:
            self.headers.remove("Content-Range")
        # RFC 9110 section 8.8.3: no longer the same bytes, but still the same thing.
        self.headers.replace("ETag", lambda tag: tag if tag.startswith("W/") else f"W/{tag}")

    def encoded(self, stages: list[Stage]) -> bytes:
        """Return the body that :meth:`set_data` was given, through ``stages`` and encoded."""
        return b"".join(_encode([self.plain or b""], stages, self.codings))

    def _read_raw(self, limit: int | None) -> bytes:
        source = self.body
        if isinstance(source, WholeBody):
            return source.data
        taken: list[bytes] = []
        pieces = iter(source)
        try:
            data = gathered(pieces, limit, taken)
        except BodyFault:
            self.body = BegunBody(taken, pieces, source)
            raise
        self.body = WholeBody(data, source)
        return data


def _encode(
    pieces: list[bytes], stages: t.Sequence[Stage], codings: t.Sequence[str]
) -> t.Iterable[bytes]:
    """Return decoded pieces through ``stages`` and in ``codings``."""
    return encode(pipeline(pieces, [], stages), codings)
