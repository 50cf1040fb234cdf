"""What keeps a connection from being made has one name, whoever wanted the connection."""

import asyncio
import contextlib
import socket
import ssl
import threading

import pytest
import trustme

from rolo.errors import ConnectError, ConnectTimeout, NameResolutionError, TlsError
from rolo.proxy import connect_websocket
from rolo.upstream.blocking_dial import BlockingDialer
from rolo.upstream.dial import Dialer
from rolo.upstream.settings import Timeouts, Tls
from rolo.wire.target import Origin
from tests.origins import run


def on_the_loop(origin, tls):
    async def test():
        dialer = Dialer(tls)
        try:
            await dialer.dial(origin, asyncio.Protocol)
        finally:
            dialer.close()

    run(test)


def blocking(origin, tls):
    BlockingDialer(tls).dial(origin, 5)


def websocket(origin, tls):
    scheme = "wss" if origin.tls else "ws"
    connect_websocket(
        f"{scheme}://{origin.host}:{origin.port}", tls=tls, timeouts=Timeouts(connect=5)
    )


@contextlib.contextmanager
def listening(serve):
    """Yield the port where ``serve`` gets each connection."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept():
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                with contextlib.suppress(OSError), sock:
                    serve(sock)

    thread = threading.Thread(target=accept, name="origin")
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def untrusted(sock):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    context.wrap_socket(sock, server_side=True)


def no_tls(sock):
    sock.recv(1024)
    sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def failing(error):
    def getaddrinfo(*_, **__):
        raise error

    return getaddrinfo


@pytest.fixture(params=[on_the_loop, blocking, websocket])
def dial(request):
    return request.param


@pytest.mark.parametrize(
    ("error", "kind", "status"),
    [
        (socket.gaierror(socket.EAI_NONAME, "no such name"), NameResolutionError, "dns_error"),
        (UnicodeError("label too long"), NameResolutionError, "dns_error"),
        (ConnectionRefusedError(111, "refused"), ConnectError, "connection_refused"),
        (OSError(101, "no route"), ConnectError, "destination_ip_unroutable"),
        (TimeoutError(110, "timed out"), ConnectTimeout, "connection_timeout"),
    ],
    ids=["unknown name", "no name", "refused", "no route", "timeout"],
)
def test_errors_of_the_system(dial, error, kind, status, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", failing(error))
    with pytest.raises(ConnectError) as caught:
        dial(Origin("http", "somewhere.test", 80), Tls())
    assert type(caught.value) is kind
    assert caught.value.proxy_status == status
    assert caught.value.target == "http://somewhere.test"


@pytest.mark.parametrize(
    ("serve", "status"),
    [
        (untrusted, "tls_certificate_error"),
        (no_tls, "tls_protocol_error"),
        (lambda sock: sock.recv(1), "tls_protocol_error"),
    ],
    ids=["untrusted", "no TLS", "gone"],
)
def test_errors_of_tls(dial, serve, status):
    with listening(serve) as port, pytest.raises(TlsError) as caught:
        dial(Origin("https", "127.0.0.1", port), Tls())
    assert caught.value.proxy_status == status
    assert caught.value.target == f"https://127.0.0.1:{port}"


def test_a_file_that_is_no_certificate(dial, tmp_path):
    with listening(no_tls) as port, pytest.raises(TlsError, match=r"none\.pem"):
        dial(Origin("https", "127.0.0.1", port), Tls(ca_file=str(tmp_path / "none.pem")))
