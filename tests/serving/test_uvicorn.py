"""What is mended of uvicorn, without a network."""

import types

import uvicorn
from uvicorn.server import ServerState
from wsproto.connection import Connection as Frames
from wsproto.connection import ConnectionType
from wsproto.events import Ping, Pong

from rolo.serving.uvicorn import _websocket_protocol


def test_of_pings_of_a_client_that_does_not_read_one_pong_is_owed():
    written = []
    config = uvicorn.Config(lambda scope, receive, send: None, log_config=None)
    protocol = _websocket_protocol()(config, ServerState(), {}, _loop=object())
    protocol.transport = types.SimpleNamespace(write=written.append)
    protocol.conn = Frames(ConnectionType.SERVER)
    client = Frames(ConnectionType.CLIENT)
    protocol.pause_writing()
    for number in range(100):
        protocol.data_received(client.send(Ping(b"%d" % number)))
    assert written == []
    protocol.resume_writing()
    protocol.resume_writing()
    (sent,) = written
    client.receive_data(sent)
    assert [bytes(event.payload) for event in client.events() if isinstance(event, Pong)] == [b"99"]
