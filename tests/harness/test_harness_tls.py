"""Harnesses that speak TLS, with certificates of a throw-away authority, and HTTP/2."""

import os
import socket
import ssl
import urllib.request

import pytest
import requests

from rolo.harness import Harness


def get(api, path="/x", **options):
    with requests.Session() as session:
        session.trust_env = options.pop("trust_env", False)
        return session.get(api.url + path, timeout=5, **options)


@pytest.mark.parametrize("server", ["native", "hypercorn"])
def test_a_client_that_trusts_the_authority_is_served(server):
    with Harness(tls=True, server=server) as api:
        api.get("/x").returns("secret")
        assert api.url.startswith("https://127.0.0.1:")
        assert get(api, verify=api.ca_file).text == "secret"
        with pytest.raises(requests.exceptions.SSLError):
            get(api)


def test_the_authority_is_exported_until_the_end(monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/before")
    with Harness(tls=True) as api:
        api.get("/x").returns("secret")
        api.export_ca()
        assert os.environ["SSL_CERT_FILE"] == os.environ["REQUESTS_CA_BUNDLE"] == api.ca_file
        assert get(api, trust_env=True).text == "secret"
        with urllib.request.urlopen(f"{api.url}/x", timeout=5) as answer:
            assert answer.read() == b"secret"
        api.export_ca("MY_CA")
        assert os.environ["MY_CA"] == api.ca_file
    assert "SSL_CERT_FILE" not in os.environ
    assert "MY_CA" not in os.environ
    assert os.environ["REQUESTS_CA_BUNDLE"] == "/before"


def test_clients_may_be_asked_for_a_certificate():
    with Harness(tls=True, client_certificates=True, strict=False) as api:
        api.get("/x").returns("secret")
        assert get(api, verify=api.ca_file, cert=api.client_certificate("me")).text == "secret"
        with pytest.raises(requests.exceptions.ConnectionError):
            get(api, verify=api.ca_file)


def test_the_certificate_is_for_the_host_that_is_listened_on():
    with Harness(tls=True, host="localhost") as api:
        api.get("/x").returns("secret")
        assert api.url.startswith("https://localhost:")
        assert get(api, verify=api.ca_file).text == "secret"


def test_http2_is_offered_where_it_is_asked_for():
    for http2, chosen in ((True, "h2"), (False, "http/1.1")):
        with Harness(tls=True, http2=http2) as api:
            context = ssl.create_default_context(cafile=api.ca_file)
            context.set_alpn_protocols(["h2", "http/1.1"])
            with (
                socket.create_connection((api.host, api.port), timeout=5) as plain,
                context.wrap_socket(plain, server_hostname="localhost") as wrapped,
            ):
                assert wrapped.selected_alpn_protocol() == chosen


def test_without_tls_there_are_no_certificates():
    with Harness() as api:
        for wrong in (lambda: api.ca_file, api.client_certificate, api.export_ca):
            with pytest.raises(ValueError, match="tls=True"):
                wrong()
    with pytest.raises(ValueError, match="native server only"):
        Harness(tls=True, client_certificates=True, server="hypercorn")
