"""``serve(server="twisted")``: what is Twisted's about it; the rest is tested with the others."""

import os
import queue
import socket
import ssl
import subprocess
import sys

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from h2.errors import ErrorCodes
from h2.events import StreamReset
from h2wire import H2Client
from wire import fetch

from rolo.gateway import Gateway
from rolo.serving import Limits, ServerTls, ServerUnavailable, serve


def answering(chain, context, response):
    chain.respond(200, context.request.environ["wsgi.url_scheme"])


GATEWAY = Gateway([answering])

PROGRAM = """
import os, sys
from rolo.gateway import Gateway
from rolo.serving import serve
from wire import fetch

def files():
    return set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()

serve(Gateway(), server="twisted").shutdown()
before = files()
for _ in range(3):
    with serve(Gateway(), server="twisted") as server:
        assert fetch(server.url).status == 200
assert files() == before, files() - before
assert "twisted.internet.reactor" not in sys.modules
"""


def test_it_leaves_no_file_open_and_the_reactor_of_the_process_alone():
    here = os.path.dirname(os.path.dirname(__file__))
    path = os.pathsep.join([here, *filter(None, sys.path)])
    subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        check=True,
        timeout=50,
        env={**os.environ, "PYTHONPATH": path},
    )


def test_tls_with_a_key_that_a_password_opens(tmp_path):
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
    (tmp_path / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"sesame"),
        )
    )
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    tls = ServerTls(tmp_path / "cert.pem", tmp_path / "key.pem", "sesame")
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with serve(GATEWAY, server="twisted", tls=tls) as server:
        assert https(server.port, trusting).endswith(b"\r\n\r\nhttps")
    with pytest.raises(OSError, match=r"(?i)no such file"):
        serve(GATEWAY, server="twisted", tls=ServerTls(tmp_path / "none.pem", tmp_path / "key.pem"))


def https(port, context):
    with (
        socket.create_connection(("127.0.0.1", port), 5) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as tls,
    ):
        tls.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        received = b""
        while data := tls.recv(1000):
            received += data
        return received


def test_tls_without_pyopenssl_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "OpenSSL", None)
    issued = trustme.CA().issue_cert("localhost")
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    tls = ServerTls(tmp_path / "cert.pem", tmp_path / "key.pem")
    with pytest.raises(ServerUnavailable, match=r"pyOpenSSL: pip install rolo\[twisted\]"):
        serve(GATEWAY, server="twisted", tls=tls)


def test_what_it_cannot_do_is_said():
    with pytest.raises(TypeError, match="the twisted server serves gateways and routers"):
        serve(lambda environ, start_response: [], server="twisted")
    with pytest.raises(TypeError, match="does not run on uvloop"):
        serve(GATEWAY, server="twisted", loop="uvloop")
    with pytest.raises(TypeError, match="unknown option 'backlog'"):
        serve(GATEWAY, server="twisted", backlog=1)
    with serve(GATEWAY, server="twisted") as server:
        assert fetch(server.url).body == b"http"


def test_an_http_2_client_that_takes_nothing_is_cut():
    """As over HTTP/1: the windows that it does not open are what it does not take."""
    closed = queue.Queue()

    def endless(chain, context, response):
        response.response = iter(lambda: bytes(65536), None)
        response.call_on_close(lambda: closed.put(True))
        chain.stop()

    limits = Limits(send_timeout=0.2)
    with serve(Gateway([endless]), server="twisted", limits=limits) as server:
        with H2Client(server.port) as client:
            client.acknowledges = False
            reset = client.until(StreamReset, client.request())
            assert reset.error_code == ErrorCodes.INTERNAL_ERROR
        assert closed.get(timeout=5)
