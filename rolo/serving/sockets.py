"""The listening socket: bound by us, so that the port is known and cannot be lost."""

from __future__ import annotations

import contextlib
import os
import socket
import stat

BACKLOG = 2048
"""Connections that may wait in the kernel; what nginx and uvicorn ask for as well."""

_WILDCARDS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


def listen(host: str, port: int, *, backlog: int = BACKLOG) -> socket.socket:
    """Return a non-blocking TCP socket that listens on ``host`` and ``port``.

    :param host: a name or an IPv4 or IPv6 address; the first address of a name is taken
    :param port: 0 lets the system choose a free one
    :raises OSError: the address cannot be had; the message names it
    """
    try:
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except socket.gaierror as error:
        raise OSError(error.errno, f"cannot listen on {host}: {error.strerror}") from error
    family, kind, proto, _, address = found[0]
    sock = socket.socket(family, kind, proto)
    try:
        if os.name == "posix":  # elsewhere the option would let two servers share a port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        # Listening now, not later, makes the kernel refuse a second owner here.
        sock.listen(backlog)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        reason = (error.strerror or str(error)).lower()
        raise OSError(
            error.errno, f"cannot listen on {bracketed(host)}:{port}: {reason}"
        ) from error
    return sock


def listen_unix(path: str | os.PathLike[str], *, backlog: int = BACKLOG) -> socket.socket:
    """Return a non-blocking UNIX socket that listens at ``path``, in place of a stale one.

    :raises OSError: the path cannot be had
    """
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.stat(path).st_mode):
            os.unlink(path)
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.bind(os.fspath(path))
        sock.listen(backlog)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def bracketed(host: str) -> str:
    """Return ``host`` as a URL writes it: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def url_host(host: str) -> str:
    """Return the host under which a local client reaches a server bound to ``host``."""
    return bracketed(_WILDCARDS.get(host, host))
