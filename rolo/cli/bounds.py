"""The options for TLS to the upstream and for limits, and what they become."""

from __future__ import annotations

import argparse
import re
import typing as t

if t.TYPE_CHECKING:
    from rolo.bridge.limits import Limits
    from rolo.upstream.settings import PoolLimits, Tls, WebSocketSettings

_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


def add_tls(parser: argparse.ArgumentParser) -> None:
    """Add what concerns ``https`` upstreams."""
    group = parser.add_argument_group("TLS to the upstream")
    group.add_argument(
        "--ca-file", metavar="FILE", help="PEM file of trusted roots instead of the system's"
    )
    group.add_argument(
        "--client-cert", metavar="FILE", help="PEM file of a client certificate, with its chain"
    )
    group.add_argument(
        "--client-key",
        metavar="FILE",
        help="PEM file of its key (default: the certificate's file)",
    )
    group.add_argument(
        "--tls-server-name",
        metavar="NAME",
        help="name for SNI and verification (default: the host of UPSTREAM)",
    )
    group.add_argument(
        "--insecure", action="store_true", help="do not verify the upstream's certificate"
    )


def add_limits(parser: argparse.ArgumentParser) -> None:
    """Add what bounds clients and memory."""
    group = parser.add_argument_group("limits", "sizes in bytes, or with k, m, g: 64k")
    for name, default, what in (
        ("head", "64k", "size of a request head, else 431"),
        ("fields", "1000", "header fields of a request, else 431"),
        ("target", "16k", "size of a request target, else 414"),
        ("body", "none", "size of a request body, else 413"),
        ("exchanges", "10000", "exchanges at once, else 503"),
        ("queued", "1000", "requests that wait for a thread in threads mode, else 503"),
        ("connections", "none", "connections to the upstream; a request over it waits"),
    ):
        may_be_none = name not in ("head", "fields", "target")
        group.add_argument(
            f"--max-{name}",
            type=size_or_none if may_be_none else size,
            default=default,
            metavar="N" if name in ("fields", "exchanges", "queued", "connections") else "SIZE",
            help=f"{what} (default: {default})",
        )
    group.add_argument(
        "--buffer",
        type=size,
        default="64k",
        metavar="SIZE",
        help="bytes of a body held for a slow reader, each way (default: 64k)",
    )


def add_websockets(parser: argparse.ArgumentParser, seconds: t.Callable[[str], t.Any]) -> None:
    """Add what concerns open websockets; their handshakes are bounded like requests.

    :param seconds: parses a number of seconds, or ``none``
    """
    group = parser.add_argument_group("websockets", "none of the timeouts above ends one")
    for name, default, what in (
        ("idle-timeout", "none", "without a message in either direction"),
        ("ping-interval", "none", "of silence after which either side is sent a ping"),
        ("ping-timeout", "20", "for the answer to a ping, else that side counts as lost"),
        ("close-timeout", "10", "for the answer to a close"),
    ):
        may_be_none = default == "none"
        or_none = ", or 'none'" if may_be_none else ""
        group.add_argument(
            f"--websocket-{name}",
            type=seconds if may_be_none else _some(seconds),
            default=default,
            metavar="S",
            help=f"seconds {what}{or_none} (default: {default})",
        )
    group.add_argument(
        "--max-message",
        type=size_or_none,
        default="16m",
        metavar="SIZE",
        help="size of one message, inflated, else a close with 1009 (default: 16m)",
    )
    group.add_argument(
        "--max-websocket-memory",
        type=size_or_none,
        default="256m",
        metavar="SIZE",
        help="bytes of messages that all websockets of a process hold; beyond that those that "
        "hold most are closed with 1013 (default: 256m)",
    )
    group.add_argument(
        "--websocket-compression",
        action="store_true",
        help="offer permessage-deflate to the upstream; clients get it where the server has it",
    )


def _some(seconds: t.Callable[[str], t.Any]) -> t.Callable[[str], t.Any]:
    def parse(text: str) -> t.Any:
        value = seconds(text)
        if value is None:
            raise argparse.ArgumentTypeError("this cannot be 'none'")
        return value

    return parse


def websockets_of(args: argparse.Namespace) -> WebSocketSettings:
    """Return how ``args`` want websockets relayed."""
    from rolo.upstream.settings import WebSocketSettings

    return WebSocketSettings(
        idle_timeout=args.websocket_idle_timeout,
        ping_interval=args.websocket_ping_interval,
        ping_timeout=args.websocket_ping_timeout,
        close_timeout=args.websocket_close_timeout,
        max_message=args.max_message,
        max_memory=args.max_websocket_memory,
        compression=args.websocket_compression,
        buffer=args.buffer,
    )


def tls_of(args: argparse.Namespace) -> Tls:
    """Return how ``args`` want ``https`` upstreams verified.

    :raises ValueError: the options do not go together; says why
    """
    from rolo.upstream.settings import Tls

    if args.client_key and not args.client_cert:
        raise ValueError("--client-key needs --client-cert")
    if args.insecure and args.ca_file:
        raise ValueError("--insecure and --ca-file exclude each other")
    return Tls(
        ca_file=args.ca_file,
        client_cert=args.client_cert,
        client_key=args.client_key,
        server_hostname=args.tls_server_name,
        insecure=args.insecure,
    )


def limits_of(args: argparse.Namespace) -> Limits:
    """Return what ``args`` let clients ask."""
    from rolo.bridge.limits import Limits

    return Limits(
        max_head=args.max_head,
        max_fields=args.max_fields,
        max_target=args.max_target,
        max_body=args.max_body,
        max_exchanges=args.max_exchanges,
        max_queued=args.max_queued,
        send_timeout=args.idle_timeout,
        buffer=args.buffer,
        max_message=args.max_message,
        max_websocket_memory=args.max_websocket_memory,
        ping_interval=args.websocket_ping_interval,
        ping_timeout=args.websocket_ping_timeout,
    )


def pool_of(args: argparse.Namespace) -> PoolLimits:
    """Return the bounds of the connections to the upstream."""
    from rolo.upstream.settings import PoolLimits

    return PoolLimits(max_connections=args.max_connections, max_buffer=args.buffer)


def size(text: str) -> int:
    """Parse a number from 1 on, with or without one of the units ``k``, ``m``, ``g``.

    :raises argparse.ArgumentTypeError: it is none
    """
    match = re.fullmatch(r"([0-9]{1,15})([kmg]?)", text.lower())
    if match is None or not int(match[1]):
        raise argparse.ArgumentTypeError(f"not a size like 65536, 64k or 1g: {text!r}")
    return int(match[1]) * _UNITS[match[2]]


def size_or_none(text: str) -> int | None:
    """Parse a :func:`size`, or ``none`` for no limit."""
    return None if text == "none" else size(text)
