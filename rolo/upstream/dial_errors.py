"""What keeps a connection from being made, in our words: one table for all that dial."""

from __future__ import annotations

import errno
import os
import socket
import ssl

from rolo.errors import ConnectError, ConnectTimeout, NameResolutionError, TlsError

_UNROUTABLE = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL})


def connect_error(
    exc: OSError | UnicodeError, target: str, *, connected: bool = False
) -> ConnectError:
    """Return the error that stands for ``exc``, which dialling ``target`` has raised.

    :param connected: the socket was; what failed is the TLS handshake
    """
    if isinstance(exc, socket.gaierror):
        return NameResolutionError(f"cannot resolve the name: {exc.strerror}", target=target)
    if isinstance(exc, UnicodeError):
        return NameResolutionError(f"not a host name: {exc}", target=target)
    # asyncio puts words of its own in place of the system's.
    reason = os.strerror(exc.errno) if exc.errno else exc.strerror or exc or type(exc).__name__
    if isinstance(exc, TimeoutError):
        what = "no TLS handshake" if connected else "cannot connect"
        return ConnectTimeout(f"{what}: {reason}", target=target)
    if isinstance(exc, ssl.SSLCertVerificationError):
        error: ConnectError = TlsError(
            f"certificate not trusted: {exc.verify_message}", target=target
        )
        error.proxy_status = "tls_certificate_error"
    elif connected:
        words = exc.strerror or exc or type(exc).__name__
        error = TlsError(f"TLS handshake failed: {words}", target=target)
    else:
        error = ConnectError(f"cannot connect: {reason}", target=target)
        if exc.errno in _UNROUTABLE:
            error.proxy_status = "destination_ip_unroutable"
    return error
