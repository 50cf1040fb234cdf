"""TLS towards origins: its settings, and whether a connection that is over was ended."""

from __future__ import annotations

import asyncio
import ssl

from rolo.errors import TlsError
from rolo.upstream.settings import Tls

_PIECE = 64 * 1024


def tls_context(tls: Tls) -> ssl.SSLContext:
    """Build the context for ``https`` upstreams.

    :raises TlsError: a file cannot be read or is no certificate or key
    """
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
        if tls.client_cert is not None:
            context.load_cert_chain(tls.client_cert, tls.client_key)
    except (OSError, ValueError) as exc:
        files = ", ".join(filter(None, (tls.ca_file, tls.client_cert, tls.client_key)))
        raise TlsError(f"cannot use the TLS files {files}: {exc}") from exc
    context.set_alpn_protocols(["http/1.1"])
    if tls.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def rest_of(transport: asyncio.BaseTransport) -> tuple[list[bytes], bool]:
    """Return what a TLS connection still holds that nobody was given, and whether the
    origin has ended it (close_notify) or somebody has cut it (RFC 9112 section 9.8).

    For when the connection is over; of a plain one this says that it was ended. Event
    loops hide the difference: asyncio calls ``eof_received`` for both, uvloop
    ``connection_lost(None)`` for a cut. Both forget what they had not decrypted yet if the
    protocol had paused reading. OpenSSL knows better.
    """
    tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    pieces: list[bytes] = []
    if tls is None:
        return pieces, True
    try:
        while piece := tls.read(_PIECE):
            pieces.append(piece)
    except ssl.SSLZeroReturnError:  # so it is told after a close_notify of ours
        return pieces, True
    except OSError:
        return pieces, False
    return pieces, True
