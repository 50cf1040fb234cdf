"""TLS towards origins: its settings, and whether a connection that is over was ended."""

from __future__ import annotations

import asyncio
import ssl
import typing as t

from rolo.errors import TlsError
from rolo.upstream.settings import Tls

if t.TYPE_CHECKING:
    from rolo.wire.target import Origin

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


def server_name(tls: Tls, origin: Origin) -> str:
    """Return the name to ask for and to verify."""
    return tls.server_hostname or origin.host or "localhost"


def rest_of(
    transport: asyncio.BaseTransport, cause: Exception | None
) -> tuple[list[bytes], Exception | None]:
    """Return what a connection that is over still holds for nobody was given it, and why
    it is over: ``cause``, ``None`` if the origin has ended it.

    Over TLS one that is cut, not ended by close_notify, is broken (RFC 9112 section 9.8).
    Event loops hide the difference: asyncio calls ``eof_received`` for both, uvloop
    ``connection_lost(None)`` for a cut. Both forget what they have not decrypted yet if the
    protocol had paused reading. OpenSSL knows better.
    """
    tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    pieces: list[bytes] = []
    if tls is None:
        return pieces, cause
    try:
        while piece := tls.read(_PIECE):
            pieces.append(piece)
    except ssl.SSLZeroReturnError:  # so it is told after a close_notify of ours
        pass
    except OSError:
        cut = ConnectionResetError("TLS connection cut without close_notify")
        return pieces, cause or cut
    return pieces, cause
