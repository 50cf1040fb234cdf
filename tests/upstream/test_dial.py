"""From names to connected sockets, and the errors on the way."""

import asyncio
import socket
import ssl
import threading

import pytest
import trustme

from rolo.errors import ConnectError, ConnectTimeout, NameResolutionError, TlsError
from rolo.upstream import dial as dial_module
from rolo.upstream.connection import Connection
from rolo.upstream.dial import Dialer
from rolo.upstream.request import UpstreamRequest
from rolo.upstream.settings import Timeouts, Tls
from rolo.upstream.tls import tls_context
from rolo.upstream.transport import LoopTransport
from rolo.wire.target import Origin
from tests.origins import OK, answering, eventually, run, scripted_origin


async def fetch(transport, origin):
    response = await transport.send(UpstreamRequest(origin, "GET", b"/", [(b"Host", b"origin")]))
    assert response.body.read_whole_nowait() == b"ok"
    response.body.close()


def unused_port():
    """A port that refuses: bound, but nobody listens."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return sock, sock.getsockname()[1]


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def ca_file(authority, tmp_path):
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


def server_context(authority, *names, client_authority=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    if client_authority is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        client_authority.configure_trust(context)
    return context


def converse(test, *, tls=None, timeouts=None, loop_factory=None, **origin):
    async def guarded():
        transport = LoopTransport(tls=tls, timeouts=timeouts)
        try:
            async with scripted_origin(answering(OK), **origin) as served:
                await test(transport, served)
        finally:
            await transport.close()

    run(guarded, loop_factory=loop_factory)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_name_or_an_address(host):
    async def test(transport, origin):
        await fetch(transport, Origin("http", host, origin.port))
        names = [thread.name for thread in threading.enumerate()]
        assert any(name.startswith("rolo-resolver") for name in names) == (host == "localhost")
        assert not any(name.startswith("asyncio_") for name in names)

    converse(test)


def test_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 loopback here")

    async def test(transport, origin):
        await fetch(transport, Origin("http", "::1", origin.port))

    converse(test, host="::1")


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_unix_socket(tmp_path, loop):
    factory = pytest.importorskip("uvloop").new_event_loop if loop == "uvloop" else None
    path = str(tmp_path / "origin.sock")

    async def test(transport, origin):
        for _ in range(2):
            await fetch(transport, Origin("http", "localhost", 80, path))
        assert origin.connections == 1
        with pytest.raises(ConnectError):
            await fetch(transport, Origin("http", "localhost", 80, path + "-missing"))

    converse(test, path=path, loop_factory=factory)


def test_a_full_backlog_of_a_unix_socket_is_waited_for(tmp_path):
    path = str(tmp_path / "full.sock")

    async def test():
        loop = asyncio.get_running_loop()
        dialer = Dialer()

        def connection():
            return Connection(loop, memoryview(bytearray(1024)), None)

        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen(0)
            listener.setblocking(False)
            origin = Origin("http", "localhost", 80, path)
            async with asyncio.TaskGroup() as group:
                dials = [group.create_task(dialer.dial(origin, connection)) for _ in range(5)]
                for _ in dials:
                    accepted, _ = await loop.sock_accept(listener)
                    accepted.close()
        dialer.close()

    run(test)


def test_all_addresses_are_tried_and_those_that_hang_hold_up_nobody(monkeypatch):
    async def test(transport, origin):
        good = (socket.AF_INET, ("127.0.0.1", origin.port))
        refusing, port = unused_port()
        # A listener whose backlog is full answers nothing.
        with refusing, socket.socket() as hanging, socket.socket() as filler:
            hanging.bind(("127.0.0.1", 0))
            hanging.listen(0)
            filler.connect(hanging.getsockname())
            bad = [(socket.AF_INET, ("127.0.0.1", port)), (socket.AF_INET, hanging.getsockname())]
            monkeypatch.setattr(dial_module, "_lookup", lambda host, port: [*bad, good])
            await fetch(transport, Origin("http", "many.test", 80))

    converse(test)


def test_nobody_listens():
    async def test(transport, origin):
        sock, port = unused_port()
        with sock, pytest.raises(ConnectError) as caught:
            await fetch(transport, Origin("http", "127.0.0.1", port))
        assert type(caught.value) is ConnectError
        assert caught.value.target == f"http://127.0.0.1:{port}"
        assert caught.value.proxy_status == "connection_refused"
        assert isinstance(caught.value.__cause__, ConnectionRefusedError)
        await eventually(lambda: transport.stats() == {})

    converse(test)


def test_a_name_without_an_address(monkeypatch):
    def no_such_name(host, port):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def test(transport, origin):
        monkeypatch.setattr(dial_module, "_lookup", no_such_name)
        with pytest.raises(NameResolutionError, match="not known"):
            await fetch(transport, Origin("http", "nowhere.test", 80))

    converse(test)


def test_something_that_is_no_name():
    async def test(transport, origin):
        with pytest.raises(NameResolutionError):
            await fetch(transport, Origin("http", "a" * 70 + ".test", 80))

    converse(test)


def test_lookups_are_shared_and_remembered(monkeypatch):
    lookups = []
    release = threading.Event()

    async def test(transport, origin):
        def lookup(host, port):
            lookups.append(host)
            release.wait(5)
            return [(socket.AF_INET, ("127.0.0.1", origin.port))]

        monkeypatch.setattr(dial_module, "_lookup", lookup)
        fetches = [
            asyncio.create_task(fetch(transport, Origin("http", "slow.test", 80))) for _ in range(5)
        ]
        await eventually(lambda: bool(lookups))
        # One that leaves takes nothing from the others.
        fetches.pop().cancel()
        release.set()
        await asyncio.gather(*fetches)
        await fetch(transport, Origin("http", "slow.test", 80))
        assert lookups == ["slow.test"]

    converse(test)


def test_an_address_that_does_not_answer():
    async def test(transport, origin):
        with socket.socket() as hanging, socket.socket() as filler:
            hanging.bind(("127.0.0.1", 0))
            hanging.listen(0)
            filler.connect(hanging.getsockname())
            with pytest.raises(ConnectTimeout, match=r"0\.2 s"):
                await fetch(transport, Origin("http", *hanging.getsockname()))
        await eventually(lambda: transport.stats() == {})

    converse(test, timeouts=Timeouts(connect=0.2))


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_tls_with_an_authority_of_ones_own(authority, ca_file, loop):
    factory = pytest.importorskip("uvloop").new_event_loop if loop == "uvloop" else None

    async def test(transport, origin):
        for _ in range(2):
            await fetch(transport, Origin("https", "localhost", origin.port))
        await fetch(transport, Origin("https", "127.0.0.1", origin.port))
        assert origin.connections == 2

    context = server_context(authority, "localhost", "127.0.0.1")
    converse(test, tls=Tls(ca_file=ca_file), context=context, loop_factory=factory)


@pytest.mark.parametrize(
    ("names", "trusted"), [(("localhost",), False), (("elsewhere.test",), True)]
)
def test_a_certificate_that_is_not_trusted(authority, ca_file, names, trusted):
    async def test(transport, origin):
        with pytest.raises(TlsError, match="certificate not trusted") as caught:
            await fetch(transport, Origin("https", "localhost", origin.port))
        assert caught.value.proxy_status == "tls_certificate_error"
        assert caught.value.target == f"https://localhost:{origin.port}"

    tls = Tls(ca_file=ca_file) if trusted else Tls()
    converse(test, tls=tls, context=server_context(authority, *names))


def test_insecure_must_be_asked_for(authority):
    async def test(transport, origin):
        await fetch(transport, Origin("https", "localhost", origin.port))

    context = server_context(authority, "elsewhere.test")
    converse(test, tls=Tls(insecure=True), context=context)


def test_another_server_name_for_sni_and_verification(authority, ca_file):
    asked = []

    async def test(transport, origin):
        await fetch(transport, Origin("https", "127.0.0.1", origin.port))
        assert asked == ["inner.test"]

    context = server_context(authority, "inner.test")
    context.sni_callback = lambda sock, name, ctx: asked.append(name)
    converse(test, tls=Tls(ca_file=ca_file, server_hostname="inner.test"), context=context)


def test_a_client_certificate(authority, ca_file, tmp_path):
    pem = tmp_path / "client.pem"
    authority.issue_cert("client.test").private_key_and_cert_chain_pem.write_to_path(pem)

    async def test(transport, origin):
        await fetch(transport, Origin("https", "localhost", origin.port))

    context = server_context(authority, "localhost", client_authority=authority)
    converse(test, tls=Tls(ca_file=ca_file, client_cert=str(pem)), context=context)


def test_an_origin_that_does_not_speak_tls():
    async def script(wire):
        await wire.reader.read(1)
        await wire.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async def test():
        transport = LoopTransport()
        async with scripted_origin(script) as origin:
            with pytest.raises(TlsError, match="handshake"):
                await fetch(transport, Origin("https", "localhost", origin.port))
        await transport.close()

    run(test)


def test_tls_over_a_unix_socket(authority, ca_file, tmp_path):
    path = str(tmp_path / "tls.sock")

    async def test(transport, origin):
        await fetch(transport, Origin("https", "localhost", 443, path))

    context = server_context(authority, "localhost")
    converse(test, tls=Tls(ca_file=ca_file), path=path, context=context)


@pytest.mark.parametrize("content", [None, b"no certificate"], ids=["missing", "garbage"])
def test_tls_files_that_cannot_be_used(tmp_path, content):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TlsError, match=r"ca\.pem"):
        tls_context(Tls(ca_file=str(path)))
