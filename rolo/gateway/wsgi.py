"""Serves a gateway as a WSGI application."""

from __future__ import annotations

import typing as t

from werkzeug.wsgi import ClosingIterator

from rolo.gateway.gateway import Gateway
from rolo.request import Request
from rolo.response import Response

if t.TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

__all__ = ["Gateway", "Response", "WsgiGateway"]


class WsgiGateway:
    """A WSGI application (PEP 3333) that takes each request through a gateway's chain.

    Bodies stream both ways. The response is closed exactly once: by the server, or here
    if it cannot be started.
    """

    gateway: Gateway

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> t.Iterable[bytes]:
        request = Request.from_environ(environ)
        response = Response()
        # Uploaded files are held in temporary files, and a streamed body may still read them.
        response.call_on_close(request.close)
        try:
            self.gateway.process(request, response)
            body, status, headers = response.get_wsgi_response(environ)
            start_response(status, headers)
        except BaseException:
            response.close()
            raise
        if isinstance(body, ClosingIterator):
            return t.cast("t.Iterable[bytes]", body)
        # Werkzeug hands out a body for direct passthrough bare, without what closes it.
        return t.cast("t.Iterable[bytes]", ClosingIterator(iter(body), response.close))
