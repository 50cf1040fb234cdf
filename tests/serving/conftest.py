from __future__ import annotations

import ssl
import threading
import typing as t

import pytest
import trustme
from serving_support import ASGI_SERVERS, need

from rolo.serving import ServerTls


@pytest.fixture(params=ASGI_SERVERS)
def server_name(request: pytest.FixtureRequest) -> str:
    """The name of each ASGI server in turn."""
    return need(request.param)


@pytest.fixture(autouse=True)
def no_thread_left() -> t.Iterator[None]:
    before = set(threading.enumerate())
    yield
    left = set(threading.enumerate()) - before
    assert not left


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """A client's context that trusts the servers of these tests."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture(scope="session")
def tls(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> ServerTls:
    directory = tmp_path_factory.mktemp("tls")
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    certificate.private_key_pem.write_to_path(str(directory / "key.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(directory / "cert.pem"))
    return ServerTls(directory / "cert.pem", directory / "key.pem")
