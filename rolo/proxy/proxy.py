"""A reverse proxy as an object: requests in, the upstream's answers out."""

from __future__ import annotations

import typing as t
from urllib.parse import unquote

from werkzeug.datastructures import Headers

from rolo.bridge.lazy_response import LazyResponse, UpstreamAnswer
from rolo.bridge.request import BridgeRequest
from rolo.errors import FaultUnavailable
from rolo.http_client import HttpClient
from rolo.net.body import Body
from rolo.portal.portal import Portal
from rolo.proxy.client import ForwardingClient, portal_of
from rolo.proxy.forwarded_fields import ForwardedPolicy
from rolo.proxy.hooks.bodies import upload_pieces
from rolo.proxy.hooks.context import ProxyContext
from rolo.proxy.hooks.exchange import HookedExchange, HookInterim
from rolo.proxy.hooks.hooks import HookArguments, HookFunctions, Hooks
from rolo.proxy.hooks.phases import Phases
from rolo.proxy.hooks.websocket import HookedWebSocket
from rolo.proxy.outgoing import DEFAULT_POLICY, HeaderEdits, outgoing_request
from rolo.proxy.request_rules import DEFAULT_RULES, RequestRules
from rolo.proxy.websocket_proxy import RelayHooks, WebSocketProxy, outgoing_handshake
from rolo.request import Request, whole_body
from rolo.response import Response
from rolo.upstream.request import OnInterim, UpstreamRequest
from rolo.upstream.settings import (
    DEFAULT_WEBSOCKET_SETTINGS,
    PoolLimits,
    Timeouts,
    Tls,
    WebSocketSettings,
)
from rolo.upstream.websocket import Handshake, UpstreamWebSocket
from rolo.websocket.request import WebSocketRequest
from rolo.wire.hop_by_hop import response_headers
from rolo.wire.target import parse_upstream


class Proxy(HttpClient):
    """Forwards requests to one upstream.

    :param forward_base_url: the upstream, for example ``http://localhost:8080/base``
    :param client: sends the requests instead of our own client; it gets a
        :class:`~rolo.Request` and the upstream's base URL, stays the caller's to close,
        and the settings below do not apply to it
    :param preserve_host: forward the client's Host; ``False`` sends the upstream's
    :param timeouts: seconds for each wait, see :class:`~rolo.proxy.Timeouts`
    :param limits: bounds of the connection pool, see :class:`~rolo.proxy.PoolLimits`
    :param tls: verification of ``https`` upstreams, see :class:`~rolo.proxy.Tls`
    :param lenient_framing: read answers that carry both ``Transfer-Encoding: chunked`` and
        Content-Length, or chunks in HTTP/1.0, as older development servers send them: the
        chunks win, the length is dropped, and the connection is not used again. Not for
        upstreams that others write to: such answers are what smuggling is made of, and
        are refused (502) by default. Websocket handshakes are read strictly all the same.
    :param forwarded: which ``X-Forwarded-*`` fields are added, see
        :class:`~rolo.proxy.ForwardedPolicy`
    :param rules: which requests and fields pass, see :class:`~rolo.proxy.RequestRules`
    :param websockets: how websockets are relayed, see :class:`~rolo.proxy.WebSocketSettings`
    :param hooks: rewrite what passes, see :class:`~rolo.proxy.Hooks`; from the client's
        side to the upstream's
    :param functions: hooks as plain functions, named like the phases: ``on_response=f``.
        They stand behind ``hooks``, next to the upstream.
    :raises ValueError: ``forward_base_url`` is not a URL to forward to; says why
    """

    def __init__(
        self,
        forward_base_url: str,
        client: HttpClient | None = None,
        preserve_host: bool = True,
        *,
        timeouts: Timeouts | None = None,
        limits: PoolLimits | None = None,
        tls: Tls | None = None,
        lenient_framing: bool = False,
        forwarded: ForwardedPolicy = DEFAULT_POLICY,
        rules: RequestRules = DEFAULT_RULES,
        websockets: WebSocketSettings | None = None,
        hooks: t.Iterable[Hooks] = (),
        **functions: t.Unpack[HookArguments],
    ) -> None:
        self.forward_base_url = forward_base_url
        self.upstream = parse_upstream(forward_base_url)
        self.preserve_host = preserve_host
        self.forwarded = forwarded
        self.rules = rules
        self._owns_client = client is None
        self.client: HttpClient = client or ForwardingClient(
            timeouts=timeouts, limits=limits, tls=tls, lenient_framing=lenient_framing
        )
        self.websockets = WebSocketProxy(
            forward_base_url,
            preserve_host,
            timeouts=timeouts,
            limits=limits,
            tls=tls,
            forwarded=forwarded,
            rules=rules,
            settings=websockets or DEFAULT_WEBSOCKET_SETTINGS,
            client=self.client if isinstance(self.client, ForwardingClient) else None,
        )
        self._under_hooks = _ProxyUnderHooks(self, None)
        self.phases: Phases | None = None
        """The hooks by phase; ``None`` if there are none, and nothing looks for any."""
        self.use(hooks, **functions)

    def use(self, hooks: t.Iterable[Hooks] = (), **functions: t.Unpack[HookArguments]) -> None:
        """Put these hooks in the place of all others, for exchanges that begin from now on.
        The others are closed when the last of their exchanges is over. Parameters as above."""
        phases = Phases([*hooks, HookFunctions(**functions)])
        self._put(phases if phases else None)

    def take_hooks(self, other: Proxy, afterwards: t.Callable[[], t.Any]) -> None:
        """Put the hooks of ``other``, which has had no exchange yet and is left without any,
        in the place of all others.

        :param afterwards: called when the others are closed
        """
        phases, other.phases = other.phases, None
        self._put(phases, afterwards)

    def _put(self, phases: Phases | None, afterwards: t.Callable[[], t.Any] | None = None) -> None:
        before, self.phases = self.phases, phases
        life = before.life if before is not None else None
        if life is not None:
            life.retire(afterwards)
        elif afterwards is not None:
            afterwards()

    def request(self, request: Request, server: str | None = None) -> Response:
        """As ``forward(request)``. ``server`` is ignored: the upstream is fixed."""
        return self.forward(request)

    def forward(
        self,
        request: Request,
        forward_path: str | None = None,
        headers: HeaderEdits | None = None,
    ) -> Response:
        """Forward ``request`` and return the answer once its head is here; the body
        streams. Whoever gets the response closes it, which the bridge and WSGI servers do
        for responses they send.

        :param forward_path: replaces the path of the request, below the base URL's;
            ``None`` keeps the path as it came. The query stays.
        :param headers: fields to set in place of the request's; a copy of ``request.headers``
            will do, of which only what is end-to-end goes on
        :raises ReservedField: ``headers`` would frame the message or steer the connection
        :raises UpstreamError: there is no answer; the subclass says why
        :raises BadRequest: the request cannot be forwarded well-formed
        """
        if self.phases is not None and self.phases.see_http:
            portal = portal_of(request)
            context = ProxyContext.begin(request, self.upstream, forward_path, portal)
            below = self._under_hooks if headers is None else _ProxyUnderHooks(self, headers)
            return HookedExchange(self.phases, below, context, portal).run()
        outgoing = outgoing_request(
            request,
            self.upstream,
            path=forward_path,
            edits=headers,
            preserve_host=self.preserve_host,
            policy=self.forwarded,
            rules=self.rules,
        )
        if isinstance(self.client, ForwardingClient):
            return LazyResponse(
                self.client.send(outgoing, portal_of(request), interim_relay(request))
            )
        return self.client.request(
            request_for_client(outgoing, request), server=str(self.upstream.origin)
        )

    def relay(
        self,
        request: WebSocketRequest,
        forward_path: str | None = None,
        headers: HeaderEdits | None = None,
        **hooks: t.Unpack[RelayHooks],
    ) -> Response:
        """Relay the websocket that ``request`` asks for; see :meth:`WebSocketProxy.relay`."""
        if self.phases is None:
            return self.websockets.relay(request, forward_path, headers, **hooks)
        if hooks:
            raise TypeError("a proxy with hooks takes no other hooks on its relays")
        portal = portal_of(request)
        if portal is None:
            raise RuntimeError("only a gateway on an asynchronous server can relay websockets")
        context = ProxyContext.begin(request, self.upstream, forward_path, portal)
        below = _WebSocketsUnderHooks(self, headers)
        return HookedWebSocket(self.phases, below, context, request, portal).run()

    def close(self) -> None:
        """Close the hooks (see :meth:`Hooks.close`) and the connections to the upstream; a
        custom client is left alone."""
        if self.phases is not None and self.phases.life is not None:
            self.phases.life.close()
        if self._owns_client:
            self.client.close()
        self.websockets.close()


class _ProxyUnderHooks:
    """What hooks stand on: a proxy that builds and sends what they have decided."""

    def __init__(self, proxy: Proxy, edits: HeaderEdits | None) -> None:
        self._proxy = proxy
        self._edits = edits

    def build(self, context: ProxyContext) -> UpstreamRequest:
        proxy, (upstream, path) = self._proxy, context.chosen
        return outgoing_request(
            context.request,
            upstream,
            path=path,
            edits=self._edits,
            preserve_host=proxy.preserve_host,
            policy=proxy.forwarded,
            rules=proxy.rules,
        )

    def send(
        self,
        outgoing: UpstreamRequest,
        request: Request,
        portal: Portal | None,
        hooked: HookInterim | None,
    ) -> UpstreamAnswer:
        client = self._proxy.client
        if isinstance(client, ForwardingClient):
            relay = interim_relay(request)
            return client.send(outgoing, portal, relay if hooked is None else hooked(relay))
        if outgoing.writer is not None:
            raise FaultUnavailable("faults upwards want rolo's own client")
        if outgoing.body is not None and not isinstance(outgoing.body, bytes):
            outgoing.body = b"".join(upload_pieces(outgoing.body, portal))
        response = client.request(
            request_for_client(outgoing, request), server=str(outgoing.origin)
        )
        return upstream_answer_of(response)


class _WebSocketsUnderHooks:
    """The same for websockets."""

    def __init__(self, proxy: Proxy, edits: HeaderEdits | None) -> None:
        self._proxy = proxy
        self._edits = edits
        self.settings = proxy.websockets.settings

    def build(self, context: ProxyContext) -> Handshake:
        proxy, (upstream, path) = self._proxy, context.chosen
        return outgoing_handshake(
            context.request,
            upstream,
            path=path,
            edits=self._edits,
            preserve_host=proxy.preserve_host,
            policy=proxy.forwarded,
            rules=proxy.rules,
        )

    def open(self, context: ProxyContext, handshake: Handshake) -> UpstreamWebSocket:
        return self._proxy.websockets.open(context.request, handshake)


def upstream_answer_of(response: Response) -> UpstreamAnswer:
    """Return the response of a client of the user's as an upstream's answer."""
    untouched = response._untouched_answer if isinstance(response, LazyResponse) else None
    if untouched is not None:
        return untouched
    headers = [
        (name.encode("latin-1"), str(value).encode("latin-1")) for name, value in response.headers
    ]
    reason = response.status.partition(" ")[2].encode("latin-1", "replace")
    return UpstreamAnswer(
        response.status_code, reason, response_headers(headers), _ClientBody(response)
    )


class _ClientBody(Body):
    def __init__(self, response: Response) -> None:
        self._response = response

    def __iter__(self) -> t.Iterator[bytes]:
        return iter(self._response.iter_encoded())

    def close(self) -> None:
        self._response.close()


def forward(
    request: Request,
    forward_base_url: str,
    forward_path: str | None = None,
    headers: HeaderEdits | None = None,
) -> Response:
    """Forward one request, as :meth:`Proxy.forward` of a proxy that lives as long as the
    answer. A :class:`Proxy` that is kept reuses its connections; this does not."""
    proxy = Proxy(forward_base_url)
    try:
        response = proxy.forward(request, forward_path, headers)
    except BaseException:
        proxy.close()
        raise
    response.call_on_close(proxy.close)
    return response


def interim_relay(request: Request) -> OnInterim | None:
    """Return what passes 1xx answers on to the client of ``request``, if its server can."""
    if not isinstance(request, BridgeRequest):
        return None
    return request._pass_interim if request._body.downstream.capabilities.interim else None


def request_for_client(outgoing: UpstreamRequest, request: Request) -> Request:
    """Return ``outgoing`` as a :class:`~rolo.Request`, for a client of the user's."""
    raw_path, _, query = outgoing.target.partition(b"?")
    path = raw_path.decode("latin-1")
    if outgoing.body is not None and not isinstance(outgoing.body, bytes):
        outgoing.body = whole_body(request)
    headers = Headers(
        [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in outgoing.framed_headers()
        ]
    )
    return Request(
        method=outgoing.method,
        path=unquote(path),
        headers=headers,
        body=outgoing.body or b"",
        scheme=outgoing.origin.scheme,
        query_string=query,
        remote_addr=request.remote_addr,
        server=(outgoing.origin.host, outgoing.origin.port),
        raw_path=path,
    )
