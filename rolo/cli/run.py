"""What the commands do."""

from __future__ import annotations

import argparse
import contextlib
import gc
import logging
import os
import socket
import sys
import typing as t

from rolo._version import __version__
from rolo.cli.bounds import limits_of, pool_of, tls_of, websockets_of
from rolo.cli.errors import CommandError
from rolo.cli.logs import logging_to_the_terminal
from rolo.cli.script import ScriptedHandler, load_script
from rolo.cli.stop import StopNow, StopSignals
from rolo.errors import TlsError
from rolo.gateway.gateway import Gateway
from rolo.proxy.forwarded_fields import ForwardedPolicy
from rolo.proxy.handler import ProxyHandler
from rolo.proxy.hooks.context import ProxyContext
from rolo.proxy.hooks.hooks import Hooks
from rolo.proxy.request_rules import RequestRules
from rolo.serving import LifespanError, RunningServer, ServerUnavailable, choose, serve
from rolo.serving.sockets import bracketed, listen
from rolo.upstream.settings import Timeouts, Tls
from rolo.upstream.tls import tls_context
from rolo.wire.target import Upstream, parse_upstream

LOG = logging.getLogger(__name__)

PROXY_STATUS = "rolo"
"""What the command calls itself in Proxy-Status."""

_NEW_OBJECTS = 20_000
_POLL = 0.5
"""Seconds between two looks at whether the server still runs."""


def command(args: argparse.Namespace) -> int:
    """Run the command that ``args`` name; return the exit code.

    :raises CommandError: it cannot be run
    """
    with logging_to_the_terminal(args), StopSignals(args.parent_fd) as signals:
        run = _demo if args.command == "demo" else _proxy
        return run(args, signals)


def _proxy(args: argparse.Namespace, signals: StopSignals) -> int:
    upstream = _upstream(args.upstream)
    server = _server_name(args.server)
    if args.fd is None:
        _check_host(upstream)
        _check_tls(upstream, args)
        if args.insecure:
            LOG.warning("--insecure: anybody may pass for %s", upstream.origin)
    with contextlib.closing(_socket(args)) as sock:
        if args.workers > 1:
            if args.script is not None:
                load_script(args.script)  # so that a mistake is told once
            return _supervise(args, server, sock, signals)
        handler = _scripted(args) if args.script is not None else proxy_handler(args)
        with contextlib.closing(handler):
            running = _start(proxy_gateway([handler], args), args, server, sock)
            _say(args, f"{_listening(sock)}, forwarding to {args.upstream} ({_how(args, server)})")
            scripted = handler if isinstance(handler, ScriptedHandler) and args.reload else None
            return _run(running, signals, args, scripted)


def _scripted(args: argparse.Namespace) -> ScriptedHandler:
    def make(kind: type[ProxyHandler], hooks: list[Hooks]) -> ProxyHandler:
        return proxy_handler(args, kind, hooks)

    return ScriptedHandler(args.script, make)


def _supervise(
    args: argparse.Namespace, server: str, sock: socket.socket, signals: StopSignals
) -> int:
    from rolo.cli.workers import Supervisor

    how = f"{_how(args, server)}, {args.workers} workers"
    _say(args, f"{_listening(sock)}, forwarding to {args.upstream} ({how})")
    return Supervisor(args.argv, sock, args.workers, args.shutdown_timeout).run(signals)


def _demo(args: argparse.Namespace, signals: StopSignals) -> int:
    from rolo.demo import curl_lines, demo_origin, local_router
    from rolo.gateway.handlers import RouterHandler

    server = _server_name(args.server)
    with contextlib.closing(_socket(args)) as sock, serve(demo_origin(), server=server) as origin:
        handler = ProxyHandler(origin.url)
        with contextlib.closing(handler):
            gateway = proxy_gateway([RouterHandler(local_router()), handler], args)
            running = _start(gateway, args, server, sock)
            _say(
                args,
                f"{_listening(sock)}, forwarding to the demo origin at {origin.url} "
                f"({_how(args, server)}); try",
                *(f"  {line}" for line in curl_lines(running.url)),
            )
            return _run(running, signals, args)


def _run(
    server: RunningServer,
    signals: StopSignals,
    args: argparse.Namespace,
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
    """Look for garbage in circles less often than Python does by itself.

    A few dozen exchanges at once make more new objects than its usual threshold, so that it
    looks again and again, in vain: exchanges leave no circles behind.
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
    gateway: Gateway, args: argparse.Namespace, server: str, sock: socket.socket
) -> RunningServer:
    try:
        return serve(
            gateway,
            sock=sock,
            server=server,
            mode=args.mode,
            access_log=args.access_log,
            shutdown_timeout=args.shutdown_timeout,
            **server_settings(args),
        )
    except ServerUnavailable as error:
        raise CommandError(error, 2) from error
    except (OSError, LifespanError) as error:
        raise CommandError(error) from error


def proxy_handler(
    args: argparse.Namespace,
    kind: type[ProxyHandler] = ProxyHandler,
    hooks: t.Sequence[Hooks] = (),
) -> ProxyHandler:
    """Return what forwards as ``args`` say; the caller closes it.

    :param kind: of handler, made with the arguments of a :class:`ProxyHandler`
    :raises ValueError: the upstream is not a URL to forward to
    """
    return kind(
        args.upstream,
        hooks=hooks,
        preserve_host=args.preserve_host,
        rules=RequestRules(args.underscores_in_headers, args.refuse_dot_segments),
        timeouts=_timeouts(args),
        limits=pool_of(args),
        tls=tls_of(args),
        websockets=websockets_of(args),
        proxy_status=PROXY_STATUS if args.proxy_status else None,
        forwarded=ForwardedPolicy(
            mode=args.forwarded,
            trusted=args.trusted_proxies,
            forwarded=args.forwarded_header,
            via=args.via,
        ),
    )


def server_settings(args: argparse.Namespace) -> dict[str, t.Any]:
    """Return what ``args`` of ``rolo proxy`` mean to :func:`~rolo.serving.serve`."""
    if args.command != "proxy":
        return {}
    return {
        "limits": limits_of(args),
        "proxy_status": PROXY_STATUS if args.proxy_status else None,
    }


def proxy_gateway(handlers: list[t.Any], args: argparse.Namespace) -> Gateway:
    """Return the gateway of ``handlers`` that the commands serve."""
    context = ProxyContext if getattr(args, "script", None) else None
    return Gateway(request_handlers=handlers, context_class=context)


def _upstream(url: str) -> Upstream:
    try:
        return parse_upstream(url)
    except ValueError as error:
        raise CommandError(error, 2) from error


def _server_name(server: str) -> str:
    try:
        return choose(server, {"http/1.1", "websocket"}).name
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


def _check_tls(upstream: Upstream, args: argparse.Namespace) -> None:
    """Refuse TLS options that cannot work, before the first request finds out."""
    try:
        tls = tls_of(args)
        if upstream.origin.tls:
            tls_context(tls)
        elif tls != Tls():
            raise ValueError(f"TLS options, but {args.upstream} is not an https URL")
    except (TlsError, ValueError) as error:
        raise CommandError(error, 2) from error


def _socket(args: argparse.Namespace) -> socket.socket:
    if args.fd is not None:
        return socket.socket(fileno=args.fd)
    try:
        return listen(args.listen.host, args.listen.port)
    except OSError as error:
        raise CommandError(error.strerror or error) from error


def _timeouts(args: argparse.Namespace) -> Timeouts:
    return Timeouts(
        connect=args.connect_timeout, response=args.response_timeout, idle=args.idle_timeout
    )


def _listening(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"rolo {__version__} listens on http://{bracketed(host)}:{port}"


def _how(args: argparse.Namespace, server: str) -> str:
    return f"{server}, {args.mode} mode"


def _say(args: argparse.Namespace, *lines: str) -> None:
    if not args.quiet and args.fd is None:
        print(*lines, sep="\n", file=sys.stdout, flush=True)
