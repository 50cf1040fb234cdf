"""What the commands do."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import socket
import sys
import typing as t

from rolo._version import __version__
from rolo.cli.arguments import Invocation
from rolo.cli.errors import CommandError
from rolo.cli.logs import logging_to_the_terminal
from rolo.cli.script import ScriptedHandler, load_script
from rolo.cli.stop import StopNow, StopSignals
from rolo.config.objects import (
    handler_settings,
    player_settings,
    recorder_settings,
    server_settings,
    tls,
)
from rolo.config.tree import (
    CommandConfig,
    ForwardingConfig,
    InspectConfig,
    LogConfig,
    MockConfig,
    ProxyConfig,
    RecordConfig,
    ReplayConfig,
)
from rolo.errors import TlsError
from rolo.gateway.gateway import Gateway
from rolo.observing import Observer
from rolo.proxy.handler import ProxyHandler
from rolo.proxy.hooks.context import ProxyContext
from rolo.proxy.hooks.hooks import Hooks
from rolo.serving import LifespanError, RunningServer, ServerUnavailable, choose, serve
from rolo.serving.sockets import bracketed, listen
from rolo.upstream.settings import Tls
from rolo.upstream.tls import tls_context
from rolo.wire.target import Upstream, parse_upstream

if t.TYPE_CHECKING:
    from rolo.har import Recorder

LOG = logging.getLogger(__name__)

_NEW_OBJECTS = 20_000
_POLL = 0.5
"""Seconds between two looks at whether the server still runs."""


def command(asked: Invocation) -> int:
    """Run the command that is asked for; return the exit code.

    :raises CommandError: it cannot be run
    """
    with logging_to_the_terminal(asked.config.log), StopSignals(asked.parent_fd) as signals:
        if isinstance(asked.config, ProxyConfig):
            return _proxy(asked.config, asked, signals)
        if isinstance(asked.config, RecordConfig):
            return _record(asked.config, signals)
        if isinstance(asked.config, ReplayConfig):
            return _replay(asked.config, signals)
        if isinstance(asked.config, MockConfig):
            return _mock(asked.config, signals)
        if isinstance(asked.config, InspectConfig):
            return _inspect(asked.config, signals)
        assert isinstance(asked.config, CommandConfig)
        return _demo(asked.config, signals)


def _proxy(config: ProxyConfig, asked: Invocation, signals: StopSignals) -> int:
    server = _server_name(config)
    if asked.fd is None:
        _check_upstream(config)
    with contextlib.closing(_socket(config, asked.fd)) as sock:
        how = f"{server}, {config.serving.mode} mode"
        says = f"{_listening(sock)}, forwarding to {config.upstream}"
        if config.workers > 1:
            from rolo.cli.workers import Supervisor

            if config.script is not None:
                load_script(config.script)  # so that a mistake is told once
            _say(config.log, f"{says} ({how}, {config.workers} workers)")
            timeout = config.serving.shutdown_timeout
            return Supervisor(asked.argv, sock, config.workers, timeout).run(signals)
        with contextlib.ExitStack() as stack:
            inspector, shown_at = None, ""
            if config.inspector.on:
                from rolo.cli.inspection import inspected

                inspector, shown_at = stack.enter_context(inspected(config.inspector))
            handler = _handler(config, [] if inspector is None else [inspector.hooks])
            stack.enter_context(contextlib.closing(handler))
            gateway = proxy_gateway([handler], config)
            observers: list[Observer] = []
            if inspector is not None:
                inspector.gateway = gateway
                observers.append(inspector.observer)
            running = _start(gateway, config, server, sock, observers)
            if asked.fd is None:  # of a worker, its parent has said so
                _say(config.log, f"{says} ({how})")
            if shown_at:
                _say(config.log, f"what passes is shown at {shown_at}")
            scripted = handler if isinstance(handler, ScriptedHandler) and config.reload else None
            return _run(running, signals, scripted)


def _handler(config: ProxyConfig, last: list[Hooks]) -> ProxyHandler | ScriptedHandler:
    """Return what forwards, by the script if there is one.

    :param last: hooks behind all others
    """
    if config.script is None:
        return proxy_handler(config, hooks=last)

    def make(kind: type[ProxyHandler], hooks: list[Hooks]) -> ProxyHandler:
        return proxy_handler(config, kind, [*hooks, *last])

    return ScriptedHandler(config.script, make)


def _record(config: RecordConfig, signals: StopSignals) -> int:
    from rolo.cli.recordings import check_writable
    from rolo.har import Recorder

    server = _server_name(config)
    _check_upstream(config)
    check_writable(config.file)
    try:
        recorder = Recorder(**recorder_settings(config))
    except ValueError as error:
        raise CommandError(f"argument --redact-json: {error}", 2) from error
    handler = proxy_handler(config)
    with contextlib.closing(_socket(config)) as sock, contextlib.closing(handler):
        running = _start(proxy_gateway([handler], config), config, server, sock, [recorder])
        _say(
            config.log,
            f"{_listening(sock)}, forwarding to {config.upstream} and recording "
            f"({server}, {config.serving.mode} mode)",
        )
        try:
            return _run(running, signals)
        finally:
            _write(recorder, config)


def _write(recorder: Recorder, config: RecordConfig) -> None:
    count = len(recorder.recording)
    try:
        recorder.write(config.file)
    except OSError as error:
        raise CommandError(f"{config.file}: {error.strerror or error}") from error
    _say(config.log, f"{count} exchanges are in {config.file}")


def _replay(config: ReplayConfig, signals: StopSignals) -> int:
    from rolo.cli.recordings import load
    from rolo.har import Player

    server = _server_name(config)
    recording = load(config.file)
    try:
        player = Player(recording, **player_settings(config))
    except ValueError as error:
        raise CommandError(f"argument --match: {error}", 2) from error
    with contextlib.closing(_socket(config)) as sock:
        running = _start(proxy_gateway([player], config), config, server, sock)
        _say(
            config.log,
            f"{_listening(sock)}, replaying {len(recording)} exchanges of {config.file} "
            f"({server}, {config.serving.mode} mode)",
        )
        return _run(running, signals)


def _inspect(config: InspectConfig, signals: StopSignals) -> int:
    from rolo.cli.inspection import show

    page, count = show(config)
    with page:
        _say(config.log, f"{count} exchanges of {config.file} are shown at {page.url}")
        _wait(signals)
    return 0


def _mock(config: MockConfig, signals: StopSignals) -> int:
    from rolo.cli.mock import mocked

    api = mocked(config)
    with contextlib.closing(api):
        count = len(api.stubs)
        _say(config.log, f"rolo {__version__} listens on {api.url}, {count} stubs of {config.file}")
        _wait(signals)
    return 0


def _wait(signals: StopSignals) -> None:
    """Wait for the signal, beside something that looks after itself."""
    try:
        while not signals.wait(_POLL):
            pass
    except StopNow:
        os._exit(1)


def _demo(config: CommandConfig, signals: StopSignals) -> int:
    from rolo.demo import curl_lines, demo_origin, local_router
    from rolo.gateway.handlers import RouterHandler

    server = _server_name(config)
    with contextlib.closing(_socket(config)) as sock, serve(demo_origin(), server=server) as origin:
        handler = ProxyHandler(origin.url)
        with contextlib.closing(handler):
            gateway = proxy_gateway([RouterHandler(local_router()), handler], config)
            running = _start(gateway, config, server, sock)
            _say(
                config.log,
                f"{_listening(sock)}, forwarding to the demo origin at {origin.url} "
                f"({server}, {config.serving.mode} mode); try",
                *(f"  {line}" for line in curl_lines(running.url)),
            )
            return _run(running, signals)


def _run(
    server: RunningServer,
    signals: StopSignals,
    scripted: ScriptedHandler | None = None,
) -> int:
    """Wait for the signal, then let running exchanges finish.

    :param scripted: to be reloaded when its file changes
    """
    try:
        with _rare_collections():
            while not signals.wait(_POLL):
                _check_alive(server)
                if scripted is not None:
                    scripted.reload_if_changed()
        server.shutdown()
    except StopNow:
        # At once means at once: no clean-up that could wait for anything.
        os._exit(1)
    except TimeoutError as error:
        raise CommandError(error) from error
    return 0


@contextlib.contextmanager
def _rare_collections() -> t.Iterator[None]:
    """Look for garbage in cycles less often than Python does by itself.

    A few dozen exchanges at once make more new objects than its usual threshold, so that it
    looks again and again, in vain: exchanges leave no cycles behind.
    """
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def _check_alive(server: RunningServer) -> None:
    try:
        ended = server.wait(0)
    except Exception as error:
        raise CommandError(f"the server died: {error}") from error
    if ended:
        raise CommandError("the server stopped by itself")


def _start(
    gateway: Gateway,
    config: CommandConfig,
    server: str,
    sock: socket.socket,
    observers: t.Sequence[Observer] = (),
) -> RunningServer:
    try:
        return serve(
            gateway,
            sock=sock,
            server=server,
            observers=observers,
            **server_settings(config),
        )
    except ServerUnavailable as error:
        raise CommandError(error, 2) from error
    except (OSError, LifespanError) as error:
        raise CommandError(error) from error


def proxy_handler(
    config: ForwardingConfig,
    kind: type[ProxyHandler] = ProxyHandler,
    hooks: t.Sequence[Hooks] = (),
) -> ProxyHandler:
    """Return what forwards as ``config`` says; the caller closes it.

    :param kind: of handler, made with the arguments of a :class:`ProxyHandler`
    """
    return kind(hooks=hooks, **handler_settings(config))


def proxy_gateway(handlers: list[t.Any], config: CommandConfig) -> Gateway:
    """Return the gateway of ``handlers`` that the commands serve."""
    scripted = isinstance(config, ProxyConfig) and config.script is not None
    return Gateway(request_handlers=handlers, context_class=ProxyContext if scripted else None)


def _server_name(config: CommandConfig) -> str:
    try:
        return choose(config.serving.server, {"http/1.1", "websocket"}).name
    except (ServerUnavailable, ValueError) as error:
        raise CommandError(error, 2) from error


def _check_host(upstream: Upstream) -> None:
    """Refuse an upstream whose name means nothing. It may come and go later."""
    origin = upstream.origin
    if origin.uds is not None:
        return
    try:
        socket.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CommandError(f"unknown host {origin.host}: {reason}", 2) from error


def _check_upstream(config: ForwardingConfig) -> None:
    """Refuse an upstream that there cannot be."""
    upstream = parse_upstream(config.upstream)
    _check_host(upstream)
    _check_tls(upstream, config)
    if config.tls.insecure:
        LOG.warning("--insecure: anybody may pass for %s", upstream.origin)


def _check_tls(upstream: Upstream, config: ForwardingConfig) -> None:
    """Refuse TLS options that cannot work, before the first request finds out."""
    try:
        if upstream.origin.tls:
            tls_context(tls(config))
        elif tls(config) != Tls():
            raise ValueError(f"TLS options, but {config.upstream} is not an https URL")
    except (TlsError, ValueError) as error:
        raise CommandError(error, 2) from error


def _socket(config: CommandConfig, fd: int | None = None) -> socket.socket:
    """Return the listening socket: ``fd``, or a new one."""
    if fd is not None:
        return socket.socket(fileno=fd)
    try:
        return listen(config.serving.listen.host, config.serving.listen.port)
    except OSError as error:
        raise CommandError(error.strerror or error) from error


def _listening(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"rolo {__version__} listens on http://{bracketed(host)}:{port}"


def _say(log: LogConfig, *lines: str) -> None:
    if not log.quiet:
        print(*lines, sep="\n", file=sys.stdout, flush=True)
