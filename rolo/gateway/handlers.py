"""Handlers for the usual places in a chain."""

from __future__ import annotations

import typing as t

from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException, NotFound

from rolo.gateway.chain import (
    HandlerChain,
    RequestContext,
    forget_context,
    remember_context,
)
from rolo.response import Response
from rolo.routing.router import Router

__all__ = [
    "EmptyResponseHandler",
    "HandlerChain",
    "RequestContext",
    "Response",
    "Router",
    "RouterHandler",
    "WerkzeugExceptionHandler",
]


class RouterHandler:
    """A request handler that dispatches to a router, and stops the chain if a route
    matched. Routes for websockets have the method ``WEBSOCKET``.

    An endpoint that raises :class:`NotFound` counts as no match.

    :param respond_not_found: whether to answer 404 and stop if no route matched
    """

    router: Router[t.Any]
    respond_not_found: bool

    def __init__(self, router: Router[t.Any], respond_not_found: bool = False) -> None:
        self.router = router
        self.respond_not_found = respond_not_found

    def __call__(
        self, chain: HandlerChain[t.Any], context: RequestContext, response: Response
    ) -> None:
        remember_context(context)
        try:
            result = self.router.dispatch(context.request)
        except NotFound:
            if self.respond_not_found:
                chain.respond(404, "not found")
            return
        finally:
            forget_context(context)
        # An endpoint for websockets has nothing to return.
        if result is not None:
            response.update_from(result)
        chain.stop()


class EmptyResponseHandler:
    """A response handler that fills a response nobody has filled: one with
    ``status_code = 0`` and no body."""

    status_code: int
    body: bytes
    headers: Headers | t.Mapping[str, str]

    def __init__(
        self,
        status_code: int = 404,
        body: bytes | None = None,
        headers: Headers | t.Mapping[str, str] | None = None,
    ) -> None:
        self.status_code = status_code
        self.body = body or b""
        self.headers = headers if headers is not None else Headers()

    def __call__(
        self, chain: HandlerChain[t.Any], context: RequestContext, response: Response
    ) -> None:
        if self.is_empty_response(response):
            self.populate_default_response(response)

    def is_empty_response(self, response: Response) -> bool:
        """Whether nobody has filled ``response``."""
        return not response.status_code and not response.response

    def populate_default_response(self, response: Response) -> None:
        """Fill ``response`` with the status, body and headers of this handler."""
        response.status_code = self.status_code
        response.data = self.body
        response.headers.update(self.headers)


class WerkzeugExceptionHandler:
    """An exception handler that answers werkzeug's HTTP exceptions and leaves others alone.

    :param output_format: ``json`` writes the members ``code`` and ``description``, ``html``
        werkzeug's page; ``None`` is ``json``
    """

    def __init__(self, output_format: t.Literal["json", "html"] | None = None) -> None:
        if output_format not in (None, "json", "html"):
            raise ValueError(f"unknown output format {output_format!r}")
        self.format = output_format or "json"

    def __call__(
        self,
        chain: HandlerChain[t.Any],
        exception: Exception,
        context: RequestContext,
        response: Response,
    ) -> None:
        if not isinstance(exception, HTTPException):
            return
        if exception.response is not None:
            response.update_from(exception.response)  # type: ignore[arg-type]
            return
        for name, value in exception.get_headers():
            if name.lower() != "content-type":
                response.headers[name] = value
        response.status_code = exception.code or 500
        if self.format == "html":
            response.data = exception.get_body()
            response.mimetype = "text/html"
        else:
            response.set_json({"code": exception.code, "description": exception.description})
