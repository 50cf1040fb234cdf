"""What every server adapter has in common, and what a caller gets back.

An adapter is a small object that knows one server: what it can do
(:class:`~rolo.bridge.downstream.Capabilities`, protocols), whether it is installed, and
how to run it on a listening socket that is already ours. Servers that live on an event
loop derive from :class:`LoopAdapter` and get a thread with a loop of their own.
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import functools
import inspect
import os
import socket
import ssl
import sys
import threading
import typing as t

from rolo.bridge.downstream import Capabilities
from rolo.bridge.limits import DEFAULT_LIMITS, Limits
from rolo.bridge.observer import Observer
from rolo.serving.lifespan import Lifespan
from rolo.serving.loop import Lifetime, LoopThread, loop_factory
from rolo.serving.sockets import url_host

if t.TYPE_CHECKING:
    from rolo.bridge.bridge import Bridge
    from rolo.bridge.observation import Observation
    from rolo.gateway.asgi import AsgiGateway
    from rolo.gateway.gateway import Gateway

Message = dict[str, t.Any]
Scope = dict[str, t.Any]
Receive = t.Callable[[], t.Awaitable[Message]]
Send = t.Callable[[Message], t.Awaitable[None]]
AsgiApp = t.Callable[[Scope, Receive, Send], t.Awaitable[None]]
Mode = t.Literal["threads", "loop"]
App = t.Callable[..., t.Any]
"""An ASGI 3 or a WSGI application."""

HEAD_TIMEOUT = 30.0
"""Seconds from the beginning of a connection, or of a later request head, to the end of the
head, on servers that have no such bound of their own; the native server's default."""

CAPABILITIES = "rolo.capabilities"
"""Where a scope's ``state`` holds the :class:`Capabilities` of the server that made it."""


class ServerUnavailable(RuntimeError):
    """The server asked for is not installed, or no installed one can do what was asked.

    The message is one line and names the extra to install.
    """


@dataclasses.dataclass(frozen=True, slots=True)
class ServerTls:
    """Certificate and key, as paths of PEM files. ``password`` opens the key."""

    cert: str | os.PathLike[str]
    key: str | os.PathLike[str]
    password: str | None = None

    def context(self, alpn: t.Sequence[str] = ("http/1.1",)) -> ssl.SSLContext:
        """Return a server context that offers the protocols ``alpn``, best first.

        :raises OSError: a file cannot be read or holds no certificate or key
        """
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.cert, self.key, self.password)
        context.set_alpn_protocols(list(alpn))
        return context


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """How one server is to run. ``sock`` is bound and listening; the server closes it."""

    sock: socket.socket
    host: str
    tls: ServerTls | None = None
    shutdown_timeout: float | None = 5.0
    """Seconds that running exchanges get to finish; ``None`` waits for them for ever."""
    startup_timeout: float | None = 30.0
    """Seconds the application gets to start; ``None`` waits for ever."""
    access_log: bool = False
    """Whether the server writes one of its own."""
    loop: str = "auto"
    """``"uvloop"``, ``"asyncio"``, or ``"auto"``: uvloop where it is installed."""
    options: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    """Options of the server itself, in its own words."""


@dataclasses.dataclass(frozen=True, slots=True)
class Fitted:
    """An application made ready for one kind of server."""

    app: App
    close: t.Callable[[], None] | None = None
    """Releases what was made for ``app``; ``None`` if nothing was."""
    limits: Limits = DEFAULT_LIMITS
    """What ``app`` lets clients ask, for the server to hold what comes before ``app``."""
    proxy_status: str | None = None
    """The name under which the server's own refusals carry Proxy-Status (RFC 9209)."""
    exchanges: Bridge | None = None
    """The same application without ASGI around it; ``None`` if it is no gateway."""
    observation: Observation | None = None
    """Is told of what is served, and of what the server refuses before ``app`` sees it."""

    @classmethod
    def of_gateway(cls, app: AsgiGateway, close: t.Callable[[], None] | None = None) -> t.Self:
        """Return what a server has to know of a gateway."""
        bridge = app.bridge
        return cls(app, close, bridge.limits, bridge.proxy_status, bridge, bridge.observation)


class RunningServer(abc.ABC):
    """A server that accepts connections. Leaving its ``with`` block shuts it down."""

    def __init__(
        self, name: str, settings: Settings, observation: Observation | None = None
    ) -> None:
        self._observation = observation
        self.name = name
        self.tls = settings.tls is not None
        self.host = settings.host
        address = settings.sock.getsockname()
        #: the TCP port; 0 for a UNIX socket
        self.port: int = address[1] if isinstance(address, tuple) else 0
        self._path: str | None = address if isinstance(address, str) else None

    @property
    def url(self) -> str:
        """Where a client on this machine reaches the server, without a path."""
        scheme = "https" if self.tls else "http"
        if self._path is not None:
            return f"{scheme}+unix://{self._path.replace('/', '%2F')}"
        return f"{scheme}://{url_host(self.host)}:{self.port}"

    def wait_observed(self, timeout: float | None = 5.0) -> bool:
        """Block until the observers were told of all that happened before the call.

        That is every event of an exchange of which a client could know: once it has an answer,
        its observers are told of the request, of the answer, and, if it has all of it, of the
        end. What a client has sent and the server has not read yet, a close or a leaving for
        example, is still to happen. Any thread but the server's loop.

        :param timeout: seconds; ``None`` for no limit
        :returns: False if ``timeout`` passed before: an observer is slow, or a handler goes
            on although its client has all of the answer
        """
        return self._observation is None or self._observation.wait_observed(timeout)

    @abc.abstractmethod
    def shutdown(self, timeout: float | None = None) -> None:
        """Stop accepting, let running exchanges finish, then break off what is left.

        Blocks until thread and sockets are gone. Calling it again does nothing.

        :param timeout: seconds for running exchanges; ``None`` means the
            ``shutdown_timeout`` given to ``serve``
        """

    def outage(self) -> t.ContextManager[None]:
        """Be as a server that does not run for as long as a ``with`` block: connections are
        refused, those that are open are reset. The port is kept.

        :raises ServerUnavailable: only the native server can do it, on a TCP port
        """
        raise ServerUnavailable(f"{self.name} cannot be away: the native server can, on TCP")

    @abc.abstractmethod
    def wait(self, timeout: float | None = None) -> bool:
        """Block until the server has stopped; False if ``timeout`` seconds passed before.

        :raises Exception: what the server died of, if it stopped by itself
        """

    def __enter__(self) -> t.Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.shutdown()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self.url}>"


class Adapter(abc.ABC):
    """Knows one server. Stateless: one object serves any number of running servers."""

    name: t.ClassVar[str]
    capabilities: t.ClassVar[Capabilities]
    protocols: t.ClassVar[frozenset[str]]
    """Of ``http/1.1``, ``h2`` (over TLS), ``h2c`` (prior knowledge), ``websocket``, ``tls``."""
    apps: t.ClassVar[frozenset[str]] = frozenset({"gateway", "asgi", "wsgi"})
    """The kinds of application it carries."""
    extra: t.ClassVar[str | None] = None
    """The extra of rolo that installs the server; ``None`` if rolo always brings it."""

    @abc.abstractmethod
    def available(self) -> str | None:
        """Return ``None`` if the server can be imported, else a reason in one line."""

    @abc.abstractmethod
    def fit_gateway(
        self,
        gateway: Gateway,
        *,
        mode: Mode,
        threads: int | None,
        limits: Limits = DEFAULT_LIMITS,
        proxy_status: str | None = None,
        observers: t.Sequence[Observer] = (),
    ) -> Fitted:
        """Return ``gateway`` in the form this server calls."""

    @abc.abstractmethod
    def fit_app(self, app: App, *, threads: int | None) -> Fitted:
        """Return an ASGI or WSGI application in the form this server calls.

        :raises TypeError: the server cannot carry this kind of application
        """

    @abc.abstractmethod
    def launch(self, fitted: Fitted, settings: Settings) -> RunningServer:
        """Start the server in a thread of its own; return when it accepts connections.

        Owns ``settings.sock`` and ``fitted``: closes both, even if starting fails.
        """


class LoopAdapter(Adapter):
    """An ASGI server that runs inside an event loop."""

    auto_loop: t.ClassVar[str] = "auto"
    """What ``loop="auto"`` stands for, see :func:`~rolo.serving.loop.loop_factory`."""

    @abc.abstractmethod
    async def run(self, fitted: Fitted, settings: Settings, lifetime: Lifetime) -> None:
        """Serve ``fitted.app`` until ``lifetime`` says stop.

        Calls ``lifetime.ready()`` once it accepts; returns when its connections are
        closed, at the latest when the grace ``lifetime.stopping()`` gave is over.
        The lifespan events of the application are not the server's business.
        """

    def fit_gateway(
        self,
        gateway: Gateway,
        *,
        mode: Mode,
        threads: int | None,
        limits: Limits = DEFAULT_LIMITS,
        proxy_status: str | None = None,
        observers: t.Sequence[Observer] = (),
    ) -> Fitted:
        from rolo.gateway.asgi import AsgiGateway

        app = AsgiGateway(
            gateway,
            threads=threads,
            mode=mode,
            limits=limits,
            proxy_status=proxy_status,
            observers=observers,
        )
        return Fitted.of_gateway(app, app.close)

    def fit_app(self, app: App, *, threads: int | None) -> Fitted:
        if is_a(app, "rolo.gateway.asgi", "AsgiGateway"):
            return Fitted.of_gateway(t.cast("AsgiGateway", app))
        if is_asgi(app):
            return Fitted(app)
        from concurrent.futures import ThreadPoolExecutor

        from rolo.asgi import ASGIAdapter

        pool = ThreadPoolExecutor(threads, thread_name_prefix="rolo-wsgi")
        return Fitted(ASGIAdapter(app, executor=pool), lambda: pool.shutdown(cancel_futures=True))

    def launch(self, fitted: Fitted, settings: Settings) -> RunningServer:
        return LoopServer(self, fitted, settings)


class LoopServer(RunningServer):
    """A server on the loop of its own thread."""

    def __init__(self, adapter: LoopAdapter, fitted: Fitted, settings: Settings) -> None:
        super().__init__(adapter.name, settings, fitted.observation)
        self._adapter = adapter
        self._fitted = fitted
        self._settings = settings
        self._closed = False
        self._lock = threading.Lock()
        kind = adapter.auto_loop if settings.loop == "auto" else settings.loop
        self._thread = LoopThread(
            f"rolo-{adapter.name}-{self.port}", self._main, loop_factory(kind)
        )
        try:
            self._thread.start()
        except BaseException:
            self._release()
            raise

    async def _main(self, lifetime: Lifetime) -> None:
        lifespan = Lifespan(self._fitted.app)
        if self._fitted.exchanges is not None:
            lifetime.on_stop = self._fitted.exchanges.begin_stop
        await lifespan.startup(self._settings.startup_timeout)
        try:
            fitted = dataclasses.replace(self._fitted, app=lifespan.app)
            await self._adapter.run(fitted, self._settings, lifetime)
        finally:
            await lifespan.shutdown(lifetime.remaining(least=1.0))

    def shutdown(self, timeout: float | None = None) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            grace = self._settings.shutdown_timeout if timeout is None else timeout
            try:
                self._thread.stop(grace)
            finally:
                self._release()

    @contextlib.contextmanager
    def outage(self) -> t.Iterator[None]:
        if not self._thread.refuse(True):
            super().outage()
        try:
            yield
        finally:
            self._thread.refuse(False)

    def wait(self, timeout: float | None = None) -> bool:
        return self._thread.join(timeout)

    def _release(self) -> None:
        self._settings.sock.close()
        if self._fitted.close is not None:
            self._fitted.close()


def is_a(app: t.Any, module: str, name: str) -> bool:
    """``isinstance`` without an import: what was never imported has no instances."""
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(app, getattr(loaded, name))


def is_asgi(app: App) -> bool:
    """True for an ASGI 3 application: a coroutine function, or an object with one as
    ``__call__``; anything else is taken for WSGI."""
    while isinstance(app, functools.partial):
        app = app.func
    call = getattr(app, "__call__", None)  # noqa: B004 - not "is it callable" but what it is
    return inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(call)
