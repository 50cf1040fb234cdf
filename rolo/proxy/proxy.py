"""A reverse proxy as an object: requests in, the upstream's answers out."""

from __future__ import annotations

import typing as t
from urllib.parse import unquote

from werkzeug.datastructures import Headers

from rolo.bridge.request import BridgeRequest
from rolo.client import HttpClient
from rolo.forwarded import LazyResponse
from rolo.proxy.client import ForwardingClient, portal_of
from rolo.proxy.headers import ForwardedPolicy, response_headers
from rolo.proxy.messages import OnInterim, OutgoingRequest, PoolLimits, RawHeaders, Timeouts, Tls
from rolo.proxy.outgoing import DEFAULT_POLICY, HeaderEdits, outgoing_request
from rolo.proxy.target import parse_upstream
from rolo.proxy.upstream_websocket import DEFAULT_SETTINGS, WebSocketSettings
from rolo.proxy.websocket_proxy import RelayHooks, WebSocketProxy
from rolo.request import Request, restore_payload
from rolo.response import Response
from rolo.websocket.request import WebSocketRequest


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
    :param forwarded: which ``X-Forwarded-*`` fields are added, see
        :class:`~rolo.proxy.ForwardedPolicy`
    :param websockets: how websockets are relayed, see :class:`~rolo.proxy.WebSocketSettings`
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
        forwarded: ForwardedPolicy = DEFAULT_POLICY,
        websockets: WebSocketSettings | None = None,
    ) -> None:
        self.forward_base_url = forward_base_url
        self.upstream = parse_upstream(forward_base_url)
        self.preserve_host = preserve_host
        self.forwarded = forwarded
        self._owns_client = client is None
        self.client: HttpClient = client or ForwardingClient(
            timeouts=timeouts, limits=limits, tls=tls
        )
        self.websockets = WebSocketProxy(
            forward_base_url,
            preserve_host,
            timeouts=timeouts,
            limits=limits,
            tls=tls,
            forwarded=forwarded,
            settings=websockets or DEFAULT_SETTINGS,
        )

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
        :param headers: fields to set in place of the request's
        :raises UpstreamError: there is no answer; the subclass says why
        :raises BadRequest: the request cannot be forwarded well-formed
        """
        outgoing = outgoing_request(
            request,
            self.upstream,
            path=forward_path,
            edits=headers,
            preserve_host=self.preserve_host,
            policy=self.forwarded,
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
        return self.websockets.relay(request, forward_path, headers, **hooks)

    def close(self) -> None:
        """Close the connections to the upstream; a custom client is left alone."""
        if self._owns_client:
            self.client.close()
        self.websockets.close()


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
    downstream = request.body.downstream
    if not downstream.capabilities.interim:
        return None

    async def relay(status: int, headers: RawHeaders) -> None:
        # 100 is sent by the server itself, when the body is asked for.
        if status != 100:
            await downstream.send_interim(status, response_headers(headers))

    return relay


def request_for_client(outgoing: OutgoingRequest, request: Request) -> Request:
    """Return ``outgoing`` as a :class:`~rolo.Request`, for a client of the user's."""
    raw_path, _, query = outgoing.target.partition(b"?")
    path = raw_path.decode("latin-1")
    headers = Headers(
        [(name.decode("latin-1"), value.decode("latin-1")) for name, value in outgoing.headers]
    )
    body = b""
    if outgoing.body is not None:
        body = outgoing.body if isinstance(outgoing.body, bytes) else restore_payload(request)
        headers.setdefault("Content-Length", str(len(body)))
    return Request(
        method=outgoing.method,
        path=unquote(path),
        headers=headers,
        body=body,
        scheme=outgoing.origin.scheme,
        query_string=query,
        remote_addr=request.remote_addr,
        server=(outgoing.origin.host, outgoing.origin.port),
        raw_path=path,
    )
