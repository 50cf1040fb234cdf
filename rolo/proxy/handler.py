"""A proxy as a handler: in a gateway's chain, or as the endpoint of a route."""

from __future__ import annotations

import logging
import typing as t

from rolo.bridge.answer import error_response
from rolo.errors import ClientDisconnected, HookError, RoloError, describe
from rolo.gateway.chain import (
    HandlerChain,
    RequestContext,
    forget_context,
    remember_context,
)
from rolo.http_client import HttpClient
from rolo.proxy.forwarded_fields import ForwardedPolicy
from rolo.proxy.hooks.hooks import HookArguments, Hooks
from rolo.proxy.outgoing import DEFAULT_POLICY, raw_tail
from rolo.proxy.proxy import Proxy
from rolo.proxy.request_rules import DEFAULT_RULES, RequestRules
from rolo.request import Request, get_raw_path
from rolo.response import Response
from rolo.upstream.settings import PoolLimits, Timeouts, Tls, WebSocketSettings
from rolo.websocket.request import WebSocketRequest
from rolo.wire.proxy_status import check_name, proxy_status

LOG = logging.getLogger(__name__)


class ProxyHandler(Hooks):
    """Forwards what it is given to ``forward_base_url``.

    As an endpoint of a :class:`~rolo.Router` it forwards the path that the route captured
    as ``path`` (nothing captured: the base URL itself)::

        router.add("/api/<path:path>", ProxyHandler("http://localhost:8080"))

    What it captured goes on as it came: behind a base URL with a path, ``/api/../admin`` asks
    most origins for what is beside that path. ``rules=RequestRules(refuse_dot_segments=True)``
    answers such requests with 400.

    As a handler of a :class:`~rolo.gateway.Gateway` it forwards the whole path and stops
    the chain::

        Gateway(request_handlers=[ProxyHandler("http://localhost:8080")])

    To rewrite what passes, subclass it and override phases, see :class:`Hooks`, or give
    functions: ``ProxyHandler(url, on_response=f)``. Its own phases stand next to the
    client, before ``hooks`` and functions.

    An upstream that cannot be reached is answered with 502, a slow one with 504; the log
    says why, the client does not learn it. Parameters are those of :class:`Proxy`, and

    :param proxy_status: the name under which answers that stand for an error carry
        Proxy-Status (RFC 9209), the kind of error and no more; ``None`` leaves it out
    """

    _closed_by_owner = True
    owns_proxy = True
    """``proxy`` is closed with the handler."""

    def __init__(
        self,
        forward_base_url: str,
        client: HttpClient | None = None,
        *,
        preserve_host: bool = True,
        timeouts: Timeouts | None = None,
        limits: PoolLimits | None = None,
        tls: Tls | None = None,
        lenient_framing: bool = False,
        forwarded: ForwardedPolicy = DEFAULT_POLICY,
        rules: RequestRules = DEFAULT_RULES,
        websockets: WebSocketSettings | None = None,
        proxy_status: str | None = None,
        hooks: t.Iterable[Hooks] = (),
        **functions: t.Unpack[HookArguments],
    ) -> None:
        self.proxy_status = check_name(proxy_status)
        self.proxy = Proxy(
            forward_base_url,
            client,
            preserve_host,
            timeouts=timeouts,
            limits=limits,
            tls=tls,
            lenient_framing=lenient_framing,
            forwarded=forwarded,
            rules=rules,
            websockets=websockets,
            hooks=[self, *hooks],
            **functions,
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
            path = raw_tail(request, path)
        return self.forward(request, path)

    def handle(
        self, chain: HandlerChain[t.Any], context: RequestContext, response: Response
    ) -> None:
        """Forward the request of ``context`` as it came, and stop the chain."""
        assert context.request is not None
        if self.proxy.phases is None:
            response.update_from(self.forward(context.request))
        else:
            remember_context(context)
            try:
                response.update_from(self.forward(context.request))
            finally:
                forget_context(context)
        chain.stop()

    def forward(self, request: Request | WebSocketRequest, path: str | None = None) -> Response:
        """Forward ``request`` and return the answer, or the one that stands for an error.

        A websocket is relayed from when the handler returns; the answer then has status 101.
        """
        try:
            if isinstance(request, WebSocketRequest):
                return self.proxy.relay(request, path)
            return self.proxy.forward(request, path)
        except RoloError as exc:
            return refusal(exc, request, self.proxy_status)

    def close(self) -> None:
        """Close the hooks and the connections to the upstream. Whoever made the handler calls
        it; a subclass that overrides it calls this one, too."""
        if self.owns_proxy:
            self.proxy.close()


def refusal(
    error: RoloError, request: Request | WebSocketRequest, name: str | None = None
) -> Response:
    """Return what the client gets for ``error``, and log what it does not get to know.

    :param name: what the proxy calls itself in Proxy-Status; ``None`` leaves the field out
    :raises ClientDisconnected: ``error`` itself; there is nobody to answer
    """
    if isinstance(error, ClientDisconnected):
        raise error
    # A client must not write lines of its own into the log.
    line = ascii(f"{request.method} {get_raw_path(request)}")[1:-1]
    if not isinstance(error, HookError):  # which was logged where it happened
        LOG.warning("%s: %s", line, describe(error))
    response = error_response(error)
    if name is not None:
        response.headers["Proxy-Status"] = proxy_status(name, error)
    return response
