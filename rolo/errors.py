"""The error tree: whose fault, in which phase, and what the client gets to see.

::

    RoloError                              500
    ├── DownstreamError                    400    the client's side
    │   ├── BadRequest                     400    malformed head or framing
    │   ├── RequestTimeout                 408    the request did not come in time
    │   ├── ContentTooLarge                413    body over the limit
    │   ├── TargetTooLong                  414    request target over the limit
    │   ├── UpgradeRequired                426    a websocket handshake of another version
    │   ├── HeadTooLarge                   431    head or field count over the limit
    │   ├── UnusableMethod                 501    CONNECT, and a name that rolo keeps for itself
    │   ├── UnknownTransferCoding          501    Transfer-Encoding we do not speak
    │   ├── HttpVersionNotSupported        505    neither HTTP/1.0 nor HTTP/1.1
    │   ├── SendTimeout                    408    the client took nothing of its answer
    │   └── ClientDisconnected             499    the client left; nobody reads the answer
    ├── UpstreamError                      502    the side we forward to
    │   ├── ConnectError                   502 +  refused, unreachable
    │   │   ├── NameResolutionError        502 +  the host name has no address
    │   │   ├── TlsError                   502 +  certificate or handshake
    │   │   └── ConnectTimeout             504 +  no connection in time
    │   ├── SendError                      502 ?  the connection broke while we were sending
    │   ├── ResponseHeadTimeout            504 ?  no answer in time
    │   ├── UpstreamClosed                 502 ?  closed before a complete head
    │   ├── BadResponse                    502    malformed head or ambiguous framing
    │   ├── BodyInterrupted                502    closed before the end of the body
    │   ├── IdleTimeout                    504 ?  nothing moved for too long
    │   └── ExchangeTimeout                504 ?  the whole exchange took too long
    ├── BodyFault                          502    a body that cannot be rewritten; in a request
    │   ├── BodyTooLarge                   502    (413) longer than is taken whole
    │   ├── UndecodableBody                502    (400) not in the coding it claims, or cut short
    │   │   └── ExpandsTooFar              502    (413) small on the wire, huge when decoded
    │   ├── UnknownCoding                  502    (415) cannot be undone, or too many
    │   ├── UnknownCharset                 502    (415) text that cannot be read
    │   ├── AmbiguousType                  502    (400) of several media types, where a hook asks
    │   ├── NotJson                        502    (400) no JSON document
    │   └── PartOfBody                     502    a part (206), where only the whole can be changed
    ├── HookError                          500    a hook raised something
    ├── EventStreamOver                    500    nobody can be spoken to any more
    ├── NoBodyInHandshake                  500    a hook puts a body into a websocket's handshake
    ├── TooManyExchanges                   503    a limit of ours is reached
    ├── UnsendableAnswer                   500    a handler's answer that no head can hold
    ├── UnsendableRequest                  500    the same for a request, as hooks left it
    ├── BodyNotKept                        500    a body that has gone out cannot be sent again
    │   └── ReplayLimitExceeded            500    nor one that is too long to be kept
    ├── RetryRefused                       500    a hook wants another try that cannot be made
    ├── InjectedFault                      502    a fault that was asked for, of rolo.faults
    │   └── BrokenAsRecorded               502    an answer that ends as it did when it was recorded
    ├── FaultUnavailable                   500    one that is not to be had here
    └── NoPortalError                      500    a blocking call where nothing may block

``status`` is the HTTP status the client gets as long as no head was sent; after
that an error can only abort the answer.  ``proxy_status`` is the error type of
RFC 9209 section 2.3, or ``None`` where that list has none.

``retry_safe`` says that the request may be sent again, to the same upstream or another,
and nothing can come of it twice: not one byte of an answer has come, nothing of a streamed
body is gone, and the method is idempotent (RFC 9110 section 9.2.2) or nothing of the request
went out. Errors marked ``+`` are always safe, those marked ``?`` where the transport says so,
all others never.
"""

from __future__ import annotations

import dataclasses
import typing as t


class RoloError(Exception):
    """Base of all errors rolo raises on purpose.

    :param message: what went wrong, for the log; never shown to a client
    :param target: the upstream or peer concerned, for example ``http://localhost:8080``
    """

    side: str = "internal"
    phase: str = ""
    status: int = 500
    proxy_status: str | None = "proxy_internal_error"
    retry_safe: bool = False

    def __init__(self, message: str = "", *, target: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.target = target

    def __str__(self) -> str:
        return f"{self.message} ({self.target})" if self.target else self.message


class DownstreamError(RoloError):
    side = "downstream"
    status = 400
    proxy_status: str | None = "http_request_error"


class BadRequest(DownstreamError):
    phase = "request head"


class RequestTimeout(DownstreamError):
    phase = "request body"
    status = 408


class ContentTooLarge(DownstreamError):
    phase = "request body"
    status = 413


class TargetTooLong(DownstreamError):
    phase = "request head"
    status = 414


class HeadTooLarge(DownstreamError):
    phase = "request head"
    status = 431


class UnusableMethod(DownstreamError):
    phase = "request head"
    status = 501


class UnknownTransferCoding(DownstreamError):
    phase = "request head"
    status = 501


class HttpVersionNotSupported(DownstreamError):
    phase = "request head"
    status = 505


class SendTimeout(DownstreamError):
    phase = "response body"
    status = 408


class ClientDisconnected(DownstreamError):
    phase = "exchange"
    status = 499
    proxy_status = None


class UpstreamError(RoloError):
    side = "upstream"
    status = 502


class ConnectError(UpstreamError):
    phase = "connect"
    proxy_status = "connection_refused"
    retry_safe = True


class NameResolutionError(ConnectError):
    proxy_status = "dns_error"


class TlsError(ConnectError):
    phase = "tls"
    proxy_status = "tls_protocol_error"


class ConnectTimeout(ConnectError):
    status = 504
    proxy_status = "connection_timeout"


class SendError(UpstreamError):
    phase = "request body"
    proxy_status = "connection_terminated"


class ResponseHeadTimeout(UpstreamError):
    phase = "response head"
    status = 504
    proxy_status = "http_response_timeout"


class UpstreamClosed(UpstreamError):
    phase = "response head"
    proxy_status = "http_response_incomplete"


class BadResponse(UpstreamError):
    phase = "response head"
    proxy_status = "http_protocol_error"


class BodyInterrupted(UpstreamError):
    phase = "response body"
    proxy_status = "http_response_incomplete"


class IdleTimeout(UpstreamError):
    phase = "response body"
    status = 504
    proxy_status = "connection_read_timeout"


class ExchangeTimeout(UpstreamError):
    phase = "exchange"
    status = 504
    proxy_status = "http_response_timeout"


class TooManyExchanges(RoloError):
    phase = "admission"
    status = 503
    proxy_status = "connection_limit_reached"


class UnsendableAnswer(RoloError):
    """An answer of a handler or hook holds a line break, NUL or other control in its reason
    or a field, or a name that is none: sent as it is, it would be another answer. Or its
    fields do not say clearly where its body ends."""

    phase = "response head"


class UnsendableRequest(RoloError):
    """Hooks have left a request without Host or with several, or with fields that only rolo
    writes (see :class:`ReservedField`): nothing of it was sent."""

    phase = "request head"


class ReservedField(ValueError):
    """A hook, a helper or ``headers=`` was to set a field that frames the message or belongs to
    one connection: Content-Length, Transfer-Encoding, Connection, Keep-Alive,
    Proxy-Connection, TE, Upgrade or HTTP2-Settings. rolo writes those."""


class BodyNotKept(RoloError):
    """A request body was to be sent, or read, once more after it had gone out, and was not
    kept. Nothing was sent."""

    phase = "request body"


class ReplayLimitExceeded(BodyNotKept):
    """More of a request body was taken than is kept, and then it was to be sent again."""


class RetryRefused(RoloError):
    """A hook asked for another try that may do twice what must happen once, or that is one
    too many. See :meth:`~rolo.proxy.ProxyContext.retry`."""

    phase = "retry"


class InjectedFault(RoloError):
    """Something went wrong because somebody asked for it: a fault of :mod:`rolo.faults`."""

    side = "injected"
    phase = "fault"
    status = 502
    proxy_status = None


class BrokenAsRecorded(InjectedFault):
    """An answer, or a websocket, ends here before its end, as it did when it was recorded."""


class FaultUnavailable(RoloError):
    """A fault was asked for that is not to be had here: most want the connection itself,
    which the native server gives."""

    phase = "fault"


class NoPortalError(RoloError):
    """A blocking call was made on the event loop outside a handler that may wait."""

    phase = "portal"


def describe(error: BaseException) -> str:
    """Return what a log should say of ``error`` in one line: side, phase, what, target and
    cause. Its words may be a peer's: controls are escaped."""
    if not isinstance(error, RoloError):
        return printable(repr(error))
    cause = error.__cause__
    because = f" [{cause!r}]" if cause is not None else ""
    return printable(f"{error.side} error in phase {error.phase!r}: {error}{because}")


def printable(text: str, keep: str = "") -> str:
    """Return ``text`` with everything escaped that a terminal might obey, or take for the
    next line of a log, but for the characters in ``keep``."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else ascii(c)[1:-1] for c in text)


@dataclasses.dataclass(frozen=True, slots=True)
class Failure:
    """What is kept of an error that an answer stands for. (The error itself would keep the
    frames of its traceback, and with them the whole exchange.)"""

    name: str
    """Of its class."""
    text: str
    """As :func:`describe` has it."""
    is_refusal: bool
    """The client asked for what it cannot get."""

    @classmethod
    def of(cls, error: BaseException) -> t.Self:
        is_refusal = isinstance(error, DownstreamError | TooManyExchanges)
        return cls(type(error).__name__, describe(error), is_refusal)


class HookError(RoloError):
    """A hook raised something. ``phase`` is the hook's name, ``__cause__`` what it raised;
    it is logged with its traceback where it happens, and answered with 500."""

    phase = "hook"


class EventStreamOver(RoloError):
    """The event stream that was spoken into has ended: its upstream has, or the client left."""

    phase = "event stream"


class NoBodyInHandshake(RoloError):
    """A hook put a body into a websocket's handshake, which has none."""

    phase = "websocket handshake"


class BodyFault(RoloError):
    """A body cannot be rewritten, and whoever sent it is at fault: the upstream, unless
    :meth:`blame_client` says otherwise."""

    side = "upstream"
    phase = "content coding"
    status = 502
    proxy_status = "http_response_content_coding"

    request_status: t.ClassVar[int] = 400

    def blame_client(self) -> None:
        """Say that the client sent the body."""
        self.side, self.status = "downstream", self.request_status
        self.proxy_status = "http_request_error"


class BodyTooLarge(BodyFault):
    """A body that is needed whole is longer than the bound given."""

    phase = "whole body"
    proxy_status = "http_response_body_size"
    request_status = 413


class UndecodableBody(BodyFault):
    """A body is not in the coding it claims, or was cut short."""


class ExpandsTooFar(UndecodableBody):
    """A body gets larger beyond all reason when it is decoded."""

    request_status = 413


class UnknownCoding(BodyFault):
    """A body has a content coding that cannot be decoded here, or too many of them."""

    request_status = 415


class UnknownCharset(BodyFault):
    """A body is text in an encoding that is not one of the web's."""

    phase = "charset"

    request_status = 415


class AmbiguousType(BodyFault):
    """A body has several media types: a hook would go by one of them, and who reads the body by
    another."""

    phase = "response head"
    proxy_status = "http_protocol_error"


class NotJson(BodyFault, ValueError):
    """A body is no JSON document."""

    phase = "whole body"


class PartOfBody(BodyFault):
    """A part of a body (206) came where a hook changes bodies, and only whole ones."""

    phase = "response head"
    proxy_status = "http_response_incomplete"
