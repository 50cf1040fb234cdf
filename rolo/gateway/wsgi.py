"""Serves a gateway as a WSGI application."""

from __future__ import annotations

import logging
import typing as t

from rolo.bridge.answer import close_contained, error_response
from rolo.bridge.lazy_response import LazyResponse
from rolo.bridge.observation import Observation
from rolo.bridge.observed import Progress
from rolo.bridge.observer import Observer
from rolo.bridge.wsgi_answer import line_of, start_answer
from rolo.errors import DownstreamError, describe
from rolo.gateway.gateway import Gateway
from rolo.gateway.observed_wsgi import observed_call
from rolo.request import Request
from rolo.response import Response
from rolo.wire.admission import admit

if t.TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

LOG = logging.getLogger(__name__)

# As servers write them, and as ASGI does.
_VERSIONS = {"2.0": "2", "3.0": "3"}


__all__ = ["Gateway", "Response", "WsgiGateway"]


class WsgiGateway:
    """A WSGI application (PEP 3333) that takes each request through a gateway's chain.

    Bodies stream both ways. The response is closed exactly once: by the server, or here
    if it cannot be started.

    :param observers: are told of what is served, see :mod:`rolo.observing`, as far as WSGI
        shows it
    """

    gateway: Gateway

    def __init__(self, gateway: Gateway, *, observers: t.Iterable[Observer] = ()) -> None:
        self.gateway = gateway
        observers = tuple(observers)
        self.observation = Observation(observers) if observers else None

    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> t.Iterable[bytes]:
        if self.observation is None:
            return self._serve(environ, start_response)
        return observed_call(self._serve, self.observation, environ, start_response)

    def wait_observed(self, timeout: float | None = 5.0) -> bool:
        """Block until the observers were told of all that happened before the call; see
        :meth:`rolo.serving.RunningServer.wait_observed`."""
        return self.observation is None or self.observation.wait_observed(timeout)

    def close(self) -> None:
        """End the threads of the observers. Call it when the server has stopped."""
        if self.observation is not None:
            self.observation.close()

    def _serve(
        self,
        environ: WSGIEnvironment,
        start_response: StartResponse,
        progress: Progress | None = None,
    ) -> t.Iterable[bytes]:
        request = Request.from_environ(environ)
        response = LazyResponse()
        try:
            if (refusal := _refused(request)) is not None:
                response.update_from(refusal)
            else:
                self.gateway.process(request, response)
            if progress is not None:
                progress.decided(response)
        except BaseException:
            close_contained(response.close, request, line_of)
            request.close()
            raise
        return start_answer(response, request, start_response)


def _refused(request: Request) -> Response | None:
    """Return the answer to a request that no handler gets to see, ``None`` for others."""
    environ = request.environ
    headers = [(_bytes(name), _bytes(value)) for name, value in request.headers]
    if "Host" not in request.headers:
        headers.append((b"Host", _bytes(environ.get("HTTP_HOST") or environ["SERVER_NAME"])))
    target = _bytes(environ.get("RAW_URI") or environ.get("REQUEST_URI") or "")
    version = str(environ.get("SERVER_PROTOCOL", "HTTP/1.1")).removeprefix("HTTP/")
    try:
        admit(environ["REQUEST_METHOD"], target, headers, _VERSIONS.get(version, version))
    except DownstreamError as error:
        LOG.warning("%s refused: %s", line_of(request), describe(error))
        return error_response(error)
    return None


def _bytes(text: str) -> bytes:
    return text.encode("latin-1")
