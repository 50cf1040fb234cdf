"""A whole server that is away for a while."""

import socket

import pytest
from faults_support import BODY, whole
from wire import Wire, fetch

from rolo.gateway import Gateway
from rolo.serving import ServerUnavailable, serve


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_connections_are_refused_and_open_ones_reset(loop):
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    with serve(Gateway([whole]), server="native", loop=loop) as server:
        for _ in range(2):
            with Wire(server.url) as wire:
                assert wire.get("/").body == BODY
                with server.outage():
                    with pytest.raises(ConnectionRefusedError):
                        Wire(server.url)
                    with pytest.raises(ConnectionResetError):
                        wire.read_rest_strictly()
            assert fetch(server.url).body == BODY


def test_the_port_is_kept_meanwhile():
    with (
        serve(Gateway([whole]), server="native") as server,
        server.outage(),
        socket.socket() as other,
        pytest.raises(OSError, match="in use"),
    ):
        other.bind(("127.0.0.1", server.port))


def test_a_server_may_stop_within_an_outage():
    with serve(Gateway([whole]), server="native") as server, server.outage():
        server.shutdown()
    with pytest.raises(ConnectionRefusedError):
        Wire(server.url)


@pytest.mark.parametrize("server", ["hypercorn", "werkzeug"])
def test_other_servers_cannot_be_away(server):
    with serve(Gateway([whole]), server=server) as running:
        with pytest.raises(ServerUnavailable, match=f"{server} cannot be away"):
            running.outage().__enter__()
        assert fetch(running.url).body == BODY
