"""What may stand on the command line, and what it means."""

from __future__ import annotations

import argparse
import ipaddress
import math
import re
import typing as t

from rolo._version import __version__
from rolo.cli.bounds import add_limits, add_tls, add_websockets

if t.TYPE_CHECKING:
    from rolo.proxy.forwarded_fields import Network

SERVERS = ("auto", "native", "hypercorn", "uvicorn", "granian")


class Address(t.NamedTuple):
    """Where to listen. ``host`` is without brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> t.NoReturn:
        """Say what is wrong in one line, without the usage in front of it."""
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def parse(argv: t.Sequence[str]) -> argparse.Namespace:
    """Return what ``argv`` asks for; ``command`` says which command.

    :raises SystemExit: nothing is left to do, or the arguments are wrong
    """
    parser = _Parser(prog="rolo", description="A reverse proxy that you embed and script.")
    parser.add_argument("--version", action="version", version=f"rolo {__version__}")
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True, parser_class=_Parser
    )
    proxy = commands.add_parser("proxy", help="forward to an upstream")
    proxy.add_argument(
        "upstream", metavar="UPSTREAM", help="base URL to forward to: http://HOST:PORT/PATH"
    )
    _add_script(proxy)
    _add_forwarding(proxy)
    _add_running(proxy, workers=True)
    demo = commands.add_parser("demo", help="a proxy in front of a demo origin, to play with")
    _add_running(demo, workers=False)
    args = parser.parse_args(argv)
    if args.command == "proxy" and args.reload and args.script is None:
        proxy.error("--reload needs --script")
    args.argv = list(argv)
    if args.access_log is None:
        args.access_log = not args.quiet
    return args


def _add_script(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--script", metavar="FILE.py", help="rewrite traffic by the hooks that this file defines"
    )
    parser.add_argument(
        "--reload", action="store_true", help="load the script again whenever it has changed"
    )


def _add_forwarding(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--preserve-host",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="forward the client's Host instead of the upstream's (default: yes)",
    )
    parser.add_argument(
        "--underscores-in-headers",
        action="store_true",
        help="forward fields with underscores in their names, but for those that would pass "
        "for X-Forwarded-For and the like (default: no)",
    )
    parser.add_argument(
        "--refuse-dot-segments",
        action="store_true",
        help="answer 400 to paths with . or .. segments, encoded ones too, instead of "
        "forwarding them as they came",
    )
    _add_forwarded(parser)
    for name, default, what in (
        ("connect", 10.0, "to connect"),
        ("response", 60.0, "from the end of a request to the head of its answer"),
        ("idle", 300.0, "without a byte moving in a body"),
    ):
        parser.add_argument(
            f"--{name}-timeout",
            type=seconds,
            default=default,
            metavar="S",
            help=f"seconds {what}, or 'none' (default: {default:g})",
        )
    parser.add_argument(
        "--proxy-status",
        action="store_true",
        help="name the kind of error in Proxy-Status (RFC 9209) where we answer ourselves",
    )
    add_tls(parser)
    add_limits(parser)
    add_websockets(parser, seconds)


def _add_forwarded(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--forwarded",
        choices=("append", "replace", "off"),
        default="append",
        help="X-Forwarded-* fields: append to what the client says, replace it, or leave "
        "everything as it came (default: append)",
    )
    parser.add_argument(
        "--trusted-proxies",
        type=networks,
        default=(),
        metavar="CIDR,...",
        help="append only to what comes from these networks, replace what others say",
    )
    parser.add_argument(
        "--forwarded-header",
        action="store_true",
        help="write Forwarded (RFC 7239) as well",
    )
    parser.add_argument(
        "--via", type=via_name, metavar="NAME", help="add this name to Via (default: no Via)"
    )


def _add_running(parser: argparse.ArgumentParser, *, workers: bool) -> None:
    parser.add_argument(
        "--listen",
        type=address,
        default=Address("127.0.0.1", 8080),
        metavar="HOST:PORT",
        help="where to listen; without a host on all addresses, port 0 takes a free one "
        "(default: 127.0.0.1:8080)",
    )
    parser.add_argument(
        "--server", choices=SERVERS, default="auto", help="what serves (default: the fastest)"
    )
    parser.add_argument(
        "--mode",
        choices=("loop", "threads"),
        default="loop",
        help="where handlers run (default: loop)",
    )
    parser.set_defaults(fd=None, parent_fd=None)
    if workers:
        parser.add_argument(
            "--workers", type=count, default=1, metavar="N", help="processes (default: 1)"
        )
        # How a worker process gets the listening socket and learns of its parent's end.
        parser.add_argument("--fd", type=int, help=argparse.SUPPRESS)
        parser.add_argument("--parent-fd", type=int, help=argparse.SUPPRESS)
    parser.add_argument(
        "--shutdown-timeout",
        type=seconds,
        default=10.0,
        metavar="S",
        help="seconds running exchanges get when stopping, or 'none' (default: 10)",
    )
    parser.add_argument(
        "--access-log",
        action=argparse.BooleanOptionalAction,
        help="one line per exchange on standard output (default: yes, no with -q)",
    )
    volume = parser.add_mutually_exclusive_group()
    volume.add_argument("-q", "--quiet", action="store_true", help="say errors only")
    volume.add_argument("-v", "--verbose", action="store_true", help="say everything")


def address(text: str) -> Address:
    """Parse ``HOST:PORT``, ``[IPv6]:PORT``, ``:PORT`` (every interface) or ``PORT``.

    :raises argparse.ArgumentTypeError: it is none of these
    """
    host, colon, port = text.rpartition(":")
    if not colon:
        host = "127.0.0.1"
    elif host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise argparse.ArgumentTypeError(f"write the address in brackets: [{host}]:{port}")
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise argparse.ArgumentTypeError(f"not HOST:PORT with a port up to 65535: {text!r}")
    return Address(host or "0.0.0.0", int(port))


def networks(text: str) -> tuple[Network, ...]:
    """Parse networks or addresses, comma-separated.

    :raises argparse.ArgumentTypeError: one of them is neither, or there is none
    """
    found: list[Network] = []
    for item in filter(None, (item.strip() for item in text.split(","))):
        try:
            found.append(ipaddress.ip_network(item, strict=False))
        except ValueError:
            raise argparse.ArgumentTypeError(f"not a network like 10.0.0.0/8: {item!r}") from None
    if not found:
        raise argparse.ArgumentTypeError("an empty list; --forwarded replace trusts nobody")
    return tuple(found)


def via_name(text: str) -> str:
    """Check a name for ``Via``: a host name or a pseudonym (RFC 9110 section 7.6.3).

    :raises argparse.ArgumentTypeError: it cannot stand there
    """
    if re.fullmatch(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+(:\d+)?", text) is None:
        raise argparse.ArgumentTypeError(f"not a name for Via: {text!r}")
    return text


def seconds(text: str) -> float | None:
    """Parse a positive number of seconds, or ``none``.

    :raises argparse.ArgumentTypeError: it is neither
    """
    if text == "none":
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"not a positive number of seconds: {text!r}")
    return value


def count(text: str) -> int:
    """Parse a whole number from 1 on.

    :raises argparse.ArgumentTypeError: it is none
    """
    if not (text.isascii() and text.isdigit() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"not a number of 1 or more: {text!r}")
    return int(text)
