"""One exchange through a proxy, as its hooks and the handlers of its chain share it."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import typing as t
from time import perf_counter

from rolo.bridge.request import BridgeRequest
from rolo.errors import ClientDisconnected, EventStreamOver, RetryRefused, RoloError
from rolo.gateway.chain import RequestContext, context_of
from rolo.portal.containment import ERRORS, contained
from rolo.portal.hook_runner import HookRunner
from rolo.portal.portal import Portal
from rolo.proxy.hooks.editable import OutboundRequest, ProxiedResponse
from rolo.proxy.hooks.event_sender import RelayedEvents
from rolo.proxy.hooks.life import Life
from rolo.proxy.hooks.transform import name_of
from rolo.proxy.hooks.websocket_handle import RelayedWebSocket
from rolo.proxy.outgoing import check_resendable, keep_body
from rolo.request import Request, get_raw_path
from rolo.upstream.relay import Closed
from rolo.upstream.request import UpstreamRequest
from rolo.websocket.request import WebSocketRequest
from rolo.wire.target import Upstream, parse_upstream, split_target

LOG = logging.getLogger(__name__)

ProxyOutcome = t.Literal["", "complete", "answered", "refused", "aborted", "unread", "client gone"]

_OF_ONE_EXCHANGE = (
    "response",
    "websocket",
    "closed",
    "error",
    "outcome",
    "status",
    "phase",
    "bytes_received",
    "bytes_sent",
    "seconds",
    "tries",
    "again",
    "_head_came",
    "_outbound",
    "outgoing",
    "_life",
    "spoken_events",
)
_PATH_PHASES = ("on_request", "on_connect_failed")
_RETRY_PHASES = ("on_connect_failed", "on_response", "on_error")

MAX_TRIES = 10
"""How often one request may be sent."""


class ProxyContext(RequestContext):
    """What all hooks of one exchange are given first.

    It is the context of the handler chain: the very object if the gateway was made with
    ``context_class=ProxyContext``, otherwise one with the same attributes, so that what a
    handler sets on its context hooks read, and the other way round. Set any attribute.
    """

    request: t.Any  # Request | WebSocketRequest: one of the two, as every hook knows
    """The request as it came in (read it; edits show up in ``outbound`` only when made
    before or in ``on_request``)."""
    response: ProxiedResponse | None = None
    """The upstream's answer; ``None`` before ``on_response``, and where a hook answered."""
    websocket: RelayedWebSocket | None = None
    """The relayed websocket; ``None`` before ``on_accepted``, and in HTTP."""
    closed: Closed | None = None
    """How a relayed websocket ended."""
    error: BaseException | None = None
    """What went wrong, ``None`` if nothing did."""
    outgoing: UpstreamRequest | None = None
    """What :attr:`outbound` shows."""
    outcome: ProxyOutcome = ""
    """How it ended, empty before: ``complete``; ``answered`` by a hook; ``refused``, with
    an error before the answer's head; ``aborted`` after it; ``unread``, because the answer
    was replaced by a later handler; ``client gone``."""
    status: int | None = None
    """Of the answer as it left the proxy: the upstream's, edited by hooks; that of a hook's own
    answer; that which an error stands for; 101 for a websocket that was accepted. ``None``
    before, and where the client left first. Known in ``on_finished``."""
    phase: str = ""
    """The phase that runs, or ran last."""
    bytes_received: int = 0
    """Of the request's body, as forwarded so far."""
    bytes_sent: int = 0
    """Of the answer's body; known in ``on_finished``."""
    seconds: float = 0.0
    """From the start to the end; known in ``on_finished``."""
    tries: int = 0
    """How many upstreams were tried, the present one included."""
    again: bool = False
    """A hook of this phase has called :meth:`retry`."""

    chosen: tuple[Upstream, str | None]
    """:attr:`upstream`, and :attr:`path` if one was chosen: ``None`` forwards what came,
    byte for byte."""
    spoken_events: RelayedEvents | None = None
    """What :attr:`events` gave; ``None`` if nobody has asked."""
    _portal: Portal | None = None
    _life: Life | None = None
    _clock: float | None = None
    _head_came: float | None = None
    _outbound: OutboundRequest | None = None

    @classmethod
    def begin(
        cls,
        request: Request | WebSocketRequest,
        upstream: Upstream,
        path: str | None,
        portal: Portal | None,
    ) -> ProxyContext:
        """Start an exchange for ``request``. Returns the context of the chain that handles
        it, if that is a :class:`ProxyContext`, else one that shares the attributes of the
        chain's, or a new one. What an exchange before this has left there is forgotten."""
        chain = context_of(request)
        if isinstance(chain, ProxyContext):
            context = chain
        else:
            context = cls.__new__(cls)
            if chain is not None:
                context.__dict__ = chain.__dict__
        if context._clock is not None:
            context._forget()
        context.request = request
        context.chosen = upstream, path
        context._portal = portal
        context._clock = perf_counter()
        return context

    def _forget(self) -> None:
        own = self.__dict__
        for name in _OF_ONE_EXCHANGE:
            own.pop(name, None)

    @property
    def outbound(self) -> OutboundRequest | None:
        """What goes out; ``None`` before ``on_outgoing``, and for websockets."""
        outgoing, outbound = self.outgoing, self._outbound
        if outgoing is not None and (outbound is None or outbound.outgoing is not outgoing):
            outbound = self._outbound = OutboundRequest(outgoing, self._portal)
        return outbound

    @property
    def events(self) -> RelayedEvents:
        """To speak into the answer, an event stream, while the upstream is silent. Ask for it
        in ``on_response`` and keep it; the stream is sent decoded then.

        :raises RuntimeError: asked for first in another phase; the answer is no event stream;
            there is no event loop (WSGI)
        """
        if self.spoken_events is None:
            response, portal = self.response, self._portal
            if self.phase != "on_response" or response is None:
                raise RuntimeError("context.events is to be asked for in on_response first")
            if not response.is_event_stream or not response.has_body:
                raise RuntimeError("the answer is no event stream: see response.is_event_stream")
            if portal is None:
                raise RuntimeError("without an event loop nobody can speak into a stream")
            self.spoken_events = RelayedEvents(portal)
        return self.spoken_events

    def comes_back(self) -> None:
        """Note that the head of the upstream's answer is here."""
        self._head_came = perf_counter()

    @property
    def seconds_to_head(self) -> float | None:
        """From the start to the head of the upstream's answer, ``None`` without one."""
        if self._head_came is None or self._clock is None:
            return None
        return self._head_came - self._clock

    @property
    def upstream(self) -> Upstream:
        """Where the request goes; set it to a URL in ``on_request`` or
        ``on_connect_failed``.

        :raises RuntimeError: set in another phase, when it is settled
        :raises ValueError: set to something that is not a URL to forward to
        """
        return self.chosen[0]

    @upstream.setter
    def upstream(self, url: str | Upstream) -> None:
        self._settle("upstream")
        upstream = parse_upstream(url) if isinstance(url, str) else url
        self.chosen = upstream, self.chosen[1]

    @property
    def path(self) -> str:
        """The path to ask the upstream for, percent-encoded, below its base URL; the query
        is not part of it. Set it where ``upstream`` may be set."""
        chosen = self.chosen[1]
        if chosen is not None:
            return chosen
        if not isinstance(self.request, BridgeRequest):
            return get_raw_path(self.request)
        head = self.request._head
        return split_target(head.target, head.method).path.decode("latin-1")

    @path.setter
    def path(self, path: str) -> None:
        self._settle("path")
        self.chosen = self.chosen[0], path

    def retry(
        self,
        upstream: str | Upstream | None = None,
        path: str | None = None,
        *,
        unsafe: bool = False,
    ) -> None:
        """Send the request once more, when this hook has returned without an answer: in
        ``on_connect_failed``, ``on_response`` (whose answer is then closed unread) or
        ``on_error``. It goes through ``on_outgoing`` again, and all that follows it; the
        hooks behind this one are not asked.

        :param upstream: where to; ``None`` for the one that was tried
        :param path: as :attr:`path`; ``None`` leaves it
        :param unsafe: do it even if the request may then be carried out twice: its method is
            not idempotent, and the error does not say ``retry_safe``
        :raises RetryRefused: it is not safe, or has been tried ten times
        :raises BodyNotKept: the request's body has gone out, and was not kept. Up to 64 KiB
            always are, longer ones after :meth:`keep_body`, or if a handler has read them
        :raises RuntimeError: called in another phase
        :raises ValueError: ``upstream`` is not a URL to forward to
        """
        if self.phase not in _RETRY_PHASES:
            raise RuntimeError(f"a retry is decided in {', '.join(_RETRY_PHASES)}")
        self._check_retry(unsafe)
        old_upstream, old_path = self.chosen
        if isinstance(upstream, str):
            upstream = parse_upstream(upstream)
        self.chosen = upstream or old_upstream, old_path if path is None else path
        self.again = True

    def can_retry(self, *, unsafe: bool = False) -> bool:
        """Whether :meth:`retry` would be done."""
        try:
            self._check_retry(unsafe)
        except RoloError:
            return False
        return self.phase in _RETRY_PHASES

    def _check_retry(self, unsafe: bool) -> None:
        """:raises RetryRefused, BodyNotKept: there cannot be another try"""
        if self.tries >= MAX_TRIES:
            raise RetryRefused(f"the request was sent {self.tries} times already")
        outgoing = self.outgoing
        if not (
            unsafe
            or outgoing is None  # nothing has gone out, or a handshake, which is a GET
            or outgoing.idempotent
            or getattr(self.error, "retry_safe", False)
        ):
            raise RetryRefused(
                f"{outgoing.method} may have been carried out, and is not to be twice "
                "(retry(unsafe=True) does it all the same)"
            )
        check_resendable(self.request)

    def keep_body(self) -> None:
        """Keep the request's body as it goes out, so that it can be sent again: up to
        ``replay_limit`` (64 MiB), above 1 MiB in a temporary file. To be called in
        ``on_request`` or ``on_outgoing``."""
        keep_body(self.request)

    def start_again(self) -> None:
        """Forget what the last try has left."""
        self.again = False
        self.error = self.response = self.outgoing = self.websocket = self._head_came = None
        self.status = None
        self.bytes_received = 0

    @property
    def portal(self) -> Portal | None:
        """How to wait for the event loop; ``None`` where there is none."""
        return self._portal

    @property
    def client_gone(self) -> bool:
        """True once the client is known to have left."""
        return self._portal is not None and self._portal.gone

    def sleep(self, seconds: float) -> None:
        """Wait without holding up the event loop, in hooks that may wait (all but
        ``on_finished``).

        :raises ClientDisconnected: the client left meanwhile
        """
        portal = self._portal
        if portal is None:
            time.sleep(seconds)
        else:
            portal.call(asyncio.sleep(seconds))

    def start_aside(self, function: t.Callable[[], t.Any]) -> None:
        """Run ``function`` beside the exchange, which does not wait for it, nor end it: in
        ``loop`` mode in a greenlet, else on a thread. It may wait through rolo's own calls;
        what it raises is logged, but for the end of what it was to talk to
        (:class:`ClientDisconnected`, :class:`EventStreamOver`)."""
        portal, life = self._portal, self._life
        if life is not None:
            life.hold()
        if portal is None:
            threading.Thread(target=_aside, args=(function, life), name="rolo-aside").start()
            return
        # One of its own: it goes on when this exchange's client has left.
        own = Portal(portal.loop_scope)
        portal.post(lambda: HookRunner.of(portal).start(own, _aside, function, life))

    def elapsed(self) -> float:
        """Return the seconds since the exchange began."""
        return 0.0 if self._clock is None else perf_counter() - self._clock

    def _settle(self, what: str) -> None:
        if self.phase not in _PATH_PHASES:
            raise RuntimeError(f"the {what} is settled before {self.phase or 'the exchange'}")


def _aside(function: t.Callable[[], t.Any], life: Life | None) -> None:
    try:
        function()
    except (ClientDisconnected, EventStreamOver):
        pass
    except ERRORS as exc:
        error = contained(exc)
        LOG.error("%s failed beside an exchange", name_of(function), exc_info=error)
    finally:
        if life is not None:
            life.leave()
