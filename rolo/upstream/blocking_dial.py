"""From an origin to a connected blocking socket."""

from __future__ import annotations

import socket
import ssl

from rolo.upstream.dial_errors import connect_error
from rolo.upstream.settings import Tls
from rolo.upstream.tls import server_name, tls_context
from rolo.wire.target import Origin


class BlockingDialer:
    """Opens connections, trying one address after the other. Safe for use by several threads.

    :param tls: how ``https`` origins are verified
    """

    def __init__(self, tls: Tls) -> None:
        self._tls = tls
        self._context: ssl.SSLContext | None = None

    def dial(self, origin: Origin, timeout: float | None) -> socket.socket:
        """Return a connected socket, over TLS if ``origin`` asks for it. An end without
        close_notify is an ``ssl.SSLEOFError`` of the latter.

        :param timeout: seconds for each address, and for the TLS handshake; ``None`` is no
            limit
        :raises ConnectError: and its kin: no connection
        """
        target = str(origin)
        if origin.tls and self._context is None:
            self._context = tls_context(self._tls)
        try:
            sock = _connect(origin, timeout)
        except (OSError, UnicodeError) as exc:
            raise connect_error(exc, target) from exc
        if not origin.tls:
            return sock
        assert self._context is not None
        try:
            return self._context.wrap_socket(
                sock,
                server_hostname=server_name(self._tls, origin),
                # RFC 9112 section 9.8: such an end may be anybody's.
                suppress_ragged_eofs=False,
            )
        except (OSError, UnicodeError) as exc:
            raise connect_error(exc, target, connected=True) from exc
        finally:
            # Of nobody any more: wrapping has taken the descriptor over, or has failed.
            sock.close()


def _connect(origin: Origin, timeout: float | None) -> socket.socket:
    if origin.uds is None:
        sock = socket.create_connection((origin.host, origin.port), timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The only way to learn that the origin of an idle stream has vanished.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return sock
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout)
        sock.connect(origin.uds)
    except BaseException:
        sock.close()
        raise
    return sock
