"""From a decided :class:`~rolo.response.Response` to what a WSGI server sends (PEP 3333)."""

from __future__ import annotations

import logging
import typing as t

from rolo.bridge.answer import Answer, answer_of, close_contained, error_response
from rolo.errors import FaultUnavailable, UnsendableAnswer, describe
from rolo.portal.containment import contained
from rolo.request import Request, get_raw_path
from rolo.response import Response

if t.TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

LOG = logging.getLogger(__name__)

# What PEP 3333 leaves to the server; and there are no trailers to announce.
_OF_THE_SERVER = (b"connection", b"transfer-encoding", b"trailer")


def start_answer(
    response: Response, request: Request, start_response: StartResponse
) -> t.Iterable[bytes]:
    """Start the answer ``response`` to ``request``, and return its body, which closes both.

    An answer whose head no server could send becomes a logged 500. What code of the body
    raises when it is iterated is contained (``rolo.portal.containment``), and what it raises
    when it is closed is logged.

    :raises BaseException: what ``start_response`` raises; both are closed
    """
    try:
        answer = _answer_of(response, request)
        status = f"{answer.status} {answer.reason.decode('latin-1')}"
        fields = [field for field in answer.headers if field[0].lower() not in _OF_THE_SERVER]
        start_response(status, [(_text(name), _text(value)) for name, value in fields])
    except BaseException:
        close_contained(response.close, request, line_of)
        request.close()
        raise
    return _Body(answer, request)


def line_of(request: Request) -> str:
    """What a log calls ``request``; a client must not write lines of its own into it."""
    return ascii(f"{request.method} {get_raw_path(request)}")[1:-1]


def _answer_of(response: Response, request: Request) -> Answer:
    try:
        answer = answer_of(response, lambda: request.environ, request.method)
        for spoiler in (request._spoiler, getattr(response, "_spoiler", None)):
            if spoiler is not None:
                answer = spoiler.spoil_blocking(answer)
        return answer
    except (UnsendableAnswer, FaultUnavailable) as error:
        LOG.error("answer to %s cannot be sent: %s", line_of(request), describe(error))
        close_contained(response.close, request, line_of)
        return answer_of(error_response(error), lambda: request.environ, request.method)


class _Body:
    """What a server iterates, and closes once."""

    def __init__(self, answer: Answer, request: Request) -> None:
        body = answer.iterable if answer.whole is None else [answer.whole]
        assert body is not None, "a body that only an event loop can pull"
        self._body = body
        self._pieces: t.Iterator[bytes] | None = None
        self._answer = answer
        self._request = request

    def __iter__(self) -> t.Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            if self._pieces is None:
                self._pieces = iter(self._body)
            return next(self._pieces)
        except Exception:
            raise
        except BaseException as exc:
            raise contained(exc) from exc

    def close(self) -> None:
        close_contained(self._answer.close, self._request, line_of)
        # Now, not before: uploaded files are temporary, and a streamed body may read them.
        self._request.close()


def _text(raw: bytes) -> str:
    return raw.decode("latin-1")
