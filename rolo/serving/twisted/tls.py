"""TLS of Twisted's around a factory."""

from __future__ import annotations

import typing as t

from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from zope.interface import implementer

from rolo.serving.base import ServerTls, ServerUnavailable
from rolo.serving.twisted.exchanges import ALPN


def with_tls(factory: t.Any, tls: ServerTls, reactor: t.Any) -> t.Any:
    """Return the factory that serves ``factory`` over TLS, HTTP/2 by ALPN included.

    :raises OSError: a file cannot be read or holds no certificate or key
    :raises ServerUnavailable: pyOpenSSL is not installed
    """
    from twisted.protocols.tls import TLSMemoryBIOFactory

    return TLSMemoryBIOFactory(connections(tls), False, factory, clock=reactor)


def connections(tls: ServerTls) -> t.Any:
    """Return what makes the TLS of each connection; raises as :func:`with_tls`."""
    tls.context()  # says what is wrong with the files as on other servers
    try:
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
        from OpenSSL import SSL
    except ModuleNotFoundError as exc:
        raise ServerUnavailable(
            "TLS on Twisted needs pyOpenSSL: pip install rolo[twisted]"
        ) from exc
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.use_certificate_chain_file(str(tls.cert))
    password = None if tls.password is None else tls.password.encode()
    with open(tls.key, "rb") as key:
        context.use_privatekey(load_pem_private_key(key.read(), password))

    def select(_: t.Any, offered: list[bytes]) -> t.Any:
        return next((name for name in ALPN if name in offered), SSL.NO_OVERLAPPING_PROTOCOLS)

    context.set_alpn_select_callback(select)
    return _Connections(context, SSL.Connection)


@implementer(IOpenSSLServerConnectionCreator)
class _Connections:
    def __init__(self, context: t.Any, connection: t.Callable[..., t.Any]) -> None:
        self._context = context
        self._connection = connection

    def serverConnectionForTLS(self, protocol: t.Any) -> t.Any:
        return self._connection(self._context, None)
