"""Origins of relayed websockets in other places than plain TCP."""

import contextlib
import ssl

import pytest
import trustme
from commanded import LOOP_SERVERS, installed
from websocket_origin import TEXT, Client, WebSocketOrigin

from rolo.gateway import Gateway
from rolo.proxy import ProxyHandler, Tls, relay_websocket
from rolo.serving import serve

NATIVE = {"server": "native", "mode": "loop"}


class TlsOrigin(WebSocketOrigin):
    def __init__(self, context):
        self._context = context
        super().__init__()

    def _serve(self, connection):
        with contextlib.suppress(OSError):
            super()._serve(self._context.wrap_socket(connection, server_side=True))


@pytest.mark.parametrize("trusted", [True, False])
def test_an_origin_behind_tls(tmp_path, trusted):

    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    tls = Tls(ca_file=str(tmp_path / "ca.pem")) if trusted else Tls()
    with TlsOrigin(context) as origin:
        port = origin.url.rpartition(":")[2]
        handler = ProxyHandler(f"wss://localhost:{port}", tls=tls)
        with (
            contextlib.closing(handler),
            serve(Gateway([handler]), **NATIVE) as server,
            Client(server.url) as client,
        ):
            if not trusted:
                assert client.answer().status == 502
                return
            client.open().text("x")
            assert client.message() == "x"
            client.close(4000, "bye")
            assert client.frame().close == (4000, "bye")
            assert client.rest() == b""


def test_a_handler_hands_over_to_the_origin_it_chooses():
    """Authentication, the choice, the edited handshake; hooks see the messages."""

    def choose(chain, context, response):
        request = context.request
        if request.headers.get("Authorization") != "Bearer me":
            chain.respond(401, "who are you?")
            return
        origin = one if request.path == "/one" else two
        response.update_from(
            relay_websocket(
                request,
                origin.url,
                "/chosen",
                headers={"X-User": "me", "Authorization": ""},
                to_origin=lambda message: None if message == "drop" else message.upper(),
                to_client=shout,
                on_closed=ended.append,
            )
        )
        chain.stop()

    async def shout(message):
        return f"{message}!"

    ended = []
    with (
        WebSocketOrigin() as one,
        WebSocketOrigin() as two,
        serve(Gateway([choose]), **NATIVE) as server,
    ):
        with Client(server.url, "/one") as client:
            assert client.answer().status == 401
        for path, origin in (("/one", one), ("/two", two)):
            with Client(server.url, path, [("Authorization", "Bearer me")]) as client:
                client.open().text("drop")
                client.text("hello")
                assert client.message() == "HELLO!"
                client.close(4001, "done")
                client.rest()
            assert origin.last.target == "/chosen"
            assert origin.last.all("x-user") == ["me"]
    assert [(end.by, end.code, end.reason) for end in ended] == [("client", 4001, "done")] * 2


@pytest.mark.parametrize("direction", ["to_origin", "to_client"])
@pytest.mark.parametrize("server", LOOP_SERVERS)
def test_a_function_that_raises_closes_both_legs_with_1011(server, direction, caplog):
    """RFC 6455 section 7.4.1, as a close frame: nothing is lost without a word."""

    def fail(message):
        if message == "fail":
            raise ZeroDivisionError
        return message

    def relay(chain, context, response):
        response.update_from(relay_websocket(context.request, origin.url, **{direction: fail}))
        chain.stop()

    def play(origin):
        origin.accept()
        while (got := origin.frame()).opcode == TEXT:
            origin.send(TEXT, got.payload)
        origin.note(got.close)
        origin.send(got.opcode, got.payload)

    with (
        WebSocketOrigin(play) as origin,
        serve(Gateway([relay]), server=installed(server), mode="loop") as running,
        Client(running.url) as client,
    ):
        client.open().text("pass")
        assert client.message() == "pass"
        client.text("fail")
        assert client.frame().close == (1011, "")
        assert origin.note() == (1011, "")
    assert [r.message for r in caplog.records if r.exc_info] == [
        f"error while relaying a websocket from the {'client' if direction == 'to_origin' else 'upstream'}"
    ]
