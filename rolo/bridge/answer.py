"""From a decided :class:`~rolo.response.Response` to what the downstream sends."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import typing as t
from collections.abc import AsyncIterable

from rolo.bridge.lazy_response import LazyResponse, UpstreamAnswer
from rolo.errors import (
    ClientDisconnected,
    DownstreamError,
    Failure,
    RoloError,
    TooManyExchanges,
    UnsendableAnswer,
)
from rolo.net.body import Body, LoopBody, body_of
from rolo.net.body_stream import Sink
from rolo.portal.containment import contained
from rolo.portal.portal import Portal
from rolo.response import Response
from rolo.wire.error_page import CONTENT_TYPE, error_text
from rolo.wire.fields import RawHeaders
from rolo.wire.http1 import check_head
from rolo.wire.received import received
from rolo.wire.reserved_fields import answer_fields

_BODILESS = (204, 304)
_FRAMING = frozenset((b"content-length", b"transfer-encoding"))
_LENGTH = frozenset((b"content-length",))
_SEQUENCES = (list, tuple)

LOG = logging.getLogger(__name__)


class BodyDownstream(t.Protocol):
    """Where a body goes: an ``HttpDownstream``, or what stands in front of one."""

    @property
    def sink(self) -> Sink | None: ...

    async def send_body(self, chunk: bytes) -> None: ...


@dataclasses.dataclass(slots=True, eq=False)
class Answer:
    """A response taken apart: what to send, and what to close afterwards."""

    status: int
    reason: bytes
    headers: RawHeaders
    whole: bytes | None
    """The complete body, if it is there already."""
    pulled: LoopBody | None
    """A body for the loop to pull."""
    iterable: t.Iterable[bytes] | None
    """A body that only sync code may iterate."""
    close: t.Callable[[], None]
    close_runs_code: bool
    """See :func:`close_runs_code`."""
    body: Body | None = None
    """Whatever the parts above came from."""

    def trailers(self) -> RawHeaders:
        """Return the trailer fields of the body; none before its end, or where it has none."""
        return [] if self.body is None else self.body.trailers


def answer_of(response: Response, environ: t.Callable[[], t.Any], method: str) -> Answer:
    """Return what there is to send of ``response``.

    ``environ`` is called only for responses whose head werkzeug has to complete.

    :raises UnsendableAnswer: no server could send its head as one head, or it does not say
        clearly where its body ends; the response is the caller's to close
    """
    answer = response._untouched_answer if isinstance(response, LazyResponse) else None
    if answer is not None:
        status, reason, headers, body = answer.status, answer.reason, answer.headers, answer.body
    else:
        status, reason = _status_line(response)
        headers = _completed_headers(response, environ)
        body = _encoded_body(response)
    bodiless = method == "HEAD" or status < 200 or status in _BODILESS
    whole: bytes | None = None
    passing: Body | None = None
    if isinstance(body, _SEQUENCES):
        whole = b"".join(body)
    elif not bodiless:
        passing = body_of(body)
        whole = passing.read_whole_nowait() if isinstance(passing, LoopBody) else None
    # A handler may say by an empty body that it knows of HEAD.
    known = whole is not None and (not bodiless or (whole and method == "HEAD"))
    if answer is None or not answer.as_received:
        length = len(whole or b"") if known else None
        try:
            check_head(reason, headers)
            headers = received(answer_fields(headers, length, bodiless=bodiless))
        except ValueError as exc:
            raise UnsendableAnswer(str(exc)) from None
    if answer is not None and passing is not None and passing.spent:
        close, runs = close_nothing, False
    else:
        close, runs = response.close, _asked_on_close(response) or _runs_code(body)
    if status == 204 or status < 200:
        # RFC 9110 section 8.6
        headers = received(headers).without(_LENGTH)
    if bodiless:
        return Answer(status, reason, headers, b"", None, None, close, runs)
    if passing is None:
        return Answer(status, reason, headers, whole, None, None, close, runs)
    if not isinstance(passing, LoopBody):
        return Answer(status, reason, headers, None, None, passing, close, runs, passing)
    if whole is not None and _FRAMING.isdisjoint(received(headers).special):
        # That all of it is here already is chance: what came without a length goes without.
        headers = [*headers, (b"Transfer-Encoding", b"chunked")]
    pulled = passing if whole is None else None
    return Answer(status, reason, headers, whole, pulled, None, close, runs, passing)


def refusal_of(response: Response) -> Answer:
    """Return what there is to send of a response that refuses a websocket: all of its fields,
    and none that werkzeug would add.

    :raises UnsendableAnswer: as :func:`answer_of`
    """
    status, reason = _status_line(response)
    body = _encoded_body(response)
    raw = UpstreamAnswer(status, reason, _raw(response.headers), body)
    answer = answer_of(LazyResponse(raw), dict, "GET")
    answer.close, answer.close_runs_code = response.close, close_runs_code(response)
    return answer


def close_nothing() -> None:
    """Close what is used up."""


def close_runs_code(response: Response) -> bool:
    """Whether to close ``response`` is to run code of the user's, which may block or wait: not
    for the loop to do."""
    answer = response._untouched_answer if isinstance(response, LazyResponse) else None
    body = response.response if answer is None else answer.body
    return _asked_on_close(response) or _runs_code(body)


def _asked_on_close(response: Response) -> bool:
    # Of a response of werkzeug's own, which a handler may have put in its place, it is not known.
    return getattr(response, "_runs_on_close", True)


def _runs_code(body: t.Any) -> bool:
    return not isinstance(body, _SEQUENCES) and body_of(body).close_runs_code


def _status_line(response: Response) -> tuple[int, bytes]:
    reason = response.status.partition(" ")[2].encode("latin-1", "replace")
    return response.status_code, reason


def _completed_headers(response: Response, environ: t.Callable[[], t.Any]) -> RawHeaders:
    if isinstance(response, LazyResponse) and response._is_forwarded:
        # What an upstream sent is not for us to complete, but a body that a handler put in
        # its place has a length of its own.
        if response.is_sequence and "Content-Length" in response.headers:
            response.headers["Content-Length"] = str(response.calculate_content_length())
        pairs: t.Iterable[tuple[str, t.Any]] = response.headers
    else:
        try:
            pairs = response.get_wsgi_headers(environ())
        except ValueError as exc:  # werkzeug found a line break
            raise UnsendableAnswer(str(exc)) from None
    return _raw(pairs)


def _raw(pairs: t.Iterable[tuple[str, t.Any]]) -> RawHeaders:
    try:
        return [(name.encode("latin-1"), str(value).encode("latin-1")) for name, value in pairs]
    except UnicodeEncodeError as exc:
        raise UnsendableAnswer(f"a header field beyond Latin-1: {exc.object!a}") from None


def _encoded_body(response: Response) -> t.Any:
    body = response.response
    if isinstance(body, AsyncIterable) or response.direct_passthrough:
        return body
    if isinstance(body, list | tuple):
        return list(response.iter_encoded())
    return response.iter_encoded()


def error_response(error: BaseException) -> Response:
    """Return the answer to an error that no handler dealt with; it tells nothing internal."""
    status = error.status if isinstance(error, RoloError) else 500
    response = Response(error_text(status), status=status, content_type=CONTENT_TYPE)
    response._failure = Failure.of(error)
    if isinstance(error, DownstreamError | TooManyExchanges):
        # Nobody is going to read the rest of such a request.
        response.headers["Connection"] = "close"
    return response


R = t.TypeVar("R")


def close_contained(close: t.Callable[[], None], request: R, line_of: t.Callable[[R], str]) -> None:
    """Close the body of the answer to ``request``. What its code raises is logged: it is too
    late to tell the client.

    :param request: or a handshake, or whatever ``line_of`` returns the log's name of
    """
    try:
        close()
    except BaseException as exc:
        error = contained(exc)
        if isinstance(error, ClientDisconnected):
            LOG.debug("client left: %s", line_of(request))
        else:
            LOG.error("error while closing the answer to %s", line_of(request), exc_info=error)


async def pump(body: LoopBody, downstream: BodyDownstream) -> None:
    """Send what the loop pulls from ``body``, piped where the server takes that."""
    if downstream.sink is not None:
        await body.pipe(downstream.sink)
        return
    async for piece in body:
        if piece:
            await downstream.send_body(piece)


def push(body: t.Iterable[bytes], downstream: BodyDownstream, portal: Portal) -> None:
    """Send what sync code in a greenlet yields; a greenlet's half of :func:`pump`."""
    sink = downstream.sink
    for count, piece in enumerate(body):
        if piece and sink is None:
            portal.call(downstream.send_body(piece))
        elif piece and sink is not None and not sink.write(piece):
            portal.call(sink.drained())
        if count % 16 == 15:
            # A generator that never waits must not keep the loop to itself.
            portal.call(asyncio.sleep(0))
