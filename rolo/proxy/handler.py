"""A proxy as a handler: in a gateway's chain, or as the endpoint of a route."""

from __future__ import annotations

import logging
import typing as t

from rolo.client import HttpClient
from rolo.errors import ClientDisconnected, RoloError
from rolo.gateway.chain import HandlerChain, RequestContext
from rolo.proxy.headers import ForwardedPolicy
from rolo.proxy.messages import PoolLimits, Timeouts, Tls
from rolo.proxy.outgoing import DEFAULT_POLICY, raw_tail
from rolo.proxy.proxy import Proxy
from rolo.request import Request, get_raw_path
from rolo.response import Response

LOG = logging.getLogger(__name__)


class ProxyHandler:
    """Forwards what it is given to ``forward_base_url``.

    As an endpoint of a :class:`~rolo.Router` it forwards the path that the route captured
    as ``path`` (nothing captured: the base URL itself)::

        router.add("/api/<path:path>", ProxyHandler("http://localhost:8080"))

    As a handler of a :class:`~rolo.gateway.Gateway` it forwards the whole path and stops
    the chain::

        Gateway(request_handlers=[ProxyHandler("http://localhost:8080")])

    An upstream that cannot be reached is answered with 502, a slow one with 504; the log
    says why, the client does not learn it. Parameters are those of :class:`Proxy`.
    """

    def __init__(
        self,
        forward_base_url: str,
        client: HttpClient | None = None,
        *,
        preserve_host: bool = True,
        timeouts: Timeouts | None = None,
        limits: PoolLimits | None = None,
        tls: Tls | None = None,
        forwarded: ForwardedPolicy = DEFAULT_POLICY,
    ) -> None:
        self.proxy = Proxy(
            forward_base_url,
            client,
            preserve_host,
            timeouts=timeouts,
            limits=limits,
            tls=tls,
            forwarded=forwarded,
        )

    @t.overload
    def __call__(self, request: Request, **kwargs: t.Any) -> Response: ...

    @t.overload
    def __call__(
        self, request: HandlerChain[t.Any], context: RequestContext, response: Response
    ) -> None: ...

    def __call__(self, request: t.Any, *args: t.Any, **kwargs: t.Any) -> Response | None:
        if isinstance(request, HandlerChain):
            self.handle(request, *args, **kwargs)
            return None
        if args:
            # The default dispatcher hands the captured arguments over as one dict.
            kwargs = args[0]
        path = kwargs.get("path", "")
        if path:
            path = raw_tail(get_raw_path(request).encode("latin-1"), path).decode("latin-1")
        return self.forward(request, path)

    def handle(
        self, chain: HandlerChain[t.Any], context: RequestContext, response: Response
    ) -> None:
        """Forward the request of ``context`` as it came, and stop the chain."""
        assert context.request is not None
        response.update_from(self.forward(context.request))
        chain.stop()

    def forward(self, request: Request, path: str | None = None) -> Response:
        """Forward ``request`` and return the answer, or the one that stands for an error."""
        try:
            return self.proxy.forward(request, path)
        except RoloError as exc:
            return refusal(exc, request)

    def close(self) -> None:
        """Close the connections to the upstream."""
        self.proxy.close()


def refusal(error: RoloError, request: Request) -> Response:
    """Return what the client gets for ``error``, and log what it does not get to know.

    :raises ClientDisconnected: ``error`` itself; there is nobody to answer
    """
    if isinstance(error, ClientDisconnected):
        raise error
    LOG.warning(
        "%s %s: %s error in phase %r: %s%s",
        request.method,
        request.path,
        error.side,
        error.phase,
        error,
        f" [{error.__cause__!r}]" if error.__cause__ else "",
    )
    return Response(f"{error.status}\n", status=error.status, mimetype="text/plain")
