"""One exchange through a proxy, as its hooks and the handlers of its chain share it."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import typing as t

from rolo.bridge.beside import Beside, on_worker_thread
from rolo.bridge.portal import Portal
from rolo.gateway.chain import RequestContext
from rolo.proxy.messages import OutgoingRequest
from rolo.proxy.rewrite.messages import OutboundRequest, ProxiedResponse
from rolo.proxy.rewrite.relayed import RelayedWebSocket
from rolo.proxy.rewrite.transform import name_of
from rolo.proxy.target import Upstream, parse_upstream, split_target
from rolo.request import Request, get_raw_path

if t.TYPE_CHECKING:
    from rolo.proxy.relay import Closed

LOG = logging.getLogger(__name__)

Outcome = t.Literal["", "complete", "answered", "refused", "aborted", "unread", "client gone"]

_FRESH: dict[str, t.Any] = {
    "response": None,
    "websocket": None,
    "closed": None,
    "error": None,
    "outcome": "",
    "phase": "",
    "bytes_received": 0,
    "bytes_sent": 0,
    "seconds_to_head": None,
    "seconds": 0.0,
    "_outbound": None,
    "_outgoing": None,
}
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
        own = self.__dict__
        own.update(_FRESH)
        own["_upstream"] = own["_path"] = own["_portal"] = None
        own["_clock"] = 0.0

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
        own = self.__dict__
        own.update(_FRESH)
        own["_upstream"] = upstream
        own["_path"] = path
        own["_portal"] = portal
        own["_threads"] = portal is None or on_worker_thread(portal)
        own["_clock"] = time.perf_counter()

    @property
    def outbound(self) -> OutboundRequest | None:
        """What goes out; ``None`` before ``on_outgoing``, and for websockets."""
        own = self.__dict__
        outbound: OutboundRequest | None = own["_outbound"]
        if outbound is None and own["_outgoing"] is not None:
            outbound = own["_outbound"] = OutboundRequest(own["_outgoing"], own["_portal"])
        return outbound

    def goes_out(self, outgoing: OutgoingRequest) -> None:
        """Make ``outgoing`` what :attr:`outbound` shows."""
        own = self.__dict__
        own["_outgoing"] = outgoing
        own["_outbound"] = None

    @property
    def upstream(self) -> Upstream:
        """Where the request goes; set it to a URL in ``on_request`` or
        ``on_connect_failed``.

        :raises RuntimeError: set in another phase, when it is settled
        :raises ValueError: set to something that is not a URL to forward to
        """
        upstream: Upstream = self.__dict__["_upstream"]
        return upstream

    @upstream.setter
    def upstream(self, url: str | Upstream) -> None:
        self._settle("upstream")
        self.__dict__["_upstream"] = parse_upstream(url) if isinstance(url, str) else url

    @property
    def path(self) -> str:
        """The path to ask the upstream for, percent-encoded, below its base URL; the query
        is not part of it. Set it where ``upstream`` may be set."""
        path: str | None = self.__dict__["_path"]
        if path is not None:
            return path
        head = getattr(self.request, "head", None)
        if head is None:
            return get_raw_path(self.request)
        return split_target(head.target, head.method).path.decode("latin-1")

    @path.setter
    def path(self, path: str) -> None:
        self._settle("path")
        self.__dict__["_path"] = path

    @property
    def portal(self) -> Portal | None:
        """How to wait for the event loop; ``None`` where there is none."""
        portal: Portal | None = self.__dict__["_portal"]
        return portal

    @property
    def chosen_path(self) -> str | None:
        """The path if one was chosen; ``None`` forwards what came, byte for byte."""
        path: str | None = self.__dict__["_path"]
        return path

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

    def start_aside(self, function: t.Callable[[], t.Any]) -> None:
        """Run ``function`` beside the exchange, which does not wait for it, nor end it: in
        ``loop`` mode in a greenlet, else on a thread. It may wait through rolo's own calls;
        what it raises is logged."""
        portal: Portal | None = self.__dict__["_portal"]
        if portal is None:
            threading.Thread(target=_logged, args=(function,), name="rolo-aside").start()
            return
        threads: bool = self.__dict__["_threads"]
        # One of its own: it goes on when this exchange's client has left.
        own = Portal(portal.home)
        portal.post(lambda: Beside.of(own, threads=threads).start(own, _logged, function))

    def elapsed(self) -> float:
        """Return the seconds since the exchange began."""
        clock: float = self.__dict__["_clock"]
        return time.perf_counter() - clock

    def _settle(self, what: str) -> None:
        if self.phase not in _PATH_PHASES:
            raise RuntimeError(f"the {what} is settled before {self.phase or 'the exchange'}")


def _logged(function: t.Callable[[], t.Any]) -> None:
    try:
        function()
    except Exception:
        LOG.exception("%s failed beside an exchange", name_of(function))
