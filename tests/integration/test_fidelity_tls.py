"""Where requests go: TLS to the upstream, UNIX sockets, several addresses."""

import contextlib
import socket
import ssl
import threading
import urllib.parse

import pytest
import trustme
from commanded import lines_about_the_upstream
from wire import fetch

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


class TlsOrigin:
    """Answers ``200 ok`` over TLS; notes the name that was asked for and the peer."""

    def __init__(self, authority, *names, client_authority=None):
        self.asked = []
        self.peers = []
        self.requests = []
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*names).configure_cert(self._context)
        if client_authority is not None:
            self._context.verify_mode = ssl.CERT_REQUIRED
            client_authority.configure_trust(self._context)
        self._context.sni_callback = lambda sock, name, context: self.asked.append(name)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _serve(self):
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            plain.settimeout(5)
            with contextlib.suppress(OSError), plain, self._wrap(plain) as sock:
                self.requests.append(sock.recv(65536))
                self.peers.append(sock.getpeercert())
                sock.sendall(OK)
                sock.unwrap()

    def _wrap(self, plain):
        return self._context.wrap_socket(plain, server_side=True)


@pytest.fixture(scope="module")
def ca_file(authority, tmp_path_factory):
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture(scope="module")
def client_files(authority, tmp_path_factory):
    directory = tmp_path_factory.mktemp("client")
    certificate = authority.issue_cert("client@test")
    certificate.private_key_pem.write_to_path(str(directory / "key.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(directory / "cert.pem"))
    return str(directory / "cert.pem"), str(directory / "key.pem")


def test_a_certificate_nobody_vouches_for_is_a_502(each_client, authority, caplog):
    with TlsOrigin(authority, "localhost", "127.0.0.1") as origin:
        answer = fetch(each_client(f"https://127.0.0.1:{origin.port}", "--proxy-status").url)
        assert origin.requests == []
    assert answer.status == 502
    assert answer.get("proxy-status") == "rolo; error=tls_certificate_error"
    (line,) = lines_about_the_upstream(caplog)
    assert "upstream error in phase 'tls'" in line
    assert "certificate" in line


def test_a_custom_authority_is_believed(each_client, authority, ca_file):
    with TlsOrigin(authority, "127.0.0.1") as origin:
        answer = fetch(each_client(f"https://127.0.0.1:{origin.port}", "--ca-file", ca_file).url)
        assert (answer.status, answer.body) == (200, b"ok")


def test_a_certificate_for_another_host_is_a_502(each_client, authority, ca_file):
    with TlsOrigin(authority, "elsewhere.test") as origin:
        answer = fetch(each_client(f"https://127.0.0.1:{origin.port}", "--ca-file", ca_file).url)
        assert origin.requests == []
    assert answer.status == 502


def test_the_name_to_ask_for_and_to_verify_can_be_given(each_client, authority, ca_file):
    options = ("--ca-file", ca_file, "--tls-server-name", "elsewhere.test")
    with TlsOrigin(authority, "elsewhere.test") as origin:
        answer = fetch(each_client(f"https://127.0.0.1:{origin.port}", *options).url)
        assert answer.status == 200
        assert origin.asked == ["elsewhere.test"]


def test_the_name_of_the_url_is_asked_for(each_client, authority, ca_file):
    with TlsOrigin(authority, "localhost") as origin:
        answer = fetch(each_client(f"https://localhost:{origin.port}", "--ca-file", ca_file).url)
        assert answer.status == 200
        assert origin.asked[-1] == "localhost"


def test_insecure_believes_anybody(each_client, authority):
    with TlsOrigin(authority, "elsewhere.test") as origin:
        answer = fetch(each_client(f"https://127.0.0.1:{origin.port}", "--insecure").url)
        assert answer.status == 200


def test_a_client_certificate_is_shown(each_client, authority, ca_file, client_files):
    cert, key = client_files
    with TlsOrigin(authority, "127.0.0.1", client_authority=authority) as origin:
        url = f"https://127.0.0.1:{origin.port}"
        options = ("--ca-file", ca_file, "--client-cert", cert, "--client-key", key)
        assert fetch(each_client(url, *options).url).status == 200
        assert origin.peers[-1]["subjectAltName"] == (("email", "client@test"),)


def test_an_origin_that_misses_our_certificate_is_a_502(each_client, authority, ca_file):
    with TlsOrigin(authority, "127.0.0.1", client_authority=trustme.CA()) as origin:
        url = each_client(f"https://127.0.0.1:{origin.port}", "--ca-file", ca_file).url
        assert fetch(url).status == 502
        assert origin.requests == []


# --- other ways to get there ------------------------------------------------------------


def answer_one(listener):
    connection, _ = listener.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(OK)


@contextlib.contextmanager
def answering(listener):
    thread = threading.Thread(target=answer_one, args=(listener,))
    with listener:
        thread.start()
        yield
        thread.join(5)


def test_a_unix_socket(each_client, tmp_path):
    path = str(tmp_path / "origin.sock")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    with answering(listener):
        url = each_client(f"http+unix://{urllib.parse.quote(path, safe='')}/base").url
        assert fetch(url, "/x").body == b"ok"


def test_a_unix_socket_that_is_not_there_is_a_502(each_client, tmp_path, caplog):
    path = urllib.parse.quote(str(tmp_path / "none.sock"), safe="")
    assert fetch(each_client(f"http+unix://{path}").url).status == 502
    (line,) = lines_about_the_upstream(caplog)
    assert "upstream error in phase 'connect'" in line


def test_ipv6(each_client):
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 here")
    with answering(listener):
        port = listener.getsockname()[1]
        assert fetch(each_client(f"http://[::1]:{port}").url).body == b"ok"


def test_all_addresses_of_a_name_are_tried(each_client, monkeypatch):
    """The first refuses, the second answers."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    real = socket.getaddrinfo

    def resolve(host, *args, **kwargs):
        if host != "two.test":
            return real(host, *args, **kwargs)
        kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*kind, ("127.0.0.2", port)), (*kind, ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with answering(listener):
        assert fetch(each_client(f"http://two.test:{port}").url).body == b"ok"
