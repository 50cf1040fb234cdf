"""Certificates for harnesses, from an authority that is thrown away with the process."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import ssl
import tempfile
import typing as t

from rolo.serving import ServerTls

if t.TYPE_CHECKING:
    import trustme

_LOCAL = ("localhost", "127.0.0.1", "::1")


class ClientCertificate(t.NamedTuple):
    """Paths of PEM files, in the order in which requests and others take them as ``cert``."""

    cert: str
    key: str


class Authority:
    """Signs certificates, which it keeps as files until the process ends.

    :raises ModuleNotFoundError: trustme is not installed
    """

    def __init__(self) -> None:
        try:
            import trustme
        except ModuleNotFoundError as exc:
            raise ModuleNotFoundError(
                "a harness with TLS needs trustme: pip install rolo[testing]", name=exc.name
            ) from exc
        self._authority: trustme.CA = trustme.CA()
        self._directory = tempfile.mkdtemp(prefix="rolo-certificates-")
        atexit.register(_remove, self._directory, os.getpid())
        self.file = os.path.join(self._directory, "ca.pem")
        """PEM file of the authority, for clients to trust."""
        self._authority.cert_pem.write_to_path(self.file)

    @functools.lru_cache(maxsize=64)  # noqa: B019 - there is one authority
    def server(self, host: str) -> ServerTls:
        """Return the certificate of a server on this machine that is also called ``host``."""
        names = dict.fromkeys((*_LOCAL, host))
        certificate = self._authority.issue_cert(
            *(name for name in names if name not in ("", "::", "0.0.0.0"))
        )
        return ServerTls(*self._written(certificate, f"server-{len(os.listdir(self._directory))}"))

    @functools.lru_cache(maxsize=64)  # noqa: B019 - there is one authority
    def client(self, name: str) -> ClientCertificate:
        """Return the certificate of a client."""
        # Without any name beside, it is none that a strict reader takes (RFC 5280).
        certificate = self._authority.issue_cert("client.test", common_name=name)
        stem = f"client-{len(os.listdir(self._directory))}"
        return ClientCertificate(*self._written(certificate, stem))

    def context(self, host: str, alpn: t.Sequence[str], *, demand: bool) -> ssl.SSLContext:
        """Return what a server on ``host`` speaks TLS with.

        :param demand: clients must have a certificate of this authority
        """
        context = self.server(host).context(alpn)
        if demand:
            context.load_verify_locations(self.file)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _written(self, certificate: t.Any, stem: str) -> tuple[str, str]:
        cert, key = (
            os.path.join(self._directory, f"{stem}-{kind}.pem") for kind in ("cert", "key")
        )
        certificate.cert_chain_pems[0].write_to_path(cert)
        certificate.private_key_pem.write_to_path(key)
        return cert, key


@functools.cache
def authority() -> Authority:
    """Return the one of this process."""
    return Authority()


def _remove(directory: str, pid: int) -> None:
    if os.getpid() == pid:  # not in a fork of the process that made it
        shutil.rmtree(directory, ignore_errors=True)
