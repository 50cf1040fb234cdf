"""One exchange through a proxy, as its hooks and the handlers of its chain share it."""

from __future__ import annotations

import asyncio
import time
import typing as t

from rolo.bridge.portal import Portal
from rolo.gateway.chain import RequestContext
from rolo.proxy.rewrite.messages import OutboundRequest, ProxiedResponse
from rolo.proxy.rewrite.relayed import RelayedWebSocket
from rolo.proxy.target import Upstream, parse_upstream
from rolo.request import Request, get_raw_path

if t.TYPE_CHECKING:
    from rolo.proxy.relay import Closed

Outcome = t.Literal["", "complete", "answered", "refused", "aborted", "unread", "client gone"]

_PATH_PHASES = ("on_request", "on_connect_failed")


class ProxyContext(RequestContext):
    """What all hooks of one exchange are given first.

    It is the context of the handler chain: the very object if the gateway was made with
    ``context_class=ProxyContext``, otherwise one with the same attributes, so that what a
    handler sets on its context hooks read, and the other way round. Set any attribute.
    """

    request: t.Any  # Request | WebSocketRequest: one of the two, as every hook knows
    """The request as it came in (read it; edits show up in ``outbound`` only when made
    before or in ``on_request``)."""
    outbound: OutboundRequest | None
    """What goes out; ``None`` before ``on_outgoing``."""
    response: ProxiedResponse | None
    """The upstream's answer; ``None`` before ``on_response``, and where a hook answered."""
    websocket: RelayedWebSocket | None
    """The relayed websocket; ``None`` before ``on_accepted``, and in HTTP."""
    closed: Closed | None
    """How a relayed websocket ended."""
    error: BaseException | None
    """What went wrong, ``None`` if nothing did."""
    outcome: Outcome
    """How it ended, empty before: ``complete``; ``answered`` by a hook; ``refused``, with
    an error before the answer's head; ``aborted`` after it; ``unread``, because the answer
    was replaced by a later handler; ``client gone``."""
    phase: str
    """The phase that runs, or ran last."""
    bytes_received: int
    """Of the request's body, as forwarded so far."""
    bytes_sent: int
    """Of the answer's body; known in ``on_finished``."""
    seconds_to_head: float | None
    """From the start to the head of the upstream's answer, ``None`` without one."""
    seconds: float
    """From the start to the end; known in ``on_finished``."""

    def __init__(self, request: Request | None = None) -> None:
        super().__init__(request)
        self._reset(None, None, None)

    @classmethod
    def over(cls, context: RequestContext) -> ProxyContext:
        """Return the exchange's view on a chain's context: itself if it is a
        :class:`ProxyContext`, else one that shares its attributes."""
        if isinstance(context, ProxyContext):
            return context
        view = cls.__new__(cls)
        view.__dict__ = context.__dict__
        return view

    def begin(self, upstream: Upstream, path: str | None, portal: Portal | None) -> None:
        """Start an exchange; forgets one before it."""
        self._reset(upstream, path, portal)

    def _reset(self, upstream: Upstream | None, path: str | None, portal: Portal | None) -> None:
        own = self.__dict__
        own["outbound"] = own["response"] = own["error"] = own["seconds_to_head"] = None
        own["websocket"] = own["closed"] = None
        own["outcome"] = own["phase"] = ""
        own["bytes_received"] = own["bytes_sent"] = 0
        own["seconds"] = 0.0
        own["_upstream"] = upstream
        own["_path"] = path
        own["_portal"] = portal
        own["_clock"] = time.perf_counter()

    @property
    def upstream(self) -> Upstream:
        """Where the request goes; set it to a URL in ``on_request`` or
        ``on_connect_failed``.

        :raises RuntimeError: set in another phase, when it is settled
        :raises ValueError: set to something that is not a URL to forward to
        """
        return t.cast(Upstream, self.__dict__["_upstream"])

    @upstream.setter
    def upstream(self, url: str | Upstream) -> None:
        self._settle("upstream")
        self.__dict__["_upstream"] = parse_upstream(url) if isinstance(url, str) else url

    @property
    def path(self) -> str:
        """The path to ask the upstream for, percent-encoded, below its base URL; the query
        is not part of it. Set it where ``upstream`` may be set."""
        path: str | None = self.__dict__["_path"]
        return get_raw_path(self.request) if path is None else path

    @path.setter
    def path(self, path: str) -> None:
        self._settle("path")
        self.__dict__["_path"] = path

    @property
    def chosen_path(self) -> str | None:
        """The path if one was chosen; ``None`` forwards what came, byte for byte."""
        return t.cast("str | None", self.__dict__["_path"])

    @property
    def client_gone(self) -> bool:
        """True once the client is known to have left."""
        portal: Portal | None = self.__dict__["_portal"]
        return portal is not None and portal.gone

    def sleep(self, seconds: float) -> None:
        """Wait without holding up the event loop, in hooks that may wait (all but
        ``on_finished``).

        :raises ClientDisconnected: the client left meanwhile
        """
        portal: Portal | None = self.__dict__["_portal"]
        if portal is None:
            time.sleep(seconds)
        else:
            portal.call(asyncio.sleep(seconds))

    def elapsed(self) -> float:
        """Return the seconds since the exchange began."""
        return time.perf_counter() - t.cast(float, self.__dict__["_clock"])

    def _settle(self, what: str) -> None:
        if self.phase not in _PATH_PHASES:
            raise RuntimeError(f"the {what} is settled before {self.phase or 'the exchange'}")
