"""The phases of an exchange, to be overridden one by one."""

from __future__ import annotations

import dataclasses
import typing as t

from rolo.proxy.hooks.context import ProxyContext
from rolo.proxy.hooks.editable import OutboundHandshake, OutboundRequest, ProxiedResponse
from rolo.proxy.hooks.sse import Event
from rolo.proxy.hooks.websocket_handle import RelayedWebSocket
from rolo.response import Response
from rolo.upstream.relay import Closed
from rolo.wire.fields import HeaderFields


@dataclasses.dataclass
class Interim:
    """A 1xx answer on its way to the client."""

    status: int
    headers: HeaderFields


class Hooks:
    """Subclass it and override the phases you need; those that are left cost nothing.

    Methods are called in the order in which they stand here, with the exchange's context
    first. They are sync code: they may wait through rolo's own calls (``context.sleep``,
    reading a body, forwarding elsewhere), and in ``threads`` mode in any way.

    An error that a hook raises is logged with the hook's name. Before the answer's head it
    becomes 500 (a werkzeug :class:`HTTPException`: its own answer), after it the answer is
    broken off. Either way ``on_finished`` follows.

    What cannot be a hook (``async def``, other arguments, a misspelt name) is a
    :class:`TypeError` when the proxy is made, which is also when the phases are looked up:
    setting one later is an :class:`AttributeError`.

    What hooks need for longer than one exchange (a connection, a file, a thread) they make in
    :meth:`start` and give back in :meth:`close`.
    """

    _in_use = False
    _closed_by_owner = False
    """``close`` is not for the proxy to call: who made this calls it."""

    def __setattr__(self, name: str, value: t.Any) -> None:
        if self._in_use and name in PHASES:
            raise AttributeError(
                f"{name} was looked up when the proxy was made, and is not looked at again; "
                f"give it to the constructor, or call proxy.use({name}=...)"
            )
        super().__setattr__(name, value)

    def start(self) -> None:
        """Called once per proxy, when its first exchange begins (a proxy does not know of
        servers, so not before), as hooks are called: on the loop of that exchange in ``loop``
        mode, on a thread of the hooks' in ``threads`` mode, in the calling thread under WSGI.
        Exchanges wait until the hooks of the proxy have started, in the order of the list.

        If it raises, that is logged, the hooks started before it are closed, and the exchange
        fails as if a hook had raised (500; no hook is asked). The next exchange tries again."""

    def close(self) -> None:
        """Called once for each :meth:`start` that returned, in the reverse order: when the
        proxy is closed, or other hooks have come in their place (``proxy.use``, ``--reload``),
        and the last exchange, with what it started aside, is over. It runs as ``start`` does;
        in the thread that closes the proxy where its loop has stopped. What it raises is
        logged."""

    def on_request(self, context: ProxyContext) -> Response | None:
        """The request's head is here; nothing of it has gone out. Choose another
        ``context.upstream`` or ``context.path``, edit ``context.request.headers``, or
        return a response, which stops the exchange.

        A websocket's request is a :class:`~rolo.websocket.WebSocketRequest`: to serve it
        without an upstream, accept it here, talk, and return."""

    def on_outgoing(self, context: ProxyContext, outbound: OutboundRequest) -> Response | None:
        """The outgoing request is ready: ``context.request`` is what came (read it),
        ``outbound`` what goes (edit it). Hop-by-hop fields are gone and stay gone, Host and
        ``X-Forwarded-*`` are set. Called again for each upstream that is tried.

        It sees every head that goes upstream: for a websocket ``outbound`` is an
        :class:`OutboundHandshake`, unless :meth:`on_handshake` is overridden as well."""

    def on_request_chunk(
        self, context: ProxyContext, chunk: bytes
    ) -> bytes | t.Iterable[bytes] | None:
        """A piece of the request body, decoded. Return what goes in its place (an empty
        list drops it), or nothing to leave it."""

    def on_connect_failed(self, context: ProxyContext, error: Exception) -> Response | None:
        """The upstream cannot be reached, and has got nothing of the request. Set another
        ``context.upstream`` or call ``context.retry`` to go on there, or return a response; else the client gets the
        error."""

    def on_interim(self, context: ProxyContext, interim: Interim) -> bool | None:
        """A 1xx answer but 101 came. Edit its fields; return ``False`` to hold it back."""

    def on_response(self, context: ProxyContext, response: ProxiedResponse) -> Response | None:
        """The head of the final answer is here. Edit it, have its body transformed,
        return a response to send in its place, or call ``context.retry``."""

    def on_response_chunk(
        self, context: ProxyContext, chunk: bytes
    ) -> bytes | t.Iterable[bytes] | None:
        """A piece of the answer's body, decoded; as :meth:`on_request_chunk`. Parts (206) are
        neither asked for nor passed on, unless it is marked :func:`~rolo.proxy.takes_parts`."""

    def on_event(self, context: ProxyContext, event: Event) -> Event | t.Iterable[Event] | None:
        """A server-sent event of an answer that is an event stream. Return what goes in its
        place (an empty list drops it), or nothing to send ``event``, changed or not."""

    def on_trailers(self, context: ProxyContext, trailers: HeaderFields) -> None:
        """The answer's body has ended; edit the trailer fields."""

    def on_handshake(self, context: ProxyContext, handshake: OutboundHandshake) -> Response | None:
        """A websocket's handshake is ready to go: in the place of :meth:`on_outgoing`, for
        hooks that treat websockets in another way. A response refuses the client."""

    def on_accepted(self, context: ProxyContext, websocket: RelayedWebSocket) -> Response | None:
        """The upstream has accepted, the client not yet: edit ``websocket.headers`` and
        ``websocket.subprotocol``, or return a response to refuse after all. (If the upstream
        refuses, its answer goes through :meth:`on_response`.) Keep ``websocket``, which is
        ``context.websocket`` too, to speak into it later, from any thread."""

    def on_client_message(
        self, context: ProxyContext, message: str | bytes
    ) -> str | bytes | t.Iterable[str | bytes] | None:
        """A message of the client: text as str, binary as bytes. Return what goes in its
        place (several in a list, an empty list drops it), or nothing to leave it. What
        waits here holds up this direction only."""

    def on_upstream_message(
        self, context: ProxyContext, message: str | bytes
    ) -> str | bytes | t.Iterable[str | bytes] | None:
        """A message of the upstream; as :meth:`on_client_message`."""

    def on_closed(self, context: ProxyContext, closed: Closed) -> None:
        """Both legs of a websocket are closed; ``closed`` is the first close: by whom
        (``client`` or ``upstream``), its code and its reason."""

    def on_error(self, context: ProxyContext, error: Exception) -> Response | None:
        """The exchange failed before the answer's head. Return what the client sees instead
        of the bare status, or call ``context.retry``. Not called if the client has left."""

    def on_finished(self, context: ProxyContext) -> None:
        """All is over, whatever happened: ``context.outcome``, ``status``, ``error``,
        ``bytes_sent``, ``bytes_received``, ``seconds`` and ``seconds_to_head`` say how. Must
        not wait for the exchange. Always the last call."""


PHASES = tuple(name for name in vars(Hooks) if name.startswith("on_"))


class HookFunctions(Hooks):
    """Functions as hooks: keyword arguments named like the phases, called like the methods."""

    def __init__(self, **functions: t.Callable[..., t.Any] | None) -> None:
        for name, function in functions.items():
            if function is not None:
                setattr(self, name, function)


MessageFunction = t.Callable[
    [ProxyContext, str | bytes], str | bytes | t.Iterable[str | bytes] | None
]


class HookArguments(t.TypedDict, total=False):
    """The phases as keyword arguments: functions like the methods of :class:`Hooks`."""

    on_request: t.Callable[[ProxyContext], Response | None]
    on_outgoing: t.Callable[[ProxyContext, OutboundRequest], Response | None]
    on_request_chunk: t.Callable[[ProxyContext, bytes], bytes | t.Iterable[bytes] | None]
    on_connect_failed: t.Callable[[ProxyContext, Exception], Response | None]
    on_interim: t.Callable[[ProxyContext, Interim], bool | None]
    on_response: t.Callable[[ProxyContext, ProxiedResponse], Response | None]
    on_response_chunk: t.Callable[[ProxyContext, bytes], bytes | t.Iterable[bytes] | None]
    on_event: t.Callable[[ProxyContext, Event], Event | t.Iterable[Event] | None]
    on_trailers: t.Callable[[ProxyContext, HeaderFields], None]
    on_handshake: t.Callable[[ProxyContext, OutboundHandshake], Response | None]
    on_accepted: t.Callable[[ProxyContext, RelayedWebSocket], Response | None]
    on_client_message: MessageFunction
    on_upstream_message: MessageFunction
    on_closed: t.Callable[[ProxyContext, Closed], None]
    on_error: t.Callable[[ProxyContext, Exception], Response | None]
    on_finished: t.Callable[[ProxyContext], None]
