"""The inspector as an object: it looks on at a gateway, and serves the page that shows it."""

from __future__ import annotations

import os
import pathlib
import threading
import typing as t

from rolo.gateway.gateway import Gateway
from rolo.gateway.handlers import RouterHandler, WerkzeugExceptionHandler
from rolo.har import Recording, read_har
from rolo.inspector.app import Pages
from rolo.inspector.breakpoints import Breakpoints
from rolo.inspector.capture import MAX_BODY, Capture
from rolo.inspector.feed import Feed
from rolo.inspector.guard import Guard, harden
from rolo.inspector.holding import AnswerGate, MessageHooks, RequestGate
from rolo.inspector.records import Record
from rolo.inspector.store import MAX_BYTES, MAX_EXCHANGES, Store
from rolo.inspector.views import Masking
from rolo.observing import Observer
from rolo.proxy.client import portal_of
from rolo.proxy.hooks.hooks import Hooks
from rolo.routing import Router
from rolo.serving import RunningServer, serve

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Inspector:
    """Shows what passes, live, in a browser.

    ::

        inspector = Inspector(gateway)
        with serve(gateway, observers=[inspector.observer]), inspector.open() as page:
            print("look at", page.url)

    It remembers a bounded number of exchanges, the oldest go first. With ``gateway`` its page can
    hold requests and answers; to hold messages of relayed websockets, and to speak into them,
    give :attr:`hooks` to their proxy as the last of its hooks.

    :param gateway: whose requests and answers can be held; its lists of handlers are changed
        while there are breakpoints. ``None``: nothing can be held.
    :param max_bytes: of memory that is taken for what is remembered, about
    :param max_exchanges: how many are remembered
    :param max_body: bytes of each body that are remembered; the rest is counted
    :param directory: where bodies go that are larger than ``max_body``, whole; ``None`` writes
        nothing to the disk. Files are removed when their exchange is forgotten.
    :param secrets: names of fields whose values are masked until somebody asks for them, beside
        ``Authorization``, ``Cookie``, ``Set-Cookie`` and their like
    :raises OSError: ``directory`` cannot be made
    """

    def __init__(
        self,
        gateway: Gateway | None = None,
        *,
        max_bytes: int = MAX_BYTES,
        max_exchanges: int = MAX_EXCHANGES,
        max_body: int = MAX_BODY,
        directory: str | os.PathLike[str] | None = None,
        secrets: t.Iterable[str] = (),
    ) -> None:
        self.store = Store(
            max_bytes, max_exchanges, None if directory is None else pathlib.Path(directory)
        )
        self._capture = Capture(self.store, max_body)
        self._breakpoints = Breakpoints()
        self.gateway = gateway
        """Whose requests and answers can be held; to be set before the page is opened."""
        self._request_gate = RequestGate(self._breakpoints, self._record_of)
        self._answer_gate = AnswerGate(self._breakpoints, self._record_of)
        self._message_hooks = MessageHooks(self._breakpoints, self._record_of)
        self._closing = threading.Event()
        feed = Feed(self.store, self._breakpoints, self._closing.is_set)
        self._pages = Pages(
            self.store,
            self._breakpoints,
            self._message_hooks,
            feed,
            Masking(secrets),
            self._place_gates,
        )

    @property
    def observer(self) -> Observer:
        """To be given to the server: ``serve(gateway, observers=[inspector.observer])``."""
        return self._capture

    @property
    def hooks(self) -> Hooks:
        """To be given to proxies of websockets, behind all other hooks."""
        return self._message_hooks

    def open(self, host: str = "127.0.0.1", port: int = 0) -> InspectorPage:
        """Serve the page; whoever opens it closes it.

        :param host: address to listen on. Beyond loopback everybody who has the token can see
            and change what passes, in plain text.
        :param port: 0 lets the system choose
        :raises OSError: the address cannot be had
        """
        guard = Guard([] if host in _LOOPBACK else [host])
        router: Router[t.Any] = Router()
        router.add(self._pages)
        gateway = Gateway(
            request_handlers=[guard, RouterHandler(router, respond_not_found=True)],
            response_handlers=[harden],
            exception_handlers=[WerkzeugExceptionHandler("html")],
        )
        server = serve(gateway, host=host, port=port, server="native", shutdown_timeout=1.0)
        return InspectorPage(self, server, guard.token)

    def load(self, path: str | os.PathLike[str]) -> int:
        """Add the exchanges of a HAR file and return how many these are.

        :raises HarError: the file cannot be read; says where
        """
        return self.show(read_har(path))

    def show(self, recording: Recording) -> int:
        """Add the exchanges of a recording and return how many these are."""
        return self._pages.add(recording)

    def close(self) -> None:
        """Let everything that is held go on, close pages, and forget what is remembered."""
        self._closing.set()
        self._breakpoints.release()
        self._place_gates()
        self._capture.stop()
        self.store.close()

    def _record_of(self, request: t.Any) -> Record | None:
        portal = portal_of(request)
        watched = None if portal is None else portal.observer
        return None if watched is None else self._capture.record_of(watched.exchange)

    def _place_gates(self) -> None:
        """Handlers stand in the gateway only while there is something for them to hold."""
        if self.gateway is None:
            return
        _place(
            self.gateway.request_handlers,
            self._request_gate,
            self._breakpoints.holds("request"),
            0,
        )
        handlers = self.gateway.response_handlers
        _place(handlers, self._answer_gate, self._breakpoints.holds("answer"), len(handlers))


class InspectorPage:
    """A page that is served. A context manager, which closes it."""

    def __init__(self, inspector: Inspector, server: RunningServer, token: str) -> None:
        self._inspector = inspector
        self._server = server
        self.address = server.url
        """Where it listens."""
        self.url = f"{server.url}/?token={token}"
        """What to open: whoever has it may look."""

    def __enter__(self) -> t.Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop serving, close the inspector. Calling it again does nothing."""
        self._inspector.close()
        self._server.shutdown()


def _place(handlers: list[t.Any], handler: t.Any, wanted: bool, at: int) -> None:
    if wanted and handler not in handlers:
        handlers.insert(at, handler)
    elif not wanted and handler in handlers:
        handlers.remove(handler)
