"""The gateway: a set of handlers, and a chain of them for each request."""

from __future__ import annotations

import typing as t

from rolo.gateway.chain import ExceptionHandler, Handler, HandlerChain, RequestContext
from rolo.request import Request
from rolo.response import Response
from rolo.websocket.request import WebSocketRequest

__all__ = [
    "ExceptionHandler",
    "Gateway",
    "Handler",
    "HandlerChain",
    "Request",
    "RequestContext",
    "Response",
    "WebSocketRequest",
]


class Gateway:
    """Takes requests through chains of handlers; serve it with
    :class:`~rolo.gateway.wsgi.WsgiGateway` or :class:`~rolo.gateway.asgi.AsgiGateway`.

    The lists are attributes and may be changed between requests.

    :param context_class: called with the request for each request's context
    """

    request_handlers: list[Handler[t.Any]]
    response_handlers: list[Handler[t.Any]]
    finalizers: list[Handler[t.Any]]
    exception_handlers: list[ExceptionHandler[t.Any]]

    def __init__(
        self,
        request_handlers: list[Handler[t.Any]] | None = None,
        response_handlers: list[Handler[t.Any]] | None = None,
        finalizers: list[Handler[t.Any]] | None = None,
        exception_handlers: list[ExceptionHandler[t.Any]] | None = None,
        context_class: type[RequestContext] | None = None,
    ) -> None:
        self.request_handlers = request_handlers if request_handlers is not None else []
        self.response_handlers = response_handlers if response_handlers is not None else []
        self.finalizers = finalizers if finalizers is not None else []
        self.exception_handlers = exception_handlers if exception_handlers is not None else []
        self.context_class = context_class or RequestContext

    def new_chain(self) -> HandlerChain[t.Any]:
        """Return a chain of the gateway's handlers for one request."""
        return HandlerChain(
            self.request_handlers,
            self.response_handlers,
            self.finalizers,
            self.exception_handlers,
        )

    def process(self, request: Request, response: Response) -> None:
        """Take ``request`` through a new chain, which fills ``response``.

        :raises Exception: only what a chain lets out, see :class:`HandlerChain`
        """
        self.new_chain().handle(self.context_class(request), response)

    def accept(self, request: WebSocketRequest) -> None:
        """Take a websocket handshake through a new chain.

        The handlers accept or reject it. If they do neither, it is rejected with the
        chain's response, or with 403 if they left that alone. An error of a request
        handler closes an accepted websocket with 1011, and becomes the response of a
        handshake that is still open as it does in HTTP. A websocket that a handler leaves
        open stays open.

        :raises Exception: as :meth:`process`, after closing with 1011 or rejecting with 500
        """
        response = Response(status=101)
        chain = self.new_chain()
        try:
            chain.handle(self.context_class(t.cast("Request", request)), response)
        except Exception as exc:
            request.fail(exc)
            raise
        if request.is_upgraded():
            if chain.exception is not None:
                request.fail(chain.exception)
        elif not request.is_rejected():
            if response.status_code < 200:
                response.status_code = 403
            request.reject(response)
