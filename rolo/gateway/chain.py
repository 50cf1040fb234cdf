"""The handler chain: one request, one response, and the handlers both pass through."""

from __future__ import annotations

import logging
import typing as t

from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException

from rolo.errors import ClientDisconnected, Failure, RoloError, printable
from rolo.net.body import close_given
from rolo.portal.containment import ERRORS, contained
from rolo.request import Request
from rolo.response import Response
from rolo.websocket.errors import WebSocketDisconnectedError
from rolo.wire.error_page import CONTENT_TYPE, error_text

__all__ = [
    "CompositeExceptionHandler",
    "CompositeFinalizer",
    "CompositeHandler",
    "CompositeResponseHandler",
    "ExceptionHandler",
    "Handler",
    "HandlerChain",
    "Request",
    "RequestContext",
    "Response",
    "call_safe",
    "context_of",
    "forget_context",
    "remember_context",
]

LOG = logging.getLogger(__name__)

T = t.TypeVar("T")


class RequestContext:
    """What handlers of one request tell each other: any attribute may be set on it.

    Reading one that nobody set raises :class:`AttributeError`; :meth:`get` gives ``None``.
    """

    request: Request

    def __init__(self, request: Request | None = None) -> None:
        self.request = request  # type: ignore[assignment]

    def get(self, key: str) -> t.Any | None:
        """Return the attribute ``key``, ``None`` if there is none."""
        return self.__dict__.get(key)

    if t.TYPE_CHECKING:  # any name is an attribute

        def __getattr__(self, name: str) -> t.Any: ...

        def __setattr__(self, name: str, value: t.Any) -> None: ...


def remember_context(context: RequestContext) -> None:
    """Let code that is given only the request of ``context`` find the context, until
    :func:`forget_context`, which has to follow: each knows the other meanwhile."""
    context.request.__dict__["_gateway_context"] = context


def forget_context(context: RequestContext) -> None:
    """Undo :func:`remember_context`."""
    context.request.__dict__["_gateway_context"] = None


def context_of(request: t.Any) -> RequestContext | None:
    """Return the context of the handler that is at work on ``request``, ``None`` if it has
    not remembered it."""
    context: RequestContext | None = request.__dict__.get("_gateway_context")
    return context


RC = t.TypeVar("RC", bound=RequestContext)
RC_contra = t.TypeVar("RC_contra", bound=RequestContext, contravariant=True)


class Handler(t.Protocol[RC_contra]):
    """A request handler, response handler or finalizer."""

    def __call__(
        self, chain: HandlerChain[t.Any], context: RC_contra, response: Response
    ) -> t.Any: ...


class ExceptionHandler(t.Protocol[RC_contra]):
    """Told of an exception that a request handler raised."""

    def __call__(
        self,
        chain: HandlerChain[t.Any],
        exception: Exception,
        context: RC_contra,
        response: Response,
    ) -> t.Any: ...


class HandlerChain(t.Generic[RC]):
    """Takes one request through its handlers. Make one for each request.

    **Request handlers** run in order, until one calls :meth:`stop`, :meth:`respond` or
    :meth:`terminate`, or raises.

    **Response handlers** run after them, all of them, in order, whether the chain was
    stopped or not. Only :meth:`terminate`, before or among them, keeps them from running.

    **Finalizers** run last, all of them, always: after :meth:`terminate`, after an error
    that leaves the chain, and when the chain is cancelled (``BaseException``: those pass
    through and nobody handles them).

    **Errors.** What a request handler raises is passed to all **exception handlers** in
    order, each of which may fill the response. Then, with ``stop_on_error`` (the default),
    the chain is stopped, so response handlers run; without it the next request handler
    does. With ``raise_on_error`` the error is raised from :meth:`handle` instead, and
    response handlers do not run. :meth:`throw` raises an error from :meth:`handle` as soon
    as the handler at work has returned, past exception and response handlers.

    An error after which the chain stops though no exception handler has touched status or
    body of the response (nor terminated the chain) is one that **nobody handled**. It is
    logged, and the response becomes the status of the error if it has one (an
    :class:`HTTPException`, a :class:`~rolo.errors.RoloError`) and 500 otherwise, with a
    body that tells nothing about it. (rolo 0.8 left an empty 200.)

    Errors that response handlers, exception handlers and finalizers raise are logged, with
    their traceback at debug level, and change nothing.

    ``SystemExit`` and ``KeyboardInterrupt`` are errors like any other: they end the exchange,
    not the program. What exception handlers get is a
    :class:`~rolo.portal.containment.ProgramExit`.
    """

    request_handlers: list[Handler[t.Any]]
    response_handlers: list[Handler[t.Any]]
    finalizers: list[Handler[t.Any]]
    exception_handlers: list[ExceptionHandler[t.Any]]

    stop_on_error: bool = True
    """Whether an error of a request handler stops the chain."""
    raise_on_error: bool = False
    """Whether it is raised from :meth:`handle`."""

    stopped: bool = False
    terminated: bool = False
    finalized: bool = False
    error: Exception | None = None
    """What :meth:`handle` will raise."""
    exception: Exception | None = None
    """What a request handler raised last, handled or not."""
    response: Response | None = None
    context: RC | None = None

    def __init__(
        self,
        request_handlers: list[Handler[t.Any]] | None = None,
        response_handlers: list[Handler[t.Any]] | None = None,
        finalizers: list[Handler[t.Any]] | None = None,
        exception_handlers: list[ExceptionHandler[t.Any]] | None = None,
    ) -> None:
        self.request_handlers = request_handlers if request_handlers is not None else []
        self.response_handlers = response_handlers if response_handlers is not None else []
        self.finalizers = finalizers if finalizers is not None else []
        self.exception_handlers = exception_handlers if exception_handlers is not None else []

    def handle(self, context: RC, response: Response) -> None:
        """Take the request of ``context`` through the chain and fill ``response``."""
        self.context = context
        self.response = response
        try:
            for handler in self.request_handlers:
                try:
                    handler(self, context, response)
                except ERRORS as exc:
                    self._handle_exception(contained(exc), response)
                if self.error is not None:
                    raise self.error
                if self.terminated:
                    return
                if self.stopped:
                    break
            if self.response_handlers:
                self._call_response_handlers(response)
        finally:
            if self.finalizers:
                self._call_finalizers(response)
            self.finalized = True

    def respond(
        self,
        status_code: int = 200,
        payload: t.Any = None,
        headers: Headers | t.Mapping[str, t.Any] | None = None,
    ) -> None:
        """Fill the response and stop the chain.

        :param payload: a dict or list is sent as JSON, str and bytes as they are, ``None``
            as no body; any other iterable is the stream of the body
        :param headers: replace those of the same name
        """
        response = self.response
        if response is None:
            raise RuntimeError("the chain has no response before it handles a request")
        response.status_code = status_code
        if isinstance(payload, dict | list):
            response.set_json(payload)
        else:
            response.set_response(payload)
        if headers:
            response.headers.update(headers)
        self.stop()

    def stop(self) -> None:
        """Skip the request handlers that are left; response handlers run."""
        self.stopped = True

    def terminate(self) -> None:
        """Skip all handlers that are left but the finalizers."""
        self.terminated = True

    def throw(self, error: Exception) -> None:
        """Raise ``error`` from :meth:`handle` once the request handler (or the last
        exception handler) at work has returned. In other handlers it has no effect."""
        self.error = error

    def _handle_exception(self, exc: Exception, response: Response) -> None:
        self.exception = exc
        if self.raise_on_error:
            self.error = exc
        if self.stop_on_error:
            self.stopped = True
        status, body = response.status_code, response.response
        self._call_exception_handlers(exc, response)
        touched = response.status_code != status or response.response is not body
        if self.stop_on_error and not (touched or self.terminated or self.error):
            _fail(exc, response)

    def _call_exception_handlers(self, e: Exception, response: Response) -> None:
        for handler in self.exception_handlers:
            try:
                handler(self, e, t.cast("RC", self.context), response)
            except ERRORS as exc:
                _log_error("exception while running exception handler", contained(exc))

    def _call_response_handlers(self, response: Response) -> None:
        for handler in self.response_handlers:
            if self.terminated:
                return
            try:
                handler(self, t.cast("RC", self.context), response)
            except ERRORS as exc:
                _log_error("exception while running response handler", contained(exc))

    def _call_finalizers(self, response: Response) -> None:
        for handler in self.finalizers:
            try:
                handler(self, t.cast("RC", self.context), response)
            except ERRORS as exc:
                _log_error("exception while running request finalizer", contained(exc))


class CompositeHandler:
    """Several request handlers as one.

    :param return_on_stop: whether those that are left are skipped once the chain is
        stopped; they always are once it is terminated
    """

    handlers: list[Handler[t.Any]]

    def __init__(self, return_on_stop: bool = True) -> None:
        self.handlers = []
        self.return_on_stop = return_on_stop

    def append(self, handler: Handler[t.Any]) -> None:
        """Add a handler behind the others."""
        self.handlers.append(handler)

    def remove(self, handler: Handler[t.Any]) -> None:
        """Take a handler out.

        :raises ValueError: it is not here
        """
        self.handlers.remove(handler)

    def __call__(
        self, chain: HandlerChain[t.Any], context: RequestContext, response: Response
    ) -> None:
        for handler in self.handlers:
            handler(chain, context, response)
            if chain.terminated or (self.return_on_stop and chain.stopped):
                return


class CompositeResponseHandler(CompositeHandler):
    """Several response handlers as one. That the chain is stopped is nothing to them."""

    def __init__(self) -> None:
        super().__init__(return_on_stop=False)


class CompositeFinalizer(CompositeResponseHandler):
    """Several finalizers as one; an error in one does not keep the others from running."""

    def __call__(
        self, chain: HandlerChain[t.Any], context: RequestContext, response: Response
    ) -> None:
        for handler in self.handlers:
            call_safe(
                handler,
                args=(chain, context, response),
                exception_message="Error while running request finalizer",
            )


class CompositeExceptionHandler:
    """Several exception handlers as one; an error in one does not keep the others from
    running."""

    handlers: list[ExceptionHandler[t.Any]]

    def __init__(self) -> None:
        self.handlers = []

    def append(self, handler: ExceptionHandler[t.Any]) -> None:
        """Add a handler behind the others."""
        self.handlers.append(handler)

    def remove(self, handler: ExceptionHandler[t.Any]) -> None:
        """Take a handler out.

        :raises ValueError: it is not here
        """
        self.handlers.remove(handler)

    def __call__(
        self,
        chain: HandlerChain[t.Any],
        exception: Exception,
        context: RequestContext,
        response: Response,
    ) -> None:
        for handler in self.handlers:
            call_safe(
                handler,
                args=(chain, exception, context, response),
                exception_message="exception while running exception handler",
            )


def call_safe(
    func: t.Callable[..., T],
    args: tuple[t.Any, ...] | None = None,
    kwargs: dict[str, t.Any] | None = None,
    exception_message: str | None = None,
) -> T | None:
    """Call ``func`` and return what it returns; log an error, with ``exception_message``,
    and return ``None``."""
    try:
        return func(*(args or ()), **(kwargs or {}))
    except ERRORS as exc:
        if exception_message is None:
            exception_message = f"error calling function {getattr(func, '__name__', func)}"
        _log_error(exception_message, contained(exc))
        return None


def _log_error(message: str, error: Exception) -> None:
    traceback = error if LOG.isEnabledFor(logging.DEBUG) else None
    said = printable(str(error))
    LOG.error("%s: %s: %s", message, type(error).__name__, said, exc_info=traceback)


def _fail(error: Exception, response: Response) -> None:
    """Make ``response`` what the client sees of an error that nobody handled."""
    status = _log_unhandled(error)
    body = response.response
    call_safe(close_given, (body,))  # it will never be sent
    if isinstance(error, HTTPException):
        response.update_from(error.get_response())
        return
    response.update_from(Response(error_text(status), status=status, content_type=CONTENT_TYPE))
    response._failure = Failure.of(error)


def _log_unhandled(error: Exception) -> int:
    """Log ``error`` as loudly as it deserves and return its status."""
    if isinstance(error, HTTPException):
        LOG.debug("no handler for %s", error)
        return error.code or 500
    if isinstance(error, ClientDisconnected | WebSocketDisconnectedError):
        LOG.debug("client left: %s", error)
        return ClientDisconnected.status
    if isinstance(error, RoloError):
        LOG.error("%s in phase %r: %s", type(error).__name__, error.phase, error)
        return error.status
    LOG.error("unhandled exception in a request handler", exc_info=error)
    return 500
